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
  - Looks at the lab's containers, at the free space of file systems, at the host's certificate, and at what Airflow has to do. Changes nothing.
  - A service that belongs on the host and does not run is a problem, however it ended, and if it was never there.
  - What is not well is a result in RV(problems), not a failure of the module.
options:
  projects:
    description: Compose projects of the lab.
    type: list
    elements: str
    required: true
  systems:
    description:
      - The lab's systems by name, of which the services that belong on the host are expected to run.
      - Of each C(own) (whether the lab runs it), C(project), C(hosts) (groups), C(services), and where there are any C(once) (services that run to their
        end) and C(worker_services) (those that hosts of V(lab_workers) have, and others have not). More keys are not looked at.
    type: dict
    default: {}
  groups:
    description: Groups of the inventory that the host is in.
    type: list
    elements: str
    default: []
  paths:
    description: Directories whose file systems are looked at.
    type: list
    elements: str
    default: []
  full:
    description: Percentage of a file system from which it counts as a problem.
    type: int
    default: 90
  certificates:
    description: Directory with the host's C(host.key) and C(host.pem), and the authority's C(ca.pem); empty where there is none.
    type: str
    default: ""
  address:
    description: Address that the certificate has to be for.
    type: str
    default: ""
  renew_days:
    description: Days before the certificate's end from which it is a problem.
    type: int
    default: 30
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
      start: {description: Starts the lab and renews certificates., type: str, default: ""}
      engine: {description: Starts the Docker engine., type: str, default: ""}
      logs: {description: Shows the log of the service whose name is appended., type: str, default: ""}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Look at the lab
  mlops.lab.lab_status:
    projects: [mlops-lab-mlflow, mlops-lab-airflow]
    systems: {mlflow: {own: true, project: mlops-lab-mlflow, hosts: [lab_control], services: [postgres, mlflow]}}
    groups: "{{ group_names }}"
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
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import COMPONENTS, Airflow, Refused, containers, project_of, service_of
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Failed, counted
from ansible_collections.mlops.lab.plugins.module_utils.lab_machine import certificate_end

WORKERS = "lab_workers"


def spoken(duration: timedelta) -> str:
    """Return a time in the largest unit that fits: 3 days, 2 hours, 5 minutes."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            return counted(seconds // unit, name)
    return counted(seconds, "second")


def expected(systems: dict[str, dict[str, Any]], groups: list[str]) -> list[tuple[str, str]]:
    """Return project and service of all that is to run on a host.

    Args:
        systems: the lab's systems, as the option of that name describes them.
        groups: groups of the inventory that the host is in.
    """
    found = []
    for system in systems.values():
        here, of_workers = set(system["hosts"]) & set(groups), set(system.get("worker_services", []))
        if not system["own"] or not here:
            continue
        for service in system["services"]:
            place = {WORKERS} if service in of_workers else set(system["hosts"]) - {WORKERS} if of_workers else here
            if service not in system.get("once", []) and place & here:
                found.append((system["project"], service))
    return found


def ended(state: dict[str, Any], now: datetime) -> str:
    """Return how a container that does not run came to its end, and when."""
    words = "stopped" if state["Status"] == "exited" and state["ExitCode"] == 0 else f"{state['Status']} with code {state['ExitCode']}"
    at = str(state.get("FinishedAt") or "")
    if not at or at.startswith("0001-"):  # it never ran
        return words
    return f"{words} {spoken(now - datetime.fromisoformat(at[:19]).replace(tzinfo=UTC))} ago"


def container_lines(found: list[dict[str, Any]], wanted: list[tuple[str, str]], now: datetime, commands: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return a line for each container and each service without one, and a sentence for each that is not well.

    One that is not wanted and ran to its end without an error has done its work.

    Args:
        found: the containers, as Docker describes them.
        wanted: project and service of all that is to run.
        now: the time.
        commands: what a user types, as the option of that name describes it.
    """
    lines, problems, off = [], [], []
    for container in sorted(found, key=lambda one: str(one["Name"])):
        state, name, service = container["State"], str(container["Name"]).lstrip("/"), service_of(container)
        clean = state["Status"] == "exited" and state["ExitCode"] == 0
        if clean and (project_of(container), service) not in wanted:
            continue
        health = (state.get("Health") or {}).get("Status", "") if state["Status"] == "running" else ""
        since = datetime.fromisoformat(state["StartedAt"][:19]).replace(tzinfo=UTC)
        words = f"running for {spoken(now - since)}" if state["Status"] == "running" else ended(state, now)
        restarts = f", restarted {counted(container['RestartCount'], 'time')}" if container.get("RestartCount") else ""
        lines.append(f"{name:<40} {health or '-':<10} {words}{restarts}")
        if clean:
            off.append(f"{name} is stopped{starts(commands['start'])}")
        elif state["Status"] != "running" or health not in ("", "healthy", "starting"):
            log = f": {commands['logs']}{service}" if commands["logs"] else "."
            problems.append(f"{name} is {health or state['Status']}{log}")
    present = {(project_of(container), service_of(container)) for container in found}
    for project, service in wanted:
        if (project, service) not in present:
            lines.append(f"{f'{project}-{service}':<40} {'-':<10} missing")
            off.append(f"Service {service} of {project} is missing{starts(commands['start'])}")
    if off and not problems and all(container["State"]["Status"] == "exited" for container in found):
        return lines, [f"Nothing of the lab runs here{starts(commands['start'])}"]
    return lines, problems + off


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


def certificate_lines(directory: str, address: str, renew_days: int, start: str) -> tuple[list[str], list[str]]:
    """Return a line about the host's certificate, and a sentence if it is not accepted or ends within so many days."""
    name = "certificate of " + address
    try:
        end = certificate_end(directory, address)
    except Failed as error:
        return [f"{name:<40} not valid"], [f"The certificate is not valid: {error}{starts(start, 'makes another')}"]
    days = int((end - time.time()) // 86400)
    line = f"{name:<40} until {time.strftime('%Y-%m-%d', time.gmtime(end))}, {counted(days, 'day')}"
    return [line], [f"The certificate of {address} ends in {counted(days, 'day')}{starts(start, 'makes another')}"] if days < renew_days else []


def starts(command: str, does: str = "starts it") -> str:
    """Return the end of a sentence about what does not run, or about something else that a command mends."""
    return f": `{command}` {does}." if command else "."


def look(params: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Look at everything; returns the lines to show, and what is not well."""
    found, start = containers(params["projects"]), params["commands"]["start"]
    wanted = expected(params["systems"], params["groups"])
    if not found and (wanted or not params["systems"]):
        return [], ["Nothing of the lab runs here" + starts(start)]
    parts = [container_lines(found, wanted, datetime.now(UTC), params["commands"]), disk_lines(params["paths"], params["full"])]
    if params["certificates"]:
        parts.append(certificate_lines(params["certificates"], params["address"], params["renew_days"], start))
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
            "systems": {"type": "dict", "default": {}},
            "groups": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "str", "default": []},
            "full": {"type": "int", "default": 90},
            "certificates": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "renew_days": {"type": "int", "default": 30},
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
