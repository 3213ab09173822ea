"""Deployments into object stores: a real S3 server (the Versity S3 Gateway), a folder, and real Airflow with its connections."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.unit import test_deployment as deployments
from tests.unit.conftest import CA_BUNDLE, make_environment

# The store is a program that has to be compiled first.
pytestmark = pytest.mark.deep

ROOT = Path(__file__).resolve().parents[2]
# The module, and the digest of its content as Go's checksum database has it. Apache 2.0; it keeps objects as files of a folder.
GATEWAY, VERSION, SUM = "github.com/versity/versitygw", "v1.8.0", "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
models, commands, deployer = deployments.models, deployments.commands, deployments.deployer  # fixtures

# Runs operators in Airflow's own environment, all in one process since importing it takes seconds.
OPERATORS = """
import contextlib, importlib, io, json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from lab_deployment import operators
from lab_deployment.targets import object_store
put = object_store.Store.put
def damaged(self, file, name):
    put(self, file, name)
    if name.endswith("MLmodel"):
        other = b"x" * file.stat().st_size
        self._fs.pipe_file(self._place(name), other) if self.scheme != "file" else open(self._place(name), "wb").write(other)
def slow(self, file, name):
    put(self, file, name)
    import time; time.sleep(60)
lines, answers = sys.stdin, sys.stdout
for line in lines:
    asked, output = json.loads(line), io.StringIO()
    object_store.Store.put = {"": put, "damaged": damaged, "slow": slow}[asked["fault"]]
    with contextlib.redirect_stdout(output):
        try:
            operator = getattr(operators, asked["operator"])(task_id="t", **asked["arguments"])
            answer = {"result": operator.execute(asked["context"])}
        except Exception as error:
            answer = {"kind": type(error).__name__, "words": str(error)}
    print(json.dumps({**answer, "output": output.getvalue()}), file=answers, flush=True)
"""


@dataclass
class Airflow:
    """Operators of the DAG ``deploy``, executed in Airflow's own environment."""

    python: Path
    folder: Path
    environment: dict[str, str]
    project: deployments.Deployer
    process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """The process that runs them."""
        if self.process is None or self.process.poll() is not None:
            command: list[str | Path] = [self.python, "-W", "ignore", "-c", OPERATORS, str(ROOT / "dags")]
            log = (self.folder / "log").open("w")
            self.process = subprocess.Popen(command, env=self.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        return self.process

    def send(self, operator: str, context: dict[str, Any] | None = None, fault: str = "", **arguments: Any) -> None:
        """Have an operator executed."""
        process = self.start()
        assert process.stdin
        line = {"operator": operator, "context": context or {}, "fault": fault, "arguments": arguments}
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()

    def do(self, operator: str, context: dict[str, Any] | None = None, fault: str = "", **arguments: Any) -> dict[str, Any]:
        """Execute an operator; returns ``result``, or ``kind`` and ``words`` of an exception, and ``output``."""
        self.send(operator, context, fault, **arguments)
        assert self.process and self.process.stdout
        line = self.process.stdout.readline()
        assert line, (self.folder / "log").read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def check(self, uri: str, target: str = "object_store", **options: Any) -> dict[str, Any]:
        """Check a deployment."""
        return self.do("CheckOperator", {"params": {"model_uri": uri, "target": target, "target_options": options}})

    def request(self, uri: str, target: str = "object_store", **options: Any) -> dict[str, Any]:
        """What the task ``deploy`` is asked for."""
        checked = self.project.check(uri, target, **options)
        assert checked.result, checked
        request = {"plan": checked.result[0], "runs_dir": str(self.folder), "key": f"manual__{secrets.token_hex(4)}-0", "by": "deploy/manual__1"}
        fetched = self.project.do("fetch", **request)
        assert fetched.result, fetched
        return request

    def deploy(self, uri: str, fault: str = "", target: str = "object_store", **options: Any) -> dict[str, Any]:
        """Check, fetch and deploy."""
        return self.do("DeployOperator", fault=fault, request=self.request(uri, target, **options))


def worker(python: Path, project_python: Path, project: deployments.Deployer, **more: str) -> Airflow:
    """A worker with Airflow in one environment, and the project in another."""
    mlflow, folder = project.mlflow, project.folder
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(mlflow.home),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "LAB_PROJECT_PYTHON": str(project_python),
        "LAB_RUNS_DIR": str(folder),
        "LAB_ENVIRONMENTS_DIR": str(project.environments),
        "LAB_DATA_DIR": str(folder),
        "LAB_OUTPUT_DIR": str(folder),
        "MLFLOW_TRACKING_URI": mlflow.uri,
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"SSL_CERT_FILE": str(CA_BUNDLE)} if CA_BUNDLE.is_file() else {}),
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }
    return Airflow(python, folder, environment, project)


