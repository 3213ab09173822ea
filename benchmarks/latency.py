"""Measure how fast an address answers: ``python benchmarks/latency.py URL [URL ...] --rows request.json``.

Give several addresses to compare them: they are asked in turns, round after round, so that whatever else the machine does meanwhile hits all of them alike.
Needs nothing but Python. User and password, where an address asks for them, are in the environment: ``LAB_MODELS_USER`` (admin unless set) and
``LAB_MODELS_PASSWORD``.
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
from pathlib import Path
from urllib.parse import urlsplit


def ask(url: str, body: bytes, headers: dict[str, str], seconds: float, into: list[float]) -> None:
    """Ask again and again on one connection; note the seconds that each answer took."""
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=60)
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        connection.request("POST", address.path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{url} answered with {answer.status}: {text[:300]!r}")
        into.append(time.perf_counter() - begun)
    connection.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="+", help="where requests go, http://127.0.0.1:8002/models/wine-search/invocations")
    parser.add_argument("--rows", required=True, type=Path, help="file with the body of a request")
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="of each address in a round (%(default)s)")
    parser.add_argument("--clients", type=int, default=1, help="at the same time (%(default)s)")
    given = parser.parse_args()
    body, headers = given.rows.read_bytes(), {"Content-Type": "application/json"}
    if password := os.environ.get("LAB_MODELS_PASSWORD"):
        login = f"{os.environ.get('LAB_MODELS_USER', 'admin')}:{password}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    took: dict[str, list[float]] = {url: [] for url in given.url}
    for url in given.url:
        ask(url, body, headers, 1, [])  # the first ones are slower
    for _ in range(given.rounds):
        for url in given.url:
            threads = [threading.Thread(target=ask, args=(url, body, headers, given.seconds, took[url])) for _ in range(given.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    for url, seconds in took.items():
        cuts = statistics.quantiles(seconds, n=100)
        figures = {
            "url": url,
            "requests": len(seconds),
            "requests_per_second": round(len(seconds) / (given.rounds * given.seconds), 1),
            "milliseconds": {"median": round(cuts[49] * 1e3, 2), "p99": round(cuts[98] * 1e3, 2)},
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
