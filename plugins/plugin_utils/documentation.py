# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's documentation says about its options, for the action plugin behind it: they are written once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

KEYS = ("type", "elements", "required", "default", "choices")


def argument_spec(documentation: str, inside: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the argument spec, for `validate_argument_spec`, of a module's ``DOCUMENTATION``.

    The options inside of options are left to the plugin, but for those of `inside`: what is wrong with one of them was written by a user under a
    variable's name, and the plugin knows that name.
    """

    def spec(options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: {key: option[key] for key in KEYS if key in option} for name, option in options.items()}

    options = yaml_load(documentation)["options"]
    return {name: {**one, **({"options": spec(options[name]["suboptions"])} if name in inside else {})} for name, one in spec(options).items()}
