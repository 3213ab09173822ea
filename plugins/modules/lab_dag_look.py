#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure that the first model's run exists, and tell how far it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_dag_look
short_description: Get the first model's run going over Airflow's REST API, and tell how far it is
version_added: 0.1.0
description:
  - Triggers the run where there is none, with a note that names the experiment, clears it where it failed before, and tells its state and those of its tasks.
  - While the task C(search) runs, reads in its logs how many trials there are and the best value so far.
  - Comes back as soon as there is something new to tell, after 15 seconds in any case.
  - M(mlops.lab.lab_dag_run) runs it again and again until the run is done.
  - In check mode nothing is triggered.
options:
  url:
    description: Address of Airflow, as the host reaches it.
    type: str
    required: true
  user:
    description: User of Airflow.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  dag:
    description: The DAG.
    type: str
    default: train
  experiment:
    description: The value of the DAG's parameter C(experiment).
    type: str
    required: true
  then:
    description:
      - DAG that the end of this run sets going by its asset, to be told of as well; empty for none.
      - With O(result_of) only when that result has C(deploy).
    type: str
    default: ""
  first_run:
    description: Beginning of the run's id.
    type: str
    default: first-model
  project:
    description: Compose project of Airflow, to find the image it runs on.
    type: str
    default: mlops-lab-airflow
  run_id:
    description: Id of the run. When it is empty, it is made of O(first_run), O(experiment) and the image that Airflow runs on.
    type: str
    default: ""
  conf:
    description: Other parameters of the DAG.
    type: dict
    default: {}
  result_of:
    description: Task whose result is wanted; empty for none.
    type: str
    default: ""
  retry:
    description: Clear a run that has failed, so that it runs again.
    type: bool
    default: true
  only_follow:
    description: Only tell how far the run O(run_id) is. Nothing is triggered or cleared, and a run that is not there is a problem.
    type: bool
    default: false
  progress:
    description: RV(progress) of the last look.
    type: dict
    default: {}
  seen:
    description: The lines of the last look, which are nothing new.
    type: list
    elements: str
    default: []
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Look how far the first model is
  mlops.lab.lab_dag_look:
    url: http://127.0.0.1:8080
    user: admin
    password: "{{ vault_airflow_admin_password }}"
    experiment: wine
  register: __look
"""

RETURN = r"""
run_id:
  description: Id of the run.
  returned: always
  type: str
state:
  description: State of the run as Airflow says it, empty where there is none.
  returned: always
  type: str
lines:
  description: One line for the run and one for each of its tasks.
  returned: always
  type: list
  elements: str
waits_for:
  description: What is to come before the run can be triggered; empty when nothing is.
  returned: always
  type: str
outcome:
  description: What the task O(result_of) ended with; empty until the run has succeeded.
  returned: always
  type: dict
tracked:
  description: With O(result_of) and a run that has ended, C(mlflow_run_id) and C(experiment_id) of its run in MLflow, as far as they are known.
  returned: always
  type: dict
progress:
  description: What was read of the search so far, for the next look.
  returned: always
  type: dict
problem:
  description: Why the run has failed or cannot be triggered, in one sentence and the last lines of the log; empty when nothing is wrong.
  returned: always
  type: str
"""

import math
import re
import time
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import (
    Airflow,
    Refused,
    excerpt,
    first_run_here,
    quoted,
    reason_of,
)

#: seconds between two questions, and until the module comes back although nothing has changed
EVERY = 1.0
PATIENCE = 15.0
#: characters that Airflow takes as the note of a run
NOTE = 1000
#: seconds between two readings of a search's logs, and how much longer than one reading that is at least
TRIALS_EVERY = 5.0
TIMES_READING = 10
#: what a searcher logs of each trial that has ended, with its value or values, ``pruned`` or ``failed`` (dags/lab_experiment/search.py)
TRIAL = re.compile(r"\[search\] trial \d+: .* -> (.+) in [\d.]+ s$")
#: what is told of a run's run in MLflow
TRACKED = ("mlflow_run_id", "experiment_id")
#: states of a task that has not begun its try, and of one that has ended it for good
WAITING = (None, "none", "scheduled", "queued")
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class Look:
    """What one look at Airflow found."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.lines: list[str] = []
        self.waits_for = ""
        self.state = ""
        self.problem = ""
        self.changed = False
        self.outcome: dict[str, Any] = {}
        self.tracked: dict[str, Any] = {}
        self.progress: dict[str, Any] = {}

    def result(self) -> dict[str, Any]:
        """Return the module's result."""
        return dict(vars(self))


