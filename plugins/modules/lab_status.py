#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what of a lab runs on a host, and whether it is well."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_status
short_description: Say what of a lab runs, since when, and whether it is well
version_added: 0.2.0
description:
  - Looks at the lab's containers, at the free space of file systems, and at what Airflow has to do. Changes nothing.
  - What is not well is a result in RV(problems), not a failure of the module.
options:
  projects:
    description: Compose projects of the lab.
    type: list
    elements: str
    required: true
  paths:
    description: Directories whose file systems are looked at.
    type: list
    elements: str
    default: []
  full:
    description: Percentage of a file system from which it counts as a problem.
    type: int
    default: 90
  airflow_url:
    description: Address of Airflow, as the host reaches it; empty where Airflow is not asked.
    type: str
    default: ""
  airflow_user:
    description: User of Airflow.
    type: str
    default: ""
  airflow_password:
    description: The user's password.
    type: str
    default: ""
  commands:
    description: What a user types, for messages; one that is empty is not named.
    type: dict
    default: {}
    suboptions:
      start: {description: Starts the lab., type: str, default: ""}
      engine: {description: Starts the Docker engine., type: str, default: ""}
      logs: {description: Shows the log of the service whose name is appended., type: str, default: ""}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Look at the lab
  mlops.lab.lab_status:
    projects: [mlops-lab-mlflow, mlops-lab-airflow]
    paths: [/var/lib/docker]
  register: __status
"""

RETURN = r"""
lines:
  description: What was found, to be shown to a person.
  returned: always
  type: list
  elements: str
problems:
  description: What is not well, one sentence each; empty when all is.
  returned: always
  type: list
  elements: str
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import COMPONENTS, Airflow, Refused, containers, service_of
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import counted


def spoken(duration: timedelta) -> str:
    """Return a time in the largest unit that fits: 3 days, 2 hours, 5 minutes."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            return counted(seconds // unit, name)
    return counted(seconds, "second")


def container_lines(found: list[dict[str, Any]], now: datetime, logs: str) -> tuple[list[str], list[str]]:
    """Return a line for each container, and a sentence for each that is not well. One that ran to its end without an error has done its work.

    Args:
        found: the containers, as Docker describes them.
        now: the time.
        logs: what shows the log of the service whose name is appended; empty for nothing.
    """
    lines, problems = [], []
    for container in sorted(found, key=lambda one: str(one["Name"])):
        state, name = container["State"], str(container["Name"]).lstrip("/")
        if state["Status"] == "exited" and state["ExitCode"] == 0:
            continue
        health = (state.get("Health") or {}).get("Status", "")
        since = datetime.fromisoformat(state["StartedAt"][:19]).replace(tzinfo=UTC)
        words = f"{state['Status']} for {spoken(now - since)}" if state["Status"] == "running" else f"{state['Status']} with code {state['ExitCode']}"
        restarts = f", restarted {counted(container['RestartCount'], 'time')}" if container.get("RestartCount") else ""
        lines.append(f"{name:<40} {health or '-':<10} {words}{restarts}")
        if state["Status"] != "running" or health not in ("", "healthy", "starting"):
            log = f": {logs}{service_of(container)}" if logs else "."
            problems.append(f"{name} is {health if state['Status'] == 'running' else state['Status']}{log}")
    return lines, problems


def disk_lines(paths: list[str], full: int) -> tuple[list[str], list[str]]:
    """Return a line for each file system that the directories are on, and a sentence for each that is nearly full."""
    lines, problems, seen = [], [], set()
    for path in filter(os.path.exists, paths):
        device = os.stat(path).st_dev
        if device in seen:
            continue
        seen.add(device)
        system = os.statvfs(path)
        used = round(100 * (1 - system.f_bavail / (system.f_blocks or 1)))
        lines.append(f"{'disk of ' + path:<40} {system.f_bavail * system.f_frsize / 2**30:.1f} GiB free, {used} % used")
        if used >= full:
            problems.append(f"The disk of {path} is {used} % full: `docker system df` says what uses it.")
    return lines, problems


def airflow_lines(airflow: Airflow) -> tuple[list[str], list[str]]:
    """Return what Airflow's components say and what is waiting in its pools, and a sentence for each component that is not well."""
    health = airflow.ask("/monitor/health").body
    states = {name: str((health.get(name) or {}).get("status") or "missing") for name in COMPONENTS}
    problems = [f"Airflow's {name} is {state}." for name, state in states.items() if state != "healthy"]
    lines = []
    for pool in airflow.ask("/pools").body["pools"]:
        waiting = pool["queued_slots"] + pool["scheduled_slots"]
        lines.append(f"{'airflow: ' + pool['name']:<40} {pool['running_slots']} running, {waiting} waiting, {pool['slots']} at most")
    return lines, problems


def starts(command: str) -> str:
    """Return the end of a sentence about what does not run."""
    return f": `{command}` starts it." if command else "."


def look(params: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Look at everything; returns the lines to show, and what is not well."""
    found = containers(params["projects"])
    if not found:
        return [], ["Nothing of the lab runs here" + starts(params["commands"]["start"])]
    parts = [container_lines(found, datetime.now(UTC), params["commands"]["logs"]), disk_lines(params["paths"], params["full"])]
    if params["airflow_url"]:
        try:
            parts.append(airflow_lines(Airflow(params["airflow_url"], params["airflow_user"], params["airflow_password"])))
        except (Unreachable, Refused) as error:
            parts.append(([], [f"{error}."]))
    return [line for lines, _problems in parts for line in lines], [problem for _lines, problems in parts for problem in problems]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "list", "elements": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "default": []},
            "full": {"type": "int", "default": 90},
            "airflow_url": {"type": "str", "default": ""},
            "airflow_user": {"type": "str", "default": ""},
            "airflow_password": {"type": "str", "default": "", "no_log": True},
            "commands": {
                "type": "dict",
                "default": {},
                "options": {name: {"type": "str", "default": ""} for name in ("start", "engine", "logs")},
            },
        },
        supports_check_mode=True,
    )
    try:
        lines, problems = look(module.params)
    except Unreachable as error:
        lines, problems = [], [f"The Docker engine does not answer ({error})" + starts(module.params["commands"]["engine"])]
    module.exit_json(changed=False, lines=lines, problems=problems)


if __name__ == "__main__":
    main()
