"""Following a run with the playbook `run`: trials and the best value, Ctrl-C and afterwards, runs that failed, and input that is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.module_utils import engine, lab_api

from tests.conftest import ROOT, Run, environment
from tests.unit import test_verdict
from tests.unit.test_verdict import FLEET, PASSWORD, Lab, looked

lab, url = test_verdict.lab, test_verdict.url

RUN_ID = "churn-2026-11-28T07-00-00"
STUDY = f"churn/{test_verdict.RUN}"
LOG = """[search] study churn: no trial yet
[search] trial 0: depth=3, x=0.5 -> -0.0501 in 2.30 s
[search] trial 1: depth=4, x=0.5 -> -0.2 in 0.31 s
[search] trial 4: depth=4, x=9 -> pruned in 0.10 s
[search] trial 6 had been given up for lost before it ended; its result is not taken
[search] trial 7:  -> nan in 0.10 s"""
OTHER = """[search] trial 2: depth=3, x=1e-05 -> 0.003 in 12.00 s
[search] trial 3: depth=7, x=a -> b -> failed in 0.00 s
[search] trial 5: depth=7, x=0 -> -1e-05 in 0.00 s"""


def search(lab: Lab, run_id: str, direction: list[str], *states: str, study: str = "", log: str = LOG) -> str:
    """Have a run whose searchers have these states; gives its path."""
    path = f"/api/v2/dags/train/dagRuns/{run_id}"
    one = {**FLEET, "task_id": "search"}
    lab.answers[path] = {"state": "running", "start_date": "2026-11-24T07:00:00Z"}
    lab.answers[f"{path}/taskInstances"] = {"task_instances": [{**one, "state": state, "map_index": number} for number, state in enumerate(states)]}
    lab.answers[f"{path}/taskInstances/check/xcomEntries/return_value"] = {"value": {"document": {"search": {"direction": direction}}}}
    run = {"mlflow_run_id": "abc123", "experiment_id": "7", "study": study or f"churn/{run_id}"}
    lab.answers[f"{path}/taskInstances/prepare/xcomEntries/run"] = {"value": run}
    lab.answers[f"{path}/taskInstances/search/logs/1"] = {"content": [{"event": line} for line in log.splitlines()]}
    return path


def logs_read(lab: Lab) -> list[str]:
    """The logs that were asked for."""
    return [path for _method, path, _body in lab.asked if "/logs/" in path]


@pytest.mark.parametrize(
    ("direction", "log", "line"),
    [
        (["maximize"], LOG, "search: 4 trials, best -0.0501"),
        (["minimize"], LOG, "search: 4 trials, best -0.2"),
        (["maximize"], OTHER, "search: 3 trials, best 0.003"),
        (["minimize"], OTHER, "search: 3 trials, best -1e-05"),
        (["minimize", "maximize"], "[search] trial 0: x=1 -> 0.5, 2 in 1.00 s", "search: 1 trial"),
        ([], LOG, "search: 4 trials"),
        (["maximize"], "[search] trial 0: x=1 -> failed in 1.00 s", "search: 1 trial"),
        (["maximize"], "[search] study churn: 3 complete", ""),
    ],
)
def test_trials_and_the_best_value_are_told(lab: Lab, url: str, direction: list[str], log: str, line: str) -> None:
    """Best is what the experiment's direction says; with several objectives, or where none is known, there is no best."""
    search(lab, test_verdict.RUN, direction, "running", study=STUDY, log=log)
    assert [told for told in looked(url).lines if told.startswith("search: ")] == [line][: bool(line)]


