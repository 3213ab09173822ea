# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a lab's vault with the lab's own password, and say in one sentence why that does not work."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

#: What an encrypted file begins with
MARK = b"$ANSIBLE_VAULT;"


def moved(old_file: str, vault_file: str, password_file: str) -> str:
    """Return the sentence for a lab whose vault is where versions before 0.2 had it."""
    return (
        f"This lab has its credentials where an older version had them: move {old_file} to {vault_file}, "
        f"and the .vault_password of the checkout to {password_file}."
    )


def opened(vault: bytes, password: bytes | None, vault_file: str, password_file: str) -> bytes:
    """Return the content of an encrypted vault.

    Args:
        vault: the encrypted text.
        password: what opens it; None where there is no file with one.
        vault_file: path of the vault, for messages.
        password_file: path of the password, for messages.

    Raises:
        ValueError: the password is missing or wrong, or the vault is damaged; a sentence for the user.
    """
    if not password:
        raise ValueError(
            f"The vault password is {'missing' if password is None else 'empty'}: {vault_file} is encrypted; write the password that opens it into "
            f"{password_file}, or remove {vault_file} to get new credentials."
        )
    try:
        return bytes(VaultLib([("default", VaultSecret(password))]).decrypt(vault))
    except AnsibleError as error:
        wrong = "Decryption failed" in str(error)
    raise ValueError(
        f"The vault password is wrong: {password_file} does not open {vault_file}; write the right password into {password_file}, "
        "or remove both files to get new credentials."
        if wrong
        else f"{vault_file} is damaged: restore it, or remove it to get new credentials."
    )
