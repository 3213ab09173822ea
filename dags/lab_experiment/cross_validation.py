"""Cross-validation with scikit-learn's own splitters and scorers, fold by fold, of whatever has ``fit`` and ``predict``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn.model_selection
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.multiclass import type_of_target

from lab_experiment import callables, predicting
from lab_experiment.failures import Failure
from lab_experiment.scores import Scores

SPLITTERS = {
    "k_fold": "KFold",
    "stratified_k_fold": "StratifiedKFold",
    "group_k_fold": "GroupKFold",
    "stratified_group_k_fold": "StratifiedGroupKFold",
    "time_series": "TimeSeriesSplit",
    "repeated_k_fold": "RepeatedKFold",
    "repeated_stratified_k_fold": "RepeatedStratifiedKFold",
}
"""Our names for scikit-learn's classes."""

AUTOMATIC = {"name": "auto", "options": {"n_splits": 5, "shuffle": True, "random_state": 0}}
"""Five shuffled folds, for a classifier with its classes in proportion."""

FEW_CLASSES = 20
"""Whole numbers with at most so many different values are taken for classes if the estimator does not say what it is."""

SHARED = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 5)
"""Whether scikit-learn scores by several scorers at once, of which those that ask for the same predictions share them."""


def run(
    settings: Mapping[str, Any],
    make_estimator: Callable[[], Any],
    data: tuple[Any, ...],
    on_fold: Callable[[int, dict[str, float]], None] = lambda _number, _scores: None,
    method: str = "predict",
) -> Scores:
    """Fit a new estimator for each fold on the other folds, and score it on that one.

    Args:
        settings: ``cross_validation`` of the document. Without ``splitter``: :data:`AUTOMATIC`. Without ``scoring``: ``accuracy`` for a classifier,
            ``r2`` for a regressor. With ``bad_folds: skip`` a score that is no finite number, or a fold that raises, is left out of the means; else it
            is a failure.
        make_estimator: Gives a new object with ``fit(X, y)`` and ``predict(X)``, or what else ``method`` is.
        data: ``(X, y)`` or ``(X, y, groups)``: frames, arrays or lists, with a row for each case.
        on_fold: Is told each fold's number, from 0, and its scores by scorer. What it raises ends the cross-validation (a pruned trial).
        method: See :func:`fit`.

    Raises:
        Failure: A setting, the data or the estimator does not do; one sentence. A score that is no number is final: the same folds give it again.
    """
    x, y, groups = parts(data)
    kind = kind_of(make_estimator(), y)
    splitter = splitter_of(settings.get("splitter") or AUTOMATIC, kind)
    scorers = scorers_of(settings.get("scoring"), kind)
    folds: list[dict[str, float]] = []
    with callables.told_as("cross_validation.splitter cannot split the data:"):
        if "Group" in type(splitter).__name__ and groups is None:
            raise Failure("cross_validation.splitter needs groups, but cross_validation.data returned (X, y); allowed is (X, y, groups)")
        splits = list(splitter.split(x, y, groups))
    skip = settings.get("bad_folds", "error") == "skip"
    call = (settings.get("estimator") or {}).get("call", "")
    for number, (train, test) in enumerate(splits):
        where = f"fold {number} of {len(splits)}"
        try:
            with callables.told_as(f"cross_validation.estimator could not be fitted on {where}:", call=call):
                fitted = fit(make_estimator(), _safe_indexing(x, train), _safe_indexing(y, train), method)
            scores = _scored(as_sklearn(fitted, kind, y), _safe_indexing(x, test), _safe_indexing(y, test), scorers, where, skip)
        except Failure as error:
            if not skip:
                raise
            callables.say(f"[cross_validation] {where} is left out: {error}")
            scores = dict.fromkeys(scorers, math.nan)
        folds.append(scores)
        on_fold(number, scores)
    good = {name: [fold[name] for fold in folds if math.isfinite(fold[name])] for name in scorers}
    for name in scorers:
        if not good[name]:
            raise Failure(f"cross_validation.scoring: {name} gave a finite number on none of the {len(folds)} folds", final=True)
    return Scores(
        scorers=scorers,
        folds=folds,
        mean={name: float(np.mean(good[name])) for name in scorers},
        deviation={name: float(np.std(good[name])) for name in scorers},
    )


