"""The target ``batch``: the model scores a file or a folder of files, in the environment that it demands itself."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from lab_deployment import environments, local, workspace
from lab_deployment.target import SCORING, Deployment, Option, Target
from lab_deployment.targets.object_store import Store
from lab_experiment.failures import Failure, Mistakes

FORMATS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "jsonl"}
REPORT = "report.json"
PLACE = r"(s3|gs|abfs|abfss)://[^/@]+/[^?#]+|(file://)?/[^?#]*[^?#/]/?"


class Batch(Target):
    """Scores every file of the input, and writes predictions of the same names and a report; all of them, or none."""

    name = "batch"
    summary = "The model scores CSV, Parquet or JSON-lines files, and writes predictions beside a report."
    runs_in = "airflow"
    options: ClassVar[dict[str, Option]] = {
        "input": Option(
            "the file, or the folder of files, that is scored",
            str,
            required=True,
            pattern=PLACE,
            example="/opt/data/orders.parquet or s3://bucket/orders",
        ),
        "output": Option(
            "the folder that the predictions and the report go to; it must not be there yet",
            str,
            required=True,
            pattern=PLACE,
            example="s3://bucket/orders-scored",
        ),
        "connection": Option("id of the Airflow connection; needed for input or output in an object store", str),
        "columns": Option(
            "which columns of the input stand beside the predictions: those that the model does not take (such as an id), all, or none", str, default="others",
            choices=("others", "all", "none"),
        ),
        "allowed_failures": Option("how many rows may fail before the whole scoring fails", int, default=0, low=0),
        "rows_at_once": Option("rows that are in memory at a time", int, default=20000),
    }  # fmt: skip

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        options = deployment.options
        self._input, self._output = Place(options["input"], options["connection"]), Place(options["output"], options["connection"])
        self._source, self._scored = deployment.folder / "input", deployment.folder / "output"
        self._published = False

    @classmethod
    def check(cls, options: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
        """The input is there and of a known format, the output is not there yet, and both are where they may be."""
        sentences = []
        for name in ("input", "output"):
            if Place.is_remote(options[name]) and not options["connection"]:
                sentences.append(f"target_options lacks 'connection', the id of the Airflow connection for {options[name]}.")
        if sentences:
            return sentences
        source, scored = (Place(options[name], options["connection"]) for name in ("input", "output"))
        if sentences := [*source.unreadable(), *scored.unwritable()]:
            return sentences
        names = source.files()
        known = ", ".join(FORMATS)
        if not names:
            sentences.append(
                f"target_options: input has {options['input']!r}, where this worker finds no file; allowed: a file, or a folder of files, ending in {known}."
            )
        strange = [name for name in names if not format_of(name)]
        if strange:
            sentences.append(f"target_options: input has {options['input']!r}, with the file {strange[0]!r}; allowed are names ending in {known}.")
        if scored.files():
            sentences.append(f"target_options: output has {options['output']!r}, where files lie already; allowed: a folder that is not there or empty.")
        elif not scored.writable():
            sentences.append(f"target_options: output has {options['output']!r}, where this worker may not write; allowed: {local.writable()}.")
        return sentences

    @classmethod
    def environment(cls, options: Mapping[str, Any]) -> Literal["fitting", "project", "model"]:
        """What the model demands."""
        return "model"

    def stage(self) -> None:
        """Bring the input here."""
        names = self._input.files()
        if not names:
            raise Failure(f"{self._input.url} has no file any more")
        self.deployment.say(f"{len(names)} files of {self._input.url}, {self._input.fetch(self._source)} bytes")
        if any(format_of(name) == "parquet" for name in names):
            self.deployment.python = environments.of_model(self.model.folder, also=["pyarrow"])  # unless the model pins one of its own

    def predict(self) -> Any:
        """What the model predicts in its own environment, in a process as the one that will score."""
        return self.deployment.predict(self.model.folder)

    def release(self) -> str:
        """Score, and publish the predictions; the report goes last."""
        options = self.deployment.options
        shutil.rmtree(self._scored, ignore_errors=True)
        self._scored.mkdir()
        request = {
            "model": str(self.model.folder),
            "uri": self.model.uri,
            "digest": self.model.digest,
            "by": self.deployment.by,
            "input": options["input"],
            "files": [{"path": str(path), "name": name, "format": format_of(name)} for name, path in sorted(self._local().items())],
            "output": str(self._scored),
            **{name: options[name] for name in ("columns", "allowed_failures", "rows_at_once")},
        }
        asked = self.deployment.folder / "score.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        self.deployment.run([self.deployment.python, str(SCORING), "score", str(asked), str(self._scored / REPORT)])
        self._published = True
        self._output.publish(self._scored, REPORT)
        return self._output.url

    def confirm(self) -> None:
        """Read back what was published, and compare digests."""
        written = workspace.files(self._scored)
        if (found := self._output.digests()) != {name: sha256 for name, (sha256, _) in written.items()}:
            wrong = sorted(name for name in {*written, *found} if found.get(name) != written.get(name, ("",))[0])
            raise Failure(f"the proof failed: {self._output.url}/{wrong[0]} is not what was written")

    def withdraw(self) -> None:
        """Remove predictions that were published in part."""
        if self._published:
            self._output.remove()

    def _local(self) -> dict[str, Path]:
        return {path.relative_to(self._source).as_posix(): path for path in self._source.rglob("*") if path.is_file()}


def format_of(name: str) -> str | None:
    """The format of a file, by the end of its name."""
    return next((kind for end, kind in FORMATS.items() if name.lower().endswith(end)), None)


class Place:
    """A file or folder of this worker, or below an address in an object store. Hidden files, whose names begin with ``.`` or ``_``, are not there."""

    def __init__(self, url: str, connection: str | None) -> None:
        self.url = url.rstrip("/")
        if self.is_remote(url):
            folder, _, self._name = self.url.rpartition("/")
            self._store: Store | None = Store(folder, connection)
        else:
            self._store = None
            self._path = Path(self.url.removeprefix("file://"))

    @staticmethod
    def is_remote(url: str) -> bool:
        """Whether it lies in an object store."""
        return "://" in url and not url.startswith("file://")

    def files(self) -> list[str]:
        """The files of a folder, or the one file, by their paths below it."""
        if self._store:
            names = [name or PurePosixPath(self.url).name for name in self._store.sizes(self._name)]
        elif self._path.is_file():
            return [self._path.name]
        else:
            names = [path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file()]
        return sorted(name for name in names if not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts))

    def unreadable(self) -> list[str]:
        """A sentence when it is no place that may be read, or has a file that leads elsewhere."""
        if self._store:
            return []
        if not local.may_read(self._path):
            return [local.refusal("input", self.url, self._path, local.readable())]
        strays = [path for path in map(self._file, self.files()) if not local.may_read(path)]
        return [local.refusal("input", str(path), path, local.readable()) for path in strays[:1]]

    def unwritable(self) -> list[str]:
        """A sentence when it is no place that may be written."""
        if self._store or local.is_output(self._path):
            return []
        return [local.refusal("output", self.url, self._path, local.writable())]

    def writable(self) -> bool:
        """Whether files may be written there, as far as that can be known before: of an object store it cannot."""
        return self._store is not None or os.access(next(path for path in (self._path, *self._path.parents) if path.exists()), os.W_OK)

    def fetch(self, folder: Path) -> int:
        """Bring the files into a folder of this worker; those of this host are linked. Returns their bytes.

        Raises:
            Mistakes: One of them may not be read.
        """
        if sentences := self.unreadable():
            raise Mistakes(sentences)
        shutil.rmtree(folder, ignore_errors=True)
        for name in self.files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._store:
                whole = self._store.sizes(self._name)
                self._store.get(self._name if "" in whole else f"{self._name}/{name}", target)
            else:
                target.symlink_to(local.resolved(self._file(name)))
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def publish(self, folder: Path, last: str) -> None:
        """Write the files of a folder: on a file system all at once by a rename, in an object store one after the other, the ``last`` one last.

        Raises:
            Mistakes: It may not be written there.
        """
        if sentences := self.unwritable():  # a folder on the way may have become a link meanwhile
            raise Mistakes(sentences)
        names = sorted(workspace.files(folder), key=lambda name: (name == last, name))
        if self._store:
            for name in names:
                self._store.put(folder / name, f"{self._name}/{name}")
            return
        draft = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, draft)
            if self._path.is_dir():
                self._path.rmdir()  # it was empty when it was checked
            os.rename(draft, self._path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise Failure(f"writing {self.url} failed: {error}") from None

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file."""
        if self._store:
            return {name: self._store.sha256(f"{self._name}/{name}") for name in self._store.sizes(self._name)}
        return {name: sha256 for name, (sha256, _) in workspace.files(self._path).items()}

    def remove(self) -> None:
        """Remove all of it."""
        if self._store:
            self._store.remove(self._name)
        elif not self.unwritable():
            shutil.rmtree(self._path, ignore_errors=True)

    def _file(self, name: str) -> Path:
        """One of the files, of a place on this worker."""
        return self._path if self._path.is_file() else self._path / name
