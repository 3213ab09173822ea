"""Models of LightGBM and XGBoost of every kind, and data of Polars without pyarrow: recorded so that they can be served, and scored."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm  # type: ignore[import-not-found, unused-ignore]
import mlflow
import mlflow.artifacts
import numpy as np
import pandas as pd
import polars  # type: ignore[import-not-found, unused-ignore]
import pytest
import xgboost  # type: ignore[import-not-found, unused-ignore]
from sklearn.tree import DecisionTreeClassifier

from lab_deployment import scoring
from lab_experiment import champion, cross_validation, examples, run, tracking
from lab_experiment.job import Job

Make = Callable[..., Job]

X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=["a", "b", "c"])
Y = (X["a"] + X["b"] > 0).astype(int)

FOLDS: dict[str, Any] = {"estimator": {"call": "theirs:make", "with": {}}, "data": {"call": "theirs:read", "with": {}}, "splitter": None, "scoring": []}
EVALUATE: dict[str, Any] = {"call": None, "with": {}, "plots": [], "data": {"call": "theirs:read", "with": {}}, "scoring": []}
TRAINED: dict[str, Any] = {"call": "theirs:train", "with": {}, "input_example": "{{ inputs.table }}", "evaluate": EVALUATE}


class Own(lightgbm.LGBMRegressor):
    """A class of a package."""


MODELS: dict[str, Callable[[], Any]] = {
    "classifier of XGBoost": lambda: xgboost.XGBClassifier(n_estimators=3).fit(X, Y),
    "regressor of XGBoost": lambda: xgboost.XGBRegressor(n_estimators=3).fit(X, X["c"]),
    "classifier of LightGBM": lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, Y),
    "regressor of LightGBM": lambda: lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, X["c"]),
    "ranker of LightGBM": lambda: lightgbm.LGBMRanker(n_estimators=3, verbose=-1).fit(X, Y, group=[40, 40]),
    "class derived from LightGBM's": lambda: Own(n_estimators=3, verbose=-1).fit(X, X["c"]),
}
BOOSTERS: dict[str, Callable[[], Any]] = {
    "booster of XGBoost": lambda: xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, X["c"]), 3),
    "booster of LightGBM": lambda: lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, X["c"]), 3),
}


@pytest.mark.parametrize("name", [*MODELS, *BOOSTERS])
def test_a_model_is_recorded_with_all_that_it_needs_where_it_is_served(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {**MODELS, **BOOSTERS}[name]()
    example = tracking.example_of(X, model)
    flavor = tracking.save_model(tmp_path / "model", model, example)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    matrix = xgboost.DMatrix(example) if isinstance(model, xgboost.Booster) else example
    assert list(loaded.predict(example)) == list(model.predict(matrix))
    assert loaded.metadata.signature.inputs.input_names() == ["a", "b", "c"] and loaded.metadata.signature.outputs
    asked = {line.partition("==")[0] for line in (tmp_path / "model" / "requirements.txt").read_text().splitlines()}
    assert ("scikit-learn" in asked) == (name in MODELS), "XGBoost and LightGBM themselves do without it"
    assert ("skops" in asked) == (name in MODELS and flavor == "mlflow.lightgbm")
    assert "[track]" not in capsys.readouterr().out, "nothing is missing"


@pytest.mark.parametrize("name", ["classifier of XGBoost", "classifier of LightGBM"])
def test_a_classifier_answers_with_probabilities(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    example = tracking.example_of(X, model, "predict_proba")
    tracking.save_model(tmp_path / "model", model, example, "predict_proba")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert np.allclose(loaded.predict(example), model.predict_proba(example)) and loaded.predict(example).shape == (5, 2)
    assert any(line.startswith("scikit-learn==") for line in (tmp_path / "model" / "requirements.txt").read_text().splitlines())
    assert type(champion.load(str(tmp_path / "model"))) is type(model)


def test_a_booster_is_trained_evaluated_and_proven_by_its_example(theirs: Make, tmp_path: Path) -> None:
    x, y = X, X["a"] + X["b"]
    functions = {"train": lambda: xgboost.train({"max_depth": 4}, xgboost.DMatrix(x, y), 20), "read": lambda: (x, y)}
    table = tmp_path / "rows.csv"
    x.to_csv(table, index=False)
    one = theirs(functions, TRAINED, inputs={"table": str(table)}, deploy={"target": "batch", "options": {}})
    outcome = run.train(one)["result"]
    assert outcome["metrics"]["r2"] > 0.8
    assert outcome["plots"] == (["plots/residuals.png"] if importlib.util.find_spec("matplotlib") else [])
    folder = mlflow.artifacts.download_artifacts(outcome["model_uri"], dst_path=str(tmp_path / "model"))
    scoring.predict(folder, str(tmp_path / "answer.json"))
    assert len(json.loads((tmp_path / "answer.json").read_text())["predictions"]) == 5


THREE = (X["a"] * 3).clip(-1, 1).round().astype(int) + 1
PROBABLE: dict[str, tuple[Callable[[], Any], Any, list[str]]] = {
    "XGBoost, two classes": (lambda: xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 9), Y, ["accuracy", "roc_auc", "neg_log_loss"]),
    "XGBoost, three classes": (
        lambda: xgboost.train({"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(X, THREE), 9),
        THREE,
        ["accuracy", "roc_auc_ovr"],
    ),
    "XGBoost, classes themselves": (
        lambda: xgboost.train({"objective": "multi:softmax", "num_class": 3}, xgboost.DMatrix(X, THREE), 9),
        THREE,
        ["accuracy", "f1_macro"],
    ),
    "LightGBM, two classes": (
        lambda: lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, Y), 9),
        Y.map({0: "no", 1: "yes"}),
        ["accuracy", "roc_auc", "neg_log_loss"],
    ),
    "LightGBM, three classes": (
        lambda: lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(X, THREE), 9),
        THREE,
        ["accuracy", "roc_auc_ovr"],
    ),
}


@pytest.mark.parametrize("name", PROBABLE)
def test_a_booster_is_scored_as_the_classifier_that_it_is(name: str) -> None:
    make, y, scorers = PROBABLE[name]
    model = make()
    kind = cross_validation.kind_of(model, y)
    scores = cross_validation.score(cross_validation.as_sklearn(model, kind, y), X, y, scorers)
    assert scores["accuracy"] > 0.85 and all(value > -0.5 for value in scores.values())
    few = y.isin(sorted(set(y))[:2])
    assert cross_validation.score(cross_validation.as_sklearn(model, kind, y[few]), X[few], y[few], ["accuracy"])["accuracy"] > 0.85, "a class is missing"


def test_a_booster_of_few_whole_numbers_is_scored_by_them() -> None:
    y = pd.Series([1, 2, 3, 4] * 20)
    x = pd.DataFrame({"a": y + 0.25})
    model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(x, y), 40)
    assert cross_validation.score(cross_validation.as_sklearn(model, "classifier", y), x, y, ["r2"])["r2"] > 0.9


FRAME = {
    "whole": list(range(80)),
    "gaps": [None if number == 70 else number for number in range(80)],
    "truth": [None if number == 70 else bool(number % 2) for number in range(80)],
    "real": [number / 2 for number in range(80)],
}


def test_frames_of_polars_give_an_example_without_pyarrow() -> None:
    assert importlib.util.find_spec("pyarrow") is None, "this environment is to be without"
    words = {"word": ["a", "b"] * 40, "kind": ["x", "y"] * 40}
    table = polars.DataFrame({**FRAME, **words, "small": [1] * 80}, schema_overrides={"kind": polars.Categorical, "small": polars.Int8})
    rows = examples.rows_of(table, 5)
    as_pandas = examples.rows_of(pd.DataFrame({**FRAME, **words}), 5)
    for name in as_pandas:
        assert list(rows[name]) == list(as_pandas[name]), name
    assert [str(rows[name].dtype) for name in ("whole", "gaps", "truth", "real", "small")] == ["int64", "float64", "object", "float64", "int8"]
    assert "Any" not in str(examples.describe(rows).inputs)
    assert list(examples.rows_of(table["word"], 3)) == ["a", "b", "a"]


def test_a_model_of_such_data_is_trained_and_proven_by_its_example(theirs: Make, tmp_path: Path) -> None:
    table = polars.DataFrame({"whole": FRAME["whole"], "real": FRAME["real"]})
    functions = {"make": lambda: DecisionTreeClassifier(max_depth=3), "read": lambda: (table, [0, 1] * 40)}
    one = theirs(functions, {**TRAINED, "call": None, "input_example": None}, FOLDS, deploy={"target": "batch", "options": {}})
    outcome = run.train(one)["result"]
    folder = mlflow.artifacts.download_artifacts(outcome["model_uri"], dst_path=str(tmp_path / "model"))
    scoring.predict(folder, str(tmp_path / "answer.json"))
    assert len(json.loads((tmp_path / "answer.json").read_text())["predictions"]) == 5
