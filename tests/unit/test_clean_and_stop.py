"""What the rescue of every play says: the original failure in one sentence, never a secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run

FAIL = "ansible.builtin.fail"


def stop(tool: Run, path: Path, task: dict[str, Any], hosts: str = "first,", docker: str = "echo 26.1.5") -> list[str]:
    """Run a play whose only task is `task`, on hosts whose Docker client is `docker`; returns the sentence each host ends with."""
    (path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (path / "docker").chmod(0o755)
    staging = path / "staging"
    for host in hosts.strip(",").split(","):
        (staging / host).mkdir(parents=True, exist_ok=True)
    play = {
        "hosts": "all",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [{"block": [{"name": "Do a thing", **task}], "rescue": [{"import_tasks": str(ROOT / "playbooks/tasks/clean_and_stop.yml")}]}],
    }
    after = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "THE NEXT PLAY RAN"}}]}
    (path / "play.yml").write_text(yaml.safe_dump([play, after]))
    values = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
        # One for each host: all are this machine here, and two that remove the same folder at once fail at what the other has removed.
        "sensitive_files_staging_dirs": [f"{staging}/{{{{ inventory_hostname }}}}"],
        "sensitive_files_async_dir": "",
        "sensitive_files_remote_tmp": "",
        "lab_command": "make VERB",
    }
    done = tool(
        ["ansible-playbook", path / "play.yml", "-i", hosts, "-e", json.dumps(values)],
        ANSIBLE_CALLBACK_RESULT_FORMAT="json",
        PATH=f"{path}:{os.environ['PATH']}",
    )
    assert done.returncode == 2, done.stdout
    assert not list(staging.iterdir()), "a failed play has to clean"
    assert "THE NEXT PLAY RAN" not in done.stdout
    assert "TASK [Stop]" in done.stdout, done.stdout
    last = done.stdout.split("TASK [Stop]")[1]
    return [json.loads(line.split("FAILED! => ")[1])["msg"] for line in last.splitlines() if line.startswith("fatal:")]


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({FAIL: {"msg": "it broke"}}, "Do a thing: it broke"),
        ({FAIL: {"msg": "{{ item }} broke"}, "loop": ["this", "that"]}, "Do a thing: this broke; that broke"),
        ({"ansible.builtin.shell": "echo no space left >&2; exit 3"}, "Do a thing: no space left"),
        ({"ansible.builtin.command": "false"}, "Do a thing: non-zero return code"),
        ({"ansible.builtin.assert": {"that": [False], "fail_msg": "the port is taken"}}, "Do a thing: the port is taken"),
    ],
)
def test_the_original_failure_is_the_last_sentence(tool: Run, tmp_path: Path, task: dict[str, Any], sentence: str) -> None:
    assert stop(tool, tmp_path, task) == [sentence]


@pytest.mark.parametrize("loop", [{}, {"loop": [1, 2]}])
def test_a_task_that_hides_its_result_stays_hidden(tool: Run, tmp_path: Path, loop: dict[str, Any]) -> None:
    # What ansible-core 2.19 itself prints when a task fails holds the task's `msg` even so; it must not be repeated.
    assert stop(tool, tmp_path, {FAIL: {"msg": "password=hunter2"}, "no_log": True, **loop}) == [
        "Do a thing: the reason is hidden, because this task handles credentials"
    ]


def test_other_hosts_stop_and_are_cleaned(tool: Run, tmp_path: Path) -> None:
    task = {FAIL: {"msg": "it broke"}, "when": "inventory_hostname == 'first'"}
    assert sorted(stop(tool, tmp_path, task, hosts="first,second")) == ["Do a thing: it broke", "Stopped, because another host failed."]


def test_an_engine_that_does_not_answer_is_named_whatever_failed(tool: Run, tmp_path: Path) -> None:
    task = {FAIL: {"msg": "the image is not there"}}
    assert stop(tool, tmp_path, task, docker="echo 'no daemon at its socket' >&2; exit 1") == [
        'Do a thing: the image is not there (The Docker engine on first does not answer: "no daemon at its socket"; `make provision` installs and starts it.)'
    ]
