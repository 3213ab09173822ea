"""Measure what tasks that run cost the control host of a running lab: CPU of the api-server, the scheduler and Postgres, memory of the api-server.

    .venv/bin/python benchmarks/running_tasks.py 4 8 16      # on the control host of a lab, with room for so many tasks on its workers

The tasks wait and do nothing, so what is measured is their heartbeats. What a task's start and end cost is not in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
import lab_package
import measure

import running_lab

SERVICES = ("airflow-apiserver", "airflow-scheduler", "postgres")
SETTLE = 20
"""Seconds that nothing is looked at after the last task began."""
CONTENT = {
    "environment": lab_package.MODULE,
    "inputs": {"seconds": 0},
    "steps": [{"name": "wait", "call": f"{lab_package.MODULE}:wait", "with": {"seconds": "{{ inputs.seconds }}"}}],
    "track": {"experiment": "bench-tasks"},
}


def main() -> None:
    """Measure, and print a line of JSON for each number of tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    running_lab.options(parser)
    parser.add_argument("--project", default="mlops-lab-airflow", help="compose project of Airflow (%(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="how long each number of tasks is looked at (%(default)s)")
    parser.add_argument("counts", type=int, nargs="*", default=[4, 8, 16], help="tasks, in rising numbers; Airflow runs 16 of a DAG at once (4 8 16)")
    given = parser.parse_args()
    lab, runs = running_lab.Lab.of(given.report, given.vault), list[str]()
    with lab_package.Package() as package:
        version = f"0.{int(time.time())}.0"
        package.write(version)
        package.publish()
        package.want(version)
        name = package.experiment("wait", CONTENT)
        running_lab.make("run", f"EXPERIMENT={name}")  # brings file and environment, and shows that it runs
        try:
            print(json.dumps(look(lab, given.project, 0, given.seconds)), flush=True)
            for count in given.counts:
                runs += [lab.trigger({"experiment": name, "inputs": {"seconds": 3600}}) for _ in range(count - len(runs))]
                until = time.monotonic() + 60 + 20 * count
                while (running := waiting(lab)) < count:
                    if time.monotonic() > until:
                        raise SystemExit(f"{running} of {count} tasks run: the workers have no room for more (airflow_stack_worker_concurrency).")
                    time.sleep(1)
                time.sleep(SETTLE)
                print(json.dumps(look(lab, given.project, count, given.seconds)), flush=True)
        finally:
            for run in runs:
                lab.ask_airflow(f"dags/train/dagRuns/{run}", {"state": "failed"}, "PATCH")


def waiting(lab: running_lab.Lab) -> int:
    """How many of the tasks run."""
    tasks = lab.ask_airflow("dags/train/dagRuns/~/taskInstances?state=running&limit=100")["task_instances"]
    return sum(task["task_id"] == "prepare" for task in tasks)


def look(lab: running_lab.Lab, project: str, count: int, seconds: int) -> dict[str, Any]:
    """What the services take while so many tasks run: cores, a mean of so many seconds, and MiB of the api-server."""
    containers = [each for each in measure.containers_of([project]) if each.name.partition("/")[2] in SERVICES]
    begun, before = time.monotonic(), measure.shares(containers)
    time.sleep(seconds)
    after, taken = measure.shares(containers), time.monotonic() - begun
    if (running := waiting(lab)) != count:
        raise SystemExit(f"{running} tasks ran in the end, and not {count}: is the lab at other work?")
    cores = {name.partition("/")[2]: round((used - before.containers[name]) / taken, 3) for name, used in sorted(after.containers.items())}
    return {"tasks": count, "cores": cores, "api_server_mib": round(measure.memory(containers)[f"{project}/airflow-apiserver"])}


if __name__ == "__main__":
    main()