def test_the_log_of_a_search_is_read_now_and_then_and_that_of_an_ended_try_once(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two readings the line stays as it is; when a searcher ends, its log is read at once."""
    path = search(lab, test_verdict.RUN, ["maximize"], "success", "running", study=STUDY)
    log = f"{path}/taskInstances/search/logs/1"
    first = looked(url)
    assert ("search: 8 trials, best -0.0501" in first.lines, logs_read(lab)) == (True, [log] * 2)
    again = looked(url, progress=json.loads(json.dumps(first.progress)))
    assert ("search: 8 trials, best -0.0501" in again.lines, logs_read(lab)) == (True, [log] * 2)
    monkeypatch.setattr(time, "time", lambda: first.progress["next"] + 1)
    lab.answers[log]["content"].append({"event": "[search] trial 9: x=1 -> 0.25 in 1.00 s"})
    later = looked(url, progress=again.progress)
    assert ("search: 9 trials, best 0.25" in later.lines, logs_read(lab)) == (True, [log] * 3)
    lab.answers[f"{path}/taskInstances"]["task_instances"][1]["state"] = "success"
    ended = looked(url, progress=later.progress)
    assert ("search: 9 trials, best 0.25" in ended.lines, logs_read(lab)) == (True, [log] * 4)
    monkeypatch.setattr(time, "time", lambda: ended.progress["next"] + 1)
    looked(url, progress=ended.progress)
    assert logs_read(lab) == [log] * 4


def test_earlier_tries_count_unless_they_were_of_another_study(lab: Lab, url: str) -> None:
    """A searcher whose worker was lost goes on; a changed file that was run again has a study of another name."""
    for study, line in ((STUDY, "search: 7 trials, best 0.003"), (f"{STUDY}/0123456789abcdef", "search: 3 trials, best 0.003")):
        path = search(lab, test_verdict.RUN, ["maximize"], "running", study=study)
        lab.answers[f"{path}/taskInstances"]["task_instances"][0]["try_number"] = 2
        lab.answers[f"{path}/taskInstances/search/logs/2"] = {"content": [{"event": told} for told in OTHER.splitlines()]}
        assert line in looked(url).lines


def test_a_log_that_cannot_be_had_stops_nobody(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks are told all the same."""

    def silent(*_: object) -> list[str]:
        raise engine.Unreachable("no answer")

    search(lab, test_verdict.RUN, ["maximize"], "running", study=STUDY)
    monkeypatch.setattr(lab_api.Airflow, "log", silent)
    look = looked(url)
    assert (look.waits_for, look.lines[1:]) == ("", ["task search: running on worker1"])


def test_a_run_that_is_done_has_no_log_read(lab: Lab, url: str) -> None:
    """What `make train` does on every later run stays cheap."""
    path = search(lab, test_verdict.RUN, ["maximize"], "success", study=STUDY)
    lab.answers[path]["state"] = "success"
    assert (looked(url).lines[0], logs_read(lab), len(lab.asked)) == (f"run {test_verdict.RUN}: success", [], 3)


@pytest.mark.parametrize("state", ["running", "queued", "failed", "success"])
def test_following_a_run_only_asks(lab: Lab, url: str, state: str) -> None:
    """Whatever state it has, nothing is triggered, cleared or tried again."""
    path = search(lab, test_verdict.RUN, ["maximize"], "failed", study=STUDY)
    lab.answers[path]["state"] = state
    look = looked(url, only_follow=True, retry=True)
    assert (look.state, look.changed, bool(look.problem)) == (state, False, state == "failed")
    assert {method for method, _path, _body in lab.asked} == {"GET"}


def test_a_run_to_follow_that_is_not_there(lab: Lab, url: str) -> None:
    """It is one sentence with the ids that there are; an Airflow that is not well is waited for."""
    path = f"/api/v2/dags/train/dagRuns/{test_verdict.RUN}"
    del lab.answers[path]
    assert looked(url, only_follow=True).problem == f"There is no run {test_verdict.RUN}, nor any other one."
    lab.answers["/api/v2/dags/train/dagRuns"] = {"dag_runs": [{"dag_run_id": "a"}, {"dag_run_id": "b"}]}
    assert looked(url, only_follow=True).problem == f"There is no run {test_verdict.RUN}; the last ones are a, b."
    lab.answers[path] = (503, {"detail": "later"})
    look = looked(url, only_follow=True)
    assert (look.problem, look.waits_for) == ("", f"Airflow does not show run {test_verdict.RUN} (HTTP 503: later)")
    assert {method for method, _path, _body in lab.asked} == {"GET"}


Command = Callable[..., tuple[list[str | Path], dict[str, str]]]


@pytest.fixture
def command(url: str, tmp_path: Path) -> Command:
    """The command that runs the playbook with variables on a lab in a folder, and its environment."""
    hosts = Path(shutil.copy(ROOT / "playbooks/templates/lab/hosts.yml.j2", tmp_path / "hosts.yml"))
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    shutil.copy(ROOT / "experiments/wine.yml", tmp_path / "experiments/churn.yml")
    client = tmp_path / "bin/docker"  # of a lab that runs
    client.parent.mkdir()
    client.write_text('#!/bin/sh\ntest "$1" != image || echo sha256:d1\n', encoding="utf-8")
    client.chmod(0o755)

    def command(**variables: Any) -> tuple[list[str | Path], dict[str, str]]:
        values = {
            "lab_airflow_port": int(url.rpartition(":")[2]),
            "vault_airflow_admin_password": PASSWORD,
            "airflow_stack_dir": str(tmp_path / "stack"),
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            **variables,
        }
        around = {"ANSIBLE_STDOUT_CALLBACK": "mlops.lab.terminal", "PATH": f"{client.parent}:{os.environ['PATH']}"}
        return ["ansible-playbook", ROOT / "playbooks/run.yml", "-i", hosts, "-e", json.dumps(values)], around

    return command


def interrupted(command: tuple[list[str | Path], dict[str, str]], words: str) -> tuple[int, list[str]]:
    """Run a command in a process group of its own, which is interrupted as by Ctrl-C once it prints words; gives exit code and lines."""
    words_of, around = command
    lines = []
    heeding = ["env", "--default-signal=INT", *words_of]  # tests that run in the background are deaf to it, and what they start is, too
    with subprocess.Popen(
        heeding, cwd=ROOT, env=environment(**around), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout
        late = threading.Timer(120, process.kill)
        late.start()
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if words in line:
                os.killpg(process.pid, signal.SIGINT)
        late.cancel()
        return process.wait(60), lines


@pytest.mark.parametrize("make", [True, False])
def test_ctrl_c_leaves_the_run_going_and_says_how_to_follow_it(lab: Lab, command: Command, tmp_path: Path, make: bool) -> None:
    """The last line does, behind Ansible's own; in Airflow nothing is changed."""
    search(lab, RUN_ID, ["maximize"], "running", "running")
    form = {"lab_command": "make VERB"} if make else {"lab_make": False}
    code, lines = interrupted(command(experiment="churn", run_id=RUN_ID, **form), "best -0.0501")
    again = "make run EXPERIMENT=churn RUN=" if make else f"ansible-playbook mlops.lab.run -i {tmp_path}/hosts.yml -e experiment=churn -e run_id="
    assert (code, lines[-1]) == (99, f"The run goes on: {again}{RUN_ID} follows it again."), "\n".join(lines)
    assert any("search: 8 trials, best -0.0501" in line for line in lines)
    assert {method for method, _path, _body in lab.asked} == {"GET"}
    assert not (tmp_path / "stack").exists() and PASSWORD not in "\n".join(lines)


def test_ctrl_c_of_a_new_run_names_it(lab: Lab, command: Command) -> None:
    """Its id is the one that it was triggered with."""
    given: dict[str, Any] = {}

    def trigger(_method: str, body: Any) -> Any:
        given.update(body)
        search(lab, body["dag_run_id"], ["minimize"], "running")
        return {"dag_run_id": body["dag_run_id"]}

    lab.answers["/api/v2/dags/train/dagRuns"] = trigger
    _code, lines = interrupted(command(experiment="churn", lab_command="make VERB"), "best -0.2")
    assert lines[-1] == f"The run goes on: make run EXPERIMENT=churn RUN={given['dag_run_id']} follows it again.", "\n".join(lines)
    assert sum(method == "POST" for method, _path, _body in lab.asked) == 1


def test_ctrl_c_before_airflow_knows_the_dag_says_how_to_see_whether_the_run_began(lab: Lab, command: Command) -> None:
    """Nobody can know it: the run may be triggered by the look that is interrupted."""
    lab.answers["/api/v2/dags/train"] = (404, {})
    _code, lines = interrupted(command(experiment="churn", lab_command="make VERB"), "DAG train is not parsed yet")
    begun = re.fullmatch(
        r"Interrupted before it was known whether the run had begun: make run EXPERIMENT=churn RUN=churn-[0-9T-]+ says so, and follows it\.", lines[-1]
    )
    assert begun, "\n".join(lines)


def test_make_prints_nothing_behind_it(tmp_path: Path) -> None:
    """Of its own it would print that the target failed; any other failure is one of make, too."""
    for code in (0, 99, 4):
        fake = tmp_path / "fake"
        ends = f"trap 'sleep 0.3; echo The last line.; exit {code}' INT"
        fake.write_text(f"#!/bin/sh\n{ends}\necho Following\nfor i in $(seq 240); do sleep 0.5; done\n", encoding="utf-8")
        fake.chmod(0o755)
        ended, lines = interrupted((["make", "-o", "there", "run", f"PLAYBOOK={fake}", "RUN=a"], {}), "Following")
        assert (lines[1:2], ended == 0) == (["The last line."], False), lines
        assert (len(lines) == 2) == (code in (0, 99)), lines


def test_a_run_that_failed_ends_with_its_pages_and_the_reason(lab: Lab, command: Command, tool: Run) -> None:
    """The reason comes last; what the run did not come to is left out."""
    path = search(lab, RUN_ID, ["maximize"], "failed")
    lab.answers[path]["state"] = "failed"
    words, around = command(experiment="churn", run_id=RUN_ID)
    for tracked in (True, False):
        done = tool(words, **around)
        assert done.returncode != 0
        assert f"run in Airflow       {lab_url(words)}/dags/train/runs/{RUN_ID}\n" in done.stdout, done.stdout
        page = "run in MLflow        http://127.0.0.1:5000/#/experiments/7/runs/abc123?workflowType=machine_learning\n"
        assert (page in done.stdout, "in MLflow" in done.stdout) == (tracked, tracked), done.stdout
        assert f"Task search of DAG train failed on worker1 (run {RUN_ID})" in done.stdout.partition("run in Airflow")[2]
        assert "model" not in done.stdout.partition("run in Airflow")[2].partition("TASK")[0].replace("machine_learning", "")
        lab.answers.pop(f"{path}/taskInstances/prepare/xcomEntries/run", None)


def lab_url(words: list[str | Path]) -> str:
    """Airflow's address in a command."""
    return f"http://127.0.0.1:{json.loads(str(words[-1]))['lab_airflow_port']}"


def test_a_run_that_is_not_there_is_one_sentence(lab: Lab, command: Command, tool: Run) -> None:
    """The experiment need not be named; no page is shown."""
    lab.answers["/api/v2/dags/train/dagRuns"] = {"dag_runs": [{"dag_run_id": RUN_ID}]}
    words, around = command(run_id="churn-old")
    done = tool(words, **around)
    assert done.returncode != 0 and f"There is no run churn-old; the last ones are {RUN_ID}." in done.stdout, done.stdout
    assert "run in Airflow" not in done.stdout and "The run goes on" not in done.stdout
    assert {method for method, _path, _body in lab.asked} == {"GET"}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"trials": "abc"}, "TRIALS=abc is no number of trials: write a whole number from 1, for example TRIALS=6."),
        ({"trials": 0}, "TRIALS=0 is no number of trials: write a whole number from 1, for example TRIALS=6."),
        ({"trials": "-1"}, "TRIALS=-1 is no number of trials"),
        ({"trials": "3\n4"}, "is no number of trials"),
        ({"set": "inputs.seed=8 search.sampler"}, 'SET= has the part "search.sampler", which gives nothing a value: write key=value'),
        ({"set": "=8"}, 'SET= has the part "=8", which gives nothing a value'),
        ({"trials": "6", "run_id": RUN_ID}, f"RUN={RUN_ID} follows a run that is there, which TRIALS= and SET= cannot change"),
    ],
)
def test_input_that_is_wrong_stops_before_anything_runs(lab: Lab, command: Command, tool: Run, tmp_path: Path, variables: dict[str, Any], words: str) -> None:
    """One sentence: what is wrong, and what to write."""
    line, around = command(experiment="churn", lab_command="make VERB", **variables)
    done = tool(line, **around)
    told = " ".join(done.stdout.split())
    assert done.returncode != 0 and words in told and "No first item" not in told, done.stdout
    assert not lab.asked and not (tmp_path / "stack").exists()
