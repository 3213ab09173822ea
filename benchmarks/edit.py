#!/usr/bin/env python3
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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))
import running_lab  # noqa: E402 (the path above comes first)

NAME, MODULE = "bench-edit", "bench_edit"
PROJECT = """\
[build-system]
requires = ["flit_core>=3.9"]
build-backend = "flit_core.buildapi"

[project]
name = "bench-edit"
version = "{version}"
description = "A package of the benchmark"
requires-python = ">=3.10"
dependencies = ["numpy"]
"""
SOURCE = """\
import time

import numpy

EDIT = "{version}"


def begin() -> dict:
    return {{"at": time.time(), "edit": EDIT, "numpy": numpy.__version__}}


def at(first: dict, edit: str, weight: int) -> float:
    return first["at"] if first["edit"] == edit else -1.0
"""
# The step's time is made known as the value of the only trial.
EXPERIMENT = """\
environment: {environment}
steps:
  - name: first
    call: "{first}"
search:
  objective: {{call: "{value}", with: {arguments}}}
  space: {{weight: {{type: categorical, choices: [1]}}}}
  trials: 1
  direction: minimize
track: {{experiment: {name}, run_name: "{version}"}}
"""


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    running_lab.options(parser)
    parser.add_argument("--edits", type=int, default=3, help="edits after the first, which makes the environment anew (%(default)s)")
    parser.add_argument("--out", type=Path, default=running_lab.LAB / "reports" / "bench-edit.json", help="where the figures go (%(default)s)")
    given = parser.parse_args()
    bench = Bench(running_lab.Lab.of(given.report, given.vault))
    try:
        load, stamp = os.getloadavg()[0], int(time.time())
        edits = [bench.edit(f"0.{stamp}.{number}") for number in range(given.edits + 1)]
        again = [bench.again(f"0.{stamp}.{given.edits}") for _ in range(given.edits)]
        default = [bench.default() for _ in range(given.edits)]
    finally:
        bench.clean()
    figures = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "edits": edits,
        "again": again,
        "default": default,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures), f"\n{given.out}")


class Bench:
    """A package and an experiment in a lab's folder, and what running them took."""

    def __init__(self, lab: running_lab.Lab) -> None:
        self.lab = lab
        self.folder = tempfile.TemporaryDirectory(prefix=NAME)
        self.project = Path(self.folder.name) / NAME
        self.files = [running_lab.LAB / f"experiments/{MODULE}.yml", *(running_lab.LAB / f"environments/{MODULE}.{kind}" for kind in ("in", "lock"))]
        if there := [path for path in self.files if path.exists()]:
            raise SystemExit(f"{there[0]} is there already, and would be overwritten: remove it first.")
        (self.project / MODULE).mkdir(parents=True)

    def clean(self) -> None:
        """Remove the files from the lab's folder. The package stays in the index, and the runs in MLflow's experiment of its name."""
        for path in self.files:
            path.unlink(missing_ok=True)
        self.folder.cleanup()

    def make(self, *words: str) -> None:
        """Type a command of the Makefile."""
        done = subprocess.run(["make", *words, f"LAB={running_lab.LAB}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"make {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")

    def edit(self, version: str) -> dict[str, float]:
        """Change the package, publish it, name the version in the environment, and run; seconds of each part, from the change to the first line."""
        begun = time.time()
        (self.project / "pyproject.toml").write_text(PROJECT.format(version=version), encoding="utf-8")
        (self.project / MODULE / "__init__.py").write_text(SOURCE.format(version=version), encoding="utf-8")
        self.make("publish", f"PROJECT={self.project}")
        published = time.time()
        self.files[1].parent.mkdir(exist_ok=True)
        self.files[1].write_text(f"{NAME}=={version}\n", encoding="utf-8")
        return self.run(version, begun) | {"publish": round(published - begun, 2)}

    def again(self, version: str) -> dict[str, float]:
        """Run it once more, with nothing changed."""
        return self.run(version, time.time())

    def default(self) -> dict[str, float]:
        """Run a line of Python's own library in the default environment."""
        arguments = '{data: ["{{ steps.first }}"], weights: ["{{ params.weight }}"]}'
        return self.run("default", time.time(), environment="project", first="time:time", value="statistics:fmean", arguments=arguments)

    def run(self, version: str, begun: float, **changes: str) -> dict[str, float]:
        """Run the experiment; seconds until its first line ran, and of the step's task until then."""
        values = {"environment": MODULE, "first": f"{MODULE}:begin", "value": f"{MODULE}:at", "name": NAME, "version": version}
        values["arguments"] = '{first: "{{ steps.first }}", edit: "' + version + '", weight: "{{ params.weight }}"}'
        self.files[0].write_text(EXPERIMENT.format(**{**values, **changes}), encoding="utf-8")
        self.make("run", f"EXPERIMENT={MODULE}")
        ended = time.time()
        newest = max(self.lab.ask_airflow("dags/train/dagRuns?order_by=-run_after&limit=5")["dag_runs"], key=lambda run: str(run["run_after"]))["dag_run_id"]
        tasks = {task["task_id"]: task for task in self.lab.finished(newest, say=lambda _: None)}
        root = self.lab.run_of(newest)["info"]["run_id"]
        [search] = [run for run in self.lab.runs(NAME, f"tags.`mlflow.parentRunId` = '{root}'") if run["data"]["tags"].get("lab.kind") == "search"]
        [trial] = self.lab.runs(NAME, f"tags.`mlflow.parentRunId` = '{search['info']['run_id']}'")
        at = float(trial["data"]["metrics"]["objective"])
        if at < begun:
            raise SystemExit(f"{newest} ({root}) ran another edit than {version}.")
        step = datetime.datetime.fromisoformat(tasks["prepare"]["start_date"].replace("Z", "+00:00")).timestamp()
        found = {"first_line": round(at - begun, 2), "task_to_first_line": round(at - step, 2), "whole": round(ended - begun, 2)}
        print(f"{version}: first line after {found['first_line']} s", flush=True)
        return found


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""

    def median(rows: list[dict[str, float]], key: str) -> str:
        return f"{statistics.median(row[key] for row in rows):.1f} s"

    first, *edits = figures["edits"]
    switch = [statistics.median(row["task_to_first_line"] for row in figures[side]) for side in ("again", "default")]
    rows = [
        ("an edit, nothing in the environment's cache before", f"{first['first_line']:.1f} s", f"{first['publish']:.1f} s of it to publish the package"),
        ("an edit, its other packages are cached", median(edits, "first_line"), f"{median(edits, 'publish')} of it to publish the package"),
        ("the same again", median(figures["again"], "first_line"), f"task to first line {switch[0]:.2f} s"),
        ("in the default environment", median(figures["default"], "first_line"), f"task to first line {switch[1]:.2f} s"),
        ("cost of the environment for each task", f"{switch[0] - switch[1]:.2f} s", "beside the default one"),
        ("load of this machine before", f"{figures['load_before']:.1f}", "figures are good on a quiet machine only"),
    ]
    width = max(len(name) for name, _, _ in rows)
    return "\n" + "\n".join(f"{name:<{width}}  {value:>8}  ({words})" for name, value, words in rows)


if __name__ == "__main__":
    main()
