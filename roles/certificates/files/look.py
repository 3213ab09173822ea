"""Look at key, certificate and trust store of this host, and say in JSON what is wrong with them. The key is read, and nothing of it is shown.

The one argument is a question in JSON: ``__certificates_question`` of the role. Without it, on the control node, a certificate that is given is judged:
``__certificates_judged`` on standard input.
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
            scheme = getattr(certificate, "signature_algorithm_parameters", None) or padding.PKCS1v15()  # which Debian 12 has not
            key.verify(*signed, scheme, certificate.signature_hash_algorithm)
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


def public(key: Any) -> bytes:
    """Return a public key in a form that can be compared."""
    from cryptography.hazmat.primitives import serialization as form

    return bytes(key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo))


def reaches(certificate: Any, others: list[Any], trusted: list[Any]) -> bool:
    """Tell whether one of the trusted authorities signed a certificate, or signed who signed it."""
    for _ in range(len(others) + 1):
        if any(issued(certificate, one) for one in trusted):
            return True
        certificate = next((one for one in others if issued(certificate, one)), certificate)
    return False


def judge(given: dict[str, Any]) -> str:
    """Return why others would refuse a certificate that is given, "" where they would not; never a line of its key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    called = given["called"]
    try:
        own, *others = [x509.load_pem_x509_certificate(pem.encode()) for pem in PEM.findall(given["certificate"])]
        trusted = [x509.load_pem_x509_certificate(pem.encode()) for pem in PEM.findall(given["authority"])]
    except ValueError:
        return "is no certificate in PEM: write the host's first, then those of the authorities between it and the root"
    try:
        fits = public(form.load_pem_private_key(given["key"].encode(), None).public_key()) == public(own.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a passphrase
        fits = False
    if not fits:
        return f"does not belong to its key ({called['key']}): write the private key of the host's certificate there, in PEM and without a passphrase"
    if days_left(own) <= 0:
        return "has expired: write one that is valid"
    found = [name.lower() for name in names_of(own)]
    missing = [name for name in given["names"] if name.lower() not in found and f"dns:*.{name.partition('.')[2]}" not in found]
    if missing:
        return f"is not for {', '.join(missing)}, by which others reach the host: write one that is"
    if not reaches(own, others, trusted):
        return f"is not signed by {called['ca_certificate']}: write the certificate of its root there, and here those of the authorities between the two"
    return ""


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

    found = []
    if key is None or public(key.public_key()) != public(certificate.public_key()):
        found.append("the certificate is not that of the host's key")
    if question["given"]:
        return found
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
    if question["given"] and held != question["given"]:
        place.append("host.pem is not the certificate that is given")
    elif not sign and not question["given"] and held != certificate + follow:
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
    print(json.dumps(look(json.loads(sys.argv[1]))) if sys.argv[1:] else judge(json.load(sys.stdin)))
