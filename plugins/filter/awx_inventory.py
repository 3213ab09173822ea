# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the expressions by which a job of AWX reads the answers of its survey and its credentials."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

DOCUMENTATION = r"""
name: awx_inventory
short_description: What a host in AWX's inventory has beside the values of the lab
version_added: 0.2.0
description:
  - Returns variables whose values are expressions. They are read in the jobs, and not where they are written.
  - An optional question is called C(survey_<variable>), because an empty answer would hide the inventory's value. The variable reads the answer, or else
    C(given_<variable>), which keeps that value.
  - A secret is read from the file of a credential, C(encrypted_vault_file) or C(nexus_credentials_file).
options:
  _input:
    description: The values of the lab and of its playbooks. A question about anything else is left out.
    type: dict
    required: true
  optional:
    description:
      - Kinds of the optional questions, by their variables.
      - V(text) is taken without blanks around it. V(list) has one entry in each line, or is one URL of a file.
        V(path) has a directory inside the project in each line. V(version) has C(python) before its number.
    type: dict
    required: true
  project:
    description: How a job finds the directory of the project, as an expression without its braces.
    type: str
    required: true
  secrets:
    description: Names of the variables in the vault.
    type: list
    elements: str
    required: true
  of_index:
    description: Those of them that the package index's own credential has first, if the job has one and they are not empty there.
    type: list
    elements: str
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Show how a job gets the address of the index
  ansible.builtin.debug:
    msg: "{{ values | mlops.lab.awx_inventory(optional={'lab_index_url': 'text'}, project='playbook_dir', secrets=['vault_a'], of_index=[]) }}"
  vars:
    values: {lab_index_url: https://nexus.example.com/simple/, lab_name: lab}
"""

RETURN = r"""
_value:
  description: Variables of a host.
  type: dict
"""

# Nothing outside of the project: no `..`, no absolute path, no variable of a shell.
INSIDE = "(?!(.*/)?[.][.](/|$))[A-Za-z0-9_.][A-Za-z0-9_.+ /-]*$"


def answered(name: str, kind: str, project: str) -> str:
    """Return the expression for a variable that an optional question of this kind asks for."""
    survey, given = f"survey_{name}", f"given_{name}"
    answer = f"{survey} | default('', true)"
    lines = f"({survey} | trim).splitlines()"
    entries = f"{lines} | map('trim') | select"
    refused = (
        f"undef(hint='The survey asks for directories inside the repository, one in each line, and was answered ' ~ {lines} | join(', ')"
        " ~ ': write for example examples/wine_cultivars.')"
    )
    expressions = {
        "text": f"{answer} | trim or {given}",
        "list": f"({survey} | trim if {survey} | trim is match('https?://[^,\\s]+$') else {entries}) if {answer} | trim else {given}",
        "path": f"{given} if not {answer} | trim else {refused} if {entries} | reject('match', '{INSIDE}') | list"
        f" else {entries} | map('regex_replace', '^', ({project}) ~ '/') | list",
        "version": f"{answer} | regex_replace('^python', '') or {given}",
    }
    return f"{{{{ {expressions[kind]} }}}}"


def secret(name: str, of_index: bool) -> str:
    """Return the expression for a secret of the vault, which the index's own credential may have too."""
    in_vault = f"(lookup('ansible.builtin.file', encrypted_vault_file) | from_yaml)['{name}']"
    own = f"(lookup('ansible.builtin.file', nexus_credentials_file) | from_json)['{name}']"
    expression = f"({own} if nexus_credentials_file is defined else '') or {in_vault}" if of_index else in_vault
    return f"{{{{ {expression} }}}}"


def awx_inventory(values: Mapping[str, Any], optional: Mapping[str, str], project: str, secrets: Collection[str], of_index: Collection[str]) -> dict[str, Any]:
    """Return what a host in AWX's inventory has beside the lab's values: those that answers replace, answers, secrets."""
    asked = {name: kind for name, kind in optional.items() if name in values}
    return {
        **{f"given_{name}": values[name] for name in asked},
        **{name: answered(name, kind, project) for name, kind in asked.items()},
        **{name: secret(name, name in of_index) for name in secrets},
    }


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filters of this file by their names."""
        return {"awx_inventory": awx_inventory}
