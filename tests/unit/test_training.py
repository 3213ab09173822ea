"""Experiments run for real: the example project is trained, tracked and registered in a real MLflow server, and its model loaded back."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.modules import lab_dag_look

from tests.unit.conftest import CLIENTS, make_environment

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "dags" / "lab_experiment"
PROJECT = ROOT / "examples" / "wine_cultivars"


@dataclass
class Lab:
    """Runs commands of ``lab_experiment`` as the DAG does."""

    python: Path
    mlflow: Any
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a worker."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.mlflow.home),
            "MLFLOW_TRACKING_URI": self.mlflow.uri,
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "Agg",
            **more,
        }

    def start(self, command: str, request: dict[str, Any], **more: str) -> tuple[subprocess.Popen[str], Path]:
        """Start a command; returns the process and where its result will be."""
        asked, result = self.folder / f"{command}-request.json", self.folder / f"{command}-result.json"
        asked.write_text(json.dumps(request))
        result.unlink(missing_ok=True)
        process = subprocess.Popen(
            [self.python, RUNNER, command, asked, result],
            cwd=self.folder,  # where an old MLflow makes ./mlruns
            env=self.environment(**more),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return process, result

    def do(self, command: str, request: dict[str, Any], **more: str) -> tuple[int, dict[str, Any], str]:
        """Run a command; returns its exit code, its answer and its output."""
        process, result = self.start(command, request, **more)
        output, _ = process.communicate(timeout=300)
        return process.returncode, json.loads(result.read_text()) if result.is_file() else {}, output

    def chain(self, request: dict[str, Any], **more: str) -> tuple[int, dict[str, Any], str]:
        """Run ``prepare``, the searchers one after the other, ``cross_validate`` and ``train``, each in a process of its own; stops at the first that fails."""
        code, answer, output = self.do("prepare", request, **more)
        if code:
            return code, answer, output
        later = {**request, "run": answer["values"]["run"]}
        for command, part in [*(("search", part) for part in answer["result"]), ("cross_validate", None), ("train", None)]:
            code, answer, words = self.do(command, {**later, "part": part}, **more)
            output += words
            if code:
                break
        return code, answer, output

    def run(self, document: dict[str, Any], run_id: str, **more: str) -> tuple[int, dict[str, Any], str]:
        """Run a document without checking a file first."""
        return self.chain(self.request(document, run_id), **more)

    def request(self, document: dict[str, Any], run_id: str) -> dict[str, Any]:
        """What the DAG asks for."""
        checked = {"file": "/experiments/x.yml", "document": document}
        return {"checked": checked, "runs_dir": str(self.folder / "runs"), "run_id": run_id, "tags": {"airflow.run_id": run_id}}

    def several(self, documents: dict[str, dict[str, Any]], **more: str) -> dict[str, dict[str, Any]]:
        """Run several documents in one process, since importing MLflow takes seconds; returns their answers with their models, loaded back in another."""
        requests = {name: self.request(document, name) for name, document in documents.items()}
        answers = self._script(SEVERAL, requests, **more)
        uris = {name: answer["result"]["model_uri"] for name, answer in answers.items() if "result" in answer}
        for name, model in self.load(uris).items():
            answers[name]["model"] = model
        return answers

    def load(self, uris: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Load models back in a new process; returns what they say of themselves and their predictions for their input examples."""
        return self._script(LOAD, uris)

    def _script(self, code: str, argument: Any, **more: str) -> dict[str, dict[str, Any]]:
        command: list[str | Path] = [self.python, "-c", code, json.dumps(argument)]
        path = os.pathsep.join([str(ROOT / "dags"), *([more.pop("PYTHONPATH")] if "PYTHONPATH" in more else [])])
        done = subprocess.run(command, cwd=self.folder, env=self.environment(PYTHONPATH=path, **more), text=True, capture_output=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return answer


SEVERAL = """
import contextlib, json, sys
from lab_experiment import run
from lab_experiment.job import Job
answers = {}
for name, request in json.loads(sys.argv[1]).items():
    job = Job.of_request(request)
    with contextlib.closing(job.package):
        try:
            job.run = run.prepare(job)["values"]["run"]
            answers[name] = run.train(job)
        except run.Failure as error:
            answers[name] = {"failure": str(error)}
print(json.dumps(answers))
"""

LOAD = """
import json, sys, mlflow
answers = {}
for name, uri in json.loads(sys.argv[1]).items():
    model = mlflow.pyfunc.load_model(uri)
    example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(uri))
    answers[name] = {
        "flavors": sorted(model.metadata.flavors),
        "inputs": model.metadata.signature.inputs.input_names(),
        "rows": len(example),
        "predicted": [str(value) for value in model.predict(example)],
        "requirements": open(mlflow.pyfunc.get_model_dependencies(uri)).read().split(),
    }
print(json.dumps(answers))
"""


@pytest.fixture(params=CLIENTS)
def lab(request: pytest.FixtureRequest, mlflow_server: Any, tmp_path: Path) -> Lab:
    """The project's interpreter, an MLflow server and a scratch folder."""
    return Lab(make_environment(request.param, PROJECT), mlflow_server, tmp_path)


@pytest.fixture
def document(lab: Lab) -> dict[str, Any]:
    """The shipped experiment, checked."""
    code, answer, output = lab.do("check", {"experiment": "wine", "experiments_dir": str(ROOT / "experiments")})
    assert code == 0, output
    return dict(answer["result"]["document"])


def trained_by(document: dict[str, Any], call: str, score: str = "theirs:score", **arguments: Any) -> dict[str, Any]:
    """The shipped experiment with another training and evaluation."""
    arguments = arguments or {"table": "{{ steps.prepare.train }}"}
    evaluate = {"call": score, "with": {"model": "{{ model }}"}, "plots": []}
    return {
        **document,
        "train": {"call": call, "with": arguments, "input_example": "{{ steps.prepare.train }}", "evaluate": evaluate},
        "track": {"experiment": "theirs", "run_name": "", "tags": {}},
        "register": None,
    }


@pytest.mark.deep
def test_the_shipped_experiment_is_trained_tracked_and_registered_twice_at_once(lab: Lab, document: dict[str, Any]) -> None:
    def train(number: int) -> dict[str, Any]:
        one = Lab(lab.python, lab.mlflow, lab.folder / str(number))
        one.folder.mkdir()
        request = {**one.request(document, f"manual__2026-01-01T00:00:0{number}+00:00"), "runs_dir": str(lab.folder / "runs")}
        code, answer, output = one.chain(request)
        assert code == 0, output
        return dict(answer["result"])

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(train, (1, 2)))
    assert len({result["version"] for result in results}) == len({result["mlflow_run_id"] for result in results}) == 2
    assert results[0]["metrics"] == results[1]["metrics"]
    assert not list((lab.folder / "runs").iterdir()), "the folders of the runs are still there"

    result = results[0]
    run = lab.mlflow.get("runs/get", run_id=result["mlflow_run_id"])["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["status"] == "FINISHED"
    assert re.fullmatch(r"wine · 20\d\d-\d\d-\d\d \d\d:\d\d · accuracy 0\.9\d*", run["info"]["run_name"])
    experiment = lab.mlflow.get("experiments/get", experiment_id=run["info"]["experiment_id"])["experiment"]
    assert {tag["key"]: tag["value"] for tag in experiment["tags"]}["mlflow.experimentKind"] == "custom_model_development", "MLflow opens on GenAI"
    assert tags["airflow.run_id"] == "manual__2026-01-01T00:00:01+00:00"
    assert (tags["lab.experiment"], tags["lab.packages"], tags["data"]) == ("wine", "wine-cultivars==1.1.0", "UCI Wine")
    parameters = {item["key"]: item["value"] for item in run["data"]["params"]}
    assert parameters == {"prepare.test_share": "0.25", "prepare.seed": "7", "train.trees": "200", "train.max_depth": "6", "train.seed": "7"}
    metrics = {item["key"]: item["value"] for item in run["data"]["metrics"]}
    assert metrics == result["metrics"]
    assert metrics["accuracy"] > 0.9
    plots = lab.mlflow.get(f"artifacts/list?path=plots&run_id={result['mlflow_run_id']}")["files"]
    assert [(plot["path"], int(plot["file_size"]) > 1000) for plot in plots] == [("plots/confusion_matrix.png", True)]
    version = lab.mlflow.get("model-versions/get", name="wine-cultivars", version=str(result["version"]))["model_version"]
    assert version["status"] == "READY"
    assert version["run_id"] == result["mlflow_run_id"]
    assert result["model_uri"] == f"models:/wine-cultivars/{result['version']}"

    model = lab.load({"shipped": result["model_uri"]})["shipped"]
    assert model["flavors"] == ["python_function", "sklearn"]
    assert "alcohol" in model["inputs"] and "cultivar" not in model["inputs"]
    assert model["rows"] == 5
    assert set(model["predicted"]) <= {"class_0", "class_1", "class_2"}
    names = {line.partition("==")[0] for line in model["requirements"]}
    writer = "cloudpickle" if "mlflow-skinny==2.19.0" in model["requirements"] else "skops"  # that client knows no other format
    assert {"scikit-learn", "numpy", writer, "pandas", "mlflow-skinny"} <= names
    assert not names & {"mlflow", "pytest", "matplotlib", "wine-cultivars"}


def test_a_failing_training_is_a_failed_run_with_the_packages_words(lab: Lab, document: dict[str, Any], package: Any) -> None:
    site = package("def train(table):\n    raise OSError('the disk of theirs is full')\ndef score(model): return {}\n")
    code, answer, output = lab.run(trained_by(document, "theirs:train"), "failing", PYTHONPATH=str(site))
    assert code == 1
    sentence = answer["failure"]
    assert sentence.startswith("train: theirs:train(table='") and sentence.endswith("raised OSError: the disk of theirs is full")
    assert 'theirs.py", line 2, in train' in output
    experiment = lab.mlflow.get("experiments/get-by-name", experiment_name="theirs")["experiment"]["experiment_id"]
    run = lab.mlflow.post("runs/search", experiment_ids=[experiment], max_results=1)["runs"][0]
    assert run["info"]["status"] == "FAILED"
    assert {"key": "lab.failure", "value": sentence} in run["data"]["tags"]
    assert [path.name for path in (lab.folder / "runs" / "failing").iterdir()], "a failed run keeps its folder"


UNEVALUATED = """
from sklearn.naive_bayes import GaussianNB
from wine_cultivars.data import read

def make_model(cost): return GaussianNB(var_smoothing=cost * 1e-9)
def data(table): return read(table)
def train(table, cost): return make_model(cost).fit(*read(table))
def loss(cost): return (cost - 1) ** 2 + 0.125
"""


def test_a_training_without_evaluation_shows_what_was_measured_before_it(lab: Lab, document: dict[str, Any], package: Any) -> None:
    (lab.folder / "optuna_url").write_text(f"sqlite:///{lab.folder}/optuna.db")
    more = {"PYTHONPATH": str(package(UNEVALUATED)), "LAB_OPTUNA_STORAGE_FILE": str(lab.folder / "optuna_url")}
    table = "{{ steps.prepare.train }}"
    validated = {
        "estimator": {"call": "theirs:make_model", "with": {"cost": 1.0}},
        "data": {"call": "theirs:data", "with": {"table": table}},
        "splitter": {"name": "auto", "options": {"n_splits": 3}},
        "scoring": ["neg_log_loss", "accuracy"],
        "bad_folds": "error",
    }
    searched = {
        "objective": {"call": "theirs:loss", "with": {"cost": "{{ params.cost }}"}, "metric": None},
        "space": {"cost": {"type": "categorical", "choices": [1.0], "when": {}}},
        "direction": ["minimize"],
        "sampler": {"name": "random", "options": {}},
        "pruner": {"name": "none", "options": {}},
        **{"trials": 1, "timeout": None, "parallel": 1, "seed": 1, "allowed_failures": 0},
    }
    fitted: dict[str, Any] = {"call": None, "with": {}, "input_example": None, "evaluate": None}
    called = {**fitted, "call": "theirs:train", "with": {"table": table, "cost": 1.0}}
    tracked = {"experiment": "unevaluated", "run_name": "", "tags": {}}
    own: dict[str, Any] = {**document, "name": "mine", "track": tracked, "register": {"name": "mine", "description": "", "champion": None}, "deploy": None}
    said_by = {}

    def run(name: str, **sections: Any) -> tuple[dict[str, float], dict[str, float], str]:
        """Metrics of the result, and what MLflow has: metrics, and what the run's name says after experiment and time."""
        code, answer, output = lab.run({**own, **sections}, name, **more)
        assert code == 0 and answer["result"]["registered_model"] == "mine" and answer["result"]["champion"] is None, output
        said_by[name] = output
        found = lab.mlflow.get("runs/get", run_id=answer["result"]["mlflow_run_id"])["run"]
        logged = {item["key"]: item["value"] for item in found["data"].get("metrics", [])}
        return answer["result"]["metrics"], logged, " · ".join(found["info"]["run_name"].split(" · ")[2:])

    metrics, logged, said = run("validated", cross_validation=validated, train=fitted)
    assert metrics == {name: logged[name] for name in ("cv_neg_log_loss_mean", "cv_accuracy_mean")} and metrics["cv_accuracy_mean"] > 0.9
    assert said == f"cv_neg_log_loss_mean {metrics['cv_neg_log_loss_mean']:.4g}", "the first scorer counts"
    metrics, logged, said = run("searched", search=searched, train=called)
    assert metrics == {"search_objective": 0.125} == logged and said == "search_objective 0.125"
    assert [found[1] for found in map(lab_dag_look.TRIAL.search, said_by["searched"].splitlines()) if found] == ["0.125"], "`make run` reads the log"


KINDS = """
import joblib
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from wine_cultivars.data import read

def plain(table): return GaussianNB().fit(*read(table))
def file(table, folder):
    joblib.dump(plain(table), f"{folder}/model.joblib")
    return f"{folder}/model.joblib"
def with_lambda(table): return make_pipeline(FunctionTransformer(lambda x: x * 2), GaussianNB()).fit(*read(table))
def wrapped(table):
    import mlflow
    class Constant(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None): return ["class_0"] * len(model_input)
    return Constant()
def text(table): return object()

def score(model): return {"train": {"n": 3}, "x": 1}
def own_run(model):
    import mlflow
    with mlflow.start_run(run_name="theirs"): mlflow.log_metric("own", 1)
    return {"x": 1}
def words(model): return {"x": "good"}
"""


@pytest.mark.deep
def test_models_of_several_kinds_can_be_loaded_back_and_what_is_none_is_one_sentence(lab: Lab, document: dict[str, Any], package: Any) -> None:
    documents = {
        "plain": trained_by(document, "theirs:plain", "theirs:own_run"),
        "file": trained_by(document, "theirs:file", table="{{ steps.prepare.train }}", folder="{{ run_dir }}"),
        "with_lambda": trained_by(document, "theirs:with_lambda"),
        "wrapped": trained_by(document, "theirs:wrapped"),
        "text": trained_by(document, "theirs:text"),
        "words": trained_by(document, "theirs:plain", "theirs:words"),
    }
    answers = lab.several(documents, PYTHONPATH=str(package(KINDS)))
    for name in ("plain", "file", "with_lambda", "wrapped"):
        assert set(answers[name]["model"]["predicted"]) <= {"class_0", "class_1", "class_2"}, answers[name]
        assert answers[name]["result"]["registered_model"] is None
    assert answers["file"]["result"]["metrics"] == {"train.n": 3.0, "x": 1.0}
    assert answers["text"]["failure"].startswith("train: the training returned a builtins.object, which has no predict; allowed is a model with predict ")
    assert answers["words"] == {"failure": "train.evaluate: theirs:words returned 'good' as metric 'x'; allowed is a number"}


MEDDLING = """
import logging, os, random, signal, socket, sys, threading, time, warnings
import click, mlflow
from sklearn.tree import DecisionTreeClassifier
from wine_cultivars.data import read

def meddle(table):
    warnings.simplefilter("error")
    os.environ.update(HTTP_PROXY="http://127.0.0.1:9", MLFLOW_TRACKING_USERNAME="nobody", MLFLOW_TRACKING_PASSWORD="x", HOME="/nowhere", NO_PROXY="")
    os.environ.update(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    mlflow.set_tracking_uri(f"sqlite:///{table}.db"); mlflow.set_registry_uri("http://127.0.0.1:9"); mlflow.end_run()
    logging.disable(); logging.basicConfig(force=True); socket.setdefaulttimeout(0.001); os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stdout.close(); sys.stderr = None
    threading.Thread(target=time.sleep, args=(600,)).start()
    return table
def returned(table):
    return DecisionTreeClassifier().fit(*read(meddle(table)))
def logged(table):
    mlflow.set_tracking_uri(f"sqlite:///{table}.db")
    mlflow.set_experiment("own")
    with mlflow.start_run(): mlflow.log_metric("own", 1)
def left(table): os._exit(3)
def command(table): click.command()(lambda: None)()
def usage(table): click.command()(click.argument("file")(lambda file: None))()
def score(model): return {"x": 1}
"""


@pytest.mark.deep
def test_a_package_that_meddles_with_mlflow_and_its_process_is_trained_all_the_same(lab: Lab, document: dict[str, Any], package: Any) -> None:
    documents = {name: trained_by(document, f"theirs:{name}") for name in ("returned", "logged", "left", "command", "usage")}
    documents["returned"] |= {"register": {"name": "meddling", "description": "", "champion": {"metric": "x", "direction": "maximize", "margin": 0.0}}}
    answers = lab.several(documents, PYTHONPATH=str(package(MEDDLING)))
    assert answers["returned"]["result"]["version"] == 1 and answers["returned"]["result"]["champion"]["promoted"], answers["returned"]
    assert set(answers["returned"]["model"]["predicted"]) <= {"class_0", "class_1", "class_2"}
    nothing = "train: the training returned nothing; allowed is a model with predict"
    assert answers["logged"]["failure"].startswith(nothing) and "; it set MLflow's address to sqlite:///" in answers["logged"]["failure"]
    assert answers["logged"]["failure"].endswith("what it logged there is not in the lab's MLflow: let it return the model, or leave the address as it is")
    assert answers["command"]["failure"].startswith(nothing) and answers["command"]["failure"].endswith("a run of its own in MLflow that holds a model")
    assert answers["usage"]["failure"].startswith("train: theirs:usage(table='") and answers["usage"]["failure"].endswith(") ended with exit code 2 (sys.exit)")
    assert answers["left"]["failure"] == "train: theirs:left ended its process with exit code 3 (os._exit or the like) instead of returning"
    experiment = lab.mlflow.get("experiments/get-by-name", experiment_name="theirs")["experiment"]["experiment_id"]
    runs = lab.mlflow.post("runs/search", experiment_ids=[experiment], max_results=5)["runs"]
    assert sorted(run["info"]["status"] for run in runs) == [*["FAILED"] * 4, "FINISHED"]


def test_a_wrong_password_is_one_sentence(lab: Lab, document: dict[str, Any]) -> None:
    code, answer, _ = lab.run(document, "refused", MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD="wrong")
    assert code == 1
    assert answer["failure"].startswith("track: making a run in the experiment 'wine' failed with MlflowException: ") and "401" in answer["failure"]


@pytest.mark.deep
def test_a_killed_task_leaves_a_killed_run_and_its_next_try_goes_on_with_it(lab: Lab, document: dict[str, Any], package: Any) -> None:
    source = "import time\ndef train(table):\n    print('sleeping', flush=True)\n    time.sleep(%d)\n    import theirs_too\ndef score(model): return {}\n"
    site = package(source % 120)
    request = lab.request(trained_by(document, "theirs:train"), "killed")
    _, prepared, _ = lab.do("prepare", request)
    request["run"] = prepared["values"]["run"]
    process, _ = lab.start("train", request, PYTHONPATH=str(site), PYTHONUNBUFFERED="1")
    assert process.stdout
    assert any(line.startswith("sleeping") for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    run_id = request["run"]["mlflow_run_id"]
    assert lab.mlflow.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "KILLED"
    package(source % 0)
    _, answer, output = lab.do("train", request, PYTHONPATH=str(site))
    assert answer["failure"].endswith("raised ModuleNotFoundError: No module named 'theirs_too'")
    assert "[steps." not in output, "what prepare did is not done again"
    assert lab.mlflow.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "FAILED"


def test_a_task_that_is_gone_takes_its_process_along(lab: Lab, package: Callable[[str], Path]) -> None:
    site = package("import time\ntime.sleep(120)\n")
    folder = lab.folder / "experiments"
    folder.mkdir()
    (folder / "slow.yml").write_text('train: {call: "theirs:f", input_example: "{{ run_dir }}", evaluate: {call: "theirs:g"}}')
    (lab.folder / "request.json").write_text(json.dumps({"experiment": "slow", "experiments_dir": str(folder)}))
    arguments = [str(lab.python), str(RUNNER), "check", str(lab.folder / "request.json"), str(lab.folder / "result.json")]
    code = f"import subprocess, time\nprint(subprocess.Popen({arguments!r}).pid, flush=True)\ntime.sleep(120)"
    task = subprocess.Popen([str(lab.python), "-c", code], env=lab.environment(PYTHONPATH=str(site)), text=True, stdout=subprocess.PIPE)
    assert task.stdout
    child = int(task.stdout.readline())
    time.sleep(2)  # it is importing by now
    task.kill()
    task.wait()
    until = time.monotonic() + 20
    while _is_running(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


def test_the_example_project_passes_its_own_tests(lab: Lab) -> None:
    command: list[str | Path] = [
        lab.python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "-c",
        PROJECT / "pyproject.toml",
        PROJECT / "tests",
    ]
    done = subprocess.run(command, cwd=lab.folder, env=lab.environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_project_knows_nothing_of_the_lab() -> None:
    for path in PROJECT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] in ("airflow", "mlflow", "ansible", "ansible_collections", "lab_experiment")], path


def test_the_example_project_builds_the_same_bytes_each_time(lab: Lab) -> None:
    digests = set()
    for number in (1, 2):
        out = lab.folder / f"dist-{number}"
        command: list[str | Path] = [lab.python, "-m", "flit_core.wheel", "--outdir", out, PROJECT]
        subprocess.run(command, env=lab.environment(SOURCE_DATE_EPOCH="1767225600"), capture_output=True, check=True)
        [wheel] = out.iterdir()
        assert wheel.name == "wine_cultivars-1.1.0-py3-none-any.whl"
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
