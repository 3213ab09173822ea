#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for credentials and open doors in the lab's containers on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_containers
short_description: Look for credentials and open doors in a lab's containers, and at the host they are on
version_added: 0.1.0
description:
  - Looks for the given credentials in what C(docker inspect) tells about the containers, and in the command lines of all processes of the host.
    A finding names the container and the setting, never the value.
  - Looks whether databases and brokers can be reached from outside their network, by what the engine says and by trying to connect.
  - With O(host), of a lab of several, it looks at engine, image, disk, clock and certificate of the host, too, and each check names the host.
  - A check that fails is a result in RV(checks), not a failure of the module.
options:
  projects:
    description: Compose projects of the lab.
    type: list
    elements: str
    required: true
  host:
    description: Name of the host for the names of checks; empty where the lab has one host, of which only the containers are looked at.
    type: str
    default: ""
  idle:
    description: Whether nothing of the lab runs on the host, such as one that only builds its image.
    type: bool
    default: false
  worker_service:
    description: Compose service of the worker.
    type: str
    default: airflow-worker
  image:
    description: Id of the image that the lab was built with, C(sha256:) or not; empty where it is not compared.
    type: str
    default: ""
  image_digests:
    description: Digests that it has in registries, by which it is known where another engine gives it another id.
    type: list
    elements: str
    default: []
  disk_paths:
    description: Paths whose file systems need O(disk_gb).
    type: list
    elements: str
    default: []
  disk_gb:
    description: Free disk in GiB that each of O(disk_paths) needs.
    type: int
    default: 0
  clock_url:
    description: Address on another host, whose answer tells the time there; empty where clocks are not compared. No password is sent.
    type: str
    default: ""
  clock_seconds:
    description: Longest offset between the two clocks.
    type: int
    default: 20
  certificates:
    description: Directory with C(host.key), C(host.pem) and C(ca.pem); empty where there is none.
    type: str
    default: ""
  address:
    description: Address or name that the certificate has to be for.
    type: str
    default: ""
  private_services:
    description: Services that nothing outside their network may reach.
    type: list
    elements: dict
    default: []
    suboptions:
      service: {description: Name of the compose service., type: str, required: true}
      port: {description: The port it listens on., type: int, required: true}
  cluster_address:
    description: Address at which workers on other hosts reach these services. Publishing them there, and nowhere else, is accepted.
    type: str
    default: ""
  guests:
    description: Services of other projects that may share their network, as C(<project>/<service>).
    type: list
    elements: str
    default: []
  secrets:
    description: Credentials by name.
    type: dict
    default: {}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Look into the containers
  mlops.lab.lab_containers:
    projects: [mlops-lab-airflow]
    private_services: [{service: postgres, port: 5432}]
    secrets: {redis: "{{ vault_redis_password }}"}
  register: __containers
"""

RETURN = r"""
checks:
  description: The checks, each with C(name), C(ok), C(detail) and C(seconds).
  returned: always
  type: list
  elements: dict
works:
  description: Whether a worker of Airflow runs on the host.
  returned: always
  type: bool
"""

import base64
import email.utils
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, server_version
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import IMAGE_SERVICES, containers, image_digests, project_of, service_of
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Checks, Failed, counted
from ansible_collections.mlops.lab.plugins.module_utils.lab_machine import certificate_end, clock_offset, disk

#: a credential shorter than this would be found everywhere
SHORTEST = 6


def shapes(secret: str) -> list[str]:
    """Return a credential as it may stand somewhere: as it is, in a URL, and in base64 wherever that begins."""
    plain = secret.encode()
    encoded = []
    for shift in range(3):
        # What base64 makes of the middle is the same whatever stands around it, once the alignment is.
        text = base64.b64encode(b"\0" * shift + plain).decode().rstrip("=")
        encoded.append(text[(0, 2, 3)[shift] : -1] if len(plain) > 8 else text)
    return [shape for shape in {secret, urllib.parse.quote(secret, safe=""), *encoded} if len(shape) >= SHORTEST]


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a document with the path to it; an environment variable is named by its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip("."), str(key)
            yield from texts(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            name = inner.split("=", 1)[0] if path.endswith(".Env") and isinstance(inner, str) else number
            yield from texts(inner, f"{path}[{name}]")
    elif isinstance(value, str):
        yield path, value


def leaks(document: Any, secrets: dict[str, str]) -> list[str]:
    """Return where in a document a credential stands: ``path holds name``."""
    wanted = {name: shapes(str(value)) for name, value in secrets.items() if value}
    found = []
    for path, text in texts(document):
        found += [f"{path} holds {name}" for name, forms in wanted.items() if any(form in text for form in forms)]
    return sorted(set(found))


def command_lines() -> list[tuple[str, str]]:
    """Return name and command line of every process of the host."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                line = file.read().replace("\0", " ").strip()
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                found.append((f"{file.read().strip()} (pid {pid})", line))
        except OSError:
            continue
    return found


