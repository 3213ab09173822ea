"""The verdict and the first training against servers that answer as Airflow, MLflow and Flower do (Airflow 3.3, MLflow 3.17, Flower 2)."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import shlex
import shutil
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.module_utils import engine, lab_api
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Checks, Failed, counted, eventually
from ansible_collections.mlops.lab.plugins.modules import lab_containers, lab_dag_look, lab_model, lab_verdict
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import ROOT, Run
from tests.unit.authorities import SIGNS, authority, certify, sign
from tests.unit.plays import wired

RUN = "first-model-wine-0123456789ab"
IMAGE = "0123456789ab" + "0" * 52
PASSWORD = "a-password-of-the-lab"
BASIC = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
PICTURE = b"\x89PNG\r\n\x1a\n\xff"
FLOWER = "Flower changes nothing, and hides what tasks were given"
WORKERS = "Each worker host takes tasks from its queues"
FLEET = {"state": "success", "start_date": "2026-11-24T07:00:00Z", "duration": 3.2, "hostname": "worker1", "try_number": 1, "map_index": -1}


class Lab:
    """A lab whose answers a test can change: ``answers[path]`` is a body, or a pair of status and body."""

    def __init__(self) -> None:
        """Answer as a lab does in which all is well."""
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[str, Any] = {
            "/api/v2/version": {"version": "3.3.2"},
            "/api/v2/monitor/health": {name: {"status": "healthy"} for name in lab_api.COMPONENTS},
            "/api/v2/importErrors": {"import_errors": []},
            "/api/v2/dags": {"dags": [{"dag_id": "train"}]},
            "/api/v2/dags/train": {"dag_id": "train", "is_paused": False},
            f"/api/v2/dags/train/dagRuns/{RUN}": {"state": "success", "duration": 12.0, "triggered_by": "rest_api"},
            f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances": {
                "task_instances": [{"task_id": "check", "queue": "default", **FLEET}, {"task_id": "run", "queue": "default", **FLEET}]
            },
            f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/check/logs/1": {"content": [{"event": "no mistake"}]},
            f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/run/logs/1": {
                "content": [{"event": "::group::Log"}, {"event": "[track] MLflow run abc123 in the experiment 'wine'"}]
            },
            "/version": "3.17.2",
            "/api/2.0/mlflow/experiments/search": {},
            "/api/2.0/mlflow/experiments/get-by-name": {"experiment": {"experiment_id": "1"}},
            "/api/2.0/mlflow/runs/search": {
                "runs": [{"info": {"run_id": "abc123"}, "data": {"metrics": [{"key": "accuracy", "value": 0.97777}], "params": [{}]}}]
            },
            "/api/2.0/mlflow/artifacts/list?": {"files": [{"path": "plots", "is_dir": True}]},
            "/api/2.0/mlflow/artifacts/list?plots": {"files": [{"path": "plots/a.png", "file_size": "23456"}]},
            "/get-artifact?plots/a.png": PICTURE,
            "/api/2.0/mlflow/model-versions/search": {
                "model_versions": [{"version": "9", "run_id": "other"}, {"version": "10", "run_id": "abc123", "status": "READY"}]
            },
            "/api/workers": {"celery@worker1": True},
            "/": "Flower",
            "/tasks/datatable": {"data": [{"uuid": "1", "args": "hidden"}, {"uuid": "2", "args": None}]},
        }

    def answer(self, method: str, path: str, query: dict[str, list[str]], authorization: str, body: Any) -> tuple[int, Any]:
        """Return status and body."""
        if path == "/auth/token":
            return (201, {"access_token": "t0ken"}) if body == {"username": "admin", "password": PASSWORD} else (401, {"detail": "Invalid credentials"})
        if authorization != ("Bearer t0ken" if path.startswith("/api/v2/") else BASIC):
            return 401, {"detail": "Not authenticated"}
        self.asked.append((method, path, body))
        if path.endswith(("artifacts/list", "/get-artifact")):
            path += f"?{(query.get('path') or [''])[0]}"
        found = self.answers.get(path, (404, {"detail": "not found"}))
        found = found(method, body) if callable(found) else found
        return found if isinstance(found, tuple) else (200, found)


@pytest.fixture
def lab() -> Lab:
    """Return a lab in which all is well."""
    return Lab()


@pytest.fixture
def url(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the lab and return its address; its Airflow runs on IMAGE."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
            status, answer = lab.answer(self.command, urllib.parse.unquote(parts.path), query, self.headers.get("Authorization", ""), body)
            raw = answer if isinstance(answer, bytes) else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    service = {"com.docker.compose.service": "airflow-scheduler", "com.docker.compose.project": "p"}
    container = {"Image": f"sha256:{IMAGE}", "Config": {"Image": "lab/airflow:3.3.2", "Labels": service}}
    for module in (lab_api, lab_verdict):
        monkeypatch.setattr(module, "containers", lambda _projects: [container])
    monkeypatch.setattr(lab_verdict, "image_digests", lambda _image: ["sha256:d1"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_login_that_the_gateway_has_too_many_of_waits_its_turn(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway takes a login in six seconds from an address; whoever tries on for long is told so."""
    waited: list[float] = []
    refused = [(429, "Too many logins from this address: try again in a minute.")] * 2
    answer = lab.answer
    monkeypatch.setattr(lab, "answer", lambda method, path, *more: refused.pop() if path == "/auth/token" and refused else answer(method, path, *more))
    monkeypatch.setattr(time, "sleep", waited.append)
    assert lab_api.Airflow(url, "admin", PASSWORD).ask("/version").status != 429 and waited == [6, 6]
    refused += [(429, "Too many logins from this address: try again in a minute.")] * 10
    with pytest.raises(engine.Unreachable, match="/auth/token answered 429"):
        lab_api.Airflow(url, "admin", PASSWORD).ask("/version")
    assert len(refused) == 10 - 6


def judged(url: str, **changes: Any) -> lab_verdict.Verdict:
    """Return the verdict on the lab."""
    params = {
        **{f"{name}_url": url for name in ("airflow", "mlflow", "flower")},
        **{f"{name}_user": "admin" for name in ("airflow", "mlflow", "flower")},
        **{f"{name}_password": PASSWORD for name in ("airflow", "mlflow", "flower")},
        "airflow_project": "p",
        "dag": "train",
        "experiment": "wine",
        "document": {"train": {"call": "wine:train", "evaluate": {"call": "wine:scores"}}, "register": {"name": "wine-cultivars"}},
        "deploy_dag": "deploy",
        "first_run": "first-model",
        "timeout": 0,
        "workers": {},
        "worker_tasks": {},
        "pages": [],
        "train_command": "make train",
    }
    return lab_verdict.Verdict({**params, **changes})


def failures(checks: list[dict[str, Any]]) -> dict[str, str]:
    """Return the details of the checks that failed, by name."""
    return {check["name"]: check["detail"] for check in checks if not check["ok"]}


def test_a_lab_in_which_all_is_well(lab: Lab, url: str) -> None:
    """Every check passes, and the report has everything a user wants to know; nothing was changed."""
    verdict = judged(url)
    checks = verdict.judge()
    assert failures(checks) == {}
    details = " / ".join(check["detail"] for check in checks)
    for words in ("accuracy 0.9778", "plots/a.png (23 kB)", "wine-cultivars version 10", "worker1, queue default", "celery@worker1"):
        assert words in details
    assert verdict.run == {"id": RUN, "worker": "worker1", "mlflow_experiment_id": "1", "mlflow_run_id": "abc123", "metrics": {"accuracy": 0.97777}}
    assert verdict.pictures == [{"path": "plots/a.png", "type": "image/png", "data": base64.b64encode(PICTURE).decode()}]
    assert verdict.task_times() == [{"name": name, "host": "worker1", "queue": "default", "seconds": 3.2} for name in ("check", "run")]
    assert verdict.model == {"name": "wine-cultivars", "version": "10", "uri": "models:/wine-cultivars/10"}
    assert verdict.image == {"id": IMAGE, "name": "lab/airflow:3.3.2", "digests": ["sha256:d1"]}
    assert verdict.versions == {"airflow": "3.3.2", "mlflow": "3.17.2"}
    posts = {(path, json.dumps(body) if "task" in path else "") for method, path, body in lab.asked if method != "GET"}
    assert posts == {("/api/2.0/mlflow/runs/search", ""), ("/api/task/send-task/execute_workload", '{"args": 0}')}  # which even an open Flower refuses


