"""``python lab_experiment <command> <request.json> <result.json>``: what the tasks of the DAG ``train`` start in the project's interpreter.

The commands are ``check``, ``prepare``, ``search``, ``cross_validate`` and ``train``, in this order. The result file holds ``{"result": ...}``, perhaps
with ``values`` (further results by name), ``title`` (what this part of a mapped task is called) and ``event`` (what came to be); or ``{"skip": "..."}``
(the experiment has no such section), ``{"mistakes": [...]}`` (exit 2: the experiment file is wrong, trying again is of no use) or
``{"failure": "..."}`` (exit 1; with ``"final": true`` trying again is of no use either). It holds what Airflow's database can: a number that is not finite
is null there.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

# Python puts this folder first on its path, where our modules would hide a package's; what is above it goes last.
sys.path[0:1] = []
sys.path.append(str(Path(__file__).resolve().parents[1]))

from lab_experiment import callables, document, storable  # noqa: E402 (the path above comes first)


def main(command: str, request_file: str, result_file: str) -> int:
    """Run a command; returns the exit code."""
    request: dict[str, Any] = json.loads(Path(request_file).read_text(encoding="utf-8"))
    answer: dict[str, Any]
    code = 0
    try:
        answer = check(request) if command == "check" else work(command, request)
    except document.Mistakes as error:
        answer, code = {"mistakes": error.sentences}, 2
    except callables.Failure as error:
        answer, code = {"failure": str(error), "final": error.final}, 1
    Path(result_file).write_text(json.dumps(storable.plain(answer), allow_nan=False), encoding="utf-8")
    return code


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Read and check an experiment file; gives ``file``, its ``file_digest`` (``sha256:...``, which ``sha256sum`` confirms) and the ``document``.

    Args:
        request: ``experiment``, ``experiments_dir``, and perhaps ``params``: all that the trigger set, as JSON.
    """
    path = document.find(request["experiment"], Path(request["experiments_dir"]))
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    changed = overrides(json.loads(request.get("params") or "{}"))
    content = document.read(path, changed)
    callables.check(content, str(path), changed)
    print(f"{path} is right: {', '.join(call for _, call, _ in document.calls(content))}")
    return {"result": {"file": str(path), "file_digest": digest, "document": content}}


def overrides(params: dict[str, Any]) -> dict[str, Any]:
    """What the trigger sets (``trials``, ``inputs``, ``overrides``), by path: ``{"search.trials": 5, "inputs.seed": 3}``."""
    found = {f"inputs.{name}": value for name, value in (params.get("inputs") or {}).items()}
    if params.get("trials") is not None:
        found["search.trials"] = params["trials"]
    return {**found, **(params.get("overrides") or {})}


def work(command: str, request: dict[str, Any]) -> dict[str, Any]:
    """Do a part of what ``check`` gave (``checked``) in the DAG run's folder (``runs_dir``, ``run_id``), with ``tags``, and since ``prepare`` ``run``."""
    if command == "cross_validate" and not request["checked"]["document"]["cross_validation"]:
        return {"skip": "The experiment has no section cross_validation."}
    from lab_experiment import run  # here, because it imports MLflow, which takes seconds

    return run.COMMANDS[command](run.Job.of_request(request))


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Have the system send SIGTERM to this process when the task that started it is gone, even by ``kill -9`` (Linux only)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an orderly end: the MLflow run is marked as killed
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(*sys.argv[1:]))
