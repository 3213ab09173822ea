"""Results of steps for the lab's other hosts, which share no disk: they go there through the artifacts of the run in MLflow.

What is handed over is the run's folder, ``{{ run_dir }}``, with the kept results, as one archive, which is there while the run goes on. Its digest goes from
task to task in Airflow, so that nothing is taken that somebody else put there. Where it does not work, the steps are done again, and the log says why.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.artifacts
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from lab_experiment import folders

LIMIT = "LAB_SHARE_BYTES"
"""The variable of the environment that says up to how many bytes are handed over; without it the lab has one host."""
ARTIFACT = "lab/steps.tar"
MARK = "handed-over"
"""The file in the run's folder that holds the digest of what is there already."""
BLOCK = 2**20


def give(client: Any, run_id: str, folder: Path) -> str:
    """Bring the run's folder to MLflow.

    Returns:
        The digest of the archive; empty where nothing was brought.
    """
    limit = int(os.environ.get(LIMIT) or 0)
    if not limit or not any((folder / folders.KEPT).glob("*.pickle")):
        return ""
    try:
        with folders.alone(folder), TemporaryDirectory(dir=folder / folders.KEPT) as scratch:
            size = sum(path.lstat().st_size for path in _files(folder))
            if size > limit:
                print(f"[steps] their results have {size} bytes, which is more than {limit}: a task on another host does them again", flush=True)
                return ""
            archive = Path(scratch, Path(ARTIFACT).name)
            with tarfile.open(archive, "w") as tar:
                for path in _files(folder):
                    tar.add(path, path.relative_to(folder), recursive=False)
            digest = _digest(archive)
            if _mark(folder) != digest:
                client.log_artifact(run_id, str(archive), str(Path(ARTIFACT).parent))
                (folder / folders.KEPT / MARK).write_text(digest, encoding="utf-8")
            return digest
    except Exception as error:
        print(f"[steps] their results could not be brought to MLflow ({error}): a task on another host does them again", flush=True)
        return ""


def take(run_id: str, digest: str, folder: Path) -> None:
    """Bring what :func:`give` gave into the run's folder of this host, unless it is there."""
    try:
        with folders.alone(folder):
            if not digest or _mark(folder) == digest:
                return
            with TemporaryDirectory(dir=folder / folders.KEPT) as scratch:
                archive = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=ARTIFACT, dst_path=scratch))
                if _digest(archive) != digest:
                    raise ValueError("they are not what the task `prepare` brought there")
                with tarfile.open(archive) as tar:
                    tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # Python 3.11.2 has none
                    tar.extractall(folder)
            (folder / folders.KEPT / MARK).write_text(digest, encoding="utf-8")
        print("[steps] their results came from the host that did them", flush=True)
    except Exception as error:
        print(f"[steps] their results could not be fetched from MLflow ({error}): they are done again here", flush=True)


def drop(client: Any, run_id: str) -> None:
    """Remove it from MLflow."""
    with suppress(Exception):  # the run is what counts, and it is finished
        get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts(ARTIFACT)


def _files(folder: Path) -> list[Path]:
    """What is handed over: files and links of the package, and after them the kept results, which refer to them."""
    kept = folder / folders.KEPT
    theirs = [path for path in sorted(folder.rglob("*")) if kept not in (path, *path.parents) and (path.is_symlink() or path.is_file() or path.is_dir())]
    return [*theirs, *sorted(kept.glob("*.pickle"))]


def _mark(folder: Path) -> str:
    with suppress(FileNotFoundError):
        return (folder / folders.KEPT / MARK).read_text(encoding="utf-8")
    return ""


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"
