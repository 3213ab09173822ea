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
  - Asks for each of the pages as its user does, and tells what the index answered. The task does not fail, whatever that is.
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
        description: Addresses of the pages, in the order that they are asked for.
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

from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url


def asked(url: str, user: str | None, password: str | None, timeout: int) -> dict[str, Any]:
    """Return `status`, `content` and `reason` of a page.

    Args:
        url: its address.
        user: user for basic authentication; None: anonymous.
        password: the user's password.
        timeout: seconds.
    """
    login = {"url_username": user, "url_password": password, "force_basic_auth": True} if user is not None else {}
    try:
        with open_url(url, headers={"Accept": "text/html"}, timeout=timeout, follow_redirects="safe", use_netrc=False, **login) as answer:
            return {"status": answer.status, "content": answer.read().decode("utf-8", "replace"), "reason": ""}
    except HTTPError as error:
        return {"status": error.code, "content": "", "reason": ""}
    except (OSError, HTTPException, ValueError) as error:  # open_url gives those of the address and of TLS, too
        return {"status": -1, "content": "", "reason": str(getattr(error, "reason", error))}


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
    module.exit_json(changed=False, pages=[asked(page, login["user"], login["password"], timeout) for login in logins for page in login["pages"]])


if __name__ == "__main__":
    main()
