# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's public interfaces, asked from one of its hosts with nothing but Python's standard library."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, docker

#: the services of Airflow's compose project whose image is the lab's image, the first that runs tells it
IMAGE_SERVICES = ("airflow-scheduler", "airflow-apiserver", "airflow-worker")
LOG_LINES = 15
TOO_MANY = 429
#: seconds until the next try of a login that the gateway, which takes one in 6 s from an address, had too many of
LOGIN_PAUSES = (6, 6, 6, 6, 6)
#: parts of Airflow that say themselves how they are, at ``/monitor/health``
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class Refused(Exception):
    """Airflow refused the user's password."""


class Answer(NamedTuple):
    """What an interface answered: the HTTP status, and the body as JSON where it is JSON, else as text."""

    status: int
    body: Any


def quoted(part: str) -> str:
    """Return one part of a path, with everything escaped that a path or a query would take for its own."""
    return urllib.parse.quote(part, safe="")


class Api:
    """An HTTP interface, with basic authentication if a user is given. No proxy is asked: these are addresses of the lab."""

    def __init__(self, url: str, user: str = "", password: str = "", timeout: float = 30) -> None:
        """Remember where the interface is.

        Args:
            url: its address, without the path of a call.
            user: user for basic authentication; empty: anonymous.
            password: the user's password.
            timeout: seconds that one call may take.
        """
        self.url, self.timeout = url.rstrip("/"), timeout
        self.silent = False
        self.headers = {"Accept": "application/json"}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, body: Any = None, method: str = "") -> Answer:
        """Call the interface. A body is sent as JSON.

        Raises:
            Unreachable: nothing answered within the timeout.
        """
        status, raw = self._call(path, body, method)
        text = raw.decode("utf-8", "replace")
        try:
            return Answer(status, json.loads(text))
        except ValueError:
            return Answer(status, text)

    def file(self, path: str, most: int) -> bytes:
        """Return a file of at most so many bytes; nothing of one that is larger or is not given.

        Raises:
            Unreachable: nothing answered within the timeout.
        """
        status, raw = self._call(path, most=most + 1)
        return raw if status == 200 and len(raw) <= most else b""

    def _call(self, path: str, body: Any = None, method: str = "", most: int = -1) -> tuple[int, bytes]:
        """Return status and body, of which no more is read than so many bytes, all of it by default; see :meth:`ask`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method or ("POST" if data else "GET"))
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            try:
                # Whoever was silent the last time is not waited for as long again.
                with self.opener.open(request, timeout=min(self.timeout, 10) if self.silent else self.timeout) as response:
                    status, raw = response.status, response.read(most)
            except urllib.error.HTTPError as error:
                status, raw = error.code, error.read(most)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            self.silent = isinstance(reason, TimeoutError)
            raise Unreachable(f"{self.url} does not answer ({reason})") from None
        self.silent = False
        return status, raw


class Airflow(Api):
    """Airflow's REST API, version 2. The token is asked for at the first call, and again when it has expired."""

    def __init__(self, url: str, user: str, password: str, timeout: float = 30) -> None:
        """Remember the address and the user; arguments as for :class:`Api`."""
        super().__init__(url, timeout=timeout)
        self.user, self.password = user, password
        self.pauses: tuple[int, ...] = LOGIN_PAUSES

    def log_in(self) -> None:
        """Get a token.

        Raises:
            Refused: the password is wrong.
            Unreachable: Airflow does not answer, or not as Airflow does.
        """
        self.headers.pop("Authorization", None)
        answer = super().ask("/auth/token", {"username": self.user, "password": self.password})
        while answer.status == TOO_MANY and self.pauses:  # what was waited once is not waited again
            time.sleep(self.pauses[0])
            self.pauses = self.pauses[1:]
            answer = super().ask("/auth/token", {"username": self.user, "password": self.password})
        if answer.status in (401, 403):
            raise Refused(f"Airflow refuses the password of user {self.user}")
        if answer.status not in (200, 201) or not isinstance(answer.body, dict):
            raise Unreachable(f"{self.url}/auth/token answered {answer.status}")
        self.headers["Authorization"] = f"Bearer {answer.body['access_token']}"

    def ask(self, path: str, body: Any = None, method: str = "") -> Answer:
        """Call ``/api/v2`` + path as :meth:`Api.ask` does."""
        if "Authorization" not in self.headers:
            self.log_in()
        answer = super().ask(f"/api/v2{path}", body, method)
        if answer.status == 401:
            self.log_in()
            answer = super().ask(f"/api/v2{path}", body, method)
        return answer

    def log(self, dag: str, run: str, task: dict[str, Any]) -> list[str]:
        """Return the lines of a task instance's log, as the API gives it; none where it gives none."""
        path = f"/dags/{quoted(dag)}/dagRuns/{quoted(run)}/taskInstances/{quoted(task['task_id'])}/logs/{task['try_number']}"
        answer = self.ask(f"{path}?full_content=true&map_index={task.get('map_index', -1)}")
        return log_lines(answer.body) if answer.status == 200 else []