def explain(answer: Any) -> str:
    """Return what an answer of Airflow's API says about itself."""
    detail = answer.body.get("detail", answer.body) if isinstance(answer.body, dict) else answer.body
    return f"HTTP {answer.status}: {str(detail)[:300]}"


def import_errors(airflow: Airflow) -> list[str]:
    """Return one line for each DAG file that cannot be imported."""
    answer = airflow.ask("/importErrors?limit=20")
    errors = answer.body.get("import_errors", []) if isinstance(answer.body, dict) else []
    return [f"{error['filename']}: {(error['stack_trace'].strip().splitlines() or ['?'])[-1]}" for error in errors]


def start(airflow: Airflow, path: str, run_id: str, conf: dict[str, Any], retry: bool, look: Look, check_mode: bool) -> None:
    """Make the run exist: unpause the DAG, trigger the run, clear it when it failed before."""
    run = airflow.ask(f"{path}/dagRuns/{quoted(run_id)}")
    look.state = run.body.get("state", "") if run.status == 200 else ""
    if look.state in ("success", "running", "queued") or (look.state and not retry):
        return
    look.changed = True
    if check_mode:
        return
    unpaused = airflow.ask(path, {"is_paused": False}, "PATCH")
    if unpaused.status != 200:
        look.problem = f"The DAG cannot be unpaused ({explain(unpaused)})."
    elif look.state:
        done = airflow.ask(f"{path}/dagRuns/{quoted(run_id)}/clear", {"dry_run": False, "run_on_latest_version": True})
        look.state = "queued"
        look.lines.append(f"run {run_id} failed before and runs again")
        if done.status != 200:
            look.problem = f"Run {run_id} failed before and cannot be cleared ({explain(done)})."
    else:
        triggered = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": f"Experiment {conf['experiment']}"[:NOTE]}
        done = airflow.ask(f"{path}/dagRuns", triggered)
        look.state = "queued"
        if done.status not in (200, 201, 409):  # 409: somebody else was faster
            look.problem = f"Run {run_id} cannot be triggered ({explain(done)})."


def find(airflow: Airflow, path: str, run_id: str, look: Look) -> None:
    """Tell the state of a run that has to be there."""
    run = airflow.ask(f"{path}/dagRuns/{quoted(run_id)}")
    if run.status == 200:
        look.state = run.body.get("state", "")
    elif run.status == 404:
        answer = airflow.ask(f"{path}/dagRuns?order_by=-run_after&limit=5")
        last = [one["dag_run_id"] for one in answer.body.get("dag_runs", [])] if answer.status == 200 else []
        look.problem = f"There is no run {run_id}; the last ones are {', '.join(last)}." if last else f"There is no run {run_id}, nor any other one."
    else:
        look.waits_for = f"Airflow does not show run {run_id} ({explain(run)})"


def result(airflow: Airflow, path: str, run_id: str, task: str, key: str = "return_value") -> dict[str, Any]:
    """Return what a task of a run gave under a key, where that is a dictionary."""
    answer = airflow.ask(f"{path}/dagRuns/{quoted(run_id)}/taskInstances/{quoted(task)}/xcomEntries/{key}")
    value = answer.body.get("value") if answer.status == 200 and isinstance(answer.body, dict) else None
    return value if isinstance(value, dict) else {}


def best_of(values: list[str], direction: list[str]) -> list[str]:
    """Return the best of the values, as a list of one; of none if there is none, or if several objectives or none that is known say what is best."""
    numbers = []
    for value in values if len(direction) == 1 else []:
        with suppress(ValueError):
            if math.isfinite(float(value)):
                numbers.append(value)
    return [(min if direction[0] == "minimize" else max)(numbers, key=float)] if numbers else []


