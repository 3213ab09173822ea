"""What `make lab` does when it is interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment

SITE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.file: {path: "{{ playbook_dir }}/started", state: touch, mode: "0600"}
    - ansible.builtin.command: sleep 60
    - ansible.builtin.file: {path: "{{ playbook_dir }}/went_on", state: touch, mode: "0600"}
"""
CLEAN = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.file: {path: "{{ playbook_dir }}/cleaned-{{ inventory_hostname }}", state: touch, mode: "0600"}
"""
VALUES = "all: {hosts: {machine: }, vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The tool with plays of the test's own."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "site.yml").write_text(SITE)
    (tmp_path / "playbooks/clean.yml").write_text(CLEAN)
    (tmp_path / "inventory.yml").write_text(VALUES)
    return tmp_path


def start(checkout: Path) -> subprocess.Popen[str]:
    """Start the run in a process group of its own, as a terminal does; returns when it is in the middle of a task."""
    command = [sys.executable, "tools/run_playbook.py", "site.yml", "-i", "inventory.yml"]
    process = subprocess.Popen(command, cwd=checkout, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0)
    deadline = time.monotonic() + 30
    while not (checkout / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    return process


@pytest.mark.parametrize(
    ("number", "to_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130), (signal.SIGTERM, False, 143), (signal.SIGTERM, True, 143)],
)
def test_an_interrupted_run_cleans_the_same_hosts(checkout: Path, number: signal.Signals, to_group: bool, code: int) -> None:
    process = start(checkout)
    began = time.monotonic()
    (os.killpg if to_group else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert time.monotonic() - began < 30
    assert (checkout / "playbooks/cleaned-machine").exists(), output
    assert not (checkout / "went_on").exists()


def test_the_playbook_s_own_exit_code_is_kept(checkout: Path) -> None:
    (checkout / "site.yml").write_text("- {hosts: all, gather_facts: false, tasks: [{ansible.builtin.fail: {msg: broken}}]}\n")
    command = [sys.executable, "tools/run_playbook.py", "site.yml", "-i", "inventory.yml"]
    assert subprocess.run(command, cwd=checkout, env=environment(), capture_output=True, check=False).returncode == 2
    assert not (checkout / "playbooks/cleaned-machine").exists()