def test_three_pictures_are_fetched_that_a_page_can_show_and_none_that_is_large(lab: Lab, url: str) -> None:
    """Whatever size MLflow tells; one that it does not give is left out, which is no fault of the lab."""
    names = ["a.png", "b.html", "c.pdf", "large.png", "liar.png", "gone.png", "d.svg", "e.JPG", "f.webp"]
    sizes = {"large.png": lab_verdict.MOST_BYTES + 1}
    lab.answers["/api/2.0/mlflow/artifacts/list?plots"] = {"files": [{"path": f"plots/{name}", "file_size": sizes.get(name, 9)} for name in names]}
    lab.answers |= {f"/get-artifact?plots/{name}": b"x" for name in names if name != "gone.png"}
    lab.answers["/get-artifact?plots/liar.png"] = b"x" * (lab_verdict.MOST_BYTES + 1)
    verdict = judged(url)
    assert failures(verdict.judge()) == {}
    assert [(one["path"], one["type"]) for one in verdict.pictures] == [
        ("plots/a.png", "image/png"),
        ("plots/d.svg", "image/svg+xml"),
        ("plots/e.JPG", "image/jpeg"),
    ]
    assert sum(path == "/get-artifact" for _method, path, _body in lab.asked) == 5


def with_search(lab: Lab) -> None:
    """Let the first model's run be one with a search of four trials in two tasks, cross-validation of two folds, and a deployment."""
    below = {
        "abc123 search": ["s1"],
        "s1 trial": ["t1", "t2", "t3", "t4"],
        "abc123 cross_validation": ["c1"],
        "c1 fold": ["f1", "f2"],
    }

    def runs(_method: str, body: dict[str, Any]) -> dict[str, Any]:
        for key, found in below.items():
            parent, kind = key.split()
            if f"'{parent}'" in body["filter"] and f"'{kind}'" in body["filter"]:
                return {"runs": [{"info": {"run_id": name, "status": "FINISHED"}} for name in found]}
        metrics = {"accuracy": 0.97, "cv_accuracy_mean": 0.95, "cv_accuracy_deviation": 0.01}
        info = {"run_id": "abc123", "experiment_id": "1"}
        return {"runs": [{"info": info, "data": {"metrics": [{"key": name, "value": value} for name, value in metrics.items()]}}]}

    lab.answers["/api/2.0/mlflow/runs/search"] = runs
    tasks = lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances"]["task_instances"]
    for index, (begin, end) in enumerate([("07:00:00", "07:00:20"), ("07:00:05", "07:00:25")]):
        times = {"start_date": f"2026-11-24T{begin}Z", "end_date": f"2026-11-24T{end}Z", "duration": 20.0}
        tasks.append({"task_id": "search", "queue": "default", **FLEET, "map_index": index, "pid": 100 + index, **times})
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/search/logs/1"] = {"content": [{"event": "trial 1"}]}
    lab.answers["/api/v2/dags/deploy/dagRuns"] = {
        "dag_runs": [
            {"dag_run_id": "by-hand", "run_type": "manual", "state": "failed"},
            {"dag_run_id": "another", "run_type": "asset_triggered", "state": "failed"},
            {"dag_run_id": "ours", "run_type": "asset_triggered", "state": "success", "duration": 9.0},
        ]
    }
    lab.answers["/api/v2/dags/deploy/dagRuns/another/upstreamAssetEvents"] = {"asset_events": [{"source_run_id": "x"}]}
    lab.answers["/api/v2/dags/deploy/dagRuns/ours/upstreamAssetEvents"] = {"asset_events": [{"source_run_id": RUN}]}


def searched(**sections: Any) -> dict[str, Any]:
    """Return the experiment file of a run as :func:`with_search` has it, with other sections."""
    register = {"name": "wine-cultivars", "champion": {"metric": "accuracy"}}
    return {"search": {"trials": 4}, "cross_validation": {"splitter": "k_fold"}, "register": register, "deploy": {"target": "endpoint"}, **sections}


def test_search_cross_validation_and_deployment_are_found(lab: Lab, url: str) -> None:
    with_search(lab)
    checks = judged(url, document=searched()).judge()
    assert failures(checks) == {}
    details = " / ".join(check["detail"] for check in checks)
    for words in ("4 trials in 20 s, in the processes worker1 100, worker1 101", "2 folds, accuracy 0.95 ± 0.01", "ours in 9 s"):
        assert words in details


def test_a_search_in_one_process_after_the_other_is_no_parallel_one(lab: Lab, url: str) -> None:
    with_search(lab)
    tasks = lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances"]["task_instances"]
    tasks[-1]["start_date"] = "2026-11-24T07:00:21Z"
    assert list(failures(judged(url, document=searched()).judge()).values()) == ["2 tasks searched, but no two at the same time in different processes"]
    for search in ({"trials": 4, "parallel": 1}, {"trials": 2}, {"trials": 9, "timeout": 60}, {"trials": 9, "sampler": {"name": "grid"}}):
        assert failures(judged(url, document=searched(search=search)).judge()) == {}, search


def test_too_few_trials_and_a_deployment_that_failed_are_told(lab: Lab, url: str) -> None:
    with_search(lab)
    lab.answers["/api/v2/dags/deploy/dagRuns"]["dag_runs"][2]["state"] = "failed"
    found = failures(judged(url, document=searched(search={"trials": 5})).judge())
    assert list(found.values()) == ["4 finished trials in MLflow, 5 were wanted", "ours is failed"]


@pytest.mark.parametrize(
    ("champion", "sections", "problem"),
    [
        ("9", {}, ""),  # another one is better, so this one was not to be deployed
        ("10", {}, "no run of DAG deploy was set going by"),
        ("9", {"deploy": {"target": "endpoint", "when": "always"}}, "no run of DAG deploy was set going by"),
        ("", {"register": {"name": "wine-cultivars"}}, "no run of DAG deploy was set going by"),
    ],
)
def test_a_model_that_is_no_champion_need_not_be_deployed(lab: Lab, url: str, champion: str, sections: dict[str, Any], problem: str) -> None:
    with_search(lab)
    lab.answers["/api/v2/dags/deploy/dagRuns"] = {"dag_runs": []}
    if champion:
        lab.answers["/api/2.0/mlflow/registered-models/alias"] = {"model_version": {"version": champion}}
    found = failures(judged(url, document=searched(**sections)).judge())
    if problem:
        assert list(found) == ["Its end set the deployment going, which succeeded"]
        assert problem in next(iter(found.values()))
    else:
        assert found == {}


def test_of_an_experiment_that_registers_and_evaluates_nothing_nothing_of_that_is_wanted(lab: Lab, url: str) -> None:
    """A package that only trains; what is asked for is what its file has."""
    lab.answers["/api/2.0/mlflow/runs/search"] = {"runs": [{"info": {"run_id": "abc123"}, "data": {}}]}
    lab.answers["/api/2.0/mlflow/artifacts/list?plots"] = {}
    verdict = judged(url, document={"train": {"call": "churn:train"}, "track": None})
    checks = verdict.judge()
    assert failures(checks) == {} and verdict.model == {}
    names = [check["name"] for check in checks]
    assert not any(word in name for name in names for word in ("search", "fold", "registered", "deployment"))


