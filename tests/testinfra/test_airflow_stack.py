"""A running Airflow stack as its users, its operators and an attacker meet it; and after its daemon, its broker and its database failed."""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
from typing import Any
from urllib.parse import quote

import pytest
from testinfra.host import Host

from tests.testinfra.asking import Answer, ask, question

FOLDER = "/opt/mlops-lab/airflow_stack"
SECRETS = f"{FOLDER}/secrets"
PROJECT = "mlops-lab-airflow"
URL, FLOWER = "http://127.0.0.1:8080", "http://127.0.0.1:5555"
# Somebody who may use Docker and is not root, with a home that is removed again.
OPERATOR = "setpriv --reuid=65534 --regid=$(getent group docker | cut -d: -f3) --clear-groups env HOME=/run/lab-operator"


@pytest.fixture(scope="module")
def user(host: Host) -> dict[str, str]:
    """The first declared user."""
    found: dict[str, str] = json.loads(host.file(f"{SECRETS}/init.json").content_string)["users"][0]
    return found


@pytest.fixture(scope="module")
def flower(host: Host) -> tuple[str, str]:
    """User and password of Flower."""
    name, _, password = host.file(f"{SECRETS}/flower_basic_auth").content_string.partition(":")
    return name, password


def log_in(host: Host, name: str, password: str) -> Answer:
    return ask(host, question("POST", f"{URL}/auth/token", body={"username": name, "password": password}))[0]


@pytest.fixture(scope="module")
def token(host: Host, user: dict[str, str]) -> dict[str, str]:
    """The header of somebody who logged in."""
    return {"Authorization": f"Bearer {log_in(host, user['username'], user['password']).data['access_token']}"}


def containers(host: Host) -> dict[str, dict[str, Any]]:
    """Return service -> state of its container."""
    lines = host.check_output(f"docker compose -p {PROJECT} ps --all --format json").splitlines()
    return {container["Service"]: container for container in map(json.loads, lines)}


def test_every_service_is_healthy_and_none_is_left_over(host: Host) -> None:
    control = {"postgres", "redis", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "flower", "airflow-worker"}
    assert {name: container["Health"] for name, container in containers(host).items()} == dict.fromkeys(control, "healthy")


def test_a_user_logs_in_and_sees_the_dags(host: Host, token: dict[str, str]) -> None:
    dags, errors, pools = ask(host, *(question("GET", f"{URL}/api/v2/{path}", headers=token) for path in ("dags", "importErrors", "pools")))
    assert "train" in {dag["dag_id"] for dag in dags.data["dags"]}
    assert errors.data["import_errors"] == []
    assert pools.status == 200


def test_a_run_that_is_triggered_without_an_id_bears_the_name_of_its_experiment(host: Host, token: dict[str, str]) -> None:
    """As the form triggers it. It is taken back: there is no such experiment."""
    runs = f"{URL}/api/v2/dags/train/dagRuns"
    made = ask(host, question("POST", runs, headers=token, body={"dag_run_id": None, "logical_date": None, "conf": {"experiment": "nowhere"}}))[0]
    assert made.status == 200, made.body
    assert re.fullmatch(r"nowhere-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}", made.data["dag_run_id"])
    this = f"{runs}/{quote(made.data['dag_run_id'])}"
    assert ask(host, question("PATCH", this, headers=token, body={"state": "failed"}))[0].status == 200
    assert ask(host, question("DELETE", this, headers=token))[0].status == 204


def test_declared_connections_variables_and_pools_are_there(host: Host, token: dict[str, str]) -> None:
    """What the inventory of the test host declares (molecule/inventory/host_vars/labhost/main.yml), and no password in the answer."""
    connection, variable, pool = ask(
        host, *(question("GET", f"{URL}/api/v2/{path}", headers=token) for path in ("connections/warehouse", "variables/team", "pools/gpu"))
    )
    assert (connection.data["conn_type"], connection.data["host"], connection.data["login"]) == ("postgres", "db.example.com", "reader")
    assert b"canary7q" not in connection.body
    assert variable.data["value"] == "red"
    assert pool.data["slots"] == 1


@pytest.mark.parametrize("name", [None, "nobody"])
def test_a_wrong_password_or_name_is_refused(host: Host, user: dict[str, str], name: str | None) -> None:
    assert log_in(host, name or user["username"], "wrong").status == 401


def test_without_a_login_there_is_nothing_to_see(host: Host) -> None:
    paths = ("dags", "connections", "variables", "importErrors")
    answers = ask(
        host, *(question("GET", f"{URL}/api/v2/{path}", headers={"Authorization": "Bearer x.y.z"}) for path in paths), question("GET", f"{FLOWER}/api/workers")
    )
    assert {answer.status for answer in answers} <= {401, 403}
    assert ask(host, question("GET", f"{URL}/api/v2/dags"))[0].status == 401


def test_nobody_but_root_reaches_the_secrets_on_the_host(host: Host) -> None:
    """Not even somebody of the user and group that the containers run as."""
    for who in ("--reuid=65534 --regid=65534", "--reuid=50000 --regid=0"):
        done = host.run(f"setpriv {who} --clear-groups bash -c 'ls {SECRETS} || cat {SECRETS}/fernet_key'")
        assert done.rc != 0 and "Permission denied" in done.stderr


def test_an_operator_needs_no_secret_to_use_compose(host: Host) -> None:
    host.check_output("install -d -o 65534 /run/lab-operator")
    compose = f"{OPERATOR} docker compose --project-directory {FOLDER} --file {FOLDER}/compose.yml"
    assert "airflow-scheduler" in host.check_output(f"{compose} ps --services")
    assert host.check_output(f"{compose} logs --no-color --tail 2 airflow-scheduler")
    before = containers(host)
    planned = host.run(f"{compose} --dry-run down")
    host.check_output("rm -r /run/lab-operator")
    assert planned.rc == 0 and "airflow-worker" in planned.stdout + planned.stderr
    assert containers(host).keys() == before.keys()


