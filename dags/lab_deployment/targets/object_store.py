"""The target ``object_store``: the model directory in S3, Google Cloud Storage, Azure Blob Storage or a folder.

It is reached through Airflow's ObjectStoragePath and a connection.

What lies below the address:

    manifest.json               which model is in service, where its files are, their SHA-256 and sizes; the only name that readers look at
    .models/<digest>/...        the model directories, MLmodel and all; never changed once they are complete

``manifest.json`` is written last, as one object: a PUT on S3, GCS and Azure, which each show to every reader either wholly or not at all, and a rename on a
file system. So a half upload is never visible under the final name. No store but the file system can rename a folder, so the names in there are final from the
start, and hidden: what no manifest names does not exist for a reader.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from lab_deployment import local, workspace
from lab_deployment.target import Deployment, Option, Target
from lab_experiment.failures import Failure, Mistakes

FORMAT = "mlops.lab/model/1"
MANIFEST = "manifest.json"
MODELS = ".models"
PROVIDERS = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google[gcsfs]",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "file": "",
}
ABANDONED_SECONDS = 86400
"""After this time a model directory that no manifest named is what a killed upload left."""


class ObjectStore(Target):
    """Uploads the model directory under a hidden name, reads it back and proves it, and then writes the manifest that points to it."""

    name = "object_store"
    summary = "The model directory and a manifest of digests, in S3, Google Cloud Storage, Azure Blob Storage or a folder."
    runs_in = "airflow"
    alias = "object_store"
    options: ClassVar[dict[str, Option]] = {
        "url": Option(
            "where the model goes", str, required=True, pattern=r"(s3|gs|abfs|abfss)://[^/@]+(/[^?#]*)?|file:///[^?#]+", example="s3://bucket/models/wine",
        ),
        "connection": Option("id of the Airflow connection; needed for all but file://", str),
        "keep": Option("how many former models stay there, for readers that still use them and for going back", int, default=3),
        "environment": Option(
            "where the model's predictions are made: in the project's environment, in one of its own with what the model demands, or in the fitting one, "
            "which is the project's where that has the very versions",
            str,
            default="fitting",
            choices=("fitting", "project", "model"),
        ),
    }  # fmt: skip

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self._store = Store(deployment.options["url"], deployment.options["connection"])
        self._path = f"{MODELS}/{self.model.digest}"
        self._files = workspace.files(self.model.folder)
        self._former: bytes | None = None
        self._written = b""
        self._new = False
        self._released = False
        self._at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    @classmethod
    def check(cls, options: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
        """There is a connection and a provider for it, and the bucket is there, or the folder is one that may be written."""
        scheme = options["url"].partition(":")[0]
        if scheme != "file" and not options["connection"]:
            return [f"target_options lacks 'connection', the id of the Airflow connection for {options['url']}."]
        if scheme == "file" and not local.may_write(folder := Path(options["url"].removeprefix("file://"))):
            return [local.refusal("url", options["url"], folder, local.writable())]
        Store(options["url"], options["connection"]).check()
        return []

    @classmethod
    def environment(cls, options: Mapping[str, Any]) -> Any:
        """As the options say."""
        return options["environment"]

    def stage(self) -> None:
        """Upload the files that are not there, or not as they should be."""
        self._former = self._store.read(MANIFEST)
        there = self._store.sizes(self._path)
        self._new = not there
        sent = 0
        for path, (sha256, size) in self._files.items():
            name = f"{self._path}/{path}"
            if there.get(path) != size or self._store.sha256(name) != sha256:
                self._store.put(self.model.folder / path, name)
                sent += size
        self.deployment.say(f"{sent} bytes uploaded to {self._store.url}/{self._path}, {sum(size for _, size in self._files.values()) - sent} were there")

    def predict(self) -> Any:
        """What the uploaded files predict, once they are downloaded again."""
        copy = self.deployment.folder / "staged"
        for path in self._files:
            target = copy / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._store.get(f"{self._path}/{path}", target)
        self._hold(self._manifest(), workspace.files(copy))
        return self.deployment.predict(copy)

    def release(self) -> str:
        """Write the manifest."""
        self._written = json.dumps(self._manifest(), indent=1).encode()
        self._released = True
        self._store.write(MANIFEST, self._written)
        return f"{self._store.url}/{self._path}"

    def confirm(self) -> None:
        """Read back the manifest and hold what it names against the digests, which were proven; remove models that are older than the last ``keep``."""
        manifest = json.loads(self._store.read(MANIFEST) or b"{}")
        if manifest.get("digest") != self.model.digest:
            found = f"{manifest.get('model')} of {manifest.get('deployed_by')}"
            raise Mistakes([f"{self.model.title} is not deployed: {found} was put in its place while this deployment was under way."])
        names = [file["path"] for file in manifest["files"]]
        sizes = self._store.sizes(manifest["path"])
        self._hold(manifest, {name: (self._store.sha256(f"{manifest['path']}/{name}"), sizes.get(name, 0)) for name in names})
        kept = {entry["digest"] for entry in self._manifest()["former"]} | {self.model.digest}
        for digest in self._store.folders(MODELS) - kept:
            known = digest in {entry["digest"] for entry in json.loads(self._former or b"{}").get("former", [])}
            if known or self._store.age(f"{MODELS}/{digest}") > ABANDONED_SECONDS:
                self.deployment.say(f"{self._store.url}/{MODELS}/{digest} is no longer kept")
                self._store.remove(f"{MODELS}/{digest}")

    def withdraw(self) -> None:
        """Write the former manifest again, unless another deployment wrote its own meanwhile, and remove the upload."""
        if self._released and self._store.read(MANIFEST) == self._written:
            if self._former is None:
                self._store.remove(MANIFEST)
            else:
                self._store.write(MANIFEST, self._former)
        if self._new:
            self._store.remove(self._path)

    def _hold(self, manifest: Mapping[str, Any], found: Mapping[str, tuple[str, int]]) -> None:
        """Hold files against a manifest."""
        for file in manifest["files"]:
            if found[file["path"]] != (file["sha256"], file["size"]):
                raise Failure(
                    f"the proof failed: {self._store.url}/{manifest['path']}/{file['path']} does not have the digest {file['sha256']} that was uploaded"
                )

    def _manifest(self) -> dict[str, Any]:
        """What readers are told."""
        former: list[dict[str, Any]] = []
        if self._former:
            before = json.loads(self._former)
            own = {key: before[key] for key in ("digest", "model", "path", "deployed_at", "deployed_by")}
            former = [entry for entry in (own, *before["former"]) if entry["digest"] != self.model.digest][: self.deployment.options["keep"]]
        return {
            "format": FORMAT,
            "model": self.model.uri,
            "name": self.model.name,
            "version": self.model.version,
            "model_id": self.model.model_id,
            "run_id": self.model.run_id,
            "path": self._path,
            "digest": self.model.digest,
            "files": [{"path": path, "sha256": sha256, "size": size} for path, (sha256, size) in self._files.items()],
            "deployed_at": self._at,
            "deployed_by": self.deployment.by,
            "former": former,
        }


class Store:
    """An address in an object store or file system, with what a deployment does there; every failure is one sentence."""

    def __init__(self, url: str, connection: str | None) -> None:
        from airflow.sdk import ObjectStoragePath

        self.url = url.rstrip("/")
        self.scheme = url.partition(":")[0]
        if connection:
            _check_connection(connection)
        try:
            root = ObjectStoragePath(self.url, conn_id=connection)
            self._fs = root.fs
        except (ImportError, ValueError) as error:
            raise Mistakes(
                [
                    f"target_options: url has {url!r}, for which Airflow's own environment has no file system ({error}); "
                    f"add {PROVIDERS[self.scheme]} to airflow_image_providers and build the image again."
                ]
            ) from None
        except Exception as error:
            raise Mistakes([f"target_options: connection has {connection!r}, which cannot be used for {url!r}: {type(error).__name__}: {error}."]) from None
        self._root = str(root.path).rstrip("/")
        self._bucket = self._root.partition("/")[0]

    def check(self) -> None:
        """Whether the bucket is there and may be looked into, or the folder may be written.

        Raises:
            Mistakes: It is not.
        """
        if self.scheme == "file":
            if not local.may_write(Path(self._root)):  # where Airflow reads the address in another way
                raise Mistakes([local.refusal("url", self.url, Path(self._root), local.writable())])
            folder = next(path for path in (Path(self._root), *Path(self._root).parents) if path.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise Mistakes([f"target_options: url has {self.url!r}, but {folder} is no folder that this worker may write."])
            return
        try:
            self._fs.invalidate_cache()
            self._fs.ls(self._bucket)
        except FileNotFoundError:
            raise Mistakes(
                [f"target_options: url has {self.url!r}, but there is no bucket {self._bucket!r}, or the connection's user may not see it."]
            ) from None
        except PermissionError as error:
            raise Mistakes([f"target_options: url has {self.url!r}, but the connection's user may not look into {self._bucket!r}: {error}."]) from None
        except Exception as error:
            raise Failure(f"{self.url} cannot be looked into: {type(error).__name__}: {error}") from None

    def read(self, name: str) -> bytes | None:
        """The content of a file; None when there is none."""
        with self._telling("reading", name):
            self._fs.invalidate_cache()
            try:
                return bytes(self._fs.cat_file(self._place(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that readers see the former one or this one, whole."""
        with self._telling("writing", name):
            if self.scheme == "file":
                draft = Path(self._place(f".{name}.{uuid.uuid4().hex}"))
                draft.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with draft.open("wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                    draft.replace(self._place(name))
                finally:
                    draft.unlink(missing_ok=True)
            else:
                self._fs.pipe_file(self._place(name), content)  # a single PUT: far below the size from which it would be sent in parts

    def put(self, file: Path, name: str) -> None:
        """Upload a file."""
        with self._telling("writing", name):
            place = self._place(name)
            if self.scheme == "file":  # elsewhere there are no folders to be made, and making one could make a bucket
                Path(place).parent.mkdir(parents=True, exist_ok=True)
            self._fs.put_file(str(file), place)

    def get(self, name: str, file: Path) -> None:
        """Download a file."""
        with self._telling("reading", name):
            self._fs.get_file(self._place(name), str(file))

    def sha256(self, name: str) -> str:
        """The digest of a file's content, read through the network; the stores' own checksums are of several kinds."""
        with self._telling("reading", name), self._fs.open(self._place(name), "rb") as content:
            found = hashlib.sha256()
            while block := content.read(1 << 20):
                found.update(block)
            return found.hexdigest()

    def sizes(self, name: str) -> dict[str, int]:
        """The files below a folder, and their sizes in bytes."""
        place = self._place(name)
        with self._telling("listing", name):
            return {path[len(place) :].lstrip("/"): int(found["size"]) for path, found in self._found(name).items()}

    def folders(self, name: str) -> set[str]:
        """The folders in a folder that have a file somewhere."""
        return {path.partition("/")[0] for path in self.sizes(name)}

    def age(self, name: str) -> float:
        """Seconds since the last file of a folder was written."""
        with self._telling("listing", name):
            return time.time() - max((self._fs.modified(path).timestamp() for path in self._found(name)), default=time.time())

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens when it is not there."""
        with self._telling("removing", name), suppress(FileNotFoundError):
            self._fs.rm(self._place(name), recursive=True)

    def _found(self, name: str) -> dict[str, dict[str, Any]]:
        self._fs.invalidate_cache()
        try:
            return {path: found for path, found in self._fs.find(self._place(name), detail=True).items() if found["type"] == "file"}
        except FileNotFoundError:
            return {}

    def _place(self, name: str) -> str:
        place = f"{self._root}/{name}"
        if self.scheme == "file" and not local.may_write(Path(place)):  # a folder on the way may be a link
            raise Mistakes([local.refusal("url", place, Path(place), local.writable())])
        return place

    @contextmanager
    def _telling(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except (Failure, Mistakes):
            raise
        except Exception as error:
            raise Failure(f"{doing} {self.url}/{name} failed with {type(error).__name__}: {error}") from None


def _check_connection(connection: str) -> None:
    from airflow.sdk import BaseHook

    try:
        BaseHook.get_connection(connection)
    except Exception as error:
        if "NotFound" in type(error).__name__:
            raise Mistakes([f"target_options: connection has {connection!r}, but Airflow has no connection of this id (Admin, Connections)."]) from None
        raise Failure(f"the connection {connection!r} cannot be read: {type(error).__name__}: {error}") from None
