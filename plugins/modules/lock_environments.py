#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.lock_environments`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: lock_environments
short_description: Resolve the requirements of environments to locks beside them, where they changed
version_added: 0.1.0
description:
  - Reads C(<name>.in), C(<name>.txt) and C(<name>.toml) (C(project.dependencies) of a C(pyproject.toml), and the project itself) of a folder on the
    control node, and C(<name>/pyproject.toml) with C(<name>/uv.lock), whose versions and hashes stay.
    Each whose lock C(<name>.lock) was made from something else is resolved by the environments' service on the host, which has the
    index, and the lock is written beside it.
  - An environment that cannot be resolved keeps its former lock and stops nobody else; it is named in a warning. With O(must) only those are looked at,
    and the task fails when one of them cannot be resolved.
  - A lock whose requirements are gone is removed; a file with the ending C(.lock) that was not written here never is.
author:
  - The mlops.lab authors (@mlops-lab)
options:
  src:
    description: Folder on the control node. When it is not there, there is nothing to do.
    type: path
    required: true
  project_src:
    description: Directory on the host with the compose file of the environments' service. Required unless O(frozen) is true.
    type: path
  needs:
    description: What the lab itself needs in an environment. It is left out where it contradicts the requirements, which the lock then says.
    type: list
    elements: str
    default: []
  must:
    description: Environments that are needed now; all others are left as they are. Empty for all, of which none is needed.
    type: list
    elements: str
    default: []
  frozen:
    description: Resolve and write nothing; give the locks of O(must), and fail when one is not there or was made from other requirements.
    type: bool
    default: false
  variable:
    description: The variable that says O(must), for the sentences of O(frozen).
    type: str
    default: ""
  remedy:
    description: What a user does about a lock that is not there or too old, for the sentences of O(frozen).
    type: str
    default: lock it first
  upgrade:
    description: Resolve all again, to newer versions.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Lock the environments whose requirements changed
  mlops.lab.lock_environments:
    src: "{{ inventory_dir }}/environments"
    project_src: /opt/mlops-lab/environments
"""

RETURN = r"""
locks:
  description: The texts of the locks by the names of their environments.
  returned: with O(frozen)
  type: dict
locked:
  description: Names of the environments whose locks were written.
  returned: success
  type: list
  elements: str
removed:
  description: Names of the environments whose locks were removed.
  returned: success
  type: list
  elements: str
"""
