"""The model: a random forest or a logistic regression, its training and its evaluation."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, balanced_accuracy_score, f1_score, log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from wine_cultivars.data import read


def make_model(kind: str = "forest", trees: int = 200, max_depth: int | None = None, cost: float = 1.0, seed: int = 0) -> Pipeline:
    """Make a model that is not fitted yet.

    Args:
        kind: ``forest`` or ``logistic``.
        trees: Number of trees of a forest, at least 1.
        max_depth: Greatest depth of a tree, in splits; ``None`` lets trees grow until their leaves are pure.
        cost: Cost of a mistake against that of a large weight (``C``) in a logistic regression, above 0.
        seed: Seed of the model; the same seed and data give the same model.

    Returns:
        A pipeline (scaling, model) that predicts the cultivar's name from a frame of shape (rows, 13).

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in ("forest", "logistic"):
        raise ValueError(f"kind is {kind!r}; it must be forest or logistic")
    if kind == "logistic":
        return Pipeline([("scale", StandardScaler()), ("logistic", LogisticRegression(C=cost, max_iter=1000, random_state=seed))])
    return Pipeline([("scale", StandardScaler()), ("forest", RandomForestClassifier(n_estimators=trees, max_depth=max_depth, random_state=seed))])


def train(table: str | Path, trees: int = 200, max_depth: int | None = None, seed: int = 0) -> Pipeline:
    """Fit a random forest on a table of wines.

    Args:
        table: Path of a CSV file as :func:`wine_cultivars.prepare` writes it.
        trees: Number of trees, at least 1.
        max_depth: Greatest depth of a tree, in splits; ``None`` lets trees grow until their leaves are pure.
        seed: Seed of the forest; the same seed and table give the same model.

    Returns:
        A fitted pipeline (scaling, forest) that predicts the cultivar's name from a frame of shape (rows, 13).

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: The table has no column ``cultivar``, or scikit-learn refuses a parameter.
    """
    return make_model("forest", trees, max_depth, seed=seed).fit(*read(table))


def evaluate(model: Pipeline, table: str | Path, plot: str | Path) -> dict[str, float]:
    """Measure a model on a table it has not seen, and draw its confusion matrix.

    Args:
        model: What :func:`train` returned.
        table: Path of the CSV file that was held back.
        plot: Where the confusion matrix goes, a file name ending in ``.png``.

    Returns:
        ``accuracy``, ``balanced_accuracy`` and ``f1_macro`` (0 to 1, 1 is best) and ``log_loss`` (nats per wine, 0 is best).

    Raises:
        FileNotFoundError: There is no such table, or no folder for the plot.
        ValueError: The table has no column ``cultivar``, or not the model's columns.
    """
    measurements, cultivars = read(table)
    predicted = model.predict(measurements)
    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever backend the machine has
    ConfusionMatrixDisplay.from_predictions(cultivars, predicted, ax=figure.subplots(), colorbar=False)
    figure.suptitle(f"{len(cultivars)} wines held back")
    figure.savefig(plot, dpi=120)
    return {
        "accuracy": float(accuracy_score(cultivars, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(cultivars, predicted)),
        "f1_macro": float(f1_score(cultivars, predicted, average="macro")),
        "log_loss": float(log_loss(cultivars, model.predict_proba(measurements), labels=list(model.classes_))),
    }
