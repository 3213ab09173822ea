# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which of a backup's systems are newer than those of the lab that it is brought back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.module_utils.compat.version import LooseVersion

DOCUMENTATION = r"""
name: newer_versions
short_description: What is newer than what is there
version_added: 0.2.0
description:
  - Compares the versions of systems with the present ones, and returns those that are newer, as words for a person.
  - A system whose version is not known on one of the two sides is left out. Of C(postgres) the first part counts, since its data is the same in all of that.
positional: present
options:
  _input:
    description: Versions by the names of the systems.
    type: dict
    required: true
  present:
    description: The versions that are there, by the same names.
    type: dict
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Say what is newer in a backup
  ansible.builtin.debug:
    msg: "{{ {'airflow': '3.4.0', 'postgres': '17.2'} | mlops.lab.newer_versions({'airflow': '3.3.2', 'postgres': '17.1'}) }}"
    # airflow 3.4.0 (the lab has 3.3.2)
"""

RETURN = r"""
_value:
  description: One entry for each system that is newer.
  type: list
  elements: str
"""


def comparable(name: str, version: str) -> LooseVersion:
    """Return what of a system's version is compared."""
    return LooseVersion(version.split(".")[0] if name == "postgres" else version)


def newer_versions(versions: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Return the systems that are newer than the present ones, as ``airflow 3.4.0 (the lab has 3.3.2)``."""
    both = [(name, version, present[name]) for name, version in versions.items() if version and present.get(name)]
    return [f"{name} {version} (the lab has {there})" for name, version, there in both if comparable(name, version) > comparable(name, there)]


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[Mapping[str, str], Mapping[str, str]], list[str]]]:
        """Return the filters of this file by their names."""
        return {"newer_versions": newer_versions}
