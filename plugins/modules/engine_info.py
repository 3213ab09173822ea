#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the Docker engine of a host whether it answers, and which versions are there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_info
short_description: Ask whether the Docker engine of a host answers
version_added: 0.1.0
description:
  - Asks the engine for its version, which no client answers by itself. C(docker info) of some clients ends well while no daemon answers.
  - Needs no Python library on the host. An engine that is missing or does not answer is a result, not a failure, unless O(required=true).
options:
  required:
    description: Whether an engine that does not answer is a failure, with a sentence that names host and reason.
    type: bool
    default: false
  wait:
    description: Seconds to wait for an answer, for a daemon that has just been started.
    type: int
    default: 0
  versions:
    description: Whether to look for the versions of what is installed, too.
    type: bool
    default: false
  files:
    description: Files of the engine to look at, too. A task of its own for each would take as long as this one.
    type: list
    elements: path
    default: []
attributes:
  check_mode: {support: full, description: Changes nothing in any mode.}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Wait until the engine answers
  mlops.lab.engine_info:
    wait: 30
    required: true
"""

RETURN = r"""
state:
  description: C(answers), C(stopped) (it is installed and does not answer) or C(missing).
  returned: always
  type: str
server:
  description: Version of the daemon that answers, else empty.
  returned: always
  type: str
reason:
  description: Why it does not answer, in the client's own words.
  returned: always
  type: str
installed:
  description: Versions of C(engine), C(compose) and C(buildx), those that are there.
  returned: with O(versions=true)
  type: dict
systemd:
  description: Whether systemd runs the host's services.
  returned: always
  type: bool
enabled:
  description: Whether systemd starts the service when the host starts.
  returned: always
  type: bool
files:
  description: Those of O(files) that are there, each with its C(sha256), C(owner) (C(root:root)) and C(mode) (C(0644)).
  returned: always
  type: dict
"""

import grp
import hashlib
import pwd
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, docker, program, server_version


def asked(wait: float) -> tuple[str, str]:
    """Return the version of the daemon and "", or "" and why it does not answer within `wait` seconds."""
    until = time.monotonic() + wait
    while True:
        try:
            return server_version(), ""
        except Unreachable as error:
            if time.monotonic() >= until or not program("docker"):
                return "", str(error)
        time.sleep(0.5)


def version_in(text: str) -> str:
    """Return the first version number in a text, "" where there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else ""


def daemon_version() -> str:
    """Return the version of the daemon's program, which it says even while it is stopped; "" where there is none."""
    daemon = program("dockerd")
    return version_in(subprocess.run([daemon, "--version"], capture_output=True, text=True, check=False).stdout) if daemon else ""


def plugin_version(*words: str) -> str:
    """Return the version that a plugin of the client says, "" where it is not there: an unknown one is an error of the client."""
    try:
        done = docker(*words)
    except Unreachable:
        return ""
    return version_in(done.stdout) if done.returncode == 0 else ""


def installed() -> dict[str, str]:
    """Return the versions of what is installed, all asked at once."""
    with ThreadPoolExecutor() as threads:
        asked = {
            "engine": threads.submit(daemon_version),
            "compose": threads.submit(plugin_version, "compose", "version", "--short"),
            "buildx": threads.submit(plugin_version, "buildx", "version"),
        }
    return {name: answer.result() for name, answer in asked.items() if answer.result()}


def seen(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return path -> SHA-256, owner and mode of the files that are there."""
    found = {}
    for path in map(Path, paths):
        if path.is_file():
            status = path.stat()
            found[str(path)] = {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "owner": f"{name_of(pwd.getpwuid, status.st_uid)}:{name_of(grp.getgrgid, status.st_gid)}",
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            }
    return found


def name_of(find: Callable[[int], Any], number: int) -> str:
    """Return the name of a user or a group, or the number of one that has none."""
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "required": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 0},
            "versions": {"type": "bool", "default": False},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    server, reason = asked(module.params["wait"])
    there = program("docker") and (server or program("dockerd"))
    result = {"changed": False, "server": server, "reason": reason, "state": "answers" if server else "stopped" if there else "missing"}
    result["systemd"] = Path("/run/systemd/system").is_dir()  # as sd_booted(3) does
    result["enabled"] = any(Path("/etc/systemd/system").glob("*.wants/docker.service"))
    result["files"] = seen(module.params["files"])
    if module.params["versions"]:
        result["installed"] = installed()
    if module.params["required"] and not server:
        module.fail_json(msg=f"The Docker engine does not answer ({reason})", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
