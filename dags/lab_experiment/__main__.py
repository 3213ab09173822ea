"""``python lab_experiment <command> <request.json> <result.json>``: what the tasks of the DAG ``train`` start in the project's interpreter.

The commands are ``environment``, ``check``, ``prepare``, ``search``, ``cross_validate`` and ``train``, in this order. The result file holds
``{"result": ...}``, perhaps with ``values`` (further results by name), ``title`` (what this part of a mapped task is called) and ``event`` (what came to be);
or ``{"skip": "..."}`` (the experiment has no such section), ``{"mistakes": [...]}`` (exit 2: the experiment file is wrong, trying again is of no use) or
``{"failure": "..."}`` (exit 1; with ``"final": true`` trying again is of no use either). Beside each of them there may be ``pages``: addresses for people, of
the ``run`` and the ``model`` in MLflow. It holds what Airflow's database can: a number that is not finite is null there.

The package's code runs in a process of its own, which this one starts: ``python lab_experiment inside <descriptor> <process>``; see ``package`` and
``inside``.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Python puts this folder first on its path, where our modules would hide a package's; what is above it goes last.
sys.path[0:1] = []
sys.path.append(str(Path(__file__).resolve().parents[1]))

import lab_environments  # noqa: E402 (the path above comes first)
from lab_experiment import failures, storable  # noqa: E402

if TYPE_CHECKING:
    from lab_experiment.package import Package
# What else is needed is imported where it is: the process of a package has none of it, and its environment need not have what that imports.


def main(command: str, request_file: str, result_file: str) -> int:
    """Run a command; returns the exit code."""
    request: dict[str, Any] = json.loads(Path(request_file).read_text(encoding="utf-8"))
    first = {"environment": environment, "check": check}
    answer = answered(lambda: first[command](request) if command in first else work(command, request))
    Path(result_file).write_text(json.dumps(storable.plain(answer), allow_nan=False), encoding="utf-8")
    return 2 if "mistakes" in answer else int("failure" in answer)


def answered(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of a command, also when it fails."""
    try:
        return do()
    except failures.Mistakes as error:
        return {"mistakes": error.sentences}
    except failures.Failure as error:
        return {"failure": str(error), "final": error.final}


def environment(request: dict[str, Any]) -> dict[str, Any]:
    """Make the experiment's environment on this host, and tell what is installed; gives its ``name`` and ``interpreter``.

    Args:
        request: As for :func:`check`, which tells the mistakes of a file.
    """
    try:
        _, _, content = _read(request)
    except failures.Mistakes:
        print("The experiment file is not right; the task check says what is wrong.")
        return {"result": None}
    made = lab_environments.provide(content["environment"], lambda line: print(f"[environment] {line}", flush=True))
    print(f"[environment] {made.name}: {made.interpreter}", flush=True)
    return {"result": {"name": made.name, "interpreter": made.interpreter}}


def check(request: dict[str, Any], packages: dict[str, Package] | None = None) -> dict[str, Any]:
    """Read and check an experiment file; gives ``file``, its ``file_digest``, the ``document``, and the digest of the environment's ``lock``.

    Digests are ``sha256:...``, as ``sha256sum`` has them.

    Args:
        request: ``experiment``, ``experiments_dir``, and perhaps ``params``: all that the trigger set, as JSON; ``queues_by_run``: false where Airflow does
            not let a run choose its queues.
        packages: The processes to import packages in, by environment, when several experiments are checked; they remain.
    """
    from lab_experiment import checking, package
    from lab_experiment.document import calls

    path, changed, content = _read(request)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    where = lab_environments.provide(content["environment"])
    kept = packages is not None
    process = (packages or {}).get(where.name) or package.Package(interpreter=where.interpreter)
    if packages is not None:
        packages[where.name] = process
    with nullcontext() if kept else closing(process):
        checking.check(content, str(path), changed, where, process, request.get("queues_by_run", True))
    print(f"{path} is right: {', '.join(call for _, call, _ in calls(content))}")
    lock = lab_environments.digest(where.lock) if where.lock and where.name != lab_environments.PROJECT else ""
    return {"result": {"file": str(path), "file_digest": digest, "lock": lock, "document": content}}


def _read(request: dict[str, Any]) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The file of an experiment, what the trigger set, and the document."""
    from lab_experiment import document

    path = document.find(request["experiment"], Path(request["experiments_dir"]))
    changed = document.overrides(json.loads(request.get("params") or "{}"))
    return path, changed, document.read(path, changed)


def work(command: str, request: dict[str, Any]) -> dict[str, Any]:
    """Do a part of what ``check`` gave (``checked``) in the DAG run's folder (``runs_dir``, ``run_id``), with ``tags``, and since ``prepare`` ``run``."""
    if command == "cross_validate" and not request["checked"]["document"]["cross_validation"]:
        return {"skip": "The experiment has no section cross_validation."}
    from lab_experiment import pages, run  # here, because it imports MLflow, which takes seconds
    from lab_experiment.job import Job

    job = Job.of_request(request)
    with closing(job.begun()):
        answer = answered(lambda: run.COMMANDS[command](job))
    result = answer.get("result") if command == "train" else None
    shown = {
        "run": pages.run(job.run["experiment_id"], job.run["mlflow_run_id"]) if job.run else "",
        "model": pages.model(result["registered_model"], result["version"]) if result else "",
    }
    return {**answer, "pages": {name: address for name, address in shown.items() if address}}


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(number: signal.Signals) -> None:
    """Have the system send this signal when the process that started this one is gone, even by ``kill -9`` (Linux only); end in order on SIGTERM."""

    def stop(*_: object) -> None:
        raise failures.Stopped(143)  # the MLflow run is marked as killed

    signal.signal(signal.SIGTERM, stop)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


if __name__ == "__main__":
    if sys.argv[1] == "inside":
        from lab_experiment import inside

        end_with_parent(signal.SIGKILL)
        sys.exit(inside.main(int(sys.argv[2]), int(sys.argv[3])))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what Airflow gives a task there is its own connection to the supervisor
    end_with_parent(signal.SIGTERM)
    sys.exit(main(*sys.argv[1:]))
