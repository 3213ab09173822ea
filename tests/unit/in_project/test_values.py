"""What a package returns, and data of every kind that scikit-learn takes: recorded in MLflow, or told in a sentence; never registered twice."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

from lab_experiment import cross_validation, pages, results, run, storable, tracking
from lab_experiment.__main__ import main
from lab_experiment.failures import Failure, Stopped
from lab_experiment.job import Job

NUMBERS = np.arange(40.0)

Make = Callable[..., Job]


FOLDS: dict[str, Any] = {"estimator": {"call": "theirs:make", "with": {}}, "data": {"call": "theirs:read", "with": {}}, "splitter": None, "scoring": []}
FITTED: dict[str, Any] = {"call": None, "with": {}, "input_example": None, "evaluate": None}


def evaluated(result: Any) -> dict[str, Any]:
    """Functions of a package whose evaluation returns this."""
    return {"train": lambda: DecisionTreeClassifier().fit([[0], [1]], [0, 1]), "score": lambda model: result}


TRAINED: dict[str, Any] = {
    "call": "theirs:train",
    "with": {},
    "input_example": None,
    "evaluate": {"call": "theirs:score", "with": {"model": "{{ model }}"}, "plots": [], "data": None},
}


def test_metrics_that_are_no_numbers_or_have_strange_names_are_recorded_as_mlflow_can(theirs: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = {
        "auc": float("nan"), "worst": -math.inf, "recall@10": np.float32(0.5), "recall_10": 1, "f1,macro": Decimal("0.25"), "top-5 (%)": np.array(3),
        "nested": {"a": {"b": True}, "x": float("nan")}, "a.b": 1, "a": {"b": 2}, "": 3, "huge": 10**400, 5: 5,
    }  # fmt: skip
    one = theirs(evaluated(result), TRAINED, register={"name": "valued", "description": "", "champion": None})
    outcome = run.train(one)["result"]
    assert outcome["version"]
    metrics = outcome["metrics"]
    assert (metrics["recall_10_2"], metrics["recall_10"], metrics["f1_macro"], metrics["top-5"], metrics["nested.a.b"], metrics["5"]) == (0.5, 1, 0.25, 3, 1, 5)
    assert sorted(value for name, value in metrics.items() if name.startswith("a.b")) == [1, 2], "no metric takes the place of another"
    recorded = mlflow.get_run(one.run["mlflow_run_id"]).data.metrics
    assert set(recorded) == set(metrics) and math.isnan(recorded["auc"])
    said = capsys.readouterr().out
    assert "MLflow takes no metric named 'f1,macro'; it is recorded as 'f1_macro'" in said
    assert "auc, worst, nested.x, huge: no finite number, so it is null in the result of this task" in said
    assert json.loads(json.dumps(storable.plain(outcome), allow_nan=False))["metrics"]["auc"] is None


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"a": "0.5"}, "returned '0.5' as metric 'a'; allowed is a number"),
        ({"a": datetime.date(2026, 1, 1)}, "as metric 'a'; allowed is a number"),
        ({"a": None}, "returned None as metric 'a'; allowed is a number"),
        ({"a": {"b": [1]}}, "returned [1] as metric 'a.b'; allowed is a number"),
        ([1], "returned a list; allowed is a number, or a mapping (a dataclass, a NamedTuple) of metric names to numbers"),
        ({"b": 1}, "register.champion.metric has 'auc'; the evaluation gave b"),
    ],
)
def test_what_is_no_metric_is_a_sentence_before_anything_is_registered(theirs: Make, result: Any, words: str) -> None:
    one = theirs(
        evaluated(result), TRAINED, register={"name": "unvalued", "description": "", "champion": {"metric": "auc", "direction": "maximize", "margin": 0}}
    )
    with pytest.raises(Failure) as caught:
        run.train(one)
    assert words in str(caught.value) and caught.value.final, "trying again would only train again"
    assert not mlflow.MlflowClient().search_model_versions("name = 'unvalued'")


def test_a_training_may_return_numbers_beside_its_model_and_an_evaluation_one_number(theirs: Make) -> None:
    champion = {"metric": "score", "direction": "maximize", "margin": 0}
    functions = {"train": lambda: (DecisionTreeClassifier().fit([[0], [1]], [0, 1]), {"loss": 0.25, "score": 7}), "score": lambda model: 0.5}
    one = theirs(functions, TRAINED, register={"name": "beside", "description": "", "champion": champion})
    outcome = run.train(one)["result"]
    assert outcome["champion"]["value"] == 0.5 and outcome["metrics"] == {"score": 0.5, "loss": 0.25}, "the evaluation counts"
    assert mlflow.get_run(one.run["mlflow_run_id"]).data.metrics == outcome["metrics"]


def test_metrics_that_hold_themselves_are_a_sentence() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(Failure, match="returned a mapping of metrics that cannot be read: it holds itself"):
        results.metrics_of("theirs:score", circle)


def test_a_training_is_recorded_and_registered_once_however_often_it_is_tried(
    theirs: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = theirs(
        evaluated({"auc": float("nan"), "f1,macro": 0.5}),
        TRAINED,
        register={"name": "once", "description": "", "champion": {"metric": "f1,macro", "direction": "maximize", "margin": 0}},
    )

    def killed(*_: Any) -> None:
        raise Stopped(143)

    with monkeypatch.context() as patched:  # between registration and end
        patched.setattr(mlflow.MlflowClient, "update_model_version", killed)
        with pytest.raises(Stopped):
            run.train(one)
    one.package.close()  # a try is a process of its own
    first = run.train(one)["result"]
    said = capsys.readouterr().out
    assert "is not trained again" in said
    again = run.train(one)["result"]
    assert first["metrics"]["f1_macro"] == again["metrics"]["f1_macro"] == 0.5 and first["champion"]["promoted"]
    assert (first["version"], first["model_id"]) == (again["version"], again["model_id"])
    assert (said + capsys.readouterr().out).count("[train] theirs:train(") == 1
    [version] = mlflow.MlflowClient().search_model_versions("name = 'once'")
    assert int(version.version) == first["version"] and version.description.startswith("Trained by the experiment valued")


def test_more_metrics_than_a_request_takes_and_a_failure_that_mlflow_refuses(theirs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = theirs(evaluated({f"m{number}": number for number in range(1200)}), TRAINED)
    assert len(run.train(one)["result"]["metrics"]) == len(mlflow.get_run(one.run["mlflow_run_id"]).data.metrics) == 1200

    def broken() -> None:
        raise ValueError("a\x00b \ud800 " + "x" * 10**6)

    two = theirs({**evaluated({}), "train": broken}, TRAINED)
    with pytest.raises(Failure, match=r"raised ValueError: a.x00b .ud800 xxx"):
        run.train(two)
    assert "a\\x00b \\ud800" in mlflow.get_run(two.run["mlflow_run_id"]).data.tags["lab.failure"]
    monkeypatch.setattr(mlflow.MlflowClient, "set_tag", lambda *_: 1 / 0)
    with pytest.raises(Failure, match=r"raised ValueError: a.x00b"):
        run.train(two)


def test_an_answer_is_json_that_any_database_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asked").write_text("{}")
    monkeypatch.setattr("lab_experiment.__main__.work", lambda *_: {"result": {"auc": math.nan, "words": "a\0b"}})
    assert main("train", str(tmp_path / "asked"), str(tmp_path / "answer")) == 0
    assert json.loads((tmp_path / "answer").read_text()) == {"result": {"auc": None, "words": "a\\x00b"}}


class Moody(DummyClassifier):
    """Raises where the first row of a fold is not among those it was fitted on."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        """Raise, or fit."""
        if 0.0 not in x:
            raise OSError("no first row")
        return super().fit(x, y)


def test_a_bad_fold_ends_a_cross_validation_or_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = NUMBERS.reshape(-1, 1), [1] + [0, 1] * 19 + [0]
    folds = {"name": "k_fold", "options": {"n_splits": 4}}
    alone = [1] * 10 + [0, 1] * 15  # the first fold has one class, so it has no area under a curve
    with pytest.raises(Failure) as caught:
        cross_validation.run({"splitter": folds, "scoring": ["accuracy", "roc_auc"]}, DummyClassifier, (x, alone))
    gives_nan = str(caught.value).startswith("cross_validation.scoring: roc_auc gave nan on fold 0 of 4; allowed is a finite number, or bad_folds: skip")
    assert (gives_nan and caught.value.final) or "cross_validation.scoring failed on fold 0 of 4: ValueError: Only one class" in str(caught.value)  # before 1.6
    scores = cross_validation.run({"splitter": folds, "scoring": ["accuracy", "roc_auc"], "bad_folds": "skip"}, DummyClassifier, (x, alone))
    assert scores.mean["roc_auc"] == 0.5 and math.isnan(scores.folds[0]["roc_auc"]) and scores.folds[0]["accuracy"] >= 0
    assert "fold 0 of 4 is left out of roc_auc" in capsys.readouterr().out
    with pytest.raises(Failure, match=r"could not be fitted on fold 0 of 4: OSError: no first row"):
        cross_validation.run({"splitter": folds}, Moody, (x, y))
    scores = cross_validation.run({"splitter": folds, "bad_folds": "skip"}, Moody, (x, y))
    assert [math.isnan(fold["accuracy"]) for fold in scores.folds] == [True, False, False, False] and math.isfinite(scores.mean["accuracy"])
    with pytest.raises(Failure, match="roc_auc gave a finite number on none of the 4 folds"):
        cross_validation.run({"splitter": folds, "scoring": "roc_auc", "bad_folds": "skip"}, DummyClassifier, (x, [0, 1] + [1] * 38))


def test_an_experiment_that_the_package_made_has_the_kind_of_the_lab_s(theirs: Make) -> None:
    now = datetime.datetime.now()

    def read() -> tuple[list[list[float]], list[int]]:  # in a process of the package's own, and once more for its cross-validation
        if mlflow.get_experiment_by_name(f"made {now}") is None:
            mlflow.create_experiment(f"made {now}")
        return [[number] for number in NUMBERS], [0, 1] * 20

    mlflow.create_experiment(f"before {now}")
    run.train(theirs({"make": DecisionTreeClassifier, "read": read}, FITTED, FOLDS))
    made, before = (mlflow.get_experiment_by_name(f"{name} {now}") for name in ("made", "before"))
    assert made and made.tags[tracking.KIND] == tracking.MODELS
    assert before and tracking.KIND not in before.tags


def test_what_is_deployed_to_the_endpoint_comes_with_a_request_of_one_row(theirs: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MLFLOW_PUBLIC_URL", "https://mlflow.example.com")
    frame = pd.DataFrame({"a": NUMBERS, "b": NUMBERS})
    functions = {"make": DecisionTreeClassifier, "read": lambda: (frame, [0, 1] * 20)}
    served = {"register": {"name": "served", "description": "", "champion": None}, "deploy": {"target": "endpoint", "options": {}, "when": "always"}}
    one = theirs(functions, FITTED, FOLDS, **served)
    outcome = run.train(one)["result"]
    assert json.loads(outcome["example"]) == {"dataframe_split": {"columns": ["a", "b"], "data": [[0.0, 0.0]]}}
    assert outcome["deploy"]["target"] == "endpoint"
    version = mlflow.MlflowClient().get_model_version("served", str(outcome["version"]))
    page = f"https://mlflow.example.com/#/experiments/{one.run['experiment_id']}/runs/{one.run['mlflow_run_id']}{pages.TRAINING}"
    assert version.description.endswith(f": {page}")
    for request, text in (({"inputs": [[1, 2], [3, 4]]}, '{"inputs": [[1, 2]]}'), ({"inputs": [["x" * 5000]]}, None), (None, None)):
        (tmp_path / "serving_input_example.json").write_text(json.dumps(request))
        assert tracking.serving_request(tmp_path) == text
    assert tracking.serving_request(tmp_path / "nothing") is None


def test_data_without_targets_is_one_sentence() -> None:
    with pytest.raises(Failure, match=r"cross_validation.data returned no y \(None\)"):
        cross_validation.run({}, DummyClassifier, (NUMBERS.reshape(-1, 1), None))


def test_a_skipped_fold_is_recorded_without_its_score(theirs: Make) -> None:
    x, y = NUMBERS.reshape(-1, 1), [1] * 10 + [0, 1] * 15
    folds = {**FOLDS, "splitter": {"name": "k_fold", "options": {"n_splits": 4}}, "scoring": ["roc_auc", "accuracy"], "bad_folds": "skip"}
    one = theirs({"make": DummyClassifier, "read": lambda: (x, y)}, None, folds)
    result = storable.plain(run.cross_validate(one)["result"])
    assert result["folds"][0]["roc_auc"] is None and result["mean"]["roc_auc"] == 0.5
    metrics = mlflow.get_run(one.run["mlflow_run_id"]).data.metrics
    assert metrics["cv_roc_auc_mean"] == 0.5
