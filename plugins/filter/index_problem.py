# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong with a package index, by what it answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.mlops.lab.plugins.module_utils.package_index import (
    Account,
    Answer,
    Index,
    OwnIndex,
    Uploads,
    index_problem,
    own_problem,
    upload_problem,
)

DOCUMENTATION = r"""
name: index_problem
short_description: What is wrong with a package index
version_added: 0.2.0
description:
  - Judges what an index answered to M(mlops.lab.index_pages), and returns the first thing that is wrong, one sentence that says what to do instead.
positional: index
options:
  _input:
    description:
      - What an index that is there already answered to its reader, to nobody, to its publisher, and to the publisher for each wheel.
      - What the lab's own answered to its reader, and to its publisher for each wheel.
    type: list
    elements: dict
    required: true
  index:
    description:
      - The index in words, no password among them.
      - Of one that is there already its C(url), the C(host) that asked, the C(package) that it was asked for and C(package_variable) with that, C(trust), which
        makes the host trust another authority, and C(names), under which C(url), C(upload_url) and the users and passwords are set.
      - Further the C(user) and the C(publisher_user), where they are written (C(credentials_in)), the C(upload_url), and the name of the variable with
        C(projects) that are to be uploaded, empty for none.
      - Of the lab's own its C(project) in compose, the C(page) and the C(package) that it was asked for, C(upload), C(upstream), and C(trust).
    type: dict
    required: true
  own:
    description: Whether it is the lab's own.
    type: bool
    default: false
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Stop at an index that does not work
  ansible.builtin.fail:
    msg: "{{ problem }}"
  vars:
    problem: "{{ asked.pages | mlops.lab.index_problem(about, own=true) }}"
    about: {project: mlops-lab-index, page: "http://127.0.0.1:8081/repository/pypi-all/simple/pip/", package: pip, upload: "", upstream: "", trust: trust it}
  when: problem | length > 0
"""

RETURN = r"""
_value:
  description: The sentence, empty where nothing is wrong.
  type: str
"""


def problem(pages: Sequence[Mapping[str, Any]], index: Mapping[str, Any], own: bool = False) -> str:
    """Return the first thing that is wrong; options as documented above."""
    reader, *others = map(Answer.of, pages)
    if own:
        return own_problem(reader, others, OwnIndex(**index))
    _nobody, publisher, *wheels = others
    names, place = index["names"], f"into {index['credentials_in']}"
    given = Index(
        url=index["url"],
        place=names["url"],
        host=index["host"],
        account=Account.written(f"'{index['user']}'", names["user"], names["password"], place),
        package=index["package"],
        package_variable=index["package_variable"],
        trust=index["trust"],
    )
    account = Account.written(f"'{index['publisher_user']}'", names["publisher_user"], names["publisher_password"], place)
    uploads = Uploads(index["upload_url"], names["upload_url"], account, index["projects"])
    return index_problem(reader, given) or upload_problem(publisher, wheels, uploads, given)


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters of this file by their names."""
        return {"index_problem": problem}
