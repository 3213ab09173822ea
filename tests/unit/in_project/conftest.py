"""These tests import what an experiment imports, so they run in the project's environment: ``test_in_project.py`` beside this folder starts them there."""

from __future__ import annotations

import base64
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "dags"))

collect_ignore_glob = [] if importlib.util.find_spec("sklearn") else ["test_*.py"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the process of a package imports from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # a module that is written again within a second would be taken for the old one
    return folder


@pytest.fixture
def write(site: Path, request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that writes a module with functions of a test."""
    import cloudpickle  # here, because only the project's environment has it

    cloudpickle.register_pickle_by_value(request.module)

    def write(module: str, **functions: Callable[..., Any]) -> None:
        lines = [f"{name} = cloudpickle.loads(base64.b64decode({base64.b64encode(cloudpickle.dumps(function))!r}))" for name, function in functions.items()]
        (site / f"{module}.py").write_text("\n".join(["import base64, cloudpickle", *lines]))

    return write


@pytest.fixture
def theirs(tmp_path: Path, write: Callable[..., None]) -> Iterator[Callable[..., Any]]:
    """A function that makes the prepared job of an experiment whose package ``theirs`` has these functions."""
    from lab_experiment import run  # here, because only the project's environment has MLflow
    from lab_experiment.job import Job

    numbers = iter(range(100))
    jobs: list[Job] = []

    def make(functions: dict[str, Any], train: dict[str, Any] | None, folds: dict[str, Any] | None = None, **more: Any) -> Any:
        write("theirs", **functions)
        content: dict[str, Any] = {"name": "valued", "inputs": {}, "steps": [], "search": None, "cross_validation": folds, "train": train}
        content |= {"track": {"experiment": "valued", "run_name": "", "tags": {}}, "register": None, "deploy": None, **more}
        name = f"run-{next(numbers)}-{time.time_ns()}"
        made = Job(content, "valued.yml", tmp_path / "runs" / name, name, {"airflow.run_id": name, "airflow.dag_id": "train"})
        jobs.append(made)
        made.run = run.prepare(made)["values"]["run"]
        return made

    yield make
    for one in jobs:
        one.package.close()