def watch_search(airflow: Airflow, dag: str, run_id: str, tasks: list[dict[str, Any]], progress: dict[str, Any]) -> None:
    """Bring ``progress`` up to date when it is time to: its ``line`` says how many trials there are, and the best value.

    Of a try that has ended, the log is read once.
    """
    tries = [
        (task, number, number < task["try_number"] or task["state"] in ENDED)
        for task in tasks
        if task["task_id"] == "search"
        for number in range(1, (task.get("try_number") or 0) + 1)
        if number < task["try_number"] or task["state"] not in WAITING
    ]
    ended = sum(over for _task, _number, over in tries)
    begun = time.time()
    if not tries or (ended <= progress.get("ended", 0) and begun < progress.get("next", 0)):
        return
    path = f"/dags/{quoted(dag)}"
    if "direction" not in progress:
        document = result(airflow, path, run_id, "check").get("document") or {}
        study = result(airflow, path, run_id, "prepare", "run").get("study")
        progress["direction"] = (document.get("search") or {}).get("direction") or []
        # A study of another name began when a changed file was run again: what earlier tries logged is of another search.
        progress["earlier"] = isinstance(study, str) and study.endswith(f"/{run_id}")
    read: dict[str, Any] = progress.setdefault("read", {})
    count = 0
    values: list[str] = []
    for task, number, over in tries:
        if number < task["try_number"] and not progress["earlier"]:
            continue
        name = f"{task.get('map_index', -1)}/{number}"
        if name not in read:
            told = [found.group(1) for found in map(TRIAL.search, airflow.log(dag, run_id, {**task, "try_number": number})) if found]
            one: dict[str, Any] = {"count": len(told), "best": best_of(told, progress["direction"])}
            if over:
                read[name] = one
        else:
            one = read[name]
        count += one["count"]
        values += one["best"]
    best = best_of(values, progress["direction"])
    if count:
        progress["line"] = f"search: {count} trial{'' if count == 1 else 's'}{f', best {best[0]}' if best else ''}"
    progress["ended"] = ended
    progress["next"] = time.time() + max(TRIALS_EVERY, TIMES_READING * (time.time() - begun))


def follow(airflow: Airflow, dag: str, run_id: str, look: Look) -> list[dict[str, Any]]:
    """Add a line for each task, and the reason when the run has failed; return the tasks."""
    answer = airflow.ask(f"/dags/{quoted(dag)}/dagRuns/{quoted(run_id)}/taskInstances")
    tasks = answer.body.get("task_instances", []) if isinstance(answer.body, dict) else []
    for task in sorted(tasks, key=lambda t: t["start_date"] or "~"):
        if not task["state"]:
            continue
        place = f" on {task['hostname']}" if task.get("hostname") else ""
        took = f" in {task['duration']:.0f} s" if task.get("duration") and task["state"] in ("success", "failed") else ""
        why = f": {reason_of(airflow.log(dag, run_id, task))}" if task["state"] == "up_for_retry" else ""
        look.lines.append(f"task {task['task_id']}: {task['state']}{place}{took}{why}")
    if look.state == "failed":
        failed = next((task for task in tasks if task["state"] == "failed"), None)
        if failed is None:
            look.problem = f"Run {run_id} of DAG {dag} failed, and none of its tasks says why."
            return []
        log = airflow.log(dag, run_id, failed)
        place = failed.get("hostname") or "no worker"
        why = reason_of(log)
        look.problem = f"Task {failed['task_id']} of DAG {dag} failed on {place} (run {run_id}): {why}\n{excerpt(log)}".rstrip()
    return list(tasks)


