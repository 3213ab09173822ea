# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one kind of part out of all systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: parts
short_description: The parts of one kind that systems have
version_added: 0.2.0
description:
  - Takes one key of every system, and makes one list of what is there, in the order of the systems. A system without the key has no part.
  - Each part gets some values of its system, unless it has one of the same name itself.
  - Nothing else of a system is looked at.
positional: key, keep, passwords
options:
  _input:
    description: Systems, as a list, or as a dictionary whose keys are their names.
    type: raw
    required: true
  key:
    description: What is taken, a dictionary or a list of them.
    type: str
    required: true
  keep:
    description: What each part gets of its system. Of a dictionary of systems C(name) is the name there.
    type: list
    elements: str
    default: []
  passwords:
    description:
      - Passwords by the names of their variables. With them a part's C(credential), the name of one, becomes its C(password), unless that is empty.
    type: dict
    default: {}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Show each database with the directory of its system
  ansible.builtin.debug:
    msg: "{{ {'airflow': {'dir': '/opt/airflow', 'databases': [{'name': 'optuna'}]}, 'models': {}} | mlops.lab.parts('databases', ['dir']) }}"
"""

RETURN = r"""
_value:
  description: The parts.
  type: list
  elements: dict
"""


def parts(
    systems: Mapping[str, Mapping[str, Any]] | Iterable[Mapping[str, Any]],
    key: str,
    keep: Iterable[str] = (),
    passwords: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the parts of one kind of all systems, as the documentation above says."""
    named = [({"name": name}, system) for name, system in systems.items()] if isinstance(systems, Mapping) else [({}, system) for system in systems]
    found = []
    for called, system in named:
        # One value at a time: what nobody asks for need not be there, a password of a system that is off, for example.
        has = system.get(key, [])
        for part in [has] if isinstance(has, Mapping) else has:
            made = {**part, **{name: called[name] if name in called else system[name] for name in keep if name not in part}}
            if passwords and "credential" in made and (password := passwords.get(made.pop("credential"))):
                made["password"] = password
            found.append(made)
    return found


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by their names."""
        return {"parts": parts}
