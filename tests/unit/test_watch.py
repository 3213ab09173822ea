"""The action watch: a module runs as if it ran alone, and meanwhile the user sees what happens on the host."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from tests.unit.plays import Done, play

SHOWN = re.compile(r"^  \[ *\d+ s\] (.*)$", re.MULTILINE)


def watch(folder: Path, command: str, *options: str, status: str = "true", **arguments: Any) -> Done:
    """Watch a shell command and return what the play did."""
    module = {"module": "ansible.builtin.shell", "args": {"cmd": command}, "status": status, "every": 0.3}
    return play(folder, [{"mlops.lab.watch": {**module, **arguments}, "register": "result"}], *options)


def shown(done: Done) -> list[str]:
    """Return the lines that the user saw while the module ran, without the seconds waited."""
    return SHOWN.findall(done.output)


def test_lines_of_the_status_are_shown_once_each_as_they_appear(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = watch(tmp_path, f"echo first >{log}; sleep 3; echo second >>{log}; sleep 1.5; echo the result", status=f"cat {log}")
    assert done.returncode == 0, done.output
    assert shown(done) == ["first", "second"]
    assert (done.result["rc"], done.result["stdout"], done.result["changed"]) == (0, "the result", True)
    assert not {"ansible_job_id", "results_file"} & done.result.keys()
    assert done.left() == []


def test_what_has_nothing_to_do_shows_nothing(tmp_path: Path) -> None:
    assert shown(watch(tmp_path, "true", status="echo boring")) == []


def test_any_module_gives_its_own_result(tmp_path: Path) -> None:
    task = {"mlops.lab.watch": {"module": "ansible.builtin.stat", "args": {"path": str(tmp_path)}, "status": "true"}, "register": "result"}
    done = play(tmp_path, [task])
    assert done.result["stat"]["isdir"] and done.result["changed"] is False
    assert done.left() == []


def test_a_failure_has_the_words_of_the_module(tmp_path: Path) -> None:
    done = watch(tmp_path, "echo the last words >&2; exit 3")
    assert done.returncode != 0
    assert "the last words" in done.output
    assert done.left() == []


def test_what_takes_too_long_is_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    done = watch(tmp_path, f"while sleep 0.2; do touch {alive}; done", timeout=3)
    assert done.returncode != 0
    assert "was not done after 3 s" in done.output
    alive.unlink()
    time.sleep(1)
    assert not alive.exists(), "the command runs on"
    assert done.left() == []


def test_a_job_that_was_killed_is_noticed_at_once(tmp_path: Path) -> None:
    """By the kernel for want of memory, say: neither the module nor its guard writes a result then."""
    walk = "p=$PPID; set --; while [ $p -gt 1 ]; do grep -q '[a]sync_wrapper' /proc/$p/cmdline && set -- $p $@; p=$(cut -d' ' -f4 /proc/$p/stat); done"
    began = time.monotonic()
    done = watch(tmp_path, f"sleep 2.5; {walk}; kill -9 $@; sleep 1", timeout=600)
    assert done.returncode != 0
    assert "was killed on the host before it was done" in done.output
    assert time.monotonic() - began < 30
    assert list((tmp_path / "async").iterdir()) == []


def test_check_mode_runs_the_module_in_check_mode_and_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    task = {"module": "ansible.builtin.copy", "args": {"src": __file__, "remote_src": True, "dest": str(file)}, "status": "echo working"}
    done = play(tmp_path, [{"mlops.lab.watch": task, "register": "result"}], "--check")
    assert done.returncode == 0, done.output
    assert done.result["changed"] and not file.exists()
    assert shown(done) == [] and done.left() == []
    assert watch(tmp_path, f"touch {file}", "--check").returncode == 0
    assert not file.exists()