def look_at_next(airflow: Airflow, source_path: str, source_run: str, dag: str, retry: bool, look: Look) -> None:
    """Go on with the run of another DAG that the end of ``source_run`` set going: its state is what counts now. Clear it when it failed before."""
    path = f"/dags/{quoted(dag)}"
    since = airflow.ask(f"{source_path}/dagRuns/{quoted(source_run)}").body.get("start_date") or ""
    answer = airflow.ask(f"{path}/dagRuns?order_by=run_after&limit=100&run_after_gte={quoted(since)}")
    runs = answer.body.get("dag_runs", []) if answer.status == 200 else []
    for run in runs:
        if run["run_type"] != "asset_triggered":
            continue
        events = airflow.ask(f"{path}/dagRuns/{quoted(run['dag_run_id'])}/upstreamAssetEvents").body
        if isinstance(events, dict) and any(event.get("source_run_id") == source_run for event in events.get("asset_events", [])):
            look.state = run["state"]
            if look.state == "failed" and retry:
                airflow.ask(f"{path}/dagRuns/{quoted(run['dag_run_id'])}/clear", {"dry_run": False, "run_on_latest_version": True})
                look.changed, look.state = True, "queued"
            look.lines.append(f"run {run['dag_run_id']} of DAG {dag}: {look.state}")
            follow(airflow, dag, run["dag_run_id"], look)
            return
    look.state = "queued"
    look.lines.append(f"DAG {dag} is not under way yet" if answer.status == 200 else f"DAG {dag} is not there ({explain(answer)})")


def look_at(airflow: Airflow, params: dict[str, Any], run_id: str, check_mode: bool) -> Look:
    """Look once, and do what is to be done to get the run going."""
    look = Look()
    look.progress = params["progress"]
    dag = params["dag"]
    path = f"/dags/{quoted(dag)}"
    try:
        found = airflow.ask(path)
        if found.status == 404:
            errors = import_errors(airflow)
            look.waits_for = f"DAG {dag} cannot be imported ({'; '.join(errors)})" if errors else f"DAG {dag} is not parsed yet"
        elif found.status != 200:
            look.problem = f"Airflow does not show DAG {dag} ({explain(found)})."
        else:
            if params["only_follow"]:
                find(airflow, path, run_id, look)
            else:
                start(airflow, path, run_id, {"experiment": params["experiment"], **params["conf"]}, params["retry"], look, check_mode)
            if look.state or not params["only_follow"]:
                look.lines.append(f"run {run_id}: {look.state or 'would be triggered'}")
            if look.state and not look.problem and not check_mode:
                tasks = follow(airflow, dag, run_id, look)
                if look.state == "running":
                    with suppress(Unreachable):  # a log that is not to be had stops nobody
                        watch_search(airflow, dag, run_id, tasks, look.progress)
                look.lines += filter(None, [look.progress.get("line")])
            if look.state in ("success", "failed") and params["result_of"]:
                look.tracked = {key: value for key, value in result(airflow, path, run_id, "prepare", "run").items() if key in TRACKED}
            if look.state == "success" and params["result_of"]:
                look.outcome = result(airflow, path, run_id, params["result_of"])
            if look.state == "success" and params["then"] and (not params["result_of"] or look.outcome.get("deploy")):
                look_at_next(airflow, path, run_id, params["then"], params["retry"] and not check_mode, look)
    except Refused as error:
        look.problem = f"{error}: the lab was set up with another one, write that one into the vault."
    except Unreachable as error:
        look.waits_for = f"Airflow cannot be asked yet: {error}"
    if look.waits_for:
        look.lines.append(look.waits_for)
    return look


def main() -> None:
    """Run the module: look until there is something new to tell."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "dag": {"type": "str", "default": "train"},
            "experiment": {"type": "str", "required": True},
            "then": {"type": "str", "default": ""},
            "first_run": {"type": "str", "default": "first-model"},
            "project": {"type": "str", "default": "mlops-lab-airflow"},
            "run_id": {"type": "str", "default": ""},
            "conf": {"type": "dict", "default": {}},
            "result_of": {"type": "str", "default": ""},
            "retry": {"type": "bool", "default": True},
            "only_follow": {"type": "bool", "default": False},
            "progress": {"type": "dict", "default": {}},
            "seen": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    run_id = params["run_id"] or first_run_here(params["first_run"], params["experiment"], params["project"])
    airflow = Airflow(params["url"], params["user"], params["password"])
    until = time.monotonic() + PATIENCE
    while True:
        look = look_at(airflow, params, run_id, module.check_mode)
        over = look.problem or look.state == "success" or look.changed or module.check_mode
        if over or look.lines != params["seen"] or time.monotonic() > until:
            module.exit_json(run_id=run_id, **look.result())
        params["progress"] = look.progress
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
