"""Pictures: real PNG files with something on them, and nothing left behind in matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from lab_experiment import cross_validation, pictures

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(autouse=True)
def leaves_nothing() -> Any:
    """A figure and a style of a package are as they were afterwards."""
    plt.rcdefaults()
    mine = plt.figure()
    settings = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == [mine.number]
    assert dict(mpl.rcParams) == settings
    plt.close(mine)


def names(paths: list[Path]) -> list[str]:
    """The names of pictures that are real."""
    for path in paths:
        image = plt.imread(path)
        assert path.read_bytes().startswith(b"\x89PNG"), path
        assert image.shape[0] > 300 and image.shape[1] > 500, path
        assert (image[..., :3].min(axis=2) < 0.6).mean() > 0.003, f"{path} is empty"
    return [path.stem for path in paths]


def study(directions: tuple[str, ...] = ("maximize",), trials: int = 12) -> Any:
    """A search with an integer, a logarithmic, a categorical and a conditional parameter, pruned and failed trials."""
    made = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=1), pruner=optuna.pruners.MedianPruner(n_startup_trials=3))

    def objective(trial: Any) -> Any:
        depth, rate = trial.suggest_int("depth", 2, 8), trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        kernel = trial.suggest_categorical("kernel", ["rbf", "linear"])
        value = depth / 8 - abs(np.log10(rate) + 2) + (trial.suggest_float("gamma", 0.1, 1) if kernel == "rbf" else 0)
        if trial.number == 2:
            raise ValueError
        if len(directions) > 1:
            return [value, *(depth * number for number in range(1, len(directions)))]
        for step in range(4):
            trial.report(value * (step + 1) / 4, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    made.optimize(objective, n_trials=trials, catch=(ValueError,))
    return made


def test_a_search_has_its_pictures(tmp_path: Path) -> None:
    assert names(pictures.of_study(study(), tmp_path)) == ["optimization_history", "parameter_importance", "parallel_coordinates", "intermediate_values"]


def test_a_search_for_two_objectives_has_its_front(tmp_path: Path) -> None:
    found = names(pictures.of_study(study(("maximize", "minimize")), tmp_path))
    assert found[-1] == "pareto_front"
    assert {"optimization_history_0", "optimization_history_1", "parameter_importance_1", "parallel_coordinates_1"} <= set(found)


def test_what_optuna_cannot_draw_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.of_study(optuna.create_study(), tmp_path) == []
    assert "[pictures] the search has no finished trial to draw" in capsys.readouterr().out
    assert names(pictures.of_study(study(trials=1), tmp_path)) == ["optimization_history", "intermediate_values"]
    assert "[pictures] the importance of parameters needs two finished trials" in capsys.readouterr().out


def test_folds_have_a_picture(tmp_path: Path) -> None:
    splitter = {"name": "repeated_stratified_k_fold", "options": {"n_splits": 5, "n_repeats": 3, "random_state": 1}}
    settings = {"splitter": splitter, "scoring": ["accuracy", "f1_macro", "neg_log_loss"]}
    assert names(pictures.of_folds(cross_validation.run(settings, GaussianNB, load_wine(return_X_y=True)), tmp_path)) == ["folds"]


class Foreign:
    """Fitted by somebody who never heard of scikit-learn."""

    def predict(self, x: Any) -> list[str]:
        """Always the same."""
        return ["class_1"] * len(x)


@pytest.mark.parametrize(
    ("model", "load", "expected"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), load_breast_cancer, ["confusion_matrix", "roc_curve", "precision_recall_curve"]),
        (make_pipeline(StandardScaler(), LinearSVC()), load_breast_cancer, ["confusion_matrix", "roc_curve", "precision_recall_curve"]),
        (GaussianNB(), load_wine, ["confusion_matrix", "roc_curve", "precision_recall_curve"]),
        (GaussianNB(), load_digits, ["confusion_matrix", "roc_curve", "precision_recall_curve"]),
        (Ridge(), load_diabetes, ["residuals"]),
    ],
    ids=["two classes", "decision function", "three classes", "ten classes", "regressor"],
)
def test_a_model_has_the_pictures_of_its_kind(model: Any, load: Any, expected: list[str], tmp_path: Path) -> None:
    data = load(as_frame=True)
    y = data.target.map(lambda number: str(data.target_names[number])) if load in (load_breast_cancer, load_wine) else data.target
    model.fit(data.data[::2], y[::2])
    assert names(pictures.of_model(model, data.data[1::2], y[1::2], tmp_path)) == expected


def test_a_foreign_model_without_probabilities_has_its_confusion_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_wine(return_X_y=True)
    assert names(pictures.of_model(Foreign(), x, [f"class_{number}" for number in y], tmp_path)) == ["confusion_matrix"]
    assert "roc_curve needs a model with predict_proba or decision_function" in capsys.readouterr().out


class Unclear(Foreign):
    """Does not even say what it is."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """None."""
        return {}

    @property
    def _estimator_type(self) -> str:
        raise RuntimeError("not fitted")


def test_a_model_of_unknown_kind_has_none_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_wine(return_X_y=True)
    assert pictures.of_model(Unclear(), x, y, tmp_path) == []
    assert "[pictures] nobody can tell what the model is, so nothing is drawn (RuntimeError: not fitted)" in capsys.readouterr().out


def test_many_classes_are_still_legible(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    y = np.repeat([f"kind {number:02}" for number in range(40)], 8)
    x = generator.normal(size=(320, 5)) + np.repeat(np.arange(40), 8).reshape(-1, 1) / 4
    assert names(pictures.of_model(GaussianNB().fit(x, y), x, y, tmp_path)) == ["confusion_matrix", "roc_curve", "precision_recall_curve"]


def test_a_model_that_cannot_predict_has_none_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_wine(return_X_y=True)
    assert pictures.of_model(GaussianNB(), x, y, tmp_path) == []
    assert "[pictures] confusion cannot be drawn (NotFittedError" in capsys.readouterr().out
