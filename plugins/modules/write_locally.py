#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.write_locally`; all of it happens in plugins/action/write_locally.py."""

DOCUMENTATION = r"""
module: write_locally
short_description: Write files on the control node
version_added: 0.1.0
description:
  - Writes files on the machine that runs Ansible, as its user, whatever host the task is for. Directories that are missing are made.
  - A file is replaced as a whole, so that nobody reads half of one. One that has the text already is left alone.
    The last line ends as a line does, however the text ends.
  - C(ansible.builtin.copy) with C(delegate_to) was not used since it runs two modules for each file, about a second each time.
options:
  files:
    description: The files, as a mapping of path to text. Their content is shown nowhere.
    type: dict
    required: true
  mode:
    description: Mode of the files.
    type: str
    default: "0644"
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Write the report
  mlops.lab.write_locally:
    files:
      reports/lab.json: "{{ report | to_nice_json }}"
      reports/lab.html: "{{ lookup('ansible.builtin.template', 'report.html.j2') }}"
"""

RETURN = r"""
written:
  description: Paths of the files that were written.
  type: list
  elements: str
  returned: success
"""
