"""Models of classes that MLflow has no format for: recorded, registered, compared with the champion, and scored where there is no lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from lab_experiment import requirements, run
from lab_experiment.failures import Failure
from lab_experiment.job import Job

Make = Callable[..., Job]

FOLDS: dict[str, Any] = {"estimator": {"call": "theirs:make", "with": {}}, "data": {"call": "theirs:read", "with": {}}, "splitter": None, "scoring": []}
EVALUATE: dict[str, Any] = {"call": None, "with": {}, "plots": [], "data": {"call": "theirs:read", "with": {}}, "scoring": []}
FITTED: dict[str, Any] = {"call": None, "with": {}, "input_example": None, "evaluate": EVALUATE}
CHAMPION = {"description": "", "champion": {"metric": "accuracy", "direction": "maximize", "margin": 0}}


class Threshold:
    """An estimator that knows nothing of scikit-learn."""

    def __init__(self, at: float) -> None:
        self.at = at

    def fit(self, x: Any, y: Any) -> None:
        """Know the classes."""
        self.classes_ = np.unique(np.asarray(y))

    def predict(self, x: Any) -> Any:
        """The second class above the threshold."""
        return self.classes_[(np.asarray(x)[:, 0] > self.at).astype(int)]


def read() -> Any:
    """Two classes, one on each side of 19.5."""
    x = pd.DataFrame({"a": np.arange(40.0), "b": 0.0})
    return x, np.array(["low"] * 20 + ["high"] * 20)


SCORE = """
import json, sys, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(sys.argv[1]))
asked = json.load(open(mlflow.artifacts.download_artifacts(sys.argv[1]) + "/serving_input_example.json"))["dataframe_split"]
print(json.dumps([model.predict(example).tolist(), model.metadata.signature.inputs.input_names(), asked["columns"], "lab_experiment" in sys.modules]))
"""


def scored_elsewhere(uri: str) -> Any:
    """What a process without the lab and without the package says of a model."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", SCORE, uri], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_packages_own_estimator_is_served_and_compared_like_any_other(theirs: Make, tmp_path: Path) -> None:
    def registered(at: float, name: str) -> dict[str, Any]:
        functions = {"make": lambda: Threshold(at), "read": read}
        done = run.train(theirs(functions, FITTED, FOLDS, register={"name": name, **CHAMPION}, deploy={"target": "endpoint", "options": {}}))
        return dict(done["result"])

    name = f"own-{uuid.uuid4().hex[:8]}"
    first = registered(10.0, name)
    assert first["champion"]["promoted"] and json.loads(first["example"])["dataframe_split"]["columns"] == ["a", "b"]
    assert scored_elsewhere(first["model_uri"]) == [["high"] * 5, ["a", "b"], ["a", "b"], False], "numpy sorts the classes"
    pinned = Path(mlflow.artifacts.download_artifacts(f"{first['model_uri']}/requirements.txt")).read_text().split()
    assert any(line.startswith("numpy==") for line in pinned)
    second = registered(19.5, name)
    assert second["champion"]["former_value"] == first["metrics"]["accuracy"], "the champion is measured as the object that the package made"


class Likely:
    """An estimator that gives probabilities and nothing else."""

    def fit(self, x: Any, y: Any) -> None:
        """Know the classes."""
        self.classes_ = np.unique(np.asarray(y))

    def predict_proba(self, x: Any) -> Any:
        """Of the first class, and of the second."""
        first = np.where(np.asarray(x)[:, 0] > 19.5, 0.9, 0.1)
        return np.column_stack([first, 1 - first])


@pytest.mark.parametrize(("make", "expected"), [(lambda: Likely(), [0.1, 0.9]), (lambda: DecisionTreeClassifier(), [0.0, 1.0])], ids=["own", "sklearn"])
def test_a_model_answers_with_the_probabilities_of_its_classes(theirs: Make, make: Any, expected: list[float]) -> None:
    def registered() -> dict[str, Any]:
        more = {"register": {"name": name, **CHAMPION}, "deploy": {"target": "endpoint", "options": {}}}
        return dict(run.train(theirs({"make": make, "read": read}, {**FITTED, "predict": "predict_proba"}, FOLDS, **more))["result"])

    name = f"likely-{uuid.uuid4().hex[:8]}"
    first = registered()
    assert first["champion"]["promoted"] and first["metrics"] == {"accuracy": 1.0}
    [answers, *_] = scored_elsewhere(first["model_uri"])
    assert np.allclose(answers, [expected] * 5)
    assert registered()["champion"]["former_value"] == 1.0


