#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what the preflight of the lab needs to know about one host. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_preflight
short_description: Judge hosts, inventory and credentials of a lab before anything is changed
description:
  - Measures one host (memory, cores, free disk, listening ports, system, architecture, Python, clock) and judges it against the given limits.
  - On the first host of the play it also judges the inventory (groups, names of variables and their types) and the credentials.
  - Fails with every problem as one sentence, after all of them were looked for; with C(any_errors_fatal) the other hosts of the play are judged, too.
  - Runs as an action plugin on the control node, which runs a module of the same name on the host.
  - Changes nothing, in check mode or out of it.
author:
  - The mlops.lab authors (@mlops-lab)
version_added: 0.1.0
options:
  limits:
    description: Smallest values a host must have, and the longest clock offset.
    type: dict
    default: {}
    suboptions:
      memory_mb: {description: Main memory in MiB., type: int, default: 0}
      cores: {description: Processors the lab may use., type: int, default: 0}
      disk_gb: {description: Free disk in GiB on a host that has no lab yet., type: int, default: 0}
      disk_running_gb: {description: Free disk in GiB on a host that already has containers of the lab., type: int, default: 0}
      python: {description: Oldest Python of the host., type: str, default: "3.9"}
      clock_seconds: {description: Longest offset between the host's clock and the control node's., type: int, default: 20}
  systems:
    description: Systems that are supported, written C(id version) as in C(/etc/os-release). An empty list allows every system.
    type: list
    elements: str
    default: []
  machines:
    description: Architectures that are supported, as C(uname -m) says them. An empty list allows every one.
    type: list
    elements: str
    default: []
  disk_paths:
    description: Paths whose file systems need the free disk. A path need not exist yet.
    type: list
    elements: str
    default: []
  ports:
    description: Ports that the lab wants to listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      port: {description: The port. What is none is reported., type: raw, required: true}
      what: {description: Who in the lab wants it., type: str, required: true}
      variable: {description: The inventory variable that says the number., type: str, required: true}
      address: {description: The address it will be bound to., type: str, default: 127.0.0.1}
      group: {description: The group whose hosts need the port. Empty means every host., type: str, default: ""}
  projects:
    description: Compose projects of the lab. A port that one of their containers holds is not taken.
    type: list
    elements: str
    default: []
  groups:
    description: Groups the inventory must have, with their smallest and largest number of hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the group., type: str, required: true}
      min: {description: Smallest number of hosts., type: int, default: 1}
      max: {description: Largest number of hosts. 0 means any number., type: int, default: 0}
  credentials:
    description: Names of the variables that hold credentials. Their values are looked at and never shown.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the variable., type: str, required: true}
      kind:
        description: A user name, a password or a Fernet key.
        type: str
        choices: [user, password, fernet]
        default: password
      min_length: {description: Smallest length of a password., type: int, default: 12}
  placeholders:
    description: Values that an example uses and nobody should keep.
    type: list
    elements: str
    default: []
  example_file:
    description: File with example credentials on the control node. A credential that equals its example is reported.
    type: path
    default: ""
  credentials_hint:
    description: What to type to get credentials.
    type: str
    default: ""
  index:
    description: The package index to reach. Nothing is asked when its C(url) is empty.
    type: dict
    default: {}
    suboptions:
      url: {description: Simple index (PEP 503)., type: str, default: ""}
      variable: {description: The inventory variable that says the URL., type: str, default: lab_index_url}
      user_variable: {description: Name of the variable with the user., type: str, default: ""}
      password_variable: {description: Name of the variable with the password., type: str, default: ""}
      package: {description: A package every index knows. Its page is asked for and never the index's root., type: str, default: pip}
      ca_file: {description: PEM file on the control node with an extra authority., type: path, default: ""}
      ca_variable: {description: The inventory variable that says the PEM file., type: str, default: lab_ca_bundle}
      group: {description: The group whose hosts must reach the index., type: str, default: lab_builder}
  address_variable:
    description: The inventory variable that says the address of the ports.
    type: str
    default: lab_bind_address
  experiment:
    description: The experiment of the first model. Nothing is looked for without a directory.
    type: dict
    default: {}
    suboptions:
      name: {description: Name of the experiment., type: str, default: ""}
      variable: {description: The inventory variable that says the name., type: str, default: ""}
      directory: {description: Directory of the experiment files on the control node., type: path, default: ""}
  requirements:
    description:
      - Names of the variables with requirements, which are judged as module M(mlops.lab.read_requirements) does.
      - Of an index that answers it is asked, too, whether it has the packages.
    type: dict
    default: {}
    suboptions:
      project: {description: Variables with what the project's environment holds., type: list, elements: str, default: []}
      airflow: {description: Variables with what Airflow's environment holds., type: list, elements: str, default: []}
      own: {description: Variables with what the lab itself needs., type: list, elements: str, default: []}
      allowed: {description: Variable with the addresses that packages may come from., type: str, default: ""}
      published: {description: Variable with the directories of projects that the lab uploads later., type: str, default: ""}
  values_only:
    description: Look only whether Ansible can read the values of the inventory, and measure nothing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge hosts, inventory and credentials
  mlops.lab.lab_preflight:
    limits: {memory_mb: 3800, cores: 2, disk_gb: 10}
    disk_paths: [/var/lib/docker]
    ports:
      - {port: 8080, what: Airflow, variable: lab_airflow_port, group: lab_control}
"""

RETURN = r"""
found:
  description: What was measured on the host.
  returned: success
  type: dict
"""

import base64
import ipaddress
import os
import platform
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, docker

PROJECT_LABEL = "com.docker.compose.project"
LISTEN = "0A"


def memory_mb(meminfo: str, limit_bytes: int | None) -> int:
    """Return the memory in MiB that the host has: MemTotal, or the limit of its control group where that is smaller."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    total = int(match.group(1)) // 1024 if match else 0
    return min(total, limit_bytes // (1024 * 1024)) if limit_bytes else total


def cgroup_limit() -> int | None:
    """Return the memory limit in bytes at the root of the visible control groups, None where there is none."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def os_release(text: str) -> dict[str, str]:
    """Return ``id``, ``version`` and ``name`` from the text of ``/etc/os-release``."""
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    values = {key: value.strip().strip("\"'") for key, value in pairs.items()}
    return {
        "id": values.get("ID", "unknown"),
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", values.get("NAME", "unknown")),
    }


def address_of(hexadecimal: str) -> str:
    """Return the address that ``/proc/net/tcp`` writes as 32-bit words in the host's byte order."""
    words = [hexadecimal[i : i + 8] for i in range(0, len(hexadecimal), 8)]
    raw = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def listeners(table: str) -> list[dict[str, Any]]:
    """Return ``address``, ``port`` and ``inode`` of every listening socket in the text of ``/proc/net/tcp`` or ``tcp6``."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTEN:
            continue
        address, port = fields[1].split(":")
        found.append({"address": address_of(address), "port": int(port, 16), "inode": fields[9]})
    return found


def owners(inodes: set[str]) -> dict[str, str]:
    """Return the process (``name, pid``) that holds each socket. Another user's processes stay unknown without root."""
    found: dict[str, str] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                target = os.readlink(descriptor.path)
                inode = target[8:-1] if target.startswith("socket:[") else ""
                if inode in inodes and inode not in found:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                        found[inode] = f"{file.read().strip()}, pid {pid}"
        except OSError:
            continue
        if len(found) == len(inodes):
            break
    return found


def containers(text: str) -> list[dict[str, Any]]:
    """Return ``project``, ``name``, ``state`` and published ``ports`` from lines of ``docker ps`` (tab-separated)."""
    found = []
    for line in text.splitlines():
        project, name, state, ports = [*line.split("\t"), "", "", ""][:4]
        published = []
        for address, first, last in re.findall(r"([^\s,]+):(\d+)(?:-(\d+))?->", ports):
            published += [{"address": address.strip("[]"), "port": port} for port in range(int(first), int(last or first) + 1)]
        found.append({"project": project, "name": name, "state": state, "ports": published})
    return found


def docker_containers() -> list[dict[str, Any]]:
    """Return the containers of this host, none where no engine answers."""
    columns = '{{.Label "' + PROJECT_LABEL + '"}}\t{{.Names}}\t{{.State}}\t{{.Ports}}'
    try:
        done = docker("ps", "--all", "--format", columns, timeout=5)
    except Unreachable:
        return []
    return containers(done.stdout) if done.returncode == 0 else []


def disk(path: str) -> dict[str, Any]:
    """Return the free GiB of the file system that holds the path, or will hold it once it exists."""
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    status = os.statvfs(existing)
    return {"path": path, "device": os.stat(existing).st_dev, "free_gb": round(status.f_bavail * status.f_frsize / 2**30, 1)}


def taken_ports(wanted: set[int], present: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return who listens on the wanted ports: ``port``, ``address``, ``owner`` and, for a container, its ``project``."""
    found: list[dict[str, Any]] = []
    for container in present:
        for entry in container["ports"]:
            if entry["port"] in wanted:
                found.append({**entry, "owner": f"container {container['name']}", "project": container["project"]})
    known = {(entry["address"], entry["port"]) for entry in found}
    sockets: list[dict[str, Any]] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table, encoding="ascii") as file:
                sockets += [s for s in listeners(file.read()) if s["port"] in wanted and (s["address"], s["port"]) not in known]
    names = owners({s["inode"] for s in sockets}) if sockets else {}
    for entry in sockets:
        owner = names.get(entry["inode"], "a process that cannot be named without root")
        found.append({"address": entry["address"], "port": entry["port"], "owner": owner, "project": ""})
    return found


def foreign_addresses(addresses: list[str]) -> list[str]:
    """Return the addresses that nothing can listen on here."""
    found = []
    for address in addresses:
        with socket.socket() as one:
            try:
                one.bind((address, 0))
            except OSError:
                found.append(address)
    return found


def probe_index(url: str, package: str, user: str, password: str, ca_text: str) -> str:
    """Ask the index for one package's page and return what is wrong with the answer, "" when nothing is.

    Only the headers are waited for, and the credentials go to this URL alone, never to where it redirects.
    """
    page = f"{url.rstrip('/')}/{package}/"
    request = urllib.request.Request(page, headers={"Accept": "text/html", "User-Agent": "mlops.lab"})
    if user:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    context = ssl.create_default_context()
    try:
        if ca_text:
            context.load_verify_locations(cadata=ca_text)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is known about this host."""
    present = docker_containers()
    own = set(params["projects"])
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = memory_mb(file.read(), cgroup_limit())
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            system = os_release(file.read())
    except OSError:
        system = os_release("")
    problem, missing = "", []
    if params["index_url"]:
        account = (params["index_user"], params["index_password"], params["index_ca_text"])
        problem = probe_index(params["index_url"], params["index_package"], *account)
        if not problem:  # one page for each package, never the list of all
            with ThreadPoolExecutor(8) as pool:
                answers = pool.map(lambda name: (name, probe_index(params["index_url"], name, *account)), params["index_packages"])
                missing = [name for name, answer in answers if answer == "HTTP 404"]
    return {
        "memory_mb": memory,
        "cores": len(os.sched_getaffinity(0)),
        "python": list(sys.version_info[:3]),
        "system": system,
        "machine": platform.machine(),
        "disks": [disk(path) for path in params["disk_paths"]],
        "ports": taken_ports(set(params["ports"]), present),
        "lab_present": any(c["project"] in own for c in present),
        "foreign_addresses": foreign_addresses(params["addresses"]),
        "index_problem": problem,
        "index_missing": missing,
        "now": time.time(),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "disk_paths": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "projects": {"type": "list", "elements": "str", "default": []},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "index_packages": {"type": "list", "elements": "str", "default": []},
            "index_url": {"type": "str", "default": ""},
            "index_package": {"type": "str", "default": "pip"},
            "index_user": {"type": "str", "default": ""},
            "index_password": {"type": "str", "default": "", "no_log": True},
            "index_ca_text": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    found = measure(module.params)
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
