"""What tests of the DAGs and experiments share: real Python environments of other contents, and a real MLflow server.

The environments come from the hash-locked files in ``environments/`` and are kept in ``.cache/`` in the checkout, one for each content of its lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import AIRFLOWS, run_tool

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).parent / "environments"
PROJECT = ROOT / "examples" / "wine_cultivars"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def uv(*arguments: str | Path) -> None:
    """Run the uv of requirements-test.txt."""
    trusted = {"SSL_CERT_FILE": str(CA_BUNDLE)} if CA_BUNDLE.is_file() else {}
    done = subprocess.run(["uv", *map(str, arguments)], env={**trusted, **os.environ}, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.fail(f"uv {' '.join(map(str, arguments))}\n{done.stderr}")


def make_environment(name: str, *projects: Path, lock: Path | None = None) -> Path:
    """Make a Python environment from ``environments/<name>.txt``, or another lock, and install projects of the checkout into it; returns its Python."""
    lock = lock or LOCKS / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode() + Path(__file__).read_bytes())
    for project in projects:
        for file in sorted(path for path in project.rglob("*") if path.suffix in (".py", ".toml", ".md")):
            digest.update(file.read_bytes())
    folder = ROOT / ".cache" / "environments" / f"{name}-{digest.hexdigest()[:16]}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # another test run may be making it
        if not complete.is_file():
            for former in folder.parent.glob(f"{name}-*"):
                if time.time() - former.stat().st_mtime > 86400:  # no test that is running uses it
                    shutil.rmtree(former)
            uv("venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable, folder)
            uv("pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--require-hashes", "-r", lock)
            for project in projects:
                uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--no-build-isolation", "--no-cache", project)
            complete.touch()
    return python


def unpacked(package: str) -> Path:
    """Return a folder with the files of a Debian or Ubuntu package, and of those that it needs and are not installed here.

    They are fetched and unpacked, not installed, so that nothing of the machine changes and no service is started.
    """
    place = ROOT / ".cache" / package
    complete = place / "complete"
    place.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{package}.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not complete.is_file():
            shutil.rmtree(place)
            archives = place / "archives"
            (archives / "partial").mkdir(parents=True)
            options = [f"Dir::Cache::archives={archives}", "Debug::NoLocking=true", "APT::Sandbox::User=root"]
            fetch = ["apt-get", "install", "--download-only", "--yes", "--no-install-recommends", *(f"--option={option}" for option in options), package]
            done = run_tool(fetch)
            if done.returncode and os.geteuid() == 0:
                run_tool(["apt-get", "update", "--quiet"])
                done = run_tool(fetch)
            if done.returncode:
                pytest.fail(f"There is no {package} here, and its package could not be fetched (sudo apt install {package}):\n{done.stdout}", pytrace=False)
            for archive in archives.glob("*.deb"):
                done = run_tool(["dpkg-deb", "--extract", archive, place])
                assert done.returncode == 0, done.stdout
            shutil.rmtree(archives)
            complete.touch()
    return place


#: parameters of `project_python` for tests of what a package does with MLflow: the newest supported client, and the oldest
CLIENTS = ["project", pytest.param("project-2.19", marks=pytest.mark.deep)]


@pytest.fixture(scope="session")
def project_python(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment as the lab's project environment: MLflow's client, scikit-learn, the example project; no Airflow."""
    return make_environment(getattr(request, "param", "project"), PROJECT)


#: parameters of a fixture that gives each supported Airflow in turn
EVERY_AIRFLOW = [pytest.param(version, marks=[pytest.mark.deep] if number else []) for number, version in enumerate(AIRFLOWS)]


@pytest.fixture(scope="session", params=EVERY_AIRFLOW)
def airflow_python(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with Airflow and without MLflow, pandas and the project; each supported Airflow in turn."""
    return make_environment(f"airflow-{request.param}")


@contextmanager
def serving_environments(folder: Path, **settings: str) -> Iterator[Path]:
    """The service that makes environments, in a folder; gives the folder. Its socket is in there, so the path has to be short."""
    (folder / ".service").mkdir(parents=True, exist_ok=True)
    program = [sys.executable, str(ROOT / "roles" / "environments" / "files" / "environments_server.py")]
    trusted = {"SSL_CERT_FILE": str(CA_BUNDLE)} if CA_BUNDLE.is_file() else {}
    environment = {**trusted, **os.environ, "LAB_ENVIRONMENTS_DIR": str(folder), **settings}
    with (folder / ".service" / "log").open("w") as log:
        process = subprocess.Popen(program, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 30
        while subprocess.run([*program, "--check"], env=environment, capture_output=True, check=False).returncode:
            assert process.poll() is None and time.monotonic() < until, (folder / ".service" / "log").read_text()
        yield folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with what it started, as the end of a container does
        process.wait()


@pytest.fixture(scope="session")
def environments_service(worker_id: str) -> Iterator[Path]:
    """The environments' service on this machine, with environments that are kept between runs of the tests; gives its folder."""
    cache = os.environ.get("UV_CACHE_DIR") or subprocess.run(["uv", "cache", "dir"], text=True, capture_output=True, check=True).stdout.strip()
    with serving_environments(ROOT / ".cache" / "model_environments" / worker_id, UV_CACHE_DIR=cache) as folder:
        yield folder


@dataclass
class Mlflow:
    """A running MLflow server with authentication."""

    uri: str
    home: Path
    """A home directory with MLflow's credentials file, as the lab mounts it."""
    password: str

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Ask its REST API: ``get("runs/get", run_id=...)``."""
        return self._answer("get", path, params=query)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask its REST API with a JSON body."""
        return self._answer("post", path, json=body)

    def _answer(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = requests.request(method, f"{self.uri}/api/2.0/mlflow/{path}", auth=("admin", self.password), timeout=60, **more)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A real MLflow server on a free port of this machine: SQLite, proxied artefacts, authentication on."""
    python = make_environment("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Mlflow(f"http://127.0.0.1:{port}", folder / "home", secrets.token_urlsafe(16))
    credentials = server.home / ".mlflow" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(f"[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = {server.password}\n")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\nadmin_password = {server.password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"  # a password is hashed for each request otherwise, which takes most of the time
    )
    command = f"server --app-name basic-auth --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///{folder}/mlflow.db"
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "mlflow", *command.split(), "--artifacts-destination", str(folder / "artifacts")],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
                "MLFLOW_AUTH_ADMIN_PASSWORD": server.password,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        )
    try:
        until = time.monotonic() + 120
        while not _is_healthy(server.uri):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the MLflow server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_healthy(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


Package = Callable[[str], Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A function that writes a package ``theirs`` of which nobody here has heard: ``package("def f(): ...")``; returns the folder to import it from."""

    def write(source: str) -> Path:
        monkeypatch.delitem(sys.modules, "theirs", raising=False)  # another test may have imported its own
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "theirs.py").write_text(source)
        return folder

    return write
