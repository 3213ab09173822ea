# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files of the control node so that nobody reads half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file as a whole or not at all; a link to it stays one. Without a mode it keeps the rights and the owner that it has."""
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
            if mode is None:
                former = path.stat()
                with contextlib.suppress(PermissionError):  # only root gives a file away
                    os.fchown(handle, former.st_uid, former.st_gid)
                mode = former.st_mode & 0o7777
            os.fchmod(handle, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
