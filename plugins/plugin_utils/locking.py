# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's lock knows about processes of the control node, and where a run notes that it has the lock."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

SUFFIX = ".lab_lock"


def marker(folder: Path, lock: str) -> Path:
    """Return the file in Ansible's own temporary directory that is there while this run has the lock named `lock`."""
    return folder / f"{hashlib.sha256(lock.encode()).hexdigest()[:16]}{SUFFIX}"


@dataclass(frozen=True)
class Mark:
    """What that file says: what this run is called, the process that keeps its lock (0: none), and a sentence once the lock is lost."""

    run: str = ""
    keeper: int = 0
    lost: str = ""

    @classmethod
    def read(cls, path: Path) -> Mark:
        """Return what a file says."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Put a file in place, at once as a whole."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(path)


def state_and_start(process: int) -> tuple[str, str]:
    """Return the state (``Z`` is a zombie) and the time of start of a process, as proc(5) has them; two empty texts where there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody waited for does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return state_and_start(process)[0] != "Z"


def process_identity(process: int) -> str:
    """Return what tells a process of this machine from any other: the boot, the namespace, its number and its start; "" where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {process} {state_and_start(process)[1]}"
    except OSError:
        return ""
