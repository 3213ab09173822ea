# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which environments ask for another version of a package than the one that was published."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.mlops.lab.plugins.plugin_utils import environment_files

try:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version
except ImportError:  # nowhere but in ansible-test's import test: ansible-core needs it
    pass

DOCUMENTATION = r"""
name: other_versions
short_description: Which environments ask for another version of a package than the one that was published
version_added: 0.2.0
description:
  - Compares wheels with the files of a lab's folder C(environments), and with the locks there.
  - A file of requirements that admits the version is told only where its lock has another one.
options:
  _input:
    description: The wheels, each a dictionary with C(name) and C(version).
    type: list
    elements: dict
    required: true
  folder:
    description: The folder with the files of requirements.
    type: path
    required: true
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Say which environments ask for another version
  ansible.builtin.debug:
    msg: "{{ [{'name': 'churn', 'version': '0.2.0'}] | mlops.lab.other_versions(folder=inventory_dir ~ '/environments') }}"
"""

RETURN = r"""
_value:
  description: A sentence for each environment, with what to write there.
  type: list
  elements: str
"""


def other_versions(wheels: Sequence[Mapping[str, Any]], folder: str) -> list[str]:
    """Return a sentence for each environment in a folder that asks for, or has locked, another version than that of one of the wheels."""
    published: dict[str, Version] = {canonicalize_name(wheel["name"]): Version(wheel["version"]) for wheel in wheels}
    found = list[str]()
    for name, paths in environment_files.files_of(Path(folder)).items():
        lock = Path(folder) / f"{name}.lock"
        locked = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
        try:
            texts = environment_files.texts_of(paths[0])
            asked = [entry.requirement for entry in environment_files.entries_of(name, paths)]
        except environment_files.Unfit:  # which the next lock says
            continue
        if paths[0].is_dir():
            found += _of_a_project(paths[0], texts, locked, published)
        else:
            found += _of_requirements(paths[0], texts, asked, locked, published)
    return found


def _of_requirements(path: Path, texts: Mapping[str, str], asked: list[Requirement], locked: str, published: dict[str, Version]) -> Iterator[str]:
    own = environment_files.itself(path, tomllib.loads(texts[path.name])) if path.suffix == ".toml" else ""
    for requirement in asked:
        version = published.get(canonicalize_name(requirement.name))
        if version is None or requirement.url:
            continue
        has = _locked(locked, requirement.name)
        admitted = requirement.specifier.contains(version, prereleases=True)
        if admitted and has in (None, version):
            continue
        words = f"asks for {requirement}" if requirement.specifier else f"asks for {requirement} without a version"
        wanted = Requirement(str(requirement))
        wanted.specifier = SpecifierSet(f"=={version}")
        more = f", and its lock has {has}" if admitted else ""
        place = f"{path.parent.name}/{path.name}"
        remedy = "copy the project's pyproject.toml there" if str(requirement) == own else f"write {wanted} there"
        yield f"{requirement.name} {version} is in the index; {place} {words}{more}: {remedy} to use it."


def _of_a_project(path: Path, texts: Mapping[str, str], locked: str, published: dict[str, Version]) -> Iterator[str]:
    try:
        project = tomllib.loads(texts["pyproject.toml"])["project"]
        name = str(project["name"])
        has = Version(project["version"]) if "version" in project else _locked(locked, name)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, InvalidVersion):  # which the next lock says
        return
    version = published.get(canonicalize_name(name))
    if version and has and has != version:
        place = f"{path.parent.name}/{path.name}"
        yield f"{name} {version} is in the index; {place} is of {name} {has}: copy the project's pyproject.toml and uv.lock there to use it."


def _locked(lock: str, name: str) -> Version | None:
    found = re.search(rf"^{re.escape(canonicalize_name(name))}==([^\s;\\]+)", lock, re.MULTILINE)
    try:
        return Version(found[1]) if found else None
    except InvalidVersion:
        return None


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by their names."""
        return {"other_versions": other_versions}
