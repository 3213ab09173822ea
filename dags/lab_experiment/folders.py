"""Where a run keeps its files, and the results of its steps, on the host that runs it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KEPT = ".lab"
"""What the lab itself keeps in a run's folder."""


def folder_of(run_id: str, runs: Path) -> Path:
    """The folder of a DAG run: its id with everything but letters, digits and ``_.+-`` replaced, so that it stays inside ``runs``."""
    return runs / (re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id).lstrip(".") or "run")


@contextmanager
def alone(folder: Path, name: str = "lock") -> Iterator[None]:
    """Let one process of this host at a time do something in a run's folder, which is made if it is not there."""
    (folder / KEPT).mkdir(parents=True, exist_ok=True)
    with (folder / KEPT / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


LARGE = 2**24
"""Bytes of a file from which on a task beside others gets a link in the place of a copy."""


def apart(folder: Path, name: str) -> Path:
    """A working directory for a task that works beside others of its run, so that none overwrites a file of another.

    It has the files of the run's folder, as far as they are not there yet or became newer: folders of its own with copies, of large files links.
    """
    own = folder / KEPT / name
    for place, below, files in os.walk(folder):
        here = Path(place)
        if here == folder and KEPT in below:
            below.remove(KEPT)
        with suppress(OSError):  # what the task made in its place stays
            (own / here.relative_to(folder)).mkdir(parents=True, exist_ok=True)
        for source in [here / name for name in (*files, *below) if name in files or (here / name).is_symlink()]:
            mine = own / source.relative_to(folder)
            with suppress(OSError):  # as above; or one that another task of this package just removed
                found = source.lstat()
                if mine.is_symlink() or (mine.exists() and mine.stat().st_mtime >= found.st_mtime):
                    continue
                if source.is_symlink() or found.st_size > LARGE:
                    mine.unlink(missing_ok=True)
                    mine.symlink_to(source)
                else:
                    shutil.copy2(source, mine)
    return own


def keep(folder: Path, name: str, value: Any) -> None:
    """Keep a result for the other processes of this run; whole, or not at all.

    Raises:
        Exception: It cannot be pickled.
    """
    pickler = _pickler()
    path = folder / KEPT / f"{name}.pickle"
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        with partial.open("wb") as file:
            pickler.dump(value, file)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def kept(folder: Path, name: str) -> Any:
    """Read a result that :func:`keep` kept.

    Raises:
        FileNotFoundError: There is none.
        Exception: It cannot be read here (any more).
    """
    with (folder / KEPT / f"{name}.pickle").open("rb") as file:
        return _pickler().load(file)  # written by this very run


def _pickler() -> Any:
    """What pickles more than Python itself does, where the environment has it."""
    try:
        import cloudpickle
    except ImportError:
        import pickle as cloudpickle
    return cloudpickle


def remove(folder: Path) -> None:
    """Remove a run's folder."""
    shutil.rmtree(folder, ignore_errors=True)
