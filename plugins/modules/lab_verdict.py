#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a lab by what Airflow, MLflow and Flower say over their public interfaces."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_verdict
short_description: Judge a lab by what Airflow, MLflow and Flower answer
version_added: 0.1.0
description:
  - Checks Airflow's components, the first model's run and its log, Celery's workers, the run's metrics, plots and model in
    MLflow, that none of the three answers a stranger, and that Flower changes nothing and shows no argument of a task.
  - Asks nothing but the public HTTP interfaces and changes nothing; with O(worker_tasks) it triggers a run of the DAG C(workers).
  - A check that fails is a result in RV(checks), not a failure of the module.
options:
  airflow_url:
    description: Address of Airflow, as the host reaches it.
    type: str
    required: true
  airflow_user:
    description: User of Airflow.
    type: str
    required: true
  airflow_password:
    description: The user's password.
    type: str
    required: true
  airflow_project:
    description: Compose project of Airflow, to find the image it runs on.
    type: str
    required: true
  dag:
    description: The training DAG.
    type: str
    default: train
  experiment:
    description: Name of the first model's experiment file.
    type: str
    required: true
  document:
    description:
      - What the first model's experiment file has, whose sections say what has to be there of the run.
      - C(search) asks for its finished trials, of which two ran at once unless C(search.parallel) is 1; C(cross_validation) for folds; any of them and
        C(train.evaluate) for metrics; C(register) for a version of the model; C(deploy) for a deployment, unless only a new champion has one.
    type: dict
    required: true
  deploy_dag:
    description: DAG that deployed the run's model; empty for none.
    type: str
    default: ""
  first_run:
    description: Beginning of the id of the first model's run.
    type: str
    default: first-model
  mlflow_url:
    description: Address of MLflow, as the host reaches it.
    type: str
    required: true
  mlflow_user:
    description: User of MLflow.
    type: str
    required: true
  mlflow_password:
    description: The user's password.
    type: str
    required: true
  flower_url:
    description: Address of Flower, as the host reaches it.
    type: str
    required: true
  flower_user:
    description: User of Flower.
    type: str
    required: true
  flower_password:
    description: The user's password.
    type: str
    required: true
  workers:
    description:
      - Workers that have to be online -> the queues that each has to take tasks from. A worker is called as its host, without Celery's C(celery@).
      - Without any, it is enough that some worker is online.
    type: dict
    default: {}
  worker_tasks:
    description: Those of C(workers) that have to run a task, each with its task in the DAG C(workers), which runs on it alone.
    type: dict
    default: {}
  pages:
    description: More pages, which have to refuse a stranger and to answer whoever has the password.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: What it is., type: str, required: true}
      url: {description: "Its address, as the host reaches it.", type: str, required: true}
      path: {description: What is asked for there., type: str, required: true}
      user: {description: "Its user. Without one, the password is sent as a token, as JupyterLab takes it.", type: str, default: ""}
      password: {description: Its password., type: str, required: true}
  train_command:
    description: What a user types to train the first model, for messages; empty for nothing.
    type: str
    default: ""
  timeout:
    description: Seconds that what still starts up is waited for, all in all.
    type: int
    default: 60
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Ask Airflow, MLflow and Flower
  mlops.lab.lab_verdict:
    airflow_url: http://127.0.0.1:8080
    airflow_user: admin
    airflow_password: "{{ vault_airflow_admin_password }}"
    airflow_project: mlops-lab-airflow
    experiment: wine
    mlflow_url: http://127.0.0.1:5000
    mlflow_user: admin
    mlflow_password: "{{ vault_mlflow_admin_password }}"
    mlflow_experiment: wine
    model: wine-cultivars
    flower_url: http://127.0.0.1:5555
    flower_user: admin
    flower_password: "{{ vault_flower_password }}"
  register: __verdict
"""

RETURN = r"""
checks:
  description: The checks, each with C(name), C(ok), C(detail) and C(seconds).
  returned: always
  type: list
  elements: dict
