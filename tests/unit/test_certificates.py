"""The role certificates on this machine: keys, certificates and trust of a directory, by authorities that the tests make."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.conftest import forms
from tests.unit.authorities import NOW, SIGNS, Authority, authority, sign, text_of
from tests.unit.plays import Done, play, play_on_each, wired

NAMES = ["192.0.2.7", "worker1.example.com", "localhost", "127.0.0.1"]
MADE_BY_ROLE = ["ca.pem", "host.key", "host.pem"]


def role(tasks: str = "main") -> dict[str, Any]:
    """Return the task that runs a part of the role."""
    return {"ansible.builtin.import_role": {"name": "mlops.lab.certificates", "tasks_from": tasks}}


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

    def values(self, ca: Authority | None = None, **more: Any) -> dict[str, Any]:
        """Return the role's variables, with `ca` as the authority."""
        ca = ca or authority()
        given = {
            "certificates_dir": str(self.directory),
            "certificates_addresses": NAMES,
            "certificates_ca_key": ca.key_text,
            "certificates_ca_certificate": ca.text,
            "__certificates_owner": self.folder.owner(),
            "__certificates_group": self.folder.group(),
            "__certificates_trust_file": str(self.local / "mlops-lab-ca.crt"),
            "__certificates_trust_bundle": str(self.bundle),
            "__certificates_trust_command": str(self.command),
        }
        return given | more

    def run(self, ca: Authority | None = None, *options: str, tasks: str = "main", **more: Any) -> Done:
        """Run the role, with `ca` as the authority."""
        values = self.folder / "values.json"
        values.write_text(json.dumps(self.values(ca, **more)))
        return play(self.folder, [role(tasks)], "-e", f"@{values}", *options)

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


@pytest.fixture(scope="module", autouse=True)
def trust_store_of_this_machine() -> Iterator[None]:
    """Fail where a test changes what this machine itself trusts."""

    def look() -> list[tuple[str, bytes]]:
        places = [*Path("/usr/local/share/ca-certificates").glob("*"), Path("/etc/ssl/certs/ca-certificates.crt")]
        return [(str(place), place.read_bytes()) for place in sorted(places) if place.is_file()]

    before = look()
    yield
    assert look() == before, "a test changed the trust store of this machine"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    """A host after its first run, and what that printed when it was asked for everything."""
    host = Host(tmp_path_factory.mktemp("host"))
    return host, host.made(None, "-vvv", "--diff")


def copy_of(host: Host, folder: Path) -> Host:
    """Return a host that is as another one after its first run."""
    shutil.copytree(host.folder / "lab", folder / "lab")
    copied = Host(folder)
    for path in (copied.local / "mlops-lab-ca.crt", copied.bundle):
        path.write_text(authority().text)
    return copied


@pytest.fixture
def host(first: tuple[Host, str], tmp_path: Path) -> Host:
    """A host after its first run, for one test alone."""
    return copy_of(first[0], tmp_path)


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


def accepted(directory: Path, name: str, trusted: str) -> bool:
    """Shake hands as both ends do with these files, of which each shows its certificate; tell whether both agree, and the client finds the name."""
    sides = []
    for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
        context = ssl.create_default_context(purpose, cadata=trusted)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python does from 3.13 on
        context.load_cert_chain(directory / "host.pem", directory / "host.key")
        sides.append(context)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = sides[0].wrap_bio(there, back, server_side=True)
    client = sides[1].wrap_bio(back, there, server_hostname=name)
    open_ends = {client, server}
    for _ in range(6):
        for end in (client, server):
            try:
                if end in open_ends:
                    end.do_handshake()
                    open_ends.discard(end)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    assert not open_ends, name
    return True


def test_client_and_server_trust_each_other_and_nobody_else(first: tuple[Host, str]) -> None:
    """By the name that was asked for and by the authority; one that calls itself the same is another."""
    directory = first[0].directory
    names = ("worker1.example.com", "192.0.2.7", "worker2.example.com", "192.0.2.8")
    assert [name for name in names if accepted(directory, name, authority().text)] == ["worker1.example.com", "192.0.2.7"]
    again = authority.__wrapped__("churn")
    assert again.certificate.subject == authority().certificate.subject and not accepted(directory, "192.0.2.7", again.text)


