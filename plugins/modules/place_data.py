#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.place_data`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: place_data
short_description: Bring the files of a directory, of any size, to the host
version_added: 0.1.0
description:
  - Brings the files of a directory of the control node to one of the host. What is there and has the same size and time of change is left alone,
    and so is what has the same size and digest. Nothing is removed, so that a checkout without the data empties no host.
  - Files are sent in archives of a quarter of a gigabyte, a larger file in one of its own; none is held in memory, none is shown as a difference.
    Each appears whole, and a program that has the former one open goes on reading that.
  - Hidden files, C(__pycache__), compiled Python and links to directories are left out; a link to a file is sent as that file.
  - The files are owned by the user that the task runs as.
  - C(ansible.builtin.copy) was not used since it reads every file on both ends every time and takes a quarter of a second for each, and
    C(ansible.posix.synchronize) since it needs rsync on both ends.
options:
  src:
    description: Directory on the control node.
    type: path
    required: true
  dest:
    description: Directory on the host. Those above it that are missing are made, readable for all.
    type: path
    required: true
  mode:
    description: Mode of the files.
    type: str
    default: "0640"
  directory_mode:
    description: Mode of the directories that are made.
    type: str
    default: "0750"
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Place the data
  mlops.lab.place_data:
    src: "{{ inventory_dir }}/data"
    dest: /opt/mlops-lab/airflow_stack/data
"""

RETURN = r"""
placed:
  description: Names of the files that were sent.
  type: list
  elements: str
  returned: always
"""
