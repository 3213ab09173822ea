"""Results of steps on another host than the one that did them: tasks with folders of their own, and a real MLflow server between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.unit import test_training
from tests.unit.test_training import Lab

lab = test_training.lab  # a fixture

THEIRS = """
import pathlib

def prepare(folder, done):
    pathlib.Path(done).open("a").write("x")
    path = pathlib.Path(folder, "tables", "numbers.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text("42")
    pathlib.Path("factor.txt").write_text("2")
    return {"file": str(path), "factor": "factor.txt"}

def evaluate(prepared):
    return {"answer": float(pathlib.Path(prepared["file"]).read_text()) * int(pathlib.Path(prepared["factor"]).read_text())}

def train(prepared):
    from sklearn.dummy import DummyRegressor
    return DummyRegressor().fit([[1.0], [2.0]], [1.0, 2.0])
"""
SHARED = {"LAB_SHARE_BYTES": "100000"}


def document(done: Path) -> dict[str, Any]:
    """An experiment whose step writes a file, and tells what it is called."""
    call = {"call": "theirs:train", "with": {"prepared": "{{ steps.prepare }}"}}
    return {
        "name": "theirs",
        "description": "",
        "inputs": {},
        "steps": [{"name": "prepare", "call": "theirs:prepare", "with": {"folder": "{{ run_dir }}", "done": str(done)}}],
        "search": None,
        "cross_validation": None,
        "train": {**call, "input_example": None, "evaluate": {"call": "theirs:evaluate", "with": {"prepared": "{{ steps.prepare }}"}, "data": None}},
        "track": {"experiment": "theirs", "run_name": None, "tags": {}},
        "register": None,
        "deploy": None,
    }


def at(request: dict[str, Any], host: Path) -> dict[str, Any]:
    """The same request on a host."""
    return {**request, "runs_dir": str(host)}


def stored(lab: Lab) -> str:
    """The address of MLflow's artifact store."""
    return f"{lab.mlflow.uri}/api/2.0/mlflow-artifacts/artifacts"


def place(run: dict[str, str]) -> str:
    """Where in it is what was handed over."""
    return f"{run['experiment_id']}/{run['mlflow_run_id']}/artifacts/lab"


def handed_over(lab: Lab, run: dict[str, str]) -> list[str]:
    """The names of the files there."""
    listed = requests.get(stored(lab), params={"path": place(run)}, auth=("admin", lab.mlflow.password), timeout=30)
    listed.raise_for_status()
    return [file["path"] for file in listed.json().get("files", [])]


def test_another_host_gets_results_and_files_and_does_no_step_again(lab: Lab, package: Callable[[str], Path]) -> None:
    site, done = {"PYTHONPATH": str(package(THEIRS))}, lab.folder / "done"
    runs = lab.folder / "runs"
    request = lab.request(document(done), "handed-over")
    code, prepared, output = lab.do("prepare", request, **site, **SHARED)
    assert code == 0, output
    assert lab.do("prepare", request, **site, **SHARED)[1] == prepared, "a second try goes on"
    request["run"] = prepared["values"]["run"]
    assert handed_over(lab, request["run"]) == ["steps.tar"]
    runs.rename(lab.folder / "runs of the other host")  # the same path on every host
    code, answer, output = lab.do("train", request, **site, **SHARED)
    assert code == 0 and answer["result"]["metrics"] == {"answer": 84.0}, output
    assert "[steps] their results came from the host that did them" in output
    assert done.read_text() == "x" and not (runs / "handed-over").exists()
    assert handed_over(lab, request["run"]) == [], "it is there while the run goes on"


def test_what_somebody_else_put_there_and_what_is_too_much_is_not_taken(lab: Lab, package: Callable[[str], Path]) -> None:
    site, done, login = {"PYTHONPATH": str(package(THEIRS))}, lab.folder / "done", ("admin", lab.mlflow.password)
    request = lab.request(document(done), "planted")
    _, prepared, output = lab.do("prepare", at(request, lab.folder / "one"), **site, **SHARED)
    request["run"] = prepared["values"]["run"]
    assert request["run"]["steps"].startswith("sha256:"), output
    assert requests.put(f"{stored(lab)}/{place(request['run'])}/steps.tar", data=b"planted", auth=login, timeout=30).ok
    code, answer, output = lab.do("train", at(request, lab.folder / "other"), **site, **SHARED)
    assert code == 0 and answer["result"]["metrics"] == {"answer": 84.0}, output
    assert "could not be fetched from MLflow (they are not what the task `prepare` brought there): they are done again here" in output
    assert done.read_text() == "xx"
    large = lab.request(document(done), "large")
    _, prepared, output = lab.do("prepare", at(large, lab.folder / "one"), **site, LAB_SHARE_BYTES="10")
    assert "which is more than 10: a task on another host does them again" in output and "steps" not in prepared["values"]["run"]
    assert "steps" not in lab.do("prepare", at(lab.request(document(done), "alone"), lab.folder / "one"), **site)[1]["values"]["run"], "a lab of one host"
