"""Measure what each Celery worker more costs a lab: connections, Redis, memory.

Starts workers of a queue of their own, which take no task, in the container of the scheduler on the control host, one step after the other, and ends them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from typing import Any

QUEUE = "bench-workers"
PATTERN = "bench-worker[s]-"  # not of the shell that looks for it
MEMORY = "for one in $(pgrep -f {pattern}); do cat /proc/$one/smaps_rollup 2>/dev/null; done | awk '/^Pss:/ {{kib += $2}} END {{print kib + 0}}'"
WORKER = "exec airflow celery worker --queues {queue} --celery-hostname {name}@%h --concurrency {slots} --skip-serve-logs >/tmp/{name}.log 2>&1"
PING = "celery --app airflow.providers.celery.executors.celery_executor.app inspect --timeout 10 --json ping 2>/dev/null || true"
REDIS = """
export REDISCLI_AUTH="$(cat /run/secrets/redis_password)"
redis-cli $(test ! -e /certificates || echo --tls --cacert /certificates/ca.pem -h localhost) info
"""


class Lab:
    """The control host's containers."""

    def __init__(self, through: str, project: str) -> None:
        self.through, self.project = shlex.split(through), project

    def run(self, service: str, script: str, *options: str) -> str:
        """Run a shell script in the container of a service; returns what it printed."""
        command = [*self.through, "docker", "exec", *options, f"{self.project}-{service}-1", "bash", "-c", script]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout

    def connections(self) -> dict[str, int]:
        """Connections to Postgres by database."""
        query = "SELECT datname, count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid() GROUP BY 1"
        rows = self.run("postgres", f'psql --username airflow --dbname airflow --no-align --tuples-only --command "{query}"')
        return {name: int(count) for name, count in (row.split("|") for row in rows.split())}

    def redis(self) -> dict[str, int]:
        """Clients of Redis, and its memory in KiB."""
        told = dict(line.strip().split(":", 1) for line in self.run("redis", REDIS).splitlines() if ":" in line)
        return {"clients": int(told["connected_clients"]), "kib": int(told["used_memory"]) // 1024}

    def answering(self) -> int:
        """How many of the workers that were started here answer."""
        told = self.run("airflow-scheduler", PING)
        return sum(QUEUE in name for name in json.loads(told[told.index("{") :])) if "{" in told else 0

    def figures(self, workers: int) -> dict[str, Any]:
        """What there is with so many workers more."""
        kib = int(self.run("airflow-scheduler", MEMORY.format(pattern=PATTERN)))
        return {"workers": workers, "postgres": self.connections(), "redis": self.redis(), "worker_mib": round(kib / 1024 / workers) if workers else None}


def main() -> None:
    """Measure, and print a line of JSON for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--through", default="", help="what runs a command on the control host, as in `ssh vm1` (as shipped: here)")
    parser.add_argument("--project", default="mlops-lab-airflow", help="compose project of Airflow (%(default)s)")
    parser.add_argument("--slots", type=int, default=2, help="tasks that a worker takes at a time (%(default)s)")
    parser.add_argument("counts", type=int, nargs="*", default=[1, 2, 4], help="workers, in rising numbers (1 2 4)")
    given = parser.parse_args()
    lab, running = Lab(given.through, given.project), 0
    try:
        print(json.dumps(lab.figures(0)), flush=True)
        for count in given.counts:
            for number in range(running, count):
                lab.run("airflow-scheduler", WORKER.format(queue=QUEUE, name=f"{QUEUE}-{number}", slots=given.slots), "--detach")
            running, end = count, time.monotonic() + 60 + 60 * count
            while lab.answering() < count:
                if time.monotonic() > end:
                    raise SystemExit(f"not all of {count} workers answer; their logs are /tmp/{QUEUE}-*.log in the container of the scheduler")
            time.sleep(30)  # what only the start needed is closed by then
            print(json.dumps(lab.figures(count)), flush=True)
    finally:
        lab.run("airflow-scheduler", f"pkill -TERM -f {PATTERN} || true; rm -f /tmp/{QUEUE}*.log")


if __name__ == "__main__":
    main()
