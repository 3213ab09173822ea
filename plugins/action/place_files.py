# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.place_files`; its documentation is in plugins/modules/place_files.py."""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.place_files import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec


def tree_files(root: Path, hidden: Collection[str] = ()) -> dict[str, bytes]:
    """Return relative path -> content of the files below `root`, those of :func:`tree_paths`."""
    return {name: path.read_bytes() for name, path in tree_paths(root, hidden).items()}


def tree_paths(root: Path, hidden: Collection[str] = ()) -> dict[str, Path]:
    """Return relative path -> path of the files below `root`, without caches and hidden files other than those named `hidden`."""
    return {
        path.relative_to(root).as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.suffix != ".pyc"
        and not any((part.startswith(".") and part not in hidden) or part == "__pycache__" for part in path.relative_to(root).parts)
    }


def archive(files: dict[str, bytes], mode: int) -> bytes:
    """Return a tar archive of relative path -> content, owned by root, each file with `mode`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def parse_listing(listing: str) -> dict[str, tuple[str, str]]:
    """Return relative path -> (mode, SHA-256) from the host's listing: lines of `find -printf`, then of `sha256sum`."""
    modes: dict[str, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for line in listing.splitlines():
        first, _unused, name = line.partition(" ./")
        if len(first.strip()) == 64:
            found[name] = (modes.get(name, ""), first.strip())
        else:
            modes[name] = first
    return found


class ActionModule(ActionBase):
    """Make a directory of the host hold exactly the given files."""

    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Place the files; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            argument_spec(DOCUMENTATION),
            mutually_exclusive=[("src", "files")],
            required_one_of=[("src", "files")],
        )
        if args["src"] is not None:
            root = Path(args["src"])
            if not root.is_dir():
                raise AnsibleActionFail(f"{root} is not a directory on the control node.")
            files = tree_files(root, args["hidden"])
        else:
            files = {name: str(text).encode() for name, text in args["files"].items()}
        dest, mode, group = shlex.quote(args["dest"]), int(args["mode"], 8), args["group"]
        rights, of_group = ("%a", "") if group is None else ("%a %g", f" {group}")
        listing = self._low_level_execute_command(
            f"cd {dest} 2>/dev/null && stat -c '{rights} .' . && find . -type f -exec stat -c '{rights} %n' {{}} + && find . -type f -exec sha256sum {{}} +",
            sudoable=True,
        )["stdout"]
        first, _unused, rest = listing.partition("\n")
        present = parse_listing(rest)
        wanted = {name: (f"{mode:o}{of_group}", hashlib.sha256(data).hexdigest()) for name, data in files.items()}
        placed = sorted(name for name in wanted if present.get(name) != wanted[name])
        removed = sorted(set(present) - set(wanted))
        new_directory = first != f"{int(args['directory_mode'], 8):o}{of_group} ."
        result: dict[str, Any] = {
            "changed": bool(placed or removed or new_directory),
            "placed": placed,
            "removed": removed,
            # Names only: the content may be secret.
            "diff": {
                "before": "".join(f"{name}\n" for name in sorted(set(present) & set(placed) | set(removed))),
                "after": "".join(f"{name} (new content)\n" for name in placed),
            },
        }
        if not result["changed"] or self._task.check_mode:
            return result
        umask = f"{0o777 & ~int(args['directory_mode'], 8):04o}"
        # In place, file by file: a container that has the directory mounted must see the change.
        outcome = self._low_level_execute_command(
            f"set -e; umask 0022; mkdir -p {shlex.quote(str(Path(args['dest']).parent))}; "
            f"umask {umask}; mkdir -p {dest}; chmod {args['directory_mode']} {dest}; cd {dest}; "
            + "".join(f"rm -f {shlex.quote('./' + name)}; " for name in removed)
            + "find . -mindepth 1 -type d -empty -delete; tar -xf - --same-permissions --no-same-owner --overwrite"
            + ("" if group is None else f"; chgrp -R {group} ."),
            sudoable=True,
            in_data=archive({name: files[name] for name in placed}, mode),
        )
        if outcome["rc"] != 0:
            raise AnsibleActionFail(f"The files could not be placed in {args['dest']}: {outcome['stderr'].strip()}")
        return result