def published(container: dict[str, Any]) -> list[tuple[str, int]]:
    """Return address and port of the host for every port that a container publishes, as it runs and as it was created."""
    found = set()
    running = (container.get("NetworkSettings") or {}).get("Ports") or {}
    created = (container.get("HostConfig") or {}).get("PortBindings") or {}
    for bindings in [*running.values(), *created.values()]:
        for binding in bindings or []:
            found.add((binding.get("HostIp") or "0.0.0.0", int(binding.get("HostPort") or 0)))
    return sorted(found)


def open_doors(present: list[dict[str, Any]], service: str, cluster_address: str, guests: Collection[str] = ()) -> list[str]:
    """Return the ways by which containers of a service can be reached from outside their project's network."""
    found = []
    for container in present:
        if service_of(container) != service:
            continue
        name = container["Name"].lstrip("/")
        for address, port in published(container):
            if not cluster_address or address != cluster_address:
                found.append(f"{name} is published at {address}:{port}")
        if container["HostConfig"].get("NetworkMode") == "host":
            found.append(f"{name} uses the host's network")
        networks = set(container["NetworkSettings"].get("Networks") or {})
        for other in present:
            shared = networks & set(other["NetworkSettings"].get("Networks") or {})
            if shared and project_of(other) != project_of(container) and f"{project_of(other)}/{service_of(other)}" not in guests:
                found.append(f"{name} shares network {sorted(shared)[0]} with {other['Name'].lstrip('/')}")
    return found


