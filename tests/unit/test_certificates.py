"""The role certificates on this machine: keys, certificates and trust of a directory, by authorities that the tests make."""

from __future__ import annotations

import datetime
import ipaddress
import json
import shutil
import ssl
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.conftest import forms
from tests.unit.plays import Done, play

NAMES = ["192.0.2.7", "worker1.example.com", "localhost", "127.0.0.1"]
NOW = datetime.datetime.now(datetime.UTC)
MADE_BY_ROLE = ["ca.pem", "host.key", "host.pem"]


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its key, its certificate, and both as text."""

    key: Any
    certificate: x509.Certificate
    key_text: str
    text: str


def sign(subject: str, key: Any, issuer: str, issuer_key: Any, days: int, *extensions: x509.ExtensionType) -> x509.Certificate:
    """Return a certificate for the key of a subject, signed by an issuer."""
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - datetime.timedelta(days=1))
    builder = builder.not_valid_after(NOW + datetime.timedelta(days=days))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@cache
def authority(name: str = "churn", kind: str = "ec") -> Authority:
    """Return an authority; one of the same arguments is the same."""
    key: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    certificate = sign(f"{name} lab CA", key, f"{name} lab CA", key, 3650, x509.BasicConstraints(True, 0))
    key_text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    return Authority(key, certificate, key_text, certificate.public_bytes(form.Encoding.PEM).decode())


@dataclass
class Host:
    """The host, which is this machine: its directory of certificates and its trust store are below `folder`."""

    folder: Path

    def __post_init__(self) -> None:
        """Give it a command that rebuilds its trust store as Debian's does."""
        self.directory, self.local, self.bundle = self.folder / "lab/certificates", self.folder / "local", self.folder / "bundle.crt"
        self.command = self.folder / "update"
        self.local.mkdir(parents=True, exist_ok=True)
        self.bundle.touch()
        self.command.write_text(f"#!/bin/sh\necho x >>{self.folder}/updates\ncat {self.local}/*.crt >{self.bundle} 2>/dev/null || : >{self.bundle}\n")
        self.command.chmod(0o755)

    @property
    def updates(self) -> int:
        """How often the trust store was rebuilt."""
        done = self.folder / "updates"
        return len(done.read_text().split()) if done.exists() else 0

    def run(self, ca: Authority | None = None, *options: str, tasks: str = "main", **values: Any) -> Done:
        """Run the role, with `ca` as the authority."""
        ca = ca or authority()
        given = {
            "certificates_dir": str(self.directory),
            "certificates_names": NAMES,
            "certificates_ca_key": ca.key_text,
            "certificates_ca_certificate": ca.text,
            "__certificates_owner": self.folder.owner(),
            "__certificates_group": self.folder.group(),
            "__certificates_trust_file": str(self.local / "mlops-lab-ca.crt"),
            "__certificates_trust_bundle": str(self.bundle),
            "__certificates_trust_command": str(self.command),
        }
        extra = self.folder / "values.json"
        extra.write_text(json.dumps(given | values))
        role = {"ansible.builtin.import_role": {"name": "mlops.lab.certificates", "tasks_from": tasks}}
        return play(self.folder, [role], "-e", f"@{extra}", *options)

    def made(self, *more: Any, **values: Any) -> str:
        """Run the role, which has to succeed; returns what was printed."""
        done = self.run(*more, **values)
        assert done.returncode == 0, done.output
        return done.output

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that the host has."""
        return x509.load_pem_x509_certificate((self.directory / "host.pem").read_bytes())

    def contents(self) -> dict[str, bytes]:
        """Return the files that the role made."""
        return {name: (self.directory / name).read_bytes() for name in MADE_BY_ROLE}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    """A host after its first run, and what that printed when it was asked for everything."""
    host = Host(tmp_path_factory.mktemp("host"))
    return host, host.made(None, "-vvv", "--diff")


@pytest.fixture
def host(first: tuple[Host, str], tmp_path: Path) -> Host:
    """A host after its first run, for one test alone."""
    shutil.copytree(first[0].folder / "lab", tmp_path / "lab")
    host = Host(tmp_path)
    for path in (host.local / "mlops-lab-ca.crt", host.bundle):
        path.write_text(authority().text)
        path.chmod(0o644)
    return host


def changed(output: str) -> int:
    """Return how many tasks changed something, but for the one that keeps the test's result."""
    return int(output.rpartition("changed=")[2].split()[0]) - 1


