"""Pictures of a search, a cross-validation and a model, as PNG files: those that Optuna and scikit-learn themselves draw with matplotlib.

Nothing is left behind in matplotlib's state: styles, settings and open figures of a package are as before. Optuna and scikit-learn take seconds to import, so
each is imported where it draws.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")  # a worker has no screen

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lab_experiment import storable
from lab_experiment.callables import say
from lab_experiment.scores import Scores

DPI = 120
CURVES = 10
"""Up to so many classes have a curve each; above, there is one for all of them."""
NUMBERS = 15
"""Up to so many classes the fields of a confusion matrix bear numbers."""


def of_study(study: Any, folder: Path) -> list[Path]:
    """Pictures of an Optuna study; what Optuna cannot draw of it is left out, and said.

    One objective: optimisation history, parameter importance, parallel coordinates, and the intermediate values if there are any. Several: the
    history of each, the importance for each, and the Pareto front of two or three.
    """
    import optuna.importance
    import optuna.visualization.matplotlib as drawn
    from optuna.trial import TrialState

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if not complete:
        say("[pictures] the search has no finished trial to draw")
        return []
    plots: dict[str, Callable[[], Any]] = {}
    count = len(study.directions)
    names = getattr(study, "metric_names", None) or [f"objective {number}" for number in range(count)]
    for number, name in enumerate(names if count > 1 else [""]):
        what: dict[str, Any] = {"target": partial(_value, number), "target_name": name} if count > 1 else {}
        end = f"_{number}" if count > 1 else ""
        plots[f"optimization_history{end}"] = partial(drawn.plot_optimization_history, study, **what)
        if len(complete) < 2:
            say("[pictures] the importance of parameters needs two finished trials")
            continue
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        plots[f"parameter_importance{end}"] = partial(drawn.plot_param_importances, study, evaluator=evaluator, **what)
        plots[f"parallel_coordinates{end}"] = partial(drawn.plot_parallel_coordinate, study, **what)
    if count in (2, 3):
        plots["pareto_front"] = partial(drawn.plot_pareto_front, study)
    if count == 1 and any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        plots["intermediate_values"] = partial(drawn.plot_intermediate_values, study)
    return [path for name, draw in plots.items() if (path := _optuna(name, draw, folder))]


def of_folds(scores: Scores, folder: Path) -> list[Path]:
    """A picture of a cross-validation: each scorer's value on every fold, their mean and their deviation."""
    with _drawing():
        figure = Figure(figsize=(8, 1 + 2.4 * len(scores.scorers)), layout="constrained")
        panels = figure.subplots(len(scores.scorers), 1, sharex=True, squeeze=False)[:, 0]
        numbers = range(len(scores.folds))
        for panel, name in zip(panels, scores.scorers, strict=True):
            mean, deviation = scores.mean[name], scores.deviation[name]
            panel.axhspan(mean - deviation, mean + deviation, color="tab:blue", alpha=0.15, label=f"deviation {deviation:.3g}")
            panel.axhline(mean, color="tab:blue", label=f"mean {mean:.4g}")
            panel.plot(numbers, [fold[name] for fold in scores.folds], "o-", color="tab:orange", linewidth=0.8, label="fold")
            panel.set_ylabel(name)
            panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        panels[0].set_title("Cross-validation")
        panels[-1].set_xlabel("fold")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        return [_saved(figure, "folds", folder)]


def of_model(model: Any, x: Any, y: Any, folder: Path) -> list[Path]:
    """Pictures of a fitted model on held-back data.

    A classifier: confusion matrix and, if it has ``predict_proba`` or ``decision_function``, ROC and precision-recall curves; a regressor: its
    predictions and residuals. What scikit-learn cannot draw is left out, and said.
    """
    from lab_experiment.cross_validation import as_sklearn, kind_of

    y = np.asarray(y).ravel() if not hasattr(y, "iloc") else np.asarray(y.squeeze())
    try:
        kind = kind_of(model, y)
        known = as_sklearn(model, kind, y)
    except Exception as error:
        say(f"[pictures] nobody can tell what the model is, so nothing is drawn ({storable.raised(error)})")
        return []
    plots: Sequence[Callable[[Any, Any, Any, Path], Path | None]] = (_confusion, _roc, _precision_recall) if kind == "classifier" else (_residuals,)
    found: list[Path] = []
    with _drawing():
        for plot in plots:
            try:
                path = plot(known, x, y, folder)
            except Exception as error:
                say(f"[pictures] {plot.__name__.strip('_')} cannot be drawn ({storable.raised(error)})")
                continue
            found += [path] if path else []
    return found