def host_addresses(fib: str) -> list[str]:
    """Return the IPv4 addresses of the host from the text of ``/proc/net/fib_trie``."""
    return sorted(set(re.findall(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL", fib)) | {"127.0.0.1"})


def listening(address: str, port: int) -> bool:
    """Tell whether somebody accepts a connection."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def private(present: list[dict[str, Any]], service: str, port: int, cluster_address: str, guests: Collection[str] = ()) -> str:
    """Check that a service is out of reach, and return what was tried."""
    ours = [container for container in present if service_of(container) == service]
    if not ours:
        return "not on this host"
    doors = open_doors(present, service, cluster_address, guests)
    if doors:
        raise Failed("; ".join(doors))
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        addresses = [address for address in host_addresses(file.read()) if address != cluster_address]
    strangers = [address for address in addresses if listening(address, port)]
    # No container of ours has a door there, so it is another program of this host.
    note = f"; another program of the host listens at {', '.join(f'{a}:{port}' for a in strangers)}" if strangers else ""
    refusing = counted(len(addresses) - len(strangers), "address", "addresses")
    return f"{counted(len(ours), 'container')} without a published port, {refusing} of the host refuse port {port}{note}"


def clean(present: list[dict[str, Any]], secrets: dict[str, str], idle: bool = False) -> str:
    """Check that no credential stands in what the engine tells or in a command line. On an idle host there need be no container."""
    found = []
    for container in present:
        found += [f"{container['Name'].lstrip('/')}: {leak}" for leak in leaks(container, secrets)]
    lines = command_lines()
    for process, line in lines:
        found += [f"command line of {process} {leak.strip()}" for leak in leaks(line, secrets)]
    if found:
        raise Failed("; ".join(found))
    if not present and not idle:
        raise Failed("there is no container of the lab")
    return f"{counted(len(secrets), 'credential')} looked for in {counted(len(present), 'container')} and {counted(len(lines), 'process', 'processes')}"


def state_of(container: dict[str, Any]) -> str:
    """Return what is wrong with the state of a container, "" for one that runs, or was to run once and has done so."""
    state = container["State"]
    once = (container["HostConfig"].get("RestartPolicy") or {}).get("Name", "no") in ("", "no")
    if state["Status"] == "exited" and once and state.get("ExitCode") == 0:
        return ""
    health = (state.get("Health") or {}).get("Status", "")
    return "" if state["Status"] == "running" and health != "unhealthy" else health or str(state["Status"])


def running(present: list[dict[str, Any]]) -> str:
    """Check that all containers run, and return which there are."""
    ill = [f"{c['Name'].lstrip('/')} is {state_of(c)}" for c in present if state_of(c)]
    if ill or not present:
        raise Failed("; ".join(ill) or "there is no container of the lab")
    return f"{counted(len(present), 'container')} of {', '.join(sorted({project_of(c) for c in present}))}"


def engine() -> str:
    """Check that the engine answers, and return its version."""
    try:
        return f"version {server_version()}"
    except Unreachable as error:
        raise Failed(str(error)) from None


def same_image(present: list[dict[str, Any]], wanted: str, digests: Collection[str]) -> str:
    """Check that what runs on the lab's image runs on this one. Two engines may give the same image two ids; its digest in the registry is the same."""
    wanted = wanted.removeprefix("sha256:")
    found = {c["Name"].lstrip("/"): str(c["Image"]).removeprefix("sha256:") for c in present if service_of(c) in IMAGE_SERVICES}
    other = [f"{name} runs {image[:12]}" for name, image in found.items() if image != wanted and not set(image_digests(image)) & set(digests)]
    if other or not found:
        raise Failed(f"{'; '.join(other) or 'nothing runs on it'}, the control host has {wanted[:12]}")
    return f"{wanted[:12]}, as on the control host"


def free_disk(paths: list[str], wanted: int) -> str:
    """Check the free disk in GiB at each path, which need not exist yet; return the least."""
    found = {path: disk(path)["free_gb"] for path in paths}
    full = [f"{path} has {free} GB free, the lab needs {wanted} GB" for path, free in found.items() if free < wanted]
    if full:
        raise Failed("; ".join(full))
    return f"{min(found.values())} GB free"


def clock(url: str, limit: int) -> str:
    """Check this host's clock against that of whoever answers at an address. An answer tells its time in whole seconds.

    Whose certificate it is does not matter: nothing is sent, and a clock that is wrong would make any invalid.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    before = time.time()
    try:
        try:
            with opener.open(url, timeout=10) as answer:
                told = answer.headers.get("Date")
        except urllib.error.HTTPError as error:
            told = error.headers.get("Date")
    except OSError as error:
        raise Failed(f"the control host does not answer at {url} ({getattr(error, 'reason', error)})") from None
    after = time.time()
    if not told:
        raise Failed(f"{url} tells no time")
    offset = clock_offset(email.utils.parsedate_to_datetime(told).timestamp(), before - 1, after)
    if abs(offset) > limit:
        direction = "behind" if offset > 0 else "ahead of"
        raise Failed(f"{abs(offset):.0f} s {direction} the control host, the limit is {limit} s: set the clocks by NTP")
    return f"{abs(offset):.0f} s from the control host's"


def certificate(directory: str, address: str) -> str:
    """Check the host's certificate at this address, and return until when it is valid."""
    end = certificate_end(directory, address)
    return f"valid until {time.strftime('%Y-%m-%d', time.gmtime(end))}, {counted(int((end - time.time()) // 86400), 'day')}"


def look_at_host(checks: Checks, params: dict[str, Any], present: list[dict[str, Any]]) -> None:
    """Run the checks of a host that is one of several."""
    if params["image"] and not params["idle"]:
        checks.run("Airflow runs on the lab's image", lambda: same_image(present, params["image"], params["image_digests"]))
    if params["disk_paths"]:
        checks.run("The disk has room", lambda: free_disk(params["disk_paths"], params["disk_gb"]))
    if params["clock_url"]:
        checks.run("The clock agrees", lambda: clock(params["clock_url"], params["clock_seconds"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "list", "elements": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "idle": {"type": "bool", "default": False},
            "worker_service": {"type": "str", "default": "airflow-worker"},
            "image": {"type": "str", "default": ""},
            "image_digests": {"type": "list", "elements": "str", "default": []},
            "disk_paths": {"type": "list", "elements": "str", "default": []},
            "disk_gb": {"type": "int", "default": 0},
            "clock_url": {"type": "str", "default": ""},
            "clock_seconds": {"type": "int", "default": 20},
            "certificates": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "private_services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"service": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
            },
            "cluster_address": {"type": "str", "default": ""},
            "guests": {"type": "list", "elements": "str", "default": []},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    checks = Checks()
    present: list[dict[str, Any]] = []

    def look() -> str:
        present.extend(containers(params["projects"]))
        return "nothing of the lab has to run here" if params["idle"] and not present else running(present)

    if params["host"]:
        checks.run("The Docker engine answers", engine)
    checks.run("Containers run", look)
    for item in params["private_services"]:
        checks.run(
            f"{item['service'].capitalize()} cannot be reached from outside its network",
            partial(private, present, item["service"], item["port"], params["cluster_address"], params["guests"]),
        )
    checks.run("No container or process shows a credential", lambda: clean(present, params["secrets"], params["idle"]))
    if params["host"]:
        look_at_host(checks, params, present)
    if params["certificates"]:
        checks.run("The certificate is valid", lambda: certificate(params["certificates"], params["address"]))
    if params["host"]:
        checks.found = [{**check, "name": f"{params['host']}: {check['name']}"} for check in checks.found]
    works = any(service_of(c) == params["worker_service"] and c["State"]["Status"] == "running" for c in present)
    module.exit_json(changed=False, checks=checks.found, works=works)


if __name__ == "__main__":
    main()