run:
  description: The first model's run in Airflow (C(id), C(worker)) and in MLflow (C(mlflow_experiment_id), C(mlflow_run_id), C(metrics)).
  returned: always
  type: dict
tasks:
  description: The run's tasks in Airflow in the order of their start, each with C(name), C(host), C(queue) and C(seconds).
  returned: always
  type: list
  elements: dict
pictures:
  description: Up to three of the run's plots in MLflow, each with its C(path), its media C(type) and C(data) in base64. None is larger than 300 kB.
  returned: always
  type: list
  elements: dict
model:
  description: C(name), C(version) and C(uri) of the registered model; empty when there is none.
  returned: always
  type: dict
image:
  description: C(id) and C(name) of the image that Airflow runs on, and the C(digests) that it has in registries.
  returned: always
  type: dict
versions:
  description: Versions by the name of the software, as it tells them itself.
  returned: always
  type: dict
"""

import base64
import ipaddress
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import (
    COMPONENTS,
    Airflow,
    Answer,
    Api,
    containers,
    first_run,
    image_digests,
    lab_image,
    quoted,
    reason_of,
)
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Checks, Failed, counted, eventually

PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".webp", ".pdf", ".html")
#: of those, what a page shows where it names them, by their ending
SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml", ".webp": "image/webp"}
#: seconds that a task on each worker may take: Airflow learns of a new worker, and a worker that lost its queues with the broker finds them again
PROOF = 180
#: of a search that does not say them, as in dags/lab_experiment/schema.json
TRIALS = 20
PARALLEL = 2
MOST_PICTURES = 3
MOST_BYTES = 300_000
MLFLOW = "/api/2.0/mlflow"
ASK_WORKERS = "/api/workers?refresh=1"


def wanted(answer: Answer, what: str) -> Any:
    """Return the body of an answer that has to be 200."""
    if answer.status != 200:
        raise Failed(f"{what}: HTTP {answer.status}")
    return answer.body


def same_host(name: str, other: str) -> bool:
    """Tell whether two names are the same host, one of them perhaps without its domain. An address has none."""
    return name == other or (not is_address(name) and not is_address(other) and name.split(".")[0] == other.split(".")[0])


def is_address(name: str) -> bool:
    """Tell whether the name of a host is an IP address."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


