# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.lab_vault`; its documentation is in plugins/modules/lab_vault.py."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.filter.short_name import short_name
from ansible_collections.mlops.lab.plugins.modules.lab_vault import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.vaults import MARK, moved, opened
from ansible_collections.mlops.lab.plugins.plugin_utils.writing import write

#: characters of a random password
LENGTH = 32
#: days that the certificate of an authority counts
DAYS = 3650


def random_password() -> str:
    """Return a random text that needs no quotes anywhere."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(LENGTH))


def authority(lab: str) -> tuple[str, str]:
    """Return a private key and the certificate that it signed itself, both PEM, of a lab's certificate authority."""
    # ansible-core needs it itself; ansible-test imports plugins without it
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    # A certificate has room for 64 bytes.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{lab.encode()[:57].decode(errors='ignore')} lab CA")])
    now, uses = datetime.datetime.now(datetime.UTC), {"key_cert_sign", "crl_sign"}
    others = {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**dict.fromkeys(uses, True), **dict.fromkeys(others, False)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return text.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def entries_of(text: str) -> list[tuple[str, Any]]:
    """Return the names in a vault, and what YAML reads for each, before tags and variables count.

    Raises:
        ValueError: it has another form. Without the cause, which would show a line of the vault.
    """
    if not text.strip():
        return []
    with contextlib.suppress(yaml.YAMLError):
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            return [(str(name.value), value.value) for name, value in node.value]
    raise ValueError("no YAML of the form `name: value`")


def written(text: str, values: Mapping[str, str], there: Iterable[str]) -> str:
    """Return the text of a vault with other values: in their places where the names are there, behind it otherwise. All else stays as it is.

    Raises:
        ValueError: the text has a form in which that does not work.
    """
    there = list(there)
    new = text
    for name in values.keys() & there:
        line = f"{name}: {json.dumps(values[name])}".replace("\\", "\\\\")
        new = re.sub(rf"(?m)^{re.escape(name)}:.*$", line, new)
    if new and not new.endswith("\n"):
        new += "\n"
    added = [name for name in values if name not in there]
    for name in added:
        lines = values[name].strip().splitlines()
        new += f"{name}: |\n" + "".join(f"  {line}\n" for line in lines) if len(lines) > 1 else f"{name}: {json.dumps(values[name])}\n"
    found = entries_of(new)
    if [name for name, _value in found] != [*there, *added] or any(name in values and str(value).strip() != values[name].strip() for name, value in found):
        raise ValueError("another form")
    return new


class ActionModule(ActionBase):
    """Make or complete the vault on the control node."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make what is missing; see the module documentation for arguments and result."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION, inside=["credentials"]))
        self._home, self._file, self._password_file = (Path(args[name]) for name in ("home", "file", "password_file"))
        try:
            return self._provide(args)
        except ValueError as error:
            sentence = str(error)
        except OSError as error:
            sentence = f"{error.filename or self._file} cannot be read or written: {error.strerror}."
        return {"failed": True, "msg": sentence}

    def _provide(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Judge what is there, then write what is missing. Raises :class:`ValueError` with a sentence for the user."""
        vault = self._file.read_bytes() if self._file.exists() else None
        encrypted = vault is not None and vault.startswith(MARK)
        password = self._password_file.read_bytes().strip() if self._password_file.exists() else None
        old_file = self._home / "group_vars/all/vault.yml"
        if vault is None and old_file.exists():
            raise ValueError(moved(str(old_file), str(self._file), str(self._password_file)))
        if encrypted and not password:
            opened(vault or b"", password, str(self._file), str(self._password_file))
        self._refuse_strange(args)
        made_password = password is None
        if password is None:
            # Before all else that may be wrong: whoever has to encrypt a vault with it finds it there.
            password = random_password().encode()
            if not self._task.check_mode:
                self._make_folder(self._password_file.parent)
                write(self._password_file, password + b"\n", 0o600)
        content = opened(vault or b"", password, str(self._file), str(self._password_file)) if encrypted else vault or b""
        there: list[str] | None = None
        with contextlib.suppress(ValueError):
            text = content.decode()
            there = [name for name, _value in entries_of(text)]
        if there is None:
            raise ValueError(f"{self._file} holds no YAML of the form `name: value`: put it right with ansible-vault edit.")

        names = [entry["name"] for entry in args["credentials"]]
        missing = [name for name in names if name not in there]
        renewed = [name for name in names if name in there and short_name(name) in args["renew"]]
        result = {"changed": made_password, "there": bool(there), "added": missing, "renewed": renewed}
        self._refuse(args["credentials"], missing, renewed, vault is not None and not encrypted)
        if not missing and not renewed:
            return result
        if not password:
            raise ValueError(f"The vault password is empty: write one into {self._password_file}, or remove that file to get a random one.")
        new = ""
        with contextlib.suppress(ValueError):
            new = written(text, self._values(args["credentials"], {*missing, *renewed}), there)
        if not new:
            raise ValueError(
                f"{', '.join([*missing, *renewed])} cannot be written to {self._file}: write each of its values as `name: value` on a line of its own "
                "with ansible-vault edit."
            )
        if not self._task.check_mode:
            header = (vault or b"").partition(b"\n")[0].decode(errors="replace").split(";")
            label = header[3].strip() if len(header) > 3 else "default"  # the name of its password stays
            secret = VaultSecret(password)
            self._make_folder(self._file.parent)
            write(self._file, VaultLib([(label, secret)]).encrypt(new, secret=secret, vault_id=label), None if vault else 0o600)
        result["changed"] = True
        if self._task.diff:
            before = [f"{name}: (hidden)\n" for name in renewed]
            after = [f"{name}: (hidden{', another one' if name in renewed else ''})\n" for name in [*renewed, *missing]]
            result["diff"] = {"before": "".join(before), "after": "".join(after), "before_header": str(self._file), "after_header": str(self._file)}
        return result

    def _refuse_strange(self, args: Mapping[str, Any]) -> None:
        """Stop at names whose values cannot be made anew here."""
        # A lab that uses somebody's index or registry has its own passwords there. Its files are read as text, since no inventory need be known.
        files = [path for path in (self._home / "group_vars/lab").glob("[!.]*.yml") if path.name != "vault.yml"]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
        given = {name for text in texts for name in re.findall(r"""(?m)^lab_([a-z_]+): *["']?[^\s"'#]""", text)}
        elsewhere = {short_name(entry["name"]) for entry in args["credentials"] if entry["elsewhere"] in given}
        renewable = [name for name in args["renewable"] if name not in elsewhere]
        if strange := [name for name in args["renew"] if name not in renewable]:
            raise ValueError(f"Of {', '.join(strange)} no new value can be made here; renew takes {', '.join(renewable)}.")

    def _refuse(self, credentials: Iterable[Mapping[str, Any]], missing: list[str], renewed: list[str], clear: bool) -> None:
        """Stop at a vault in clear text, which is not written to, and at half of an authority."""
        if clear and missing:
            raise ValueError(
                f"{self._file} lacks {', '.join(missing)} and is not encrypted: encrypt it with `ansible-vault encrypt --vault-password-file "
                f"{self._password_file} {self._file}`, then run this again."
            )
        if clear and renewed:
            raise ValueError(f"{self._file} is not encrypted: encrypt it first, then run this again.")
        pair = [entry["name"] for entry in credentials if entry["kind"] in ("private_key", "certificate")]
        if 0 < len({*pair} & {*missing}) < len(pair):
            raise ValueError(
                f"{self._file} has one of {' and '.join(pair)}, which belong together: add the other one with ansible-vault edit, or remove "
                "both to get new ones."
            )

    def _values(self, credentials: Iterable[Mapping[str, Any]], names: set[str]) -> dict[str, str]:
        """Return new values of some credentials."""
        kinds = {entry["name"]: entry["kind"] for entry in credentials if entry["name"] in names}
        key, certificate = authority(self._home.name) if {"private_key", "certificate"} & {*kinds.values()} else ("", "")
        made = {"private_key": key, "certificate": certificate, "given": ""}
        first = {entry["name"]: entry["first"] for entry in credentials}

        def value_of(name: str, kind: str) -> str:
            if kind == "password":
                return random_password()
            if kind == "fernet":
                return base64.urlsafe_b64encode(os.urandom(32)).decode()
            return str(first[name]) if kind == "user" else made[kind]

        return {name: value_of(name, kind) for name, kind in kinds.items()}

    @staticmethod
    def _make_folder(folder: Path) -> None:
        """Make a directory that everybody may read, with those above it."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            path.chmod(0o755)
