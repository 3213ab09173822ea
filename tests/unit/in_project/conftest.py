"""These tests import what an experiment imports, so they run in the project's environment: ``test_in_project.py`` beside this folder starts them there."""

from __future__ import annotations

import importlib.util
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "dags"))

collect_ignore_glob = [] if importlib.util.find_spec("sklearn") else ["test_*.py"]


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that makes the prepared job of an experiment whose package ``theirs`` has these functions."""
    from lab_experiment import run  # here, because only the project's environment has MLflow

    numbers = iter(range(100))

    def make(functions: dict[str, Any], train: dict[str, Any] | None, folds: dict[str, Any] | None = None, **more: Any) -> Any:
        module = types.ModuleType("theirs")
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, "theirs", module)
        content: dict[str, Any] = {"name": "valued", "inputs": {}, "steps": [], "search": None, "cross_validation": folds, "train": train}
        content |= {"track": {"experiment": "valued", "run_name": "", "tags": {}}, "register": None, "deploy": None, **more}
        name = f"run-{next(numbers)}-{time.time_ns()}"
        made = run.Job(content, "valued.yml", tmp_path / "runs" / name, name, {"airflow.run_id": name, "airflow.dag_id": "train"})
        made.run = run.prepare(made)["values"]["run"]
        return made

    return make
