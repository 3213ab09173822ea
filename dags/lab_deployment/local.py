"""The folders of a worker that deployments read and write: the lab's data, and what stays beyond a run. Nothing else of the worker is for them.

A path is judged by where it leads: ``..`` and links are followed before.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab_experiment import data_files


def output_root() -> str:
    """Where workers write results that stay."""
    return (os.environ.get("LAB_OUTPUT_DIR") or "/opt/output").rstrip("/")


def may_read(path: Path) -> bool:
    """Whether a file or folder is one of the lab's data or results."""
    return _is_in(path, data_files.root()) or may_write(path)


def may_write(path: Path) -> bool:
    """Whether a file or folder is one of the lab's results, or the folder of all of them."""
    return _is_in(path, output_root())


def is_output(path: Path) -> bool:
    """Whether a path is one below the folder of all results, which itself is none that could be put in place or taken away."""
    return may_write(path) and resolved(path) != resolved(Path(output_root()))


def resolved(path: Path) -> Path:
    """Where a path leads, as far as it is there."""
    return Path(os.path.realpath(path))  # Path.resolve() raises at links that go round


def readable() -> str:
    """What may be read, in words."""
    return f"a file or folder below {data_files.root()} or {output_root()}, or an address in an object store"


def writable() -> str:
    """What may be written, in words."""
    return f"a folder below {output_root()}, or an address in an object store"


def refusal(option: str, value: str, path: Path, allowed: str) -> str:
    """The sentence for a path that is not for deployments."""
    found = resolved(path)
    words = "which a deployment may not use" if str(found) == value.removeprefix("file://").rstrip("/") else f"which leads to {found}"
    return f"target_options: {option} has {value!r}, {words}; allowed: {allowed}."


def _is_in(path: Path, root: str) -> bool:
    return resolved(path).is_relative_to(resolved(Path(root or "/")))
