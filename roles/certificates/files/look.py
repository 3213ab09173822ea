"""Look at key, certificate and trust store of this host, and say in JSON what is wrong with them. The key is read, and nothing of it is shown.

The one argument is a question in JSON: ``__certificates_question`` of the role.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import json
import re
import shutil
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
MODES = {"ca.pem": 0o444, "host.pem": 0o444, "host.key": 0o640}


def read(path: Path) -> str:
    """Return the text of a file, "" where none can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def between(authority: str) -> str:
    """Return those of a chain of authorities that are no root: who trusts the root alone has to be told them. A bare host's Python can do this, too."""
    found = []
    for pem in PEM.findall(authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with contextlib.suppress(ssl.SSLError, ValueError):  # whoever signs with it says what is wrong
            context.load_verify_locations(cadata=pem)
        found += [f"{pem}\n" for one in context.get_ca_certs() if one["subject"] != one["issuer"]]
    return "".join(found)


def rights(path: Path, mode: int, owner: str, group: str) -> bool:
    """Tell whether a file is there with this mode and these owners."""
    try:
        return stat.S_IMODE(path.stat().st_mode) == mode and (path.owner(), path.group()) == (owner, group)
    except (OSError, KeyError):  # KeyError: of a user without a name
        return False


def issued(certificate: Any, authority: Any) -> bool:
    """Tell whether the authority signed the certificate. Debian 12's version of the library has no method for that."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

    key = authority.public_key()
    signed = (certificate.signature, certificate.tbs_certificate_bytes)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(*signed, ec.ECDSA(certificate.signature_hash_algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(*signed, padding.PKCS1v15(), certificate.signature_hash_algorithm)
        elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(*signed)
        else:
            return False
    except (InvalidSignature, TypeError):  # TypeError: signed by a key of another kind, whose hash is none
        return False
    return bool(certificate.issuer == authority.subject)


def names_of(certificate: Any) -> list[str]:
    """Return the names that a certificate is for, as ``DNS:localhost``."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [f"{'IP' if isinstance(name, x509.IPAddress) else 'DNS'}:{name.value}" for name in names]


def days_left(certificate: Any) -> float:
    """Return for how many days a certificate is valid."""
    end = getattr(certificate, "not_valid_after_utc", None)  # which Debian 12 has not
    end = end or getattr(certificate, "not_valid_after", datetime.datetime.min).replace(tzinfo=datetime.UTC)
    return float((end - datetime.datetime.now(datetime.UTC)).total_seconds() / 86400)


def faults(directory: Path, question: dict[str, Any]) -> list[str]:
    """Return why the host needs another certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as form

    key: Any = None
    authority: Any = None
    with contextlib.suppress(OSError, ValueError, TypeError):
        key = form.load_pem_private_key((directory / "host.key").read_bytes(), None)
    try:
        certificate = x509.load_pem_x509_certificate((directory / "host.pem").read_bytes())
    except OSError:
        return ["the host has no certificate"]
    except ValueError:
        return ["host.pem is no certificate"]
    with contextlib.suppress(ValueError):  # whoever signs with it says what is wrong
        authority = x509.load_pem_x509_certificate(question["authority"].encode())

    def public(key: Any) -> bytes:
        return bytes(key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo))

    found = []
    if key is None or public(key.public_key()) != public(certificate.public_key()):
        found.append("the certificate is not that of the host's key")
    if authority is None or not issued(certificate, authority):
        found.append("the certificate is not signed by this authority")
    if set(names_of(certificate)) != set(question["names"]):
        found.append("the host has other names")
    left = days_left(certificate)
    if left < question["renew_days"]:
        found.append(f"the certificate expires in {left:.0f} days" if left > 0 else "the certificate has expired")
    return found


def look(question: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong, each as sentences without a full stop.

    Returns:
        ``sign``: why the host needs another certificate, ``place``: which files have to be written, ``trust``: why the trust store has to be;
        ``certificate``: the one that is there, alone, ``between``: what follows it in ``host.pem``, ``packages``: what has to be installed before.
    """
    directory, trust_file = Path(question["directory"]), Path(question["trust_file"])
    authority, packages = question["authority"], []
    if importlib.util.find_spec("cryptography") is None:
        packages.append("python3-cryptography")
        sign = ["python3-cryptography is missing, and nothing can read keys and certificates"]
    else:
        sign = faults(directory, question)
    of = (question["owner"], question["group"])
    place = [f"{name} has other rights" for name, mode in MODES.items() if (directory / name).exists() and not rights(directory / name, mode, *of)]
    held = read(directory / "host.pem")
    certificate, follow = "".join(f"{pem}\n" for pem in PEM.findall(held)[:1]), between(authority)
    if not sign and held != certificate + follow:
        place.append("host.pem does not hold the authorities between the host and the root")
    if read(directory / "ca.pem") != authority:
        place.append("ca.pem is not this authority's certificate")
    trust = []
    if question["trust_file"]:
        if shutil.which(question["trust_command"]) is None:
            packages.append("ca-certificates")
        # An interrupted run leaves the file, and a trust store that does not have it.
        if read(trust_file) != authority or authority not in read(Path(question["trust_bundle"])):
            trust.append("the host does not trust the authority")
    return {"sign": sign, "place": place, "trust": trust, "certificate": certificate, "between": follow, "packages": packages}


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
