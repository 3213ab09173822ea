# ruff: noqa: D101, D102 (estimators of other people)
"""Cross-validation: the same figures as scikit-learn's own, for all kinds of splits, estimators and data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import RegressorMixin
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import RepeatedKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lab_experiment import cross_validation
from lab_experiment.failures import Failure

WINE = load_wine(return_X_y=True, as_frame=True)


def logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression())


def test_the_figures_are_scikit_learns_own() -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    settings = {"splitter": {"name": "stratified_k_fold", "options": {"n_splits": 4, "shuffle": True, "random_state": 7}}, "scoring": ["f1_macro", "accuracy"]}
    scores = cross_validation.run(settings, logistic, WINE, lambda number, fold: seen.append((number, fold)))
    own = cross_val_score(logistic(), *WINE, cv=StratifiedKFold(4, shuffle=True, random_state=7), scoring="f1_macro")
    assert [fold["f1_macro"] for fold in scores.folds] == pytest.approx(list(own))
    assert (scores.mean["f1_macro"], scores.deviation["f1_macro"]) == pytest.approx((own.mean(), own.std()))
    assert scores.scorers == ["f1_macro", "accuracy"]
    assert seen == list(enumerate(scores.folds))


def test_without_settings_a_classifier_is_scored_by_accuracy_and_a_regressor_by_r2() -> None:
    assert cross_validation.run({}, logistic, WINE).mean["accuracy"] > 0.95  # in the order of the file, each fold would lack a class
    scores = cross_validation.run({"splitter": None, "scoring": None}, Ridge, load_diabetes(return_X_y=True))
    assert (scores.scorers, len(scores.folds)) == (["r2"], 5)


def test_repeated_folds_are_all_there() -> None:
    settings = {
        "splitter": {"name": "repeated_k_fold", "options": {"n_splits": 3, "n_repeats": 2, "random_state": 1}},
        "scoring": "neg_root_mean_squared_error",
    }
    data = load_diabetes(return_X_y=True)
    scores = cross_validation.run(settings, Ridge, data)
    own = cross_val_score(Ridge(), *data, cv=RepeatedKFold(n_splits=3, n_repeats=2, random_state=1), scoring="neg_root_mean_squared_error")
    assert [fold["neg_root_mean_squared_error"] for fold in scores.folds] == pytest.approx(list(own))


@pytest.mark.parametrize("name", ["group_k_fold", "stratified_group_k_fold"])
def test_no_group_is_in_training_and_test_at_once(name: str) -> None:
    groups = np.arange(len(WINE[1])) // 6

    class Watching(DecisionTreeClassifier):
        def fit(self, x: Any, y: Any) -> Any:
            self.trained_ = set(groups[x.index])
            return super().fit(x, y)

        def predict(self, x: Any, check_input: bool = True) -> Any:
            assert not self.trained_ & set(groups[x.index])
            return super().predict(x, check_input)

    assert len(cross_validation.run({"splitter": {"name": name, "options": {"n_splits": 3}}}, Watching, (*WINE, groups)).folds) == 3


def test_groups_that_are_missing_are_one_sentence() -> None:
    with pytest.raises(Failure, match=r"needs groups, but cross_validation.data returned \(X, y\); allowed is \(X, y, groups\)"):
        cross_validation.run({"splitter": {"name": "group_k_fold"}}, logistic, WINE)


def test_time_series_are_never_tested_on_their_past() -> None:
    class Watching(Ridge):
        def fit(self, x: Any, y: Any) -> Any:
            self.last_ = x.max()
            return super().fit(x, y)

        def predict(self, x: Any) -> Any:
            assert x.min() > self.last_
            return super().predict(x)

    moments = np.arange(60.0)
    scores = cross_validation.run(
        {"splitter": {"name": "time_series", "options": {"n_splits": 4, "gap": 2}}}, Watching, (moments.reshape(-1, 1), moments * 2 + 1)
    )
    assert scores.mean["r2"] > 0.99


class Nearest:
    """An estimator of somebody who never heard of scikit-learn: ``fit`` returns nothing, ``predict`` a list."""

    def fit(self, x: Any, y: Any) -> None:
        self.means = {label: np.mean([row for row, own in zip(x, y, strict=True) if own == label], axis=0) for label in sorted(set(y))}

    def predict(self, x: Any) -> list[Any]:
        return [min(self.means, key=lambda label: float(np.sum((row - self.means[label]) ** 2))) for row in x]


class Sure(Nearest):
    """The same with probabilities."""

    def predict_proba(self, x: Any) -> Any:
        distances = np.array([[np.linalg.norm(row - mean) for mean in self.means.values()] for row in x])
        return (1 / distances) / (1 / distances).sum(axis=1, keepdims=True)


class Mean:
    """The same for numbers; predicts a column."""

    def fit(self, x: Any, y: Any) -> Mean:
        self.mean = float(np.mean(y))
        return self

    def predict(self, x: Any) -> Any:
        return np.full((len(x), 1), self.mean)


def test_an_object_with_nothing_but_fit_and_predict_will_do() -> None:
    x, y = WINE[0].to_numpy(), [f"cultivar {number}" for number in WINE[1]]
    assert 0.6 < cross_validation.run({}, Nearest, (x, y)).mean["accuracy"] < 1
    assert cross_validation.run({"scoring": ["accuracy", "roc_auc_ovr"]}, Sure, (x, y)).mean["roc_auc_ovr"] > 0.8
    scores = cross_validation.run({"scoring": ["r2", "neg_mean_absolute_error"]}, Mean, load_diabetes(return_X_y=True))
    assert abs(scores.mean["r2"]) < 0.1


def test_releases_that_score_by_one_scorer_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"scoring": ["accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss"]}
    expected = cross_validation.run(settings, logistic, WINE)

    def one(_: Any, scoring: Any) -> Any:
        assert isinstance(scoring, str), "a list is refused before 1.5"
        return get_scorer(scoring)

    monkeypatch.setattr(cross_validation, "check_scoring", one)
    monkeypatch.setattr(cross_validation, "SHARED", False)
    assert cross_validation.run(settings, logistic, WINE) == expected
    with pytest.raises(Failure, match=r"cross_validation.scoring failed on fold 0 of 5: "):
        cross_validation.run({"scoring": ["accuracy", "roc_auc"]}, Nearest, (WINE[0].to_numpy(), WINE[1]))


class Tagless(Nearest):
    """An estimator with parameters, of somebody who wrote his own class and not scikit-learn's ``BaseEstimator``."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}


