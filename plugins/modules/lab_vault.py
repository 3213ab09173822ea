#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.lab_vault`; all of it happens in plugins/action/lab_vault.py."""

DOCUMENTATION = r"""
module: lab_vault
short_description: Give a lab a vault of random credentials, and add what an older vault lacks
version_added: 0.2.0
description:
  - Makes the password of the vault and the vault, encrypted with it, where they are not there.
  - Adds the credentials that a vault lacks, behind what it has; comments, order and all other values stay. Nothing that exists is changed but for what
    RV(renewed) names.
  - A vault that is not encrypted, does not open or has another form than lines of C(name=value) in YAML is refused and stays as it is.
  - Runs on the control node alone. Values are in no result, no diff, no argument of a program and no environment.
  - In check mode nothing is written; diffs show names alone.
options:
  home:
    description: The lab's folder. What others decide on is read from C(group_vars/lab/*.yml) in it, and its name is in that of the authority.
    type: path
    required: true
  file:
    description: The vault.
    type: path
    required: true
  password_file:
    description: The file with the password of the vault.
    type: path
    required: true
  credentials:
    description: What belongs into the vault, in its order.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the variable., type: str, required: true}
      kind:
        description:
          - What it is. A password and a Fernet key are random, a user name is O(credentials[].first), and what somebody else's system gives is empty.
          - A private key and a certificate are those of a certificate authority, and are made together.
        type: str
        choices: [user, password, fernet, private_key, certificate, given]
        required: true
      first: {description: The user name of a new vault., type: str, default: ""}
      elsewhere: {description: "The variable, without its prefix C(lab_), that says when it is set that others decide on this one.", type: str, default: ""}
  renewable:
    description: Short names of those that may get another value.
    type: list
    elements: str
    default: []
  renew:
    description: Short names of those that get another value.
    type: list
    elements: str
    default: []
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Write random credentials, encrypted
  mlops.lab.lab_vault:
    home: ~/churn-lab
    file: ~/churn-lab/group_vars/lab/vault.yml
    password_file: ~/churn-lab/.vault_password
    credentials:
      - {name: vault_index_user, kind: user, first: reader}
      - {name: vault_index_password, kind: password}
    renewable: [index]
    renew: [index]
"""

RETURN = r"""
there:
  description: Whether there was a vault with values before.
  returned: success
  type: bool
added:
  description: Names of the credentials that the vault lacked.
  returned: success
  type: list
  elements: str
renewed:
  description: Names of those that have another value now.
  returned: success
  type: list
  elements: str
"""
