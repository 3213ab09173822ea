"""A running MLflow: who gets in, under which names, and what goes through it."""

from __future__ import annotations

import configparser
import shlex
import time
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from tests.testinfra.asking import ask, question

URL = "http://127.0.0.1:5000"
API = f"{URL}/api/2.0/mlflow"
FILES = f"{URL}/api/2.0/mlflow-artifacts/artifacts"
PROJECT = "mlops-lab-mlflow"
SECRETS = "/opt/mlops-lab/mlflow_server/secrets"
SEARCH = f"{API}/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def admin(host: Host) -> tuple[str, str]:
    """Name and password of the administrator."""
    if not host.file(SECRETS).exists:
        pytest.skip("This lab uses an MLflow that was there already.")
    settings = configparser.ConfigParser()
    settings.read_string(host.file(f"{SECRETS}/auth.ini").content_string)
    return settings["mlflow"]["admin_username"], settings["mlflow"]["admin_password"]


def test_only_who_has_the_password_gets_in(host: Host, admin: tuple[str, str]) -> None:
    users = [None, (admin[0], "wrong"), ("nobody", admin[1]), (admin[0], ""), admin]
    assert [answer.status for answer in ask(host, *(question("GET", SEARCH, user=user) for user in users))] == [401, 401, 401, 401, 200]


def test_the_administrator_has_the_password_of_the_vault_whenever_mlflow_starts(host: Host, admin: tuple[str, str]) -> None:
    another = (admin[0], "a-password-of-somebody-in-MLflow")
    wanted = {"username": admin[0], "password": another[1], "current_password": admin[1]}
    (changed,) = ask(host, question("PATCH", f"{API}/users/update-password", user=admin, body=wanted))
    assert changed.status == 200, changed
    try:
        assert ask(host, question("GET", SEARCH, user=another))[0].status == 200
    finally:
        host.check_output(f"docker restart {PROJECT}-mlflow-1")
        until = time.monotonic() + 90
        while host.check_output(f"docker inspect --format '{{{{.State.Health.Status}}}}' {PROJECT}-mlflow-1") != "healthy" and time.monotonic() < until:
            time.sleep(1)
    assert [answer.status for answer in ask(host, *(question("GET", SEARCH, user=user) for user in (admin, another)))] == [200, 401]


def test_the_pages_and_files_need_the_password_too(host: Host, admin: tuple[str, str]) -> None:
    urls = [f"{URL}/", f"{FILES}?path=", f"{API}/users/get?username={admin[0]}"]
    assert {answer.status for answer in ask(host, *(question("GET", url) for url in urls))} == {401}


def test_its_pages_open_on_model_training_without_the_assistant_and_it_calls_nobody(host: Host, admin: tuple[str, str]) -> None:
    page, script = ask(host, *(question("GET", f"{URL}/{path}", user=admin) for path in ("", "static-files/first_visit.js")))
    assert b'<script src="static-files/first_visit.js"></script><title>' in page.body
    assert script.status == 200 and b"machine_learning" in script.body and b"autoOpenedOnFirstLoad" in script.body
    assert host.check_output(f"docker exec {PROJECT}-mlflow-1 printenv MLFLOW_DISABLE_TELEMETRY") == "true"


def test_a_page_of_another_name_is_refused_before_its_password_is_looked_at(host: Host, admin: tuple[str, str]) -> None:
    """A browser that was tricked into taking evil.example for this address sends the password it knows."""
    names = ["evil.example", "evil.example:5000", "127.0.0.1.evil.example:5000", "mlflow.evil.example"]
    answers = ask(host, *(question("GET", SEARCH, user=admin, headers={"Host": name}) for name in names))
    assert [answer.status for answer in answers] == [403] * len(names)
    assert all(b"experiments" not in answer.body for answer in answers)


def test_the_names_of_the_lab_are_accepted_at_any_port(host: Host, admin: tuple[str, str]) -> None:
    """`mlflow` is what tasks use; with a tunnel the port is another one."""
    names = ["mlflow:5000", "mlflow", "localhost:5000", "127.0.0.1:5000", "localhost:15000", f"{host.check_output('hostname')}:5000"]
    assert [answer.status for answer in ask(host, *(question("GET", SEARCH, user=admin, headers={"Host": name}) for name in names))] == [200] * len(names)


@pytest.fixture
def artifacts(host: Host, admin: tuple[str, str]) -> Iterator[str]:
    """The address of the files of an experiment of this test alone."""
    created = ask(host, question("POST", f"{API}/experiments/create", user=admin, body={"name": f"test-{time.time()}"}))[0]
    experiment = created.data["experiment_id"]
    found = ask(host, question("GET", f"{API}/experiments/get?experiment_id={experiment}", user=admin))[0].data["experiment"]
    assert found["artifact_location"] == f"mlflow-artifacts:/{experiment}", "a client would need access to the store itself"
    yield f"{FILES}/{experiment}"
    ask(host, question("POST", f"{API}/experiments/delete", user=admin, body={"experiment_id": experiment}))


def test_files_go_through_mlflow_and_come_back_as_they_were(host: Host, admin: tuple[str, str], artifacts: str) -> None:
    content = bytes(range(256)) * 100
    address = f"{artifacts}/folder/a%20file.bin"
    put, stranger, got, gone, after = ask(
        host,
        question("PUT", address, user=admin, body=content),
        question("GET", address),
        question("GET", address, user=admin),
        question("DELETE", address, user=admin),
        question("GET", address, user=admin),
    )
    assert put.status == 200 and got.status == 200
    assert got.body == content
    assert stranger.status == 401
    assert gone.status == 200 and after.status in (404, 500) and after.body != content


def test_the_server_keeps_its_files_to_its_store(host: Host, admin: tuple[str, str], artifacts: str) -> None:
    up = f"{artifacts}/..%2f..%2f..%2fetc%2fpasswd"
    answer = ask(host, question("GET", up, user=admin))[0]
    assert answer.status >= 400 and b"root:" not in answer.body


def test_nothing_runs_that_the_lab_does_not_use(host: Host, admin: tuple[str, str]) -> None:
    """MLflow's job runners alone are six processes and more memory than all of Airflow."""
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null && echo; done"
    said = host.check_output(f"docker exec {PROJECT}-mlflow-1 bash -c {shlex.quote(script)}").splitlines()
    running = [line for line in said if line.strip() and not line.startswith(("bash -c", "tr "))]
    assert len(running) <= 4, running
    assert not [process for process in running if "huey" in process or "job" in process]


def test_mlflow_outlives_a_crash_of_its_database(host: Host, admin: tuple[str, str]) -> None:
    host.check_output(f"docker inspect --format '{{{{.State.Pid}}}}' {PROJECT}-postgres-1 | xargs kill -9")
    until = time.monotonic() + 240
    while ask(host, question("GET", SEARCH, user=admin))[0].status != 200:
        assert time.monotonic() < until, host.run(f"docker compose -p {PROJECT} ps --all").stdout
        time.sleep(1)
