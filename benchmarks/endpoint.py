"""Ask a model of a running lab without pause while its version changes, and report whether a request failed.

``python benchmarks/endpoint.py --minutes 10 --changes 5``, with the passwords in the environment: ``LAB_MODELS_PASSWORD`` and ``LAB_MLFLOW_PASSWORD``.
Needs nothing but Python. The alias ``live`` goes to and fro between the two newest versions of the model, and at the end
back to where it was; where the model has a single version, a second one with the same files is registered first. Each answer must be what the version
that it names answered for the same rows before. The exit code is 1 when a request failed or an answer was not that of the version that it names.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import statistics
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Service:
    """A service with basic authentication."""

    url: str
    user: str
    password: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        return {"Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode(), "Content-Type": "application/json"}

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Return its JSON answer.

        Raises:
            SystemExit: it does not answer, or refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, self.headers, method=method), timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{self.url}{path} answered with {error.code}: {error.read(500).decode(errors='replace')}")
        except OSError as error:
            sys.exit(f"{self.url} does not answer: {error}")


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def client(models: Service, path: str, body: bytes, expected: dict[str, Any], seen: Seen, over: threading.Event, keep: bool) -> None:
    """Ask until it is over, on one connection or on a new one each time."""
    address = urllib.parse.urlsplit(models.url)
    connection: http.client.HTTPConnection | None = None
    while not over.is_set():
        begun = time.perf_counter()
        try:
            if connection is None:
                connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=60)
            connection.request("POST", path, body, models.headers)
            answer = connection.getresponse()
            text = answer.read()
            version = answer.headers.get("X-Model-Version", "none")
            if answer.status != 200:
                seen.failures.append(f"status {answer.status}: {text[:200]!r}")
            elif version not in expected or json.loads(text) != expected[version]:
                seen.failures.append(f"not the answer of version {version}: {text[:200]!r}")
            seen.versions[version] += 1
        except (OSError, http.client.HTTPException) as error:
            seen.failures.append(repr(error))
            connection = None
        seen.seconds.append(time.perf_counter() - begun)
        if connection is not None and not keep:
            connection.close()
            connection = None


class Registry:
    """A model in MLflow's registry, and what of it is served."""

    def __init__(self, mlflow: Service, models: Service, name: str) -> None:
        self._mlflow, self._models, self._name = mlflow, models, name
        self.path = "/models/" + urllib.parse.quote(name, safe="")

    def live(self) -> str:
        """The version in service."""
        slots = self._models.ask("/models")["models"]
        found: str = next((slot["version"] or "" for slot in slots if (slot["name"], slot["alias"]) == (self._name, "live")), "")
        return found

    def two_versions(self, live: str) -> list[str]:
        """The version in service, and another one."""
        pattern = urllib.parse.quote(f"name = '{self._name}'")
        found = self._mlflow.ask(f"/api/2.0/mlflow/model-versions/search?max_results=50&filter={pattern}")["model_versions"]
        numbers = sorted((str(version["version"]) for version in found), key=int, reverse=True)
        others = [number for number in numbers if number != live]
        if others:
            return [live, others[0]]
        only = next(version for version in found if str(version["version"]) == live)
        description = {
            "name": self._name,
            "source": only["source"],
            "run_id": only.get("run_id"),
            "description": "The same again, made by benchmarks/endpoint.py",
        }
        made = self._mlflow.ask("/api/2.0/mlflow/model-versions/create", {key: value for key, value in description.items() if value})
        return [live, str(made["model_version"]["version"])]

    def put(self, version: str, patience: float = 120) -> float:
        """Move the alias, and wait until that version is in service; returns the seconds that it took."""
        begun = time.monotonic()
        self._mlflow.ask("/api/2.0/mlflow/registered-models/alias", {"name": self._name, "alias": "live", "version": version})
        while self.live() != version:
            if time.monotonic() - begun > patience:
                sys.exit(f"version {version} is not in service after {patience:.0f} s: {self._models.ask('/models')}")
            time.sleep(0.2)
        return time.monotonic() - begun

    def score(self, body: Any) -> Any:
        """Have rows scored."""
        return self._models.ask(f"{self.path}/invocations", body)


