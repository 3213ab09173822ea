"""A host that is off: a worker's does not stop the rest of the lab, a control host's does, and either way the run ends with an error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run

HERE = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "/usr/bin/python3"}
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
AFTER = [
    {"ansible.builtin.ping": {}},
    {"ansible.builtin.debug": {"msg": "after: {{ ansible_play_hosts | join(' ') }}"}, "run_once": True},
]


SHOWN = {"ANSIBLE_STDOUT_CALLBACK": "mlops.lab.terminal"}


def lab(folder: Path, *away: str, hosts: tuple[str, ...] = ("control", "worker1", "worker2")) -> list[str | Path]:
    """Write the inventory of a lab, of which some hosts are off, and a playbook as all verbs are; return the command that runs it."""
    known = {host: AWAY if host in away else HERE for host in hosts}
    groups = {"lab_control": hosts[:1], "lab_builder": hosts[:1], "lab_workers": hosts[1:] or hosts}
    inventory = {"lab": {"children": {group: {"hosts": {host: known[host] for host in of}} for group, of in groups.items()}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    reach = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/reach.yml")}
    verb = {"name": "A verb", "hosts": "lab_control:lab_workers", "gather_facts": False, "any_errors_fatal": True, "tags": ["verb"], "tasks": AFTER}
    (folder / "verbs.yml").write_text(json.dumps([reach, verb, reach, {**verb, "name": "Another"}]), encoding="utf-8")
    return ["ansible-playbook", folder / "verbs.yml", "-i", folder / "hosts.yml"]


@pytest.mark.parametrize("options", [(), ("--tags", "verb"), ("--check",)])
def test_the_run_goes_on_without_a_worker_that_is_off_and_fails(tmp_path: Path, tool: Run, options: tuple[str, ...]) -> None:
    """Whichever verb is wanted; who is there is asked once, and the first host of a group may be the one that is off."""
    done = tool([*lab(tmp_path, "worker1"), *options], **SHOWN)
    assert done.returncode == 4, done.stdout
    assert "worker1 is not reached: the run goes on without it, and ends with an error. Once it is there, run the same with `LIMIT=worker1`." in done.stdout
    assert done.stdout.count("after: control worker2") == 2
    assert re.findall(r"^\[\d/\d\] (.*)", done.stdout, re.M) == ["Look which hosts are there", "A verb", "Another"]
    assert re.search(r"^control +: ok=.* changed=0 .* failed=0 ", done.stdout, re.M), done.stdout


@pytest.mark.parametrize("needed", [True, False])
def test_a_builder_that_is_off_stops_what_needs_one_alone(tmp_path: Path, tool: Run, needed: bool) -> None:
    command = lab(tmp_path)
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text(encoding="utf-8"))
    inventory["lab"]["children"]["lab_builder"]["hosts"] = {"builder": AWAY}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    plays = json.loads((tmp_path / "verbs.yml").read_text(encoding="utf-8"))
    plays[0] |= {} if needed else {"vars": {"__lab_needs_builder": False}}
    (tmp_path / "verbs.yml").write_text(json.dumps(plays), encoding="utf-8")
    done = tool(command, **SHOWN)
    assert done.returncode and done.stdout.count("after: control") == (0 if needed else 2), done.stdout
    assert ("builder is not reached, and the other hosts cannot do without it" in done.stdout) == needed


def test_several_workers_that_are_off_are_one_sentence(tmp_path: Path, tool: Run) -> None:
    done = tool(lab(tmp_path, "worker1", "worker2"), **SHOWN)
    assert done.returncode == 4 and done.stdout.count("after: control\n") == 2, done.stdout
    assert "worker1, worker2 are not reached: the run goes on without them, and ends with an error. Once they are there, run the same with" in done.stdout


def test_a_host_whose_connection_runs_nothing_is_off_too(tmp_path: Path, tool: Run) -> None:
    """As a container that is stopped: it has no connection that could fail."""
    command = lab(tmp_path)
    dead = {"ansible_ssh_executable": "/bin/false", "ansible_host": "127.0.0.1"}
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text(encoding="utf-8"))
    inventory["lab"]["children"]["lab_workers"]["hosts"]["worker2"] = dead
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    done = tool(command, **SHOWN)
    assert done.returncode != 0 and "worker2 is not reached: the run goes on" in done.stdout and done.stdout.count("after: control worker1") == 2, done.stdout


def test_a_host_whose_sudo_refuses_is_there(tmp_path: Path, tool: Run) -> None:
    """What is wrong is said by the first task that needs it."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
    program.chmod(0o755)
    command = lab(tmp_path)
    refusing = {"ansible_ssh_executable": str(program), "ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/bin/false"}
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text(encoding="utf-8"))
    inventory["lab"]["children"]["lab_workers"]["hosts"]["worker2"] = refusing
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    done = tool(command, **SHOWN)
    assert done.returncode == 2 and "is not reached" not in done.stdout and "fatal: [worker2]: FAILED!" in done.stdout, done.stdout


def test_nothing_goes_on_without_the_control_host(tmp_path: Path, tool: Run) -> None:
    done = tool(lab(tmp_path, "control", "worker2"), **SHOWN)
    assert done.returncode != 0 and "after:" not in done.stdout
    words = "control is not reached, and the other hosts cannot do without it: start it, then run this again."
    assert words in " ".join(done.stdout.split()), done.stdout


@pytest.mark.parametrize("control", [AWAY, {"ansible_ssh_executable": "/bin/false", "ansible_host": "127.0.0.1"}])
def test_with_a_limit_the_control_host_that_is_off_is_named_and_not_the_worker(tmp_path: Path, tool: Run, control: dict[str, Any]) -> None:
    command = [*lab(tmp_path), "--limit", "worker2"]
    assert tool(command, **SHOWN).stdout.count("after: worker2") == 2
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text(encoding="utf-8"))
    for group in ("lab_control", "lab_builder"):
        inventory["lab"]["children"][group]["hosts"]["control"] = control
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    done = tool(command, **SHOWN)
    assert done.returncode != 0 and "after:" not in done.stdout
    words = "control is not reached, and the other hosts cannot do without it: start it, then run this again."
    assert words in " ".join(done.stdout.split()), done.stdout


def test_a_failure_stops_all_hosts_as_before(tmp_path: Path, tool: Run) -> None:
    done = tool([*lab(tmp_path), "-e", json.dumps({"ansible_python_interpreter": "/nonexistent"})], **SHOWN)
    assert done.returncode == 2 and "after:" not in done.stdout and "is not reached" not in done.stdout, done.stdout


def test_all_hosts_that_are_there_are_not_spoken_of(tmp_path: Path, tool: Run) -> None:
    done = tool(lab(tmp_path), **SHOWN)
    assert done.returncode == 0 and "is not reached" not in done.stdout and done.stdout.count("after: control worker1 worker2") == 2, done.stdout


def test_with_one_host_nothing_is_asked_and_nothing_printed(tmp_path: Path, tool: Run) -> None:
    done = tool(lab(tmp_path, hosts=("vm1",)), **SHOWN)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^\[\d/\d\] .*", done.stdout, re.M) == ["[1/2] A verb", "[2/2] Another"]
    assert "ok=4 " in done.stdout and "skipped=0" in done.stdout and "WARNING" not in done.stdout, done.stdout


def test_one_host_that_is_off_is_told_by_ansible(tmp_path: Path, tool: Run) -> None:
    done = tool(lab(tmp_path, "vm1", hosts=("vm1",)), **SHOWN)
    assert done.returncode == 4 and "Connection refused" in done.stdout and "Look which" not in done.stdout, done.stdout
