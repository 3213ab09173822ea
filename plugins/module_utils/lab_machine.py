# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight and the verdict both measure on a host."""

from __future__ import annotations

import os
from typing import Any


def disk(path: str) -> dict[str, Any]:
    """Return the free GiB of the file system that holds the path, or will hold it once it exists."""
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    status = os.statvfs(existing)
    return {"path": path, "device": os.stat(existing).st_dev, "free_gb": round(status.f_bavail * status.f_frsize / 2**30, 1)}


def clock_offset(now: float, before: float, after: float) -> float:
    """Return by how many seconds the host's clock is certainly ahead (+) or behind (-) between two readings of ours."""
    return now - after if now > after else now - before if now < before else 0.0
