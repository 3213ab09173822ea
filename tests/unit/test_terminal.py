"""What a run prints: what it changes, how far it is, and its result last."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import BIN, ROOT, environment, run_tool
from tests.unit.plays import play

TASKS: list[dict[str, Any]] = [
    {"name": "Nothing to do", "ansible.builtin.command": "true", "changed_when": False},
    {"name": "Left out", "ansible.builtin.command": "true", "when": False},
    {"name": "Say it", "ansible.builtin.debug": {"msg": "one\ntwo"}},
    {"name": "Say it for each", "ansible.builtin.debug": {"msg": "number {{ item }}"}, "loop": [1, 2]},
    {"name": "Include it", "ansible.builtin.include_tasks": "included.yml", "loop": [1]},
    {"name": "Hide it", "ansible.builtin.debug": {"msg": "a-secret"}, "no_log": True},
    {"name": "Keep the result", "ansible.builtin.set_stats": {"data": {"lab_result": "The lab is ready.\nAirflow is there"}, "aggregate": False}},
]
CHANGE: dict[str, Any] = {"name": "Change it", "ansible.builtin.command": "true"}
BREAK: dict[str, Any] = {"name": "Break it", "ansible.builtin.fail": {"msg": "it broke"}}


def command(folder: Path, *plays: list[dict[str, Any]]) -> list[str | Path]:
    """Write a playbook of plays; return the command that runs it on this machine."""
    head = {"hosts": "all", "gather_facts": False, "vars": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    (folder / "included.yml").write_text("- ansible.builtin.debug: {msg: included}\n", encoding="utf-8")
    book = folder / "book.yml"
    book.write_text(json.dumps([{**head, "name": f"Play {number}", "tasks": tasks} for number, tasks in enumerate(plays, 1)]), encoding="utf-8")
    return [BIN / "ansible-playbook", book, "-i", "vm1,"]


def printed(folder: Path, *plays: list[dict[str, Any]], options: tuple[str, ...] = ()) -> str:
    """Return what a run of plays prints."""
    return run_tool([*command(folder, *plays), *options], ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal").stdout


def test_a_run_prints_what_it_changes_and_its_result_last(tmp_path: Path) -> None:
    output = re.sub(r"\d+\.\d s|\d+ s", "N s", printed(tmp_path, TASKS, [CHANGE]))
    assert "a-secret" not in output
    before, _, after = output.partition("PLAY RECAP")
    assert re.sub(r"\*{3,}", "***", before).split("\n") == [
        "",
        "[1/2] Play 1",
        "one",
        "two",
        "number 1",
        "number 2",
        "included",
        "  N s",
        "",
        "[2/2] Play 2",
        "",
        "TASK [Change it] ***",
        "changed: [vm1]",
        "  N s",
        "",
        "",
    ]
    assert after.endswith("\nThe lab is ready.\nAirflow is there\nThe run took N s.\n"), after


def test_a_play_that_only_some_labs_have_hosts_for_is_counted_when_there_are_some(tmp_path: Path) -> None:
    run = command(tmp_path, TASKS[:1], TASKS[:1], TASKS[:1])
    book = Path(run[1])
    plays = json.loads(book.read_text(encoding="utf-8"))
    plays[1]["hosts"] = "{{ 'all' if groups.all | length > 1 else 'all:!all' }}"
    book.write_text(json.dumps(plays), encoding="utf-8")
    for inventory, wanted in (("vm1,", ["[1/2] Play 1", "[2/2] Play 3"]), ("vm1,vm2,", ["[1/2] Play 1", "[2/3] Play 2", "[3/3] Play 3"])):
        output = run_tool([*run[:3], inventory], ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal").stdout
        assert re.findall(r"^\[.*", output, re.M) == wanted and "no hosts matched" not in output
        assert len(re.findall(r"^  \d+\.\d s$", output, re.M)) == len(wanted)


def test_v_prints_every_task(tmp_path: Path) -> None:
    output = printed(tmp_path, TASKS, options=("-v",))
    for task in TASKS:
        assert f"TASK [{task['name']}]" in output
    assert "a-secret" not in output


LONG = "\n".join(map(str, range(20)))


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([BREAK], "it broke"),
        ([{"block": [BREAK], "rescue": [{"ansible.builtin.fail": {"msg": "it broke, and all was cleaned"}}]}], "it broke, and all was cleaned"),
        ([{"ansible.builtin.command": "ls /not-there", "environment": {"LC_ALL": "C"}}], "ls: cannot access '/not-there': No such file or directory"),
        ([{**BREAK, "loop": [1], "ansible.builtin.fail": {"msg": "it broke at {{ item }}"}}], "it broke at 1"),
        ([{**BREAK, "ansible.builtin.fail": {"msg": LONG}}], "\n".join([*map(str, range(8)), "..."])),
        ([{**BREAK, "ignore_errors": True}, {"ansible.builtin.fail": {"msg": "something else"}}], "something else"),
    ],
    ids=["task", "rescue", "command", "loop", "long", "ignored"],
)
def test_a_run_that_failed_ends_with_where_and_why(tasks: list[dict[str, Any]], why: str, tmp_path: Path) -> None:
    output = re.sub(r"after \d+ s", "after N s", printed(tmp_path, TASKS, tasks, [CHANGE]))
    assert "The lab is ready" not in output
    assert output.partition("PLAY RECAP")[2].endswith(f"\nThe run failed after N s.\nvm1, in [2/3] Play 2: {why}\n"), output


def test_hosts_share_a_reason_and_of_a_task_with_credentials_none_is_repeated(tmp_path: Path) -> None:
    run = [*command(tmp_path, [{"name": "Log in", "ansible.builtin.fail": {"msg": "it broke"}, "no_log": True}])[:3], "vm1,vm2,"]
    output = run_tool(run, ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal").stdout
    _, _, after = output.partition("PLAY RECAP")
    assert "it broke" not in after and re.search(r"\nvm1, vm2, in \[1/1\] Play 1: Log in: the reason is above, [^\n]*\n$", after), output


def test_a_failure_that_was_made_up_for_is_none(tmp_path: Path) -> None:
    output = printed(tmp_path, [{"block": [BREAK], "rescue": [CHANGE]}], TASKS)
    assert "The run failed" not in output and "The lab is ready" in output


def test_lines_come_at_once_through_a_pipe(tmp_path: Path) -> None:
    """As on a build server: a run that waits has already said why."""
    waits = {"ansible.builtin.wait_for": {"path": str(tmp_path / "go"), "timeout": 60}}
    environ = environment(ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal")
    environ.pop("PYTHONUNBUFFERED", None)
    process = subprocess.Popen(command(tmp_path, [TASKS[2], waits]), cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE)
    assert process.stdout
    while (line := process.stdout.readline()) and line != "two\n":
        pass
    (tmp_path / "go").touch()
    assert line, "the run was over before its first words came"
    assert process.wait(timeout=60) == 0, "the run had waited in vain when its first words came"


def test_a_template_can_tell_how_long_the_run_took_so_far(tmp_path: Path) -> None:
    tell: dict[str, Any] = {"ansible.builtin.debug": {"msg": "told {{ lookup('ansible.builtin.env', 'MLOPS_LAB_TIMES') }}"}}
    first, second = re.findall(r"^told (.*)$", printed(tmp_path, [tell], [tell]), re.MULTILINE)
    before, after = json.loads(first), json.loads(second)
    assert before["plays"] == [] and before["began"] == after["began"] and 0 <= time.time() - after["began"] < 600
    assert [name for name, _seconds in after["plays"]] == ["Play 1"] and 0 <= after["plays"][0][1] < 600


@pytest.mark.parametrize("models", [True, False])
def test_the_result_of_a_lab(models: bool, tmp_path: Path) -> None:
    urls = {"Airflow": "http://127.0.0.1:8080"} | ({"Models": "http://127.0.0.1:8002/models", "Workbench": "http://127.0.0.1:8888"} if models else {})
    given: dict[str, Any] = {
        **yaml.safe_load((ROOT / "roles/verdict/vars/main.yml").read_text(encoding="utf-8")),
        "__verdict_found": {
            "checks": [{"seconds": 1.25, "ok": True}, {"seconds": 1, "ok": True}],
            "run": {"metrics": {"accuracy": 0.97777, "cv_accuracy_mean": 0.5, "f1": 0.9}},
            "model": {"name": "wine", "version": "3"},
            "urls": urls,
            "users": {"Airflow": "ada", "Models": "bob"},
        },
        "verdict_password_command": "make password",
        "verdict_report": "/reports/lab.json",
        "verdict_guide": "docs/experiments.md",
    }
    done = play(tmp_path, [{"ansible.builtin.set_fact": {"result": "{{ __verdict_result }}"}, "vars": given}])
    assert done.returncode == 0, done.output
    assert str(done.result).splitlines() == [
        "The lab is ready: 2 checks passed in 2.2 s.",
        "Model     wine 3, accuracy 0.9778, f1 0.9",
        "Airflow   http://127.0.0.1:8080   user ada",
        *(["Models    http://127.0.0.1:8002/models   user bob", "Workbench http://127.0.0.1:8888"] if models else []),
        "Password  make password",
        *(["Try       curl -u bob http://127.0.0.1:8002/models"] if models else []),
        "Report    /reports/lab.html",
        "Next      write an experiment of your own: docs/experiments.md",
    ]
