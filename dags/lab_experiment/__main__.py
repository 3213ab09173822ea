"""``python lab_experiment <check|run> <request.json> <result.json>``: what the DAG starts in the project's interpreter.

The result file holds ``{"result": ...}``, ``{"mistakes": [...]}`` (exit 2: the experiment file is wrong, trying again is of no use) or
``{"failure": "..."}`` (exit 1).
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

from lab_experiment import callables, document, folders  # noqa: E402 (the path above comes first)


def main(command: str, request_file: str, result_file: str) -> int:
    """Run a command; returns the exit code."""
    request: dict[str, Any] = json.loads(Path(request_file).read_text(encoding="utf-8"))
    result: dict[str, Any]
    code = 0
    try:
        result = {"result": COMMANDS[command](request)}
    except document.Mistakes as error:
        result, code = {"mistakes": error.sentences}, 2
    except callables.Failure as error:
        result, code = {"failure": str(error)}, 1
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")
    return code


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Read and check an experiment file (``experiment``, ``experiments_dir``); gives ``file`` and ``document``."""
    path = document.find(request["experiment"], Path(request["experiments_dir"]))
    content = document.read(path)
    callables.check(content, str(path))
    print(f"{path} is right: {', '.join(call for _, call, _ in callables.calls(content))}")
    return {"file": str(path), "document": content}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run what ``check`` gave (``checked``) in a folder of its own (``runs_dir``, ``run_id``), with ``tags``."""
    from lab_experiment import run as runner  # here, because it imports MLflow, which a check does not need

    checked = request["checked"]
    folder = folders.folder_of(request["run_id"], Path(request["runs_dir"]))
    return runner.run(checked["document"], checked["file"], folder, request["tags"])


PR_SET_PDEATHSIG = 1  # linux/prctl.h

COMMANDS = {"check": check, "run": run}


def end_with_parent() -> None:
    """Have the system send SIGTERM to this process when the task that started it is gone, even by ``kill -9`` (Linux only)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an orderly end: the MLflow run is marked as killed
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(*sys.argv[1:]))