class Regressing(Tagless):
    _estimator_type = "regressor"


class Mixed(RegressorMixin, Tagless): ...


class Classifying(Tagless):
    _estimator_type = "classifier"


@pytest.mark.parametrize(
    ("estimator", "y", "kind"),
    [
        (Tagless(), [0, 1] * 20, "classifier"),
        (Tagless(), np.arange(40) / 3, "regressor"),
        (Regressing(), [0, 1] * 20, "regressor"),
        (Mixed(), [0, 1] * 20, "regressor"),
        (Classifying(), np.arange(40), "classifier"),
    ],
)
def test_an_estimator_without_tags_is_what_it_says_or_what_the_targets_are(estimator: Any, y: Any, kind: str) -> None:
    assert cross_validation.kind_of(estimator, y) == kind


def test_an_estimator_without_tags_is_cross_validated() -> None:
    assert 0.6 < cross_validation.run({}, Tagless, (WINE[0].to_numpy(), WINE[1])).mean["accuracy"] < 1


def test_targets_may_be_a_frame_of_one_column() -> None:
    assert cross_validation.run({}, logistic, (WINE[0], pd.DataFrame({"cultivar": WINE[1]}))).mean["accuracy"] > 0.95


def test_what_on_fold_raises_ends_it() -> None:
    def prune(number: int, _: dict[str, float]) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validation.run({}, logistic, WINE, prune)


class Broken:
    def fit(self, x: Any, y: Any) -> None:
        raise OSError("no room for the trees")

    def predict(self, x: Any) -> None: ...


@pytest.mark.parametrize(
    ("settings", "make", "data", "words"),
    [
        ({"splitter": {"name": "kfold"}}, logistic, WINE, r"cross_validation.splitter.name has 'kfold'; allowed: auto, k_fold, stratified_k_fold, "),
        (
            {"splitter": {"name": "k_fold", "options": {"fold": 3}}},
            logistic,
            WINE,
            r"has 'fold'; allowed for KFold of this scikit-learn: n_splits, shuffle, random_state",
        ),
        ({"splitter": {"name": "k_fold", "options": {"n_splits": 1}}}, logistic, WINE, r"cross_validation.splitter: KFold refused its options: ValueError: "),
        ({"splitter": {"name": "k_fold", "options": {"n_splits": 1000}}}, logistic, WINE, r"cross_validation.splitter cannot split the data: ValueError: "),
        ({"scoring": ["precision_of_mine"]}, logistic, WINE, r"scoring has 'precision_of_mine'; allowed are scikit-learn's scorers: accuracy, "),
        ({"scoring": "roc_auc"}, Nearest, (WINE[0].to_numpy(), WINE[1]), r"cross_validation.scoring failed on fold 0 of 5: "),
        ({}, Broken, WINE, r"cross_validation.estimator could not be fitted on fold 0 of 5: OSError: no room for the trees"),
        ({}, logistic, WINE[0], r"cross_validation.data returned a DataFrame; allowed is \(X, y\) or \(X, y, groups\)"),
        ({}, logistic, (WINE[0], WINE[1][:9]), r"cross_validation.data returned parts that do not fit together: "),
    ],
)
def test_what_does_not_do_is_one_sentence(settings: Any, make: Any, data: Any, words: str) -> None:
    with pytest.raises(Failure, match=words):
        cross_validation.run(settings, make, data)
