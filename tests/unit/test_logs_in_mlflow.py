"""Logs of tasks in MLflow's artifact store: Airflow's own writer and reader with a real MLflow server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.unit.conftest import Mlflow

# An older Airflow has no workers on other hosts here.
pytestmark = pytest.mark.parametrize("airflow_python", ["3.3.2"], indirect=True)

# What a supervisor does when its task has ended.
WRITE = """
import sys
from airflow.sdk.log import load_remote_log_handler
load_remote_log_handler().upload(sys.argv[1])
"""
# What the api-server does for a page: the state of the task decides where else it looks.
READ = """
import json, sys, types
from airflow.utils.log.file_task_handler import FileTaskHandler
handler = FileTaskHandler(sys.argv[1])
handler._render_filename = lambda ti, number: sys.argv[2]
ti = types.SimpleNamespace(state=sys.argv[3], hostname="127.0.0.1", try_number=1, task=None, triggerer_job=None, queued_by_job_id=None, executor=None)
lines, _ = handler._read(ti, 1)
print(json.dumps([line.event for line in lines]))
"""
LOG = "dag_id=train/run_id=manual__2026-11-27T01:02:03.4+00:00/task_id=prepare/attempt=1.log"
SAID = ["one", "größer \N{GRINNING FACE}", "three"]


def lines(*events: str) -> str:
    """A log as Airflow writes it."""
    return "".join(json.dumps({"timestamp": f"2026-11-27T01:02:0{number}Z", "level": "info", "event": event}) + "\n" for number, event in enumerate(events))


class Host:
    """A machine with a worker or an api-server."""

    def __init__(self, python: Path, folder: Path, mlflow: Mlflow) -> None:
        self.python, self.logs = python, folder / "logs"
        self.log = self.logs / LOG
        self.log.parent.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(mlflow.home),
            "PYTHONPATH": str(ROOT / "roles/airflow_stack/files"),
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__API__SECRET_KEY": "key",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "1",  # nobody serves the worker's logs: its host is gone
            "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "logs_in_mlflow.LOGGING_CONFIG",
            "LAB_LOGS_STORE": mlflow.uri,
        }

    def run(self, code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run Python code beside Airflow."""
        command = [str(self.python), "-c", code, *arguments]
        return subprocess.run(command, env={**self.environment, **more}, text=True, capture_output=True, check=False)

    def end_task(self, *events: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Let a task end that wrote a log."""
        self.log.write_text(lines(*events))
        return self.run(WRITE, LOG, **more)

    def read(self, state: str = "success", **more: str) -> tuple[list[str], str]:
        """The events of the log, and what is said of where it was looked for."""
        done = self.run(READ, str(self.logs), LOG, state, **more)
        assert done.returncode == 0, done.stderr
        events: list[str] = json.loads(done.stdout.splitlines()[-1])
        end = events.index("::endgroup::")
        return events[end + 1 :], " ".join(events[1:end])


@pytest.fixture
def hosts(airflow_python: Path, mlflow_server: Mlflow, tmp_path: Path) -> Any:
    """Machines of a lab, which share no disk."""
    yield lambda name: Host(airflow_python, tmp_path / name, mlflow_server)
    answer = requests.delete(f"{mlflow_server.uri}/api/2.0/mlflow-artifacts/artifacts/airflow", auth=("admin", mlflow_server.password), timeout=30)
    assert answer.status_code in (200, 404), answer.text


def test_a_log_outlives_the_host_that_it_was_written_on(hosts: Any) -> None:
    worker, server = hosts("worker"), hosts("server")
    events, said = server.read()
    assert not events and "MLflow has no log of this try, which comes there when the task ends: airflow/logs/dag_id=train/" in said, said
    done = worker.end_task(*SAID)
    assert done.returncode == 0, done.stderr
    worker.log.unlink()
    events, said = server.read()
    assert events == SAID and "/mlflow-artifacts/artifacts/airflow/logs/dag_id%3Dtrain/" in said, said


@pytest.mark.deep
def test_a_task_that_goes_on_on_another_host_has_one_log_and_the_triggerers_part_is_in_it(hosts: Any) -> None:
    one, other, triggerer, server = (hosts(name) for name in ("one", "other", "triggerer", "server"))
    assert one.end_task("begun").returncode == 0
    assert one.end_task("begun", "put off").returncode == 0, "its log has grown: nothing is there twice"
    assert other.end_task("ended").returncode == 0
    part = triggerer.log.with_name(f"{triggerer.log.name}.trigger.7.log")
    part.write_text(lines("waited"))
    assert triggerer.run(WRITE, f"{LOG}.trigger.7.log").returncode == 0
    events, _ = server.read()
    assert sorted(events) == ["begun", "ended", "put off", "waited"]


@pytest.mark.deep
def test_without_mlflow_the_reader_says_why_there_is_none_and_a_log_of_this_host_is_read(hosts: Any) -> None:
    away = {"LAB_LOGS_STORE": "http://127.0.0.1:1"}
    server = hosts("server")
    events, said = server.read(**away)
    assert not events and "MLflow, where the logs of ended tasks are, gives none: " in said and "127.0.0.1" in said, said
    done = server.end_task(*SAID, **away)
    assert done.returncode != 0 and "ConnectionError" in done.stderr, "Airflow writes this into its own log and goes on"
    assert server.read(**away)[0] == SAID