@pytest.mark.parametrize(
    ("path", "answer", "name", "words"),
    [
        ("/api/v2/monitor/health", {"metadatabase": {"status": "healthy"}}, "Airflow's components are healthy", "scheduler is missing"),
        (
            "/api/v2/monitor/health",
            {name: {"status": "unhealthy" if name == "triggerer" else "healthy"} for name in lab_api.COMPONENTS},
            "Airflow's components are healthy",
            "triggerer is unhealthy",
        ),
        (
            "/api/v2/importErrors",
            {"import_errors": [{"filename": "a.py", "stack_trace": "Traceback\nNameError: x\n"}]},
            "Airflow imports every DAG",
            "a.py: NameError: x",
        ),
        ("/api/workers", {"celery@worker1": False}, "Flower shows the worker", "no worker is online (1 known)"),
        ("/api/workers", {"celery@other": True}, "A Celery worker ran it", "a task ran on worker1; Flower's workers are celery@other"),
        (
            f"/api/v2/dags/train/dagRuns/{RUN}",
            {"state": "success", "triggered_by": "ui"},
            "The first model's run, triggered over the API, succeeded",
            "triggered by ui",
        ),
        (
            f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/run/logs/1",
            (403, {"detail": "signature"}),
            "Its log can be read over the API",
            "the log of run cannot be read",
        ),
        (
            f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/run/logs/1",
            {"content": ["something else"]},
            "Its log can be read over the API",
            "none names the MLflow run",
        ),
        ("/tasks/datatable", {"data": [{"uuid": "7f", "args": "('{token: ...}',)"}]}, FLOWER, "it shows its user the arguments of 1 task, 7f for example"),
        ("/tasks/datatable", (500, ""), FLOWER, "/tasks/datatable: HTTP 500"),
        ("/api/task/send-task/execute_workload", (400, ""), FLOWER, "it sends tasks to the workers for its user (HTTP 400)"),
        ("/api/task/send-task/execute_workload", {"task-id": "1"}, FLOWER, "it sends tasks to the workers for its user (HTTP 200)"),
        ("/api/tasks", {}, FLOWER, "it tells its user the arguments of tasks at /api/tasks (HTTP 200)"),
        ("/api/2.0/mlflow/artifacts/list?plots", {}, "MLflow has its plots", "no picture"),
        ("/api/2.0/mlflow/artifacts/list?plots", {"files": [{"path": "plots/a.png", "file_size": 0}]}, "MLflow has its plots", "no picture"),
        ("/api/2.0/mlflow/model-versions/search", {}, "MLflow has its registered model", "0 versions, none of this run"),
    ],
)
def test_what_is_wrong_is_found(lab: Lab, url: str, path: str, answer: Any, name: str, words: str) -> None:
    """Each fault fails its own check, with what was found."""
    lab.answers[path] = answer
    more = {"document": searched()} if name == "MLflow has its plots" else {}  # a search has one in any case
    assert words in failures(judged(url, **more).judge())[name]


def test_without_a_first_model_the_verdict_says_what_to_do(lab: Lab, url: str) -> None:
    """Verifying trains nothing itself."""
    del lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}"]
    lab.answers["/api/2.0/mlflow/runs/search"] = {}
    found = failures(judged(url).judge())
    assert "`make train` makes it" in found["The first model's run, triggered over the API, succeeded"]
    assert all(method != "POST" or "dagRuns" not in path for method, path, _body in lab.asked)


