# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which environment an experiment file names."""

from __future__ import annotations

from collections.abc import Callable

import yaml

DOCUMENTATION = r"""
name: experiment_environment
short_description: The environment that an experiment file names
version_added: 0.2.0
description:
  - Reads the key C(environment) of a file's text, in whatever way YAML lets it be written.
  - What cannot be read, or is no name, gives nothing. The run's own check says what is wrong with the file, with its line.
options:
  _input:
    description: The text of the file.
    type: str
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Say which environment an experiment runs in
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'experiments/churn.yml') | mlops.lab.experiment_environment or 'project' }}"
"""

RETURN = r"""
_value:
  description: The name, empty where the file has none.
  type: str
"""


def experiment_environment(text: str) -> str:
    """Return the environment that the text of an experiment file names, an empty string where it names none."""
    try:
        read = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return ""
    name = read.get("environment") if isinstance(read, dict) else None
    return name if isinstance(name, str) else ""


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return the filters of this file by their names."""
        return {"experiment_environment": experiment_environment}
