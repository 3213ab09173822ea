"""Runs of Ansible at the same time on one lab: the lock that one of them has, who is told about it, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.action.lab_lock import SCRIPT, who_runs

from tests.conftest import BIN, ROOT, environment, processes, run_tool

LONG = {"ansible.builtin.wait_for": {"path": "{{ place }}/go", "timeout": 60}}
LOCK = {"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/lock.yml")}

AT_ONCE = {"ANSIBLE_STDOUT_CALLBACK": "mlops.lab.terminal"}  # Ansible's own leaves what it prints in a buffer


class Lab:
    """A lab on this machine, in a directory."""

    def __init__(self, place: Path) -> None:
        self.place, self.lock = place, place / "lab.lock"
        self.running: list[subprocess.Popen[str]] = []

    def command(self, name: str, tasks: list[dict[str, Any]], *options: str) -> list[str | Path]:
        """Write a playbook of two plays that take the lock, the tasks in the second one; return the command that runs it."""
        play: dict[str, Any] = {"hosts": "all", "gather_facts": False, "pre_tasks": [LOCK]}
        book = self.place / f"{name}.yml"
        book.write_text(json.dumps([{**play, "tasks": []}, {**play, "tasks": tasks}]), encoding="utf-8")
        values = {"lab_name": "my-lab", "lab_lock_file": str(self.lock), "lab_lock_wait": 0, "place": str(self.place), "ansible_connection": "local"}
        values["ansible_python_interpreter"] = "/usr/bin/python3"
        return [BIN / "ansible-playbook", book, "-i", "first,second", "-e", json.dumps(values), *options]

    def start(self, *options: str, **more: str) -> subprocess.Popen[str]:
        """Start a run that takes the lock, and then waits until `finish`; returns once it has the lock."""
        known = self.holder()
        process = subprocess.Popen(
            self.command("long", [LONG], *options), cwd=ROOT, env=environment(**more), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.running.append(process)
        eventually(lambda: self.holder() not in ("", known))
        return process

    def other(self, *options: str, tasks: list[dict[str, Any]] | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a second one to its end."""
        return run_tool(self.command("other", tasks or [{"ansible.builtin.debug": {"msg": "THE OTHER RAN"}}], *options), ROOT, **more)

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Let a run go on to its end; returns what it printed."""
        (self.place / "go").touch()
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
        return output

    def holder(self) -> str:
        """Return the run that has the lock, "" when none has."""
        return self.lock.read_text(encoding="utf-8").partition("\n")[0] if self.lock.exists() else ""

    def holds(self, machine: str, renewed: int) -> None:
        """Write the lock of a run on another machine that was renewed so many seconds ago."""
        uptime = int(float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]))
        self.lock.write_text(
            f"elsewhere\n{uptime - renewed}\n{machine}\n2026-11-26 03:00:00 UTC\njob 7 of AWX, launched by ada, runs backup.yml\n", encoding="utf-8"
        )


def eventually(condition: Any, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def modules(process: int) -> int:
    """Return how many workers of a run of Ansible have a module at work."""

    def children(of: int | str) -> list[str]:
        try:
            return Path(f"/proc/{of}/task/{of}/children").read_text(encoding="ascii").split()
        except OSError:  # it ended meanwhile
            return []

    return sum(bool(children(worker)) for worker in children(process))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab; what still runs at the end is ended."""
    lab = Lab(tmp_path)
    yield lab
    for process in lab.running:
        process.kill()
        process.wait()


def test_a_second_run_is_told_who_has_the_lab_and_changes_nothing(lab: Lab) -> None:
    first = lab.start()
    second = lab.other()
    assert second.returncode != 0 and "THE OTHER RAN" not in second.stdout
    assert f"(process {first.pid}) runs long.yml, since 20" in second.stdout and "The lab my-lab is in use: " in second.stdout, second.stdout
    assert second.stdout.count("fatal: ") == 1, second.stdout
    assert "changed=0" in lab.finish(first)
    assert not lab.lock.exists(), "a run gives its lock back before it ends"
    third = lab.other()
    assert third.returncode == 0 and "changed=0" in third.stdout, third.stdout


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_holder_that_was_ended_blocks_nobody(lab: Lab, ends: signal.Signals) -> None:
    first = lab.start()
    # While Ansible forks a worker, Python drops the exception that Ansible's handler raises, and the run goes on: so it has to have forked them.
    eventually(lambda: modules(first.pid) == 2)
    os.kill(first.pid, ends)
    if ends != signal.SIGKILL:
        first.wait(timeout=60)
    # One that was killed and that nobody waits for still has its number.
    second = lab.other()
    assert second.returncode == 0 and "THE OTHER RAN" in second.stdout, second.stdout
    eventually(lambda: not lab.lock.exists())


def test_the_lock_is_kept_and_given_back_over_ssh(lab: Lab) -> None:
    """Ansible's own connection, up to the program `ssh`: this one runs here what it is told to run there."""
    program = lab.place / "ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
    program.chmod(0o755)
    remote = ["-e", json.dumps({"ansible_connection": "ssh", "ansible_ssh_executable": str(program)})]
    first = lab.start(*remote)

    def renewed() -> str:
        return lab.lock.read_text(encoding="utf-8").splitlines()[1] if lab.lock.exists() else ""

    before = renewed()
    eventually(lambda: renewed() not in ("", before), 60)
    second = lab.other(*remote)
    assert second.returncode != 0 and f"(process {first.pid}) runs long.yml, since 20" in second.stdout, second.stdout
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not lab.lock.exists(), 60)