def test_a_model_without_the_method_that_is_to_answer_is_a_sentence(theirs: Make) -> None:
    train = {**FITTED, "predict": "predict_proba"}
    one = theirs({"make": lambda: Threshold(1.0), "read": read}, train, FOLDS)
    for ask in (lambda: run.train(one), lambda: one.package.ask("folds", params={})):
        with pytest.raises(Failure, match=r"Threshold has no predict_proba; allowed: an object with fit\(X, y\) and predict_proba\(X\)") as caught:
            ask()
        assert caught.value.final
    with pytest.raises(Failure, match=r"Threshold, which has no predict_proba; allowed is a model with predict_proba "):
        run.train(theirs({"train": lambda: Threshold(1.0), "read": read}, {**train, "call": "theirs:train"}))


def test_what_keras_computes_with_is_among_the_requirements_of_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layers:
        """Stands for a model of Keras, which nobody has here."""

    Layers.__module__, Layers.__qualname__ = "keras", "Layers"
    keras = types.ModuleType("keras")
    vars(keras).update(Layers=Layers, backend=types.SimpleNamespace(backend=lambda: "optuna"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    assert any(line.startswith("optuna==") for line in requirements.of_model(Layers()))


def test_what_the_classes_of_a_model_are_derived_from_is_among_its_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base:
        """Stands for scikit-learn's, from which XGBoost derives its own classes, and which it does not demand."""

    class Boosted(Base):
        """Stands for a class of XGBoost."""

    Base.__module__, Boosted.__module__, Boosted.__qualname__ = "optuna.base", "boosted", "Boosted"
    boosted = types.ModuleType("boosted")
    vars(boosted).update(Boosted=Boosted)
    monkeypatch.setitem(sys.modules, "boosted", boosted)
    assert any(line.startswith("optuna==") for line in requirements.of_model(Boosted()))


def test_a_scaler_that_was_returned_beside_a_model_is_named_as_left_out(theirs: Make, capfd: pytest.CaptureFixture[str]) -> None:
    def train() -> Any:
        from sklearn.preprocessing import StandardScaler

        x, y = read()
        model = Threshold(0.0)
        model.fit(x, y)
        return model, StandardScaler().fit(x)

    called = {**FITTED, "call": "theirs:train", "evaluate": None}
    found = run.train(theirs({"train": train, "read": read}, called, register={"name": "scaled", "description": "", "champion": None}))["result"]
    assert mlflow.get_run(found["mlflow_run_id"]).data.tags["lab.left_out"] == "1 (sklearn.preprocessing._data.StandardScaler)"
    assert "[train] WARNING: the model is kept without 1 (sklearn.preprocessing._data.StandardScaler), so where it is served" in capfd.readouterr().out


class Unfinished:
    """What only learns."""

    def fit(self, x: Any, y: Any) -> None:
        """Learn."""


class Locked(Threshold):
    """What holds something that nobody can keep."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.lines = (line for line in "")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Unfinished, "Unfinished has no predict; allowed: an object with fit(X, y) and predict(X)"),
        (object, "cross_validation.estimator: a builtins.object has no fit; allowed: an object with fit(X, y) and predict(X)"),
        (Locked, "Locked that was trained (TypeError: cannot pickle 'generator' object); allowed: a model that can be pickled"),
    ],
)
def test_what_is_no_estimator_is_a_sentence(theirs: Make, made: Any, words: str) -> None:
    one = theirs({"make": lambda: made(), "read": read}, {**FITTED, "evaluate": None}, FOLDS)
    with pytest.raises(Failure) as caught:
        run.train(one)
    assert words in str(caught.value) and caught.value.final
    if made is not Locked:
        with pytest.raises(Failure) as caught:
            one.package.ask("folds", params={})
        assert words in str(caught.value), "in the first fold"
