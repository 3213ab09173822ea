"""The DAG ``deploy`` in a real Airflow, each supported version in turn: its form, what trained models start, and a whole run."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEWEST
from tests.unit import test_dags as dags
from tests.unit import test_deployment as deployments

ROOT = Path(__file__).resolve().parents[2]
worker, bag, models = dags.worker, dags.bag, deployments.models  # fixtures

EVENTS = """
import json, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from lab_deployment import operators
operators.DeploymentOperator.__bases__[0].execute = lambda self, context: self.request["wanted"]  # what the project's interpreter would be asked
answers = []
for extras in json.loads(sys.argv[2]):
    context = {"triggering_asset_events": {"trained_model": [SimpleNamespace(extra=extra) for extra in extras]}, "params": {}}
    try:
        answers.append({"wanted": operators.CheckOperator(task_id="check").execute(context)})
    except Exception as error:
        answers.append({"kind": type(error).__name__, "words": str(error)})
print(json.dumps(answers))
"""


def test_the_deployment_is_good_to_use_from_the_form_and_the_api(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {} and bag["seconds"] < 2
    assert not {"pandas", "numpy", "mlflow"} & set(bag["imported"])
    dag = bag["dags"]["deploy"]
    assert dag["doc"] and dag["tags"] == ["deployment", "lab"] and dag["paused"] is False
    assert "trained_model" in str(dag["schedule"])
    assert list(dag["params"]) == ["model_uri", "target", "target_options"]
    assert all(parameter["description"] or parameter["schema"].get("description_md") for parameter in dag["params"].values())
    assert dag["params"]["target"]["schema"]["enum"] == ["endpoint", "object_store", "batch"]
    told = dag["params"]["target_options"]["schema"]["description_md"]
    assert all(f"`{option}`" in told for option in ("name", "wait", "url", "connection", "keep", "input", "output", "columns"))
    order = {name: set(task["after"]) for name, task in dag["tasks"].items()}
    assert {"check"} <= order["deployment.fetch"] and {"deployment.fetch"} <= order["deployment.deploy"] and {"deployment.deploy"} <= order["deployment.record"]
    assert all(task["retries"] and task["timeout"] for task in dag["tasks"].values())


def test_a_trained_model_is_deployed_as_its_experiment_says_or_the_run_is_skipped(worker: Any) -> None:
    def trained(version: int, **deploy: Any) -> dict[str, Any]:
        return {"model_uri": f"models:/wine/{version}", "experiment": "wine", "deploy": deploy or None}

    cases = [
        [trained(1), {**trained(1, target="endpoint"), "model_uri": None}],
        [trained(2, target="endpoint", options={})],
        [trained(3, target="endpoint"), trained(4, target="endpoint"), trained(5, target="batch", options={"input": "/x.csv"})],
    ]
    (skipped, one, several), _ = worker(EVENTS, str(ROOT / "dags"), json.dumps(cases))
    assert skipped == {"kind": "AirflowSkipException", "words": "Nothing is to be deployed: the experiment file of wine has no deploy, or trained no model."}
    assert one["wanted"] == [{"model_uri": "models:/wine/2", "target": "endpoint", "target_options": {}}]
    assert [(wanted["model_uri"], wanted["target"]) for wanted in several["wanted"]] == [("models:/wine/4", "endpoint"), ("models:/wine/5", "batch")]


PARAMETERS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from airflow.sdk.definitions.param import process_params
from lab_deployment import operators
import deploy
operators.DeploymentOperator.__bases__[0].execute = lambda self, context: self.request["wanted"]
answers = []
for conf in json.loads(sys.argv[2]):
    params = process_params(deploy.check.dag, deploy.check, conf, suppress_exception=False)  # what Airflow makes of a trigger
    try:
        answers.append({"wanted": operators.CheckOperator(task_id="check").execute({"params": params})})
    except Exception as error:
        answers.append({"kind": type(error).__name__, "words": str(error)})
print(json.dumps(answers))
"""


def test_what_a_trigger_sets_by_another_name_is_refused(worker: Any) -> None:
    right = {"model_uri": "models:/wine/3", "target": "endpoint", "target_options": {}}
    wrong = {"model_uri": "models:/wine/3", "target_option": {"name": "x"}, "Target": "batch"}
    (whole, default, refused), _ = worker(PARAMETERS, str(ROOT / "dags"), json.dumps([right, {"model_uri": "models:/wine/3"}, wrong]))
    assert whole["wanted"] == default["wanted"] == [right]
    assert refused["kind"] == "AirflowFailException"
    assert refused["words"].splitlines() == [
        "Trigger parameter 'Target' is unknown; allowed: model_uri, target, target_options.",
        "Trigger parameter 'target_option' is unknown; allowed: model_uri, target, target_options.",
    ]


@pytest.mark.deep
@pytest.mark.parametrize("airflow_python", [NEWEST], indirect=True)
def test_a_whole_run_deploys_and_records(airflow_python: Path, project_python: Path, mlflow_server: Any, models: dict[str, list[str]], tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(mlflow_server.home),
        "MLFLOW_TRACKING_URI": mlflow_server.uri,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "LAB_EXPERIMENTS_DIR": str(ROOT / "experiments"),
        "LAB_RUNS_DIR": str(tmp_path / "runs"),
        "LAB_OUTPUT_DIR": str(tmp_path / "store"),
        "LAB_PROJECT_PYTHON": str(project_python),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def airflow(*arguments: str) -> str:
        done = subprocess.run([airflow_python, "-m", "airflow", *arguments], env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    airflow("db", "migrate")
    conf = {"model_uri": "models:/plain@champion", "target": "object_store", "target_options": {"url": f"file://{tmp_path}/store"}}
    output = airflow("dags", "test", "deploy", "-c", json.dumps(conf))
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["model"] == "models:/plain/2" and manifest["deployed_by"].startswith("deploy/manual__"), output[-4000:]
    version = mlflow_server.get("model-versions/get", name="plain", version="2")["model_version"]
    recorded = json.loads({tag["key"]: tag["value"] for tag in version["tags"]}["lab.deployed.object_store"])
    assert (recorded["digest"], recorded["by"]) == (manifest["digest"], manifest["deployed_by"])
    assert recorded["where"] == f"file://{tmp_path}/store/{manifest['path']}" and recorded["log"].startswith("http")
    aliases = {alias["alias"]: alias["version"] for alias in mlflow_server.get("registered-models/get", name="plain")["registered_model"]["aliases"]}
    assert aliases["object_store"] == "2"
    with sqlite3.connect(tmp_path / "airflow" / "airflow.db") as database:
        titles = dict(database.execute("SELECT task_id, rendered_map_index FROM task_instance WHERE map_index = 0"))
    assert titles["deployment.deploy"] == "plain 2 to object_store"