def test_a_keeper_that_was_killed_too_blocks_nobody_on_the_same_machine(lab: Lab) -> None:
    first = lab.start()
    for process in processes(str(lab.place / "long.yml")):
        os.kill(process, signal.SIGKILL)
    first.wait()
    assert lab.lock.exists(), "nobody was left to remove it"
    second = lab.other()
    assert second.returncode == 0 and "THE OTHER RAN" in second.stdout, second.stdout


def test_a_run_that_fails_gives_the_lock_back(lab: Lab) -> None:
    failed = lab.other(tasks=[{"ansible.builtin.fail": {"msg": "it broke"}}])
    assert failed.returncode != 0 and "it broke" in failed.stdout
    assert not lab.lock.exists()


def test_without_the_callback_the_lock_is_given_back_too(lab: Lab) -> None:
    done = lab.other(ANSIBLE_CALLBACKS_ENABLED="ansible.posix.timer")
    assert done.returncode == 0, done.stdout
    eventually(lambda: not lab.lock.exists(), 10)


def test_check_mode_neither_takes_nor_asks(lab: Lab) -> None:
    lab.start()
    done = lab.other("--check")
    assert done.returncode == 0, done.stdout
    assert "THE OTHER RAN" in done.stdout


def test_a_run_that_the_holder_started_goes_on_with_its_lock(lab: Lab) -> None:
    first = lab.start()
    mine = lab.holder()
    nested = lab.other(MLOPS_LAB_LOCK=mine)
    assert nested.returncode == 0 and "THE OTHER RAN" in nested.stdout, nested.stdout
    assert lab.holder() == mine, "it is not the nested run's to give back"
    lab.finish(first)
    assert not lab.lock.exists()


def test_one_may_wait(lab: Lab) -> None:
    first = lab.start()
    second = subprocess.Popen(
        [*lab.command("other", [{"ansible.builtin.debug": {"msg": "THE OTHER RAN"}}]), "-e", "lab_lock_wait=100"],
        cwd=ROOT,
        env=environment(**AT_ONCE),
        text=True,
        stdout=subprocess.PIPE,
    )
    lab.running.append(second)
    assert second.stdout
    for line in second.stdout:
        if "Waiting for the lab my-lab: " in line:
            break
    else:
        pytest.fail("it did not wait")
    lab.finish(first)
    assert "THE OTHER RAN" in second.communicate(timeout=120)[0]


def test_a_holder_elsewhere_that_gives_no_sign_of_life_runs_out(lab: Lab) -> None:
    lab.holds("another-boot pid:[1] 4711 1", renewed=20)
    done = lab.other()
    assert done.returncode == 0 and "THE OTHER RAN" in done.stdout, done.stdout


def test_a_holder_elsewhere_that_renews_is_named(lab: Lab) -> None:
    lab.holds("another-boot pid:[1] 4711 1", renewed=0)
    second = subprocess.Popen(lab.command("other", []), cwd=ROOT, env=environment(**AT_ONCE), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.running.append(second)
    assert second.stdout
    output = ""
    while "Waiting for the lab" not in output:
        output += (line := second.stdout.readline())
        assert line, output
    assert "Waiting for the lab my-lab: job 7 of AWX, launched by ada, runs backup.yml, since 2026-11-26 03:00:00 UTC." in output
    lab.holds("another-boot pid:[1] 4711 1", renewed=-1)
    output += second.communicate(timeout=60)[0]
    assert second.returncode != 0 and "The lab my-lab is in use: job 7 of AWX, launched by ada, runs backup.yml, since" in output, output


def test_a_run_whose_lock_was_taken_stops_at_its_next_play(lab: Lab) -> None:
    command = lab.command("long", [LONG])
    plays = json.loads((lab.place / "long.yml").read_text(encoding="utf-8"))
    (lab.place / "long.yml").write_text(json.dumps([*plays, plays[0]]), encoding="utf-8")
    first = subprocess.Popen(command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.running.append(first)
    eventually(lambda: lab.holder() != "")
    lab.holds("another-boot pid:[1] 4711 1", renewed=0)
    time.sleep(7)  # more than the time between two renewals
    (lab.place / "go").touch()
    output = first.communicate(timeout=120)[0]
    assert first.returncode != 0 and "its lock is lost" in output and "job 7 of AWX" in output, output
    assert lab.holder() == "elsewhere", "the lock is another's now"


def test_a_directory_that_is_not_there_is_one_sentence(lab: Lab) -> None:
    lab.lock = lab.place / "nowhere" / "lab.lock"
    done = lab.other()
    assert done.returncode != 0 and f"The lock of the lab my-lab, {lab.lock} on first, cannot be taken: " in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("variables", "environ", "words"),
    [
        ({"awx_job_id": 12, "awx_user_name": "ada"}, {"BUILD_URL": "x"}, "job 12 of AWX, launched by ada,"),
        ({"awx_job_id": 12}, {}, "job 12 of AWX, launched by nobody,"),
        ({}, {"BUILD_URL": "https://ci.example.com/job/lab/3/"}, "the Jenkins build https://ci.example.com/job/lab/3/"),
    ],
)
def test_who_started_a_run(variables: dict[str, Any], environ: dict[str, str], words: str) -> None:
    assert who_runs(variables, environ) == words


def test_two_that_come_at_the_same_time(tmp_path: Path) -> None:
    """The script alone, twenty times at once: one gets the lock."""
    head = f"lock={tmp_path}/lab.lock lease=30 outer= mine= about=x action=take\n"
    processes = [subprocess.Popen(["/bin/sh", "-c", f"run=r{number} {head}{SCRIPT}"], text=True, stdout=subprocess.PIPE) for number in range(20)]
    answers = [process.communicate()[0].splitlines()[0] for process in processes]
    assert sorted(answers) == ["taken", *["unknown"] * 19]
