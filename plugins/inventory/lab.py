# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a lab's `hosts.yml`, and open the vault beside it with the password beside it, wherever Ansible was started."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lab
short_description: Hosts of a lab, whose vault is opened with the password beside them
version_added: 0.2.0
description:
  - Reads groups and hosts as P(ansible.builtin.yaml#inventory) does.
  - Opens C(group_vars/lab/vault.yml) beside this file with the password in C(.vault_password) beside it, so that no C(ansible.cfg) and no option has to
    name it. A password that Ansible was told in another way is used, too.
  - A password that is missing or wrong stops before any host is reached.
author:
  - The mlops.lab authors (@mlops-lab)
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [mlops.lab.lab]
"""

EXAMPLES = r"""
# hosts.yml
plugin: mlops.lab.lab
lab:
  children:
    lab_control: {hosts: {lab.example.org: {ansible_user: admin}}}
    lab_workers: {hosts: {lab.example.org: }}
    lab_builder: {hosts: {lab.example.org: }}
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.parsing.vault import VaultSecret
from ansible.plugins.inventory import BaseFileInventoryPlugin
from ansible.plugins.inventory.yaml import InventoryModule as YamlInventory
from ansible_collections.mlops.lab.plugins.plugin_utils.vaults import MARK, moved, opened

PASSWORD = Path(".vault_password")
VAULT = Path("group_vars/lab/vault.yml")


def shown(path: Path) -> str:
    """Return a path as a user would type it: relative where it is below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def password_of(home: Path, others: bool) -> bytes:
    """Return the password of the lab in a folder, nothing when it has none.

    Args:
        home: the lab's folder.
        others: Ansible was told another password, which may be the right one.

    Raises:
        ValueError: it is missing or wrong; a sentence for the user.
    """
    password_file, vault_file = home / PASSWORD, home / VAULT
    vault = vault_file.read_bytes() if vault_file.exists() else b""
    password = password_file.read_bytes().strip() if password_file.exists() else b""
    old = home / "group_vars/all/vault.yml"
    if not others and not vault and old.exists() and old.read_bytes().startswith(MARK):
        raise ValueError(moved(shown(old), shown(vault_file), shown(password_file)))
    if not others and vault.startswith(MARK):
        opened(vault, password if password_file.exists() else None, shown(vault_file), shown(password_file))
    return password


class InventoryModule(YamlInventory):
    """Ansible's own YAML inventory, and a vault that opens."""

    NAME = "mlops.lab.lab"

    def verify_file(self, path: str) -> bool:
        """Tell whether there is such a file; its key `plugin` brought us here."""
        return bool(BaseFileInventoryPlugin.verify_file(self, path))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Take the password, then groups and hosts."""
        BaseFileInventoryPlugin.parse(self, inventory, loader, path)
        data = loader.load_from_file(path, cache="none", trusted_as_template=True)
        if not isinstance(data, dict):
            raise AnsibleParserError(f"{path} holds no groups.")
        told = list(loader._vault.secrets or [])
        try:
            password = password_of(Path(path).absolute().parent, bool(told))
        except ValueError as error:
            # Any other exception would be a warning, and a run without hosts.
            raise SystemExit(str(error)) from error
        if password:
            loader.set_vault_secrets([*told, ("default", VaultSecret(password))])
        for name, group in data.items():
            if name != "plugin":
                self._parse_group(name, group)
