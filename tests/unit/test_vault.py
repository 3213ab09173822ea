"""The vault of the first run, and what a password that does not fit is answered."""

from __future__ import annotations

import base64
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Run

VAULT = Path("inventories/lab/group_vars/all/vault.yml")
PASSWORD = Path(".vault_password")
CREATE = ["ansible-playbook", "playbooks/create_vault.yml", "-i", "localhost,"]
# Stops at the first task of the first host, if anything gets that far
TOUCH = ["ansible-playbook", "touch.yml", "-i", "inventories/lab"]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, tool: Run) -> Path:
    """A copy of the front door after the first run has written its vault."""
    copy = tmp_path_factory.mktemp("checkout")
    for part in ("tools", "inventories/lab", "playbooks", "collections", "roles", "plugins", "meta"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("vault.yml", "__pycache__"))
    shutil.copy(ROOT / "ansible.cfg", copy)
    shutil.copy(ROOT / "galaxy.yml", copy)
    (copy / "touch.yml").write_text("- {hosts: all, gather_facts: false, tasks: [{ansible.builtin.file: {path: touched, state: touch}}]}\n")
    done = tool([*CREATE, "-vvv"], cwd=copy)
    assert done.returncode == 0, done.stdout
    values = yaml.safe_load(tool(["ansible-vault", "view", VAULT], cwd=copy).stdout)
    assert not [value for name, value in values.items() if len(value) > 12 and value in done.stdout]
    return copy


@pytest.fixture
def checkout(first_run: Path, tmp_path: Path) -> Path:
    """A checkout after its first run, for one test alone."""
    return Path(shutil.copytree(first_run, tmp_path / "checkout", symlinks=True))


def test_values_are_random_complete_and_for_the_owner_alone(checkout: Path, tool: Run) -> None:
    for path in (VAULT, PASSWORD):
        assert stat.S_IMODE((checkout / path).stat().st_mode) == 0o600
    assert (checkout / VAULT).read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    values = yaml.safe_load(tool(["ansible-vault", "view", VAULT], cwd=checkout).stdout)
    example = yaml.safe_load((checkout / f"{VAULT}.example").read_text())
    assert values.keys() == example.keys()
    secret = [value for name, value in values.items() if not name.endswith("_user")]
    assert len(set(secret)) == len(secret)
    assert min(map(len, secret)) >= 32
    assert len(base64.urlsafe_b64decode(values["vault_airflow_fernet_key"])) == 32


def test_the_example_is_not_loaded(checkout: Path, tool: Run) -> None:
    (checkout / VAULT).unlink()
    assert "change-me" not in tool(["ansible-inventory", "-i", "inventories/lab", "--host", "localhost"], cwd=checkout).stdout


def test_a_second_run_keeps_both(checkout: Path, tool: Run) -> None:
    before = [(checkout / path).read_bytes() for path in (VAULT, PASSWORD)]
    assert "changed=0" in tool(CREATE, cwd=checkout).stdout
    assert before == [(checkout / path).read_bytes() for path in (VAULT, PASSWORD)]


def test_an_interrupted_first_run_is_completed(checkout: Path, tool: Run) -> None:
    (checkout / VAULT).unlink()
    password = (checkout / PASSWORD).read_bytes()
    assert tool(CREATE, cwd=checkout).returncode == 0
    assert (checkout / PASSWORD).read_bytes() == password
    assert tool(TOUCH, cwd=checkout).returncode in (0, 2)


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        (
            "wrong",
            "The vault password is wrong: .vault_password does not open inventories/lab/group_vars/all/vault.yml; "
            "write the right password into .vault_password, or remove both files to get new credentials.",
        ),
        (
            None,
            "The vault password is missing: inventories/lab/group_vars/all/vault.yml is encrypted but there is no file .vault_password; "
            "write the password into it, or remove inventories/lab/group_vars/all/vault.yml to get new credentials.",
        ),
        ("", "The vault password is empty: write the password that opens inventories/lab/group_vars/all/vault.yml into .vault_password."),
    ],
)
def test_a_password_that_does_not_fit_stops_before_any_host(checkout: Path, tool: Run, password: str | None, sentence: str) -> None:
    (checkout / PASSWORD).unlink()
    if password is not None:
        (checkout / PASSWORD).write_text(password)
    plain = tool(TOUCH, cwd=checkout)
    assert plain.returncode != 0
    assert sentence in plain.stdout
    assert "PLAY" not in plain.stdout
    front = tool([checkout / "tools/vault_password.py"])
    assert (front.returncode, front.stdout) == (1, sentence)


def test_a_damaged_vault_is_named(checkout: Path, tool: Run) -> None:
    (checkout / VAULT).write_text("$ANSIBLE_VAULT;1.1;AES256\nnonsense\n")
    done = tool([checkout / "tools/vault_password.py"])
    assert done.returncode == 1
    assert done.stdout.startswith("inventories/lab/group_vars/all/vault.yml is damaged")


def test_a_checkout_without_a_vault_needs_no_password(checkout: Path, tool: Run) -> None:
    (checkout / PASSWORD).unlink()
    (checkout / VAULT).unlink()
    assert tool(["ansible-inventory", "-i", "inventories/lab", "--graph"], cwd=checkout).returncode == 0
