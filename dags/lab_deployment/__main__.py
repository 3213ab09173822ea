"""``python lab_deployment <check|fetch|deploy|record> <request.json> <result.json>``: what the DAG starts in the project's interpreter.

The result file holds ``{"result": ...}`` (of ``deploy`` with ``pages``, addresses for people: ``model`` and ``deployment``), ``{"mistakes": [...]}`` (exit 2:
trying again is of no use) or ``{"failure": "..."}`` (exit 1).
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from pathlib import Path
from typing import Any

# Python puts this folder first on its path, where our modules would hide a package's; what is above it goes last.
sys.path[0:1] = []
sys.path.append(str(Path(__file__).resolve().parents[1]))

from lab_deployment import deploying, models, planning, targets, workspace  # noqa: E402 (the path above comes first)
from lab_experiment import pages  # noqa: E402
from lab_experiment.failures import Failure, Mistakes  # noqa: E402


def main(command: str, request_file: str, result_file: str) -> int:
    """Run a command; returns the exit code."""
    request: dict[str, Any] = json.loads(Path(request_file).read_text(encoding="utf-8"))
    result: dict[str, Any]
    code = 0
    try:
        done: Any = COMMANDS[command](request)
        result = {"result": done}
        if command == "deploy":
            shown = {"model": pages.model(done["name"], done["version"]), "deployment": done["page"]}
            result["pages"] = {name: address for name, address in shown.items() if address}
    except Mistakes as error:
        result, code = {"mistakes": error.sentences}, 2
    except Failure as error:
        result, code = {"failure": str(error)}, 1
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")
    return code


def check(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Check every one of ``wanted``; gives the plan of each."""
    plans, sentences = [], []
    for wanted in request["wanted"]:
        try:
            plans.append(planning.plan(wanted))
            print(f"[check] {plans[-1]['title']}: {plans[-1]['model']['uri']}")
        except Mistakes as error:
            sentences += error.sentences
    if sentences:
        raise Mistakes(sentences)
    return plans


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    """Bring the model of a ``plan`` to this host and check it."""
    return models.fetch(request["plan"], workspace.of(request))


def deploy(request: dict[str, Any]) -> dict[str, Any]:
    """Deploy the model of a ``plan``, ``by`` a DAG run; for targets that need nothing of Airflow."""
    space = workspace.of(request)
    models.fetch(request["plan"], space)  # this task may run on another worker than the one before
    done = deploying.deploy(targets.find(request["plan"]["target"]), space.deployment(request["plan"], request["by"]))
    space.remove()
    return done


def record(request: dict[str, Any]) -> dict[str, Any]:
    """Record what was ``deployed`` of a ``plan``, ``by`` a DAG run whose page is at ``url``."""
    return models.record(request["plan"], request["deployed"], request["by"], request["url"], targets.find(request["plan"]["target"]).alias)


PR_SET_PDEATHSIG = 1  # linux/prctl.h

COMMANDS = {"check": check, "fetch": fetch, "deploy": deploy, "record": record}


def end_with_parent() -> None:
    """Have the system send SIGTERM to this process when the task that started it is gone, even by ``kill -9`` (Linux only)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an orderly end: the target withdraws
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(*sys.argv[1:]))
