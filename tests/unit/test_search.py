"""Searchers as processes of their own: two at a time, one of them killed with ``kill -9``, on one study and one MLflow server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "dags" / "lab_experiment"

THEIRS = """
import os, pathlib, time

def prepare(folder):
    pathlib.Path(folder, "prepared").open("a").write("x")
    return {"offset": 0.5}

def score(x, offset, folder):
    mark = pathlib.Path(folder, f"at-{os.getppid()}")
    mark.write_text(str(x))
    time.sleep(0.5)
    mark.unlink()
    return (x - offset) ** 2
"""

FILE = """
steps:
  - {name: prepare, call: "theirs:prepare", with: {folder: "{{ run_dir }}"}}
search:
  objective: {call: "theirs:score", with: {x: "{{ params.x }}", offset: "{{ steps.prepare.offset }}", folder: "{{ run_dir }}"}}
  space: {x: {type: float, low: 0, high: 1}}
  direction: minimize
  trials: 16
  parallel: 2
  seed: 3
"""


class Tasks:
    """Starts the commands of one DAG run as its tasks do."""

    def __init__(self, python: Path, mlflow: Any, folder: Path, site: Path) -> None:
        self.python, self.mlflow, self.folder = python, mlflow, folder
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "experiments").mkdir()
        (folder / "experiments" / "theirs.yml").write_text(FILE)
        (folder / "url").write_text(f"sqlite:///{folder}/optuna.db")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(mlflow.home),
            "PYTHONPATH": str(site),
            "MLFLOW_TRACKING_URI": mlflow.uri,
            "LAB_OPTUNA_STORAGE_FILE": str(folder / "url"),
            "LAB_SEARCH_HEARTBEAT": "1",
            "LAB_SEARCH_GRACE": "3",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "MPLBACKEND": "Agg",
        }

    def start(self, command: str, request: dict[str, Any], name: str = "") -> tuple[subprocess.Popen[str], Path]:
        """Start a command; returns the process and where its answer will be."""
        asked, answer = (self.folder / f"{name or command}.{end}.json" for end in ("request", "answer"))
        asked.write_text(json.dumps(request))
        answer.unlink(missing_ok=True)
        with (self.folder / f"{name or command}.log").open("a") as log:
            process = subprocess.Popen([self.python, RUNNER, command, asked, answer], env=self.environment, text=True, stdout=log, stderr=log)
        self.processes.append(process)
        return process, answer

    def do(self, command: str, request: dict[str, Any], name: str = "") -> dict[str, Any]:
        """Run a command to its end; returns its answer."""
        process, answer = self.start(command, request, name)
        process.wait(120)
        assert process.returncode == 0, (self.folder / f"{name or command}.log").read_text()
        content: dict[str, Any] = json.loads(answer.read_text())
        return content


@pytest.fixture
def tasks(project_python: Path, mlflow_server: Any, package: Any, tmp_path: Path) -> Iterator[Tasks]:
    """The tasks of a run that searches in a package of which nobody here has heard."""
    made = Tasks(project_python, mlflow_server, tmp_path, package(THEIRS))
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.deep
def test_a_killed_searcher_costs_one_trial_and_the_run_goes_on_where_it_was(tasks: Tasks) -> None:
    checked = tasks.do("check", {"experiment": "theirs", "experiments_dir": str(tasks.folder / "experiments")})["result"]
    runs = tasks.folder / "runs"
    request = {"checked": checked, "runs_dir": str(runs), "run_id": "r/1", "tags": {"airflow.run_id": "r/1", "airflow.dag_id": "train"}}
    prepared = tasks.do("prepare", request)
    again = tasks.do("prepare", request)
    assert again == prepared, "a second try goes on with the run, the study and the results that are there"
    [folder] = runs.iterdir()
    assert (folder / "prepared").read_text() == "x", "the step was done twice"
    assert prepared["result"] == [{"searcher": 1, "of": 2}, {"searcher": 2, "of": 2}]
    request["run"] = prepared["values"]["run"]

    (killed, _), (other, answer) = (tasks.start("search", {**request, "part": part}, f"search-{part['searcher']}") for part in prepared["result"])
    mark = folder / f"at-{killed.pid}"
    until = time.monotonic() + 90
    while not mark.exists() or not (folder / f"at-{other.pid}").exists():  # both are at a trial
        assert time.monotonic() < until and killed.poll() is None and other.poll() is None
        time.sleep(0.02)
    lost = float(mark.read_text())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    retried = tasks.do("search", {**request, "part": prepared["result"][0]}, "search-1")
    assert other.wait(120) == 0, (tasks.folder / "search-2.log").read_text()
    done = [*retried["result"]["trials"], *json.loads(answer.read_text())["result"]["trials"]]
    assert len(done) == len(set(done)), "no trial was done twice"
    assert retried["title"].startswith("searcher 1 of 2: ")

    outcome = tasks.do("train", request)["result"]
    trials = trials_in_mlflow(tasks.mlflow, request["run"])
    assert sorted(trials) == list(range(17)), "every trial is a run in MLflow, once"
    assert Counter(trial["status"] for trial in trials.values()) == {"FINISHED": 16, "KILLED": 1}
    [gone] = [number for number, trial in trials.items() if trial["status"] == "KILLED"]
    assert trials[gone]["x"] == pytest.approx(lost)
    [instead] = [number for number, trial in trials.items() if trial["instead of"] == str(gone)]
    assert trials[instead]["x"] == trials[gone]["x"], "the lost parameters were tried again"
    assert outcome["params"]["x"] == pytest.approx(0.5, abs=0.2)
    states = {run_id: tasks.mlflow.get("runs/get", run_id=run_id)["run"]["info"]["status"] for run_id in request["run"].values() if len(run_id) == 32}
    assert set(states.values()) == {"FINISHED"}
    assert not folder.exists()


def trials_in_mlflow(mlflow: Any, run: dict[str, str]) -> dict[int, dict[str, Any]]:
    """The trials that MLflow shows below the run of a search, by number."""
    query = f"tags.`mlflow.parentRunId` = '{run['search_run_id']}'"
    found = mlflow.post("runs/search", experiment_ids=[run["experiment_id"]], filter=query, max_results=100)["runs"]
    trials = {}
    for one in found:
        tags = {tag["key"]: tag["value"] for tag in one["data"]["tags"]}
        parameters = {parameter["key"]: parameter["value"] for parameter in one["data"].get("params", [])}
        assert int(tags["lab.trial"]) not in trials
        trials[int(tags["lab.trial"])] = {
            "status": one["info"]["status"],
            "x": float(parameters["x"]),
            "instead of": tags.get("lab.instead_of"),
        }
    return trials
