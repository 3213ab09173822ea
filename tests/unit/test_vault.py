"""The credentials of a lab's first run, and what a password that does not fit is answered."""

from __future__ import annotations

import base64
import datetime
import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import ROOT, Run

VAULT = Path("group_vars/lab/vault.yml")
PASSWORD = Path(".vault_password")
VIEW = ["ansible-vault", "view", "--vault-password-file", PASSWORD, VAULT]
CREATE = ["ansible-playbook", "mlops.lab.create_vault", "-i", "localhost,", "-e"]

PLAY = {"hosts": "all", "gather_facts": False, "vars": {"ansible_python_interpreter": "/usr/bin/python3"}}
PLACE = {"dest": "{{ '.' | realpath }}/touched", "mode": "0600"}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, tool: Run) -> Path:
    """A lab after its first run has written its vault, with a playbook that leaves a file if it gets as far as a task."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copy(ROOT / "playbooks/templates/lab/hosts.yml.j2", home / "hosts.yml")
    (home / "touch.yml").write_text(yaml.safe_dump([{**PLAY, "tasks": [{"ansible.builtin.copy": {"content": "", **PLACE}}]}]))
    done = tool([*CREATE, f"lab_home={home}", "-vvv"])
    assert done.returncode == 0, done.stdout
    values = yaml.safe_load(tool(VIEW, cwd=home).stdout)
    assert not [line for value in values.values() for line in value.splitlines() if len(line) > 12 and line in done.stdout]
    return home


@pytest.fixture
def lab(first_run: Path, tmp_path: Path) -> Path:
    """A lab after its first run, for one test alone."""
    return Path(shutil.copytree(first_run, tmp_path / "lab"))


def rewrite(lab: Path, text: str, label: str | None = None) -> None:
    """Write another text into a lab's vault, with the lab's password and a name for it."""
    secret = VaultSecret((lab / PASSWORD).read_bytes().strip())
    (lab / VAULT).write_bytes(VaultLib([("default", secret)]).encrypt(text, secret=secret, vault_id=label))


def opened(lab: Path) -> str:
    """Return the text of a lab's vault."""
    secret = VaultSecret((lab / PASSWORD).read_bytes().strip())
    return str(VaultLib([("default", secret)]).decrypt((lab / VAULT).read_bytes()).decode())


def without(text: str, *names: str) -> str:
    """Return the text of a vault without some of its values."""
    document: Any = yaml.compose(text)
    cuts = [(key.start_mark.index, value.end_mark.index) for key, value in document.value if key.value in names]
    for start, end in reversed(cuts):
        text = text[:start] + text[end:].lstrip("\n")
    return text