def log_lines(body: Any) -> list[str]:
    """Return a log as text lines: the events, and for an exception its type and message."""
    content = body.get("content", []) if isinstance(body, dict) else str(body).splitlines()
    lines: list[str] = []
    for entry in content:
        if isinstance(entry, str):
            lines += entry.splitlines()
            continue
        event = str(entry.get("event", ""))
        if not event.startswith(("::group::", "::endgroup::")):
            lines += event.splitlines()
        for detail in entry.get("error_detail") or []:
            lines += f"{detail.get('exc_type')}: {detail.get('exc_value')}".splitlines()
    return lines


def excerpt(body_lines: list[str]) -> str:
    """Return the last lines of a log, marked as such, without the characters that keep a terminal or YAML from showing it."""
    shown = ["".join(c for c in line if c.isprintable() and ord(c) < 0x10000).rstrip() for line in body_lines[-LOG_LINES:]]
    return "\n".join(f"  | {line}" for line in shown)


def reason_of(body_lines: list[str]) -> str:
    """Return the line of a failed task's log that says why: the last exception, else the last line."""
    errors = [line for line in body_lines if line.split(":")[0].endswith(("Error", "Exception", "Failure", "Mistakes"))]
    return (errors or body_lines or ["its log is empty"])[-1]


def containers(projects: list[str]) -> list[dict[str, Any]]:
    """Return what ``docker inspect`` says about the containers of compose projects.

    Raises:
        Unreachable: the engine does not answer.
    """
    found: list[dict[str, Any]] = []
    for project in projects:
        listed = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}")
        if listed.returncode:
            raise Unreachable(f"the Docker engine does not answer ({listed.stderr.strip()[-200:]})")
        names = listed.stdout.split()
        if names:
            found += json.loads(docker("inspect", *names).stdout or "[]")
    return found


def service_of(container: dict[str, Any]) -> str:
    """Return the compose service of a container."""
    return str((container["Config"].get("Labels") or {}).get("com.docker.compose.service", ""))


def project_of(container: dict[str, Any]) -> str:
    """Return the compose project of a container."""
    return str((container["Config"].get("Labels") or {}).get("com.docker.compose.project", ""))


def lab_image(present: list[dict[str, Any]]) -> tuple[str, str]:
    """Return id (64 hexadecimal digits) and name of the image that Airflow runs on, empty where it does not run."""
    by_service = {service_of(container): container for container in present}
    for service in IMAGE_SERVICES:
        if service in by_service:
            container = by_service[service]
            return str(container["Image"]).replace("sha256:", "", 1), str(container["Config"]["Image"])
    return "", ""


def image_digests(image_id: str) -> list[str]:
    """Return the digests that an image of this host's engine has in registries, none where it was in none, is not here, or no engine answers."""
    try:
        told = docker("image", "inspect", "--format", "{{json .RepoDigests}}", image_id)
    except Unreachable:
        return []
    return sorted({str(name).partition("@")[2] for name in json.loads(told.stdout) or []}) if told.returncode == 0 else []


def first_run(prefix: str, experiment: str, image_id: str) -> str:
    """Return the id of the first model's run. It names experiment and image: the same lab never trains it twice."""
    return "-".join(filter(None, [prefix, experiment, image_id[:12]]))


def first_run_here(prefix: str, experiment: str, project: str) -> str:
    """Return the id of the first model's run on the image that runs on this host; without an image where none runs."""
    try:
        image_id, _name = lab_image(containers([project]))
    except Unreachable:
        image_id = ""
    return first_run(prefix, experiment, image_id)
