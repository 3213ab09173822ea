"""What the tests of AWX share: a checkout with a vault of planted credentials, and a controller to which its playbook was applied."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.controller import TOKEN, Controller, serving
from tests.conftest import BIN, ROOT, run_tool

VAULT_PASSWORD = "planted-password-of-the-vault"
PLANTED = "planted<&'\"%/+=?#$ secret"  # characters that break what does not quote them


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's files with a vault of its own."""

    path: Path
    secrets: dict[str, str]

    def apply(self, controller: Controller, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``playbooks/awx.yml`` as a person would."""
        command = ["ansible-playbook", "playbooks/awx.yml", "-i", "inventories/lab", *options]
        place = {"ANSIBLE_COLLECTIONS_PATH": str(self.path / "collections")}
        access = {"CONTROLLER_HOST": controller.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}
        return run_tool(command, self.path, **{**access, **place, **more})


def copy_project(target: Path) -> None:
    """Copy what git tracks or would track, links as links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and os.path.lexists(ROOT / name) and not name.startswith(("tests/", "molecule/", "reports/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


@pytest.fixture(scope="session")
def make_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Checkout]:
    """A function that copies the project, with values of the inventory in place of its own, and plants credentials in its vault."""

    def make(values: dict[str, Any]) -> Checkout:
        path = tmp_path_factory.mktemp("checkout")
        copy_project(path)
        home = path / "inventories/lab"
        shutil.rmtree(home)  # what a user keeps there
        done = run_tool([BIN / "ansible-playbook", "playbooks/new_lab.yml", "-i", "localhost,", "-e", f"lab_home={home}", "-e", "new_lab_name=mlops-lab"], path)
        assert done.returncode == 0, done.stdout
        if values:
            (home / "group_vars/lab/lab.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
        vault, password = home / "group_vars/lab/vault.yml", home / ".vault_password"
        shown = run_tool([BIN / "ansible-vault", "view", "--vault-password-file", password, vault], path)
        secrets = yaml.safe_load(shown.stdout)
        secrets |= {"vault_nexus_user": "planted-reader", "vault_nexus_pass": f"index {PLANTED}", "vault_airflow_admin_password": f"airflow {PLANTED}"}
        vault.write_text(yaml.safe_dump(secrets), encoding="utf-8")
        password.write_text(f"{VAULT_PASSWORD}\n", encoding="utf-8")
        done = run_tool([BIN / "ansible-vault", "encrypt", "--vault-password-file", password, vault], path.parent)
        assert done.returncode == 0, done.stdout
        return Checkout(path, {name: value for name, value in secrets.items() if value})

    return make


@pytest.fixture(scope="session")
def checkout(make_checkout: Callable[[dict[str, Any]], Checkout]) -> Checkout:
    """The project as shipped, with planted credentials."""
    return make_checkout({})


@pytest.fixture
def controller() -> Iterator[Controller]:
    """An empty controller."""
    with serving() as served:
        yield served