def _scored(model: Any, x: Any, y: Any, scorers: list[str], where: str, skip: bool) -> dict[str, float]:
    """The scores on a fold; with ``skip`` NaN for a scorer that raises, as some releases of scikit-learn do where others give NaN.

    Raises:
        Failure: A scorer raises, and may not be skipped.
    """
    found: dict[str, float] = {}
    for names in [[name] for name in scorers] if skip else [scorers]:
        try:
            with callables.told_as(f"cross_validation.scoring failed on {where}:"):
                scores = score(model, x, y, names)
        except Failure as error:
            if not skip:
                raise
            callables.say(f"[cross_validation] {where} is left out of {', '.join(names)}: {error}")
            found |= dict.fromkeys(names, math.nan)
        else:
            found |= {name: _finite(name, value, where, skip) for name, value in scores.items()}
    return found


def _finite(name: str, value: float, where: str, skip: bool) -> float:
    """A score if it is a finite number; else NaN where it may be skipped."""
    if math.isfinite(value):
        return value
    if not skip:
        raise Failure(
            f"cross_validation.scoring: {name} gave {value} on {where}; allowed is a finite number, or bad_folds: skip, which leaves it out of the mean",
            final=True,
        )
    callables.say(f"[cross_validation] {where} is left out of {name}, which gave {value}")
    return math.nan


def parts(data: Any) -> tuple[Any, Any, Any]:
    """What a data loader returned as ``X, y, groups`` (``groups`` may be None); targets in a frame of one column become a series.

    Raises:
        Failure: It returned something else.
    """
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        shape = f" of {len(data)}" if isinstance(data, (tuple, list)) else ""
        raise Failure(f"cross_validation.data returned a {type(data).__name__}{shape}; allowed is (X, y) or (X, y, groups)", final=True)
    x, y, groups = (*data, None)[:3]
    if y is None:
        raise Failure("cross_validation.data returned no y (None); allowed is (X, y) or (X, y, groups): scores compare predictions with y", final=True)
    if hasattr(x, "tocsr") and not hasattr(x, "iloc"):
        x = x.tocsr()  # the form of a sparse matrix that has rows
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else y.ravel()
    try:
        check_consistent_length(x, y, groups)
    except (TypeError, ValueError) as error:
        raise Failure(f"cross_validation.data returned parts that do not fit together: {error}", final=True) from None
    return x, y, groups


def splitter_of(settings: Mapping[str, Any], kind: str) -> Any:
    """The splitter of scikit-learn that ``name`` means (``auto``: by the kind of estimator), made with its own options: under ``options`` or beside the name.

    Raises:
        Failure: There is no such splitter or option.
    """
    name = settings.get("name", "auto")
    if name == "auto":
        name = "stratified_k_fold" if kind == "classifier" else "k_fold"
    if name not in SPLITTERS:
        raise Failure(f"cross_validation.splitter.name has {name!r}; allowed: auto, {', '.join(SPLITTERS)}")
    splitter = getattr(sklearn.model_selection, SPLITTERS[name])
    options = settings["options"] if "options" in settings else {option: value for option, value in settings.items() if option != "name"}
    taken = inspect.signature(splitter).parameters
    for option in options:
        if option not in taken:
            raise Failure(f"cross_validation.splitter has {option!r}; allowed for {SPLITTERS[name]} of this scikit-learn: {', '.join(taken)}")
    with callables.told_as(f"cross_validation.splitter: {SPLITTERS[name]} refused its options:"):
        return splitter(**options)


def scorers_of(scoring: Any, kind: str) -> list[str]:
    """The names of the scorers: those given (a name or a list), or the default for the kind of estimator.

    Raises:
        Failure: scikit-learn has no such scorer.
    """
    names = [scoring] if isinstance(scoring, str) else list(scoring or (["accuracy"] if kind == "classifier" else ["r2"]))
    for name in names:
        if name not in get_scorer_names():
            raise Failure(f"scoring has {name!r}; allowed are scikit-learn's scorers: {', '.join(get_scorer_names())}")
    return list(dict.fromkeys(names))