@dataclass
class S3:
    """A running S3 server with a bucket ``models``."""

    url: str
    key: str
    secret: str
    folder: Path
    """Where it keeps the objects of the bucket as files."""

    def connection(self, secret: str = "") -> str:
        """An Airflow connection to it, as a variable of the environment holds it."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1", "config_kwargs": {"retries": {"max_attempts": 1}}}
        return json.dumps({"conn_type": "aws", "login": self.key, "password": secret or self.secret, "extra": extra})


@pytest.fixture(scope="session")
def gateway() -> Path:
    """The program, built once for a checkout by Go from the module proxy; its source is held against the digest."""
    folder = ROOT / ".cache" / f"versitygw-{VERSION}"
    program = folder / "versitygw"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_file():
            environment = {**os.environ, "GOBIN": str(folder / "bin"), "GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0"}
            for command in (["mod", "download", "-json", f"{GATEWAY}@{VERSION}"], ["install", "-ldflags=-s -w", f"{GATEWAY}/cmd/versitygw@{VERSION}"]):
                done = subprocess.run(["go", *command], cwd=folder, env=environment, text=True, capture_output=True, check=False)
                assert done.returncode == 0, done.stderr
                if command[0] == "mod":
                    assert json.loads(done.stdout)["Sum"] == SUM, done.stdout
            (folder / "bin" / "versitygw").replace(program)
    return program


@pytest.fixture(scope="session")
def s3(gateway: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The S3 server on a free port of this machine."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "objects" / "models").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = S3(f"http://127.0.0.1:{port}", secrets.token_hex(8), secrets.token_hex(16), folder / "objects" / "models")
    environment = {**os.environ, "ROOT_ACCESS_KEY": server.key, "ROOT_SECRET_KEY": server.secret, "VGW_PORT": f"127.0.0.1:{port}"}
    log = folder / "log"
    with log.open("wb") as output:
        command: list[str | Path] = [gateway, "posix", "--sidecar", folder / "metadata", folder / "objects"]
        (folder / "metadata").mkdir()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                requests.get(server.url, timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def airflow(project_python: Path, deployer: deployments.Deployer, s3: S3) -> Iterator[Airflow]:
    """Airflow with the provider for S3, a connection ``store``, and one with a wrong password."""
    connections = {"AIRFLOW_CONN_STORE": s3.connection(), "AIRFLOW_CONN_WRONG": s3.connection("wrong"), "AIRFLOW_CONN_FILES": '{"conn_type": "fs"}'}
    running = worker(make_environment("object_store"), project_python, deployer, **connections)
    yield running
    if running.process:
        running.process.kill()
        running.process.communicate()


def shown(folder: Path) -> list[str]:
    """The names in a folder that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest, whose files are held against their digests."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    lines = []
    for file in manifest["files"]:
        content = (folder / manifest["path"] / file["path"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["size"])
        lines.append(f"{file['sha256']}  {file['path']}\n")
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == manifest["digest"]
    return manifest


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_models_go_there_are_proven_kept_and_rolled_back(airflow: Airflow, s3: S3, tmp_path: Path, kind: str) -> None:
    where = {"url": "s3://models/plain", "connection": "store"} if kind == "s3" else {"url": f"file://{tmp_path}/store/plain"}
    folder = s3.folder / "plain" if kind == "s3" else tmp_path / "store" / "plain"
    first = airflow.deploy("models:/plain/1", **where, keep=1)
    assert "result" in first, first
    one = manifest_of(folder)
    assert (one["model"], one["name"], one["version"], one["deployed_by"], one["former"]) == ("models:/plain/1", "plain", 1, "deploy/manual__1", [])
    assert first["result"]["where"] == f"{where['url']}/.models/{one['digest']}"
    assert shown(folder) == ["manifest.json"]
    assert "result" in airflow.deploy("models:/plain/2", **where, keep=1)
    two = manifest_of(folder)
    assert [entry["digest"] for entry in two["former"]] == [one["digest"]]
    again = airflow.deploy("models:/plain/1", **where, keep=1)
    assert "0 bytes uploaded" in again["output"], again
    assert manifest_of(folder)["digest"] == one["digest"]
    assert "result" in airflow.deploy("models:/plain/3", **where, keep=1)
    three = manifest_of(folder)
    assert {path.name for path in (folder / ".models").iterdir() if any(path.iterdir())} == {three["digest"], one["digest"]}, "only one former model is kept"
    assert not list(airflow.folder.glob("deploy-*"))


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_a_damaged_upload_leaves_the_former_model_in_service(airflow: Airflow, s3: S3, tmp_path: Path, kind: str) -> None:
    where = {"url": "s3://models/damaged", "connection": "store"} if kind == "s3" else {"url": f"file://{tmp_path}/store/damaged"}
    folder = s3.folder / "damaged" if kind == "s3" else tmp_path / "store" / "damaged"
    assert "result" in airflow.deploy("models:/plain/1", **where)
    before = manifest_of(folder)
    failed = airflow.deploy("models:/plain/2", "damaged", **where)
    assert failed["kind"] == "RuntimeError" and failed["words"].startswith("the proof failed: ") and "/MLmodel does not have the digest " in failed["words"], (
        failed
    )
    assert manifest_of(folder) == before
    assert {path.name for path in (folder / ".models").iterdir() if any(path.iterdir())} == {before["digest"]}, "what was uploaded is still there"


def test_a_killed_upload_is_never_seen_and_the_next_one_completes_it(airflow: Airflow, s3: S3) -> None:
    where = {"url": "s3://models/killed", "connection": "store"}
    folder = s3.folder / "killed"
    request = airflow.request("models:/plain/1", **where)
    airflow.send("DeployOperator", fault="slow", request=request)
    until = time.monotonic() + 120
    while not list(folder.glob(".models/*/*")):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert airflow.process
    airflow.process.send_signal(signal.SIGKILL)
    airflow.process.wait()
    assert shown(folder) == []
    assert "result" in airflow.do("DeployOperator", request=request)
    assert manifest_of(folder)["version"] == 1


def test_what_cannot_be_used_is_one_sentence(airflow: Airflow, s3: S3, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "link").symlink_to("/etc")
    writable = f"allowed: a folder below {tmp_path}, or an address in an object store."
    cases = {
        ("file:///etc/x", None): f"target_options: url has 'file:///etc/x', which a deployment may not use; {writable}",
        (f"file://{tmp_path}/link/x", None): f"target_options: url has 'file://{tmp_path}/link/x', which leads to /etc/x; {writable}",
        ("s3://models/x", None): "target_options lacks 'connection', the id of the Airflow connection for s3://models/x.",
        ("s3://models/x", "nowhere"): "target_options: connection has 'nowhere', but Airflow has no connection of this id (Admin, Connections).",
        ("s3://nothing/x", "store"): "target_options: url has 's3://nothing/x', but there is no bucket 'nothing', or the connection's user may not see it.",
        ("s3://models/x", "wrong"): "target_options: url has 's3://models/x', but the connection's user may not look into 'models': ",
        (
            f"file://{tmp_path}/a file/x",
            None,
        ): f"target_options: url has 'file://{tmp_path}/a file/x', but {tmp_path}/a file is no folder that this worker may write.",
        ("gs://models/x", "store"): "target_options: url has 'gs://models/x', for which Airflow's own environment has no file system (",
    }
    for (url, connection), sentence in cases.items():
        answer = airflow.check("models:/plain/1", url=url, connection=connection)
        assert answer.get("kind") == "AirflowFailException" and answer["words"].startswith(sentence) and "\n" not in answer["words"], (url, connection, answer)
    assert answer["words"].endswith("; add apache-airflow-providers-google[gcsfs] to airflow_image_providers and build the image again.")
    both = airflow.check("models:/plain/99", url="s3://models/x")
    assert both["words"].splitlines() == [
        "model_uri has 'models:/plain/99'; the versions of plain are 1, 2, 3.",
        "target_options lacks 'connection', the id of the Airflow connection for s3://models/x.",
    ]
