# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the values that are given beside an experiment file as that file would be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

DOCUMENTATION = r"""
name: given_values
short_description: Values that are given beside an experiment file
version_added: 0.2.0
description:
  - Takes a text of C(key=value) parts with blanks between them. A value in quotes or brackets may have blanks itself.
  - Reads each value as YAML 1.2, as experiment files are read.
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
- name: Show a number and a list
  ansible.builtin.debug:
    msg: "{{ 'inputs.share=1e-3 inputs.columns=[age, \"last visit\"]' | mlops.lab.given_values }}"
"""

RETURN = r"""
_value:
  description: The parts in their order.
  type: list
  elements: dict
  contains:
    part:
      description: The part as it was written.
      type: str
    key:
      description: What gets the value; empty where the part is not C(key=value).
      type: str
    value:
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


def _is_yaml(text: str) -> bool:
    """Say whether a text can be read."""
    try:
        yaml.load(text, _Loader)
    except yaml.YAMLError:
        return False
    return True


def _parts(text: str) -> Iterator[str]:
    """Split a text at its blanks, but for those in a value that begins with a quote or a bracket: it ends where it can be read."""
    words = re.split(r"(\s+)", text.strip())
    while words:
        ends = range(1, len(words) + 1, 2) if re.match(r"[^=]+=[\[{'\"]", words[0]) else [1]
        end = next((end for end in ends if _is_yaml("".join(words[:end]).partition("=")[2])), 1)
        yield "".join(words[:end])
        del words[: end + 1]


def given_values(text: str) -> list[dict[str, Any]]:
    """Return the parts of a text with the ``key`` and the ``value`` of each, as the documentation above says."""
    found = []
    for part in filter(None, _parts(str(text))):
        key, is_one, value = part.partition("=")
        # What is no YAML is a text: whoever takes the value says what it may be.
        found.append({"part": part, "key": key if is_one else "", "value": yaml.load(value, _Loader) if _is_yaml(value) else value})
    return found


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[[str], Any]]:
        """Return the filters of this file by their names."""
        return {"given_values": given_values}