def test_the_first_run_makes_key_certificate_and_trust(first: tuple[Host, str]) -> None:
    host, certificate = first[0], first[0].certificate
    assert sorted(path.name for path in host.directory.iterdir()) == MADE_BY_ROLE
    assert [stat.S_IMODE((host.directory / name).stat().st_mode) for name in MADE_BY_ROLE] == [0o444, 0o640, 0o444]
    key: Any = form.load_pem_private_key((host.directory / "host.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) and key.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(authority().certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["worker1.example.com", "localhost"] and not names.critical
    assert names.value.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("127.0.0.1")]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert 396 <= (certificate.not_valid_after_utc - NOW).days <= 397 and certificate.not_valid_before_utc < NOW
    assert (host.directory / "ca.pem").read_text() == authority().text == host.bundle.read_text()
    assert host.updates == 1


def test_the_authority_s_key_is_nowhere(first: tuple[Host, str]) -> None:
    """Neither in what is printed at -vvv with differences nor in a file that a run leaves."""
    host, printed = first
    lines = authority().key_text.splitlines()[1:-1]
    wanted = {shape for line in lines for shape in forms(line)}
    assert not [shape for shape in wanted if shape in printed]
    files = [path for path in host.folder.rglob("*") if path.is_file() and path.name != "values.json"]
    assert not [path for path in files if any(line in path.read_bytes().decode(errors="replace") for line in lines)]
    own = (host.directory / "host.key").read_text().splitlines()[1:-1]
    assert not [line for line in own if line in printed]


def test_client_and_server_trust_each_other(first: tuple[Host, str]) -> None:
    """TLS as both ends have it with these files: each shows its certificate, and the name is checked."""
    directory = first[0].directory
    sides = []
    for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
        context = ssl.create_default_context(purpose, cafile=str(directory / "ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(directory / "host.pem", directory / "host.key")
        sides.append(context)
    for name, fits in (("worker1.example.com", True), ("192.0.2.7", True), ("worker2.example.com", False), ("192.0.2.8", False)):
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = sides[0].wrap_bio(there, back, server_side=True)
        client = sides[1].wrap_bio(back, there, server_hostname=name)
        open_ends, refused = {client, server}, False
        for _ in range(6):
            for end in (client, server):
                try:
                    if end in open_ends:
                        end.do_handshake()
                        open_ends.discard(end)
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLCertVerificationError:
                    refused = True
                    open_ends.clear()
        assert refused != fits and not open_ends, name


def test_a_second_run_looks_with_one_task_and_changes_nothing(host: Host) -> None:
    before = host.contents()
    printed = host.made()
    assert changed(printed) == 0 and "ok=3 " in printed, printed  # beside it, the check of the arguments and the test's own
    assert host.contents() == before and host.updates == 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"certificates_names": [*NAMES, "Other.example.com"]}, "the host has other names"),
        ({"certificates_renew_days": 398}, "the certificate expires in 397 days"),
    ],
)
def test_other_names_and_a_near_end_sign_again_with_the_same_key(host: Host, values: dict[str, Any], reason: str) -> None:
    before = host.contents()
    printed = host.made(**values)
    assert f"Is put right: {reason}." in printed
    after = host.contents()
    assert [name for name in MADE_BY_ROLE if before[name] != after[name]] == ["host.pem"]
    host.certificate.verify_directly_issued_by(authority().certificate)
    if "certificates_names" in values:
        names = host.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "other.example.com" in names.get_values_for_type(x509.DNSName)
        assert changed(host.made(**values)) == 0


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_another_authority_signs_again_and_is_trusted(host: Host, kind: str) -> None:
    """Also one of the same name, whose key alone differs."""
    other = authority("churn", kind) if kind != "ec" else authority("other")
    printed = host.made(other)
    assert "the certificate is not signed by this authority, ca.pem is not this authority's certificate, the host does not trust the authority." in printed
    host.certificate.verify_directly_issued_by(other.certificate)
    assert (host.directory / "ca.pem").read_text() == other.text == host.bundle.read_text() and host.updates == 1
    assert changed(host.made(other)) == 0


