"""The Python environment that a model itself demands: its own requirements, installed on this host by the environments' service, and kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import lab_environments
from lab_experiment.failures import Failure, Mistakes

WITH_PANDAS_3 = (3, 16)
"""The first release of MLflow's client that takes pandas 3."""


def of_model(model: Path, also: Sequence[str] = ()) -> str:
    """The interpreter of the environment that a model demands, made if it is not there yet.

    Args:
        model: MLflow's model directory.
        also: Requirements for reading data, for names that the model's own do not pin.

    Raises:
        Mistakes: The model demands a Python that is not on this worker, or what no index has.
        Failure: Its requirements cannot be installed.
    """
    python, requirements = demanded(model)
    names = {_name(line) for line in requirements}
    requirements += [line for line in also if _name(line) not in names]
    try:
        key, interpreter = lab_environments.made("\n".join(requirements), python, lambda line: print(f"[environment] {line}", flush=True))
    except Mistakes as error:
        raise Mistakes([f"The model's environment cannot be made here: {sentence}" for sentence in error.sentences]) from None
    except Failure as error:
        raise Failure(f"what the model demands cannot be installed: {error}") from None
    print(f"[environment] {key}: Python {python}, {len(requirements)} requirements", flush=True)
    return interpreter


def demanded(model: Path) -> tuple[str, list[str]]:
    """The Python (``3.13``) and the requirements of a model directory.

    Raises:
        Mistakes: It does not say.
    """
    requirements, environment = model / "requirements.txt", model / "python_env.yaml"
    if not requirements.is_file() or not environment.is_file():
        raise Mistakes(["The model does not say what it needs: its directory lacks requirements.txt or python_env.yaml; log it with pip_requirements=[...]."])
    found = re.search(r"^python:\s*['\"]?(\d+\.\d+)", environment.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise Mistakes([f"The model does not say which Python it needs: {environment.name} has no line python: <version>."])
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not any(_name(line) in ("mlflow", "mlflow-skinny") for line in lines):
        written_by = re.search(r"^mlflow_version:\s*(\S+)", (model / "MLmodel").read_text(encoding="utf-8"), re.MULTILINE)
        lines.append(f"mlflow-skinny=={written_by[1]}" if written_by else "mlflow-skinny")
    if not any(_name(line) in ("mlflow", "pandas") for line in lines):  # mlflow-skinny predicts with it, without demanding it
        skinny = next(line for line in lines if _name(line) == "mlflow-skinny")
        release = tuple(int(part) for part in re.findall(r"\d+", skinny.partition("==")[2])[:2])
        lines.append("pandas<3" if (0,) < release < WITH_PANDAS_3 else "pandas")
    return found[1], lines


def _name(requirement: str) -> str:
    """The normalised name in a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""
