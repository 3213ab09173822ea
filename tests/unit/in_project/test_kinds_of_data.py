"""Data of every kind that scikit-learn takes as X: trained, recorded with an input example, and scored; or told in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
import numpy as np
import pandas as pd
import pytest
import scipy.sparse  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from lab_deployment import scoring
from lab_experiment import examples, run
from lab_experiment.failures import Failure
from lab_experiment.job import Job

Y = [0, 1] * 20
TEXTS = [f"{'good wine' if label else 'sour grape'} number {number}" for number, label in enumerate(Y)]
NUMBERS = np.arange(40.0)
GAPS = [None if number == 33 else number for number in range(40)]  # none of them in the first rows
FRAMES = {
    "nullable": pd.DataFrame({"a": pd.array(range(40), dtype="Int64"), "b": pd.array([True, False] * 20, dtype="boolean")}),
    "gaps": pd.DataFrame({"a": pd.array(GAPS, dtype="Int64"), "b": pd.array(NUMBERS, dtype="Float64")}),
    "category": pd.DataFrame({"a": pd.Series([1, 2] * 20, dtype="category"), "b": NUMBERS}),
    "sparse columns": pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(np.eye(40))).rename(columns=str),
    "one column": pd.DataFrame({"a": NUMBERS}),
}
ARRAYS = {
    "sparse": TfidfVectorizer().fit_transform(TEXTS),
    "sparse by coordinates": scipy.sparse.coo_matrix(np.eye(40)),
    "objects": np.array([[number, 1.0] for number in range(40)], dtype=object),
    "lists": [[number, number * 2] for number in range(40)],
    "one column": NUMBERS.reshape(-1, 1),
}
WORDS = {"list of texts": TEXTS, "series of texts": pd.Series(TEXTS), "array of texts": np.array(TEXTS), "objects of texts": np.array(TEXTS, dtype=object)}
CASES: dict[str, tuple[Any, Callable[[], Any]]] = {
    **{f"frame {name}": (frame, lambda: DecisionTreeClassifier(max_depth=3)) for name, frame in FRAMES.items()},
    **{f"array {name}": (array, lambda: DecisionTreeClassifier(max_depth=3)) for name, array in ARRAYS.items()},
    **{name: (texts, lambda: make_pipeline(TfidfVectorizer(), LogisticRegression())) for name, texts in WORDS.items()},
}

Make = Callable[..., Job]

FOLDS: dict[str, Any] = {"estimator": {"call": "theirs:make", "with": {}}, "data": {"call": "theirs:read", "with": {}}, "splitter": None, "scoring": []}
FITTED: dict[str, Any] = {"call": None, "with": {}, "input_example": None, "evaluate": None}


def rows(x: Any, count: int = 5) -> Any:
    """The first rows as they are."""
    return x.tocsr()[:count] if scipy.sparse.issparse(x) else x[:count]


@pytest.mark.parametrize("name", CASES)
def test_rows_are_brought_into_a_form_that_mlflow_describes_and_the_model_takes(name: str) -> None:
    x, make = CASES[name]
    model = make().fit(x.tocsr() if scipy.sparse.issparse(x) else x, Y)
    example = examples.rows_of(x, 5)
    examples.check(model, x.tocsr() if scipy.sparse.issparse(x) else x, example)
    assert "Any" not in str(examples.describe(example).inputs), "MLflow's word for what it has no type for"
    assert list(model.predict(example)) == list(model.predict(rows(x)))


@pytest.mark.parametrize("name", ["array sparse", "frame gaps", "list of texts"])
def test_a_model_of_such_data_is_trained_and_proven_by_its_example(theirs: Make, tmp_path: Path, name: str) -> None:
    x, make = CASES[name]
    held_back = {"call": None, "with": {}, "plots": [], "data": FOLDS["data"], "scoring": []}
    one = theirs({"make": make, "read": lambda: (x, Y)}, {**FITTED, "evaluate": held_back}, FOLDS, deploy={"target": "batch", "options": {}})
    outcome = run.train(one)["result"]
    folder = mlflow.artifacts.download_artifacts(outcome["model_uri"], dst_path=str(tmp_path / "model"))
    scoring.predict(folder, str(tmp_path / "answer.json"))  # what a deployment begins with
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["predictions"] == [int(value) for value in mlflow.sklearn.load_model(outcome["model_uri"]).predict(rows(x))]
    sent = json.loads(answer["serving_input"])
    received = pd.DataFrame(**sent["dataframe_split"]) if "dataframe_split" in sent else np.array(sent["inputs"])
    assert list(mlflow.pyfunc.load_model(outcome["model_uri"]).predict(received)) == answer["predictions"], "over HTTP it is the same"
    if name == "frame gaps":
        gap = pd.DataFrame({"a": [None], "b": [1.0]})
        assert len(mlflow.pyfunc.load_model(outcome["model_uri"]).predict(gap)) == 1, "a gap further down is no other type"


def test_what_mlflow_can_keep_no_rows_of_is_told_before_a_deployed_training_and_recorded_otherwise(theirs: Make, capsys: pytest.CaptureFixture[str]) -> None:
    wide = scipy.sparse.csr_matrix((np.ones(40), (range(40), range(0, 400000, 10000))), shape=(40, 400000))
    functions = {"make": lambda: LogisticRegression(max_iter=5), "read": lambda: (wide, Y)}
    with pytest.raises(Failure) as caught:
        run.train(theirs(functions, FITTED, FOLDS, deploy={"target": "batch", "options": {}}))
    assert str(caught.value).startswith("cross_validation.data returned X as a csr_matrix, and the model could not be deployed, for MLflow can keep no rows")
    assert "fitting" not in capsys.readouterr().out and caught.value.final
    assert run.train(theirs(functions, FITTED, FOLDS))["result"]["model_uri"]
    assert "the model is recorded without signature and input example, so it cannot be deployed" in capsys.readouterr().out


def test_rows_of_mixed_kinds_are_a_sentence() -> None:
    with pytest.raises(ValueError, match="rows of mixed kinds have no place in an array; allowed: a frame"):
        examples.rows_of(np.array([["a", 1]], dtype=object), 5)
