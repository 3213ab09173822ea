"""MLflow's files in a store that speaks S3: what the role renders, what it refuses, and a real MLflow with a real store, which is the Versity S3 Gateway."""

from __future__ import annotations

import configparser
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import ROOT
from tests.unit import test_object_store
from tests.unit.authorities import certify
from tests.unit.conftest import Mlflow, make_environment
from tests.unit.plays import Done, play
from tests.unit.rendering import CANARY, MLFLOW, STORE, Case
from tests.unit.test_logs_in_mlflow import LOG, READ, SAID, WRITE, Host, lines

gateway = test_object_store.gateway  # a fixture
SCRIPT = ROOT / "roles/mlflow_server/files/object_store.py"
BUCKET = "lab-artifacts"


def mlflow_of(**values: Any) -> dict[str, Any]:
    """Return MLflow's service in the compose file."""
    content = yaml.safe_load(Case("", "mlflow_server", "compose.yml.j2", {**STORE, **values}).render())
    assert set(content["volumes"]) == {"postgres"} if values.get("mlflow_server_artifacts_url", "s3:") else {"postgres", "artifacts"}
    service: dict[str, Any] = content["services"]["mlflow"]
    return service


# -------------------------------------------------------------------- what is rendered


def test_without_a_store_nothing_of_it_is_there() -> None:
    case = Case("", "mlflow_server", "compose.yml.j2", MLFLOW)
    service = yaml.safe_load(case.render())["services"]["mlflow"]
    assert service["environment"]["MLFLOW_ARTIFACTS_DESTINATION"] == "/mlflow/artifacts" and "artifacts:/mlflow/artifacts" in service["volumes"]
    assert not [name for name in service["environment"] if name.startswith(("AWS", "MLFLOW_S3"))] and "object_store" not in service["secrets"]
    wanted = (SCRIPT.parent / "requirements.txt").read_text(encoding="utf-8")
    assert case.value("__mlflow_server_requirements") == wanted, "every image would be built again"


