# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell who wrote a text: HMAC with SHA-256, on the control node, so that the key stays there."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

DOCUMENTATION = r"""
name: hmac_sha256
short_description: HMAC of a text with SHA-256
version_added: 0.1.0
description:
  - Returns the authentication code of a text (RFC 2104), which only somebody who knows the key can make.
positional: key
options:
  _input:
    description: The text.
    type: str
    required: true
  key:
    description: The key; a long random one.
    type: str
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Seal a text
  ansible.builtin.debug:
    msg: "{{ 'a text' | mlops.lab.hmac_sha256(vault_key) }}"
"""

RETURN = r"""
_value:
  description: The code, 64 hexadecimal digits.
  type: str
"""


def hmac_sha256(text: str, key: str) -> str:
    """Return the authentication code of a text as 64 hexadecimal digits."""
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[str, str], str]]:
        """Return the filters of this file by their names."""
        return {"hmac_sha256": hmac_sha256}
