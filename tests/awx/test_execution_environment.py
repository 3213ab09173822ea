"""The execution environment: what ansible-builder makes of it, and that its pins are those of the project."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.conftest import ROOT, Run, locked


def pins(text: str) -> dict[str, str]:
    """Return the versions that lines of requirements pin, by name."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M))


def test_ansible_builder_makes_the_context_with_the_project_s_pins(tool: Run, tmp_path: Path) -> None:
    done = tool(["ansible-builder", "create", "--context", tmp_path / "context", "--output-filename", "Dockerfile", "--verbosity", "3"])
    assert done.returncode == 0, done.stdout
    dockerfile = (tmp_path / "context/Dockerfile").read_text(encoding="utf-8")
    assert 'ARG EE_BASE_IMAGE="mlops-lab/debian:trixie"' in dockerfile, "the same Debian as the lab's other images"
    (core,) = re.findall(r'ANSIBLE_INSTALL_REFS="(.*)"', dockerfile)
    wanted = {**pins(core.replace(" ", "\n")), **pins((tmp_path / "context/_build/requirements.txt").read_text(encoding="utf-8"))}
    versions = locked("requirements-test.txt", "3.13")  # Debian 13's Python
    assert wanted.keys() == {"ansible", "ansible-core", "ansible-runner", "build", "passlib", "pip"}
    assert wanted == {name: versions[name] for name in wanted}


def test_what_the_collection_asks_of_other_environments_is_what_the_project_uses(tool: Run) -> None:
    asked = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python = (ROOT / asked["python"]).read_text(encoding="utf-8")
    assert pins(python).items() <= pins((ROOT / "requirements.in").read_text(encoding="utf-8")).items()
    listed = tool(["bindep", "--file", asked["system"], "--list_all", "newline"])
    assert {"git", "sshpass"} <= set(listed.stdout.split()), listed.stdout
