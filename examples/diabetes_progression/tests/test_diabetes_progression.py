"""Tests of the project."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from sklearn.metrics import r2_score

from diabetes_progression.data import export, load, split
from diabetes_progression.fit import fit


@pytest.fixture
def tables(tmp_path: Path) -> tuple[str, str]:
    """Paths of a table to train on and one to test on."""
    everything, train, test = (str(tmp_path / f"{name}.csv") for name in ("all", "train", "test"))
    export(everything)
    split(everything, train, test, share=0.25)
    return train, test


def test_every_patient_is_in_one_of_two_tables(tables: tuple[str, str]) -> None:
    features, progression = zip(*(load(table) for table in tables), strict=True)
    assert [table.shape for table in features] == [(331, 10), (111, 10)]
    assert all(25 <= value <= 346 for table in progression for value in table)


def test_the_model_is_in_mlflow_and_explains_half_of_the_variance(tables: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts what it keeps
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fit(tables[0], uri, alpha=0.1)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("diabetes-progression")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.data.metrics["train_rmse"] < 60
    model = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    features, progression = load(tables[1])
    assert r2_score(progression, model.predict(features)) > 0.3
