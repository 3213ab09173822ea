# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a value that is given beside an experiment file as that file would be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

DOCUMENTATION = r"""
name: given_value
short_description: A value as an experiment file has it
version_added: 0.2.0
description:
  - Reads a text as YAML 1.2, as experiment files are read.
  - C(1e-3) is a number there. C(yes), C(1:30) and dates are texts, which Ansible's C(from_yaml) takes for other things.
  - A number with a zero in front, C(012), and what is no YAML are texts.
options:
  _input:
    description: The text.
    type: str
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Show a number
  ansible.builtin.debug:
    msg: "{{ '1e-3' | mlops.lab.given_value }}"
"""

RETURN = r"""
_value:
  description: A text, a number, true, false, nothing, a list or a dictionary.
  type: raw
"""


class _Loader(yaml.SafeLoader):
    """Reads by version 1.2, as C(lab_experiment/document.py) does."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"(?![-+]?[0-9]+$)[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def given_value(text: str) -> Any:
    """Return what a text says; the text itself when it is no YAML, since whoever takes the value says what it may be."""
    try:
        return yaml.load(str(text), _Loader)
    except yaml.YAMLError:
        return str(text)


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[str], Any]]:
        """Return the filters of this file by their names."""
        return {"given_value": given_value}