def example_of(mlflow: Service, name: str, version: str) -> Any:
    """Return the request that MLflow saved with a version as its input example."""
    query = urllib.parse.urlencode({"name": name, "version": version})
    found = mlflow.ask(f"/api/2.0/mlflow/model-versions/get-download-uri?{query}")["artifact_uri"]
    folder = urllib.parse.quote(urllib.parse.urlsplit(found).path.lstrip("/"))
    return mlflow.ask(f"/api/2.0/mlflow-artifacts/artifacts/{folder}/serving_input_example.json")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--changes", type=int, default=5, help="how often the version changes")
    parser.add_argument("--clients", type=int, default=2, help="every second one opens a new connection for each request")
    parser.add_argument("--model", help="name of the registered model; the first one that is served unless given")
    parser.add_argument("--rows", help="file with the body of a request; the version's own input example unless given")
    parser.add_argument("--url", default="http://127.0.0.1:8002")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--mlflow-url", default="http://127.0.0.1:5000")
    parser.add_argument("--mlflow-user", default="admin")
    parser.add_argument("--report", help="file for the figures as JSON")
    return parser.parse_args()


def password(name: str) -> str:
    """Return a password of the environment."""
    return os.environ.get(name) or sys.exit(f"{name} is not set; `ansible-vault view inventories/lab/group_vars/lab/vault.yml` shows the passwords.")


def main() -> None:
    """Measure."""
    given = options()
    models = Service(given.url.rstrip("/"), given.user, password("LAB_MODELS_PASSWORD"))
    mlflow = Service(given.mlflow_url.rstrip("/"), given.mlflow_user, password("LAB_MLFLOW_PASSWORD"))
    served = [slot["name"] for slot in models.ask("/models")["models"] if slot["alias"] == "live" and slot["version"]]
    if not served:
        sys.exit("No model is in service: deploy one first (make lab does).")
    name = given.model or served[0]
    registry = Registry(mlflow, models, name)
    first = registry.live() or sys.exit(f"{name} is not in service; what is: {', '.join(served)}")
    if given.rows:
        with open(given.rows, encoding="utf-8") as file:
            body = json.load(file)
    else:
        body = example_of(mlflow, name, first)

    versions = registry.two_versions(first)
    expected = {versions[0]: registry.score(body)}
    registry.put(versions[1])
    expected[versions[1]] = registry.score(body)
    registry.put(versions[0])
    print(f"{name}: versions {' and '.join(versions)}, {'the same' if expected[versions[0]] == expected[versions[1]] else 'different'} answers to the rows")

    seen, over = Seen(), threading.Event()
    data = json.dumps(body).encode()
    asking = [
        threading.Thread(target=client, args=(models, f"{registry.path}/invocations", data, expected, seen, over, number % 2 == 0))
        for number in range(given.clients)
    ]
    begun = time.monotonic()
    for thread in asking:
        thread.start()
    took = []
    try:
        for change in range(given.changes):
            time.sleep(max(0.0, begun + given.minutes * 60 * (change + 1) / (given.changes + 1) - time.monotonic()))
            version = versions[(change + 1) % 2]
            took.append(registry.put(version))
            print(
                f"{time.monotonic() - begun:6.0f} s: version {version} in service after {took[-1]:.1f} s; "
                f"{len(seen.seconds)} requests, {len(seen.failures)} failed"
            )
        time.sleep(max(0.0, begun + given.minutes * 60 - time.monotonic()))
    finally:
        over.set()
        for thread in asking:
            thread.join()
        passed = time.monotonic() - begun
        registry.put(first)
    cuts = statistics.quantiles(seen.seconds, n=1000)
    report = {
        "model": name,
        "minutes": round(passed / 60, 2),
        "changes": len(took),
        "seconds_to_change": [round(value, 1) for value in took],
        "requests": len(seen.seconds),
        "failures": len(seen.failures),
        "versions": dict(seen.versions),
        "milliseconds": {"median": round(cuts[499] * 1e3, 1), "p99": round(cuts[989] * 1e3, 1), "longest": round(max(seen.seconds) * 1e3, 1)},
        "requests_per_second": round(len(seen.seconds) / passed, 1),
    }
    print(json.dumps(report, indent=2))
    if given.report:
        with open(given.report, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
    if seen.failures:
        sys.exit("\n".join(["The first failures:", *seen.failures[:10]]))


if __name__ == "__main__":
    main()