def test_a_door_that_is_open_is_found(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface that answers a stranger, as Flower does without a password."""
    normal = lab.answer
    monkeypatch.setattr(
        lab, "answer", lambda m, path, q, auth, body: (200, {"celery@worker1": True}) if path == "/api/workers" else normal(m, path, q, auth, body)
    )
    assert failures(judged(url).judge()) == {"Flower refuses a stranger": f"{url}/api/workers answered 200 to somebody without a password"}


def with_workers(lab: Lab, monkeypatch: pytest.MonkeyPatch, online: dict[str, bool], queues: dict[str, list[str]]) -> None:
    """Let Flower show workers by their hosts: whether each is online, and what each said of its queues when it was asked last."""
    normal = lab.answer

    def answer(method: str, path: str, query: dict[str, list[str]], authorization: str, body: Any) -> tuple[int, Any]:
        if path != "/api/workers" or authorization != BASIC:
            return normal(method, path, query, authorization, body)
        if "status" in query:
            return 200, {f"celery@{host}": state for host, state in online.items()}
        return 200, {f"celery@{host}": {"active_queues": [{"name": name} for name in names], "stats": {}} for host, names in queues.items()}

    monkeypatch.setattr(lab, "answer", answer)


def test_every_worker_host_takes_tasks_from_its_queues(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_workers(lab, monkeypatch, {"worker1": True, "10.0.0.6": True}, {"worker1": ["default"], "10.0.0.6": ["gpu", "default"]})
    checks = judged(url, workers={"worker1": ["default"], "10.0.0.6": ["default", "gpu"]}).judge()
    assert failures(checks) == {}
    assert next(check["detail"] for check in checks if check["name"] == WORKERS) == "worker1: default; 10.0.0.6: default, gpu"


@pytest.mark.parametrize(
    ("online", "queues", "sentence"),
    [
        ({"worker1": True}, {}, "the worker of worker1 takes nothing from default; the worker of worker2 is missing"),
        ({"worker1": True, "worker2": False}, {"worker2": ["default", "gpu"]}, "takes nothing from default; the worker of worker2 is offline"),
        ({"worker1": True, "worker2": True}, {"worker1": ["default"], "worker2": ["default"]}, "the worker of worker2 takes nothing from gpu"),
        ({"worker1": True, "old": True}, {"worker1": ["default"]}, "the worker of worker2 is missing; online beside them: celery@old"),
        ({"worker1": True, "worker2": True}, {"worker1": ["default"], "worker2": None}, "the worker of worker2 takes nothing from default, gpu"),
    ],
)
def test_a_worker_host_that_is_not_there_or_takes_nothing_is_named(
    lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch, online: dict[str, bool], queues: dict[str, Any], sentence: str
) -> None:
    with_workers(lab, monkeypatch, online, {host: names or [] for host, names in queues.items()})
    found = failures(judged(url, workers={"worker1": ["default"], "worker2": ["default", "gpu"]}).judge())
    assert sentence in found[WORKERS]


RUNS = "Each worker host runs tasks"
TWO: dict[str, Any] = {"workers": {"worker1": ["default"], "10.0.0.6": ["default"]}, "worker_tasks": {"worker1": "vm5", "10.0.0.6": "vm6"}}


def with_tasks(lab: Lab, monkeypatch: pytest.MonkeyPatch, known: list[str], ran: dict[str, dict[str, Any]], busy: str = "") -> list[str]:
    """Let two workers be online, the DAG `workers` have tasks, a run of it come to this, and one host run another task; gives the runs that were begun."""
    with_workers(lab, monkeypatch, {"worker1": True, "10.0.0.6": True}, {"worker1": ["default"], "10.0.0.6": ["default"]})
    monkeypatch.setattr(lab_verdict, "PROOF", 0)
    begun: list[str] = []

    def begin(_method: str, body: dict[str, Any]) -> tuple[int, Any]:
        begun.append(body["dag_run_id"])
        path = f"/api/v2/dags/workers/dagRuns/{begun[-1]}/taskInstances"
        lab.answers[path] = {"task_instances": [{"task_id": name, "try_number": 1, "map_index": -1, **task} for name, task in ran.items()]}
        lab.answers[f"{path}/vm6/logs/1"] = {"content": ["ConnectError: the api-server does not answer"]}
        return 201, {}

    lab.answers["/api/v2/dags/workers/tasks"] = {"tasks": [{"task_id": name} for name in known]} if known else (404, {})
    lab.answers["/api/v2/dags/workers/dagRuns"] = begin
    lab.answers["/api/v2/dags/~/dagRuns/~/taskInstances"] = {"task_instances": [{"task_id": "train", "hostname": busy}] if busy else []}
    return begun


def test_a_task_runs_on_every_worker_host(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = {"vm5": {"state": "success", "hostname": "worker1"}, "vm6": {"state": "success", "hostname": "10.0.0.6"}, "off": {"state": "queued", "hostname": ""}}
    begun = with_tasks(lab, monkeypatch, ["vm5", "vm6", "off"], ran)
    checks = judged(url, **TWO).judge()
    assert failures(checks) == {} and len(begun) == 1
    assert next(check["detail"] for check in checks if check["name"] == RUNS) == "vm5, vm6"


def test_a_worker_that_has_no_room_for_it_is_well(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: dict[str, dict[str, Any]] = {"vm5": {"state": "success", "hostname": "worker1"}, "vm6": {"state": "queued", "hostname": None}}
    with_tasks(lab, monkeypatch, ["vm5", "vm6"], ran, busy="10.0.0.6")
    checks = judged(url, **TWO).judge()
    assert failures(checks) == {}
    assert next(check["detail"] for check in checks if check["name"] == RUNS) == "vm5, vm6 (busy with others)"


def test_a_worker_that_takes_nothing_is_named_alone(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = with_tasks(lab, monkeypatch, ["vm5", "vm6"], {})
    monkeypatch.setattr(lab_verdict, "PROOF", 60)
    workers = {"worker1": ["default"], "10.0.0.6": ["default", "gpu"]}
    assert failures(judged(url, **{**TWO, "workers": workers}).judge()) == {WORKERS: "the worker of 10.0.0.6 takes nothing from gpu"}
    assert not begun


@pytest.mark.parametrize(
    ("known", "task", "sentence"),
    [
        ([], {}, "Airflow has no DAG workers yet"),
        (["vm5"], {}, "the DAG workers has no task for vm6 yet"),
        (["vm5", "vm6"], {"state": "queued", "hostname": ""}, "the task on vm6 is queued: the log of its worker may say why"),
        (["vm5", "vm6"], {"state": None, "hostname": None}, "the task on vm6 is not begun: the log of its worker may say why"),
        (["vm5", "vm6"], {"state": "failed", "hostname": "10.0.0.6"}, "the task on vm6 failed: ConnectError: the api-server does not answer"),
        (["vm5", "vm6"], {"state": "success", "hostname": "worker1"}, "the task for vm6 ran on worker1"),
    ],
)
def test_a_worker_that_runs_no_task_is_named(
    lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch, known: list[str], task: dict[str, Any], sentence: str
) -> None:
    with_tasks(lab, monkeypatch, known, {"vm5": {"state": "success", "hostname": "worker1"}, "vm6": task})
    assert failures(judged(url, **TWO).judge()) == {RUNS: sentence}


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [("worker1", "worker1.example.org", True), ("worker1", "worker2", False), ("10.0.0.5", "10.0.0.6", False), ("10.0.0.5", "10.0.0.5", True)],
)
def test_a_host_with_and_without_its_domain_is_one_and_two_addresses_are_two(name: str, other: str, same: bool) -> None:
    assert lab_verdict.same_host(name, other) is same


def test_more_pages_refuse_a_stranger_and_answer_whoever_has_the_password(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with a user, one that takes its password as a token."""
    lab.answers |= {"/api/studies": {}, "/api/kernelspecs": {"kernelspecs": {}}}
    studies = {"name": "Studies", "url": url, "path": "/api/studies", "user": "admin", "password": PASSWORD}
    notebooks = {"name": "Notebooks", "url": url, "path": "/api/kernelspecs", "user": "", "password": PASSWORD}
    answer = lab.answer

    def with_token(method: str, path: str, query: dict[str, list[str]], authorization: str, body: Any) -> tuple[int, Any]:
        if path == "/api/kernelspecs":
            return (200, {}) if authorization == f"token {PASSWORD}" else (403, "Forbidden")
        return answer(method, path, query, authorization, body)

    monkeypatch.setattr(lab, "answer", with_token)
    checks = judged(url, pages=[studies, notebooks]).judge()
    assert failures(checks) == {}
    assert [check["name"] for check in checks[-4:]] == [
        f"{name} {what}" for name in ("Studies", "Notebooks") for what in ("refuses a stranger", "answers with its password")
    ]
    wrong = judged(url, pages=[{**studies, "password": "x"}, {**notebooks, "password": "x"}]).judge()
    assert failures(wrong) == {
        "Studies answers with its password": "/api/studies: HTTP 401",
        "Notebooks answers with its password": "/api/kernelspecs: HTTP 403",
    }
    monkeypatch.setattr(lab, "answer", lambda *_: (200, {"version": "1"}))
    assert "answered 200 to somebody without a password" in failures(judged(url, pages=[studies]).judge())["Studies refuses a stranger"]


def test_metrics_that_anybody_can_read_are_found(lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    normal = lab.answer
    monkeypatch.setattr(lab, "answer", lambda m, path, *rest: (200, "flower_events_total 1") if path == "/metrics" else normal(m, path, *rest))
    assert failures(judged(url).judge()) == {FLOWER: "it shows its /metrics to somebody without a password (HTTP 200)"}


def test_a_lab_that_is_not_there() -> None:
    """Every check fails in one line, and none breaks the others."""
    checks = judged("http://127.0.0.1:9", airflow_project="no-such-project").judge()
    assert len(failures(checks)) == len(checks) == 14
    assert PASSWORD not in json.dumps(checks)


def training(url: str, **changes: Any) -> dict[str, Any]:
    """Return the parameters of a training."""
    return {
        "url": url,
        "user": "admin",
        "password": PASSWORD,
        "dag": "train",
        "experiment": "wine",
        "then": "",
        "conf": {},
        "result_of": "",
        "retry": True,
        "only_follow": False,
        "progress": {},
        **changes,
    }


def looked(url: str, check_mode: bool = False, **changes: Any) -> lab_dag_look.Look:
    """Look at Airflow once."""
    params = training(url, **changes)
    return lab_dag_look.look_at(lab_api.Airflow(url, "admin", params["password"]), params, RUN, check_mode)


def runs(lab: Lab, states: list[str]) -> Callable[[str, Any], Any]:
    """Return how Airflow answers about a run that goes through states once it has been triggered."""

    def answer(method: str, _body: Any) -> Any:
        triggered = any(m == "POST" and path.endswith(("/dagRuns", "/clear")) for m, path, _body in lab.asked)
        return {"state": states[1 if triggered else 0]} if states[1 if triggered else 0] else (404, {})

    return answer


def test_a_model_that_was_trained_is_not_trained_again(lab: Lab, url: str) -> None:
    """Only questions are asked."""
    look = looked(url)
    assert (look.state, look.changed, look.problem) == ("success", False, "")
    assert {method for method, _path, _body in lab.asked} == {"GET"}


@pytest.mark.parametrize(("state", "retry", "shown"), [("running", True, "running"), ("failed", True, "queued"), ("failed", False, "failed")])
def test_the_deployment_that_a_training_set_going_is_waited_for(lab: Lab, url: str, state: str, retry: bool, shown: str) -> None:
    """One that failed is started again, but only by the first look."""
    with_search(lab)
    ours = "/api/v2/dags/deploy/dagRuns/ours"
    lab.answers["/api/v2/dags/deploy/dagRuns"]["dag_runs"][2]["state"] = state
    lab.answers[f"{ours}/clear"] = {}
    lab.answers[f"{ours}/taskInstances"] = {"task_instances": [{"task_id": "deploy", **FLEET, "state": "failed", "map_index": 0}]}
    look = looked(url, then="deploy", retry=retry)
    assert (look.state, look.changed) == (shown, shown == "queued")
    assert ("POST", f"{ours}/clear", {"dry_run": False, "run_on_latest_version": True}) in lab.asked or shown != "queued"
    assert bool(look.problem) == (shown == "failed")


def test_a_model_that_is_missing_is_trained(lab: Lab, url: str) -> None:
    """The DAG is unpaused and triggered with the experiment, once."""
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}"] = runs(lab, ["", "running"])
    lab.answers["/api/v2/dags/train/dagRuns"] = lambda _method, _body: {"dag_run_id": RUN}
    first = looked(url)
    assert (first.state, first.changed, first.problem) == ("queued", True, "")
    assert ("PATCH", "/api/v2/dags/train", {"is_paused": False}) in lab.asked
    assert (
        "POST",
        "/api/v2/dags/train/dagRuns",
        {"dag_run_id": RUN, "logical_date": None, "conf": {"experiment": "wine"}, "note": "Experiment wine"},
    ) in lab.asked
    second = looked(url)
    assert (second.state, second.changed) == ("running", False)
    assert "task run: success on worker1 in 3 s" in second.lines


def test_check_mode_only_looks(lab: Lab, url: str) -> None:
    """The prediction is a change; nothing but questions is asked."""
    del lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}"]
    look = looked(url, check_mode=True)
    assert (look.state, look.changed) == ("", True)
    assert {method for method, _path, _body in lab.asked} == {"GET"}


