"""In what a run was made, and of what: locked requirements, image, package versions, git revision and data, recorded in its MLflow run."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.data
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.validation import MAX_DATASET_NAME_SIZE

from lab_environments import Environment, digest
from lab_experiment import data_files, storable
from lab_experiment.callables import say

FOLDER = "environment"
"""Where the artifacts of a run hold what is recorded here."""

REQUIREMENTS = f"{FOLDER}/requirements.txt"
"""The lock of the run's environment, or a list of what is installed."""

DIRTY = "-dirty"
"""The end of a git revision that does not say what is here."""

LARGE = 200 * 2**20
"""Bytes above which a file is not read again for its columns."""


@dataclass(frozen=True)
class Data:
    """Data that went into a run."""

    name: str
    """``train``, ``prepare.test``."""
    value: Any
    """A frame, an array, ``(X, y)`` or ``(X, y, groups)``, or the path of a CSV or Parquet file."""
    context: str
    """What it was for: ``training``, ``evaluation``."""
    source: str
    """Where it came from: an address (``s3://...``), a file that stays, or the callable that made it (``package.module:function``)."""


def record(
    client: Any, run_id: str, about: Mapping[str, Any], environment: Environment, facts: Path | None = None, file: str = "", file_digest: str = ""
) -> dict[str, str]:
    """Record a run's environment: tags, and the artifacts ``environment/requirements.txt`` and ``environment/environment.json``.

    Args:
        client: An ``MlflowClient``.
        run_id: The run; its status is left alone.
        about: What :meth:`lab_experiment.inside.Work.about` says of it.
        environment: The environment. Without a lock, what is installed is listed in its place, and the tag ``lab.locked`` says so.
        facts: The file of facts about the image and the lab's git revision; by default the one that LAB_FACTS_FILE names.
        file: The experiment file; kept as it is beside the lock.
        file_digest: Its digest when it was read, ``sha256:...``. A file that is not the one that came with the git revision makes that ``...-dirty``.

    Returns:
        The tags that were set.
    """
    known = _facts(facts)
    revision = known.get("git_revision", "")
    if revision and not revision.endswith(DIRTY) and "experiments" in known and file_digest and known["experiments"].get(Path(file).name) != file_digest:
        revision += DIRTY
    lock = environment.lock
    requirements = "".join(f"{line}\n" for line in about["installed"]) if lock is None else lock
    tags = {
        "lab.packages": about["packages"],
        "lab.environment": environment.name,
        "lab.python": about["python"].partition(" ")[0],
        "lab.requirements": digest(requirements),
        "lab.locked": str(lock is not None).lower(),
        "lab.image": known.get("image", ""),
        "lab.image_digest": known.get("image_digest", ""),
        "lab.git_revision": revision,
        "mlflow.source.git.commit": revision,  # MLflow shows this one beside the run's source
    }
    tags = {key: value for key, value in tags.items() if value}
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    details = {**known, **about, "packages": about["packages"].split(), "environment": environment.name}
    client.log_text(run_id, requirements, REQUIREMENTS)
    client.log_text(run_id, json.dumps(details, indent=2), f"{FOLDER}/environment.json")
    if file and Path(file).is_file():
        client.log_artifact(run_id, file, FOLDER)
    return tags


def record_data(client: Any, run_id: str, inputs: Sequence[dict[str, Any]]) -> None:
    """Record what data went into a run, as :func:`inputs_of` gave it."""
    found = [DatasetInput(Dataset(**one["dataset"]), [InputTag("mlflow.data.context", one["context"])]) for one in inputs]
    if found:
        client.log_inputs(run_id, found)