def test_a_second_run_looks_with_one_task_and_changes_nothing(host: Host) -> None:
    before = host.contents()
    printed = host.made()
    assert changed(printed) == 0 and "ok=3 " in printed, printed  # beside it, the check of the arguments and the test's own
    assert host.contents() == before and host.updates == 0


OTHERS = {"other": authority("other"), **{kind: authority("churn", kind) for kind in ("ed25519", "rsa")}}
FOREIGN = "the certificate is not signed by this authority, ca.pem is not this authority's certificate"
KEYLESS = "the certificate is not that of the host's key"
# What happened to a host -> why the next run puts something right, the files that it changes, the role's other variables
CASES: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "names": ("the host has other names", ["host.pem"], {"certificates_addresses": [*NAMES, "Other.example.com"]}),
    "end": ("the certificate expires in 20 days", ["host.pem"], {}),
    "over": ("the certificate has expired", ["host.pem"], {}),
    **{kind: (FOREIGN, ["ca.pem", "host.pem"], {}) for kind in OTHERS},
    "gone": (KEYLESS, ["host.key", "host.pem"], {}),
    "nonsense": (KEYLESS, ["host.key", "host.pem"], {}),
    "another": (KEYLESS, ["host.pem"], {}),
    "rights": ("host.pem has other rights, host.key has other rights", [], {}),
}


@dataclass
class Repaired:
    """A host to which something happened: its files before and after the next run, what that said, and whether one more changed something."""

    host: Host
    before: dict[str, bytes]
    after: dict[str, bytes]
    said: str
    again: int


