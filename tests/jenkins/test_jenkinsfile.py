"""Jenkinsfile, executed: what a user of the form sees. The host is this machine, and the lab one of the test's own that never comes to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import VERBS, forms, run_tool
from tests.jenkins.conftest import PUBLISHER, Build, Controller

PLANTED = "planted-password-4f1c"
STAGES = ["parameters", *VERBS[:-1]]


@dataclass
class Vault:
    """A vault of random values, as the first run of a lab makes it."""

    password: str
    content: str
    secrets: list[str]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """The vault of the test's lab."""
    folder = tmp_path_factory.mktemp("vault")
    (folder / "hosts.yml").touch()
    places = {"lab_home": str(folder), "create_vault_password_file": str(folder / "password"), "create_vault_file": str(folder / "vault.yml")}
    done = run_tool(["ansible-playbook", "playbooks/create_vault.yml", "-i", "localhost,", "-e", json.dumps(places)])
    assert done.returncode == 0, done.stdout
    shown = run_tool(["ansible-vault", "view", folder / "vault.yml"], ANSIBLE_VAULT_PASSWORD_FILE=str(folder / "password")).stdout
    password = (folder / "password").read_text(encoding="utf-8").strip()
    secrets = [str(value) for name, value in yaml.safe_load(shown).items() if value and not name.endswith("user")]
    return Vault(password, (folder / "vault.yml").read_text(encoding="utf-8"), [*secrets, password])


@dataclass
class Lab:
    """The job `lab` and its inventory `inventories/test`; `staged` is where a build that was killed would have left a secret on the host."""

    controller: Controller
    workspace: Path
    vault: Vault
    staged: Path

    def set(self, **values: Any) -> None:
        """Set more values in the inventory."""
        path = self.workspace / "inventories/test/group_vars/lab/zz_test.yml"
        known = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(known | values), encoding="utf-8")

    def leave(self) -> None:
        """Leave on the host what a build that was killed leaves."""
        self.staged.mkdir()
        (self.staged / "index_password").write_text("left", encoding="utf-8")

    def build(self, **parameters: str | bool) -> Build:
        """Run a build of the test's inventory."""
        return self.controller.build("lab", **self.parameters(**parameters))

    def parameters(self, **more: str | bool) -> dict[str, str | bool]:
        """Return the parameters of a build of the test's inventory."""
        return {"INVENTORY": "inventories/test", "VAULT_CREDS_ID": "vault", "VERBS": "preflight"} | more

    def assert_no_secret(self, build: Build, *more: str) -> None:
        """Nothing that the controller keeps, and nothing in the workspace, holds a secret; and none had to be masked."""
        secrets = [*self.vault.secrets, *more]
        texts = [*build.everything()]
        texts += [(path, path.read_bytes().decode(errors="replace")) for path in (self.workspace / "reports").rglob("*") if path.is_file()]
        assert texts
        assert [str(path) for path, text in texts if any(form in text for secret in secrets for form in forms(secret))] == []
        assert build.told["masked"] == 0
        assert [path for path in Path(f"{self.workspace}@tmp").rglob("*") if path.is_file()] == [], "credentials are gone when a build has ended"


@pytest.fixture
def lab(controller: Controller, checkout: Callable[..., Path], own_lab: Callable[[Path], Path], vault: Vault) -> Lab:
    """A job with credentials, and an inventory with a vault."""
    workspace = checkout("lab")
    staged = own_lab(workspace)
    (workspace / "inventories/test/group_vars/lab/vault.yml").write_text(vault.content, encoding="utf-8")
    controller.job("lab", workspace / "Jenkinsfile", workspace)
    controller.credentials["vault"] = {"kind": "file", "filename": "password", "content": vault.password}
    controller.credentials["nexus"] = {"kind": "usernamePassword", "username": "planted-user", "password": PLANTED}
    return Lab(controller, workspace, vault, staged)


def test_a_wrong_parameter_stops_in_the_first_stage(lab: Lab) -> None:
    build = lab.build(VERBS="preflight fly", AIRFLOW_VERSION="latest", NEXUS_URL="nexus.example.org", NEXUS_CREDS_ID="nexus", LIMIT="nobody")
    assert build.result == "FAILURE"
    assert build.stages == {"parameters": "FAILURE"} | dict.fromkeys(STAGES[1:], "SKIPPED")
    for sentence in (
        "VERBS has 'fly': write names from this list with spaces between them: preflight",
        "AIRFLOW_VERSION is 'latest': write a released version from 3.1.0 on",
        "NEXUS_URL is 'nexus.example.org', which is no address",
        "LIMIT is 'nobody', which meets no host of inventories/test",
    ):
        assert sentence in build.console and sentence in build.description
    assert "] Check everything" not in build.console
    lab.assert_no_secret(build, PLANTED)


def test_a_wrong_vault_password_stops_in_the_first_stage(lab: Lab) -> None:
    lab.controller.credentials["vault"]["content"] = "another"
    build = lab.build()
    assert build.stages["parameters"] == "FAILURE"
    assert "VAULT_CREDS_ID: the vault of inventories/test does not open with this credential" in build.console


def test_a_play_runs_and_the_host_is_clean_afterwards(lab: Lab) -> None:
    lab.leave()
    build = lab.build(LIMIT="localhost", DEV_DIR=f"{lab.workspace.parent}/other")
    assert build.result == "SUCCESS", build.console
    assert build.stages == {name: "SUCCESS" if name in ("parameters", "preflight") else "SKIPPED" for name in STAGES}
    assert f'"lab_dir": "{lab.workspace.parent}/other"' in build.console
    assert not lab.staged.exists()
    assert build.description == "No verdict: the verb verify did not come to an end."
    assert build.told["tests"]["total"] > 3 and build.told["tests"]["failed"] == 0
    assert any(name.startswith("reports/junit/preflight") for name in build.told["archived"])
    assert {"timestamps", "buildDiscarder", "disableConcurrentBuilds", "timeout", "lock"} <= set(build.told["options"])
    lab.assert_no_secret(build)


