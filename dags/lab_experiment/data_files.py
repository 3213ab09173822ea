"""Files and folders below ``/opt/data`` that an experiment names: which they are, and their digests. Needs nothing but Python."""

from __future__ import annotations

import hashlib
import json
import os
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


@dataclass(frozen=True)
class Named:
    """A file or a folder that an experiment names."""

    key: str
    """The key that names it first: ``inputs.table``, ``steps.prepare.with.folder``."""
    path: Path
    name: str
    """Its path below the folder of data."""


@dataclass(frozen=True)
class Content:
    """What a file or a folder holds."""

    sha256: str
    """Of a file what ``sha256sum`` says; of a folder that of the text which ``sha256sum`` writes about its files, sorted by path."""
    size: int
    """Bytes."""
    files: int


def named_by(document: Mapping[str, Any]) -> list[Named]:
    """What inputs and arguments of an experiment name below the folder of data, as far as it is there; each once."""
    root = os.environ.get("LAB_DATA_DIR", "/opt/data").rstrip("/")
    inputs = decoded(document["inputs"])
    given = {f"inputs.{name}": value for name, value in inputs.items()}
    given |= {f"{key}.with.{name}": value for key, _, arguments in calls(document) for name, value in arguments.items()}
    found: dict[str, Named] = {}
    for key, value in given.items():
        for text in _texts(value, {"inputs": inputs}):
            path = os.path.normpath(text)
            if path.startswith(f"{root}/") and path not in found and os.path.exists(path):
                found[path] = Named(key, Path(path), os.path.relpath(path, root))
    return list(found.values())


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
    """What a file or a folder holds. A file is read once for each content, as far as its size and its time of change tell; hidden files count too.

    Raises:
        OSError: It cannot be read.
    """
    kept = runs / KNOWN
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
    paths = [named.path] if named.path.is_file() else sorted(path for path in named.path.rglob("*") if path.is_file())
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
    lines = "".join(f"{known[str(path)][2]}  {path.relative_to(named.path).as_posix()}\n" for path in paths)
    return Content(hashlib.sha256(lines.encode()).hexdigest(), total, len(paths))
