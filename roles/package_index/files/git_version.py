# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""The version of a project by the tags of its git repository. Needs git, and packaging beside the standard library.

The version is that of the tag on the commit: ``1.2.3``, ``v1.2.3``, ``<name>-1.2.3`` or ``<name>-v1.2.3``. Anything else is a development version
(PEP 440) of the next release with a time in it, so that it is one of a kind and later ones are higher.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


class NoVersionError(Exception):
    """A project that git gives no version; the text is one sentence for the operator."""


def git(project: Path, *arguments: str) -> str:
    """Return what git says.

    Raises:
        NoVersionError: it fails, or is not there.
    """
    try:
        done = subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoVersionError(f"git {arguments[0]} cannot be run in {project}: {error}") from None
    if done.returncode:
        raise NoVersionError(f"git {arguments[0]} fails in {project}: {done.stderr.strip()}")
    return done.stdout.strip()


def version_in(tag: str, name: str) -> Version | None:
    """Return the version that a tag names for a project, or None."""
    prefix = rf"(?:{re.sub('-', '[-_.]+', canonicalize_name(name))}[-/])?v?"
    found = re.fullmatch(prefix + r"(\d.*)", tag, re.I)
    try:
        return Version(found[1]) if found else None
    except InvalidVersion:
        return None


def versions(project: Path, name: str, *which: str) -> list[Version]:
    """Return the versions that the tags of a repository name for a project, the highest last."""
    return sorted(version for tag in git(project, "tag", *which).splitlines() if (version := version_in(tag, name)))


def version_of(project: Path, name: str, written: str = "", tag: str = "", changed: float | None = None) -> Version:
    """Return the version of what is checked out.

    Args:
        project: directory in a git repository with a commit.
        name: of the project, which its tags may begin with.
        written: version in the project's own file, from which development versions begin where no tag is higher.
        tag: the one that is built, where that is known already.
        changed: time of the last change (seconds since 1970) of files that are not committed; None when there is none.

    Raises:
        NoVersionError: there is no repository or no commit, or the tag gives none that an index takes.
    """
    if tag and not version_in(tag, name):
        raise NoVersionError(f"The tag {tag} names no version of {name}: write it as in v1.2.3 or {canonicalize_name(name)}-1.2.3 (PEP 440).")
    here = [version] if tag and (version := version_in(tag, name)) else versions(project, name, "--points-at", "HEAD")
    if here and changed is None:
        if here[-1].local:
            raise NoVersionError(f"The tag on this commit gives {name} {here[-1]}, a local version that no index should take: leave out what follows the +.")
        return here[-1]
    before = [version for version in versions(project, name, "--merged", "HEAD") if not version.is_devrelease]
    following = Version(written or "0.0.1")
    if before and following.release <= before[-1].release:
        last = before[-1]
        following = Version(f"{last.major}.{last.minor}.{last.micro + (not last.is_prerelease)}")
    moment = int(git(project, "log", "-1", "--format=%ct")) if changed is None else changed
    return Version(f"{following.base_version}.dev{time.strftime('%Y%m%d%H%M%S', time.gmtime(moment))}")
