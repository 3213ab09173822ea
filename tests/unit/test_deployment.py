"""Deployments for real: models of a real MLflow go to the real scoring application, into folders, and score files, each proven by its own predictions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab_deployment.targets import endpoint as endpoint_target
from lab_experiment.failures import Failure
from tests.unit import test_model_server as serving
from tests.unit.conftest import CA_BUNDLE, Mlflow

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = ROOT / "dags" / "lab_deployment"

MAKE = r"""
import json, os, sys, warnings
import mlflow, numpy, pandas
from sklearn.linear_model import LinearRegression
from mlflow.models import infer_signature
warnings.simplefilter("ignore")
rows = pandas.DataFrame({"x": [1.0, 2.0, 3.0]})

class Moody(mlflow.pyfunc.PythonModel):  # another answer where it is served
    def predict(self, context, model_input, params=None):
        return [float(x) + ("/model-" in os.environ.get("HOME", "")) for x in model_input["x"]]

class Liar(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return ["text"] * len(model_input)

class Failing(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if model_input["x"].min() < 0:
            raise ValueError("x is below 0")
        return [1 / (float(x) - 1) for x in model_input["x"]]

class Versioned(mlflow.pyfunc.PythonModel):  # tells in which environment it is
    def predict(self, context, model_input, params=None):
        return [pandas.__version__] * len(model_input)

def linear(factor):
    return LinearRegression(fit_intercept=False).fit(rows, rows["x"] * factor)

def log(what, **more):
    module = mlflow.pyfunc if isinstance(what, mlflow.pyfunc.PythonModel) else mlflow.sklearn
    named = {"python_model": what} if module is mlflow.pyfunc else {"sk_model": what}
    return module.log_model(name="model", **{"pip_requirements": json.loads(os.environ["REQUIREMENTS"]), **named, **more})

signature = infer_signature(rows, [1.0])
found = {}
with mlflow.start_run() as run:
    for name, factor in (("plain", 2), ("plain", 3), ("plain", 4)):
        found.setdefault(name, []).append(str(log(linear(factor), input_example=rows, registered_model_name=name).registered_model_version))
    found["moody"] = [str(log(linear(2), input_example=rows, registered_model_name="moody").registered_model_version)]
    found["moody"].append(str(log(Moody(), signature=signature, input_example=rows, registered_model_name="moody").registered_model_version))
    found["liar"] = [str(log(Liar(), signature=signature, input_example=rows, registered_model_name="liar").registered_model_version)]
    found["bare"] = [str(log(linear(2), registered_model_name="bare").registered_model_version)]
    found["failing"] = [str(log(Failing(), signature=signature, input_example=rows + 1, registered_model_name="failing").registered_model_version)]
    texts = infer_signature(rows, ["text"])
    needs = {"pip_requirements": ["pandas==2.2.3", "numpy==2.2.6", f"mlflow-skinny=={mlflow.__version__}"]}
    found["versioned"] = [str(log(Versioned(), signature=texts, input_example=rows, registered_model_name="versioned", **needs).registered_model_version)]
    found["unregistered"] = [log(linear(5), input_example=rows).model_id]
    found["run"] = [run.info.run_id]
    found["artifacts"] = [mlflow.MlflowClient().get_logged_model(found["unregistered"][0]).artifact_location]
client = mlflow.MlflowClient()
client.set_registered_model_alias("plain", "champion", "2")
print(json.dumps(found))
"""


@dataclass
class Answer:
    """What a command of ``lab_deployment`` said."""

    result: Any = None
    mistakes: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    output: str = ""


# One process runs the commands of all tests, since importing MLflow takes seconds; that each is a process of its own in the lab is shown by the DAG's test.
COMMANDS = """
import contextlib, io, json, os, sys
import lab_deployment.__main__ as commands
lines, answers = sys.stdin, sys.stdout
for line in lines:
    asked, output = json.loads(line), io.StringIO()
    for name, value in asked["settings"].items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    with contextlib.redirect_stdout(output):
        commands.main(asked["command"], asked["request"], asked["result"])
    print(json.dumps(output.getvalue()), file=answers, flush=True)
"""


@pytest.fixture(scope="session")
def commands(project_python: Path, mlflow_server: Mlflow, environments_service: Path) -> Iterator[subprocess.Popen[str]]:
    """The project's interpreter with ``lab_deployment`` in it."""
    environment = {
        "PATH": f"{project_python.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(mlflow_server.home),
        "MLFLOW_TRACKING_URI": mlflow_server.uri,
        "PYTHONPATH": str(ROOT / "dags"),
        **({"SSL_CERT_FILE": str(CA_BUNDLE)} if CA_BUNDLE.is_file() else {}),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAB_ENVIRONMENTS_DIR": str(environments_service),
    }
    with subprocess.Popen([project_python, "-c", COMMANDS], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@dataclass
class Deployer:
    """Runs commands of ``lab_deployment`` in the project's interpreter, as the DAG does."""

    process: subprocess.Popen[str]
    mlflow: Mlflow
    folder: Path
    models: dict[str, list[str]]
    environments: Path
    settings: dict[str, str | None] = field(default_factory=dict)

    def do(self, command: str, **request: Any) -> Answer:
        """Run a command."""
        asked, result = self.folder / "request.json", self.folder / "result.json"
        asked.write_text(json.dumps(request))
        result.unlink(missing_ok=True)
        assert self.process.stdin and self.process.stdout
        line = {"command": command, "request": str(asked), "result": str(result), "settings": self.settings}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        output = json.loads(self.process.stdout.readline())
        return Answer(**json.loads(result.read_text()), output=output)

    def check(self, uri: str | None, target: str = "endpoint", **options: Any) -> Answer:
        """Check one deployment."""
        return self.do("check", wanted=[{"model_uri": uri, "target": target, "target_options": options}])

    def deploy(self, uri: str, target: str = "endpoint", **options: Any) -> Answer:
        """Check, fetch and deploy, and record when that went well."""
        checked = self.check(uri, target, **options)
        if checked.result is None:
            return checked
        common = {"plan": checked.result[0], "runs_dir": str(self.folder), "key": "manual__2026-01-01T00:00:00+00:00-0", "by": "deploy/manual__1"}
        for command in ("fetch", "deploy"):
            answer = self.do(command, **common)
            if answer.result is None:
                return answer
        recorded = self.do("record", **common, deployed=answer.result, url="http://airflow/log")
        assert recorded.result, recorded.output
        return answer

    def aliases(self, name: str) -> dict[str, str]:
        """The aliases of a registered model."""
        model = self.mlflow.get("registered-models/get", name=name)["registered_model"]
        return {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}

    def tags(self, name: str, version: str) -> dict[str, str]:
        """The tags of a version."""
        found = self.mlflow.get("model-versions/get", name=name, version=version)["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}


@pytest.fixture(scope="session")
def models(project_python: Path, mlflow_server: Mlflow) -> dict[str, list[str]]:
    """Models of several kinds in MLflow, made once for all files of tests: versions by name, and the ids of one that is not registered."""
    kept = mlflow_server.home / "models.json"
    if kept.exists():
        return json.loads(kept.read_text())  # type: ignore[no-any-return]
    frozen = subprocess.run([project_python, "-c", FROZEN], text=True, capture_output=True, check=True).stdout
    environment = {"PATH": os.environ["PATH"], "HOME": str(mlflow_server.home), "MLFLOW_TRACKING_URI": mlflow_server.uri, "REQUIREMENTS": frozen}
    done = subprocess.run([project_python, "-c", MAKE], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    kept.write_text(done.stdout.splitlines()[-1])
    found: dict[str, list[str]] = json.loads(kept.read_text())
    return found


FROZEN = """
import importlib.metadata, json
names = ("mlflow-skinny", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle", "skops")
print(json.dumps([f"{name}=={importlib.metadata.version(name)}" for name in names]))
"""


@pytest.fixture
def deployer(commands: subprocess.Popen[str], mlflow_server: Mlflow, models: dict[str, list[str]], environments_service: Path, tmp_path: Path) -> Deployer:
    """The project's interpreter, and models to deploy."""
    settings: dict[str, str | None] = {"LAB_MODELS_URL": None, "LAB_MODELS_CREDENTIALS_FILE": None}
    return Deployer(commands, mlflow_server, tmp_path, models, environments_service, settings)


@pytest.fixture(scope="session")
def service(project_python: Path, mlflow_server: Mlflow, environments_service: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """The scoring application of role model_server, in service."""
    folder = tmp_path_factory.mktemp("service")
    registry = serving.Registry(mlflow_server, project_python, folder)
    running = serving.start(serving.front_python(), environments_service, folder / "server", registry.environment())
    yield running
    serving.stop(running)


@pytest.fixture
def endpoint(deployer: Deployer, service: serving.Server) -> Deployer:
    """A worker that knows the scoring service."""
    deployer.settings |= {"LAB_MODELS_URL": service.url, "LAB_MODELS_CREDENTIALS_FILE": str(service.log.parent / "credentials")}
    return deployer


def predicted(service: serving.Server, name: str) -> list[float]:
    """What the service predicts for 1 and 2, to anybody who asks."""
    answer = service.score(name, [1, 2])
    assert answer.ok, answer.text
    return [round(value, 6) for value in answer.json()["predictions"]]


def test_a_version_is_deployed_proven_recorded_and_rolled_back(endpoint: Deployer, service: serving.Server) -> None:
    first = endpoint.deploy("models:/plain/1")
    assert first.result, first
    assert first.result["where"] == f"{service.url}/models/plain"
    assert first.pages == {"deployment": f"{service.url}/models", "model": f"{endpoint.mlflow.uri}/#/models/plain/versions/1?workflowType=machine_learning"}
    assert predicted(service, "plain") == [2, 4]
    assert endpoint.deploy("models:/plain@champion").result
    assert predicted(service, "plain") == [3, 6]
    assert endpoint.aliases("plain").items() >= {"live": "2", "champion": "2"}.items()
    assert "candidate" not in endpoint.aliases("plain")
    tag = json.loads(endpoint.tags("plain", "2")["lab.deployed.endpoint"])
    assert tag["where"] == f"{service.url}/models/plain" and tag["by"] == "deploy/manual__1" and tag["when"] > "2026"
    again = endpoint.deploy("models:/plain/2")
    assert "plain 2 is live already" in again.output
    assert endpoint.deploy("models:/plain/1").result, "going back is deploying the former version"
    assert predicted(service, "plain") == [2, 4]
    assert not list(endpoint.folder.glob("deploy-*")), "the folders of deployments that went well are still there"


@pytest.mark.deep
def test_a_failed_proof_leaves_the_former_version_in_service(endpoint: Deployer, service: serving.Server) -> None:
    assert endpoint.deploy("models:/moody/1").result
    failed = endpoint.deploy("models:/moody/2")
    assert failed.failure == (
        "the proof failed: for the input example of moody 2 at [0] the model itself predicts 1.0, the deployment 2.0"
    ), failed  # fmt: skip
    assert endpoint.aliases("moody") == {"live": "1"}
    assert predicted(service, "moody") == [2, 4]
    assert "lab.deployed.endpoint" not in endpoint.tags("moody", "2")
    assert endpoint.deploy("models:/liar/1").failure == (
        "The model's predictions do not fit its signature: it promises numbers, and gives texts for its input example."
    )  # fmt: skip
    assert endpoint.aliases("liar") == {}


@pytest.mark.deep
def test_of_two_deployments_at_once_the_later_wins_and_the_earlier_says_so(endpoint: Deployer, service: serving.Server) -> None:
    assert endpoint.deploy("models:/plain/1").result
    plan = endpoint.check("models:/plain/3").result[0]
    request = {"plan": plan, "runs_dir": str(endpoint.folder), "key": "overtaken", "by": "deploy/manual__1"}
    assert endpoint.do("fetch", **request).result
    with ThreadPoolExecutor(1) as pool:
        deploying = pool.submit(endpoint.do, "deploy", **request)
        until = time.monotonic() + 60
        while endpoint.aliases("plain").get("candidate") != "3":
            assert time.monotonic() < until
        endpoint.mlflow.post("registered-models/alias", name="plain", alias="candidate", version="2")  # what another deployment begins with
        assert deploying.result().mistakes == ["plain 3 is not deployed: version 2 was put in its place while this deployment was under way."]
    aliases = endpoint.aliases("plain")
    assert (aliases["live"], aliases["candidate"]) == ("1", "2"), "what the other deployment did is undone"
    assert predicted(service, "plain") == [2, 4]


@pytest.mark.deep
def test_a_model_of_any_address_is_registered_once_and_deployed(endpoint: Deployer, service: serving.Server) -> None:
    model_id, run_id = endpoint.models["unregistered"][0], endpoint.models["run"][0]
    done = endpoint.deploy(f"models:/{model_id}", name="named")
    assert (done.result["name"], done.result["version"]) == ("named", 1), done
    assert endpoint.deploy(f"models:/{model_id}", name="named").result["version"] == 1
    stored = endpoint.deploy(endpoint.models["artifacts"][0], name="named")
    assert stored.result and stored.result["version"] == 1, stored
    assert predicted(service, "named") == [5, 10]
    assert endpoint.check(f"runs:/{run_id}/model", name="named").result[0]["model"]["run_id"] == run_id
    assert "lab.deployed.endpoint" in endpoint.tags("named", "1")


def slots(*told: tuple[str, bool]) -> Iterator[dict[str, Any]]:
    """What the service says of the candidate, one look after the other: the version in service, and whether its environment is being made."""
    for version, making in told:
        yield {"name": "m", "alias": "candidate", "version": version, "wanted": "2", "making": making, "error": None}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([("1", False), *[("1", True)] * 9, ("1", False), ("2", False)], ""),
        ([("1", False), *[("1", True)] * 9, *[("1", False)] * 9], "did not have m 2 as candidate after 300 s (target_options: wait)"),
        ([("1", False)] * 9, "did not have m 2 as candidate after 300 s (target_options: wait)"),
    ],
)
def test_while_the_service_makes_an_environment_no_time_counts(monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, bool]], words: str) -> None:
    passed, said, looks = iter(range(0, 10**6, 100)), list[str](), slots(*told)  # each look takes 100 s
    monkeypatch.setattr(endpoint_target, "time", SimpleNamespace(monotonic=lambda: float(next(passed)), sleep=lambda _seconds: None))
    one = endpoint_target.Endpoint.__new__(endpoint_target.Endpoint)
    server = SimpleNamespace(url="http://lab:8002", slot=lambda _name, _alias: next(looks))
    vars(one).update(model=SimpleNamespace(name="m", version=2), deployment=SimpleNamespace(options={"wait": 300}, say=said.append))
    vars(one).update(_server=server, _bearer=lambda _alias: "2")
    if words:
        with pytest.raises(Failure, match=re.escape(words)):
            one._wait("candidate")
    else:
        one._wait("candidate")
        assert said[0] == "the service makes the environment of m 2" and said[1].startswith("the service has m 2 as candidate after 1") and len(said) == 2


def test_what_cannot_be_deployed_is_one_sentence_before_anything_runs(endpoint: Deployer) -> None:
    uri = endpoint.mlflow.uri
    forms = "models:/<name>/<version>, models:/<name>@<alias>, models:/m-<id>, runs:/<run id>/<path> or mlflow-artifacts:/<path>"
    unknown = "0" * 32
    cases = {
        None: f"model_uri is empty; allowed: {forms}.",
        "plain": f"model_uri has 'plain'; allowed: {forms}.",
        "models:/plain": f"model_uri has 'models:/plain'; allowed: {forms}.",
        "s3://bucket/model": f"model_uri has 's3://bucket/model'; allowed: {forms}.",
        "models:/plain/9": "model_uri has 'models:/plain/9'; the versions of plain are 1, 2, 3.",
        "models:/plain@best": "model_uri has 'models:/plain@best'; the aliases of plain are ",
        "models:/nothing/1": "model_uri has 'models:/nothing/1', but MLflow has no registered model 'nothing' (",
        f"models:/m-{unknown}": f"model_uri has 'models:/m-{unknown}', but MLflow at {uri} has no model there (",
        f"runs:/{unknown}/model": f"model_uri has 'runs:/{unknown}/model', but MLflow at {uri} has no model there (",
        "mlflow-artifacts:/1/nothing": "model_uri has 'mlflow-artifacts:/1/nothing', but ",
        "models:/bare/1": "models:/bare/1 has no signature, so nobody can tell what it takes; "
        "log the model with signature=infer_signature(<input>, <predictions>).",
    }
    for address, sentence in cases.items():
        answer = endpoint.check(address)
        assert answer.mistakes and answer.mistakes[0].startswith(sentence), (address, answer)
        assert len(answer.mistakes) == 1 or address == "models:/bare/1"
    wrong = {
        ("nowhere", "{}"): "target has 'nowhere'; allowed: endpoint, object_store, batch.",
        ("endpoint", '{"url": 1}'): "target_options has 'url', which the target endpoint does not know; allowed: name, wait.",
        ("endpoint", '{"wait": 0}'): "target_options: wait has 0; allowed: a whole number above 0.",
        ("endpoint", '{"name": "other"}'): "target_options: name has 'other', but models:/plain/1 is registered as 'plain'; leave it out.",
        ("object_store", "{}"): "target_options lacks 'url', which the target object_store needs; allowed: text such as s3://bucket/models/wine.",
        ("object_store", '{"url": "ftp://x"}'): "target_options: url has 'ftp://x'; allowed: text such as s3://bucket/models/wine.",
    }
    for (target, options), sentence in wrong.items():
        assert endpoint.check("models:/plain/1", target, **json.loads(options)).mistakes == [sentence]
    unnamed = endpoint.check(f"models:/{endpoint.models['unregistered'][0]}").mistakes
    assert len(unnamed) == 1 and unnamed[0].startswith("target_options lacks 'name', under which models:/m-")
    endpoint.settings["LAB_MODELS_URL"] = "http://127.0.0.1:9"
    assert endpoint.check("models:/plain/1").failure == "target endpoint: the scoring service at http://127.0.0.1:9 does not answer: ConnectionError"
    endpoint.settings["LAB_MODELS_URL"] = None
    assert endpoint.check("models:/plain/1").mistakes == [
        "target endpoint: LAB_MODELS_URL is not set in the worker's environment; it must hold the address of the scoring service."
    ]


@pytest.mark.deep
def test_the_example_of_a_new_target_works(deployer: Deployer, project_python: Path) -> None:
    example = re.search(r'```python\n(""".*?)```', (ROOT / "docs" / "targets.md").read_text(), re.DOTALL)
    assert example
    share = deployer.folder / "share"
    share.mkdir()
    asked = []
    for version in ("1", "2"):
        plan = deployer.check(f"models:/plain/{version}", "object_store", url="file:///unused").result[0]
        request = {"plan": {**plan, "options": {"folder": str(share)}}, "runs_dir": str(deployer.folder), "key": version, "by": "deploy/manual__1"}
        assert deployer.do("fetch", **request).result
        asked.append(request)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "dags")}
    command: list[str | Path] = [project_python, "-c", SHARE, example[1], json.dumps(asked)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, failed, now = json.loads(done.stdout.splitlines()[-1])
    assert first == second == str(share / "current")
    assert failed.startswith("the proof failed: ")
    assert now == json.loads((deployer.folder / "deploy-2" / "fetched.json").read_text())["digest"][:16], "the failed deployment left its model in service"


SHARE = """
import json, os, sys
from lab_deployment import deploying, workspace
from lab_deployment.target import checked
from lab_experiment.failures import Failure
names = {}
exec(sys.argv[1], names)
requests = json.loads(sys.argv[2])
assert names["Share"].check(checked(requests[0]["plan"]["options"], names["Share"]), {}) == []
made = [workspace.of(request).deployment(request["plan"], request["by"]) for request in requests]
answers = [deploying.deploy(names["Share"], deployment)["where"] for deployment in made]
made[0].expected = [0, 0, 0]
try:
    deploying.deploy(names["Share"], made[0])
except Failure as error:
    answers.append(str(error))
print(json.dumps([*answers, os.readlink(made[0].options["folder"] + "/current")]))
"""