def _confusion(model: Any, x: Any, y: Any, folder: Path) -> Path:
    from sklearn.metrics import ConfusionMatrixDisplay

    predicted = model.predict(x)
    labels = np.unique(np.concatenate([y.astype(str), np.asarray(predicted).astype(str)]))
    count, longest = len(labels), max(map(len, labels))
    size = min(4 + 0.45 * count, 14)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        y, predicted, ax=axes, cmap="Blues", include_values=count <= NUMBERS, xticks_rotation=45 if longest > 3 and count > 2 else 0
    )
    axes.set_title("Confusion matrix on held-back data")
    return _saved(figure, "confusion_matrix", folder)


def _roc(model: Any, x: Any, y: Any, folder: Path) -> Path | None:
    from sklearn.metrics import RocCurveDisplay

    return _curves(RocCurveDisplay, "ROC", "roc_curve", model, x, y, folder)


def _precision_recall(model: Any, x: Any, y: Any, folder: Path) -> Path | None:
    from sklearn.metrics import PrecisionRecallDisplay

    return _curves(PrecisionRecallDisplay, "Precision and recall", "precision_recall_curve", model, x, y, folder)


def _curves(display: Any, title: str, name: str, model: Any, x: Any, y: Any, folder: Path) -> Path | None:
    """One curve for two classes, one for each class against the rest for more, one for all together for many."""
    from sklearn.preprocessing import label_binarize

    scores = _class_scores(model, x)
    if scores is None:
        say(f"[pictures] {name} needs a model with predict_proba or decision_function")
        return None
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    classes = list(model.classes_)
    if scores.ndim == 1 or scores.shape[1] == 2:
        positive = scores if scores.ndim == 1 else scores[:, 1]
        display.from_predictions(y == classes[1], positive, name=str(classes[1]), ax=axes, plot_chance_level=True)
    else:
        truth = label_binarize(y, classes=classes)
        if len(classes) > CURVES:
            display.from_predictions(truth.ravel(), scores.ravel(), name=f"all {len(classes)} classes", ax=axes, plot_chance_level=True)
        else:
            for number, label in enumerate(classes):
                if 0 < truth[:, number].sum() < len(truth):  # no curve where a class is missing, or alone
                    display.from_predictions(truth[:, number], scores[:, number], name=str(label), ax=axes)
            if name == "roc_curve":
                axes.plot([0, 1], [0, 1], "k--", linewidth=0.8, label="chance")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.set(title=f"{title} on held-back data", xlabel="False positive rate" if name == "roc_curve" else "Recall")
    axes.set_ylabel("True positive rate" if name == "roc_curve" else "Precision")
    return _saved(figure, name, folder)


def _class_scores(model: Any, x: Any) -> Any:
    for method in ("predict_proba", "decision_function"):
        if hasattr(model, method):
            return np.asarray(getattr(model, method)(x))
    return None


def _residuals(model: Any, x: Any, y: Any, folder: Path) -> Path:
    from sklearn.metrics import PredictionErrorDisplay

    predicted = model.predict(x)
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    dots = {"alpha": 0.5, "s": 14}
    PredictionErrorDisplay.from_predictions(y, predicted, kind="actual_vs_predicted", ax=panels[0], scatter_kwargs=dots, random_state=0)
    PredictionErrorDisplay.from_predictions(y, predicted, kind="residual_vs_predicted", ax=panels[1], scatter_kwargs=dots, random_state=0)
    figure.suptitle("Predictions on held-back data")
    return _saved(figure, "residuals", folder)


def _value(number: int, trial: Any) -> float:
    return float(trial.values[number])


def _optuna(name: str, draw: Callable[[], Any], folder: Path) -> Path | None:
    with _drawing():
        try:
            axes = draw()
        except Exception as error:
            say(f"[pictures] {name} cannot be drawn ({storable.raised(error)})")
            return None
        figure = np.ravel(axes)[0].figure
        figure.set_size_inches(11, 6)
        return _saved(figure, name, folder)


@contextmanager
def _drawing() -> Iterator[None]:
    """Whatever is set, styled or opened inside is undone."""
    before = set(plt.get_fignums())
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls all of its pictures experimental
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def _saved(figure: Any, name: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    return path
