"""Data that an experiment names: files and folders below ``/opt/data`` with their digests, and addresses in object stores.

Needs nothing but what reads an experiment file.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_experiment.document import calls
from lab_experiment.references import UnmetReference, decoded, resolve

KNOWN = ".digests.json"
"""Where the folder of runs keeps digests, by path: bytes, time of change in nanoseconds, SHA-256. A file is read again when one of the first two changed."""
LARGE = 10**9
"""Bytes above which it is said that files are read, for that takes a while."""

OBJECT_STORES = re.compile(r"(s3|s3a|s3n|gs|gcs|abfs|abfss|az|wasb|wasbs|r2|oss)://[^/]")
"""How an address in an object store begins."""
UNSURE = re.compile(r"[{%\n]")
"""What a function may put something else in the place of: ``/opt/data/{year}.csv``."""


@dataclass(frozen=True)
class Named:
    """A file, a folder, or a pattern of them that an experiment names."""

    key: str
    """The key that names it first: ``inputs.table``, ``steps.prepare.with.folder``."""
    path: Path
    name: str
    """Its path below the folder of data, of that folder itself its name."""


@dataclass(frozen=True)
class Address:
    """An address in an object store that an experiment names."""

    key: str
    """The key that names it first."""
    url: str
    """As it is named, without a password and a query, which may hold a signature."""


@dataclass(frozen=True)
class Content:
    """What a file, a folder, or all that a pattern finds holds."""

    sha256: str
    """Of a file what ``sha256sum`` says; of a folder that of the text which ``sha256sum`` writes about its files, sorted by path; of a pattern likewise, with
    paths below the folder of data."""
    size: int
    """Bytes."""
    files: int


def root() -> str:
    """The folder of data."""
    return (os.environ.get("LAB_DATA_DIR") or "/opt/data").rstrip("/")


def named_by(document: Mapping[str, Any]) -> list[Named]:
    """What inputs and arguments of an experiment name below the folder of data, as far as it is there; each once."""
    found: dict[str, Named] = {}
    for key, text in _given(document):
        path = _path(text)
        if (path == root() or path.startswith(f"{root()}/")) and path not in found and _found(path):
            found[path] = Named(key, Path(path), os.path.relpath(path, os.path.dirname(root()) if path == root() else root()))
    return list(found.values())


def addresses(document: Mapping[str, Any]) -> list[Address]:
    """The addresses in object stores that inputs and arguments of an experiment name; each once."""
    found: dict[str, Address] = {}
    for key, text in _given(document):
        if OBJECT_STORES.match(text):
            scheme, _, rest = text.partition("://")
            place, slash, path = rest.partition("/")
            user, _, host = place.rpartition("@")
            end = re.sub(r"\?[^/]*=.*", "", path, flags=re.DOTALL)
            url = f"{scheme}://{host if ':' in user else place}{slash}{end}"
            found.setdefault(url, Address(key, url))
    return list(found.values())


def missing(document: Mapping[str, Any], folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """What inputs and arguments name below the folder of data, and what is not there: key and sentence, each once.

    Where there is no such folder at all, nothing is known, and nothing said. A pattern (``*.csv``) has to find something.

    Args:
        document: What was read.
        folder: What will be in the folder of data, where this is no worker.
    """
    here = folder or Path(root())
    seen: set[str] = set()
    for key, text in _given(document) if here.is_dir() else ():
        path = _path(text)
        if not path.startswith(f"{root()}/") or path in seen or UNSURE.search(path):
            continue
        seen.add(path)
        if not _found(os.path.join(here, os.path.relpath(path, root()))):
            allowed = f"a file or folder below {root()}, which has what is in the lab's folder data/ (the verb run brings it) or in lab_data_dir"
            yield key, f"{key} has {text!r}, where {folder or 'this worker'} has no file; allowed: {allowed}."


def _found(place: str) -> list[str]:
    """The files and folders that a path means: itself, or else what it is a pattern of, or the beginning of, which a function may complete."""
    if os.path.exists(place):
        return [place]
    return [] if UNSURE.search(place) else sorted(glob.glob(place if glob.has_magic(place) else f"{glob.escape(place)}*", recursive=True))


def _path(text: str) -> str:
    """A text as a path."""
    return os.path.normpath(text.removeprefix("file://") if text.startswith("file:///") else text)


def _given(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts in inputs and arguments, each with its key."""
    inputs = decoded(document["inputs"])
    given = {f"inputs.{name}": value for name, value in inputs.items()}
    given |= {f"{key}.with.{name}": value for key, _, arguments in calls(document) for name, value in arguments.items()}
    for key, value in given.items():
        for text in _texts(value, {"inputs": inputs}):
            yield key, text


def _texts(value: Any, known: Mapping[str, Any]) -> Iterator[str]:
    """The texts in a value; what can only be known once a step is done is left out."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item, known)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, known)
    elif isinstance(value, str):
        with suppress(UnmetReference):
            resolved = resolve(value, known)
            if isinstance(resolved, str):
                yield resolved


def content_of(named: Named, runs: Path) -> Content:
    """What a named file, folder or pattern holds. Each content is read once, as far as size and time of change tell; hidden files of a folder count too.

    Raises:
        OSError: It cannot be read.
    """
    kept = runs / KNOWN
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
    places = [Path(place) for place in _found(str(named.path))]
    paths = sorted({path for place in places for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()})
    states = {str(path): [status.st_size, status.st_mtime_ns] for path in paths for status in [path.stat()]}
    new = [path for path, state in states.items() if known.get(path, [])[:2] != state]
    if (size := sum(states[path][0] for path in new)) > LARGE:
        print(f"[data] reading {size / 1e9:.1f} GB of {named.path} for its digest, once for each content", flush=True)
    for path in new:
        with open(path, "rb") as content:
            known[path] = [*states[path], hashlib.file_digest(content, "sha256").hexdigest()]
    if new:
        partial = kept.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # it is read again, then
            partial.write_text(json.dumps(known), encoding="utf-8")
            partial.replace(kept)
    total = sum(state[0] for state in states.values())
    if named.path.is_file():
        return Content(known[str(named.path)][2], total, 1)
    base = named.path if named.path.is_dir() else Path(root())
    lines = "".join(f"{known[str(path)][2]}  {path.relative_to(base).as_posix()}\n" for path in paths)
    return Content(hashlib.sha256(lines.encode()).hexdigest(), total, len(paths))
