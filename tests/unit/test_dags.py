"""The DAGs in a real Airflow, each supported version in turn: they are read in no time, and their tasks run in the project's interpreter."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEWEST

ROOT = Path(__file__).resolve().parents[2]

READ = """
import inspect, json, sys, time
import airflow.sdk  # what a DAG processor has imported long before it meets our files
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
sys.path.insert(0, sys.argv[1])  # as for every DAG bundle
try:
    from airflow.serialization.serialized_objects import DagSerialization as serialized
except ImportError:  # Airflow 3.1
    from airflow.serialization.serialized_objects import SerializedDAG as serialized
examples = {"include_examples": False} if "include_examples" in inspect.signature(DagBag).parameters else {}
start = time.perf_counter()
bag = DagBag(sys.argv[1], **examples)
seconds = time.perf_counter() - start
dags = {
    name: {
        "doc": bool(dag.doc_md), "tags": sorted(dag.tags), "schedule": dag.schedule, "paused": dag.is_paused_upon_creation,
        "params": {key: dag.params.get_param(key).dump() for key in dag.params},
        "tasks": {
            task.task_id: {"retries": task.retries, "timeout": task.execution_timeout.total_seconds(), "after": sorted(task.upstream_task_ids),
                           "pool": task.pool, "mapped": task.is_mapped, "queue": task.queue}
            for task in dag.tasks
        },
    }
    for name, dag in bag.dags.items()
}
for name, dag in bag.dags.items():  # what the api-server knows of the buttons
    known = serialized.from_dict(serialized.to_dict(dag))
    for task in known.tasks:
        dags[name]["tasks"][task.task_id]["buttons"] = sorted(task.extra_links)
imported = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"dags": dags, "errors": bag.import_errors, "seconds": seconds, "imported": imported}, default=str))
"""

EXECUTE = """
import json, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import lab_operators
answers, buttons = [], []
for case in json.loads(sys.argv[2]):
    lab_operators.PROJECT_PYTHON = case.get("python", lab_operators.PROJECT_PYTHON)
    try:
        operator = lab_operators.ProjectPythonOperator(task_id="t", command=case["command"], request=case["request"])
        pushed = {}
        context = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
        answers.append({"result": operator.execute(context), "pushed": pushed})
    except Exception as error:
        answers.append({"kind": type(error).__name__, "words": str(error)})
    buttons.append({link.name: link.get_link(operator, ti_key=None) for link in operator.operator_extra_links})
print(json.dumps([answers, buttons]))
"""

LOGGED = """
import io, json, sys
sys.path.insert(0, sys.argv[1])
import structlog
from airflow.sdk.log import configure_logging
written = io.BytesIO()
configure_logging(json_output=True, output=written)
log = structlog.get_logger("task")
log.info("bound")
import lab_operators
from lab_deployment import operators
lab_operators.PROJECT_PYTHON = "/nowhere/python"
class Broken(lab_operators.ProjectPythonOperator):
    def execute(self, context):
        raise RuntimeError("a mistake of whoever wrote this")
contexts = {"params": {"gone": 1}}
options = {"task_id": "t", "command": "check", "request": {}}
for operator in (lab_operators.ProjectPythonOperator(**options), operators.CheckOperator(task_id="t"), Broken(**options)):
    try:
        operator.pre_execute(contexts)
        operator.execute(contexts)
    except Exception:
        log.exception("Task failed with exception")
print(json.dumps([json.loads(line) for line in written.getvalue().splitlines()]))
"""

NOTES = """
import json, sys
from datetime import datetime, timezone
from airflow import settings
from airflow.models.asset import AssetEvent
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.models import import_all_models
import_all_models()
Base.metadata.create_all(settings.engine)
with create_session() as session:
    for number, conf in enumerate(json.loads(sys.argv[1])):
        run = DagRun(dag_id="train", run_id=f"manual__{number}", run_type="manual", state="queued", run_after=datetime.now(timezone.utc), conf=conf)
        run.note = (conf or {}).get("note")
        run.consumed_asset_events = [AssetEvent(asset_id=1, extra={"experiment": name}) for name in (conf or {}).pop("trained", [])]
        session.add(run)
