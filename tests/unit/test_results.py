"""What the results of foreign functions are taken for. Plain Python."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from lab_experiment import results
from lab_experiment.failures import Failure


class Model:
    """What has predict."""

    def predict(self, x: Any) -> Any:
        """The same."""
        return x


class Pair(NamedTuple):
    """A result with names."""

    fitted: Any
    auc: float


class Scores(NamedTuple):
    """Metrics with names."""

    auc: float
    f1: Fraction


@dataclasses.dataclass
class Trained:
    """A result of many kinds."""

    model: Any
    scores: Any
    seconds: float
    name: str = "best"
    converged: bool = True


class Fields:
    """As a class of attrs looks."""

    __attrs_attrs__ = (type("Field", (), {"name": "auc"}),)
    auc = 0.5


class Scaler:
    """What prepares rows."""

    def fit(self, x: Any) -> None:
        """Learn."""

    def transform(self, x: Any) -> Any:
        """The same."""
        return x


class Frame:
    """As a table of pandas looks."""

    def transform(self, function: Any) -> Any:
        """Another one."""


class Whole(Model):
    """A model with what prepares its rows."""

    def __init__(self, scaler: Any) -> None:
        self.steps = [("scale", {"first": scaler}), ("self", self)]


MODEL, SCALER = Model(), Scaler()


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (MODEL, {}),
        ((MODEL, {"auc": 0.9, "name": "best", "by_class": {"a": 1}}), {"auc": 0.9, "by_class.a": 1.0}),
        (({"auc": 0.9}, MODEL), {"auc": 0.9}),
        ((MODEL, 0.9), {"fit": 0.9}),
        ((MODEL, 0.9, 3), {"fit_1": 0.9, "fit_2": 3.0}),
        ((MODEL, Scores(0.9, Fraction(1, 2)), [1, 2], None, "text"), {"auc": 0.9, "f1": 0.5}),
        ({"model": MODEL, "again": MODEL, "auc": 0.9, "more": {"auc": 0.8, "f1": 0.7}}, {"auc": 0.9, "more.auc": 0.8, "f1": 0.7}),
        (Pair(MODEL, 0.9), {"auc": 0.9}),
        (Trained(MODEL, {"auc": 0.9}, 2.5), {"auc": 0.9, "seconds": 2.5}),
    ],
)
def test_the_part_that_predicts_is_the_model_and_numbers_beside_it_are_metrics(returned: Any, metrics: dict[str, float]) -> None:
    assert results.of_training("theirs:fit", returned)[:2] == (MODEL, metrics)


def test_a_model_is_known_by_the_method_that_is_to_answer() -> None:
    likely = type("Likely", (), {"predict_proba": lambda self, x: x})()
    assert results.of_training("theirs:fit", (likely, 0.9), "predict_proba")[:2] == (likely, {"fit": 0.9})
    assert results.of_training("theirs:fit", (MODEL, 0.9), "predict_proba")[:2] == ((MODEL, 0.9), {})


@pytest.mark.parametrize("returned", [None, "models:/m-1", 0.5, (1, 2), {"auc": 0.9}, Scores(1, Fraction(1)), (Model, 1)])
def test_what_has_no_part_that_predicts_stays_what_it_is(returned: Any) -> None:
    assert results.of_training("theirs:fit", returned) == (returned, {}, {})


@pytest.mark.parametrize(
    ("returned", "others", "missed"),
    [
        ((MODEL, SCALER, 0.9, "best", None), "1 (test_results.Scaler), 3 (str)", ["1"]),
        ({"model": MODEL, "in": {"scaler": SCALER, "auc": 0.9}, "x": Frame()}, "in.scaler (test_results.Scaler), x (test_results.Frame)", ["in.scaler"]),
        (Trained(MODEL, Pair(SCALER, 0.5), 1.0), "scores.fitted (test_results.Scaler), name (str), converged (bool)", ["scores.fitted"]),
        ((Whole(SCALER), SCALER), "1 (test_results.Scaler)", []),
        ((Whole(Scaler()), SCALER), "1 (test_results.Scaler)", ["1"]),
        ((MODEL, Scaler), "1 (type)", []),
    ],
)
def test_what_is_beside_the_model_is_named_and_what_it_needs_is_told_apart(returned: Any, others: str, missed: list[str]) -> None:
    model, _, found = results.of_training("theirs:fit", returned)
    assert re.sub(r"[\w.]*test_results", "test_results", results.kinds_of(found)) == others
    assert [*results.missed(model, found)] == missed


@pytest.mark.parametrize(
    ("returned", "numbers"),
    [
        (None, {}),
        (0.9, {}),
        ((MODEL, 0.9), {}),
        ({"auc": 0.9, "ok": True, "by_class": {"a": 1}}, {"auc": 0.9, "by_class.a": 1.0}),
        ((MODEL, {"auc": 0.9}, {"auc": 0.1, "loss": 2}), {"auc": 0.9, "loss": 2.0}),
        (Pair(MODEL, 0.9), {"auc": 0.9}),
        (Trained(MODEL, {"auc": 0.9}, 2.5), {"scores.auc": 0.9, "seconds": 2.5}),
    ],
)
def test_numbers_with_names_are_found_in_what_an_objective_returned(returned: Any, numbers: dict[str, float]) -> None:
    assert results.numbers_in(returned) == numbers


def test_two_models_are_a_sentence() -> None:
    with pytest.raises(Failure, match=r"train: theirs:fit returned a dict in which a and b have predict; allowed is one model, and numbers") as caught:
        results.of_training("theirs:fit", {"a": Model(), "b": Model(), "c": 1})
    assert caught.value.final


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (0.9, {"score": 0.9}),
        (Fraction(1, 2), {"score": 0.5}),
        (Scores(0.9, Fraction(1, 2)), {"auc": 0.9, "f1": 0.5}),
        ({"test": Scores(0.9, Fraction(1, 2))}, {"test.auc": 0.9, "test.f1": 0.5}),
        (Trained(1, {"auc": Scores(1.0, Fraction(1))}, 2, 3, True), {"model": 1.0, "scores.auc": None, "seconds": 2.0}),  # type: ignore[arg-type]
        (Fields(), {"auc": 0.5}),
    ],
)
def test_a_number_and_named_numbers_are_metrics(returned: Any, metrics: dict[str, float | None]) -> None:
    if None in metrics.values():
        with pytest.raises(Failure, match=r"as metric 'scores.auc'; allowed is a number"):
            results.metrics_of("theirs:score", returned)
        return
    assert results.metrics_of("theirs:score", returned) == metrics
