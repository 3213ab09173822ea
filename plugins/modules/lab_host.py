#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what the preflight of the lab needs to know about one host. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_host
short_description: Measure what the preflight of a lab needs to know about one host
version_added: 0.1.0
description:
  - Measures memory, cores, free disk, listening ports, system, architecture, Python and clock, and asks the package index for one package's page.
  - M(mlops.lab.lab_preflight) runs it on every host and judges what it returns.
  - Changes nothing, in check mode or out of it.
options:
  disk_paths:
    description: Paths whose file systems are measured. A path need not exist yet.
    type: list
    elements: str
    default: []
  ports:
    description: Ports of which it is told who listens there.
    type: list
    elements: int
    default: []
  addresses:
    description: Addresses of which it is told whether something can listen on them here.
    type: list
    elements: str
    default: []
  peers:
    description: Addresses of which it is told from which one of its own this host reaches them.
    type: list
    elements: str
    default: []
  projects:
    description: Compose projects of the lab, to tell whether the host has a lab already.
    type: list
    elements: str
    default: []
  index_url:
    description: Simple index (PEP 503) to reach; empty for none.
    type: str
    default: ""
  index_package:
    description: The package whose page is asked for, never the index's root.
    type: str
    default: pip
  index_packages:
    description: Packages of which it is told whether the index has them. Each one's page is asked for.
    type: list
    elements: str
    default: []
  index_user:
    description: User of the index; empty for none.
    type: str
    default: ""
  index_password:
    description: The user's password.
    type: str
    default: ""
  index_ca_text:
    description: Certificates in PEM of an extra authority that may have signed the index's certificate.
    type: str
    default: ""
  directories:
    description: Directories that have to be there already, mounts for example.
    type: list
    elements: str
    default: []
  kept:
    description:
      - Credentials that data on the host was made with, each with C(name), the C(file) that holds its value since then, the C(volume) with the data, and the
        C(digest) of the value that is wanted now, which is SHA-256 of O(salt) and value.
    type: list
    elements: dict
    default: []
  salt:
    description: What the digests begin with.
    type: str
    default: ""
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Measure the host
  mlops.lab.lab_host:
    disk_paths: [/var/lib/docker]
    ports: [8080]
  register: __host
"""

RETURN = r"""
found:
  description: What was measured.
  returned: always
  type: dict
"""

import hashlib
import ipaddress
import os
import platform
import re
import socket
import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, docker
from ansible_collections.mlops.lab.plugins.module_utils.lab_machine import disk
from ansible_collections.mlops.lab.plugins.module_utils.package_index import Answer, ask

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


def sources(peers: list[str]) -> dict[str, str]:
    """Return by which of its own addresses this host reaches each peer, "" where there is no road. Sends nothing."""
    found = {}
    for peer in peers:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            try:
                one.connect((peer, 9))  # any port: nothing is sent there
                found[peer] = one.getsockname()[0]
            except OSError:
                found[peer] = ""
    return found


def kept_otherwise(kept: list[dict[str, str]], salt: str) -> list[str]:
    """Return the names of the credentials whose data is here and was made with another value. Needs root to read their files."""
    found = []
    for entry in kept:
        try:
            with open(entry["file"], encoding="utf-8") as file:
                value = file.read().strip()
            there = docker("volume", "inspect", entry["volume"], timeout=5).returncode == 0
        except (OSError, Unreachable):
            continue
        if there and hashlib.sha256((salt + value).encode()).hexdigest() != entry["digest"]:
            found.append(entry["name"])
    return found


def ask_index(url: str, package: str, more: list[str], user: str, password: str, ca_text: str) -> tuple[dict[str, Any], list[str]]:
    """Ask the index for one package's page, and where it answers for those of more, never for the list of all.

    Returns:
        ``status`` and ``reason`` of the first answer, and those of more that it has not.
    """

    def answers(names: list[str]) -> list[Answer]:
        return ask([f"{url.rstrip('/')}/{name}/" for name in names], user, password, ca_text=ca_text, timeout=10, read=False)

    (first,) = answers([package])
    found = zip(more, answers(more) if first.status == 200 else [])  # noqa: B905 (a host's Python may be older than 3.10, which is to be said)
    return {"status": first.status, "reason": first.reason}, [name for name, answer in found if answer.status == 404]


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
    index: dict[str, Any] | None = None
    missing: list[str] = []
    if params["index_url"]:
        asked = ("index_url", "index_package", "index_packages", "index_user", "index_password", "index_ca_text")
        index, missing = ask_index(*(params[name] for name in asked))
    return {
        "memory_mb": memory,
        "cores": len(os.sched_getaffinity(0)),
        "python": list(sys.version_info[:3]),
        "system": system,
        "machine": platform.machine(),
        "disks": [disk(path) for path in params["disk_paths"]],
        "ports": taken_ports(set(params["ports"]), present),
        "lab_present": any(c["project"] in own for c in present),
        "lab_projects": sorted(own & {c["project"] for c in present}),
        "foreign_addresses": foreign_addresses(params["addresses"]),
        "sources": sources(params["peers"]),
        "missing_directories": [path for path in params["directories"] if not os.path.isdir(path)],
        "kept_otherwise": kept_otherwise(params["kept"], params["salt"]),
        "index": index,
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
            "peers": {"type": "list", "elements": "str", "default": []},
            "index_packages": {"type": "list", "elements": "str", "default": []},
            "index_url": {"type": "str", "default": ""},
            "index_package": {"type": "str", "default": "pip"},
            "index_user": {"type": "str", "default": ""},
            "index_password": {"type": "str", "default": "", "no_log": True},
            "index_ca_text": {"type": "str", "default": ""},
            "directories": {"type": "list", "elements": "str", "default": []},
            "kept": {"type": "list", "elements": "dict", "default": []},
            "salt": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    found = measure(module.params)
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
