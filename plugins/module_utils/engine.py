# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where modules ask the Docker engine of their host anything."""

from __future__ import annotations

import os
import shutil
import subprocess

#: where programs are that a login without a complete PATH does not find
MORE_PLACES = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin")


class Unreachable(Exception):
    """Something does not answer; the message says what, and why."""


def program(name: str) -> str | None:
    """Return the path of a program of this host, None where there is none."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *MORE_PLACES]))


def docker(*arguments: str, stdin: str | None = None, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run the Docker client of this host; `timeout` is in seconds.

    Raises:
        Unreachable: there is no client, or it took longer than the timeout.
    """
    client = program("docker")
    if not client:
        raise Unreachable("there is no docker client on this host")
    try:
        return subprocess.run([client, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"docker {arguments[0]} did not finish within {timeout:.0f} s") from None


def server_version(timeout: float = 30) -> str:
    """Return the version of the engine that answers.

    ``docker info`` is no question to the engine: the client 26.1.5 of Debian 13 ends it with 0 while no daemon answers, and prints an empty
    version. ``docker version`` ends with 1 in every client, and has no server version then.

    Raises:
        Unreachable: no engine answers; the message says why in the client's own words.
    """
    answer = docker("version", "--format", "{{.Server.Version}}", timeout=timeout)
    version = answer.stdout.strip()
    if answer.returncode or not version:
        said = answer.stderr.strip().splitlines() or ["docker version names no server"]
        raise Unreachable(said[-1])
    return version
