"""The role sensitive_files on this machine: plant leftovers, run it, look for them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, processes

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: mlops.lab.sensitive_files
"""


class Host:
    """A lab host: this machine, with all the role's directories inside `path`."""

    def __init__(self, path: Path, tool: Run) -> None:
        self.tool, self.path = tool, path
        self.staging, self.remote_tmp, self.async_dir = path / "staging", path / "tmp", path / "async"
        self.compose = path / "compose.yml"
        self.play = path / "play.yml"
        self.play.write_text(PLAY)
        self.values: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_async_dir": str(self.async_dir),
            "ansible_remote_tmp": str(self.remote_tmp),
            "sensitive_files_staging_dirs": [str(self.staging)],
            "sensitive_files_paths": [str(path / "netrc")],
            "sensitive_files_async_dir": str(self.async_dir),
            "sensitive_files_remote_tmp": str(self.remote_tmp),
            "sensitive_files_compose_files": [str(self.compose)],
        }

    def run(self, play: str | None = None, *options: str, **values: Any) -> str:
        """Run the role, or another play, and return what Ansible printed; it must succeed."""
        if play:
            self.play.write_text(play)
        done = self.tool(
            ["ansible-playbook", self.play, "-i", "host,", "-e", json.dumps(self.values | values), *options], ANSIBLE_CALLBACK_RESULT_FORMAT="json"
        )
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    def plant(self) -> list[Path]:
        """Leave behind what killed runs leave; returns the files."""
        left = [
            self.staging / "build-1" / "secrets" / "index_password",
            self.remote_tmp / "ansible-tmp-1700000000.1-42-1" / "AnsiballZ_command.py",
            self.async_dir / "j123.456",
            self.path / "netrc",
        ]
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("canary")
        self.compose.write_text("services: {}\n")
        return left


@pytest.fixture(params=["pipelining", "unpacked modules"])
def transport(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Whether Ansible unpacks modules into the very directory that is cleaned."""
    return {"ansible_pipelining": request.param == "pipelining"}


@pytest.fixture
def host(tmp_path: Path, tool: Run) -> Host:
    """A lab host."""
    return Host(tmp_path, tool)


def test_leftovers_are_removed_and_named_once(host: Host, transport: dict[str, Any]) -> None:
    host.values |= transport
    left = host.plant()
    output = host.run()
    assert not [path for path in left if path.exists()]
    assert not host.staging.exists()
    assert host.compose.exists(), "a compose file holds no secret and is needed by the operator"
    report = next(line for line in output.splitlines() if "removed: " in line)
    for path in (host.staging, left[1].parent, left[2], left[3]):
        assert str(path) in report

    output = host.run()
    assert "changed=0" in output
    assert "nothing sensitive was left" in output


def test_check_mode_names_them_and_removes_nothing(host: Host) -> None:
    left = host.plant()
    output = host.run(None, "--check", "--diff")
    assert "removed: " in output
    assert all(path.exists() for path in left)
    assert "canary" not in output


def test_compose_files_can_go_too(host: Host) -> None:
    host.plant()
    host.run(sensitive_files_keep_compose=False)
    assert not host.compose.exists()


def test_directories_that_are_not_ours_alone_stay(host: Host) -> None:
    left = host.plant()
    host.run(sensitive_files_async_dir="", sensitive_files_remote_tmp="")
    assert left[1].exists()
    assert left[2].exists()


def test_a_job_that_outlived_its_run_is_stopped(host: Host) -> None:
    marker = f"300.{os.getpid()}"
    host.run(f"- {{hosts: all, gather_facts: false, tasks: [{{ansible.builtin.command: sleep {marker}, async: 600, poll: 0}}]}}")
    deadline = time.monotonic() + 20
    while not running(marker):
        assert time.monotonic() < deadline, "the test has to start with a running job"
        time.sleep(0.2)
    output = host.run(PLAY)
    assert not running(marker)
    assert "a job that still ran" in output
    assert not list(host.async_dir.iterdir())
    assert "changed=0" in host.run(PLAY)


def running(marker: str) -> list[int]:
    """Return the processes that sleep for `marker`."""
    return processes(f"sleep {marker}", "sleep")
