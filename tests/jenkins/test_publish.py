"""Jenkinsfile.publish, executed: from a commit of some project to a wheel in an index and a build of the lab."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.jenkins.conftest import PUBLISHER, Build, Controller, git

PYPROJECT = """\
[build-system]
requires = ["flit_core==3.12.0"]
build-backend = "flit_core.buildapi"

[project]
name = "small-project"
dynamic = ["version"]
requires-python = ">=3.10"
description = "A project that any team may have"
"""
MODULE = '"""A small project."""\n\n__version__ = "0.1.0"\n\n\ndef twice(number: int) -> int:\n    return 2 * number\n'
TEST = "from small_project import twice\n\n\ndef test_twice() -> None:\n    assert twice(3) == 6\n"


@dataclass
class Project:
    """The job `publish` of a project, whose workspace is a clone of its repository."""

    controller: Controller
    workspace: Path
    index: str
    packages: Path
    lab_repository: Path

    def commit(self, **files: str) -> None:
        """Commit files; a name has __ for each slash and ends without .py."""
        for name, text in files.items():
            path = self.workspace / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        git(self.workspace, "add", "-A", ":!.mlops-lab", ":!dist")
        git(self.workspace, "commit", "-q", "-m", "A change")

    def build(self, **parameters: str) -> Build:
        """Run a build of the commit that is checked out."""
        return self.controller.build("publish", **{"NEXUS_URL": self.index, "LAB_JOB": "", "LAB_REPOSITORY": str(self.lab_repository)} | parameters)

    def published(self) -> dict[str, str]:
        """Return the wheels in the index with their hashes."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.packages.glob("*.whl")}


@pytest.fixture
def project(controller: Controller, lab_repository: Path, index: str, tmp_path: Path) -> Project:
    """A project that copied Jenkinsfile.publish."""
    workspace = tmp_path / "workspace/project"
    workspace.mkdir(parents=True)
    git(workspace, "init", "-q", "--initial-branch", "main")
    (workspace / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (workspace / "Jenkinsfile").write_bytes((ROOT / "Jenkinsfile.publish").read_bytes())
    controller.job("publish", workspace / "Jenkinsfile", workspace)
    controller.credentials["nexus-publisher"] = {"kind": "usernamePassword", "username": "publisher", "password": PUBLISHER}
    made = Project(controller, workspace, index, tmp_path / "packages", lab_repository)
    made.commit(src__small_project=MODULE, tests__test_small=TEST)
    return made


def assert_no_secret(build: Build) -> None:
    """Nothing that the controller keeps holds the publisher's password, and nothing had to be masked."""
    assert [str(path) for path, text in build.everything() if PUBLISHER in text or "9b7e" in text] == []
    assert build.told["masked"] == 0


def test_a_tag_is_published_once(project: Project) -> None:
    git(project.workspace, "tag", "v1.2.0")
    build = project.build()
    assert build.result == "SUCCESS", build.console
    assert build.stages == {"parameters": "SUCCESS", "build": "SUCCESS", "test": "SUCCESS", "upload": "SUCCESS", "lab": "SKIPPED"}
    assert build.description == "small-project==1.2.0"
    assert build.told["tests"] == {"total": 1, "failed": 0}
    first = project.published()
    assert list(first) == ["small_project-1.2.0-py3-none-any.whl"]
    assert_no_secret(build)

    build = project.build()
    assert build.result == "SUCCESS", build.console
    assert "The index has small_project-1.2.0-py3-none-any.whl already, with the same content." in build.console
    assert project.published() == first

    project.commit(src__small_project=MODULE + "\n# another\n")
    git(project.workspace, "tag", "--force", "v1.2.0")
    build = project.build()
    assert build.result == "FAILURE" and build.stages["upload"] == "FAILURE"
    assert "The index has small_project-1.2.0-py3-none-any.whl already, with another content than this commit gives: tag another version" in build.console
    assert project.published() == first
    assert_no_secret(build)


@pytest.mark.deep
def test_a_commit_without_a_tag_is_published_and_starts_the_lab(project: Project, checkout: Callable[..., Path], own_lab: Callable[[Path], Path]) -> None:
    git(project.workspace, "tag", "v1.2.0")
    project.commit(src__other=MODULE)
    lab = checkout("lab")
    own_lab(lab)
    jenkinsfile = (lab / "Jenkinsfile").read_text(encoding="utf-8")
    for name, default in {"INVENTORY": "'inventories/test'", "VAULT_CREDS_ID": "''", "VERBS": "'clean'"}.items():  # as that job may be set up
        jenkinsfile = re.sub(rf"(name: '{name}', defaultValue: )[^,]+", rf"\g<1>{default}", jenkinsfile)
    (lab / "Jenkinsfile").write_text(jenkinsfile, encoding="utf-8")
    project.controller.job("mlops-lab", lab / "Jenkinsfile", lab)
    build = project.build(LAB_JOB="mlops-lab")
    version = "1.2.1.dev20261124102030"
    assert build.description == f"small-project=={version}"
    assert list(project.published()) == [f"small_project-{version}-py3-none-any.whl"]
    triggered = project.controller.last("mlops-lab")
    assert triggered.told["parameters"]["PROJECT"] == f"small-project=={version}"
    others = [line for line in (lab / "inventories/test/custom_requirements.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all(f'"{line}"' in triggered.console for line in [*others, f"small-project=={version}"]), triggered.console
    assert build.told["triggered"] == [{"job": "mlops-lab", "number": 1, "result": "SUCCESS"}]
    assert build.result == "SUCCESS"
    assert_no_secret(build)


def test_what_its_tests_refuse_is_not_published(project: Project) -> None:
    project.commit(src__small_project=MODULE.replace("2 *", "3 *"))
    build = project.build()
    assert build.result == "FAILURE"
    assert build.stages == {"parameters": "SUCCESS", "build": "SUCCESS", "test": "FAILURE", "upload": "SKIPPED", "lab": "SKIPPED"}
    assert "The tests of small-project fail on small_project-" in build.console
    assert build.told["tests"] == {"total": 1, "failed": 1}
    assert project.published() == {}


def test_a_wrong_parameter_stops_in_the_first_stage(project: Project) -> None:
    build = project.build(NEXUS_URL="nexus.example.org")
    assert build.stages["parameters"] == "FAILURE" and set(build.stages.values()) == {"FAILURE", "SKIPPED"}
    assert "NEXUS_URL is 'nexus.example.org', which is no address" in build.console
    build = project.build(PROJECT_DIR="elsewhere")
    assert "There is no elsewhere/pyproject.toml: write the directory of the project into PROJECT_DIR." in build.console


def test_a_wrong_password_is_a_sentence(project: Project) -> None:
    project.controller.credentials["nexus-publisher"]["password"] = "wrong-9b7e"
    git(project.workspace, "tag", "v1.2.0")
    build = project.build()
    assert build.result == "FAILURE"
    assert project.published() == {}
    assert_no_secret(build)