with create_session() as session:
    for _ in range(2):  # a run that is cleared starts again
        with prohibit_commit(session) as guard:  # as the scheduler does
            for run in session.query(DagRun):
                run.state = "running"
                run.notify_dagrun_state_changed(msg="started")
            guard.commit()
with create_session() as session:
    print(json.dumps([[run.state, run.note] for run in session.query(DagRun).order_by(DagRun.run_id)]))
"""

TRIGGERS = """
import asyncio, json, sys
from airflow import plugins_manager
from starlette.requests import Request
from starlette.responses import JSONResponse
read = plugins_manager.get_fastapi_plugins() if hasattr(plugins_manager, "get_fastapi_plugins") else plugins_manager.initialize_fastapi_plugins()
middlewares = read[1] if read else plugins_manager.fastapi_root_middlewares
(ids,) = [one["middleware"] for one in middlewares]

async def application(scope, receive, send):
    request = Request(scope, receive)
    body = await request.body()
    assert int(request.headers["content-length"]) == len(body)
    await JSONResponse(body.decode())(scope, receive, send)

async def trigger(path, parts):
    waiting = [{"type": "http.request", "body": part.encode(), "more_body": number < len(parts) - 1} for number, part in enumerate(parts)]
    sent = []
    async def receive():
        return waiting.pop(0)
    async def send(message):
        sent.append(message)
    headers = [(b"content-length", b"%d" % len("".join(parts).encode()))]
    await ids(application)({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return json.loads(sent[1]["body"])

print(json.dumps([asyncio.run(trigger(path, parts)) for path, parts in json.loads(sys.argv[1])]))
"""


@pytest.fixture
def worker(airflow_python: Path, project_python: Path, tmp_path: Path) -> Any:
    """A function that runs Python code beside Airflow; returns what its last line holds, and all of its output."""

    def run(code: str, *arguments: str, **more: str) -> tuple[Any, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": "not for the package",
            "LAB_EXPERIMENTS_DIR": str(ROOT / "experiments"),
            "LAB_RUNS_DIR": str(tmp_path / "runs"),
            "LAB_PROJECT_PYTHON": str(project_python),
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }
        done = subprocess.run([airflow_python, "-W", "ignore", "-c", code, *arguments], env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr

    return run


@pytest.fixture
def bag(worker: Any) -> dict[str, Any]:
    """What Airflow found in the folder of the DAGs."""
    found, _ = worker(READ, str(ROOT / "dags"))
    return dict(found)


def test_airflow_reads_the_dags_in_no_time_and_nothing_heavy_with_them(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    assert set(bag["dags"]) <= {"train", "deploy"}, "files that are no DAGs belong into dags/.airflowignore"
    assert bag["seconds"] < 2
    assert not {"pandas", "numpy", "sklearn", "mlflow", "matplotlib", "optuna", "wine_cultivars"} & set(bag["imported"])


def test_a_lab_of_several_hosts_has_a_task_on_each_of_its_workers(worker: Any, tmp_path: Path) -> None:
    (tmp_path / "queues.json").write_text('["default", "gpu", "host.10.0.0.7", "host.worker-2"]')
    found, _ = worker(READ, str(ROOT / "dags"), LAB_QUEUES_FILE=str(tmp_path / "queues.json"))
    assert found["errors"] == {}
    assert {name: task["queue"] for name, task in found["dags"]["workers"]["tasks"].items()} == {"10.0.0.7": "host.10.0.0.7", "worker-2": "host.worker-2"}


def test_the_training_is_good_to_use_from_the_form_and_the_api(bag: dict[str, Any]) -> None:
    dag = bag["dags"]["train"]
    assert dag["doc"] and dag["tags"] == ["lab", "training"]
    assert dag["schedule"] is None
    assert dag["paused"] is False, "a new lab trains without anybody unpausing the DAG"
    parameter = dag["params"]["experiment"]
    assert list(dag["params"]) == ["experiment", "trials", "inputs", "overrides"]
    values = [dag["params"][name]["value"] for name in ("experiment", "trials", "inputs", "overrides")]
    assert values == ["wine_search", None, {}, {}], "the form opens with a run that can be started"
    assert all(parameter["description"] or parameter["schema"].get("description_md") for parameter in dag["params"].values())
    assert parameter["schema"]["type"] == "string"
    assert parameter["schema"]["examples"] == sorted(path.stem for path in (ROOT / "experiments").glob("*.yml"))
    assert parameter["description"] and parameter["schema"]["pattern"]
    assert list(dag["tasks"]) == ["environment", "check", "prepare", "search", "cross_validate", "train"]
    assert all(task["retries"] and task["timeout"] for task in dag["tasks"].values())
    assert (dag["tasks"]["search"]["pool"], dag["tasks"]["search"]["mapped"]) == ("search", True)
    assert all(task["buttons"] == ["MLflow run", "Registered model"] for task in dag["tasks"].values())
    assert bag["dags"]["deploy"]["tasks"]["deployment.deploy"]["buttons"] == ["Deployment", "Registered model"]


def test_tasks_run_in_the_projects_interpreter_and_fail_in_plain_words(worker: Any, package: Any, project_python: Path, tmp_path: Path) -> None:
    site = package("import os\ndef f(): raise OSError(sorted(name for name in os.environ if name.startswith('AIRFLOW__')))\n")
    python = tmp_path / "python"  # the operator keeps PYTHONPATH from a package, so this one comes with its own interpreter
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {project_python} "$@"\n')
    python.chmod(0o755)
    document: dict[str, Any] = {
        "name": "x",
        "inputs": {},
        "steps": [{"name": "s", "call": "theirs:f", "with": {}, "after": []}],
        "track": {"experiment": "x", "run_name": "", "tags": {}},
        **dict.fromkeys(("search", "cross_validation", "train", "register", "deploy")),
    }
    prepare = {"checked": {"file": "x.yml", "document": document}, "runs_dir": str(tmp_path), "run_id": "r", "tags": {}}
    after = {**prepare, "run": {"mlflow_run_id": "0" * 32, "experiment_id": "1"}}
    cases = [
        {"command": "check", "request": {"experiment": "wine", "experiments_dir": str(ROOT / "experiments")}},
        {"command": "check", "request": {"experiment": "../x", "experiments_dir": "/nowhere"}},
        {"command": "prepare", "request": prepare, "python": str(python)},
        {"command": "cross_validate", "request": after},
        {"command": "check", "request": {}, "python": "/nowhere/python"},
    ]
    file_store = {"MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true", "LAB_MLFLOW_PUBLIC_URL": "https://mlflow.example.com/"}
    ((right, mistake, failure, skipped, missing), buttons), output = worker(EXECUTE, str(ROOT / "dags"), json.dumps(cases), **file_store)
    assert right["result"]["document"]["name"] == "wine"
    assert "wine.yml is right: wine_cultivars:prepare, wine_cultivars:train, wine_cultivars:evaluate" in output
    assert mistake["kind"] == "AirflowFailException", "Airflow would try again"
    assert mistake["words"].startswith("Parameter experiment: '../x' is not a name;")
    assert failure == {"kind": "RuntimeError", "words": "steps.s: theirs:f() raised OSError: []"}, "Airflow tries again; its settings stay with it"
    assert re.search(r"(?i)error\W+steps\.s: theirs:f\(\) raised OSError: \[\]", output), "the sentence comes before Airflow's own traceback"
    page = re.fullmatch(r"https://mlflow\.example\.com/#/experiments/\d+/runs/[0-9a-f]{32}\?workflowType=machine_learning", buttons[2]["MLflow run"])
    assert page and page[0] in output, "a task that failed has the button of its run, too"
    assert buttons[0] == {"MLflow run": "", "Registered model": ""}, "no button"
    assert skipped == {"kind": "AirflowSkipException", "words": "The experiment has no section cross_validation."}
    assert missing["words"] == "/nowhere/python is not there; LAB_PROJECT_PYTHON names the interpreter of the project's environment."


def test_a_failed_task_is_logged_without_the_stack_of_its_operator(worker: Any) -> None:
    """By Airflow's own logging, which is set up before; what is no sentence of the lab's keeps its stack."""
    lines, _output = worker(LOGGED, str(ROOT / "dags"))
    (missing,), (unknown,), (broken,) = (line.get("exception") or line["error_detail"] for line in lines if line["event"] == "Task failed with exception")
    assert missing["exc_value"].startswith("/nowhere/python is not there;") and not missing["frames"]
    assert unknown["exc_value"].startswith("Trigger parameter 'gone' is unknown;") and not unknown["frames"]
    assert broken["exc_type"] == "RuntimeError" and [frame["name"] for frame in broken["frames"]][-1] == "execute"


PLACE = """
import json, sys
from types import SimpleNamespace
from airflow import settings
sys.path.insert(0, sys.argv[1])
import lab_operators
assert settings.task_instance_mutation_hook.is_noop is False
found = {}
for dag, conf in json.loads(sys.argv[2]):
    task = SimpleNamespace(dag_id=dag, task_id="search", queue="default")
    run = {"dag_run": SimpleNamespace(run_id="r", conf=conf)} if lab_operators.QUEUES_BY_RUN else {}
    settings.task_instance_mutation_hook(task, **run)
    found[json.dumps([dag, conf])] = task.queue
print(json.dumps([lab_operators.QUEUES_BY_RUN, list(found.values())]))
"""


def test_airflow_places_the_tasks_of_a_run_on_the_queue_that_it_names(worker: Any, airflow_python: Path, tmp_path: Path) -> None:
    (tmp_path / "airflow" / "config").mkdir(parents=True)
    settings = ROOT / "roles" / "airflow_stack" / "files" / "airflow_local_settings.py"
    (tmp_path / "airflow" / "config" / settings.name).write_text(settings.read_text())
    runs = [
        ("train", {"experiment": "wine_search", "overrides": {"queue": "gpu", "search.queue": "big"}}),
        ("train", {"experiment": "wine_search"}),
        ("train", {"experiment": "nothing of the kind"}),
        ("train", None),
        ("another", {"experiment": "wine_search", "overrides": {"queue": "gpu"}}),
    ]
    (by_run, found), _ = worker(PLACE, str(ROOT / "dags"), json.dumps(runs), AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"))
    assert by_run is ("airflow-3.1" not in str(airflow_python)), "3.1 does not say of which run a task is, and `check` refuses queues there"
    assert found == ["big" if by_run else "default", *["default"] * 4]


@pytest.mark.deep
@pytest.mark.parametrize("airflow_python", [NEWEST], indirect=True)
def test_a_whole_dag_run_ends_in_a_registered_model(airflow_python: Path, project_python: Path, mlflow_server: Any, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(mlflow_server.home),
        "MLFLOW_TRACKING_URI": mlflow_server.uri,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "LAB_EXPERIMENTS_DIR": str(ROOT / "experiments"),
        "LAB_RUNS_DIR": str(tmp_path / "runs"),
        "LAB_PROJECT_PYTHON": str(project_python),
        "LAB_OPTUNA_STORAGE_FILE": str(tmp_path / "optuna_url"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    (tmp_path / "optuna_url").write_text(f"sqlite:///{tmp_path}/optuna.db")

    def airflow(*arguments: str) -> str:
        done = subprocess.run([airflow_python, "-m", "airflow", *arguments], env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    airflow("db", "migrate")
    conf = {"experiment": "wine_search", "trials": 4, "inputs": {"test_share": 0.3}, "overrides": {"register.name": "found"}}
    output = airflow("dags", "test", "train", "-c", json.dumps(conf))
    assert "[track] the model is models:/found/" in output, output[-4000:]
    assert "searcher 2 of 2" in output and "; the best is trial " in output
    latest = mlflow_server.get("registered-models/get", name="found")["registered_model"]["latest_versions"][0]
    run = mlflow_server.get("runs/get", run_id=latest["run_id"])["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["status"] == "FINISHED"
    assert tags["airflow.dag_id"] == "train" and tags["airflow.run_id"].startswith("manual__")
    assert {"key": "search.trials", "value": "4"} in run["data"]["params"] and {"key": "inputs.test_share", "value": "0.3"} in run["data"]["params"]


def test_a_run_that_names_an_experiment_bears_its_name_however_it_was_triggered(worker: Any, tmp_path: Path) -> None:
    plugins = tmp_path / "airflow" / "plugins" / "lab"
    plugins.mkdir(parents=True)
    (plugins / "run_names.py").write_text((ROOT / "roles" / "airflow_stack" / "files" / "run_names.py").read_text())
    runs = [{"experiment": "churn"}, {"experiment": "churn", "note": "for the board"}, {"experiment": 7}, {"model_uri": "models:/churn/1"}, None]
    runs.append({"trained": ["wine", "churn", "wine"]})
    found, words = worker(NOTES, json.dumps(runs), AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{tmp_path}/airflow.db")
    assert [note for _, note in found] == ["Experiment churn", "for the board", None, None, None, "Experiments churn, wine"], words
    assert {state for state, _ in found} == {"running"}
    (plugins / "run_names.py").write_text((plugins / "run_names.py").read_text().replace("words[:1000]", "[]"))
    found, words = worker(NOTES, json.dumps(runs[:1]), AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{tmp_path}/other.db")
    assert found == [["running", None]] and "Error while calling listener" in words, "a run starts without its note when that cannot be written"


def test_a_run_that_is_triggered_without_an_id_gets_one_with_the_name_of_its_experiment(worker: Any, tmp_path: Path) -> None:
    """By what stands before the api-server, found as Airflow finds it."""
    plugins = tmp_path / "airflow" / "plugins" / "lab"
    plugins.mkdir(parents=True)
    (plugins / "run_names.py").write_text((ROOT / "roles" / "airflow_stack" / "files" / "run_names.py").read_text())
    form = {"conf": {"experiment": "churn", "inputs": {"city": "Köln"}}, "dag_run_id": None, "logical_date": None, "note": ""}
    text = json.dumps(form)
    left = [{**form, "dag_run_id": "mine"}, {**form, "conf": {"experiment": "../x"}}, {**form, "conf": {"experiment": 7}}, {**form, "conf": None}, [form], {}]
    bodies = [text, json.dumps({**form, "dag_run_id": ""}), *(json.dumps(one) for one in left), "no JSON", ""]
    asked = [("/api/v2/dags/train/dagRuns", [body]) for body in bodies]
    asked += [("/api/v2/dags/train/dagRuns", [text[:30], text[30:]]), ("/api/v2/dags/train/dagRuns/list", [text])]
    found, _ = worker(TRIGGERS, json.dumps(asked))
    made = [json.loads(found.pop(number)) for number in (-2, 1, 0)]
    assert all(re.fullmatch(r"churn-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}", one.pop("dag_run_id")) for one in made), made
    assert made == [{key: value for key, value in form.items() if key != "dag_run_id"}] * 3, "all else is as it was given"
    assert found == [*(json.dumps(one) for one in left), "no JSON", "", text], "Airflow judges these"