class Verdict:
    """The checks, in an order in which each can use what those before it found."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params
        #: the sections of the experiment file; one that is not there is empty
        self.sections: dict[str, dict[str, Any]] = {
            name: params["document"].get(name) or {} for name in ("search", "cross_validation", "train", "track", "register", "deploy")
        }
        self.airflow = Airflow(params["airflow_url"], params["airflow_user"], params["airflow_password"])
        self.mlflow = Api(params["mlflow_url"], params["mlflow_user"], params["mlflow_password"])
        self.flower = Api(params["flower_url"], params["flower_user"], params["flower_password"])
        self.asked: Future[Answer] | None = None
        self.image: dict[str, Any] = {"id": "", "name": "", "digests": []}
        self.workers: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.run: dict[str, Any] = {"id": "", "worker": "", "mlflow_experiment_id": "", "mlflow_run_id": "", "metrics": {}}
        self.pictures: list[dict[str, str]] = []
        self.mlflow_run: dict[str, Any] = {}
        self.model: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def judge(self) -> list[dict[str, Any]]:
        """Run all checks and return them."""
        checks = Checks()
        if self.params["workers"]:  # who take a second or two to answer, meanwhile the others are asked
            self.asked = ThreadPoolExecutor(1).submit(self.flower.ask, ASK_WORKERS)
        self.look_around()
        until = time.monotonic() + self.params["timeout"]  # from here on, since the first login may have to wait
        checks.run("Airflow's components are healthy", lambda: eventually(self.components, until))
        checks.run("Airflow imports every DAG", self.imports)
        checks.run("Airflow refuses a stranger", lambda: self.refuses(self.params["airflow_url"], "/api/v2/dags"))
        checks.run("MLflow refuses a stranger", lambda: self.refuses(self.params["mlflow_url"], f"{MLFLOW}/experiments/search?max_results=1"))
        checks.run("Flower refuses a stranger", lambda: self.refuses(self.params["flower_url"], "/api/workers", "/"))
        checks.run("Flower shows the worker", lambda: eventually(self.celery_workers, until))
        checks.run("Flower changes nothing, and hides what tasks were given", self.flower_only_shows)
        checks.run("The first model's run, triggered over the API, succeeded", self.first_model)
        checks.run("A Celery worker ran it", self.on_a_worker)
        checks.run("MLflow tracked the run", self.tracked)
        checks.run("Its log can be read over the API", self.log)
        if self.sections["search"]:
            several = ", in several processes at the same time" if self.searchers() > 1 else ""
            checks.run(f"Its search tried enough{several}", self.searched)
        if self.sections["cross_validation"]:
            checks.run("Its cross-validation has its folds", self.cross_validated)
        checks.run("MLflow has its metrics", self.metrics)
        checks.run("MLflow has its plots", self.plots)
        if self.sections["register"]:
            checks.run("MLflow has its registered model", self.registered)
        if self.sections["deploy"] and self.params["deploy_dag"]:
            checks.run("Its end set the deployment going, which succeeded", self.deployed)
        if self.params["workers"]:
            taken = checks.run("Each worker host takes tasks from its queues", lambda: eventually(self.worker_hosts, time.monotonic() + self.params["timeout"]))
            if taken and self.params["worker_tasks"]:  # a worker that takes none is named already
                checks.run("Each worker host runs tasks", lambda: self.worker_tasks(time.monotonic() + PROOF))
        for page in self.params["pages"]:
            checks.run(f"{page['name']} refuses a stranger", partial(self.refuses, page["url"], page["path"]))
            checks.run(f"{page['name']} answers with its password", partial(self.answers, page))
        return checks.found

    def look_around(self) -> None:
        """Find the image and the versions; what cannot be found stays empty, a check says why."""
        with suppress(Unreachable):
            self.image["id"], self.image["name"] = lab_image(containers([self.params["airflow_project"]]))
        if self.image["id"]:
            self.image["digests"] = image_digests(self.image["id"])
        self.run["id"] = first_run(self.params["first_run"], self.params["experiment"], self.image["id"])
        for name, api, path in (("airflow", self.airflow, "/version"), ("mlflow", self.mlflow, "/version")):
            try:
                body = wanted(api.ask(path), path)
            except Exception:
                continue
            self.versions[name] = body["version"] if isinstance(body, dict) else str(body).strip()

    def components(self) -> str:
        """Read each component's own state; the address answers 200 even when one of them is down."""
        health = wanted(self.airflow.ask("/monitor/health"), "/api/v2/monitor/health")
        states = {name: (health.get(name) or {}).get("status") for name in COMPONENTS}
        ill = [f"{name} is {state or 'missing'}" for name, state in states.items() if state != "healthy"]
        if ill:
            raise Failed(", ".join(ill))
        return f"{', '.join(states)} healthy"

    def imports(self) -> str:
        """Ask for files that Airflow could not import, and for the DAGs it could."""
        errors = wanted(self.airflow.ask("/importErrors?limit=20"), "/api/v2/importErrors")["import_errors"]
        if errors:
            lines = [f"{e['filename']}: {(e['stack_trace'].strip().splitlines() or ['?'])[-1]}" for e in errors]
            raise Failed("; ".join(lines))
        dags = wanted(self.airflow.ask("/dags?limit=100"), "/api/v2/dags")["dags"]
        return f"{counted(len(dags), 'DAG')}, no import error"

    def refuses(self, url: str, *paths: str) -> str:
        """Ask without a password and with a wrong one; both have to be refused."""
        answers = []
        for api in (Api(url), Api(url, "admin", "a-wrong-password")):
            for path in paths:
                status = api.ask(path).status
                answers.append(str(status))
                if status not in (401, 403):
                    raise Failed(f"{url}{path.split('?')[0]} answered {status} to somebody without a password")
        return f"HTTP {', '.join(sorted(set(answers)))} without a password and with a wrong one"

    def answers(self, page: dict[str, str]) -> str:
        """Ask a page with its password."""
        api = Api(page["url"], page["user"], page["password"])
        if not page["user"]:
            api.headers["Authorization"] = f"token {page['password']}"
        wanted(api.ask(page["path"]), page["path"])
        return f"{page['url']}{page['path']} answers"

    def celery_workers(self) -> str:
        """Ask Flower for the workers that are online."""
        states = wanted(self.flower.ask("/api/workers?status=1"), "/api/workers")
        self.workers = sorted(name for name, online in states.items() if online)
        if not self.workers:
            wanted(self.flower.ask(ASK_WORKERS), "/api/workers")  # makes Flower look again
            raise Failed(f"no worker is online ({len(states)} known)")
        return ", ".join(self.workers)

    def worker_hosts(self) -> str:
        """Ask the workers themselves, through Flower, for the queues that they consume; one that only sends its heartbeats may consume none."""
        asked, self.asked = self.asked, None
        told = wanted(asked.result() if asked else self.flower.ask(ASK_WORKERS), "/api/workers")
        states = wanted(self.flower.ask("/api/workers?status=1"), "/api/workers")
        expected = {f"celery@{host}": (host, queues) for host, queues in self.params["workers"].items()}
        ill = []
        for name, (host, queues) in expected.items():
            consumed = {queue["name"] for queue in (told.get(name) or {}).get("active_queues") or []}
            if not states.get(name):
                ill.append(f"the worker of {host} is {'offline' if name in states else 'missing'}")
            elif missing := [queue for queue in queues if queue not in consumed]:
                ill.append(f"the worker of {host} takes nothing from {', '.join(missing)}")
        if ill:
            others = sorted(name for name, online in states.items() if online and name not in expected)
            raise Failed("; ".join(ill) + (f"; online beside them: {', '.join(others)}" if others else ""))
        return "; ".join(f"{host}: {', '.join(queues)}" for host, queues in expected.values())

    def worker_tasks(self, until: float) -> str:
        """Run the DAG ``workers``, and look where each of its tasks ran. A worker that runs another task meanwhile may have no room for it, and is well."""
        proof = eventually(self.begin_worker_tasks, until)
        expected: dict[str, str] = self.params["worker_tasks"]
        while True:
            tasks = {task["task_id"]: task for task in self.instances(f"/dags/workers/dagRuns/{proof}/taskInstances")}
            states = {worker: (tasks.get(name) or {}).get("state") or "not begun" for worker, name in expected.items()}
            if all(state in ("success", "failed") for state in states.values()) or time.monotonic() > until:
                break
            time.sleep(2)
        open_ones = [worker for worker, state in states.items() if state not in ("success", "failed")]
        running = {task["hostname"] for task in self.instances("/dags/~/dagRuns/~/taskInstances", state="running")} if open_ones else set()
        busy = {worker for worker in open_ones if any(same_host(worker, host) for host in running if host)}
        ill = []
        for worker, name in expected.items():
            state, host = states[worker], (tasks.get(name) or {}).get("hostname") or ""
            if state == "failed":
                ill.append(f"the task on {name} failed: {reason_of(self.airflow.log('workers', proof, tasks[name]))}")
            elif state == "success" and not same_host(host, worker):
                ill.append(f"the task for {name} ran on {host}")
            elif state != "success" and worker not in busy:
                ill.append(f"the task on {name} is {state}: the log of its worker may say why")
        if ill:
            raise Failed("; ".join(ill))
        return ", ".join(f"{name} (busy with others)" if worker in busy else name for worker, name in expected.items())

    def begin_worker_tasks(self) -> str:
        """Trigger the DAG ``workers``, once Airflow knows its tasks; gives the run's id."""
        answer = self.airflow.ask("/dags/workers/tasks")
        if answer.status == 404:
            raise Failed("Airflow has no DAG workers yet")
        known = {task["task_id"] for task in wanted(answer, "/api/v2/dags/workers/tasks")["tasks"]}
        if new := sorted(set(self.params["worker_tasks"].values()) - known):  # Airflow reads the DAG again every half minute
            raise Failed(f"the DAG workers has no task for {', '.join(new)} yet")
        proof = f"verdict-{time.time_ns()}"
        answer = self.airflow.ask("/dags/workers/dagRuns", {"dag_run_id": proof, "logical_date": None})
        if answer.status not in (200, 201):
            raise Failed(f"the DAG workers cannot be run: HTTP {answer.status}")
        return proof

    def instances(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Ask for task instances, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.airflow.ask(f"{path}?{urlencode({**query, 'limit': 100, 'offset': len(found)})}")
            page = wanted(answer, f"/api/v2{path}")["task_instances"]
            found += page
            if len(page) < 100:
                return found

    def flower_only_shows(self) -> str:
        """Ask Flower for what it must not do, and look for arguments of tasks, which hold tokens.

        The request to send a task has arguments of the wrong type, which a Flower that is open refuses with 400 before it sends anything.
        """
        for what, status in (
            ("sends tasks to the workers for its user", self.flower.ask("/api/task/send-task/execute_workload", {"args": 0}).status),
            ("tells its user the arguments of tasks at /api/tasks", self.flower.ask("/api/tasks?limit=1").status),
            ("shows its /metrics to somebody without a password", Api(self.params["flower_url"]).ask("/metrics").status),
        ):
            if status not in (401, 403, 404, 405):
                raise Failed(f"it {what} (HTTP {status})")
        query = {"draw": 1, "start": 0, "length": 100, "search[value]": "", "order[0][column]": 0, "order[0][dir]": "asc", "columns[0][data]": "name"}
        rows = wanted(self.flower.ask(f"/tasks/datatable?{urlencode(query)}"), "/tasks/datatable")["data"]
        shown = [row["uuid"] for row in rows if row.get("args") not in (None, "", "hidden")]
        if shown:
            raise Failed(f"it shows its user the arguments of {counted(len(shown), 'task')}, {shown[0]} for example")
        return f"sends no task, shows no metrics, {counted(len(rows), 'task')} without arguments"

    def first_model(self) -> str:
        """Look at the first model's run and its tasks."""
        path = f"/dags/{quoted(self.params['dag'])}/dagRuns/{quoted(self.run['id'])}"
        answer = self.airflow.ask(path)
        if answer.status == 404:
            command = self.params["train_command"]
            raise Failed(f"there is no run {self.run['id']}" + (f": `{command}` makes it" if command else ""))
        run = wanted(answer, path)
        self.tasks = wanted(self.airflow.ask(f"{path}/taskInstances"), path)["task_instances"]
        if run["state"] != "success":
            failed = next((task for task in self.tasks if task["state"] == "failed"), None)
            why = f", task {failed['task_id']}: {reason_of(self.airflow.log(self.params['dag'], self.run['id'], failed))}" if failed else ""
            raise Failed(f"{self.run['id']} is {run['state']}{why}")
        if run.get("triggered_by") not in ("rest_api", None):
            raise Failed(f"{self.run['id']} was triggered by {run['triggered_by']}")
        return f"{self.run['id']} in {run.get('duration') or 0:.0f} s ({counted(len(self.tasks), 'task')})"

    def on_a_worker(self) -> str:
        """Compare where the tasks ran with the workers that Flower shows."""
        if not self.tasks:
            raise Failed("there is no run to look at")
        hosts = sorted({task["hostname"] or "nowhere" for task in self.tasks if task["state"] == "success"})
        self.run["worker"] = ", ".join(hosts)
        workers = [worker.partition("@")[2] for worker in self.workers]
        strange = [host for host in hosts if not any(same_host(host, worker) for worker in workers)]
        if strange:
            raise Failed(f"a task ran on {', '.join(strange)}; Flower's workers are {', '.join(self.workers) or 'none'}")
        queues = sorted({str(task.get("queue")) for task in self.tasks})
        return f"{', '.join(hosts)}, queue {', '.join(queues)}"

    def tracked(self) -> str:
        """Find the MLflow run that carries the Airflow run's id."""
        name = self.sections["track"].get("experiment") or self.params["experiment"]
        answer = self.mlflow.ask(f"{MLFLOW}/experiments/get-by-name?experiment_name={quoted(name)}")
        experiment = wanted(answer, f"experiment {name}")["experiment"]["experiment_id"]
        query = {
            "experiment_ids": [experiment],
            "filter": f"tags.`airflow.run_id` = '{self.run['id']}' AND tags.`airflow.dag_id` = '{self.params['dag']}' AND attributes.status = 'FINISHED'",
            "order_by": ["attributes.start_time DESC"],
            "max_results": 1,
        }
        runs = wanted(self.mlflow.ask(f"{MLFLOW}/runs/search", query), "runs/search").get("runs", [])
        if not runs:
            raise Failed(f"experiment {name} has no finished run with the tag airflow.run_id={self.run['id']}")
        self.mlflow_run = runs[0]
        self.run["mlflow_run_id"] = self.mlflow_run["info"]["run_id"]
        self.run["mlflow_experiment_id"] = experiment
        params = self.mlflow_run["data"].get("params", [])
        return f"{self.run['mlflow_run_id']} in experiment {name}, {counted(len(params), 'parameter')}"

    def log(self) -> str:
        """Read the log of every task; the one that trained names its MLflow run."""
        if not self.tasks:
            raise Failed("there is no run to look at")
        logs = {task["task_id"]: self.airflow.log(self.params["dag"], self.run["id"], task) for task in self.tasks}
        empty = [task for task, lines in logs.items() if not lines]
        if empty:
            raise Failed(f"the log of {', '.join(empty)} cannot be read")
        mlflow_run = self.run["mlflow_run_id"]
        naming = [task for task, lines in logs.items() if mlflow_run and any(mlflow_run in line for line in lines)]
        if not naming:
            raise Failed("the logs can be read, but none names the MLflow run")
        return f"{sum(map(len, logs.values()))} lines; {', '.join(naming)} names MLflow run {mlflow_run}"

    def nested(self, kind: str, parent: str) -> list[dict[str, Any]]:
        """Return the runs of a kind (search, trial, cross_validation, fold) below another one in MLflow, the oldest first."""
        query = {
            "experiment_ids": [self.mlflow_run["info"]["experiment_id"]],
            "filter": f"tags.`mlflow.parentRunId` = '{parent}' AND tags.`lab.kind` = '{kind}'",
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1000,
        }
        return list(wanted(self.mlflow.ask(f"{MLFLOW}/runs/search", query), "runs/search").get("runs", []))

    def searchers(self) -> int:
        """Return how many tasks search at once; of so few trials that one searcher may have made all of them, only one is asked for."""
        return min(int(self.sections["search"].get("parallel", PARALLEL)), self.least_trials() // 2)

    def least_trials(self) -> int:
        """Return the trials that are there when the search is done. A grid may have fewer points than trials, and a time limit may end it before."""
        search = self.sections["search"]
        sampler = search.get("sampler")
        grid = "grid" in (sampler, sampler.get("name") if isinstance(sampler, dict) else "")
        return 1 if grid or search.get("timeout") else int(search.get("trials", TRIALS))

    def searched(self) -> str:
        """Count the trials in MLflow, and the searching tasks that ran at the same time as another one in another process."""
        if not self.mlflow_run:
            raise Failed("there is no run to look at")
        trials = [trial for search in self.nested("search", self.run["mlflow_run_id"]) for trial in self.nested("trial", search["info"]["run_id"])]
        done = [trial for trial in trials if trial["info"]["status"] in ("FINISHED", "FAILED", "KILLED")]
        if len(done) < self.least_trials():
            raise Failed(f"{counted(len(done), 'finished trial')} in MLflow, {self.least_trials()} were wanted")
        tasks = [task for task in self.tasks if task["task_id"] == "search" and task["start_date"] and task["end_date"]]
        at_once = [
            task
            for task in tasks
            if any(
                (other["hostname"], other["pid"]) != (task["hostname"], task["pid"])
                and other["start_date"] < task["end_date"]
                and task["start_date"] < other["end_date"]
                for other in tasks
            )
        ]
        if len(at_once) < 2 and self.searchers() > 1:
            raise Failed(f"{counted(len(tasks), 'task')} searched, but no two at the same time in different processes")
        seconds = max((task["duration"] or 0 for task in tasks), default=0)
        processes = ", ".join(sorted(f"{task['hostname']} {task['pid']}" for task in at_once or tasks))
        return f"{counted(len(done), 'trial')} in {seconds:.0f} s, in the processes {processes}"

    def cross_validated(self) -> str:
        """Find the folds in MLflow, and the mean of each score with its deviation."""
        if not self.mlflow_run:
            raise Failed("there is no run to look at")
        folds = [fold for run in self.nested("cross_validation", self.run["mlflow_run_id"]) for fold in self.nested("fold", run["info"]["run_id"])]
        found = {m["key"]: m["value"] for m in self.mlflow_run["data"].get("metrics", [])}
        means = {name[3:-5]: value for name, value in found.items() if name.startswith("cv_") and name.endswith("_mean")}
        if len(folds) < 2 or not means:
            raise Failed(f"{counted(len(folds), 'fold')} and {counted(len(means), 'score')} in MLflow")
        scores = ", ".join(f"{name} {value:.4g} ± {found.get(f'cv_{name}_deviation', float('nan')):.2g}" for name, value in sorted(means.items()))
        return f"{counted(len(folds), 'fold')}, {scores}"

    def deployed(self) -> str:
        """Find the run of the deploying DAG that the first model's run set going. Where only a champion is deployed, one that is not needs none."""
        path = f"/dags/{quoted(self.params['deploy_dag'])}/dagRuns"
        since = min((task["start_date"] for task in self.tasks if task["start_date"]), default="")
        for run in wanted(self.airflow.ask(f"{path}?order_by=run_after&limit=100&run_after_gte={quoted(since)}"), path)["dag_runs"]:
            events = self.airflow.ask(f"{path}/{quoted(run['dag_run_id'])}/upstreamAssetEvents").body if run["run_type"] == "asset_triggered" else {}
            if any(event.get("source_run_id") == self.run["id"] for event in events.get("asset_events", [])):
                if run["state"] != "success":
                    raise Failed(f"{run['dag_run_id']} is {run['state']}")
                return f"{run['dag_run_id']} in {run.get('duration') or 0:.0f} s"
        champion = "champion" if self.sections["register"].get("champion") else "always"
        if (self.sections["deploy"].get("when") or champion) == "champion" and self.model:
            answer = self.mlflow.ask(f"{MLFLOW}/registered-models/alias?name={quoted(self.model['name'])}&alias=champion")
            if answer.status == 200 and (version := str(answer.body["model_version"]["version"])) != self.model["version"]:
                return f"none was to be: version {version} is the champion"
        raise Failed(f"no run of DAG {self.params['deploy_dag']} was set going by {self.run['id']}")

    def metrics(self) -> str:
        """Show the run's metrics."""
        found = {m["key"]: m["value"] for m in self.mlflow_run.get("data", {}).get("metrics", [])}
        if not self.mlflow_run:
            raise Failed("there is no run to look at")
        if not found and not any((self.sections["search"], self.sections["cross_validation"], self.sections["train"].get("evaluate"))):
            return "none: the experiment evaluates nothing"
        if not found:
            raise Failed("the run has no metrics")
        self.run["metrics"] = found
        return ", ".join(f"{name} {value:.4g}" for name, value in sorted(found.items()))

    def plots(self) -> str:
        """Find pictures among the run's artefacts, down to two levels."""
        if not self.mlflow_run:
            raise Failed("there is no run to look at")
        folders, found = [""], []
        for depth in range(3):
            below: list[str] = []
            for folder in folders:
                query = f"run_id={self.run['mlflow_run_id']}&path={quoted(folder)}"
                files = wanted(self.mlflow.ask(f"{MLFLOW}/artifacts/list?{query}"), "artifacts/list").get("files", [])
                below += [file["path"] for file in files if file.get("is_dir") and depth < 2]
                found += [file for file in files if file["path"].lower().endswith(PICTURES) and int(file.get("file_size", 0))]
            folders = below
        if not found and not self.sections["search"]:
            return "none: the experiment neither searches nor draws"
        if not found:
            raise Failed("the run has no picture among its artefacts")
        self.pictures = self.fetched(found)
        return ", ".join(f"{file['path']} ({int(file['file_size']) / 1000:.0f} kB)" for file in found)

    def fetched(self, files: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Return the first pictures that a page can show and that are small enough, with what is in them; one that is not given is left out."""
        pictures: list[dict[str, str]] = []
        for file in files:
            media = SHOWN.get("." + file["path"].lower().rpartition(".")[2])
            if not media or int(file["file_size"]) > MOST_BYTES or len(pictures) == MOST_PICTURES:
                continue
            with suppress(Unreachable):
                data = self.mlflow.file(f"/get-artifact?run_id={quoted(self.run['mlflow_run_id'])}&path={quoted(file['path'])}", MOST_BYTES)
                if data:
                    pictures.append({"path": file["path"], "type": media, "data": base64.b64encode(data).decode()})
        return pictures

    def task_times(self) -> list[dict[str, Any]]:
        """Return the tasks of the first model's run that began, in this order, with their seconds."""
        began = sorted((task for task in self.tasks if task.get("start_date")), key=lambda task: str(task["start_date"]))
        return [
            {
                "name": task["task_id"] + (f" {task['map_index']}" if task.get("map_index", -1) >= 0 else ""),
                "host": task.get("hostname") or "",
                "queue": task.get("queue") or "",
                "seconds": round(task.get("duration") or 0, 1),
            }
            for task in began
        ]

    def registered(self) -> str:
        """Find the registered version that comes from the run."""
        name = self.sections["register"]["name"]
        answer = self.mlflow.ask(f"{MLFLOW}/model-versions/search?max_results=200&filter={quoted(f'''name='{name}' ''')}")
        versions = wanted(answer, "model-versions/search").get("model_versions", [])
        ours = [v for v in versions if self.run["mlflow_run_id"] and v.get("run_id") == self.run["mlflow_run_id"]]
        if not ours:
            raise Failed(f"{name} has {counted(len(versions), 'version')}, none of this run")
        version = max(ours, key=lambda v: int(v["version"]))
        if version.get("status", "READY") != "READY":
            raise Failed(f"{name} version {version['version']} is {version['status']}")
        self.model = {"name": name, "version": str(version["version"]), "uri": f"models:/{name}/{version['version']}"}
        return f"{name} version {version['version']}"


def main() -> None:
    """Run the module."""
    text = {"type": "str", "required": True}
    secret = {"type": "str", "required": True, "no_log": True}
    module = AnsibleModule(
        argument_spec={
            "airflow_url": text,
            "airflow_user": text,
            "airflow_password": secret,
            "airflow_project": text,
            "dag": {"type": "str", "default": "train"},
            "experiment": text,
            "document": {"type": "dict", "required": True},
            "deploy_dag": {"type": "str", "default": ""},
            "first_run": {"type": "str", "default": "first-model"},
            "mlflow_url": text,
            "mlflow_user": text,
            "mlflow_password": secret,
            "flower_url": text,
            "flower_user": text,
            "flower_password": secret,
            "workers": {"type": "dict", "default": {}},
            "worker_tasks": {"type": "dict", "default": {}},
            "pages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": text, "url": text, "path": text, "user": {"type": "str", "default": ""}, "password": secret},
            },
            "train_command": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    verdict = Verdict(module.params)
    checks = verdict.judge()
    module.exit_json(
        changed=False,
        checks=checks,
        run=verdict.run,
        tasks=verdict.task_times(),
        pictures=verdict.pictures,
        model=verdict.model,
        image=verdict.image,
        versions=verdict.versions,
    )


if __name__ == "__main__":
    main()
