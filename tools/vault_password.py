#!/usr/bin/env python3
"""Print the lab's vault password, or say in one sentence why it cannot be used.

``ansible.cfg`` names this script as ``vault_password_file``, so a wrong password stops every playbook before any host is
touched. It needs nothing but the standard library, because Ansible starts it with the machine's own Python.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from binascii import unhexlify
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = Path(".vault_password")
VAULT = Path("inventories/lab/group_vars/all/vault.yml")
# Ansible refuses an empty password; nothing is encrypted with this one.
NO_VAULT_YET = "there-is-no-vault-yet"


def opens(password: bytes, vault: bytes) -> bool:
    """Tell whether `password` opens `vault` (the bytes of an ``$ANSIBLE_VAULT;1.x;AES256`` file).

    The format is Ansible's: hex of the lines ``hex(salt)``, ``hex(HMAC-SHA256 of the ciphertext)``, ``hex(ciphertext)``; the
    HMAC key is bytes 32 to 64 of PBKDF2-HMAC-SHA256 (10000 rounds). Raises ValueError when the text is not in that format.
    """
    body = b"".join(vault.split(b"\n")[1:]).replace(b"\r", b"")
    salt, signature, ciphertext = (unhexlify(part) for part in unhexlify(body).split(b"\n", 2))
    key = hashlib.pbkdf2_hmac("sha256", password, salt, 10000, 80)[32:64]
    return hmac.compare_digest(hmac.new(key, ciphertext, hashlib.sha256).digest(), signature)


def password_for(root: Path) -> str:
    """Return the vault password of the checkout in `root`; raises ValueError with a sentence for the user."""
    password_file, vault_file = root / PASSWORD, root / VAULT
    vault = vault_file.read_bytes() if vault_file.exists() else b""
    encrypted = vault.startswith(b"$ANSIBLE_VAULT;1.")
    if not password_file.exists():
        if encrypted:
            raise ValueError(
                f"The vault password is missing: {VAULT} is encrypted but there is no file {PASSWORD}; "
                f"write the password into it, or remove {VAULT} to get new credentials."
            )
        return NO_VAULT_YET
    password = password_file.read_text(encoding="utf-8").strip()
    if not password:
        raise ValueError(f"The vault password is empty: write the password that opens {VAULT} into {PASSWORD}.")
    if encrypted:
        try:
            fits = opens(password.encode(), vault)
        except ValueError as error:
            raise ValueError(f"{VAULT} is damaged ({error}): restore it, or remove it to get new credentials.") from error
        if not fits:
            raise ValueError(
                f"The vault password is wrong: {PASSWORD} does not open {VAULT}; "
                f"write the right password into {PASSWORD}, or remove both files to get new credentials."
            )
    return password


def main() -> int:
    """Run the script: the password to standard output, a reason to standard error."""
    try:
        print(password_for(ROOT))
    except (OSError, ValueError) as error:
        print(error, end="", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