def touch(lab: Path, tool: Run, folder: Path) -> str:
    """Run a playbook on the lab's hosts, started somewhere else; returns what it printed."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    done = tool(["ansible-playbook", lab / "touch.yml", "-i", lab / "hosts.yml"], cwd=elsewhere)
    assert (done.returncode == 0) == (elsewhere / "touched").exists(), done.stdout
    return done.stdout


def test_values_are_random_complete_and_for_the_owner_alone(lab: Path, tool: Run) -> None:
    for path in (VAULT, PASSWORD):
        assert stat.S_IMODE((lab / path).stat().st_mode) == 0o600
    assert (lab / VAULT).read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    values = yaml.safe_load(tool(VIEW, cwd=lab).stdout)
    assert values.keys() == yaml.safe_load((ROOT / "playbooks/files/credentials_example.yml").read_text()).keys()
    of_others = ("vault_object_store_", "vault_host_certificates")
    assert {values[name] for name in values if name.startswith(of_others)} == {""}, "the store's owner has them, and a company's authority"
    secret = [value for name, value in values.items() if not name.endswith("_user") and not name.startswith(of_others)]
    assert len(set(secret)) == len(secret)
    assert min(map(len, secret)) >= 32
    assert len(base64.urlsafe_b64decode(values["vault_airflow_fernet_key"])) == 32


def test_a_second_run_keeps_both(lab: Path, tool: Run) -> None:
    before = [(lab / path).read_bytes() for path in (VAULT, PASSWORD)]
    assert "changed=0" in tool([*CREATE, f"lab_home={lab}"]).stdout
    assert before == [(lab / path).read_bytes() for path in (VAULT, PASSWORD)]


def test_an_interrupted_first_run_is_completed(lab: Path, tool: Run, tmp_path: Path) -> None:
    (lab / VAULT).unlink()
    password = (lab / PASSWORD).read_bytes()
    assert tool([*CREATE, f"lab_home={lab}"]).returncode == 0
    assert (lab / PASSWORD).read_bytes() == password
    touch(lab, tool, tmp_path)
    assert (tmp_path / "elsewhere/touched").exists()


def test_the_vault_opens_wherever_ansible_is_started_and_beside_another_password(lab: Path, tool: Run, tmp_path: Path) -> None:
    (lab / "touch.yml").write_text(yaml.safe_dump([{**PLAY, "tasks": [{"ansible.builtin.copy": {"content": "{{ vault_redis_password }}", **PLACE}}]}]))
    (tmp_path / "other").write_text("of another vault\n")
    for options in ([], ["--vault-password-file", tmp_path / "other"]):
        done = tool(["ansible-playbook", lab / "touch.yml", "-i", lab / "hosts.yml", *options], cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        assert len((tmp_path / "touched").read_text()) == 32


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("wrong", "The vault password is wrong: LAB/.vault_password does not open LAB/group_vars/lab/vault.yml; write the right password into"),
        (None, "The vault password is missing: LAB/group_vars/lab/vault.yml is encrypted; write the password that opens it into LAB/.vault_password, or"),
        ("", "The vault password is empty: LAB/group_vars/lab/vault.yml is encrypted; write the password that opens it into LAB/.vault_password, or"),
    ],
)
def test_a_password_that_does_not_fit_stops_before_any_host(lab: Path, tool: Run, tmp_path: Path, password: str | None, sentence: str) -> None:
    (lab / PASSWORD).unlink()
    if password is not None:
        (lab / PASSWORD).write_text(password)
    printed = touch(lab, tool, tmp_path)
    assert sentence.replace("LAB", str(lab)) in printed
    assert "PLAY" not in printed and not (tmp_path / "elsewhere/touched").exists()


def test_a_damaged_vault_is_named(lab: Path, tool: Run, tmp_path: Path) -> None:
    (lab / VAULT).write_text("$ANSIBLE_VAULT;1.1;AES256\nnonsense\n")
    assert f"{lab}/group_vars/lab/vault.yml is damaged" in touch(lab, tool, tmp_path)


def test_a_lab_without_a_vault_needs_no_password(lab: Path, tool: Run, tmp_path: Path) -> None:
    (lab / PASSWORD).unlink()
    (lab / VAULT).unlink()
    touch(lab, tool, tmp_path)
    assert (tmp_path / "elsewhere/touched").exists()


def test_a_vault_where_an_older_version_had_it_is_to_be_moved(lab: Path, tool: Run, tmp_path: Path) -> None:
    (lab / "group_vars/all").mkdir()
    (lab / VAULT).rename(lab / "group_vars/all/vault.yml")
    for printed in (touch(lab, tool, tmp_path), tool([*CREATE, f"lab_home={lab}"]).stdout.replace("\n", " ")):
        assert f"move {lab}/group_vars/all/vault.yml to {lab}/group_vars/lab/vault.yml" in printed


@pytest.mark.parametrize(("home", "sentence"), [("", "Which lab shall get credentials?"), ("lab_home=/nonexistent", "There is no lab in /nonexistent: ")])
def test_a_folder_that_is_no_lab_gets_none(tool: Run, tmp_path: Path, home: str, sentence: str) -> None:
    done = tool([*CREATE, home or "x=1"], cwd=tmp_path)
    assert done.returncode != 0 and sentence in done.stdout, done.stdout


def test_a_new_lab_has_an_authority_of_its_own(first_run: Path, tool: Run) -> None:
    values = yaml.safe_load(tool(VIEW, cwd=first_run).stdout)
    certificate = x509.load_pem_x509_certificate(values["vault_ca_certificate"].encode())
    key: Any = serialization.load_pem_private_key(values["vault_ca_key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) and key.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == f"CN={first_run.name} lab CA"
    rights = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert rights.critical and rights.value.ca and rights.value.path_length == 0
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert identifier.value == x509.SubjectKeyIdentifier.from_public_key(key.public_key()), "Python 3.13 trusts none without it"
    assert 3648 <= (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days <= 3650


def test_what_an_older_vault_lacks_is_added_and_all_else_stays(lab: Path, tool: Run) -> None:
    """Values, order, comments, the name of its password and the rights of the file; and nothing of it is printed."""
    before = "# mine\n" + without(opened(lab), "vault_ca_key", "vault_ca_certificate", "vault_registry_password")
    before += "vault_own: !unsafe 'a {{ b'  # not the lab's"
    rewrite(lab, before, "prod")
    (lab / VAULT).chmod(0o640)
    done = tool([*CREATE, f"lab_home={lab}", "-vvv", "--diff"])
    assert done.returncode == 0 and f"{lab / VAULT} has vault_registry_password, vault_ca_key, vault_ca_certificate now." in " ".join(done.stdout.split())
    after = opened(lab)
    assert after.startswith(before + "\nvault_registry_password: ")
    assert (lab / VAULT).read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert stat.S_IMODE((lab / VAULT).stat().st_mode) == 0o640
    added = yaml.safe_load(after[len(before) :])
    assert list(added) == ["vault_registry_password", "vault_ca_key", "vault_ca_certificate"] and len(added["vault_registry_password"]) == 32
    x509.load_pem_x509_certificate(added["vault_ca_certificate"].encode())
    values = [line.rpartition(": ")[2].strip(" '\"") for line in after.splitlines() if len(line) > 32]
    assert not [value for value in values if value and value in done.stdout]
    kept = (lab / VAULT).read_bytes()
    assert "changed=0" in tool([*CREATE, f"lab_home={lab}"]).stdout and (lab / VAULT).read_bytes() == kept


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "{vault_own: x}",
            "cannot be written to VAULT: write each of its values as `name: value` on a line of its own with ansible-vault edit.",
            marks=pytest.mark.deep,
        ),
        ("vault_own: secretsecret: x", "VAULT holds no YAML of the form `name: value`: put it right with ansible-vault edit."),
        pytest.param("secretsecret", "VAULT holds no YAML of the form `name: value`: put it right with ansible-vault edit.", marks=pytest.mark.deep),
        ("vault_ca_key: secretsecret", "VAULT has one of vault_ca_key and vault_ca_certificate, which belong together: add the other one with"),
    ],
)
def test_a_vault_that_nothing_can_be_added_to_stays(lab: Path, tool: Run, text: str, sentence: str) -> None:
    rewrite(lab, text)
    before = (lab / VAULT).read_bytes()
    done = tool([*CREATE, f"lab_home={lab}", "-vvv"])
    assert done.returncode != 0 and sentence.replace("VAULT", str(lab / VAULT)) in done.stdout.replace("\n", " "), done.stdout
    assert (lab / VAULT).read_bytes() == before and "secretsecret" not in done.stdout


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("wrong", "The vault password is wrong: PASSWORD does not open VAULT; write the right password into PASSWORD, or remove both files"),
        ("", "The vault password is empty: VAULT is encrypted; write the password that opens it into PASSWORD, or remove VAULT"),
        (None, "The vault password is missing: VAULT is encrypted; write the password that opens it into PASSWORD, or remove VAULT"),
    ],
)
def test_a_vault_that_the_password_does_not_open_stays(lab: Path, tool: Run, tmp_path: Path, password: str | None, sentence: str) -> None:
    """Also where Ansible was told the right one in another way: the vault would be encrypted with the wrong one."""
    right = shutil.copy(lab / PASSWORD, tmp_path / "right")
    (lab / PASSWORD).unlink()
    if password is not None:
        (lab / PASSWORD).write_text(password)
    before = (lab / VAULT).read_bytes()
    done = tool([*CREATE, f"lab_home={lab}"], ANSIBLE_VAULT_PASSWORD_FILE=str(right))
    words = sentence.replace("PASSWORD", str(lab / PASSWORD)).replace("VAULT", str(lab / VAULT))
    assert done.returncode != 0 and words in done.stdout.replace("\n", " "), done.stdout
    assert done.stdout.count("fatal:") <= 1 and (lab / VAULT).read_bytes() == before
    assert (lab / PASSWORD).exists() == (password is not None)


def test_named_passwords_get_new_values_in_their_places_and_all_else_stays(lab: Path, tool: Run) -> None:
    text = opened(lab).replace("vault_redis_password:", "# of the broker\nvault_redis_password:", 1) + "vault_of_mine: 1\n"
    rewrite(lab, text)
    done = tool([*CREATE, f"lab_home={lab}", "-e", "renew=redis,nexus_pass"])
    assert done.returncode == 0, done.stdout
    sentence = "has new values of vault_nexus_pass, vault_redis_password: the next run of the whole lab brings them to its machines."
    assert sentence in " ".join(done.stdout.split()), done.stdout
    before, after = text.splitlines(), opened(lab).splitlines()
    assert len(before) == len(after)
    assert [old.partition(":")[0] for old, new in zip(before, after, strict=True) if old != new] == ["vault_nexus_pass", "vault_redis_password"]
    values = yaml.safe_load(opened(lab))
    assert len(values["vault_redis_password"]) == 32 and values["vault_redis_password"] not in done.stdout


@pytest.mark.parametrize("names", ["airflow_fernet_key", "airflow_db", "mlflow_db", "nexus_user", "ca_key", "redis,nobody"])
def test_what_a_program_keeps_or_nobody_knows_gets_no_new_value(lab: Path, tool: Run, names: str) -> None:
    before = (lab / VAULT).read_bytes()
    done = tool([*CREATE, f"lab_home={lab}", "-e", f"renew={names}"])
    shown = " ".join(done.stdout.split())
    assert done.returncode != 0 and f"Of {names.rpartition(',')[2]} no new value can be made here; renew takes nexus_pass, " in shown, done.stdout
    assert (lab / VAULT).read_bytes() == before


@pytest.mark.parametrize(
    ("value", "own"),
    [
        ("", True),
        pytest.param('""', True, marks=pytest.mark.deep),
        ("https://nexus.example.com/simple/", False),
        pytest.param("'https://nexus.example.com/simple/'", False, marks=pytest.mark.deep),
    ],
)
def test_a_password_that_somebody_else_gave_stays(lab: Path, tool: Run, value: str, own: bool) -> None:
    (lab / "group_vars/lab/lab.yml").write_text(f"lab_mlflow_url: x\nlab_index_url: {value} # a comment\n", encoding="utf-8")
    before = (lab / VAULT).read_bytes()
    done = tool([*CREATE, f"lab_home={lab}", "-e", "renew=nexus_pass"])
    assert (done.returncode == 0) is own is ((lab / VAULT).read_bytes() != before), done.stdout
    shown = " ".join(done.stdout.split())
    assert own or "Of nexus_pass no new value can be made here; renew takes airflow_admin, " in shown, done.stdout


def test_what_a_removed_worker_knew_is_renewed_by_the_command_that_is_told(lab: Path, tool: Run, tmp_path: Path) -> None:
    """All that the lab itself decides on."""
    (lab / "group_vars/lab/lab.yml").write_text("lab_image_registry: registry.example.org/lab\n", encoding="utf-8")
    groups = {"lab_control": "control", "lab_builder": "control", "lab_workers": "worker2"}
    (lab / "hosts.yml").write_text(json.dumps({"lab": {"children": {group: {"hosts": {host: {}}} for group, host in groups.items()}}}), encoding="utf-8")
    values = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "ansible_remote_tmp": str(tmp_path / "remote")}
    options = ["--start-at-task", "Say what is left to do", "--limit", "worker2", "--vault-password-file", lab / PASSWORD, "-e", json.dumps(values)]
    done = tool(["ansible-playbook", "mlops.lab.remove_worker", "-i", lab / "hosts.yml", *options])
    assert done.returncode == 0, done.stdout
    shown, before = " ".join(done.stdout.split()), yaml.safe_load(opened(lab))
    assert "Others gave registry, and change them." in shown
    (names,) = re.findall(r"make renew LAB=\S+ NAME=([a-z_,]+)`", shown)
    done = tool([*CREATE, f"lab_home={lab}", "-e", f"renew={names}"])
    assert done.returncode == 0, done.stdout
    after = yaml.safe_load(opened(lab))
    changed = [name.removeprefix("vault_").removesuffix("_password") for name in before if before[name] != after[name]]
    assert sorted(changed) == ["airflow_secret_key", "celery_db", "mlflow_admin", "models", "nexus_pass", "optuna_db", "redis"]


def test_a_vault_in_clear_text_is_not_written_to(lab: Path, tool: Run) -> None:
    complete = opened(lab)
    (lab / VAULT).write_text(complete)
    assert "changed=0" in tool([*CREATE, f"lab_home={lab}"]).stdout
    (lab / VAULT).write_text(without(complete, "vault_registry_password"))
    done = tool([*CREATE, f"lab_home={lab}"])
    assert done.returncode != 0 and "lacks vault_registry_password and is not encrypted: encrypt it with" in done.stdout.replace("\n", " "), done.stdout
