#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a package index for pages of projects, all of them in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: index_pages
short_description: Ask a package index for pages of projects
version_added: 0.2.0
description:
  - Asks for each of the pages as its user does, several at once, and tells what the index answered. The task does not fail, whatever that is.
  - A login follows no redirect to another host. What the answers mean is said by P(mlops.lab.index_problem#filter).
  - C(ansible.builtin.uri) in a loop was not used since it takes a third of a second for each page, and shows the passwords in its loop.
options:
  logins:
    description: Who asks, and for which pages.
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description: User of the index. Without one, nobody logs in.
        type: str
      password:
        description: The user's password.
        type: str
      pages:
        description: Addresses of the pages.
        type: list
        elements: str
        required: true
  timeout:
    description: Seconds that an answer may take.
    type: int
    default: 60
attributes:
  check_mode: {support: full, description: Changes nothing in any mode.}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Ask the index for one page
  mlops.lab.index_pages:
    logins:
      - {user: reader, password: "{{ vault_nexus_pass }}", pages: ["https://nexus.example.com/repository/pypi-all/simple/pip/"]}
  register: index
"""

RETURN = r"""
pages:
  description: What the index answered, in the order of O(logins) and their pages.
  returned: always
  type: list
  elements: dict
  contains:
    status:
      description: The HTTP status; -1 when nothing answered.
      type: int
    content:
      description: The page. Empty where the status is not 200.
      type: str
    reason:
      description: Why nothing answered, else empty.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.package_index import ask


def main() -> None:
    """Run the module."""
    login = {"user": {"type": "str"}, "password": {"type": "str", "no_log": True}, "pages": {"type": "list", "elements": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "logins": {"type": "list", "elements": "dict", "required": True, "options": login},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    logins, timeout = module.params["logins"], module.params["timeout"]
    answers = [answer for login in logins for answer in ask(login["pages"], login["user"] or "", login["password"] or "", timeout=timeout)]
    module.exit_json(changed=False, pages=[{"status": answer.status, "content": answer.text, "reason": answer.reason} for answer in answers])


if __name__ == "__main__":
    main()
