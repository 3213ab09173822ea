"""The environment that a version demands, made by the environments' service of this host."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import NamedTuple

from .errors import Unusable

logger = logging.getLogger(__name__)

#: seconds that making an environment may take
PATIENCE = 3600.0
#: MLflow since which its scoring server needs no Flask, and since which it works with pandas 3
WITHOUT_FLASK, WITH_PANDAS_3 = (2, 21), (3, 16)


class Demands(NamedTuple):
    """What a model was logged with."""

    python: str
    """3.13"""
    requirements: str
    """The text of a requirements file."""


class Environment(NamedTuple):
    """An environment of this host."""

    key: str
    interpreter: str


def demanded(model: Path) -> Demands:
    """Return what a model directory demands: the rules of dags/lab_deployment/environments.py, and bounds for what older clients of MLflow need.

    Raises:
        Unusable: it does not say.
    """
    requirements, environment = model / "requirements.txt", model / "python_env.yaml"
    if not requirements.is_file() or not environment.is_file():
        raise Unusable("its directory lacks requirements.txt or python_env.yaml; log it with pip_requirements=[...]", hopeless=True)
    python = re.search(r"^python:\s*['\"]?(\d+\.\d+)", environment.read_text(encoding="utf-8"), re.MULTILINE)
    if python is None:
        raise Unusable("its python_env.yaml has no line python: <version>", hopeless=True)
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    written_by = re.search(r"^mlflow_version:\s*(\S+)", (model / "MLmodel").read_text(encoding="utf-8"), re.MULTILINE)
    if not {"mlflow", "mlflow-skinny"} & {_name(line) for line in lines}:
        lines.append(f"mlflow-skinny=={written_by[1]}" if written_by else "mlflow-skinny")
    names = {_name(line) for line in lines}
    if "mlflow" not in names:  # which demands what follows itself; mlflow-skinny needs it for predictions, and does not
        release = _release(next(line for line in lines if _name(line) == "mlflow-skinny"))
        if "pandas" not in names:
            lines.append("pandas" if release >= WITH_PANDAS_3 else "pandas<3")
        if "flask" not in names and release < WITHOUT_FLASK:
            lines.append("flask<4")  # mlflow.pyfunc.scoring_server imports it
    return Demands(python[1], "\n".join(lines) + "\n")


def _name(requirement: str) -> str:
    """The normalised name in a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _release(requirement: str) -> tuple[int, int]:
    """The version that a requirement pins or has as its highest, 2.20; the newest one where it says nothing."""
    found = re.search(r"(?:==|~=|<=?)\s*(\d+)\.(\d+)", requirement)
    return (int(found[1]), int(found[2])) if found else (99, 0)


async def make(folder: Path, demands: Demands) -> Environment:
    """Have an environment made, or marked as used when it is there already, which takes milliseconds.

    Args:
        folder: that of the environments.
        demands: what is to be in it.

    Raises:
        Unusable: it cannot be made.
    """
    request = {"do": "make", "requirements": demands.requirements, "python": demands.python}
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(folder / ".service" / "socket", limit=2**20)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                while line := await reader.readline():
                    answer = json.loads(line)
                    if "made" in answer:
                        return Environment(answer["made"]["key"], answer["made"]["interpreter"])
                    if "mistake" in answer:
                        raise Unusable(f"its environment cannot be made: {answer['mistake']}", hopeless=True)
                    if "failure" in answer:
                        raise Unusable(f"its environment cannot be made: {answer['failure']}")
                    logger.info("environments: %s", answer.get("say", ""))
            finally:
                writer.close()
    except TimeoutError:
        raise Unusable(f"its environment was not made within {PATIENCE:g} seconds") from None
    except OSError as error:
        raise Unusable(f"the environments' service does not answer: {error.strerror or error}") from None
    raise Unusable("the environments' service ended while it made its environment")
