"""The running service for models: who gets in, what it says, and that it answers as MLflow's scoring protocol has it."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote

import pytest
from testinfra.host import Host

from tests.testinfra.asking import MODELS, ask, models_login, question

CONTAINER = "mlops-lab-models-models-1"
RUNNER = "mlops-lab-models-runner-1"


@pytest.fixture(scope="module")
def user(host: Host) -> tuple[str, str]:
    """Name and password of who may ask."""
    return models_login(host)


def test_only_who_has_the_password_gets_in(host: Host, user: tuple[str, str]) -> None:
    users = [None, (user[0], "wrong"), ("nobody", user[1]), (user[0], ""), user]
    assert [answer.status for answer in ask(host, *(question("GET", f"{MODELS}/models", user=who) for who in users))] == [401, 401, 401, 401, 200]
    paths = ["/", "/models/any/ping", "/models/any/invocations", "/docs"]
    assert {answer.status for answer in ask(host, *(question("GET", MODELS + path) for path in paths))} == {401}


def test_it_says_that_it_runs_to_anybody(host: Host) -> None:
    answer = ask(host, question("GET", f"{MODELS}/health"))[0]
    assert (answer.status, answer.body) == (200, b"OK")


def test_it_sees_the_registry_and_serves_what_is_live(host: Host, user: tuple[str, str]) -> None:
    said = ask(host, question("GET", f"{MODELS}/models", user=user))[0].data
    assert said["registry"]["error"] is None and said["registry"]["asked"]
    wrong = {slot["name"]: slot["error"] for slot in said["models"] if slot["error"]}
    assert not wrong
    for slot in said["models"]:
        base = MODELS + quote(slot["path"])
        ping, version, empty = ask(
            host,
            question("GET", f"{base}/ping", user=user),
            question("GET", f"{base}/version", user=user),
            question("POST", f"{base}/invocations", user=user, body={}),
        )
        assert (ping.status, version.status) == (200, 200) and version.body.startswith((b"2.", b"3."))
        assert empty.status == 400 and "error_code" in empty.data, "that is how MLflow refuses a request without rows"


def test_what_is_not_served_is_said_to_be_so(host: Host, user: tuple[str, str]) -> None:
    answer = ask(host, question("POST", f"{MODELS}/models/nobody@candidate/invocations", user=user, body={"inputs": [[1]]}))[0]
    assert answer.status == 404 and "nobody bears the alias candidate" in answer.data["error"]


def test_who_breaks_in_through_a_model_finds_nothing_to_write_on_and_no_secret(host: Host) -> None:
    for container, user in ((CONTAINER, "50000"), (RUNNER, "50001")):
        for place in ("/", "/opt/serve", "/opt/serve/model_server", "/opt/environments", "/opt/project", "/home/airflow", "/usr/local/bin"):
            assert host.run(f"docker exec {container} touch {place}/x").rc != 0, place
        assert host.check_output(f"docker exec {container} id -u") == user
        assert "CapEff:\t0000000000000000" in host.check_output(f"docker exec {container} cat /proc/1/status")
        assert host.run(f"docker exec {container} test -e /var/run/docker.sock").rc != 0
    for secret in ("/run/secrets/credentials", "/home/airflow/.mlflow/credentials"):
        assert host.run(f"docker exec {RUNNER} test -e {secret}").rc != 0, secret
    assert host.run(f"docker exec {RUNNER} touch /var/lib/models/x").rc != 0, "a model may change what is served"


def test_each_model_is_measured_and_people_get_a_page(host: Host, user: tuple[str, str]) -> None:
    for_programs, for_people = ask(
        host, question("GET", f"{MODELS}/models", user=user), question("GET", f"{MODELS}/models", user=user, headers={"Accept": "text/html"})
    )
    for slot in for_programs.data["models"]:
        assert slot["name"] in for_people.body.decode() and for_people.body.startswith(b"<!doctype html>")
        assert slot["memory_bytes"] is None or slot["memory_bytes"] > 10_000_000
        assert slot["environment"] and slot["mlflow"] and slot["python"]


def test_no_password_is_shown(host: Host, user: tuple[str, str]) -> None:
    shown = [f"docker inspect {CONTAINER}", f"docker logs {CONTAINER} 2>&1", f"docker exec {CONTAINER} cat /proc/1/environ", f"docker top {CONTAINER}"]
    for command in [*shown, "cat /opt/mlops-lab/model_server/compose.yml"]:
        assert user[1] not in host.check_output(command), command


def test_it_comes_back_when_it_is_killed(host: Host, user: tuple[str, str]) -> None:
    before = {slot["path"]: slot["version"] for slot in ask(host, question("GET", f"{MODELS}/models", user=user))[0].data["models"]}
    host.check_output(f"docker inspect --format '{{{{.State.Pid}}}}' {CONTAINER} | xargs kill -9")
    script = f"""
import base64, json, time, urllib.request
request = urllib.request.Request({MODELS + "/models"!r}, headers={{"Authorization": "Basic " + base64.b64encode({":".join(user).encode()!r}).decode()}})
until = time.monotonic() + 240
while True:
    try:
        found = {{slot["path"]: slot["version"] for slot in json.load(urllib.request.urlopen(request, timeout=10))["models"]}}
        if found == json.loads({json.dumps(json.dumps(before))}) or time.monotonic() > until:
            break
    except OSError:
        assert time.monotonic() < until
    time.sleep(0.5)
print(json.dumps(found))
"""
    assert json.loads(host.check_output(f"python3 -c {shlex.quote(script)}")) == before
