"""Measure the way of an edit in a running lab: from a changed file of a package to its first line that runs on a worker.

    .venv/bin/python benchmarks/edit.py            # LAB=~/churn-lab names another lab than inventories/lab

What is measured, and how, is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))
import lab_package  # noqa: E402 (the path above comes first)

import running_lab  # noqa: E402

TRACK = "bench-edit"
"""MLflow experiment that keeps the runs."""

# A line that every environment has, milliseconds: what differs is the environment alone
ANYWHERE = {
    "steps": [{"name": "first", "call": "mlflow.utils.time:get_current_time_millis"}],
    "search": {
        "objective": {"call": "numpy:average", "with": {"a": ["{{ steps.first }}"], "weights": ["{{ params.weight }}"]}},
        "space": {"weight": {"type": "categorical", "choices": [1]}},
        "trials": 1,
        "direction": "minimize",
    },
}


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    running_lab.options(parser)
    parser.add_argument("--edits", type=int, default=3, help="edits after the first, which makes the environment anew (%(default)s)")
    parser.add_argument("--image", action="store_true", help="also an edit of a package in the lab's image, which is built anew twice and restarts the workers")
    parser.add_argument("--out", type=Path, default=running_lab.LAB / "reports" / "bench-edit.json", help="where the figures go (%(default)s)")
    given = parser.parse_args()
    load, stamp = os.getloadavg()[0], int(time.time())
    with lab_package.Package() as package:
        bench = Bench(running_lab.Lab.of(given.report, given.vault), package)
        edits = [bench.edit(f"0.{stamp}.{number}") for number in range(given.edits + 1)]
        again = [bench.again(f"0.{stamp}.{given.edits}") for _ in range(given.edits)]
        own, default = ([bench.anywhere(environment) for _ in range(given.edits)] for environment in (lab_package.MODULE, "project"))
        image = [bench.edit_in_image(f"0.{stamp}.{given.edits + number}") for number in (1, 2)] if given.image else []
    figures = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "edits": edits,
        "again": again,
        "own": own,
        "default": default,
        "image": image,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures), f"\n{given.out}")


class Bench:
    """Runs of the package's experiment in a lab, and what they took."""

    def __init__(self, lab: running_lab.Lab, package: lab_package.Package) -> None:
        self.lab = lab
        self.package = package

    def edit(self, version: str) -> dict[str, float]:
        """Change the package, publish it, name the version in the environment, and run; seconds of each part, from the change to the first line."""
        begun = time.time()
        self.package.write(version)
        self.package.publish()
        published = time.time()
        self.package.want(version)
        return self.run(version, begun) | {"publish": round(published - begun, 2)}

    def edit_in_image(self, version: str) -> dict[str, float]:
        """Change the package, and bring it to the workers in the lab's image; seconds as those of `edit`."""
        begun = time.time()
        self.package.write(version)
        self.package.publish()
        self.package.want_in_image(version)
        running_lab.make("build", "start")
        built = time.time()
        return self.run(version, begun, lab_package.first_line(version)) | {"build_and_start": round(built - begun, 2)}

    def again(self, version: str) -> dict[str, float]:
        """Run it once more, with nothing changed."""
        return self.run(version, time.time())

    def anywhere(self, environment: str) -> dict[str, float]:
        """Run a line that every environment has in one of them."""
        return self.run(environment, time.time(), {"environment": environment, **ANYWHERE}, 1000)

    def run(self, version: str, begun: float, content: dict[str, Any] | None = None, per_second: float = 1) -> dict[str, float]:
        """Run the experiment; seconds until its first line ran, of the step's task until then, and until all was told."""
        track = {"experiment": TRACK, "run_name": version}
        name = self.package.experiment("edit", {**(content or {"environment": lab_package.MODULE, **lab_package.first_line(version)}), "track": track})
        running_lab.make("run", f"EXPERIMENT={name}")
        ended = time.time()
        newest = self.lab.ask_airflow("dags/train/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]["dag_run_id"]
        tasks = {task["task_id"]: task for task in self.lab.finished(newest, say=lambda _: None)}
        root = self.lab.run_of(newest)["info"]["run_id"]
        [search] = [run for run in self.lab.runs(TRACK, f"tags.`mlflow.parentRunId` = '{root}'") if run["data"]["tags"].get("lab.kind") == "search"]
        [trial] = self.lab.runs(TRACK, f"tags.`mlflow.parentRunId` = '{search['info']['run_id']}'")
        at = float(trial["data"]["metrics"]["objective"]) / per_second
        if at < begun:
            raise SystemExit(f"{newest} ran another edit than {version}.")
        step = datetime.datetime.fromisoformat(tasks["prepare"]["start_date"].replace("Z", "+00:00")).timestamp()
        found = {"first_line": round(at - begun, 2), "task_to_first_line": round(at - step, 2), "whole": round(ended - begun, 2)}
        print(f"{version}: first line after {found['first_line']} s", flush=True)
        return found


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""

    def median(rows: list[dict[str, float]], key: str) -> str:
        return f"{statistics.median(row[key] for row in rows):.1f} s"

    first, *edits = figures["edits"]
    own, default = (statistics.median(row["task_to_first_line"] for row in figures[side]) for side in ("own", "default"))
    rows = [
        ("an edit, the first", f"{first['first_line']:.1f} s", f"{first['publish']:.1f} s of it to publish the package"),
        ("an edit, its other packages are cached", median(edits, "first_line"), f"{median(edits, 'publish')} of it to publish the package"),
        ("the same again", median(figures["again"], "first_line"), "nothing is published or locked"),
        (
            "an environment for each task",
            f"{own - default:.2f} s",
            f"task to first line {own:.2f} s, in the default one {default:.2f} s",
        ),
        *(
            ("an edit of a package in the image", f"{row['first_line']:.1f} s", f"{row['build_and_start']:.1f} s of it to publish, make build and make start")
            for row in figures["image"]
        ),
        ("load of this machine before", f"{figures['load_before']:.1f}", "figures are good on a quiet machine only"),
    ]
    width = max(len(name) for name, _, _ in rows)
    return "\n" + "\n".join(f"{name:<{width}}  {value:>8}  ({words})" for name, value, words in rows)


if __name__ == "__main__":
    main()