def record_files(client: Any, run_id: str, document: Mapping[str, Any], runs: Path) -> None:
    """Record the files and folders below ``/opt/data`` that an experiment names: path, digest, size, and the key that names them.

    Addresses in object stores are recorded likewise, without a digest, since nothing is read there.

    The digest is the start of the SHA-256, as that of any file here; the profile has all of it. What cannot be read is said.
    """
    inputs = []
    for named in data_files.named_by(document):
        try:
            content = data_files.content_of(named, runs)
            dataset = MetaDataset(_source(str(named.path)), name=named.name, digest=content.sha256[:16]).to_dict()
        except Exception as error:
            say(f"[data] {named.path} is not recorded ({storable.raised(error)})")
            continue
        profile = json.dumps({"sha256": content.sha256, "bytes": content.size, "files": content.files})
        inputs.append({"dataset": {key: dataset[key] for key in ("name", "digest", "source_type", "source")} | {"profile": profile}, "context": named.key})
        print(f"[data] {named.key}: {named.path}, {content.size} bytes, sha256 {content.sha256}", flush=True)
    for one in data_files.addresses(document):
        try:
            source = _source(one.url)
        except Exception:  # MLflow does not know all kinds of stores
            source = CodeDatasetSource({"mlflow.source.name": one.url})
        dataset = MetaDataset(source, name=one.url[:MAX_DATASET_NAME_SIZE], digest="none").to_dict()
        inputs.append({"dataset": {**{key: dataset[key] for key in ("name", "source_type", "source")}, "digest": ""}, "context": one.key})
        print(f"[data] {one.key}: {one.url}, without a digest", flush=True)
    record_data(client, run_id, inputs)


def inputs_of(data: Sequence[Data]) -> list[dict[str, Any]]:
    """What MLflow keeps of data, as plain values: ``dataset`` and ``context``."""
    return [{"dataset": dict(dataset), "context": one.context} for one in data if (dataset := dataset_of(one))]


def dataset_of(data: Data) -> Dataset | None:
    """Data as MLflow keeps it: name, digest, source, columns, size; None if it is no table, which is said.

    A file's digest is the start of its SHA-256, so that ``sha256sum`` confirms it; that of a frame or an array is MLflow's own. Of a file above
    :data:`LARGE` there is nothing but digest and source.
    """
    table, digest = data.value, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about columns that may lack values later
            source = _source(data.source)
            if isinstance(table, (str, Path)):
                digest = _digest(Path(table))
            if digest and Path(table).stat().st_size > LARGE:
                dataset = MetaDataset(source, name=data.name, digest=digest)
            else:
                if digest:
                    table = pd.read_parquet(table) if str(table).endswith(".parquet") else pd.read_csv(table)
                dataset = _table(table, source, data.name, digest)
            content = dataset.to_dict()
    except Exception as error:
        say(f"[environment] {data.name} is not recorded as a data set ({storable.raised(error)})")
        return None
    return Dataset(**{key: content.get(key) for key in ("name", "digest", "source_type", "source", "schema", "profile")})


def _table(table: Any, source: Any, name: str, digest: str | None) -> Any:
    targets = None
    if isinstance(table, (tuple, list)) and len(table) in (2, 3) and hasattr(table[0], "shape"):
        table, targets = table[0], table[1]
    if isinstance(table, pd.DataFrame):
        if targets is None:
            return mlflow.data.from_pandas(table, source=source, name=name, digest=digest)
        column = getattr(targets, "name", None) or "target"
        values = getattr(targets, "to_numpy", lambda: targets)()
        whole = table.assign(**{str(column): getattr(values, "ravel", lambda: values)()})
        return mlflow.data.from_pandas(whole, source=source, targets=str(column), name=name, digest=digest)
    if not hasattr(table, "shape"):
        raise TypeError(f"a {type(table).__name__} is neither a frame nor an array")
    return mlflow.data.from_numpy(table, source=source, targets=targets, name=name, digest=digest)


def _source(source: str) -> Any:
    known = "://" in source or Path(source).exists()
    return resolve_dataset_source(source) if known else CodeDatasetSource({"mlflow.source.name": source})


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(2**20):
            digest.update(part)
    return digest.hexdigest()[:16]


def _facts(file: Path | None) -> dict[str, Any]:
    path = file or (Path(os.environ["LAB_FACTS_FILE"]) if os.environ.get("LAB_FACTS_FILE") else None)
    if path is None or not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