def failed_run(lab: Lab) -> None:
    """Let the first model's run have failed in task run."""
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}"] = runs(lab, ["failed", "running"])
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/clear"] = {}
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances"]["task_instances"][1]["state"] = "failed"
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}/taskInstances/run/logs/1"] = {
        "content": [
            {"event": "🏃 View run"},
            {"event": "Task failed with exception", "error_detail": [{"exc_type": "ValueError", "exc_value": "the table has no rows"}]},
            {"event": "bye"},
        ]
    }


def test_a_run_that_failed_before_runs_again(lab: Lab, url: str) -> None:
    """It is cleared under its own name, so that success leaves one run."""
    failed_run(lab)
    look = looked(url)
    assert (look.changed, look.problem) == (True, "")
    assert f"run {RUN} failed before and runs again" in look.lines


def test_a_run_that_fails_now_is_explained(lab: Lab, url: str) -> None:
    """The task, the worker, the reason, and the last lines of the log as a terminal can show them."""
    failed_run(lab)
    look = looked(url, retry=False)
    first, *log = look.problem.splitlines()
    assert first == f"Task run of DAG train failed on worker1 (run {RUN}): ValueError: the table has no rows"
    assert log == ["  |  View run", "  | Task failed with exception", "  | ValueError: the table has no rows", "  | bye"]


def test_a_dag_that_cannot_be_imported_is_named(lab: Lab, url: str) -> None:
    """The file and the last line of the traceback."""
    del lab.answers["/api/v2/dags/train"]
    assert looked(url).waits_for == "DAG train is not parsed yet"
    lab.answers["/api/v2/importErrors"] = {"import_errors": [{"filename": "train.py", "stack_trace": "x\nImportError: no yaml"}]}
    assert looked(url).waits_for == "DAG train cannot be imported (train.py: ImportError: no yaml)"


def test_airflow_that_refuses_or_is_away(url: str) -> None:
    """A wrong password ends the training, silence is waited for; neither shows the password."""
    refused = looked(url, password="another-password")
    assert "refuses the password of user admin" in refused.problem
    assert "another-password" not in refused.problem
    assert "does not answer" in looked("http://127.0.0.1:9").waits_for


def test_a_token_that_expired_is_renewed(lab: Lab, url: str) -> None:
    """One refused call is followed by a new login and the same call."""
    airflow = lab_api.Airflow(url, "admin", PASSWORD)
    airflow.headers["Authorization"] = "Bearer old"
    assert airflow.ask("/version").body == {"version": "3.3.2"}


def test_the_first_run_is_named_after_experiment_and_image() -> None:
    """A new image trains anew, and without an engine the name is still stable."""
    assert lab_api.first_run("first-model", "wine", IMAGE) == RUN
    assert lab_api.first_run("first-model", "wine", "") == "first-model-wine"


def container(name: str, service: str, **changes: Any) -> dict[str, Any]:
    """Return what the engine says about a container that is as it should be."""
    labels = {"com.docker.compose.service": service, "com.docker.compose.project": changes.pop("project", "p")}
    found = {
        "Name": f"/{name}",
        "State": {"Status": "running", "Health": {"Status": "healthy"}},
        "Config": {"Labels": labels, "Env": ["PATH=/bin", "PASSWORD_FILE=/run/secrets/x"], "Cmd": ["serve"]},
        "HostConfig": {"NetworkMode": "p_default", "PortBindings": {}, "RestartPolicy": {"Name": "unless-stopped"}},
        "NetworkSettings": {"Ports": {"5432/tcp": None}, "Networks": {"p_default": {}}},
    }
    for path, value in changes.items():
        outer, inner = path.split("__")
        found[outer][inner] = value  # type: ignore[index]
    return found


SECRET = "s3cr3t/with+signs"
ENCODED = base64.b64encode(f"admin:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"Config__Env": [f"DATABASE=postgres://u:{SECRET}@db"]}, "Config.Env[DATABASE]"),
        ({"Config__Env": ["DATABASE=postgres://u:s3cr3t%2Fwith%2Bsigns@db"]}, "Config.Env[DATABASE]"),
        ({"Config__Env": [f"AUTH={ENCODED}"]}, "Config.Env[AUTH]"),
        ({"Config__Cmd": ["redis-server", "--requirepass", SECRET]}, "Config.Cmd[2]"),
        ({"Config__Labels": {"note": SECRET}}, "Config.Labels.note"),
    ],
)
def test_a_credential_is_found_wherever_it_stands(changes: dict[str, Any], place: str) -> None:
    """As it is, in a URL, in base64; the finding tells the place and the name, not the value."""
    found = lab_containers.leaks(container("c", "s", **changes), {"vault_redis_password": SECRET})
    assert found == [f"{place} holds vault_redis_password"]


def test_a_file_that_holds_the_credential_is_no_leak() -> None:
    """Naming the file is what the lab does; an empty or very short value is not looked for."""
    assert lab_containers.leaks(container("c", "s"), {"a": SECRET, "b": "", "c": "bin"}) == []


def test_a_leak_fails_the_check() -> None:
    """And a lab without containers cannot pass it."""
    with pytest.raises(Failed, match=r"^c: Config.Env\[X\] holds a$"):
        lab_containers.clean([container("c", "s", Config__Env=[f"X={SECRET}"])], {"a": SECRET})
    with pytest.raises(Failed, match="no container"):
        lab_containers.clean([], {"a": SECRET})
    assert "0 containers" in lab_containers.clean([], {"a": SECRET}, idle=True), "a host that only builds the image has none"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NetworkSettings__Ports": {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}]}}, "db is published at 0.0.0.0:5432"),
        ({"HostConfig__PortBindings": {"5432/tcp": [{"HostIp": "", "HostPort": "15432"}]}}, "db is published at 0.0.0.0:15432"),
        ({"HostConfig__NetworkMode": "host"}, "db uses the host's network"),
        ({"NetworkSettings__Networks": {"shared": {}}}, "db shares network shared with other"),
    ],
)
def test_open_doors(changes: dict[str, Any], words: str) -> None:
    """Published while it runs or when it starts again, on the host's network, or in a network with another project."""
    other = container("other", "mlflow", project="q", NetworkSettings__Networks={"shared": {}})
    assert lab_containers.open_doors([container("db", "postgres", **changes), other], "postgres", "", ["q/page", "p/mlflow"]) == [words]


