"""Where a run keeps its files."""

from __future__ import annotations

import re
from pathlib import Path


def folder_of(run_id: str, runs: Path) -> Path:
    """The folder of a DAG run: its id with everything but letters, digits and ``_.+-`` replaced, so that it stays inside ``runs``."""
    return runs / (re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id).lstrip(".") or "run")
