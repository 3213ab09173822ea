"""A lab host after the whole of site.yml: the report says what a user can find out without it.

The report lies on the control node, at ``reports/lab.json`` or where the environment variable ``LAB_REPORT`` says.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

REPORT = Path(os.environ.get("LAB_REPORT") or Path(__file__).resolve().parents[2] / "reports/lab.json")

# Runs on the host, whose only certain tool is Python: the HTTP status of each address, for somebody who has no password.
STATUS = r"""
import json, sys, urllib.error, urllib.request
def status(url):
    try: return urllib.request.urlopen(url, timeout=30).status
    except urllib.error.HTTPError as error: return error.code
print(json.dumps([status(url) for url in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """The verdict of the run that the host was made by."""
    found: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return found


def test_the_verdict_is_good(report: dict[str, Any]) -> None:
    """Every check passed, and none of the subjects was left out."""
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert report["ok"] is True
    names = " / ".join(check["name"] for check in report["checks"])
    subjects = "components DAG run Celery log metrics plot registered predicts Flower MLflow Airflow Postgres Redis credential"
    assert [word for word in subjects.split() if word not in names] == []


def test_the_addresses_answer_and_ask_for_a_password(host: Host, report: dict[str, Any]) -> None:
    """At the addresses the user is shown there is somebody, who lets no stranger in."""
    paths = {"Airflow": "/api/v2/dags", "MLflow": "/api/2.0/mlflow/experiments/search?max_results=1", "Flower": "/"}
    urls = [report["urls"][name] + path for name, path in paths.items()]
    answer = host.check_output(f"printf %s {shlex.quote(json.dumps(urls))} | python3 -c {shlex.quote(STATUS)}")
    assert json.loads(answer) == [401, 401, 401]


@pytest.mark.parametrize("port", [5432, 6379])
def test_database_and_broker_listen_nowhere(host: Host, port: int) -> None:
    """Nothing of the host accepts connections for Postgres or Redis."""
    assert not host.socket(f"tcp://{port}").is_listening


def test_the_image_of_the_report_is_the_one_that_runs(host: Host, report: dict[str, Any]) -> None:
    """The worker runs on it."""
    command = "docker ps --quiet --filter label=com.docker.compose.service=airflow-worker | xargs docker inspect --format '{{.Image}}'"
    assert f"sha256:{report['image']['id']}" in host.check_output(command)


def test_the_first_model_was_trained_once(report: dict[str, Any]) -> None:
    """It is the first version of its name, however often the playbook ran."""
    assert report["model"]["version"] == "1"