def test_no_secret_is_seen_from_outside(host: Host) -> None:
    """Neither in a definition of a container, nor in an argument of any process, nor in a log; raw, URL-encoded or in base64."""
    read = host.check_output(
        f"for f in {SECRETS}/*; do base64 -w0 $f; echo; done; for f in /opt/mlops-lab/mlflow_server/secrets/*; do base64 -w0 $f; echo; done"
    )
    values = {
        part for line in read.splitlines() for part in base64.b64decode(line).decode().replace('"', " ").split() if len(part) >= 16 and "/" not in part[:12]
    }
    assert len(values) > 6
    seen = host.check_output("docker ps -aq | xargs docker inspect; docker image inspect mlops-lab/airflow:*; ps -eo args; true")
    seen += host.check_output(f"docker compose -p {PROJECT} logs --no-color 2>&1; cat {FOLDER}/compose.yml {FOLDER}/*.log 2>/dev/null; true")
    for value in values:
        for shown in (value, quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("=")[:-1]):
            assert shown not in seen, f"a secret that begins with {value[:8]!r} is seen from outside"


def test_a_worker_s_container_has_no_key_of_the_control_host(host: Host) -> None:
    seen = host.check_output(f"docker exec {PROJECT}-airflow-worker-1 bash -c 'ls /run/secrets; env'")
    names = set(seen.split())
    assert {"broker_url", "result_backend", "secret_key"} <= names
    assert not {"fernet_key", "jwt_secret", "sql_alchemy_conn", "postgres_password", "init.json"} & names
    assert host.run(f"docker exec {PROJECT}-airflow-worker-1 touch /opt/airflow/dags/x").rc != 0, "a task could change the DAGs of the host"


def test_a_worker_s_passwords_open_no_database_but_their_own(host: Host) -> None:
    """A task knows the passwords of Celery's results and of Optuna's studies; Airflow's database, with its connections, stays closed to it."""
    script = """
import re, sqlalchemy
for name, own in (("result_backend", "celery"), ("optuna_url", "optuna")):
    url = sqlalchemy.make_url(re.sub("^db[+]", "", open(f"/run/secrets/{name}").read().strip()))
    for database in ("celery", "optuna", "airflow"):
        try:
            sqlalchemy.create_engine(url.set(database=database)).connect().close()
            print(own, database, "open")
        except sqlalchemy.exc.OperationalError as error:
            print(own, database, "closed" if "permission denied for database" in str(error) else error)
"""
    answers = host.check_output(f"docker exec {PROJECT}-airflow-worker-1 python -c {shlex.quote(script)}").splitlines()
    assert answers == [
        "celery celery open",
        "celery optuna closed",
        "celery airflow closed",
        "optuna celery closed",
        "optuna optuna open",
        "optuna airflow closed",
    ]


def test_the_broker_refuses_who_has_no_password(host: Host) -> None:
    """Whoever can write to it runs code on the workers."""
    assert "NOAUTH" in host.check_output(f"docker exec {PROJECT}-redis-1 redis-cli llen default 2>&1")


def wait_until_usable(host: Host, token: dict[str, str], flower: tuple[str, str], since: str = "") -> None:
    """Wait until every component has a heartbeat of later than `since` (a UTC time in ISO format), and Flower sees a worker."""
    until = time.monotonic() + 240
    while True:
        health, workers, dags = ask(
            host,
            question("GET", f"{URL}/api/v2/monitor/health"),
            question("GET", f"{FLOWER}/api/workers?refresh=1", user=flower),
            question("GET", f"{URL}/api/v2/dags", headers=token),
        )
        parts = health.data if health.status == 200 else {}
        states = {part["status"] for part in parts.values()}
        beats = [str(value) for part in parts.values() for name, value in part.items() if name.endswith("_heartbeat")]
        if states == {"healthy"} and len(beats) == 3 and min(beats) > since and dags.status == 200 and workers.status == 200 and workers.data:
            return
        assert time.monotonic() < until, (parts, workers, dags.status, host.run(f"docker compose -p {PROJECT} ps --all").stdout)
        time.sleep(1)


def test_a_restarted_daemon_stops_nothing(host: Host, token: dict[str, str], flower: tuple[str, str]) -> None:
    started = "docker ps --no-trunc -q | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}' | sort"
    before = host.check_output(started)
    host.check_output("systemctl restart docker")
    assert host.check_output(started) == before
    wait_until_usable(host, token, flower)


def test_the_lab_outlives_a_crash_of_broker_and_database(host: Host, token: dict[str, str], flower: tuple[str, str]) -> None:
    """They come back by themselves, and everything finds them again."""
    pids = f"docker inspect --format '{{{{.State.Pid}}}}' {PROJECT}-redis-1 {PROJECT}-postgres-1"
    before = host.check_output(pids)
    since = host.check_output(f"{pids} | xargs kill -9; sleep 1; date --utc +%Y-%m-%dT%H:%M:%S")
    wait_until_usable(host, token, flower, since)
    assert not set(before.split()) & set(host.check_output(pids).split())
    ping = "celery --app airflow.providers.celery.executors.celery_executor.app inspect --timeout 30 ping"
    assert "pong" in host.check_output(f"docker exec {PROJECT}-airflow-worker-1 {ping}")
    until = time.monotonic() + 240
    while {container["Health"] for container in containers(host).values()} != {"healthy"}:
        assert time.monotonic() < until, containers(host)
        time.sleep(1)
