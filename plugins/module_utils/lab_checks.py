# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of checks: each has a name, passes or fails, and says in one line what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Failed(Exception):
    """A check failed; the message says what was found instead."""


class Checks:
    """Runs checks one after the other. One that fails, or breaks, does not keep the next from running."""

    def __init__(self) -> None:
        """Begin with none."""
        self.found: list[dict[str, Any]] = []

    def run(self, name: str, check: Callable[[], str]) -> bool:
        """Run a check, which returns what it found or raises; keep name, ok, detail and seconds, and return ok."""
        started = time.monotonic()
        try:
            ok, detail = True, check()
        except Failed as error:
            ok, detail = False, str(error)
        except Exception as error:  # a check that breaks is a check that fails
            ok, detail = False, f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - started, 1)
        self.found.append({"name": name, "ok": ok, "detail": detail, "seconds": seconds})
        return ok


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 DAG``, ``2 DAGs``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def eventually(check: Callable[[], str], until: float, every: float = 2.0) -> str:
    """Return what a check finds as soon as it passes; raise its last failure at the time ``until`` of the monotonic clock."""
    while True:
        try:
            return check()
        except Exception:
            if time.monotonic() > until:
                raise
        time.sleep(every)
