"""The folder of one deployment on a worker: the model, and what it predicts by itself. Needs neither MLflow nor Airflow."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_deployment import processes
from lab_deployment.target import Deployment, Model

KEPT_SECONDS = 2 * 86400
"""How long the folder of a failed deployment stays; one that went well is removed at once."""


@dataclass(frozen=True)
class Workspace:
    """The folder of one deployment."""

    folder: Path

    @property
    def model(self) -> Path:
        """MLflow's model directory."""
        return self.folder / "model"

    def fetched(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was found out of the model of a plan; None when it was not fetched to this host, or not to its end."""
        file = self.folder / "fetched.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return found if (found.get("uri"), found.get("environment")) == (plan["model"]["uri"], plan["environment"]) else None

    def complete(self, found: Mapping[str, Any]) -> None:
        """Say that the model is here and checked."""
        draft = self.folder / ".fetched.json"
        draft.write_text(json.dumps(found), encoding="utf-8")
        draft.rename(self.folder / "fetched.json")

    def remove(self) -> None:
        """Remove the folder, and those of failed deployments that nobody came to look at for two days."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for other in self.folder.parent.glob("deploy-*"):
            if other.is_dir() and time.time() - other.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)

    def deployment(self, plan: Mapping[str, Any], by: str) -> Deployment:
        """What a target is given to work with."""
        found = self.fetched(plan)
        assert found is not None
        own = self.folder / "target"
        own.mkdir(exist_ok=True)
        model = Model(folder=self.model, digest=found["digest"], **{name: plan["model"][name] for name in ("uri", "name", "version", "model_id", "run_id")})
        return Deployment(model, plan["options"], found["predictions"], found["serving_input"], own, found["interpreter"], by, processes.run)


def of(request: Mapping[str, Any]) -> Workspace:
    """The workspace of a request: ``runs_dir``, and ``key``, the id of the DAG run and the number of the deployment in it."""
    return Workspace(Path(request["runs_dir"], "deploy-" + re.sub(r"[^A-Za-z0-9_.+-]", "_", request["key"])))


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and size in bytes of every file of a folder, by its path in there, sorted."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as content:
            found[path.relative_to(folder).as_posix()] = (hashlib.file_digest(content, "sha256").hexdigest(), path.stat().st_size)
    return found


def digest(listed: Mapping[str, tuple[str, int]]) -> str:
    """The digest of a model: that of the text ``sha256sum`` writes about its files, sorted by path."""
    return hashlib.sha256("".join(f"{sha256}  {path}\n" for path, (sha256, _) in sorted(listed.items())).encode()).hexdigest()
