"""The other shipped experiments run for real: a search whose best model is registered, and a package that keeps its models in MLflow by itself."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_training import Lab

ROOT = Path(__file__).resolve().parents[2]
DIABETES = ROOT / "examples" / "diabetes_progression"


@pytest.fixture
def lab(project_python: Path, mlflow_server: Any, tmp_path: Path) -> Lab:
    """The project's interpreter, an MLflow server and a scratch folder."""
    return Lab(project_python, mlflow_server, tmp_path)


def trained(lab: Lab, name: str, **params: Any) -> tuple[dict[str, Any], str]:
    """Run a shipped experiment from ``check`` to ``train``, as the DAG does; returns its result and its output."""
    (lab.folder / "optuna_url").write_text(f"sqlite:///{lab.folder}/optuna.db")
    more = {"PYTHONPATH": str(DIABETES / "src"), "LAB_OPTUNA_STORAGE_FILE": str(lab.folder / "optuna_url")}
    asked = {"experiment": name, "experiments_dir": str(ROOT / "experiments"), "params": json.dumps(params)}
    code, answer, output = lab.do("check", asked, **more)
    assert code == 0, output
    code, answer, output = lab.run(answer["result"]["document"], "manual__1", **more)
    assert code == 0, output
    return answer["result"], output


def runs(lab: Lab, experiment: str) -> list[dict[str, Any]]:
    """The runs in an MLflow experiment."""
    found = lab.mlflow.get("experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    return list(lab.mlflow.post("runs/search", experiment_ids=[found], max_results=500)["runs"])


@pytest.mark.deep
def test_the_search_registers_its_best_model_as_champion_and_asks_for_its_deployment(lab: Lab) -> None:
    result, output = trained(lab, "wine_search", trials=3, inputs={"seed": 11})
    assert "3 complete" in output
    assert set(result["params"]) in ({"kind", "trees", "max_depth"}, {"kind", "cost"})
    assert result["metrics"]["accuracy"] > 0.9
    assert result["champion"]["promoted"] is True
    assert result["deploy"] == {"target": "endpoint", "options": {}, "when": "always"}
    version = lab.mlflow.get("registered-models/alias", name="wine-search", alias="champion")["model_version"]["version"]
    assert result["model_uri"] == f"models:/wine-search/{version}"
    assert set(lab.load({"best": result["model_uri"]})["best"]["predicted"]) <= {"class_0", "class_1", "class_2"}


@pytest.mark.deep
def test_a_package_that_keeps_its_models_in_mlflow_is_run_unchanged_and_its_run_is_attached(lab: Lab) -> None:
    result, _ = trained(lab, "diabetes", inputs={"alpha": 0.2})
    assert result["metrics"]["r2"] > 0.3
    [run] = runs(lab, "diabetes-progression")
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["mlflow.parentRunId"] == result["mlflow_run_id"]
    assert {item["key"]: item["value"] for item in run["data"]["params"]} == {"alpha": "0.2", "l1_ratio": "0.5"}
    version = lab.mlflow.get("model-versions/get", name="diabetes-progression", version=str(result["version"]))["model_version"]
    assert version["run_id"] == run["info"]["run_id"], "what is registered is the package's own model"
    model = lab.load({"theirs": result["model_uri"]})["theirs"]
    assert (model["rows"], len(model["inputs"])) == (3, 10)


@pytest.mark.deep
def test_that_package_knows_nothing_of_the_lab_and_passes_its_own_tests(lab: Lab) -> None:
    for path in DIABETES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] in ("airflow", "ansible", "lab_experiment", "lab_deployment")], path
    options: list[str | Path] = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", DIABETES / "pyproject.toml", DIABETES / "tests"]
    command: list[str | Path] = [lab.python, "-m", "pytest", *options]
    environment = lab.environment(PYTHONPATH=str(DIABETES / "src"))
    done = subprocess.run(command, cwd=lab.folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
