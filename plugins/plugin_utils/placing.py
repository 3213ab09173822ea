# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make directories of the host hold exactly the given files, whose content goes over standard input and is shown nowhere."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleActionFail

#: Begins the part of a listing that is about one directory
MARK = "== directory"


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


@dataclass(frozen=True)
class Directory:
    """A directory of the host, and what it is to hold: file below it -> content. With None its content is somebody else's."""

    path: str
    files: Mapping[str, bytes] | None = field(repr=False)
    mode: int = 0o644
    directory_mode: int = 0o755
    group: int | None = None
    keep_others: bool = False

    @classmethod
    def of(cls, path: str, args: Mapping[str, Any]) -> Directory:
        """Return what the options `src` or `files`, `hidden`, `mode`, `directory_mode`, `group` and `keep_others` of a task say.

        Raises:
            AnsibleActionFail: `src` is not a directory, the path is not an absolute one, or a file has a name that cannot be listed.
        """
        if not path.startswith("/"):
            raise AnsibleActionFail(f"{path} is not an absolute path of the host.")
        if args["src"] is not None:
            root = Path(args["src"])
            if not root.is_dir():
                raise AnsibleActionFail(f"{root} is not a directory on the control node.")
            files: dict[str, bytes] | None = tree_files(root, args["hidden"])
        elif args["files"] is None:
            files = None
        else:
            files = {name: str(text).encode() for name, text in args["files"].items()}
        if odd := next((name for name in files or {} if "\\" in name or not name.isprintable()), None):
            raise AnsibleActionFail(f"{odd!r} has a name that no list can hold: rename it, without line breaks, backslashes and control characters.")
        return cls(path, files, int(args["mode"], 8), int(args["directory_mode"], 8), args["group"], bool(args.get("keep_others")))

    def listing(self) -> str:
        """Return the command that says what is there; its output is for :meth:`difference`."""
        rights = "%a" if self.group is None else "%a %g"
        files = f" && find . -type f -exec stat -c '{rights} %n' {{}} + && find . -type f -exec sha256sum {{}} +" if self.files is not None else ""
        return f"echo {shlex.quote(MARK)}; (cd {shlex.quote(self.path)} 2>/dev/null && stat -c '{rights} .' .{files})"

    def difference(self, listing: str) -> Difference:
        """Return what a listing has otherwise."""
        of_group = "" if self.group is None else f" {self.group}"
        first, _unused, rest = listing.partition("\n")
        present = parse_listing(rest)
        wanted = {name: (f"{self.mode:o}{of_group}", hashlib.sha256(data).hexdigest()) for name, data in (self.files or {}).items()}
        return Difference(
            self,
            placed=sorted(name for name in wanted if present.get(name) != wanted[name]),
            replaced=sorted(name for name in set(present) & set(wanted) if present[name] != wanted[name]),
            removed=[] if self.keep_others else sorted(set(present) - set(wanted)),
            new=first != f"{self.directory_mode:o}{of_group} .",
        )


@dataclass(frozen=True)
class Difference:
    """What a directory of the host has otherwise than it is to have."""

    directory: Directory
    placed: list[str]
    replaced: list[str]
    removed: list[str]
    new: bool

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.placed or self.removed or self.new)

    def preparation(self) -> str:
        """Return the commands that make the directory, and remove what is not to be in it."""
        path, mode = shlex.quote(self.directory.path), f"{self.directory.directory_mode:05o}"  # with five digits, chmod clears an inherited setgid
        return (
            f"(umask 0022; mkdir -p {shlex.quote(str(PurePosixPath(self.directory.path).parent))}; "
            f"umask {0o777 & ~self.directory.directory_mode:04o}; mkdir -p {path}; chmod {mode} {path}; cd {path}; "
            + "".join(f"rm -f {shlex.quote('./' + name)}; " for name in self.removed)
            + ("" if self.directory.files is None else "find . -mindepth 1 -type d -empty -delete")
            + "); "
        )

    def members(self) -> list[tuple[str, bytes | None, int]]:
        """Return path, content and mode of what is written; of a directory there is no content."""
        root = self.directory.path.strip("/")
        above = {parent for name in self.placed for parent in PurePosixPath(name).parents if parent != PurePosixPath()}
        return [
            *((f"{root}/{parent}", None, self.directory.directory_mode) for parent in sorted(above)),
            *((f"{root}/{name}", (self.directory.files or {})[name], self.directory.mode) for name in self.placed),
        ]


def split_listing(listing: str) -> list[str]:
    """Return the part of each directory, in the order of the commands."""
    return [part.removeprefix("\n") for part in f"\n{listing}".split(f"\n{MARK}")[1:]]


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


def archive(members: Collection[tuple[str, bytes | None, int]]) -> bytes:
    """Return a tar archive of members (path, content or None for a directory, mode), all owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data, mode in members:
            member = tarfile.TarInfo(name)
            member.mode = mode
            if data is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data or b""))
    return buffer.getvalue()


def placing(differences: Collection[Difference]) -> tuple[str, bytes]:
    """Return the command that makes all differences go, and its standard input.

    Files are written in place, one by one: a container that has the directory mounted must see the change.
    """
    groups = "".join(
        f"; chgrp{' -R' if one.directory.files is not None else ''} {one.directory.group} {shlex.quote(one.directory.path)}"
        for one in differences
        if one.directory.group is not None
    )
    return (
        "set -e; " + "".join(one.preparation() for one in differences) + "tar -xf - -C / --same-permissions --no-same-owner --overwrite" + groups,
        archive([member for one in differences for member in one.members()]),
    )


def shown(differences: Collection[Difference], below: str = "") -> dict[str, Any]:
    """Return what a result says of differences: `changed`, `placed`, `removed`, and `diff` with names alone, for the content may be secret.

    Args:
        differences: all of a task.
        below: names are shown relative to this directory of the host.
    """

    def names(attribute: str) -> list[str]:
        return [
            str(PurePosixPath(one.directory.path, name).relative_to(below or one.directory.path)) for one in differences for name in getattr(one, attribute)
        ]

    placed, removed = names("placed"), names("removed")
    return {
        "changed": any(differences),
        "placed": placed,
        "removed": removed,
        "diff": {
            "before": "".join(f"{name}\n" for name in sorted(names("replaced") + removed)),
            "after": "".join(f"{name} (new content)\n" for name in placed),
        },
    }


def digest(directories: Collection[Directory]) -> str:
    """Return 16 hexadecimal digits that are others when a file of the directories is another one."""
    content = [(one.path, name, hashlib.sha256(data).hexdigest()) for one in directories for name, data in sorted((one.files or {}).items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
