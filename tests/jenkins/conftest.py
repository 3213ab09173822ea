"""A controller for tests: runs the project's Jenkinsfiles in the harness, in workspaces of their own and with credentials made up here."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pypiserver  # type: ignore[import-untyped]
import pytest
import yaml

from tests.conftest import ROOT, run_tool

HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache/jenkins"
# The password of the publisher of the index below
PUBLISHER = 'planted "publisher" password-9b7e'
# Of this machine's environment, what an agent needs
PASSED_ON = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CACHE_HOME")


def jar(coordinates: str, digest: str) -> Path:
    """Return a file of Maven Central, fetched once and held against its hash."""
    path = CACHE / f"{'-'.join(coordinates.split(':')[1:])}.jar"
    if not path.exists():
        assert shutil.which("mvn"), "mvn is not installed: apt install maven"
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy", f"-Dartifact={coordinates}"]
        done = subprocess.run([*command, f"-DoutputDirectory={CACHE}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, f"{path} is another file than tests/jenkins/jars.txt says: remove it"
    return path


@pytest.fixture(scope="session")
def jars() -> list[Path]:
    """The files of jars.txt: Jenkins's own Groovy for the harness, then the linter with a Groovy of its own."""
    lines = [line for line in (HERE / "jars.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [jar(*line.split()) for line in lines]


@dataclass
class Build:
    """What became of a build."""

    result: str
    description: str
    console: str
    stages: dict[str, str]
    folder: Path
    told: dict[str, Any]

    def everything(self) -> Iterator[tuple[Path, str]]:
        """Yield all that a controller keeps of a build: console, archive, test results."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes().decode(errors="replace")


@dataclass
class Controller:
    """Jobs and credentials; `start` runs a build and returns at once, `build` waits for it."""

    home: Path
    groovy: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def job(self, name: str, jenkinsfile: Path, workspace: Path, **environment: str) -> None:
        """Add a job with its workspace."""
        self.jobs[name] = {"jenkinsfile": str(jenkinsfile), "workspace": str(workspace), "environment": environment}

    def start(self, job: str, **parameters: str | bool) -> subprocess.Popen[str]:
        """Start a build; its console is standard output."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        config = {"home": str(self.home), "job": job, "parameters": parameters, "environment": environment, "jobs": self.jobs, "credentials": self.credentials}
        file = self.home / f"config-{len(self.running)}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config), encoding="utf-8")  # the harness removes it
        command = [
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            str(self.groovy),
            "groovy.ui.GroovyMain",
            str(HERE / "harness.groovy"),
            str(file),
        ]
        process = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], job: str) -> Build:
        """Wait for a build to end, and return what became of it."""
        console, _ = process.communicate(timeout=3600)
        return self.last(job, console)

    def last(self, job: str, console: str = "") -> Build:
        """Return what became of the last build of a job."""
        folders = sorted((self.home / "builds" / job).iterdir(), key=lambda path: int(path.name))
        assert (folders[-1] / "build.json").exists(), console
        told = json.loads((folders[-1] / "build.json").read_text(encoding="utf-8"))
        stages = {stage["name"]: stage["status"] for stage in told["stages"]}
        return Build(told["result"], told["description"] or "", (folders[-1] / "log").read_text(encoding="utf-8"), stages, folders[-1], told)

    def build(self, job: str, **parameters: str | bool) -> Build:
        """Run a build to its end."""
        return self.finish(self.start(job, **parameters), job)

    def abort(self, process: subprocess.Popen[str], job: str, when: str) -> Build:
        """Abort a build as soon as its console shows a text."""
        log, until = self.home / f"builds/{job}/1/log", time.monotonic() + 120
        while not (log.exists() and when in log.read_text(encoding="utf-8")):
            assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        return self.finish(process, job)


