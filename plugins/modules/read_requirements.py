#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.read_requirements`; all of it happens in plugins/action/read_requirements.py."""

DOCUMENTATION = r"""
module: read_requirements
short_description: Read requirements of Python packages from lists, files and URLs, and judge them before anything is built
description:
  - Each source is a list, a text of several lines, the path of a file on the control node, or an URL that the control node can read.
  - Files are UTF-8, or UTF-16 and UTF-32 with a byte order mark. Comments, continued lines, extras and markers are understood as pip does.
  - Options, paths, other files, variables of the environment and packages from addresses are refused, and so is what is no requirement or
    contradicts itself. Each is one sentence with the file, the line and the variable; lines of files are not shown.
  - Runs on the control node alone and changes nothing, in check mode or out of it.
author:
  - The mlops.lab authors (@mlops-lab)
version_added: 0.1.0
options:
  project:
    description: The sources of the project's environment, by the variable that says each.
    type: dict
    required: true
  airflow:
    description: The same for Airflow's environment.
    type: dict
    default: {}
  own:
    description: The same for what the lab itself needs in the project's environment.
    type: dict
    default: {}
  allowed:
    description: Addresses below which a package may come from, as in C(name @ https://git.example.com/wheels/name-1.0-py3-none-any.whl).
    type: list
    elements: str
    default: []
  allowed_variable:
    description: The variable that says them, for the advice in a sentence.
    type: str
    default: ""
  locks:
    description: Text of the former locks of the project's environment by their names.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Read the requirements
  mlops.lab.read_requirements:
    project: {airflow_image_requirements: "{{ airflow_image_requirements }}"}
  register: __read
"""

RETURN = r"""
lines:
  description: The requirements by the variable of their source, in their normal form.
  returned: success
  type: dict
asked:
  description: One comment for a lock that says what it was resolved from.
  returned: success
  type: str
preferences:
  description: What of each lock the next resolution should prefer, without what only a package held down that is no longer asked for.
  returned: success
  type: dict
"""
