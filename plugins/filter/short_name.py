# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say by which name a user knows a credential of the lab."""

from __future__ import annotations

from collections.abc import Callable

DOCUMENTATION = r"""
name: short_name
short_description: Name by which a user knows a credential of the vault
version_added: 0.2.0
description:
  - Returns the name of a variable of the lab's vault without what all or many of them have in common, as a user types it.
options:
  _input:
    description: The name of the variable.
    type: str
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Say redis
  ansible.builtin.debug:
    msg: "{{ 'vault_redis_password' | mlops.lab.short_name }}"
"""

RETURN = r"""
_value:
  description: The short name.
  type: str
"""


def short_name(name: str) -> str:
    """Return the name by which a user knows a credential: redis for vault_redis_password."""
    return name.removeprefix("vault_").removesuffix("_password")


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return the filters of this file by their names."""
        return {"short_name": short_name}
