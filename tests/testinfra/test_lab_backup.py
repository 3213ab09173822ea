"""A backup of the running lab, and what was deleted after it comes back.

On a lab of this machine: LAB_INVENTORY=inventories/lab pytest --hosts=local:// tests/testinfra/test_lab_backup.py
"""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urljoin

import pytest
from testinfra.host import Host

from tests.conftest import ROOT, run_tool
from tests.testinfra.asking import AIRFLOW, airflow_login, ask, question
from tests.testinfra.test_secrets import PATTERN

DIR = "/var/backups/mlops-lab"
MLFLOW = "http://127.0.0.1:5000/api/2.0/mlflow"
FILES = "http://127.0.0.1:5000/api/2.0/mlflow-artifacts/artifacts"
INDEX = "http://127.0.0.1:8081/repository/pypi-internal/simple/wine-cultivars/"
SECRETS = "/opt/mlops-lab/{}/secrets"


def play(name: str, *arguments: str) -> str:
    """Run a playbook of the lab, which has to succeed; returns what it printed."""
    inventory = os.environ.get("LAB_INVENTORY", "molecule/inventory")
    done = run_tool(["ansible-playbook", "-i", inventory, f"playbooks/{name}.yml", *arguments], MOLECULE_PROJECT_DIRECTORY=str(ROOT))
    assert done.returncode == 0, done.stdout[-3000:]
    return str(done.stdout)


@pytest.fixture(scope="module")
def saved(host: Host) -> Iterator[str]:
    """The directory of a backup."""
    before = host.run(f"ls {DIR}").stdout.split()
    play("backup")
    (name,) = sorted(set(host.check_output(f"ls {DIR}").split()) - set(before))
    yield f"{DIR}/{name}"
    host.check_output(f"rm -rf {DIR}/{name}")


@pytest.fixture(scope="module")
def admin(host: Host) -> tuple[str, str]:
    """Name and password of MLflow's administrator."""
    settings = configparser.ConfigParser()
    settings.read_string(host.file(f"{SECRETS.format('mlflow_server')}/auth.ini").content_string)
    return settings["mlflow"]["admin_username"], settings["mlflow"]["admin_password"]


def test_a_backup_is_whole_and_for_root_alone(host: Host, saved: str) -> None:
    assert host.check_output(f"stat -c '%U %a' {DIR} {saved}").splitlines() == ["root 700", "root 700"]
    assert set(host.check_output(f"stat -c '%U %a' {saved}/*").splitlines()) == {"root 600"}
    manifest = json.loads(host.file(f"{saved}/manifest.json").content_string)
    sums = host.check_output(f"cd {saved} && sha256sum $(ls | grep -v ^manifest)").splitlines()
    assert sums == [f"{file['sha256']}  {file['name']}" for file in manifest["files"]]
    expected = {f"{name}.dump" for name in ("airflow", "optuna", "mlflow")} | {
        f"{name}.tar.gz" for name in ("mlflow_artifacts", "index_packages", "workbench_notebooks")
    }
    assert {file["name"] for file in manifest["files"]} >= expected


def test_no_credential_is_in_a_backup(host: Host, saved: str) -> None:
    """Every file is unpacked, and has something in it that shows that it was."""
    contents = {
        "airflow.dump": "COPY public.dag_run",
        "optuna.dump": "COPY public.studies",
        "mlflow.dump": "COPY public.registered_models",
        "airflow_logs.tar.gz": "dag_id=train",
        "mlflow_artifacts.tar.gz": "MLmodel",
        "index_packages.tar.gz": "SQLite format 3",
        "manifest.json": '"versions"',
    }
    read = {"dump": "docker exec -i mlops-lab-airflow-postgres-1 pg_restore -f - <", "gz": "gunzip --stdout", "json": "cat"}
    for name, known in contents.items():
        unpacked = f"{read[name.rpartition('.')[2]]} {saved}/{name}"
        found = host.check_output(f"{unpacked} | LC_ALL=C grep -aohE '{known}|{PATTERN}' | sort -u").splitlines()
        assert found == [known], name


@pytest.mark.deep  # the lab stops and starts again
def test_what_was_deleted_comes_back(host: Host, saved: str, admin: tuple[str, str]) -> None:
    """A registered model, a file of it, a run of a DAG and its log, as their users see them; and uploaded packages are still served."""
    volume = host.check_output("docker volume inspect --format '{{.Mountpoint}}' mlops-lab-mlflow_artifacts")
    file = host.check_output(f"cd {volume} && find * -name MLmodel | sort | head -n 1")
    model = ask(host, question("GET", f"{MLFLOW}/registered-models/search", user=admin))[0].data["registered_models"][0]["name"]
    runs = f"{AIRFLOW}/api/v2/dags/train/dagRuns"
    run = ask(host, question("GET", f"{runs}?state=success&order_by=start_date", headers=airflow_login(host)))[0].data["dag_runs"][0]["dag_run_id"]
    task = ask(host, question("GET", f"{runs}/{run}/taskInstances", headers=airflow_login(host)))[0].data["task_instances"][0]["task_id"]

    def seen() -> list[Any]:
        known = airflow_login(host)
        answers = ask(
            host,
            question("GET", f"{MLFLOW}/registered-models/get?name={model}", user=admin),
            question("GET", f"{FILES}/{file}", user=admin),
            question("GET", f"{runs}/{run}", headers=known),
            question("GET", f"{runs}/{run}/taskInstances/{task}/logs/1", headers=known),
        )
        return [(answer.status, answer.body if answer.status == 200 else b"") for answer in answers]

    before = seen()
    assert [status for status, _body in before] == [200] * 4
    deleted = ask(
        host,
        question("DELETE", f"{MLFLOW}/registered-models/delete", user=admin, body={"name": model}),
        question("DELETE", f"{FILES}/{file}", user=admin),
        question("DELETE", f"{runs}/{run}", headers=airflow_login(host)),
    )
    assert [answer.status for answer in deleted] == [200, 200, 204]
    assert 200 not in [status for status, _body in seen()[:3]]
    play("restore", "-e", f"lab_backup_restore={saved.rpartition('/')[2]}")
    assert seen() == before
    # With the account of the environments' service, in the URL of its own configuration
    config = host.file(f"{SECRETS.format('environments')}/uv.toml").content_string
    reader = tuple(unquote(part) for part in config.partition("://")[2].rpartition("@")[0].split(":"))
    page = ask(host, question("GET", INDEX, user=(reader[0], reader[1]), headers={"Accept": "text/html"}))[0]
    wheel = re.findall(r'href="([^"]+\.whl)', page.body.decode())[0]
    assert ask(host, question("GET", urljoin(INDEX, wheel), user=(reader[0], reader[1])))[0].body.startswith(b"PK")
