"""What one task of the DAG ``train`` was asked to do, and what it works with: MLflow's client, and the process that the package's code runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lab_environments
from lab_environments import Environment
from lab_experiment import folders, handover, tracking
from lab_experiment.failures import Failure, Mistakes
from lab_experiment.package import Package

Answer = dict[str, Any]
"""What a command hands back; see ``__main__``."""


@dataclass
class Job:
    """What a task was asked to do."""

    document: Mapping[str, Any]
    """What :func:`lab_experiment.document.read` returned."""
    file: str
    """The file it was read from, for messages and tags."""
    folder: Path
    """The run's folder, ``{{ run_dir }}``."""
    run_id: str
    """The DAG run's id."""
    tags: Mapping[str, str]
    """Tags of the MLflow run besides those in the file."""
    run: dict[str, str] = field(default_factory=dict)
    """What ``prepare`` made: ``mlflow_run_id``, ``experiment_id``, with a search ``search_run_id`` and ``study``, and on several hosts ``steps``, a digest."""
    file_digest: str = ""
    """Digest of that file, ``sha256:...``."""
    lock: str = ""
    """Digest of the lock that ``check`` found, ``sha256:...``; empty for the project's environment, and in a run that began with an older version."""
    number: int = 1
    """Which of the searchers this is, from 1."""
    of: int = 1
    """How many searchers there are."""
    apart: str = ""
    """The name of this task's own working directory, if it works beside others of the run, as searchers do."""

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> Job:
        """Read a request of the DAG."""
        checked = request["checked"]
        part = request.get("part") or {}
        return cls(
            document=checked["document"],
            file=checked["file"],
            folder=folders.folder_of(request["run_id"], Path(request["runs_dir"])),
            run_id=request["run_id"],
            tags=request["tags"],
            run=dict(request.get("run") or {}),
            file_digest=checked.get("file_digest", ""),
            lock=checked.get("lock", ""),
            number=part.get("searcher", 1),
            of=part.get("of", 1),
            apart=f"searcher-{part['searcher']}" if "searcher" in part else "",
        )

    @cached_property
    def client(self) -> Any:
        """MLflow's client."""
        return tracking.connected()

    @cached_property
    def package(self) -> Package:
        """The process that the package's code runs in, and with it the results of steps that another host did."""
        if self.run.get("steps"):
            handover.take(self.run["mlflow_run_id"], self.run["steps"], self.folder)
        folder = str(self.folder.absolute())  # the package's process has another working directory
        return Package(lambda: {"document": self.document, "folder": folder, "run": self.run, "apart": self.apart}, self.environment.interpreter)

    def begun(self) -> Package:
        """The package's process. Where it cannot be had, the run in MLflow ends with the reason.

        Raises:
            Failure: See :attr:`environment`.
            Mistakes: Likewise.
        """
        try:
            return self.package
        except (Failure, Mistakes):
            if not self.run:
                raise
            with tracking.working_on(self.client, self.run["mlflow_run_id"], {}):
                raise

    @cached_property
    def environment(self) -> Environment:
        """The experiment's environment on this host, since the task before may have run on another one: that of the lock that the run began with.

        Raises:
            Failure: The lock changed before the run could keep it, or MLflow does not give it back.
        """
        name = self.document.get("environment", lab_environments.PROJECT)  # a run may be older than this key
        if not self.lock:
            return lab_environments.provide(name)
        path = lab_environments.folder_of_locks() / f"{name}.lock"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if lab_environments.digest(text) != self.lock:
            if not self.run:
                raise Failure(f"{path.name} changed between the tasks check and prepare: trigger the run again", final=True)
            from lab_experiment.environment import REQUIREMENTS  # here, because it imports what takes seconds

            with tracking.failures(f"fetching the {path.name} that this run began with"):
                text = tracking.text_of(self.run["mlflow_run_id"], REQUIREMENTS)
            print(f"[environment] {path.name} changed since this run began, which keeps the one that it has in MLflow", flush=True)
        return lab_environments.of_lock(name, text, lambda line: print(f"[environment] {line}", flush=True))