@pytest.fixture
def controller(tmp_path: Path, jars: list[Path]) -> Iterator[Controller]:
    """A controller without jobs."""
    (tmp_path / "controller").mkdir()
    controller = Controller(tmp_path / "controller", jars[0])
    yield controller
    for process in controller.running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, at a time that does not depend on the clock."""
    when = {"GIT_COMMITTER_DATE": "2026-11-24T10:20:30Z", "GIT_AUTHOR_DATE": "2026-11-24T10:20:30Z"}
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@lab.example", "-C", str(folder), *arguments]
    return subprocess.run(command, env=os.environ | when, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns a Python environment that holds some locks and nothing else, made as a pipeline makes it, once for all test processes."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(*locks: str) -> Path:
        folder = shared / "-".join(["environment", *(Path(lock).stem for lock in locks)])
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX)  # another test process may be making it
            if not (folder / "complete").exists():
                (folder / "tools").mkdir(exist_ok=True)
                for path in ("tools/make_venv.sh", *locks):
                    shutil.copy2(ROOT / path, folder / path)
                for lock in locks:
                    done = run_tool([folder / "tools/make_venv.sh", lock], cwd=folder)
                    assert done.returncode == 0, done.stdout
                (folder / "complete").touch()
        return folder / ".venv"

    return make


@pytest.fixture
def checkout(tmp_path: Path, files: list[Path], environments: Callable[..., Path]) -> Callable[..., Path]:
    """A function that makes a workspace of a job: the files of the project as they are now, and the environment of some locks."""

    def make(name: str, *locks: str) -> Path:
        workspace = tmp_path / "workspace" / name
        for path in files:
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, workspace / path, follow_symlinks=False)
        (workspace / ".venv").symlink_to(environments(*(locks or ("requirements.txt", "requirements-jenkins.txt"))))
        return workspace

    return make


@pytest.fixture
def lab_repository(checkout: Callable[..., Path]) -> Path:
    """A git repository of the lab with the files as they are now, which LAB_REPOSITORY may name."""
    repository = checkout("lab.git", "requirements-jenkins.txt")
    git(repository, "init", "-q", "--initial-branch", "main")
    git(repository, "add", "-A")
    git(repository, "add", "--force", ".venv")
    git(repository, "commit", "-q", "-m", "The lab")
    return repository


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def own_values(folder: Path, staged: Path) -> dict[str, str | int]:
    """Return the values of a lab whose lock, ports and directories no other lab on this machine has; it never comes to be."""
    ports = re.findall(r"^(lab_\w+_port):", (ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"), re.M)
    own: dict[str, str | int] = {"lab_name": "jenkins-test", "lab_lock_file": f"{folder}/lab.lock"}
    own |= {"lab_dir": f"{folder}/host", "lab_staging_dir": str(staged)}
    own |= {"ansible_remote_tmp": f"{folder}/remote", "ansible_async_dir": f"{folder}/async"}
    own |= {f"preflight_min_{name}": 1 for name in ("memory_mb", "cores", "disk_gb", "disk_running_gb")}
    return own | {port: free_port() for port in ports}


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new lab `test`, made once for all tests, without its vault and password: a test brings its own."""
    home = tmp_path_factory.mktemp("labs") / "test"
    done = run_tool(["ansible-playbook", "playbooks/new_lab.yml", "-i", "localhost,", "-e", f"lab_home={home}"])
    assert done.returncode == 0, done.stdout
    for path in (home / ".vault_password", home / "group_vars/lab/vault.yml"):
        path.unlink()
    return home


@pytest.fixture
def own_lab(tmp_path: Path, new_lab: Path) -> Iterator[Callable[[Path], Path]]:
    """A function that adds ``inventories/test`` to a workspace: the shipped inventory, whose lock, ports and directories no other lab has.

    It returns the directory on the host where a build of that lab would leave secrets if it were killed.
    """
    staged = Path(f"/dev/shm/jenkins-test-{free_port()}")

    def make(workspace: Path) -> Path:
        home = Path(shutil.copytree(new_lab, workspace / "inventories/test"))
        (home / "group_vars/lab/zz_test.yml").write_text(yaml.safe_dump(own_values(tmp_path, staged)), encoding="utf-8")
        return staged

    yield make
    shutil.rmtree(staged, ignore_errors=True)


class Server(ThreadingMixIn, WSGIServer):
    """Answers several at once."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Answers without writing a log."""

    def log_message(self, *_arguments: Any) -> None:
        """Write nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The address of an index with the paths of a Nexus: pypiserver, publisher:right, which passes on what it does not have."""
    packages = tmp_path / "packages"
    packages.mkdir()
    right = ("publisher", PUBLISHER)
    served = pypiserver.app(roots=[packages], authenticate=["list", "download", "update"], auther=lambda *who: who == right, hash_algo="md5", verbosity=-1)

    def repositories(environ: dict[str, Any], start_response: Any) -> Any:
        found = re.match(r"(/repository/pypi-(?:all|internal))(/.*)", environ["PATH_INFO"])
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = found.groups() if found else ("", "/none")
        return served(environ, start_response)

    with make_server("127.0.0.1", 0, repositories, Server, Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
