# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what environments are made from: the files in a lab's folder C(environments)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ansible_collections.mlops.lab.plugins.plugin_utils import requirement_sources as sources

ENDINGS = (".in", ".txt", ".toml", ".whl")
PROJECT = ("pyproject.toml", "uv.lock")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class Unfit(Exception):
    """An environment that cannot be locked; a sentence for each reason."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = list(sentences)


def files_of(folder: Path) -> dict[str, list[Path]]:
    """Return the files of requirements, and the folders of projects, of a folder by the name of their environment."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.name.startswith("."):
            continue
        if path.suffix in ENDINGS and path.is_file():
            found.setdefault(path.stem.partition("-")[0] if path.suffix == ".whl" else path.stem, []).append(path)
        elif any((path / name).is_file() for name in PROJECT):
            found.setdefault(path.name, []).append(path)
    return found


def parts_of(path: Path) -> list[Path]:
    """Return the files that an environment is made from: itself, or those of a project's folder."""
    return [path / name for name in PROJECT] if path.is_dir() else [path]


def texts_of(path: Path) -> dict[str, str]:
    """Return the texts that an environment is made from, by the names of their files.

    Raises:
        Unfit: one is missing, or is no text.
    """
    texts = {}
    for file in parts_of(path):
        if not file.is_file():
            how = "copy it from the project, beside its uv.lock" if file.suffix == ".toml" else "`uv lock` in the project writes it"
            raise Unfit(f"{path} has no {file.name}; {how}.")
        try:
            texts[file.name] = sources.decoded(file.read_bytes())
        except sources.Refused as error:
            raise Unfit(f"{file} {error}") from None
    return texts


def entries_of(name: str, paths: list[Path]) -> list[sources.Entry]:
    """Return the requirements of an environment; none of a project with a ``uv.lock``, which uv itself reads.

    Raises:
        Unfit: its name is none, it has two files, or a line cannot be used.
    """
    path = paths[0]
    if wheel := next((path for path in paths if path.suffix == ".whl"), None):
        version = [*wheel.stem.split("-"), "<version>"][1]
        raise Unfit(f"{wheel} is a wheel; publish it to the lab's index, write {name}=={version} into {name}.in beside it, and remove it here.")
    if len(paths) > 1:
        raise Unfit(f"{path.parent} has {' and '.join(path.name for path in paths)}, which are both the environment {name}; keep one of them.")
    if not NAME.fullmatch(name) or name == "project":
        allowed = "a name of letters, digits, - and _" if name != "project" else "another name, for project is the environment in the lab's image"
        raise Unfit(f"{path} cannot be called so; give it {allowed}.")
    if path.is_dir():
        return []
    value: Any = str(path)
    if path.suffix == ".toml":
        try:
            content = tomllib.loads(sources.decoded(path.read_bytes()))
            value, own = dependencies_of(path, content), itself(path, content)
            if own and isinstance(value, list):  # another value is refused below
                value = [*value, own]
        except (tomllib.TOMLDecodeError, sources.Refused) as error:
            raise Unfit(f"{path} is no pyproject.toml: {error}.") from None
    reader = sources.Reader(lambda _variable, line: f"{path}, project.dependencies," if path.suffix == ".toml" else f"environment {name}")
    found, problems = reader.read(f"environment {name}", value)
    if problems:
        raise Unfit(*problems)
    return found


def dependencies_of(path: Path, content: dict[str, Any]) -> Any:
    """Return what a C(pyproject.toml) has as C(project.dependencies).

    Raises:
        Unfit: it says them where nobody but a build backend looks, or is of no project.
    """
    fields, tool = content.get("project"), content.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    if isinstance(fields, dict) and "dependencies" in fields:
        return fields["dependencies"]
    if isinstance(poetry, dict) and "dependencies" in poetry:
        why = " (those of Poetry are not read)"
    elif isinstance(fields, dict):
        dynamic = fields.get("dynamic")
        if not isinstance(dynamic, list) or "dependencies" not in dynamic:
            return []
        why = " (it is dynamic, which only a build of the project finds out)"
    else:
        why = ", for it has no section [project]"
    raise Unfit(f"{path} has no list project.dependencies{why}; write one, or publish the project, and write <name>==<version> into {path.stem}.in instead.")


def itself(path: Path, content: dict[str, Any]) -> str:
    """Return the project that a C(pyproject.toml) is of as a requirement; nothing where it is no package, which needs a C([build-system]), as uv has it.

    Raises:
        Unfit: it does not say the project's version.
    """
    fields, tool = content.get("project"), content.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    packaged = uv.get("package", "build-system" in content) if isinstance(uv, dict) else "build-system" in content
    if not packaged or not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
        return ""
    if not isinstance(fields.get("version"), str):
        how = f"write project.version into it, or publish the project, and write {fields['name']}==<version> into {path.stem}.in instead"
        raise Unfit(f"{path} does not say which version of {fields['name']} itself belongs there; {how}.")
    return f"{fields['name']}=={fields['version']}"
