"""Tracking in MLflow: the run, its parameters, metrics and plots, the model, and its registration.

The run is made before the first step, so that a server that cannot be reached is found at once, and a failed training is a failed run. No run is *active*
while the steps run: a package that uses MLflow itself starts its own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow looks for git, which a worker need not have
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a lab calls nobody it was not told to call
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # gives up after a minute instead of four; Airflow tries again later

import mlflow
import mlflow.models

from lab_experiment import callables, requirements
from lab_experiment.callables import Failure

FLAVORS = {"sklearn": "mlflow.sklearn", "lightgbm": "mlflow.lightgbm", "xgboost": "mlflow.xgboost"}
"""MLflow's module for a model by the package its class comes from."""

EXAMPLE_ROWS = 5


@dataclass
class Results:
    """What a training gave."""

    model: Any
    """The model, or the path of a file written by joblib or pickle."""
    metrics: dict[str, float]
    plots: list[Path]
    example: Any
    """A table to take the input example from: a frame, an array, or the path of a CSV or Parquet file. Columns the model does not know are left out."""


@contextmanager
def started(document: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Tracked]:
    """Make an MLflow run, and end it as finished, failed or killed.

    Raises:
        Failure: MLflow is not named or refuses.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise Failure("MLFLOW_TRACKING_URI is not set in the worker's environment; it must hold the address of MLflow")
    client = mlflow.MlflowClient()
    track = document["track"]
    print(f"[track] MLflow is at {os.environ['MLFLOW_TRACKING_URI']}", flush=True)
    with _failures(f"making a run in the experiment {track['experiment']!r}"):
        experiment = mlflow.set_experiment(track["experiment"])
        all_tags = {
            "mlflow.source.name": tags["lab.file"],
            "mlflow.source.type": "JOB",
            **track["tags"],
            **tags,
            "lab.experiment": document["name"],
        }
        run = client.create_run(experiment.experiment_id, tags=all_tags, run_name=track["run_name"] or None)
    print(f"[track] MLflow run {run.info.run_id} in the experiment {track['experiment']!r}", flush=True)
    status = "FAILED"
    try:
        yield Tracked(client, run.info.run_id)
        status = "FINISHED"
    except Failure as error:
        client.set_tag(run.info.run_id, "lab.failure", str(error)[:5000])
        raise
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run.info.run_id, status)


@dataclass
class Tracked:
    """An MLflow run that was made."""

    client: Any
    run_id: str

    def record(self, document: Mapping[str, Any], folder: Path, results: Results) -> dict[str, Any]:
        """Log parameters, plots, the model and the metrics, and register the model last: what is registered is complete.

        Returns:
            As :func:`lab_experiment.run.run`.
        """
        model = _loaded(results.model)
        example = _example(results.example, model)
        with _failures("logging to MLflow"), mlflow.start_run(run_id=self.run_id):
            mlflow.log_params(parameters(document))
            mlflow.log_dict(dict(document), "experiment.json")
            for plot in results.plots:
                mlflow.log_artifact(str(plot), "plots")
            info = _log_model(model, example)
            mlflow.log_metrics(results.metrics, model_id=info.model_id)
        outcome: dict[str, Any] = {
            "experiment": document["name"],
            "mlflow_experiment": document["track"]["experiment"],
            "mlflow_run_id": self.run_id,
            "metrics": results.metrics,
            "plots": [f"plots/{plot.name}" for plot in results.plots],
            "model_id": info.model_id,
            "model_uri": f"models:/{info.model_id}",
            "registered_model": None,
            "version": None,
        }
        if document["register"]:
            name = document["register"]["name"]
            with _failures(f"registering the model as {name!r}"):
                version = mlflow.register_model(outcome["model_uri"], name, tags={"lab.experiment": document["name"]})
                if document["register"]["description"]:
                    self.client.update_model_version(name, version.version, document["register"]["description"])
            outcome |= {
                "model_uri": f"models:/{name}/{version.version}",
                "registered_model": name,
                "version": int(version.version),
            }
        print(f"[track] the model is {outcome['model_uri']}", flush=True)
        return outcome


def parameters(document: Mapping[str, Any]) -> dict[str, str]:
    """The plain arguments of all calls as MLflow parameters: ``prepare.seed``, ``train.trees``, ``evaluate.limit``; references are left out."""
    named = [
        *((step["name"], step) for step in document["steps"]),
        ("train", document["train"]),
        ("evaluate", document["train"]["evaluate"]),
    ]
    return {
        f"{name}.{argument}": value if isinstance(value, str) else json.dumps(value)
        for name, call in named
        for argument, value in call["with"].items()
        if "{{" not in json.dumps(value)
    }


def packages(document: Mapping[str, Any]) -> str:
    """The distributions that the callables come from, ``name==version``, separated by blanks."""
    by_module = importlib.metadata.packages_distributions()
    modules = {call.partition(":")[0].partition(".")[0] for _, call, _ in callables.calls(document)}
    names = sorted({name for module in modules for name in by_module.get(module, [])})
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in names)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        callables.tell(error)
        raise Failure(f"track: {what} failed with {type(error).__name__}: {error}") from None


def _loaded(model: Any) -> Any:
    """A training may return the model or the path of a file it wrote."""
    if not isinstance(model, (str, Path)):
        return model
    if not Path(model).is_file() or Path(model).suffix not in (".joblib", ".pkl", ".pickle"):
        raise Failure(f"train: the training returned {str(model)!r}; allowed is a model, or the path of a file it wrote that ends in .joblib, .pkl or .pickle")
    import joblib

    with _failures(f"reading the model from {model}"):
        return joblib.load(model)  # the package's own file, written in this run


def _example(source: Any, model: Any) -> Any:
    """The first rows of a table, with the columns that the model was fitted on when it tells them."""
    import pandas as pd

    table = source
    with _failures(f"reading train.input_example from {source if isinstance(source, (str, Path)) else type(source).__name__}"):
        if isinstance(source, (str, Path)):
            table = pd.read_parquet(source) if str(source).endswith(".parquet") else pd.read_csv(source)
        columns = list(getattr(model, "feature_names_in_", []))
        if isinstance(table, pd.DataFrame) and columns:
            table = table[columns]
        rows = table[:EXAMPLE_ROWS]
    if not len(rows):
        raise Failure("train.input_example has no rows; allowed is a table with at least one")
    return rows


def _log_model(model: Any, example: Any) -> Any:
    """Log a model in MLflow's format for its kind, with signature, input example and pinned requirements."""
    if isinstance(model, mlflow.pyfunc.PythonModel):
        return mlflow.pyfunc.log_model(python_model=model, name="model", input_example=example, pip_requirements=requirements.of_model(model))
    package = next((name for name in (base.__module__.partition(".")[0] for base in type(model).__mro__) if name in FLAVORS), None)
    if package is None:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise Failure(f"train: the training returned a {kind}; allowed are models of {', '.join(FLAVORS)} and an mlflow.pyfunc.PythonModel")
    return importlib.import_module(FLAVORS[package]).log_model(
        model,
        name="model",
        signature=mlflow.models.infer_signature(example, model.predict(example)),
        input_example=example,
        pip_requirements=requirements.of_model(model, *(["skops"] if package == "sklearn" else [])),
        **(_sklearn_format(model) if package == "sklearn" else {}),
    )


def _sklearn_format(model: Any) -> dict[str, Any]:
    """skops, which loads only the types that are named with the model; cloudpickle for what skops cannot hold.

    The types to trust are those of the very object we are about to write: the file is ours. Without them MLflow refuses every tree and forest.
    """
    import skops.io

    try:
        data = skops.io.dumps(model)
        types = skops.io.get_untrusted_types(data=data)
        skops.io.loads(data, trusted=types)
    except Exception as error:
        print(f"[track] skops cannot hold this model ({type(error).__name__}: {error}); it is written with cloudpickle", flush=True)
        return {"serialization_format": "cloudpickle"}
    return {"skops_trusted_types": types}
