#!/usr/bin/env python3
"""Measure what a search costs in a running lab, over its REST APIs: ``make bench-trials``.

Everything is an experiment of benchmarks/lab_package.py, in that package's environment. What is measured, and how, is in benchmarks/README.md.
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

TRACK = "bench-trials"
"""MLflow experiment that keeps the runs."""

WORK = {"call": f"{lab_package.MODULE}:work", "with": {"statement": "sum(range(1_000_000))", "repeats": "{{ params.repeats }}"}}
"""An objective that keeps one core busy, always for the same number of instructions; its value is the seconds it took."""

# The same search as that of the overhead's side, in one process and with nothing around it
BARE = """
study = optuna.create_study({storage}sampler=optuna.samplers.RandomSampler())
study.optimize(lambda trial: timeit.timeit("pass", number=trial.suggest_int("repeats", 1, 1000)), n_trials={trials})
{after}
"""
SETUP = """
import os, timeit, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
"""
ON_DATABASE = 'storage=optuna.storages.RDBStorage(open(os.environ["LAB_OPTUNA_STORAGE_FILE"]).read().strip()), '


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    running_lab.options(parser)
    parser.add_argument("--trials", type=int, default=40, help="trials of each search (%(default)s)")
    parser.add_argument("--repeats", type=int, default=60, help="a hundredth of a second of work or so, this many times in each trial (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="how often the time to the first line is taken (%(default)s)")
    parser.add_argument("--out", type=Path, default=running_lab.LAB / "reports" / "bench-trials.json", help="where the figures go (%(default)s)")
    given = parser.parse_args()
    load, version = os.getloadavg()[0], f"0.{int(time.time())}.0"
    with lab_package.Package("optuna", "psycopg2-binary") as package:  # for the bare loops
        bench = Bench(running_lab.Lab.of(given.report, given.vault), package, version, given.trials)
        figures = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "load_before": round(load, 2),
            "trials": given.trials,
            "first_line": bench.first_line(given.starts),
            "overhead": bench.overhead(),
            "one": bench.search(1, given.repeats),
            "two": bench.search(2, given.repeats),
        }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures), f"\n{given.out}")


class Bench:
    """Searches in a lab, and what they took."""

    def __init__(self, lab: running_lab.Lab, package: lab_package.Package, version: str, trials: int) -> None:
        """Publish the package. Its environment is made by the first run that wants it."""
        self.lab = lab
        self.package = package
        self.version = version
        self.trials = trials
        package.write(version)
        package.publish()
        package.want(version)

    def run(self, what: str, sections: dict[str, Any]) -> dict[str, Any]:
        """Run an experiment; returns ``triggered`` (epoch seconds), ``tasks`` of Airflow and ``trials``: start, end (epoch seconds) and value of each."""
        name = self.package.experiment("trials", {"environment": lab_package.MODULE, **sections, "track": {"experiment": TRACK, "run_name": what}})
        running_lab.make("start")  # which places the file; `make run` would follow the run as well
        trials = sections["search"]["trials"]
        triggered = time.time()
        run_id = self.lab.trigger({"experiment": name})
        tasks = self.lab.finished(run_id, say=lambda _: None)
        root = self.lab.run_of(run_id)["info"]["run_id"]
        [search_run] = [run for run in self.lab.runs(TRACK, f"tags.`mlflow.parentRunId` = '{root}'") if run["data"]["tags"].get("lab.kind") == "search"]
        found = self.lab.runs(TRACK, f"tags.`mlflow.parentRunId` = '{search_run['info']['run_id']}'")
        seen = [(run["info"]["start_time"] / 1000, run["info"]["end_time"] / 1000, float(run["data"]["metrics"]["objective"])) for run in found]
        if len(seen) != trials:
            raise SystemExit(f"{run_id} has {len(seen)} trials in MLflow, {trials} were asked for.")
        print(f"{what}: {len(seen)} trials in {max(end for _, end, _ in seen) - min(start for start, _, _ in seen):.1f} s", flush=True)
        return {"triggered": triggered, "tasks": tasks, "trials": sorted(seen)}

    def searched(self, what: str, objective: dict[str, Any], space: dict[str, Any], trials: int, parallel: int = 1) -> dict[str, Any]:
        """Run a search, as :meth:`run` does."""
        search = {"objective": objective, "space": space, "trials": trials, "parallel": parallel, "sampler": "random", "seed": 1, "direction": "minimize"}
        return self.run(what, {"steps": [{"name": "first", "call": f"{lab_package.MODULE}:begin"}], "search": search})

    def first_line(self, times: int) -> dict[str, Any]:
        """From the trigger to the first line of the package's code: to that of the first step, and to that of the first trial; seconds.

        The environment is made by a run before.
        """
        steps, trials = [], []
        for number in range(times + 1):
            run = self.run(f"first line {number}", lab_package.first_line(self.version))
            start, _, value = run["trials"][0]
            steps.append(round(value - run["triggered"], 2))
            trials.append(round(start - run["triggered"], 2))
        return {"step": statistics.median(steps[1:]), "trial": statistics.median(trials[1:]), "steps": steps[1:], "trials": trials[1:], "environment": steps[0]}

    def overhead(self) -> dict[str, Any]:
        """What a trial that does nothing takes, here and in a bare loop in one process of the same environment; milliseconds."""
        space = {"repeats": {"type": "int", "low": 1, "high": 1000}}
        nothing = {"call": f"{lab_package.MODULE}:work", "with": {"statement": "pass", "repeats": "{{ params.repeats }}"}}
        run = self.searched("nothing", nothing, space, self.trials)
        ours = (run["trials"][-1][1] - run["trials"][0][0]) / self.trials
        bare = {}
        for name, storage, after in (("memory", "", ""), ("database", ON_DATABASE, "optuna.delete_study(study_name=study.study_name, storage=study._storage)")):
            loop = BARE.format(storage=storage, trials=self.trials, after=after)
            objective = {"call": f"{lab_package.MODULE}:work", "with": {"setup": SETUP, "statement": loop, "repeats": "{{ params.once }}"}}
            run = self.searched(f"bare loop, {name}", objective, {"once": {"type": "categorical", "choices": [1]}}, 1)
            bare[name] = run["trials"][0][2] / self.trials
        milliseconds = {name: round(seconds * 1000, 1) for name, seconds in {"lab": ours, **{f"bare_{key}": value for key, value in bare.items()}}.items()}
        return {**milliseconds, "overhead": round((ours - bare["memory"]) * 1000, 1), "overhead_over_database": round((ours - bare["database"]) * 1000, 1)}

    def search(self, parallel: int, repeats: int) -> dict[str, Any]:
        """Trials per minute with so many worker processes: from the first trial's start to the last one's end, and of the whole of the tasks `search`."""
        space = {"repeats": {"type": "int", "low": repeats - 1, "high": repeats + 1}}
        run = self.searched(f"{parallel} worker processes", WORK, space, self.trials, parallel)
        tasks = [task for task in run["tasks"] if task["task_id"] == "search"]
        begun, over = (pick(moment(task[key]) for task in tasks) for pick, key in ((min, "start_date"), (max, "end_date")))
        seconds = max(end for _, end, _ in run["trials"]) - run["trials"][0][0]
        return {
            "processes": sorted({f"{task['hostname']}/{task['pid']}" for task in tasks}),
            "per_minute": round(60 * self.trials / seconds, 1),
            "per_minute_of_tasks": round(60 * self.trials / (over - begun), 1),
            "seconds": round(seconds, 1),
            "seconds_of_tasks": round(over - begun, 1),
            "objective_seconds": round(statistics.median(value for _, _, value in run["trials"]), 3),
        }


def moment(text: str) -> float:
    """Airflow's time as epoch seconds."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    one, two, first, cost = (figures[key] for key in ("one", "two", "first_line", "overhead"))
    rows = [
        ("trials per minute, one worker process", f"{one['per_minute']:.1f}", f"{one['objective_seconds']:.2f} s of work in each"),
        ("trials per minute, two worker processes", f"{two['per_minute']:.1f}", f"{two['objective_seconds']:.2f} s of work in each, {figures['cores']} cores"),
        (
            "ratio",
            f"{two['per_minute'] / one['per_minute']:.2f}",
            f"{two['per_minute_of_tasks'] / one['per_minute_of_tasks']:.2f} with the start of the processes",
        ),
        (
            "a trial that does nothing",
            f"{cost['lab']:.0f} ms",
            f"{cost['bare_memory']:.1f} ms in a bare loop, {cost['bare_database']:.0f} ms in one on the same database",
        ),
        ("overhead per trial", f"{cost['overhead']:.0f} ms", f"{cost['overhead_over_database']:.0f} ms over the loop on the same database"),
        ("from trigger to the first line of the first step", f"{first['step']:.1f} s", f"each of {first['steps']}"),
        ("from trigger to the first trial", f"{first['trial']:.1f} s", f"each of {first['trials']}"),
    ]
    rows.append(("load of this machine before", f"{figures['load_before']:.1f}", "figures are good on a quiet machine only"))
    width = max(len(name) for name, _, _ in rows)
    return "\n" + "\n".join(f"{name:<{width}}  {value:>8}  ({words})" for name, value, words in rows)


if __name__ == "__main__":
    main()
