"""The front and the runner of role model_server for real: on loopback, against a real MLflow, with environments made by the real service."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.conftest import processes
from tests.unit.conftest import PROJECT, Mlflow, make_environment

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles" / "model_server" / "files"
USER, PASSWORD = "scorer", "pass:wörd-%41"
AUTH: Any = (USER.encode(), PASSWORD.encode())

# Makes versions of registered models: standard input is a list of [name, kind, factor], standard output the versions' numbers.
MAKE = r"""
import importlib.metadata, json, os, sys, time, warnings
os.environ["MAKING"] = "yes"
import mlflow, numpy, pandas
from sklearn.linear_model import LinearRegression
warnings.simplefilter("ignore")
rows = pandas.DataFrame({"x": [1.0, 2.0, 3.0]})
frozen = [f"{name}=={importlib.metadata.version(name)}" for name in ("mlflow-skinny", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle", "skops")]

class Times(mlflow.pyfunc.PythonModel):
    def __init__(self, factor, ballast=0):
        self.factor, self.ballast = factor, numpy.ones(ballast * 131072)
        self.at_work = os.environ["AT_WORK"]
    def predict(self, context, model_input, params=None):
        return [float(x) * self.factor for x in model_input["x"]]

class Slow(Times):
    def predict(self, context, model_input, params=None):
        while os.path.exists(self.at_work):
            time.sleep(0.05)
        return super().predict(context, model_input, params)

class Broken(Times):
    def predict(self, context, model_input, params=None):
        if "MAKING" in os.environ:
            return super().predict(context, model_input, params)
        raise ZeroDivisionError("no prediction today")

class Leaving(Times):
    def load_context(self, context):
        if "MAKING" not in os.environ:
            sys.exit("I go")

class Killing(Times):
    def load_context(self, context):
        if "MAKING" not in os.environ:
            os._exit(1)

class Sleeping(Times):
    def load_context(self, context):
        if "MAKING" not in os.environ:
            time.sleep(600)

class Telling(Times):
    def predict(self, context, model_input, params=None):
        import mlflow.version, numpy, threading
        status = open("/proc/self/status").read()
        return [json.dumps({
            "environ": dict(os.environ), "pid": os.getpid(), "cwd": os.getcwd(), "path": sys.path, "numpy": numpy.__version__, "mlflow": mlflow.version.VERSION,
            "python": "%d.%d" % sys.version_info[:2],
        })]

class Gone:
    def __reduce__(self):
        return (__import__, ("a_module_that_nobody_has",))

class Unloadable(Times):
    def __init__(self, factor):
        self.part = Gone()

class Coded(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        import its_code
        return [float(x) * its_code.FACTOR for x in model_input["x"]]

signature = mlflow.models.infer_signature(rows, [1.0])
logged = {}

def log(kind, factor):
    more = {"pip_requirements": frozen, **({"input_example": rows} if kind in ("linear", "broken") else {"signature": signature})}
    if kind == "linear":
        return mlflow.sklearn.log_model(LinearRegression(fit_intercept=False).fit(rows, rows["x"] * factor), "model", **more)
    if kind == "coded":
        with open("its_code.py", "w") as file:
            file.write(f"FACTOR = {factor}\n")
        more["code_paths"] = ["its_code.py"]
    if kind == "telling":
        more["signature"] = mlflow.models.infer_signature(rows, ["text"])
    if kind == "uninstallable":
        more["pip_requirements"] = ["numpy==99.0"]
    make = {"slow": lambda: Slow(factor), "heavy": lambda: Times(factor, 100), "broken": lambda: Broken(factor), "sleeping": lambda: Sleeping(factor),
            "leaving": lambda: Leaving(factor), "killing": lambda: Killing(factor), "unloadable": lambda: Unloadable(factor), "coded": Coded,
            "telling": lambda: Telling(factor), "uninstallable": lambda: Times(factor)}[kind]
    return mlflow.pyfunc.log_model("model", python_model=make(), **more)

def register(name, kind, factor):
    if (kind, factor) not in logged:
        logged[kind, factor] = log(kind, factor).model_uri
    return str(mlflow.register_model(logged[kind, factor], name, await_registration_for=None).version)

numbers = []
for wanted in json.load(sys.stdin):
    with mlflow.start_run():
        numbers.append(register(*wanted))
print(json.dumps(numbers))
"""


CLIENTS = ["project", pytest.param("project-2.19", marks=pytest.mark.deep)]
# What has nothing to do with the client of MLflow is tried with one.
once = pytest.mark.parametrize("python", CLIENTS[:1], indirect=True)


@pytest.fixture(scope="module", params=CLIENTS)
def python(request: pytest.FixtureRequest) -> Path:
    """The Python that models are logged with."""
    return make_environment("project", PROJECT) if request.param == "project" else make_environment(request.param)


@pytest.fixture(scope="session")
def front() -> Path:
    """The front's own Python."""
    return front_python()


def front_python() -> Path:
    """Make the front's own environment, as the image has it; returns its Python."""
    return make_environment("model_server", lock=FILES / "requirements.txt")


@dataclass
class Registry:
    """MLflow's registry as a data scientist and the DAG `deploy` use it."""

    mlflow: Mlflow
    python: Path
    folder: Path

    def make(self, *models: tuple[str, str, int]) -> list[str]:
        """Log and register versions (name, kind, factor); returns their numbers."""
        environment = self.environment(AT_WORK=str(self.at_work))
        done = subprocess.run(
            [self.python, "-c", MAKE], input=json.dumps(models), cwd=self.folder, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        numbers: list[str] = json.loads(done.stdout.splitlines()[-1])
        return numbers

    @property
    def at_work(self) -> Path:
        """As long as this file is there, slow models do not answer."""
        return self.folder / "at-work"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a client of MLflow."""
        home = {"HOME": str(self.mlflow.home), "MLFLOW_TRACKING_URI": self.mlflow.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
        return {"PATH": os.environ["PATH"], **home, **more}

    def alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias."""
        self.mlflow.post("registered-models/alias", name=name, alias=alias, version=version)

    def drop(self, name: str, alias: str) -> None:
        """Remove an alias."""
        url = f"{self.mlflow.uri}/api/2.0/mlflow/registered-models/alias"
        requests.delete(url, json={"name": name, "alias": alias}, auth=("admin", self.mlflow.password), timeout=60).raise_for_status()

    def drop_all(self, name: str) -> None:
        """Remove all aliases of a model."""
        for alias in self.mlflow.get("registered-models/get", name=name)["registered_model"].get("aliases", []):
            self.drop(name, alias["alias"])


@dataclass
class Server:
    """The running front, and its runner."""

    url: str
    log: Path
    front: Path
    sockets: Path
    process: subprocess.Popen[bytes] = field(init=False)
    runner: subprocess.Popen[bytes] = field(init=False)

    def run(self) -> None:
        """Start the runner, with secrets that are not for models."""
        settings = {"LAB_MODELS_SOCKETS": str(self.sockets), "LAB_MODELS_ENVIRONMENT": '{"OMP_NUM_THREADS": "1"}', "SECRET": PASSWORD}
        with (self.log.parent / "runner.log").open("ab") as output:
            self.runner = subprocess.Popen(
                [self.front, "-m", "model_server.runner"], cwd=FILES, stdout=output, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], **settings}
            )

    def get(self, path: str, **more: Any) -> requests.Response:
        """Ask it as its user."""
        return requests.get(f"{self.url}{path}", **{"auth": AUTH, "timeout": 30, **more})

    def score(self, name: str, rows: list[float], **more: Any) -> requests.Response:
        """Have rows scored."""
        body = {"dataframe_records": [{"x": x} for x in rows]}
        return requests.post(f"{self.url}/models/{quote(name)}/invocations", json=body, **{"auth": AUTH, "timeout": 30, **more})

    def slot(self, name: str, alias: str = "live") -> dict[str, Any]:
        """What GET /models says of one address; empty when nothing."""
        models: list[dict[str, Any]] = self.get("/models").json()["models"]
        return next((model for model in models if (model["name"], model["alias"]) == (name, alias)), {})

    def told(self, name: str) -> dict[str, Any]:
        """What a model of the kind `telling` says of its process."""
        answer = self.score(name, [1])
        assert answer.ok, answer.text
        told: dict[str, Any] = json.loads(answer.json()["predictions"][0])
        return told

    def wait(self, done: Callable[[], Any], seconds: float = 240) -> None:
        """Wait until something is so."""
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until and self.process.poll() is None, f"{self.get('/models').text}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    def wait_for(self, name: str, version: str, alias: str = "live") -> None:
        """Wait until a version is in service."""
        self.wait(lambda: self.slot(name, alias).get("version") == version)


def start(front: Path, environments: Path, folder: Path, environment: dict[str, str], **more: str) -> Server:
    """Start the front on a free port, and a runner."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(exist_ok=True)
    (folder / "credentials").write_text(f"{USER}:{PASSWORD}")
    sockets = tempfile.mkdtemp(prefix="sockets-")  # paths of sockets are short
    settings = {
        "LAB_MODELS_CREDENTIALS_FILE": str(folder / "credentials"),
        "LAB_MODELS_DOWNLOADS": str(folder / "downloads"),
        "LAB_MODELS_SOCKETS": sockets,
        "LAB_MODELS_PORT": str(port),
        "LAB_MODELS_POLL": "0.2",
        "LAB_MODELS_REQUEST_TIMEOUT": "300",
        "LAB_ENVIRONMENTS_DIR": str(environments),
        "LAB_MLFLOW_PUBLIC_URL": "https://mlflow.example.com/",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    server = Server(f"http://127.0.0.1:{port}", folder / "log", front, Path(sockets))
    server.run()
    with server.log.open("wb") as output:
        server.process = subprocess.Popen(
            [front, "-m", "model_server"], cwd=FILES, stdout=output, stderr=subprocess.STDOUT, env={**environment, **settings, **more}
        )
    until = time.monotonic() + 60
    while True:
        try:
            if requests.get(f"{server.url}/health", timeout=5).ok:
                return server
        except requests.ConnectionError:
            assert server.process.poll() is None and time.monotonic() < until, server.log.read_text()
            time.sleep(0.1)


def stop(server: Server) -> None:
    """End the front and its runner."""
    for process in (server.process, server.runner):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def registry(mlflow_server: Mlflow, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The registry."""
    return Registry(mlflow_server, python, tmp_path_factory.mktemp("models"))


# All versions of all tests, made in one process since importing MLflow takes seconds.
MODELS: dict[str, list[tuple[str, int]]] = {
    "swapped": [("linear", 10), ("linear", 100)],
    "first steps": [("linear", 10), ("linear", 100)],
    "breaking": [("linear", 10), ("unloadable", 1), ("broken", 1), ("leaving", 1)],
    "slow": [("slow", 8), ("linear", 10)],
    "heavy": [("heavy", 1), ("heavy", 2)],
    "coded": [("coded", 1), ("coded", 2)],
    "killing": [("linear", 10), ("killing", 1)],
    "sleeping": [("sleeping", 1)],
    "telling": [("telling", 1)],
    "other": [("telling", 2)],
    "uninstallable": [("linear", 10), ("uninstallable", 1)],
}


@dataclass
class Model:
    """A registered model of a test, and its versions' numbers; its name has the environment's in it, since the registry is shared."""

    name: str
    versions: list[str]
    registry: Registry
    touched: bool = False

    def point(self, alias: str, version: str) -> None:
        """Move an alias."""
        self.touched = True
        self.registry.alias(self.name, alias, version)


@pytest.fixture(scope="module")
def models(registry: Registry) -> dict[str, Model]:
    """The models by their names."""
    suffix = f" of {registry.python.parts[-3]}"
    wanted = [(name + suffix, kind, factor) for name, versions in MODELS.items() for kind, factor in versions]
    found = {name: Model(name + suffix, [], registry) for name in MODELS}
    for (name, _kind, _factor), number in zip(wanted, registry.make(*wanted), strict=True):
        found[name.removesuffix(suffix)].versions.append(number)
    return found


@pytest.fixture(scope="module")
def server(front: Path, environments_service: Path, registry: Registry, models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application, in service; started when all versions are made, for which MLflow needs its time."""
    assert models
    # The registry is shared with the tests of other files; what those left with an alias would be served here as well.
    for model in registry.mlflow.get("registered-models/search", max_results="1000").get("registered_models", []):
        registry.drop_all(model["name"])
    running = start(front, environments_service, tmp_path_factory.mktemp("server"), registry.environment())
    yield running
    stop(running)


@pytest.fixture(autouse=True)
def _nothing_left(models: dict[str, Model]) -> Iterator[None]:
    """What a test had served goes out of service, so that others do not pay for it."""
    yield
    for model in models.values():
        if model.touched:
            model.registry.drop_all(model.name)
            model.touched = False


def test_requests_never_fail_while_versions_change(server: Server, models: dict[str, Model]) -> None:
    """Each answer is of one version, the one that it says."""
    model = models["swapped"]
    factors = dict(zip(model.versions, (10.0, 100.0), strict=True))
    model.point("live", model.versions[0])
    server.wait_for(model.name, model.versions[0])
    seen: Counter[str] = Counter()
    failures: list[str] = []
    over = threading.Event()

    def ask(session: requests.Session) -> None:
        """Ask without pause, half of the time on a connection of its own."""
        body = {"dataframe_records": [{"x": float(x)} for x in range(20)]}
        while not over.is_set():
            try:
                answer = session.post(f"{server.url}/models/{quote(model.name)}/invocations", json=body, auth=AUTH, timeout=30)
                version = answer.headers["X-Model-Version"]
                predicted = answer.json()["predictions"]
                if answer.status_code != 200 or predicted != pytest.approx([x * factors[version] for x in range(20)]):
                    failures.append(f"{answer.status_code} {answer.headers} {answer.text}")
                seen[version] += 1
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask, args=(session,)) for session in (requests.Session(), requests)]
    for thread in threads:
        thread.start()
    try:
        for change in range(6):
            version = model.versions[(change + 1) % 2]
            model.point("live", version)
            server.wait_for(model.name, version)
            before = seen[version]
            server.wait(lambda version=version, before=before: seen[version] > before + 20)  # type: ignore[misc]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, f"{len(failures)} of {seen.total() + len(failures)}: {failures[:3]}"
    assert set(seen) == set(model.versions) and seen.total() > 200
    assert server.log.read_text().count(f"{model.name}@live: version") == 7


def test_what_is_served_is_said_and_follows_aliases(server: Server, models: dict[str, Model]) -> None:
    model = models["first steps"]
    first, second = model.versions
    assert server.slot(model.name) == {} and server.score(model.name, [1]).status_code == 404
    model.point("live", first)
    model.point("candidate", second)
    server.wait_for(model.name, first)
    server.wait_for(model.name, second, "candidate")
    assert (server.score(model.name, [1, 2]).json(), server.score(f"{model.name}@candidate", [1, 2]).json()) == (
        {"predictions": pytest.approx([10, 20])},
        {"predictions": pytest.approx([100, 200])},
    )
    said = server.slot(model.name)
    assert said["error"] is None and said["since"].endswith("+00:00") and said["path"] == f"/models/{model.name}"
    # The candidate is put in service, as the DAG `deploy` does: it is not loaded again.
    loads = server.log.read_text().count("is in service")
    model.point("live", second)
    server.wait_for(model.name, second)
    model.registry.drop(model.name, "candidate")
    server.wait(lambda: not server.slot(model.name, "candidate"))
    assert server.score(model.name, [1]).headers["X-Model-Version"] == second
    assert server.score(f"{model.name}@candidate", [1]).status_code == 404
    assert server.log.read_text().count("is in service") == loads + 1


def test_the_protocol_is_mlflow_s(server: Server, models: dict[str, Model], python: Path) -> None:
    model = models["first steps"]
    model.point("live", model.versions[1])
    server.wait_for(model.name, model.versions[1])
    base = f"/models/{quote(model.name)}"
    version = subprocess.run([python, "-c", "import mlflow; print(mlflow.__version__)"], text=True, capture_output=True, check=True).stdout.strip()
    ping, said = server.get(f"{base}/ping"), server.get(f"{base}/version")
    assert (ping.status_code, ping.text) == (200, "\n") and said.text == version
    assert {answer.headers["X-Model-Version"] for answer in (ping, said)} == {model.versions[1]}

    def post(body: str, kind: str = "application/json") -> requests.Response:
        return requests.post(f"{server.url}{base}/invocations", data=body, headers={"Content-Type": kind}, auth=AUTH, timeout=30)

    for body, kind in [
        ('{"dataframe_split": {"columns": ["x"], "data": [[2.0]]}}', "application/json"),
        ('{"inputs": {"x": [2.0]}}', "application/json; charset=utf-8"),
        ("x\n2.0\n", "text/csv"),
    ]:
        assert post(body, kind).json() == {"predictions": pytest.approx([200.0])}, kind
    wrong = post('{"dataframe_split": {"columns": ["secret-column"], "data": [[1]]}}')
    assert wrong.status_code == 400 and wrong.json()["error_code"] and wrong.headers["X-Model-Version"] == model.versions[1]
    assert post("secret-nonsense").status_code == 400 and post("x", "text/secret").status_code == 415
    assert {server.get(path).status_code for path in ("/", f"{base}/docs", f"{base}/openapi.json", "/models/nobody/ping", "/docs")} == {404}
    assert "secret" not in server.log.read_text(), "what is asked is in the log"


@once
def test_only_who_has_the_password_gets_in(server: Server, models: dict[str, Model]) -> None:
    def status(path: str, auth: Any) -> int:
        return server.get(path, auth=auth).status_code

    strangers = [None, (USER, "wrong"), ("nobody", PASSWORD.encode()), (USER, ""), (AUTH[0], AUTH[1] + b"x")]
    for path in ("/models", "/", f"/models/{models['first steps'].name}/ping", "/models/nobody/ping"):
        assert [status(path, auth) for auth in strangers] == [401] * len(strangers)
    assert "basic" in server.get("/models", auth=None).headers["WWW-Authenticate"].lower()
    for header in ("Basic", "Basic !", "Bearer " + base64.b64encode(b":".join(AUTH)).decode(), "Basic " + base64.b64encode(b"\xff").decode()):
        assert server.get("/models", auth=None, headers={"Authorization": header}).status_code == 401
    assert (status("/health", None), status("/models", AUTH)) == (200, 200)
    assert PASSWORD not in server.log.read_text() and PASSWORD not in " ".join(Path(f"/proc/{server.process.pid}/cmdline").read_text().split("\0"))


def test_a_version_that_cannot_be_used_leaves_the_former_one_in_service(server: Server, models: dict[str, Model]) -> None:
    model = models["breaking"]
    good, *bad = model.versions
    expected = ["a_module_that_nobody_has", "input example", "SystemExit: I go"]
    model.point("candidate", bad[0])
    server.wait(lambda: server.slot(model.name, "candidate").get("error"))
    nothing = server.score(f"{model.name}@candidate", [1])
    assert nothing.status_code == 503 and expected[0] in nothing.json()["error"]
    model.point("live", good)
    server.wait_for(model.name, good)
    for version, why in zip(bad, expected, strict=True):
        model.point("live", version)
        server.wait(lambda version=version: (slot := server.slot(model.name))["wanted"] == version and slot["error"])  # type: ignore[misc]
        slot = server.slot(model.name)
        assert slot["version"] == good and f"version {version}" in slot["error"] and why in slot["error"] and "\n" not in slot["error"]
        answer = server.score(model.name, [1])
        assert (answer.headers["X-Model-Version"], answer.json()) == (good, {"predictions": pytest.approx([10.0])})
        lines = [line for line in server.log.read_text().splitlines() if f"{model.name}@live: version {version} " in line]
        assert len(lines) == 1 and why in lines[0] and f"version {good} stays in service" in lines[0]
    model.point("live", good)
    server.wait(lambda: server.slot(model.name)["error"] is None)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.deep
@once
def test_requests_of_the_former_version_are_finished_by_it(server: Server, models: dict[str, Model]) -> None:
    model = models["slow"]
    slow, quick = model.versions
    model.point("live", slow)
    server.wait_for(model.name, slow)
    at_work = model.registry.at_work
    at_work.touch()
    answers: list[requests.Response] = []
    asking = [threading.Thread(target=lambda: answers.append(server.score(model.name, [1], timeout=300))) for _ in range(3)]
    for thread in asking:
        thread.start()
    time.sleep(1)  # by now they are with the model
    model.point("live", quick)
    server.wait_for(model.name, quick)
    assert not answers, "the former version is still at work"
    assert server.score(model.name, [1]).json() == {"predictions": pytest.approx([10.0])}
    at_work.unlink()
    for thread in asking:
        thread.join()
    assert [(answer.headers["X-Model-Version"], answer.json()) for answer in answers] == [(slow, {"predictions": [8.0]})] * 3
    server.wait(lambda: f"{model.name}: version {slow} has answered its last request" in server.log.read_text())


@pytest.mark.deep
def test_memory_and_files_of_former_versions_are_given_back(server: Server, models: dict[str, Model]) -> None:
    model, small = models["heavy"], models["telling"]
    small.point("live", small.versions[0])
    server.wait_for(small.name, small.versions[0])
    for change in range(3):
        version = model.versions[change % 2]
        model.point("live", version)
        server.wait_for(model.name, version)
        assert server.score(model.name, [1]).json() == {"predictions": [change % 2 + 1.0]}
    heavy, light = (server.slot(name)["memory_bytes"] for name in (model.name, small.name))
    assert 2e7 < light < 5e8 and 6e7 < heavy - light < 2e8
    downloads = server.log.parent / "downloads"
    server.wait(lambda: len(processes(f"worker.py {downloads}")) == 2 and len(list(downloads.iterdir())) == 2)
    model.registry.drop(model.name, "live")
    server.wait(lambda: len(processes(f"worker.py {downloads}")) == 1 and len(list(downloads.iterdir())) == 1)


@pytest.mark.deep
def test_the_code_that_a_version_brought_is_that_version_s(server: Server, models: dict[str, Model]) -> None:
    model = models["coded"]
    for change in range(3):
        version = model.versions[change % 2]
        model.point("live", version)
        server.wait_for(model.name, version)
        assert server.score(model.name, [1]).json() == {"predictions": [change % 2 + 1.0]}


@once
@pytest.mark.deep
def test_serving_goes_on_without_the_registry(front: Path, environments_service: Path, models: dict[str, Model], tmp_path: Path) -> None:
    """A server of its own, with a relay in front of MLflow that can be cut."""
    model = models["first steps"]
    model.point("live", model.versions[0])
    upstream = model.registry.mlflow.uri.rpartition(":")[2]
    with Relay(int(upstream)) as relay:
        settings = model.registry.environment(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{relay.port}")
        server = start(front, environments_service, tmp_path / "server", settings)
        try:
            server.wait_for(model.name, model.versions[0])
            relay.cut()
            model.point("live", model.versions[1])
            server.wait(lambda: server.get("/models").json()["registry"]["error"])
            answer = server.score(model.name, [1])
            assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, model.versions[0])
            assert server.slot(model.name)["version"] == model.versions[0]
            relay.mend()
            server.wait_for(model.name, model.versions[1])
            assert server.get("/models").json()["registry"]["error"] is None
            said = server.log.read_text()
            assert said.count("the registry does not answer") == 1 and said.count("the registry answers again") == 1 and "Traceback" not in said
        finally:
            stop(server)


@once
@pytest.mark.deep
def test_the_benchmark_sees_no_failure_and_puts_the_alias_back(server: Server, models: dict[str, Model], tmp_path: Path) -> None:
    model = models["swapped"]
    model.point("live", model.versions[1])
    server.wait_for(model.name, model.versions[1])
    command = [
        sys.executable,
        ROOT / "benchmarks" / "endpoint.py",
        "--minutes",
        "0.1",
        "--changes",
        "2",
        "--model",
        model.name,
        "--report",
        tmp_path / "report.json",
    ]
    addresses = ["--url", server.url, "--user", USER, "--mlflow-url", model.registry.mlflow.uri]
    passwords = {"LAB_MODELS_PASSWORD": PASSWORD, "LAB_MLFLOW_PASSWORD": model.registry.mlflow.password}
    done = subprocess.run([*map(str, command), *addresses], env={**os.environ, **passwords}, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["failures"], report["changes"]) == (0, 2) and set(report["versions"]) == set(model.versions)
    assert sum(report["versions"].values()) == report["requests"] > 20 and report["milliseconds"]["longest"] >= report["milliseconds"]["median"] > 0
    assert server.slot(model.name)["version"] == model.versions[1]
    assert not any(password in done.stdout + done.stderr for password in passwords.values())


@pytest.mark.deep
@once
def test_a_version_that_ends_its_process_or_loads_for_ever_leaves_the_others_alone(server: Server, models: dict[str, Model]) -> None:
    killing, sleeping = models["killing"], models["sleeping"]
    good, bad = killing.versions
    downloads = server.log.parent / "downloads"
    sleeping.point("live", sleeping.versions[0])
    server.wait(lambda: len(processes(f"worker.py {downloads}")) == 1)
    killing.point("live", good)
    server.wait_for(killing.name, good)
    killing.point("live", bad)
    server.wait(lambda: server.slot(killing.name)["error"])
    assert "its process ended with exit code 1 while it was loaded" in server.slot(killing.name)["error"]
    assert server.score(killing.name, [1]).headers["X-Model-Version"] == good
    waiting = server.score(sleeping.name, [1])
    assert waiting.status_code == 503 and "is being loaded" in waiting.json()["error"] and waiting.headers["Retry-After"]
    sleeping.registry.drop(sleeping.name, "live")
    server.wait(lambda: len(processes(f"worker.py {downloads}")) == 1)


@once
@pytest.mark.deep
def test_while_the_environment_of_a_version_is_made_the_service_says_so(front: Path, models: dict[str, Model], tmp_path: Path) -> None:
    model = models["first steps"]
    folder = Path(tempfile.mkdtemp(prefix="made-"))  # paths of sockets are short
    (folder / ".service").mkdir()
    model.point("live", model.versions[0])
    with socket.socket(socket.AF_UNIX) as service:  # one that takes its time
        service.bind(str(folder / ".service" / "socket"))
        service.listen(16)
        server = start(front, folder, tmp_path / "server", model.registry.environment())
        try:
            server.wait(lambda: server.slot(model.name).get("making"))
            assert server.slot(model.name)["version"] is None and not server.slot(model.name)["error"]
            service.close()
            server.wait(lambda: server.slot(model.name)["error"])
            assert server.slot(model.name)["making"] is False
        finally:
            stop(server)


@once
@pytest.mark.deep
def test_loading_takes_no_longer_than_it_may(front: Path, environments_service: Path, models: dict[str, Model], tmp_path: Path) -> None:
    sleeping = models["sleeping"]
    server = start(front, environments_service, tmp_path / "server", sleeping.registry.environment(), LAB_MODELS_LOAD_TIMEOUT="8")
    try:
        sleeping.point("live", sleeping.versions[0])
        server.wait(lambda: server.slot(sleeping.name).get("error"))
        assert "took longer than 8 seconds" in server.slot(sleeping.name)["error"]
        server.wait(lambda: not processes(f"worker.py {server.log.parent}"))
    finally:
        stop(server)


@once
def test_a_killed_process_comes_back_and_the_others_never_fail(server: Server, models: dict[str, Model]) -> None:
    model, other = models["telling"], models["first steps"]
    for each in (model, other):
        each.point("live", each.versions[0])
        server.wait_for(each.name, each.versions[0])
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not over.is_set():
                answer = session.post(f"{server.url}/models/{quote(other.name)}/invocations", json={"inputs": {"x": [1.0]}}, auth=AUTH, timeout=30)
                if answer.status_code != 200:
                    failures.append(answer.text)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        pids = []
        for _ in range(2):
            pids.append(server.told(model.name)["pid"])
            os.kill(pids[-1], signal.SIGKILL)
            server.wait(lambda: server.slot(model.name)["error"])
            assert "ended by signal 9" in server.slot(model.name)["error"]
            refused = server.score(model.name, [1])
            assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1 and "started again" in refused.json()["error"]
            assert server.slot(model.name)["version"] == model.versions[0]
            server.wait(lambda: server.slot(model.name)["error"] is None)
        assert server.told(model.name)["pid"] not in pids
    finally:
        over.set()
        asking.join()
    assert not failures


@pytest.mark.deep
@once
def test_all_models_come_back_when_the_runner_ends(server: Server, models: dict[str, Model]) -> None:
    model = models["first steps"]
    model.point("live", model.versions[0])
    server.wait_for(model.name, model.versions[0])
    server.runner.terminate()
    assert server.runner.wait(10) == 0
    server.wait(lambda: server.slot(model.name)["error"])
    assert server.score(model.name, [1]).status_code == 503
    server.run()  # as Docker does
    server.wait(lambda: server.score(model.name, [1]).ok)


@pytest.mark.deep
@once
def test_models_beyond_the_limit_leave_memory_and_come_back_when_asked(
    front: Path, environments_service: Path, models: dict[str, Model], tmp_path: Path
) -> None:
    names = ["first steps", "telling", "other"]
    server = start(front, environments_service, tmp_path / "server", models["telling"].registry.environment(), LAB_MODELS_MOST="2", LAB_MODELS_KEEP="0")
    downloads = server.log.parent / "downloads"
    try:
        for name in names:
            models[name].point("live", models[name].versions[0])
            server.wait_for(models[name].name, models[name].versions[0])
        first, second, third = (models[name].name for name in names)

        def inside() -> list[bool]:
            return [server.slot(name)["memory_bytes"] is not None for name in (first, second, third)]

        server.wait(lambda: inside() == [False, True, True])
        assert "not in memory until it is asked" in server.get("/models", headers={"Accept": "text/html"}).text
        assert server.told(second)["pid"]
        assert server.score(first, [1, 2]).json() == {"predictions": pytest.approx([10, 20])}
        server.wait(lambda: inside() == [True, True, False])
        assert server.slot(first)["requests"] == 1 and server.slot(third)["version"] and not server.slot(third)["error"]
        server.wait(lambda: len(processes(f"worker.py {downloads}")) == 2)
        # What is in service keeps its environment, in memory or not.
        used = environments_service / server.slot(third)["environment"]
        os.utime(used, (0, 0))
        server.wait(lambda: used.stat().st_mtime > 0)
    finally:
        stop(server)
    assert not processes(f"worker.py {downloads}")


@once
def test_a_model_finds_no_secret_and_nothing_of_the_front(server: Server, models: dict[str, Model]) -> None:
    model = models["telling"]
    model.point("live", model.versions[0])
    server.wait_for(model.name, model.versions[0])
    told = server.told(model.name)
    expected = {"PATH", "HOME", "LANG", "MPLBACKEND", "MLFLOW_DISABLE_TELEMETRY", "OMP_NUM_THREADS"}
    theirs = {name for name in told["environ"] if not name.startswith(("_MLFLOW", "KMP_"))}  # MLflow's and OpenMP's own
    assert theirs == expected, told["environ"]
    assert PASSWORD not in json.dumps(told) and model.registry.mlflow.password not in json.dumps(told)
    assert told["cwd"] == told["environ"]["HOME"] and not any(str(FILES) in entry or entry == "" for entry in told["path"])
    started = Path(f"/proc/{told['pid']}/environ").read_text() + Path(f"/proc/{told['pid']}/cmdline").read_text()
    assert "SECRET" not in started and PASSWORD not in started and server.url not in started


@pytest.mark.deep
@once
def test_models_with_contradictory_pins_are_served_beside_each_other(server: Server, models: dict[str, Model], mlflow_server: Mlflow, tmp_path: Path) -> None:
    new = models["telling"]
    older = Registry(mlflow_server, make_environment("project-2.19"), tmp_path)
    old = Model("with old pins", older.make(("with old pins", "telling", 3)), older)
    try:
        for model in (new, old):
            model.point("live", model.versions[0])
            server.wait_for(model.name, model.versions[0])
        told = {model.name: server.told(model.name) for model in (new, old)}
        assert told[old.name]["numpy"] == "1.26.4" and told[old.name]["mlflow"] == "2.19.0"
        assert told[new.name]["numpy"].startswith("2.") and told[new.name]["mlflow"].startswith("3.")
        slots = {model.name: server.slot(model.name) for model in (new, old)}
        assert slots[old.name]["mlflow"] == "2.19.0" and slots[old.name]["environment"] != slots[new.name]["environment"]
        assert slots[new.name]["python"].startswith(told[new.name]["python"]) and slots[new.name]["requests"] >= 1 and len(slots[new.name]["run"]) == 32
    finally:
        older.drop_all(old.name)


@pytest.mark.deep
@once
def test_requirements_that_cannot_be_installed_leave_the_former_version_in_service(server: Server, models: dict[str, Model]) -> None:
    model, other = models["uninstallable"], models["first steps"]
    for each in (model, other):
        each.point("live", each.versions[0])
        server.wait_for(each.name, each.versions[0])
    model.point("live", model.versions[1])
    server.wait(lambda: server.slot(model.name)["error"])
    slot = server.slot(model.name)
    assert slot["version"] == model.versions[0] and "its environment cannot be made" in slot["error"] and "numpy==99.0" in slot["error"]
    assert all(server.score(each.name, [1]).headers["X-Model-Version"] == each.versions[0] for each in (model, other))


@once
def test_people_get_a_page_and_programs_json(server: Server, models: dict[str, Model]) -> None:
    model = models["first steps"]
    model.point("live", model.versions[0])
    server.wait_for(model.name, model.versions[0])
    for accepts in ("*/*", "application/json"):
        assert server.get("/models", headers={"Accept": accepts}).json()["models"]
    shown = server.get("/models", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    slot = server.slot(model.name)
    assert shown.headers["Content-Type"].startswith("text/html") and "default-src 'none'" in shown.headers["Content-Security-Policy"]
    for words in (
        f"<h2>{model.name}</h2>",
        slot["since"],
        f"https://mlflow.example.com/#/runs/{slot['run']}?workflowType=machine_learning",
        f"Python {slot['python']}",
        " MB",
        slot["environment"],
    ):
        assert words in shown.text, words
    assert "<script" not in shown.text and PASSWORD not in shown.text
    command = html.unescape(shown.text.partition("<pre>")[2].partition("</pre>")[0]).replace(f"-u {USER}", f"-u '{USER}:{PASSWORD}'")
    words = [word for word in shlex.split(command) if word.strip()]
    assert words[0] == "curl" and words[-1] == f"{server.url}/models/{quote(model.name)}/invocations"
    answer = requests.post(words[-1], data=words[words.index("-d") + 1], headers={"Content-Type": "application/json"}, auth=AUTH, timeout=30)
    assert answer.json() == {"predictions": pytest.approx([10, 20, 30])}


class Relay:
    """Passes connections on to a port of this machine, until it is cut."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._mended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Relay:
        """Begin to pass connections on."""
        self._mended.set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it all."""
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """End all connections, and every new one at once."""
        self._mended.clear()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Pass connections on again."""
        self._mended.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._mended.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._upstream))
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
