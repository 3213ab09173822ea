"""Copy the database of a running devpi-server, and the small files beside it, to a directory that tar can take its time with.

Files of packages need no copy: devpi writes each once, under a name of its own, and finishes at its next start what its database says and the
files do not yet.

Usage: python - STORE COPY
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path


def main(store: Path, copy: Path) -> None:
    """Make `copy` anew. What tells how far events were processed comes first, so that it is never ahead of the database."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in (".event_serial", ".nodeinfo", ".serverversion"):
        if (store / name).exists():
            shutil.copy2(store / name, copy / name)
    # One transaction of SQLite's: writers wait for it, readers do not. Readers need no right to write, so that it is opened as it is.
    connection = sqlite3.connect(store / ".sqlite", timeout=60)
    connection.execute("VACUUM INTO ?", [str(copy / ".sqlite")])
    connection.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