def test_the_keys_are_in_a_file_that_the_client_of_the_store_reads_and_nowhere_else() -> None:
    service = mlflow_of()
    assert service["environment"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://lab-artifacts/churn"
    assert service["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == "/run/secrets/object_store" and "object_store" in service["secrets"]
    assert not any("artifacts" in volume for volume in service["volumes"])
    assert "MLFLOW_S3_ENDPOINT_URL" not in service["environment"] and "AWS_REQUEST_CHECKSUM_CALCULATION" not in service["environment"]
    case = Case("", "mlflow_server", "compose.yml.j2", STORE)
    parser = configparser.RawConfigParser()  # as botocore reads it
    parser.read_string(case.value("__mlflow_server_secrets.object_store"))
    assert dict(parser["default"]) == {"aws_access_key_id": CANARY, "aws_secret_access_key": CANARY}
    beside = case.value("__mlflow_server_beside")
    assert "--env=MLFLOW_ARTIFACTS_DESTINATION=s3://lab-artifacts/churn" in beside and not any("canary" in argument for argument in beside)


def test_a_store_of_others_is_asked_at_its_address_without_what_only_amazon_knows() -> None:
    environment = mlflow_of(mlflow_server_artifacts_endpoint="https://s3.example.com", mlflow_server_artifacts_region="home")["environment"]
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "https://s3.example.com" and environment["AWS_DEFAULT_REGION"] == "home"
    assert environment["AWS_REQUEST_CHECKSUM_CALCULATION"] == environment["AWS_RESPONSE_CHECKSUM_VALIDATION"] == "when_required"
    assert environment["AWS_CA_BUNDLE"] == environment["SSL_CERT_FILE"], "authorities that the host trusts are not trusted"


def test_the_client_of_the_store_is_in_the_image_where_it_is_needed() -> None:
    found = Case("", "mlflow_server", "compose.yml.j2", STORE).value("__mlflow_server_requirements")
    names = [line.partition("==")[0] for line in found.splitlines() if "==" in line and not line.startswith("#")]
    assert {"boto3", "botocore", "s3transfer", "jmespath", "mlflow", "urllib3", "python-dateutil"} <= set(names) and len(names) == len(set(names))


# -------------------------------------------------------------------- what is refused before anything changes


@pytest.fixture
def looked(tmp_path: Path) -> Any:
    """A function that has the role look where files lie, on a host with a compose file of before and a volume with files; no engine is asked."""
    (tmp_path / "volume/1/a/artifacts").mkdir(parents=True)
    client = tmp_path / "bin/docker"
    client.parent.mkdir()
    client.write_text(f"#!/bin/sh\ntest -e '{tmp_path}/volume' && echo '{tmp_path}/volume'\n")
    client.chmod(0o755)

    def look(before: str, files: int, **values: Any) -> Done:
        for number in range(files):
            (tmp_path / f"volume/1/a/artifacts/{number}").write_text("x" * 1000)
        (tmp_path / "lab").mkdir(exist_ok=True)
        (tmp_path / "lab/compose.yml").write_text(before)
        role = {"import_role": {"name": "mlops.lab.mlflow_server", "tasks_from": "check"}}
        given = {
            **MLFLOW,
            "mlflow_server_dir": str(tmp_path / "lab"),
            "mlflow_server_artifacts_access_key": "k",
            "mlflow_server_artifacts_secret_key": "s",
            **values,
        }
        done = play(tmp_path, [role], "-e", json.dumps(given), PATH=f"{client.parent}{os.pathsep}{os.environ['PATH']}")
        assert "Traceback" not in done.output
        return done

    return look


def before(**values: Any) -> str:
    """Return the compose file that an earlier run wrote."""
    return Case("", "mlflow_server", "compose.yml.j2", {**MLFLOW, **values}).render()


S3 = {"mlflow_server_artifacts_url": "s3://lab-artifacts/churn"}
MOVED = "where MLflow would find none of them"


@pytest.mark.parametrize(
    ("former", "files", "now", "words"),
    [
        pytest.param({}, 2, {}, [], marks=pytest.mark.deep),
        ({}, 0, S3, []),
        pytest.param(None, 0, S3, [], marks=pytest.mark.deep),
        pytest.param(S3, 2, S3, [], marks=pytest.mark.deep),
        (S3, 2, {"mlflow_server_artifacts_url": "s3://lab-artifacts/churn/"}, []),
        ({}, 2, {**S3, "mlflow_server_artifacts_move": "copy"}, []),
        pytest.param({}, 2, {**S3, "mlflow_server_artifacts_move": "done"}, [], marks=pytest.mark.deep),
        (S3, 2, {"mlflow_server_artifacts_move": "done"}, []),
        (
            {},
            2,
            S3,
            ["The files of MLflow lie in the volume mlops-lab-mlflow_artifacts of localhost (2 files, ", "says s3://lab-artifacts/churn, " + MOVED, "=copy`"],
        ),
        (None, 2, S3, ["(2 files, ", MOVED]),
        (S3, 0, {}, ["lie in s3://lab-artifacts/churn, and mlflow_server_artifacts_url is empty, which means the volume", MOVED, "=done`"]),
        pytest.param(S3, 0, {"mlflow_server_artifacts_move": "copy"}, ["lie in s3://lab-artifacts/churn"], marks=pytest.mark.deep),
        (S3, 0, {**S3, "mlflow_server_artifacts_endpoint": "https://s3.example.com"}, ["says s3://lab-artifacts/churn at https://s3.example.com, " + MOVED]),
        ({}, 0, {"mlflow_server_artifacts_url": "lab-artifacts"}, ["mlflow_server_artifacts_url is 'lab-artifacts'", "write s3://bucket"]),
        pytest.param({}, 0, {**S3, "mlflow_server_artifacts_secret_key": ""}, ["the keys of its user into"], marks=pytest.mark.deep),
    ],
)
def test_files_stay_where_mlflow_finds_them(looked: Any, former: dict[str, Any] | None, files: int, now: dict[str, Any], words: list[str]) -> None:
    done = looked("" if former is None else before(**former), files, **now)
    assert bool(done.returncode) == bool(words), done.output
    assert all(word in done.output for word in words), done.output


# -------------------------------------------------------------------- a real store and a real MLflow


@dataclass
class Place:
    """A running store over TLS, whose certificate no host trusts that was not told to, with a bucket in it."""

    url: str
    key: str
    secret: str
    folder: Path
    """Where it keeps the objects of the bucket as files."""
    authority: Path

    def values(self, **more: str) -> dict[str, Any]:
        """Return the role's variables for a lab with this store."""
        keys = {"mlflow_server_artifacts_access_key": self.key, "mlflow_server_artifacts_secret_key": self.secret}
        return {**MLFLOW, **S3, **keys, "mlflow_server_artifacts_endpoint": self.url, **more}


@pytest.fixture(scope="module")
def place(gateway: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The store on a free port of this machine."""
    folder = tmp_path_factory.mktemp("store")
    certify(folder, "127.0.0.1")
    (folder / "objects" / BUCKET).mkdir(parents=True)
    (folder / "metadata").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Place(f"https://127.0.0.1:{port}", secrets.token_hex(8), secrets.token_hex(16), folder / "objects" / BUCKET, folder / "ca.pem")
    environment = {**os.environ, "ROOT_ACCESS_KEY": found.key, "ROOT_SECRET_KEY": found.secret, "VGW_PORT": f"127.0.0.1:{port}"}
    environment |= {"VGW_CERT": str(folder / "host.pem"), "VGW_KEY": str(folder / "host.key")}
    log = folder / "log"
    with log.open("wb") as output:
        command: list[str | Path] = [gateway, "posix", "--sidecar", folder / "metadata", folder / "objects"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                requests.get(found.url, timeout=5, verify=str(found.authority))
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def settings(folder: Path, values: dict[str, Any], authority: Path) -> dict[str, str]:
    """Return what the role gives the container in its environment, with the files of this machine in the place of those in there."""
    case = Case("", "mlflow_server", "compose.yml.j2", values)
    (folder / "object_store").write_text(case.value("__mlflow_server_secrets.object_store"))
    given: dict[str, str] = yaml.safe_load(case.render())["services"]["mlflow"]["environment"]
    assert not [name for name, value in given.items() if values["mlflow_server_artifacts_secret_key"] in value], "a key is in the environment"
    store = case.value("__mlflow_server_store_environment")
    assert {name: given[name] for name in store} == store, "what is tried is not what MLflow has"
    return {**store, "AWS_SHARED_CREDENTIALS_FILE": str(folder / "object_store"), "AWS_CA_BUNDLE": str(authority)}


@contextmanager
def serving(folder: Path, store: dict[str, str]) -> Iterator[Mlflow]:
    """A real MLflow server with authentication and these settings on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Mlflow(f"http://127.0.0.1:{port}", folder / "home", secrets.token_urlsafe(16))
    credentials = server.home / ".mlflow" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(f"[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = {server.password}\n")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\nadmin_password = {server.password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 60\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS")},
        **store,
        "HOME": str(folder),
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        command: list[str | Path] = [make_environment("mlflow"), "-m", "mlflow", "server", "--app-name", "basic-auth"]  # as serve.sh does
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                if requests.get(f"{server.uri}/health", timeout=5).ok:
                    break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def in_store(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A real MLflow with its files in the store."""
    folder = tmp_path_factory.mktemp("in_store")
    with serving(folder, settings(folder, place.values(), place.authority)) as server:
        yield server


# What a task of the lab does: it has MLflow's address and password, and neither the store's keys nor its authority.
CLIENT = """
import json, pathlib, sys
from lab_experiment import tracking
import mlflow
client, folder = mlflow.MlflowClient(), pathlib.Path(sys.argv[1])
run = client.create_run(client.create_experiment(sys.argv[2])).info.run_id
try:
    client.log_text(run, "größer", "notes/a file.txt")
except Exception as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
(folder / "steps.tar").write_bytes(bytes(range(256)) * 100)
client.log_artifact(run, str(folder / "steps.tar"), "lab")
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
got = pathlib.Path(client.download_artifacts(run, "", str(folder)))
uri = client.get_run(run).info.artifact_uri
answer = {
    "uri": uri,
    "listed": sorted(found.path for found in client.list_artifacts(run)),
    "text": (got / "notes/a file.txt").read_text(),
    "same": (got / "lab/steps.tar").read_bytes() == (folder / "steps.tar").read_bytes(),
}
get_artifact_repository(uri).delete_artifacts("lab/steps.tar")
answer["left"] = [found.path for found in client.list_artifacts(run, "lab")]
print(json.dumps(answer))
"""


def used(python: Path, mlflow: Mlflow, folder: Path) -> dict[str, Any]:
    """Return what a task of the lab gets of MLflow."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(mlflow.home),
        "PYTHONPATH": str(ROOT / "dags"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_TRACKING_URI": mlflow.uri,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = subprocess.run([python, "-c", CLIENT, folder, secrets.token_hex(4)], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.deep
def test_a_task_gets_its_files_through_mlflow_and_they_lie_in_the_bucket(place: Place, in_store: Mlflow, project_python: Path, tmp_path: Path) -> None:
    offered = requests.get(f"{in_store.uri}/api/3.0/mlflow/server-info", auth=("admin", in_store.password), timeout=60).json()
    assert offered["multipart_downloads_enabled"], "MLflow sends no client to the store itself any more, and nobody has to be told not to go there"
    found = used(project_python, in_store, tmp_path)
    assert found | {"uri": ""} == {"uri": "", "listed": ["lab", "notes"], "text": "größer", "same": True, "left": []}, found
    assert found["uri"].startswith("mlflow-artifacts:/"), "a client would need access to the store itself"
    lies = place.folder / "churn" / found["uri"].removeprefix("mlflow-artifacts:/")
    assert (lies / "notes/a file.txt").read_text() == "größer" and not (lies / "lab/steps.tar").exists()


@pytest.mark.deep
@pytest.mark.parametrize("airflow_python", ["3.3.2"], indirect=True)
def test_the_log_of_a_task_is_read_after_its_host_is_gone(place: Place, in_store: Mlflow, airflow_python: Path, tmp_path: Path) -> None:
    worker, server = (Host(airflow_python, tmp_path / name, in_store) for name in ("worker", "server"))
    worker.log.write_text(lines(*SAID))
    done = worker.run(WRITE, LOG)
    assert done.returncode == 0, done.stderr
    assert (place.folder / "churn/airflow/logs" / LOG).read_text() == lines(*SAID)
    read = server.run(READ, str(server.logs), LOG, "success")
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout.splitlines()[-1])[-len(SAID) :] == SAID, read.stdout


def tried(folder: Path, values: dict[str, Any], authority: Path, *arguments: Path) -> tuple[int, dict[str, str], str]:
    """Run what the role runs in MLflow's image; returns the exit code, the last line where it is JSON, and all that was said."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **settings(folder, values, authority)}
    command: list[str | Path] = [make_environment("mlflow"), "-", *arguments]
    done = subprocess.run(command, env=environment, input=SCRIPT.read_text(encoding="utf-8"), text=True, capture_output=True, check=False)
    assert done.stderr == "", done.stderr
    last = done.stdout.splitlines()[-1] if done.stdout else "{}"
    return done.returncode, json.loads(last) if last.startswith("{") else {}, done.stdout


@pytest.mark.deep
def test_wrong_keys_are_told_in_mlflow_s_log(place: Place, project_python: Path, tmp_path: Path) -> None:
    values = place.values(mlflow_server_artifacts_secret_key="wrong")
    with serving(tmp_path, settings(tmp_path, values, place.authority)) as server:
        found = used(project_python, server, tmp_path)
    assert "500" in found["error"], "MLflow gives no reason, and the role has tried the keys before"
    log = (tmp_path / "server.log").read_text()
    assert f"to {BUCKET}/churn/" in log and "An error occurred (SignatureDoesNotMatch)" in log
    assert place.key not in log + str(found) and place.secret not in log


@pytest.mark.deep
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, ""),
        ({"mlflow_server_artifacts_secret_key": "wrong"}, "keys"),
        ({"mlflow_server_artifacts_access_key": "nobody"}, "other"),  # this store has a code of its own for it
        ({"mlflow_server_artifacts_url": "s3://nothing-here/churn"}, "bucket"),
        ({"mlflow_server_artifacts_endpoint": "https://127.0.0.1:1"}, "address"),
        ({"authority": "other"}, "certificate"),
    ],
)
def test_the_store_is_tried_before_mlflow_is_started_on_it(place: Place, tmp_path: Path, values: dict[str, str], kind: str) -> None:
    given = place.values(**{name: value for name, value in values.items() if name != "authority"})
    authority = Path("/etc/ssl/certs/ca-certificates.crt") if "authority" in values else place.authority
    code, answer, _said = tried(tmp_path, given, authority)
    assert (bool(code), answer.get("kind", "")) == (bool(kind), kind), answer
    assert not kind or (answer["words"] and "\n" not in answer["words"] and place.secret not in answer["words"])
    assert kind in Case("", "mlflow_server", "compose.yml.j2", given).value("__mlflow_server_remedies") or not kind
    assert not list((place.folder / "churn").glob(".lab-*"))


@pytest.mark.deep
def test_what_lies_in_the_volume_is_copied_once(place: Place, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    contents = {"7/run/artifacts/model/MLmodel": b"flavors", "7/run/artifacts/a file.bin": os.urandom(9 << 20), "airflow/logs/1.log": b""}
    for name, content in {**contents, ".former/7/old": b"x"}.items():
        (volume / name).parent.mkdir(parents=True, exist_ok=True)
        (volume / name).write_bytes(content)
        os.utime(volume / name, (1_700_000_000, 1_700_000_000))
    values = place.values(mlflow_server_artifacts_url=f"s3://{BUCKET}/copied")
    code, _answer, said = tried(tmp_path, values, place.authority, volume)
    assert code == 0 and said.splitlines()[-1] == "3 files are in the store", said
    there = {str(path.relative_to(place.folder / "copied")): path.read_bytes() for path in (place.folder / "copied").rglob("*") if path.is_file()}
    assert there == contents
    (volume / "7/run/artifacts/late").write_bytes(b"late")
    assert "4 files, 3 of them there already" in tried(tmp_path, values, place.authority, volume)[2]
    (volume / "7/run/artifacts/model/MLmodel").write_bytes(b"FLAVORS")  # since the copy, and of the same size
    (place.folder / "copied/airflow/logs/1.log").write_bytes(b"went on in the store")
    assert "4 files, 2 of them there already" in tried(tmp_path, values, place.authority, volume)[2]
    assert (place.folder / "copied/7/run/artifacts/model/MLmodel").read_bytes() == b"FLAVORS"
    assert (place.folder / "copied/airflow/logs/1.log").read_bytes() == b"went on in the store"
