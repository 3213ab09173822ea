# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.place_data`; its documentation is in plugins/modules/place_data.py."""

from __future__ import annotations

import hashlib
import shlex
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.place_data import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.placing import tree_paths

BATCH = 2**28
"""Bytes that are sent at once, and lie a second time on both ends meanwhile; of a file that is larger, all."""


def batches(files: Mapping[str, Path], most: int = BATCH) -> Iterator[dict[str, Path]]:
    """Yield the files in groups of at most `most` bytes; a larger one alone."""
    batch: dict[str, Path] = {}
    room = most
    for name, path in files.items():
        size = path.stat().st_size
        if batch and size > room:
            yield batch
            batch, room = {}, most
        batch[name] = path
        room -= size
    if batch:
        yield batch


def pack(files: Mapping[str, Path], mode: int, into: Path) -> None:
    """Write an archive of files with whole seconds as their times, all with `mode`. No file is held in memory."""
    with tarfile.open(into, "w", dereference=True) as archive:
        for name, path in files.items():
            member = archive.gettarinfo(path, name)
            member.mode, member.mtime = mode, int(member.mtime)
            with path.open("rb") as content:
                archive.addfile(member, content)


def sha256(path: Path) -> str:
    """Return what `sha256sum` says of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class ActionModule(ActionBase):
    """Bring files of any size to a directory of the host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Place the files; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        root, dest = Path(args["src"]), shlex.quote(args["dest"])
        if not root.is_dir():
            raise AnsibleActionFail(f"{root} is not a directory on the control node.")
        files = tree_paths(root)
        for name in files:
            if "\\" in name or not name.isprintable():
                raise AnsibleActionFail(f"{root / name} has a name that no list can hold: rename it, without line breaks, backslashes and control characters.")
        # What find and sha256sum print, a line each, of files that are there.
        listing = self._asked(f"cd {dest} 2>/dev/null && find . -type f -printf '%s %Ts %P\\n' || true")
        there = {name: (int(size), int(time)) for size, time, name in (line.split(" ", 2) for line in listing)}
        here = {name: (stat.st_size, int(stat.st_mtime)) for name, path in files.items() for stat in [path.stat()]}
        touched = [name for name in files if name in there and there[name] != here[name] and there[name][0] == here[name][0]]
        lines = self._asked(f"cd {dest} && xargs -0 -r sha256sum --", touched) if touched else []
        same = [name for digest, _blanks, name in (line.partition("  ") for line in lines) if sha256(files[name]) == digest]
        placed = [name for name in files if there.get(name) != here[name] and name not in same]
        result = {"changed": bool(placed), "placed": placed}
        if self._task.check_mode:
            return result
        if same:  # so that the next time they need not be read
            self._asked(f"cd {dest} && xargs -0 -r -n 2 sh -c 'touch -c -d @$0 -- \"$1\"'", [word for name in same for word in (str(here[name][1]), name)])
        for batch in batches({name: files[name] for name in placed}):
            self._send(batch, args)
        return result

    def _asked(self, command: str, words: Iterable[str] = ()) -> list[str]:
        """Return the lines that a command on the host prints; words are given to it as xargs wants them."""
        outcome = on_host(self, command, "".join(f"{word}\0" for word in words).encode() or None)
        if outcome["rc"] != 0:
            raise AnsibleActionFail(f"The data on the host cannot be looked at: {outcome['stderr'].strip()}")
        return str(outcome["stdout"]).splitlines()

    def _send(self, files: Mapping[str, Path], args: Mapping[str, Any]) -> None:
        """Bring files to the host. Each appears whole: who reads the former one goes on reading that."""
        dest, mask = shlex.quote(args["dest"]), f"{0o777 & ~int(args['directory_mode'], 8):04o}"
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir or self._make_tmp_path(), "data.tar")
        with tempfile.NamedTemporaryFile(suffix=".tar", dir=constants.DEFAULT_LOCAL_TMP) as packed:
            pack(files, int(args["mode"], 8), Path(packed.name))
            self._transfer_file(packed.name, remote)
        outcome = on_host(
            self,
            f"set -e; umask 0022; mkdir -p {shlex.quote(str(Path(args['dest']).parent))}; umask {mask}; mkdir -p {dest}; cd {dest}; "
            f"trap 'rm -rf .incoming' EXIT; rm -rf .incoming; mkdir .incoming; tar -xf {shlex.quote(remote)} -C .incoming --same-permissions --no-same-owner; "
            f"rm -f {shlex.quote(remote)}; cp -rlf .incoming/. .",
        )
        if outcome["rc"] != 0:
            raise AnsibleActionFail(f"The data could not be placed in {args['dest']}: {outcome['stderr'].strip()}")

    def cleanup(self, force: bool = False) -> None:
        """Remove what was sent, also after a failure."""
        super().cleanup(force=True)
