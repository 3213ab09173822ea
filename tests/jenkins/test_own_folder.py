"""The Jenkinsfile of a lab's own folder, executed: its agent has Ansible, and what the first stage installs is the only collection of the lab."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import BIN, ROOT, VERBS, forms, run_tool
from tests.jenkins.conftest import Build, Controller, free_port, own_values
from tests.jenkins.test_harness import lint

STAGES = ["collections", *VERBS[:-1]]


@dataclass
class Folder:
    """The job `churn`, its workspace as git brings it, and where a build that was killed would have left a secret on the host."""

    controller: Controller
    workspace: Path
    staged: Path

    def build(self, **parameters: str | bool) -> Build:
        """Run a build with the form's defaults but for some."""
        return self.controller.build("churn", **parameters)

    def set(self, **values: str | int) -> None:
        """Set more values of the lab."""
        path = self.workspace / "group_vars/lab/zz_test.yml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.fixture
def folder(controller: Controller, tmp_path: Path, tarball: Path) -> Iterator[Folder]:
    """A new lab's folder without its password, which Jenkins has. Its requirements name the collection as one file, as they say themselves that they may."""
    workspace, staged, home = tmp_path / "churn", Path(f"/dev/shm/jenkins-own-{free_port()}"), tmp_path / "home"
    done = run_tool(["ansible-playbook", "playbooks/new_lab.yml", "-i", "localhost,", "-e", f"lab_home={workspace}"])
    assert done.returncode == 0, done.stdout
    password = workspace / ".vault_password"
    controller.credentials["churn-vault-password"] = {"kind": "file", "filename": "password", "content": password.read_text(encoding="utf-8")}
    password.unlink()
    (workspace / "group_vars/lab/zz_test.yml").write_text(yaml.safe_dump(own_values(tmp_path, staged)), encoding="utf-8")
    needs = workspace / "collections/requirements.yml"
    listed = yaml.safe_load(needs.read_text(encoding="utf-8"))["collections"]
    others = [one for one in listed if one["name"] != "mlops.lab"]
    assert len(others) == len(listed) - 1
    needs.write_text(yaml.safe_dump({"collections": [{"name": str(tarball), "type": "file"}, *others]}), encoding="utf-8")
    # No Galaxy server is asked: what the collection needs is in the agent's Ansible.
    (home / "bin").mkdir(parents=True)
    (home / "bin/ansible-galaxy").write_text(f'#!/bin/sh\nexec {BIN}/ansible-galaxy "$@" --offline\n', encoding="utf-8")
    (home / "bin/ansible-galaxy").chmod(0o755)
    path = os.pathsep.join([f"{home}/bin", str(BIN), os.defpath, "/usr/sbin:/sbin"])
    controller.job("churn", workspace / "Jenkinsfile", workspace, HOME=str(home), PATH=path)
    yield Folder(controller, workspace, staged)
    shutil.rmtree(staged, ignore_errors=True)


def test_its_stages_run_the_installed_collection_and_the_host_is_clean_afterwards(folder: Folder) -> None:
    folder.staged.mkdir()
    (folder.staged / "index_password").write_text("left", encoding="utf-8")
    build = folder.build(VERBS="preflight")
    assert build.result == "SUCCESS", build.console
    assert build.stages == {name: "SUCCESS" if name in ("collections", "preflight") else "SKIPPED" for name in STAGES}
    assert (folder.workspace / ".ansible/collections/ansible_collections/mlops/lab/playbooks/preflight.yml").is_file()
    assert "WARNING" not in build.console and str(ROOT) not in build.console.replace(str(BIN), "")
    assert build.told["tests"]["total"] > 3 and build.told["tests"]["failed"] == 0
    assert any(name.startswith("reports/junit/preflight") for name in build.told["archived"])
    assert not folder.staged.exists()
    password = folder.controller.credentials["churn-vault-password"]["content"].strip()
    assert [str(path) for path, text in build.everything() if any(form in text for form in forms(password))] == []


@pytest.mark.deep
def test_a_dry_run_changes_nothing_and_a_failing_stage_still_cleans(folder: Folder) -> None:
    folder.staged.mkdir()
    build = folder.build(VERBS="preflight", DRY_RUN=True, LIMIT="localhost")
    assert build.result == "SUCCESS" and folder.staged.exists(), build.console
    folder.set(preflight_min_memory_mb=99_999_999)
    build = folder.build(VERBS="preflight start")
    assert build.result == "FAILURE" and "preflight ended with 2" in build.console, build.console
    assert (build.stages["preflight"], build.stages["start"]) == ("FAILURE", "SKIPPED")
    assert not folder.staged.exists() and build.told["tests"]["failed"] > 0


@pytest.mark.lint
def test_codenarc(folder: Folder, jars: list[Path]) -> None:
    said = lint(jars, folder.workspace / "Jenkinsfile")
    assert "TotalFiles=1 FilesWithViolations=0 P1=0 P2=0 P3=0" in said, said
