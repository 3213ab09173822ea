"""The Python environment that a model itself demands: its own requirements, installed by uv on the worker, and kept for the next time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lab_deployment import processes
from lab_deployment.target import Failure, Mistakes

UNUSED_SECONDS = 14 * 86400
"""An environment that nobody used for so long is removed."""


def of_model(model: Path, also: Sequence[str] = ()) -> str:
    """The interpreter of the environment that a model demands, made if it is not there yet.

    The packages come from the index that the file named by LAB_INDEX_CONFIG_FILE describes (a ``uv.toml``, which may hold credentials: uv reads the file
    itself, so they are in no argument and no variable), else from uv's own configuration.

    Args:
        model: MLflow's model directory.
        also: Requirements for reading data, for names that the model's own do not pin.

    Raises:
        Mistakes: The model demands a Python that is not on this worker.
        Failure: Its requirements cannot be installed.
    """
    python, requirements = demanded(model)
    names = {_name(line) for line in requirements}
    requirements += [line for line in also if _name(line) not in names]
    text = "\n".join(requirements) + "\n"
    key = hashlib.sha256(f"{python}\n{text}".encode()).hexdigest()[:24]
    folder = Path(os.environ.get("LAB_ENVIRONMENTS_DIR") or Path(os.environ.get("LAB_RUNS_DIR", "/opt/airflow/runs"), ".environments"))
    place, interpreter = folder / key, folder / key / "bin" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another deployment may be making the same one
        if (place / "complete").is_file():
            print(f"[environment] {key}, which is here already: Python {python}, {len(requirements)} requirements", flush=True)
        else:
            _make(place, interpreter, python, text, folder)
        os.utime(place)
    for other in folder.glob("*/complete"):
        if time.time() - other.parent.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(other.parent, ignore_errors=True)
    return str(interpreter)


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
    if not any(_name(line) in ("mlflow", "pandas") for line in lines):
        lines.append("pandas")  # mlflow-skinny predicts with it, without demanding it
    return found[1], lines


def _name(requirement: str) -> str:
    """The normalised name in a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _explained(lines: Sequence[str]) -> str:
    """What uv says of a failure in one line: without its drawing, and without hints at options that nobody gives here."""
    words = [line.strip(" \t\u00d7\u2570\u251c\u2502\u2500\u25b6") for line in lines]
    hint = next((number for number, line in enumerate(words) if line.startswith("hint:")), len(words))
    return " ".join(words[:hint] or words)[:800]


def _make(place: Path, interpreter: Path, python: str, requirements: str, folder: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise Failure("uv is not on this worker's PATH; it makes the environment that the model demands")
    shutil.rmtree(place, ignore_errors=True)
    settings = {"UV_CACHE_DIR": str(folder / ".uv"), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    index = os.environ.get("LAB_INDEX_CONFIG_FILE")
    if index:
        if not os.access(index, os.R_OK):
            raise Mistakes([f"LAB_INDEX_CONFIG_FILE has {index!r}, which cannot be read; it must name a uv.toml with the lab's package index."])
        settings["UV_CONFIG_FILE"] = index
    begun = time.monotonic()
    print(f"[environment] making {place.name}: Python {python}, {len(requirements.splitlines())} requirements", flush=True)
    try:
        processes.run([uv, "venv", "--quiet", "--python", python, str(place)], settings, _explained)
    except Failure as error:
        raise Mistakes([f"The model demands Python {python}, which is not on this worker: {error}"]) from None
    (place / "requirements.txt").write_text(requirements, encoding="utf-8")
    try:
        processes.run(
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(interpreter), "-r", str(place / "requirements.txt")], settings, _explained
        )
    except Failure as error:
        raise Failure(f"what the model demands cannot be installed: {error}") from None
    (place / "complete").touch()
    print(f"[environment] made in {time.monotonic() - begun:.1f} s", flush=True)
