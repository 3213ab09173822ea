"""Certificate authorities for tests, as Python 3.13 wants them: with key identifiers, and with what their keys are for."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
SIGNS = x509.KeyUsage(False, False, False, False, False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its key, its certificate, and both as text."""

    key: Any
    certificate: x509.Certificate
    key_text: str
    text: str


def text_of(key: Any) -> str:
    """Return a private key as PEM, without a passphrase."""
    return str(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode())


def sign(subject: str, key: Any, issuer: str, issuer_key: Any, days: float, *extensions: x509.ExtensionType) -> x509.Certificate:
    """Return a certificate for the key of a subject, signed by an issuer, that is valid for so many days more."""
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - datetime.timedelta(days=9))
    builder = builder.not_valid_after(NOW + datetime.timedelta(days=days))
    own = [x509.SubjectKeyIdentifier.from_public_key(key.public_key()), x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())]
    for extension in {type(extension): extension for extension in (*own, *extensions)}.values():
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@cache
def authority(name: str = "churn", kind: str = "ec", length: int | None = 0) -> Authority:
    """Return an authority, which may have so many below it; one of arguments that are written the same is the same."""
    key: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    certificate = sign(f"{name} lab CA", key, f"{name} lab CA", key, 3650, x509.BasicConstraints(True, length), SIGNS)
    return Authority(key, certificate, text_of(key), certificate.public_bytes(form.Encoding.PEM).decode())


def certify(folder: Path, address: str, days: float = 9, kind: str = "ec") -> None:
    """Write `host.key`, `host.pem` and `ca.pem`, as role certificates does, for a host at an IP address."""
    ca, key = authority("churn"), rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    certificate = sign(address, key, "churn lab CA", ca.key, days, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]))
    texts = {"host.key": text_of(key), "host.pem": certificate.public_bytes(form.Encoding.PEM).decode(), "ca.pem": ca.text}
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
