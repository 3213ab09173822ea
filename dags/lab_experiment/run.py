"""Runs a document from its first step to the registered model, in one process and one folder.

One process, because the result of a step may be anything (a frame, a fitted model), and because Celery workers on several hosts share no disk: what a
step leaves in the run's folder is there for the next step, and nothing is pickled on the way.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab_experiment import callables, tracking
from lab_experiment.callables import Failure
from lab_experiment.references import UnmetReference, resolve


def run(document: Mapping[str, Any], file: str, folder: Path, tags: Mapping[str, str]) -> dict[str, Any]:
    """Run a document.

    Args:
        document: What :func:`lab_experiment.document.read` returned.
        file: The file it was read from, for messages and tags.
        folder: The run's folder, ``{{ run_dir }}``; made new, removed after success, kept after a failure.
        tags: Tags of the MLflow run besides those in the file.

    Returns:
        Plain values: ``experiment``, ``mlflow_experiment``, ``mlflow_run_id``, ``metrics``, ``plots``, ``model_id``, ``model_uri`` and, when
        registered, ``registered_model`` and ``version`` (else None).

    Raises:
        Mistakes: A callable or one of its arguments does not exist here.
        Failure: A callable or the tracking failed.
    """
    callables.check(document, file)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tracking.started(document, {**tags, "lab.file": file, "lab.packages": tracking.packages(document)}) as tracked:
        results = _train(document, folder)
        outcome = tracked.record(document, folder, results)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _train(document: Mapping[str, Any], folder: Path) -> tracking.Results:
    steps: dict[str, Any] = {}
    values: dict[str, Any] = {"run_dir": str(folder), "steps": steps}
    for number, step in enumerate(document["steps"]):
        steps[step["name"]] = _call(f"steps[{number}] {step['name']}", step, values)
    train = document["train"]
    evaluate = train["evaluate"]
    model = _call("train", train, values)
    values["model"] = model
    metrics = metrics_of(evaluate["call"], _call("train.evaluate", evaluate, values))
    print(f"[metrics] {', '.join(f'{name}={value:.6g}' for name, value in metrics.items())}", flush=True)
    plots = [Path(_resolved(f"train.evaluate.plots[{number}]", plot, values)) for number, plot in enumerate(evaluate["plots"])]
    for plot in plots:
        if not plot.is_file():
            raise Failure(f"train.evaluate.plots names {plot}, but {evaluate['call']} wrote no such file")
    example = _resolved("train.input_example", train["input_example"], values)
    return tracking.Results(model=model, metrics=metrics, plots=plots, example=example)


def metrics_of(call: str, result: Any) -> dict[str, float]:
    """Turn what an evaluation returned into metrics; those of a mapping within a mapping get names with a dot.

    Raises:
        Failure: It is not a mapping of names to numbers.
    """
    if not isinstance(result, Mapping):
        raise Failure(f"train.evaluate: {call} returned a {type(result).__name__}; allowed is a mapping of metric names to numbers")
    metrics: dict[str, float] = {}
    for name, value in result.items():
        if isinstance(value, Mapping):
            metrics.update({f"{name}.{inner}": number for inner, number in metrics_of(call, value).items()})
            continue
        try:
            metrics[str(name)] = float(value)
        except (TypeError, ValueError):
            raise Failure(f"train.evaluate: {call} returned {value!r} as metric {name!r}; allowed is a number") from None
    return metrics


def _call(key: str, what: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    arguments = {name: _resolved(f"{key}.with.{name}", value, values) for name, value in what["with"].items()}
    return callables.call(key, what["call"], arguments)


def _resolved(key: str, value: Any, values: Mapping[str, Any]) -> Any:
    try:
        return resolve(value, values)
    except UnmetReference as error:
        raise Failure(f"{key} has {error}") from None