def kind_of(estimator: Any, y: Any) -> str:
    """``classifier`` or ``regressor``: what an estimator says it is; if it does not say, by its methods and the targets."""
    if hasattr(estimator, "get_params"):  # only of these scikit-learn can tell
        try:
            classifies, regresses = is_classifier(estimator), is_regressor(estimator)
        except (AttributeError, TypeError):  # it has no tags, without which releases from 1.8 on do not tell
            said = getattr(estimator, "_estimator_type", "")
            classifies = said == "classifier" or isinstance(estimator, ClassifierMixin)
            regresses = said == "regressor" or isinstance(estimator, RegressorMixin)
        if classifies or regresses:
            return "classifier" if classifies else "regressor"
    if hasattr(estimator, "predict_proba") or hasattr(estimator, "classes_"):
        return "classifier"
    few = len(np.unique(np.asarray(y))) <= FEW_CLASSES
    return "classifier" if np.asarray(y).dtype.kind not in "iuf" or (few and type_of_target(y) in ("binary", "multiclass")) else "regressor"


def fit(estimator: Any, x: Any, y: Any, method: str = "predict") -> Any:
    """Fit an estimator; what its ``fit`` returns is taken if that can predict, as with scikit-learn, else the estimator itself.

    Args:
        estimator: What has ``fit(X, y)``.
        x: What it is fitted on.
        y: The targets.
        method: What it is to predict by, ``predict`` or ``predict_proba``.

    Raises:
        Failure: It has no ``fit``, or nobody can predict.
    """
    kind = f"cross_validation.estimator: a {type(estimator).__module__}.{type(estimator).__qualname__}"
    if not hasattr(estimator, "fit"):
        raise Failure(f"{kind} has no fit; allowed: an object with fit(X, y) and {method}(X)", final=True)
    returned = estimator.fit(x, y)
    fitted = returned if hasattr(returned, method) else estimator
    if not hasattr(fitted, method):
        raise Failure(f"{kind} has no {method}; allowed: an object with fit(X, y) and {method}(X)", final=True)
    return fitted


def score(model: Any, x: Any, y: Any, scorers: list[str]) -> dict[str, float]:
    """Score what :func:`as_sklearn` gave on data, with scikit-learn's scorers by name."""
    measured = check_scoring(model, scoring=scorers)(model, x, y) if SHARED else {name: get_scorer(name)(model, x, y) for name in scorers}
    return {name: float(measured[name]) for name in scorers}


def as_sklearn(model: Any, kind: str, y: Any) -> Any:
    """A fitted model as scikit-learn's metrics and displays want it; scikit-learn's own, and what is built like it, remains what it is.

    What has no ``predict`` gets one. ``y`` tells the classes of a classifier that has no ``classes_``; columns of its ``predict_proba`` must then be in
    sorted order.
    """
    if isinstance(model, BaseEstimator) and hasattr(model, "predict"):
        return model
    if kind != "classifier":
        return _Regressor(model)
    made = _Booster if predicting.is_booster(model) else _Classifier
    return made(model, getattr(model, "classes_", np.unique(np.asarray(y))))


class _Fitted(BaseEstimator):
    """A fitted model of whatever origin."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, x: Any, y: Any) -> Any:
        """It is fitted; scikit-learn wants the method to be there."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, x: Any) -> Any:
        """The model's predictions, flat."""
        predicted = np.asarray(predicting.predict(self.model, x))
        return predicted.ravel() if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted

    def __getattr__(self, name: str) -> Any:
        if name in ("predict_proba", "decision_function"):
            return getattr(self.model, name)
        raise AttributeError(name)


class _Classifier(ClassifierMixin, _Fitted):
    """A fitted classifier."""

    def __init__(self, model: Any, classes: Any) -> None:
        super().__init__(model)
        self.classes_ = classes

    def predict(self, x: Any) -> Any:
        """The model's predictions; of one that gives probabilities alone the likeliest class."""
        return super().predict(x) if hasattr(self.model, "predict") else self.classes_[np.argmax(self.model.predict_proba(x), axis=1)]


class _Booster(_Classifier):
    """A fitted booster, whose ``predict`` gives the probabilities of classes; with some objectives the classes themselves, or a number."""

    def predict_proba(self, x: Any) -> Any:
        """A column for each class."""
        found = super().predict(x)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found

    def predict(self, x: Any) -> Any:
        """The likeliest class, where the booster gives probabilities."""
        found = super().predict(x)
        if found.ndim == 1:
            probable = len(self.classes_) == 2 and found.min() >= 0 and found.max() <= 1 and not np.isin(found, self.classes_).all()
            return self.classes_[(found > 0.5).astype(int)] if probable else found
        classes = self.classes_ if len(self.classes_) == found.shape[1] else np.arange(found.shape[1])  # one may be missing here
        return classes[np.argmax(found, axis=1)]


class _Regressor(RegressorMixin, _Fitted):
    """A fitted regressor."""
