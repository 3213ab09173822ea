# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a package index has a wheel, by its page of the project."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: wheel_on_page
short_description: Whether a page of a package index has a wheel
version_added: 0.2.0
description:
  - Looks for a wheel on a project's page of an index (PEP 503) and compares the digest that the page gives with the wheel's own.
options:
  _input:
    description:
      - The page, and the wheel as C(build_wheel.py) of role M(mlops.lab.package_index) tells of it, a dictionary with C(filename) and C(hashes).
      - A pair, so that C(map) can go through many.
    type: list
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Say whether the index has the wheel
  ansible.builtin.debug:
    msg: "{{ [page.content, {'filename': 'churn-0.1.0-py3-none-any.whl', 'hashes': {'sha256': '...'}}] | mlops.lab.wheel_on_page }}"
"""

RETURN = r"""
_value:
  description: C(same), C(other) when the page has the file with another digest, or with none, or C(missing).
  type: str
"""


def wheel_on_page(page_and_wheel: Sequence[Any]) -> str:
    """Return ``same``, ``other`` or ``missing`` for a pair of page and wheel."""
    page, wheel = str(page_and_wheel[0] or ""), page_and_wheel[1]
    hashes: Mapping[str, str] = wheel["hashes"]
    found = re.search(rf"/{re.escape(wheel['filename'])}(?:#(\w+)=([0-9a-f]+))?[\"'<]", page)
    if not found:
        return "missing"
    return "same" if found[1] and hashes.get(found[1]) == found[2] else "other"


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[Sequence[Any]], str]]:
        """Return the filters of this file by their names."""
        return {"wheel_on_page": wheel_on_page}
