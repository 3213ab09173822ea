"""The credentials of a lab's first run, and what a password that does not fit is answered."""

from __future__ import annotations

import base64
import shutil
import stat
from pathlib import Path

import pytest
import yaml

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
    assert not [value for name, value in values.items() if len(value) > 12 and value in done.stdout]
    return home


@pytest.fixture
def lab(first_run: Path, tmp_path: Path) -> Path:
    """A lab after its first run, for one test alone."""
    return Path(shutil.copytree(first_run, tmp_path / "lab"))


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
    secret = [value for name, value in values.items() if not name.endswith("_user")]
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