@pytest.mark.parametrize("damage", ["gone", "no key", "other key"])
def test_a_key_that_does_not_fit_gets_a_certificate_of_its_own(host: Host, damage: str) -> None:
    path = host.directory / "host.key"
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    path.unlink() if damage == "gone" else path.write_bytes(other if damage == "other key" else b"nonsense\n")
    assert "the certificate is not that of the host's key." in host.made()
    key: Any = form.load_pem_private_key(path.read_bytes(), None)
    assert key.public_key() == host.certificate.public_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (path.read_bytes() == other) == (damage == "other key"), "a key that is there stays"


def test_rights_are_put_right_and_nothing_is_signed(host: Host) -> None:
    before = host.contents()
    (host.directory / "host.key").chmod(0o644)
    (host.directory / "host.pem").chmod(0o600)
    printed = host.made()
    assert "host.pem has other rights, host.key has other rights." in printed
    assert [stat.S_IMODE((host.directory / name).stat().st_mode) for name in MADE_BY_ROLE] == [0o444, 0o640, 0o444]
    assert host.contents() == before


def test_a_trust_store_that_an_interrupted_run_did_not_rebuild_is_rebuilt(host: Host) -> None:
    host.bundle.write_text("")
    assert "Is put right: the host does not trust the authority." in host.made()
    assert host.bundle.read_text() == authority().text and host.updates == 1


def test_without_trust_the_store_is_left_alone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.made(certificates_trust=False)
    assert host.contents() and not list(host.local.iterdir()) and host.updates == 0


def test_check_mode_on_a_bare_host_says_what_would_be_made(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.command = tmp_path / "missing"
    printed = host.made(None, "--check", "--diff", __certificates_trust_command="no-such-command")
    assert changed(printed) == 1, printed
    assert "Would be put right: the host has no certificate, ca.pem is not this authority's certificate, the host does not trust the authority." in printed
    assert not host.directory.exists() and not list(host.local.iterdir())


def test_check_mode_without_the_library_fails_at_nothing(tmp_path: Path) -> None:
    """A bare host's Python knows nothing of certificates."""
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\nexec /usr/bin/python3 -I -S "$@"\n')
    bare.chmod(0o755)
    printed = Host(tmp_path).made(None, "--check", __certificates_python=str(bare))
    assert "Would be put right: python3-cryptography is missing" in printed and changed(printed) == 1


@pytest.mark.parametrize("fault", ["key of another", "passphrase", "no certificate"])
def test_an_authority_that_cannot_sign_is_one_sentence(tmp_path: Path, fault: str) -> None:
    ours, host = authority(), Host(tmp_path)
    locked = ours.key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")).decode()
    key = {"key of another": authority("other").key_text, "passphrase": locked}.get(fault, ours.key_text)
    done = host.run(certificates_ca_key=key, certificates_ca_certificate="nonsense" if fault == "no certificate" else ours.text)
    assert done.returncode != 0 and "No certificate for localhost: " in done.output, done.output
    assert "certificates_ca_key has to be the private key (PEM, without a passphrase) of the first" in done.output.replace("\n", " ")
    assert not [line for line in key.splitlines()[1:-1] if line in done.output]
    assert not (host.directory / "host.pem").exists()


def test_a_chain_of_authorities_is_trusted_as_a_whole(tmp_path: Path) -> None:
    root, host = authority("root"), Host(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    middle = sign("middle CA", key, "root lab CA", root.key, 365, x509.BasicConstraints(True, None))
    text = middle.public_bytes(form.Encoding.PEM).decode() + root.text
    chain = Authority(key, middle, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode(), text)
    host.made(chain)
    host.certificate.verify_directly_issued_by(middle)
    assert (host.directory / "ca.pem").read_text() == text == host.bundle.read_text()
    assert changed(host.made(chain)) == 0


def test_absent_removes_all_of_it(host: Host) -> None:
    printed = host.made(tasks="absent")
    assert changed(printed) == 3, printed
    assert not host.directory.exists() and host.bundle.read_text() == "" and host.updates == 1
    assert changed(host.made(tasks="absent")) == 0 and host.updates == 1
