# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.watch`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: watch
short_description: Run a module and show what happens on the host meanwhile
version_added: 0.1.0
description:
  - Runs any module asynchronously on the host and, until it is done, shows the lines of a status command that changed,
    each with the seconds waited.
  - At the latest every 20 seconds a line says that the task is still running.
  - In check mode the module runs as it is, in check mode, and nothing is shown.
options:
  module:
    description: Name of the module to run.
    type: str
    required: true
  args:
    description:
      - The module's arguments.
      - They must hold no secret, since an asynchronous module is copied to the host's disk together with its arguments.
    type: dict
    default: {}
  status:
    description: Shell command on the host that prints a few lines about the state; only its changed lines are shown.
    type: str
    required: true
  every:
    description: Seconds between two looks.
    type: float
    default: 5
  timeout:
    description: Seconds after which the module is given up and the task fails.
    type: int
    default: 1800
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Install a large package and show what the package manager does
  mlops.lab.watch:
    module: ansible.builtin.apt
    args: {name: docker.io}
    status: tail -n 1 /var/log/dpkg.log
"""

RETURN = r"""
# The result of the module that was run.
"""