def test_closed_doors() -> None:
    """Nothing published; and what workers on other hosts need, at that address alone."""
    assert lab_containers.open_doors([container("db", "postgres")], "postgres", "") == []
    guest = container("page", "page", project="q")
    assert lab_containers.open_doors([container("db", "postgres"), guest], "postgres", "", ["q/page"]) == [], "who is named may share its network"
    assert len(lab_containers.open_doors([container("db", "postgres"), guest], "postgres", "")) == 1
    published = {"5432/tcp": [{"HostIp": "192.0.2.1", "HostPort": "5432"}]}
    several = [container("db", "postgres", NetworkSettings__Ports=published)]
    assert lab_containers.open_doors(several, "postgres", "192.0.2.1") == []
    assert len(lab_containers.open_doors(several, "postgres", "192.0.2.2")) == 1


def test_states_of_containers() -> None:
    """One that was to run once may have ended; everything else has to run."""
    once = {"HostConfig__RestartPolicy": {"Name": "no"}}
    assert lab_containers.state_of(container("a", "s")) == ""
    assert lab_containers.state_of(container("a", "s", State__Health={"Status": "starting"})) == ""
    assert lab_containers.state_of(container("a", "s", State__Health={"Status": "unhealthy"})) == "unhealthy"
    assert lab_containers.state_of(container("a", "s", State__Status="restarting", State__Health={})) == "restarting"
    assert lab_containers.state_of(container("a", "s", State__Status="exited", State__ExitCode=0, **once)) == ""
    assert lab_containers.state_of(container("a", "s", State__Status="exited", State__ExitCode=1, State__Health={}, **once)) == "exited"


def test_addresses_of_the_host() -> None:
    """The local ones, and no network or broadcast address."""
    fib = (
        "  +-- 10.0.0.0/8\n     |-- 10.0.0.0\n        /8 link UNICAST\n     |-- 10.1.2.3\n        /32 host LOCAL\n"
        "     |-- 10.255.255.255\n        /32 link BROADCAST\n"
    )
    assert lab_containers.host_addresses(fib) == ["10.1.2.3", "127.0.0.1"]


def loaded(uri: str, **more: Any) -> lab_model.Model:
    """Return a model that is loaded back from a worker of project ``p``."""
    more = {"environment": "project", "dags": "/opt/airflow/dags", **more}
    return lab_model.Model({"uri": uri, "project": "p", "service": "airflow-worker", "python": "python", "endpoint": False, "timeout": 10, **more})


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo noise; echo \'{"rows": 2, "predictions": ["0", "1"]}\'', ""),
        ('echo \'{"rows": 2, "predictions": ["0"]}\'', "1 prediction for 2 rows"),
        ("echo Traceback >&2; echo 'MlflowException: no such model' >&2; exit 1", "MlflowException: no such model"),
    ],
)
def test_loading_the_model_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str) -> None:
    """One prediction for every row of the example; a failure is told with its last line."""
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(lab_model, "containers", lambda _projects: [container("worker-1", "airflow-worker")])
    if words:
        with pytest.raises(Failed, match=words):
            loaded("models:/m/1").predicts()
    else:
        assert loaded("models:/m/1").predicts() == "models:/m/1 in worker-1: 0, 1 for 2 rows"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"live": "2", "version": "2", "served": ["a"], "expected": ["a"], "url": "http://models", "milliseconds": 9}, ""),
        ({"live": "3", "version": "2", "served": ["a"], "expected": ["a"], "url": "http://models"}, "serves version 2, the alias live is at 3"),
        ({"live": "2", "version": "2", "served": ["b"], "expected": ["a"], "url": "http://models"}, "answers b, the model itself a"),
        ({"problem": "http://models: Connection refused"}, "Connection refused"),
        ({}, "could not be loaded"),
    ],
)
def test_the_service_is_compared_with_the_deployed_model(result: dict[str, Any], words: str) -> None:
    model = loaded("models:/m/2")
    model.result = result
    if words:
        with pytest.raises(Failed, match=words):
            model.is_served()
    else:
        assert model.is_served() == "http://models answers with version 2 as the model itself, in 9 ms"