def happen(host: Host, what: str) -> None:
    """Let something happen to a host, as in CASES."""
    key, certificate = host.directory / "host.key", host.directory / "host.pem"
    if what in ("end", "over"):
        extensions = [extension.value for extension in host.certificate.extensions]
        own: Any = form.load_pem_private_key(key.read_bytes(), None)
        days = 20.5 if what == "end" else -0.5
        certificate.chmod(0o644)
        certificate.write_bytes(sign("192.0.2.7", own, "churn lab CA", authority().key, days, *extensions).public_bytes(form.Encoding.PEM))
        certificate.chmod(0o444)
    elif what == "gone":
        key.unlink()
    elif what in ("nonsense", "another"):
        other = ec.generate_private_key(ec.SECP256R1())
        key.write_bytes(b"nonsense\n" if what == "nonsense" else other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    elif what == "rights":
        key.chmod(0o644)
        certificate.chmod(0o600)


@pytest.fixture(scope="module")
def repaired(first: tuple[Host, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repaired]:
    """Hosts to all of which something happened, after the next run: in one run, since each costs seconds."""
    hosts = {what: copy_of(first[0], tmp_path_factory.mktemp(what)) for what in CASES}
    for what, host in hosts.items():
        happen(host, what)
    before = {what: {name: (host.directory / name).read_bytes() for name in MADE_BY_ROLE if (host.directory / name).exists()} for what, host in hosts.items()}
    # What the hosts of an inventory are given does not win over the role's own vars, where the trust store is.
    values = {what: host.values(OTHERS.get(what), certificates_trust=False, **CASES[what][2]) for what, host in hosts.items()}
    folder = tmp_path_factory.mktemp("play")
    done, shown = play_on_each(folder, [role()], values)
    assert not [what for what in CASES if done[what].returncode], shown
    after = {what: host.contents() for what, host in hosts.items()}
    again = play_on_each(folder, [role()], values)[1]
    changed = {what: int(re.findall(rf"^{what} +: .* changed=(\d+)", again, re.MULTILINE)[0]) for what in CASES}
    return {what: Repaired(hosts[what], before[what], after[what], done[what].output, changed[what]) for what in CASES}


@pytest.mark.parametrize("what", CASES)
def test_what_happened_to_a_host_is_put_right_and_said_and_nothing_else_changes(repaired: dict[str, Repaired], what: str) -> None:
    found, (reason, files, _unused) = repaired[what], CASES[what]
    assert f"Is put right: {reason}." in found.said, found.said
    assert [name for name in MADE_BY_ROLE if found.before.get(name) != found.after[name]] == files
    assert found.again == 0
    ca = OTHERS.get(what, authority())
    found.host.certificate.verify_directly_issued_by(ca.certificate)
    key: Any = form.load_pem_private_key(found.after["host.key"], None)
    assert key.public_key() == found.host.certificate.public_key()
    assert [stat.S_IMODE((found.host.directory / name).stat().st_mode) for name in MADE_BY_ROLE] == [0o444, 0o640, 0o444]
    assert found.after["ca.pem"].decode() == ca.text


def test_a_new_name_is_in_the_certificate_in_small_letters(repaired: dict[str, Repaired]) -> None:
    names = repaired["names"].host.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "other.example.com" in names.get_values_for_type(x509.DNSName)


@pytest.mark.deep
def test_the_trust_store_follows_the_authority_and_is_rebuilt_when_an_interrupted_run_did_not(host: Host) -> None:
    other = OTHERS["other"]
    assert f"Is put right: {FOREIGN}, the host does not trust the authority." in host.made(other)
    assert host.bundle.read_text() == other.text and host.updates == 1
    host.bundle.write_text("")
    assert "Is put right: the host does not trust the authority." in host.made(other)
    assert host.bundle.read_text() == other.text and host.updates == 2


@pytest.mark.deep
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


@pytest.mark.deep
def test_a_chain_of_authorities_is_trusted_as_a_whole_and_shown_to_who_has_its_root_alone(tmp_path: Path) -> None:
    host, names, keys = Host(tmp_path), ["root CA", "upper CA", "middle CA"], [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    above = zip([names[0], *names], [keys[0], *keys], strict=False)
    rights = (x509.BasicConstraints(True, None), SIGNS)
    made = [sign(name, key, *issuer, 365, *rights) for name, key, issuer in zip(names, keys, above, strict=False)]
    root, upper, middle = (one.public_bytes(form.Encoding.PEM).decode() for one in made)
    chain = Authority(keys[-1], made[-1], text_of(keys[-1]), middle + upper + root)
    host.made(chain)
    host.certificate.verify_directly_issued_by(made[-1])
    assert (host.directory / "ca.pem").read_text() == chain.text == host.bundle.read_text()
    own = host.certificate.public_bytes(form.Encoding.PEM).decode()
    assert (host.directory / "host.pem").read_text() == own + middle + upper
    assert accepted(host.directory, "192.0.2.7", root) and not accepted(host.directory, "192.0.2.8", root)
    assert changed(host.made(chain)) == 0

    # A host of an earlier version: its certificate stays, and gets those above it.
    (host.directory / "host.pem").chmod(0o644)
    (host.directory / "host.pem").write_text(own)
    (host.directory / "host.pem").chmod(0o444)
    assert "Is put right: host.pem does not hold the authorities between the host and the root." in host.made(chain)
    assert (host.directory / "host.pem").read_text() == own + middle + upper


ROOT = authority("root", "ec", None)


def given(names: tuple[str, ...] = ("192.0.2.7", "*.example.com"), days: float = 9, root: Authority = ROOT, rsa: bool = False) -> dict[str, str]:
    """Return a certificate that a company's authority signed for a host by one of its own, and the key, as variables of the role."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    company, own = keys[0], authority("given", "rsa").key if rsa else keys[1]
    between = sign("company CA", company, root.certificate.subject.rfc4514_string()[3:], root.key, 99, x509.BasicConstraints(True, None), SIGNS)
    forms = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
    parts = [sign("a host", own, "company CA", company, days, x509.SubjectAlternativeName(forms)), between]
    text = "".join(one.public_bytes(form.Encoding.PEM).decode() for one in parts)
    return {"certificates_certificate": text, "certificates_key": text_of(own), "certificates_ca_key": ""}


NEEDED = ["192.0.2.7", "Worker1.example.com"]


def test_a_certificate_that_is_given_is_placed_with_its_key_and_nothing_is_signed(host: Host) -> None:
    """In the place of one that was signed before, beside which the key of the file does not come to the host's certificate; another one replaces it."""
    for number, values in enumerate((given(), given(rsa=True))):
        beside = {**values, "certificates_certificate": values["certificates_certificate"].replace("\n", "\r\n") + values["certificates_key"]}
        printed = host.made(ROOT, certificates_addresses=NEEDED, **beside)
        assert "Is put right: host.pem is not the certificate that is given" in printed
        assert host.contents()["host.pem"].decode() == values["certificates_certificate"]
        assert host.contents()["host.key"].decode() == values["certificates_key"]
        assert [stat.S_IMODE((host.directory / name).stat().st_mode) for name in MADE_BY_ROLE] == [0o444, 0o640, 0o444]
        assert accepted(host.directory, "worker1.example.com", ROOT.text) and not accepted(host.directory, "localhost", ROOT.text)
        assert not [line for line in values["certificates_key"].splitlines()[1:-1] if line in printed]
        assert changed(host.made(ROOT, certificates_addresses=NEEDED, **beside)) == 0, number
    printed = host.made(ROOT)  # without it, the authority signs again
    assert host.certificate.issuer == ROOT.certificate.subject and changed(printed) > 0 and changed(host.made(ROOT)) == 0


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "nonsense": ({**given(), "certificates_certificate": "nonsense"}, "is no certificate in PEM: write the host's first"),
    "keyless": ({**given(), "certificates_key": ""}, "does not belong to its key (certificates_key): write the private key"),
    "another": ({**given(), "certificates_key": authority("x").key_text}, "does not belong to its key (certificates_key): write the private key"),
    "over": (given(days=-0.5), "has expired: write one that is valid"),
    "nameless": (given(("192.0.2.8", "example.com")), "is not for IP:192.0.2.7, DNS:worker1.example.com, by which others reach the host"),
    "stranger": (given(root=authority("other", "ec", None)), "is not signed by certificates_ca_certificate: write the certificate of its root there"),
}


def test_a_certificate_that_others_would_refuse_is_one_sentence_before_anything_changes(tmp_path: Path) -> None:
    """Before the first change on any host: preflight runs the same tasks."""
    hosts = {what: Host(tmp_path / what) for what in REFUSED}
    values = {what: hosts[what].values(ROOT, certificates_addresses=NEEDED, **more) for what, (more, _words) in REFUSED.items()}
    for tasks in ("check", "main"):
        done, shown = play_on_each(tmp_path, [role(tasks)], values)
        for what, (more, words) in REFUSED.items():
            assert done[what].returncode and f"The certificate of {what} (certificates_certificate) {words}" in done[what].output, shown
            assert not [line for line in more["certificates_key"].splitlines()[1:-1] if line in shown]
    assert not [what for what, host in hosts.items() if host.directory.exists()]


def test_a_lab_whose_hosts_all_have_certificates_of_their_own_needs_no_key_of_the_authority(tmp_path: Path) -> None:
    """They have to be for the addresses that others use alone, and on the control host for its databases."""
    names = ["certificates_certificate", "certificates_key", "certificates_addresses", "certificates_ca_key", "preflight_credentials"]
    both = {name: {"certificate": f"the {name}'s", "key": "k"} for name in ("labhost", "worker1")}
    for wanted, vault in ((False, both), (True, {"labhost": both["labhost"]}), (True, ""), (True, "change-me")):
        found = wired(tmp_path, names, "worker1", vault_host_certificates=vault)
        own = isinstance(vault, dict)
        assert {one["name"]: one["needed"] for one in found["preflight_credentials"] if one["name"].startswith("vault_ca")} == {
            "vault_ca_key": wanted,
            "vault_ca_certificate": True,
        }
        assert (found["certificates_certificate"], found["certificates_key"], found["certificates_ca_key"]) == (
            ("the labhost's", "k", "") if own else ("", "", "")
        )
        addresses = found["certificates_addresses"]
        assert (addresses[1:] == ["postgres", "redis"]) == own and ("localhost" in addresses) != own


def test_absent_removes_all_of_it(host: Host) -> None:
    printed = host.made(tasks="absent")
    assert changed(printed) == 3, printed
    assert not host.directory.exists() and host.bundle.read_text() == "" and host.updates == 1
    assert changed(host.made(tasks="absent")) == 0 and host.updates == 1