def test_a_dry_run_changes_nothing(lab: Lab) -> None:
    lab.leave()
    build = lab.build(DRY_RUN=True)
    assert build.result == "SUCCESS", build.console
    assert build.description == "Dry run: nothing was changed."
    assert (lab.staged / "index_password").exists()


def test_a_failing_stage_still_cleans(lab: Lab) -> None:
    lab.set(preflight_min_memory_mb=99_999_999)
    lab.leave()
    build = lab.build(VERBS="preflight start", NEXUS_CREDS_ID="nexus")
    assert build.result == "FAILURE"
    assert build.stages["preflight"] == "FAILURE" and build.stages["start"] == "SKIPPED"
    assert not lab.staged.exists()
    assert build.told["tests"]["failed"] > 0
    lab.assert_no_secret(build, PLANTED)


def test_a_host_that_is_off_stops_no_stage_and_fails_the_build(lab: Lab) -> None:
    """The plays are the test's own: a verb that does not reach a host, and one that reaches all of its hosts."""
    off = {"name": "worker9", "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    here = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.add_host": off}]}
    reach = {"hosts": "worker9", "gather_facts": False, "tasks": [{"ansible.builtin.raw": "true"}]}
    (lab.workspace / "playbooks/preflight.yml").write_text(yaml.safe_dump([here, reach]), encoding="utf-8")
    (lab.workspace / "playbooks/start.yml").write_text(yaml.safe_dump([here]), encoding="utf-8")
    build = lab.build(VERBS="preflight start")
    assert build.result == "FAILURE"
    assert (build.stages["preflight"], build.stages["start"]) == ("FAILURE", "SUCCESS")
    assert "preflight: a host was not reached; the console says which" in build.console


def test_a_failure_beside_a_host_that_is_off_stops_as_every_failure_does(lab: Lab) -> None:
    """Ansible's exit code is 4 for both."""
    off = {"name": "worker9", "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    here = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.add_host": off}]}
    both = {"hosts": "localhost:worker9", "gather_facts": False, "tasks": [{"ansible.builtin.raw": "false"}]}
    (lab.workspace / "playbooks/preflight.yml").write_text(yaml.safe_dump([here, both]), encoding="utf-8")
    build = lab.build(VERBS="preflight start")
    assert build.result == "FAILURE" and "preflight ended with 2" in build.console
    assert (build.stages["preflight"], build.stages["start"]) == ("FAILURE", "SKIPPED")


def test_an_aborted_build_cleans(lab: Lab) -> None:
    lab.leave()
    process = lab.controller.start("lab", **lab.parameters(VERBS="preflight start", NEXUS_CREDS_ID="nexus"))
    build = lab.controller.abort(process, "lab", when="] Check everything")
    assert build.result == "ABORTED"
    assert build.stages["preflight"] == "ABORTED" and build.stages["start"] == "SKIPPED"
    assert "Aborted by the user" in build.console
    assert not lab.staged.exists()
    lab.assert_no_secret(build, PLANTED)


def test_a_credential_that_does_not_exist_is_named(lab: Lab) -> None:
    build = lab.build(NEXUS_CREDS_ID="forgotten")
    assert build.stages["parameters"] == "FAILURE"
    assert "Could not find credentials entry with ID 'forgotten'" in build.console


@pytest.mark.parametrize(("user", "result"), [("publisher", "SUCCESS"), pytest.param("planted-user", "FAILURE", marks=pytest.mark.deep)])
def test_the_credential_of_the_index_reaches_ansible_and_nothing_else(lab: Lab, index: str, user: str, result: str) -> None:
    lab.controller.credentials["nexus"] |= {"username": user, "password": PUBLISHER}
    build = lab.build(NEXUS_URL=index, NEXUS_CREDS_ID="nexus")
    assert build.stages["preflight"] == result, build.console
    assert ("knows the user in vault_nexus_user but does not let it read (403)" in build.console) == (result == "FAILURE")
    lab.assert_no_secret(build, PUBLISHER)


@pytest.mark.deep
def test_an_inventory_has_one_build_at_a_time(lab: Lab) -> None:
    lab.controller.job("other", lab.workspace / "Jenkinsfile", lab.workspace)
    first = lab.controller.start("lab", **lab.parameters())
    log = lab.controller.home / "builds/lab/1/log"
    while not (log.exists() and "make venv" in log.read_text(encoding="utf-8")):
        assert first.poll() is None
    second = lab.controller.build("other", **lab.parameters(INVENTORY="inventories/test", VERBS="fly"))
    assert "[lock-mlops-lab inventories/test] is in use, waiting..." in second.console
    assert first.poll() is not None
    assert lab.controller.finish(first, "lab").result == "SUCCESS"


def test_the_form_has_the_names_that_users_have(lab: Lab) -> None:
    lab.controller.credentials.clear()
    build = lab.controller.build("lab", VERBS="")
    assert {"NEXUS_URL", "NEXUS_CREDS_ID", "DEV_DIR", "REQUIREMENTS", "CUSTOM_REQUIREMENTS"} <= build.told["parameters"].keys()
    assert list(build.stages) == STAGES
    assert VERBS[-1] == "clean", "which post { always } runs"