@pytest.mark.parametrize(
    ("environment", "rows", "words"),
    [
        (["/opt/environments/k1/bin/python", ""], '{"rows": 1, "predictions": ["0"]}', "models:/m/1 in worker-1: 0 for 1 row"),
        (["/opt/environments/k1/bin/python", ""], '{"rows": 0, "predictions": []}', "models:/m/1 loads in worker-1; it has no input example to predict from"),
        (["/opt/environments/k1/bin/python", "churn wants mlflow<2"], "", "not loaded back: the environment churn is without MLflow (churn wants mlflow<2)"),
    ],
)
def test_a_model_is_loaded_in_the_environment_of_its_experiment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: list[str], rows: str, words: str
) -> None:
    """Asked for by name in the lab's own Python; a model that predicts nothing here is not compared with the service."""
    docker = tmp_path / "docker"
    finds, loads = f"*' python - churn /dags') echo '{json.dumps(environment)}'", f"*' {environment[0]} - models:/m/1 False') echo '{rows}'"
    answers = f'case "$*" in {finds};; {loads};; esac'
    docker.write_text(f"#!/bin/sh\ncat >/dev/null\n{answers}\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(lab_model, "containers", lambda _projects: [container("worker-1", "airflow-worker")])
    model = loaded("models:/m/1", environment="churn", dags="/dags")
    assert model.predicts() == words
    assert model.comparable == words.endswith("for 1 row")


def test_a_model_that_is_to_be_in_service_has_an_input_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\ncat >/dev/null\necho \'{"rows": 0, "predictions": []}\'\n', encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(lab_model, "containers", lambda _projects: [container("worker-1", "airflow-worker")])
    with pytest.raises(Failed, match="models:/m/1 has no input example, without which nothing is deployed"):
        loaded("models:/m/1", endpoint=True).predicts()


def test_no_model_and_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told apart."""
    monkeypatch.setattr(lab_model, "containers", lambda _projects: [])
    with pytest.raises(Failed, match="no registered model"):
        loaded("").predicts()
    with pytest.raises(Failed, match="no container of service airflow-worker"):
        loaded("models:/m/1").predicts()


def test_checks_go_on_after_one_that_breaks() -> None:
    """A check that raises anything at all has failed."""
    checks = Checks()
    assert not checks.run("one", lambda: str(1 / 0))
    assert checks.run("two", lambda: eventually(lambda: "fine", 0.0))
    assert [check["ok"] for check in checks.found] == [False, True]
    assert "ZeroDivisionError" in checks.found[0]["detail"]
    assert (counted(1, "DAG"), counted(2, "process", "processes")) == ("1 DAG", "2 processes")


class Control:
    """The control host of the served lab, which is the machine that runs the test."""

    def __init__(self, path: Path, url: str, tool: Run) -> None:
        """Write an inventory and a play for each role."""
        self.path, self.tool, self.report = path, tool, path / "reports/lab.json"
        values = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            **{f"verdict_{name}_url": url for name in ("airflow", "mlflow", "flower")},
            **{f"verdict_{name}_password": PASSWORD for name in ("airflow", "mlflow", "flower")},
            "first_model_airflow_url": url,
            "first_model_airflow_password": PASSWORD,
            "first_model_airflow_project": "no-such-project",
            "first_model_experiment": "{{ verdict_experiment }}",
            "verdict_airflow_project": "no-such-project",
            "verdict_projects": ["no-such-project"],
            "verdict_experiment": "wine-0123456789ab",  # there is no image here that the run's name could end with
            "verdict_document": {"train": {"call": "wine:train"}, "track": {"experiment": "wine"}, "register": {"name": "wine-cultivars"}},
            "verdict_secrets": {"airflow": PASSWORD},
            "verdict_timeout": 0,
            "verdict_report": str(self.report),
        }
        (path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"vm1": values}}}), encoding="utf-8")
        for role in ("first_model", "verdict"):
            task = {"ansible.builtin.import_role": {"name": f"mlops.lab.{role}"}}
            (path / f"{role}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")

    def play(self, role: str, *arguments: str) -> tuple[int, str]:
        """Run a role as loudly as possible; return exit code and output, in which no password may stand."""
        done = self.tool(["ansible-playbook", f"{self.path}/{role}.yml", "-i", self.path / "hosts.json", "-vvv", *arguments])
        assert PASSWORD not in done.stdout
        assert BASIC.split()[1] not in done.stdout
        return done.returncode, done.stdout


@pytest.fixture
def control(tmp_path: Path, url: str, tool: Run) -> Control:
    """Return the control host."""
    return Control(tmp_path, url, tool)


def test_the_verdict_through_ansible(control: Control) -> None:
    """The report is written whatever was found, which is no change; what failed is named."""
    control.report.parent.mkdir()
    code, output = control.play("verdict", "--check")
    assert (code, control.report.exists()) == (0, False), output
    code, output = control.play("verdict")
    assert (code != 0, "changed=0" in output) == (True, True), output
    report = json.loads(control.report.read_text(encoding="utf-8"))
    assert report["ok"] is False
    assert report["run"]["mlflow_run_id"] == "abc123"
    assert set(failures(report["checks"])) == {
        "The model loads back and predicts",
        "Containers run",
        "No container or process shows a credential",
    }
    assert "3 of 19 checks failed" in output
    page = control.report.with_suffix(".html").read_text(encoding="utf-8")
    picture = f'<img src="data:image/png;base64,{base64.b64encode(PICTURE).decode()}" alt="plots/a.png">'
    assert picture in page and "base64" not in control.report.read_text(encoding="utf-8")
    url = report["urls"]["MLflow"]
    assert f'<a href="{url}/#/experiments/1/runs/abc123?workflowType=machine_learning">abc123</a>' in page
    assert f'<a href="{url}/#/models/wine-cultivars/versions/10?' in page
    assert f'<a href="{url}/dags/train/runs/{RUN}">{RUN}</a>' in page and '<tr><td>run<td>worker1<td>default<td class="number">3.2 s' in page
    assert "Plays before this one" not in page and "after the run began" not in page, "whoever prints the run does not tell"
    assert "3 of 19 checks failed" in page and "wine-cultivars 10" in page and "accuracy<td>0.9778" in page and "&lt;" not in page.split("<h2>Checks")[0]
    assert PASSWORD not in control.report.read_text(encoding="utf-8") + page


def test_each_host_of_several_is_looked_at_and_one_that_is_off_is_one_failed_check(control: Control) -> None:
    """It is named, whether the run knows of it already or finds out here; what others are asked is asked, and no password is shown."""
    inventory = json.loads((control.path / "hosts.json").read_text(encoding="utf-8"))
    values = inventory["all"]["hosts"]["vm1"]
    values |= {"verdict_hosts": ["vm1", "vm2", "vm3", "vm4"], "verdict_worker_host": "vm3", "verdict_lost": ["vm4"], "verdict_min_disk_gb": 0}
    values |= {"verdict_certificates_dir": str(control.path / "certificates"), "verdict_addresses": {"vm2": "127.0.0.1"}, "verdict_disk_paths": ["/"]}
    here = {name: value for name, value in values.items() if name.startswith("ansible_")}
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory["all"]["hosts"] |= {"vm2": here, "vm3": away, "vm4": away}
    (control.path / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    certify(control.path / "certificates", "127.0.0.1")
    code, output = control.play("verdict", "--limit", "vm1")
    assert code == 2, output
    checks = json.loads(control.report.read_text(encoding="utf-8"))["checks"]
    found = {check["name"]: (check["ok"], check["detail"]) for check in checks}
    lost = (False, "it does not, and nothing else is known of it")
    assert {name: found[name] for name in found if name.startswith(("vm3", "vm4"))} == {f"{name}: The host answers": lost for name in ("vm3", "vm4")}
    assert found["vm2: The clock agrees"] == (True, "0 s from the control host's") and "vm1: The clock agrees" not in found
    assert found["vm2: The disk has room"][0] and found["vm1: The disk has room"][0]
    assert found["vm2: The certificate is valid"][0] and "vm1" in found["vm1: The certificate is valid"][1], found
    assert "vm2: Containers run" in found and "Containers run" not in found
    assert "- vm3: The host answers: it does not" in output and "vm1                        : ok=" in output


def test_a_certificate_that_clients_accept_is_told_with_its_end(tmp_path: Path) -> None:
    certify(tmp_path / "c", "192.0.2.7")
    assert re.fullmatch(r"valid until \d{4}-\d\d-\d\d, 8 days", lab_containers.certificate(str(tmp_path / "c"), "192.0.2.7"))


def test_a_certificate_is_told_to_end_with_its_authority(tmp_path: Path) -> None:
    """With the last of them, where there is an older and a newer one."""
    certify(tmp_path / "c", "192.0.2.7", days=90)
    newer, key = (tmp_path / "c/ca.pem").read_text(), authority("churn").key
    older = sign("churn lab CA", key, "churn lab CA", key, 30, x509.BasicConstraints(True, 0), SIGNS).public_bytes(Encoding.PEM).decode()
    for texts, days in ((older, 29), (older + newer, 89)):
        (tmp_path / "c/ca.pem").write_text(texts)
        assert lab_containers.certificate(str(tmp_path / "c"), "192.0.2.7").endswith(f", {days} days")


@pytest.mark.parametrize(
    ("days", "trusted", "address", "words"),
    [
        (-1, "churn", "192.0.2.7", "certificate has expired"),
        (9, "other", "192.0.2.7", "host.pem is not accepted at 192.0.2.7"),
        (9, "churn", "192.0.2.8", "IP address mismatch"),
        (9, "churn", "worker1", "Hostname mismatch"),
    ],
)
def test_a_certificate_that_clients_refuse(tmp_path: Path, days: float, trusted: str, address: str, words: str) -> None:
    certify(tmp_path / "c", "192.0.2.7", days)
    (tmp_path / "c/ca.pem").write_text(authority(trusted).text)
    with pytest.raises(Failed, match=re.escape(words)):
        lab_containers.certificate(str(tmp_path / "c"), address)


def test_a_key_of_another_certificate_and_none_at_all(tmp_path: Path) -> None:
    for name in ("one", "other"):
        certify(tmp_path / name, "192.0.2.7")
    shutil.copy(tmp_path / "other/host.key", tmp_path / "one/host.key")
    for folder in ("one", "none"):
        with pytest.raises(Failed, match="has no key and certificate that fit"):
            lab_containers.certificate(str(tmp_path / folder), "192.0.2.7")


@pytest.mark.parametrize(
    ("ahead", "words"), [(0, ""), (-90, r"(89|90) s ahead of the control host, the limit is 20 s"), (90, r"(89|90) s behind the control host")]
)
def test_a_clock_that_is_not_the_control_host_s(url: str, monkeypatch: pytest.MonkeyPatch, ahead: int, words: str) -> None:
    """`ahead` says by how many seconds the control host is. It refuses whoever asks, which tells its time all the same."""
    monkeypatch.setattr(lab_containers, "time", SimpleNamespace(time=lambda: time.time() - ahead))
    if not words:
        assert lab_containers.clock(url, 20) == "0 s from the control host's"
    else:
        with pytest.raises(Failed, match=words):
            lab_containers.clock(url, 20)


def test_a_control_host_that_does_not_answer_tells_no_time() -> None:
    with pytest.raises(Failed, match=r"the control host does not answer at http://127\.0\.0\.1:1 "):
        lab_containers.clock("http://127.0.0.1:1", 20)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    assert lab_containers.free_disk([str(tmp_path), "/nonexistent/x"], 0).endswith(" GB free")
    with pytest.raises(Failed, match=rf"{tmp_path} has .* GB free, the lab needs 10000000 GB"):
        lab_containers.free_disk([str(tmp_path)], 10_000_000)


def test_a_worker_on_another_image_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running on a former one, because a run did not reach it, for example; one of another id and the same digest is the same."""
    monkeypatch.setattr(lab_containers, "image_digests", lambda image: ["sha256:d1"] if image == "f" * 64 else [])
    worker = {**container("worker-1", "airflow-worker"), "Image": f"sha256:{IMAGE}"}
    assert lab_containers.same_image([worker, container("redis-1", "redis")], IMAGE, []) == "0123456789ab, as on the control host"
    for present, words in (
        ([{**worker, "Image": "sha256:" + "f" * 64}], "worker-1 runs ffffffffffff, the control host has 0123456789ab"),
        ([], "nothing runs on it"),
    ):
        with pytest.raises(Failed, match=words):
            lab_containers.same_image(present, IMAGE, ["sha256:d2"])
    assert lab_containers.same_image([{**worker, "Image": "sha256:" + "f" * 64}], IMAGE, ["sha256:d1"])


EXAMPLE = '{"dataframe_split": {"columns": ["it\'s"], "data": [[13.2]]}}'


@pytest.mark.parametrize(
    ("experiment", "deployed"),
    [("wine", ""), ("nothing", ""), ("wine_search", "success"), ("wine_search", "failed")],
)
def test_an_experiment_is_run_and_its_result_is_shown(lab: Lab, url: str, tmp_path: Path, tool: Run, experiment: str, deployed: str) -> None:
    """The playbook `run` triggers with what is set for this run alone, follows the deployment, and shows what the training ended with."""
    given: dict[str, Any] = {}

    def trigger(_method: str, body: Any) -> Any:
        given.update(body)
        path = f"/api/v2/dags/train/dagRuns/{body['dag_run_id']}"
        lab.answers[path] = {"state": "success"}
        lab.answers[f"{path}/taskInstances"] = {"task_instances": []}
        outcome: dict[str, Any] = {"metrics": {"accuracy": 0.97777}, "model_uri": "models:/wine/3", "mlflow_run_id": "abc123"}
        outcome |= {"registered_model": "wine", "version": 3}
        if deployed:
            outcome |= {"deploy": {"target": "endpoint", "options": {}}, "example": EXAMPLE}
            task = {"task_id": "deploy", "state": deployed, "start_date": "2026-11-24T07:00:00Z", "try_number": 1}
            lab.answers["/api/v2/dags/deploy/dagRuns"] = {"dag_runs": [{"dag_run_id": "d", "run_type": "asset_triggered", "state": deployed}]}
            lab.answers["/api/v2/dags/deploy/dagRuns/d/upstreamAssetEvents"] = {"asset_events": [{"source_run_id": body["dag_run_id"]}]}
            lab.answers["/api/v2/dags/deploy/dagRuns/d/taskInstances"] = {"task_instances": [task]}
            lab.answers["/api/v2/dags/deploy/dagRuns/d/taskInstances/deploy/logs/1"] = {"content": [{"event": "Failure: the proof failed"}]}
        lab.answers[f"{path}/taskInstances/train/xcomEntries/return_value"] = {"value": outcome}
        lab.answers[f"{path}/taskInstances/prepare/xcomEntries/run"] = {"value": {"mlflow_run_id": "abc123", "experiment_id": "7", "study": "s"}}
        return {"dag_run_id": body["dag_run_id"]}

    lab.answers["/api/v2/dags/train/dagRuns"] = trigger
    values = {
        "experiment": experiment,
        "trials": "6",
        "set": "inputs.share=0.3 search.sampler=random",
        "lab_airflow_port": int(url.rpartition(":")[2]),
        "vault_airflow_admin_password": PASSWORD,
        "airflow_stack_dir": str(tmp_path / "stack"),
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    hosts = Path(shutil.copy(ROOT / "playbooks/templates/lab/hosts.yml.j2", tmp_path / "hosts.yml"))
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    client = tmp_path / "bin/docker"  # of a lab that runs
    client.parent.mkdir()
    client.write_text('#!/bin/sh\ntest "$1" != image || echo sha256:d1\n', encoding="utf-8")
    client.chmod(0o755)
    around = {"ANSIBLE_STDOUT_CALLBACK": "mlops.lab.terminal", "PATH": f"{client.parent}:{os.environ['PATH']}"}
    done = tool(["ansible-playbook", ROOT / "playbooks/run.yml", "-i", hosts, "-e", json.dumps(values)], **around)
    assert PASSWORD not in done.stdout
    if experiment == "nothing":
        assert done.returncode != 0 and "There is no experiment nothing in " in done.stdout and "wine_search" in done.stdout, done.stdout
        assert not given and not (tmp_path / "stack").exists()
        return
    assert (done.returncode != 0) == (deployed == "failed"), done.stdout
    assert given["conf"] == {"experiment": experiment, "trials": 6, "overrides": {"inputs.share": 0.3, "search.sampler": "random"}}
    assert given["note"] == f"Experiment {experiment}"
    assert given["dag_run_id"].startswith(f"{experiment}-20")
    assert (tmp_path / "stack/experiments" / f"{experiment}.yml").is_file()
    assert json.loads((tmp_path / "stack/facts/lab.json").read_text(encoding="utf-8"))["image_digest"] == "sha256:d1"
    assert "accuracy             0.9778\nmodel                models:/wine/3\n" in done.stdout, done.stdout
    assert f"/dags/train/runs/{given['dag_run_id']}" in done.stdout
    assert "run in MLflow        http://127.0.0.1:5000/#/experiments/7/runs/abc123?workflowType=machine_learning\n" in done.stdout, done.stdout
    assert "model in MLflow      http://127.0.0.1:5000/#/models/wine/versions/3?workflowType=machine_learning\n" in done.stdout, done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    call = [line for line in lines if line.startswith("curl ")]
    if deployed == "success":
        [line] = call
        words = shlex.split(line)
        assert words[:3] == ["curl", "-u", "admin"] and words[words.index("-d") + 1] == EXAMPLE
        assert words[-1] == "http://127.0.0.1:8002/models/wine/invocations"
        assert "make password" in done.stdout or "mlops.lab.password" in done.stdout
    else:
        assert not call and (not deployed or "the proof failed" in done.stdout), done.stdout


def test_the_first_model_is_judged_by_its_experiment_file(tmp_path: Path) -> None:
    (tmp_path / "first.yml").write_text("train: {call: a:b}\ntrack: {experiment: ours}\n", encoding="utf-8")
    found = wired(tmp_path, ("verdict_experiment", "verdict_document"), airflow_stack_experiments=str(tmp_path), lab_first_experiment="first")
    assert found == {"verdict_experiment": "first", "verdict_document": {"train": {"call": "a:b"}, "track": {"experiment": "ours"}}}


def test_the_verdict_knows_what_a_search_is_that_does_not_say_it() -> None:
    """As the format of experiment files has it."""
    search = json.loads((ROOT / "dags/lab_experiment/schema.json").read_text(encoding="utf-8"))["$defs"]["Search"]
    assert {key: search["properties"][key]["default"] for key in ("trials", "parallel")} == {"trials": lab_verdict.TRIALS, "parallel": lab_verdict.PARALLEL}


def test_whoever_was_silent_is_waited_for_shortly_until_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab on a busy machine is slow once; a service that hangs does not hold up every check."""
    api, waited = lab_api.Api("http://lab.example", timeout=30), list[float]()
    answers: list[Any] = [TimeoutError("timed out"), TimeoutError("timed out"), SimpleNamespace(status=200, read=lambda _most: b"{}"), ConnectionRefusedError()]

    def ask(_request: Any, timeout: float) -> Any:
        waited.append(timeout)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return nullcontext(answer)

    monkeypatch.setattr(api.opener, "open", ask)
    for reachable in (False, False, True, False):
        with nullcontext() if reachable else pytest.raises(engine.Unreachable, match=r"lab\.example does not answer"):
            assert api.ask("/").status == 200
    assert waited == [30, 10, 10, 30]
