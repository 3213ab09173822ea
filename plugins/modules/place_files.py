# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.place_files`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: place_files
short_description: Make a directory of the host hold exactly the given files
version_added: 0.1.0
description:
  - Places the files of a directory of the control node, or files given by value, and removes every other file of the directory.
  - The files are owned by the user that the task runs as. Hidden files, C(__pycache__) and compiled Python are left out.
  - The content reaches the host over standard input in one go and is never an argument or a temporary file, so that it may be secret.
    Neither the result nor the difference shows any content.
  - C(ansible.builtin.copy) in a loop was not used since it takes a quarter of a second for each file, each time, and leaves files that
    are gone from the source; C(ansible.posix.synchronize) needs rsync on both ends.
options:
  src:
    description: Directory on the control node.
    type: path
  hidden:
    description: Names of hidden files that are placed nevertheless.
    type: list
    elements: str
    default: []
  files:
    description: The files, as a mapping of name to text.
    type: dict
  dest:
    description: Directory on the host. It belongs to this task alone. Those above it that are missing are made, readable for all.
    type: path
    required: true
  mode:
    description: Mode of the files.
    type: str
    default: "0644"
  directory_mode:
    description: Mode of the directory.
    type: str
    default: "0755"
  group:
    description: Numeric id of the group of the directory and its files. Without it, the group is left alone.
    type: int
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Place the DAGs
  mlops.lab.place_files:
    src: "{{ lab_collection }}/dags"
    dest: /opt/mlops-lab/airflow_stack/dags
"""

RETURN = r"""
placed:
  description: Names of the files that were written.
  type: list
  elements: str
  returned: always
removed:
  description: Names of the files that were removed.
  type: list
  elements: str
  returned: always
"""
