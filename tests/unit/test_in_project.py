"""Runs the tests in ``in_project/`` in the project's environment, which holds scikit-learn, Optuna and MLflow's client, against a real MLflow server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import CLIENTS

HERE = Path(__file__).parent
LONG = {"test_kinds_of_data.py", "test_pictures.py", "test_search.py"}
BOOSTERS = "test_boosters.py"
FILES = sorted(path.name for path in (HERE / "in_project").glob("test_*.py") if path.name != BOOSTERS)


@pytest.mark.parametrize("project_python", CLIENTS, indirect=True)
@pytest.mark.parametrize("file", [pytest.param(file, marks=pytest.mark.deep) if file in LONG else file for file in FILES])
def test_in_project(file: str, project_python: Path, mlflow_server: Any, tmp_path: Path) -> None:
    there(file, project_python, mlflow_server, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize("project_python", ["boosters"], indirect=True)
def test_with_boosters_and_polars(project_python: Path, mlflow_server: Any, tmp_path: Path) -> None:
    there(BOOSTERS, project_python, mlflow_server, tmp_path)


def there(file: str, project_python: Path, mlflow_server: Any, tmp_path: Path) -> None:
    """Run the tests of a file there."""
    folder = HERE / "in_project"
    options = f"-q -p no:cacheprovider --import-mode=importlib -c {os.devnull} --rootdir {folder} --confcutdir {folder} --basetemp {tmp_path / 'theirs'}"
    command: list[str | Path] = [project_python, "-m", "pytest", *options.split(), folder / file]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(mlflow_server.home),
            "MLFLOW_TRACKING_URI": mlflow_server.uri,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
