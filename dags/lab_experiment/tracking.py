"""Tracking in MLflow: the run and what is nested in it, the model, and its registration.

The run is made before the first step, so that a server that cannot be reached is found at once, and a failed training is a failed run. Several processes,
one after the other and side by side, work on one run; none of them has it *active*: a package that uses MLflow itself starts its own, which
``MLFLOW_RUN_CONTEXT`` nests in ours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import math
import os
import queue
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow looks for git, which a worker need not have
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a lab calls nobody it was not told to call
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # gives up after a minute instead of four; Airflow tries again later
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every trial; the address of the whole run is printed once
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a log is no terminal
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")  # a worker need not reach the store that MLflow has its files in
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")

import cloudpickle
import mlflow
import mlflow.artifacts
import mlflow.models
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from lab_experiment import callables, examples, pages, predicting, references, requirements, storable, wrapped
from lab_experiment.document import calls
from lab_experiment.failures import Failure

FLAVORS = {"sklearn": "mlflow.sklearn", "lightgbm": "mlflow.lightgbm", "xgboost": "mlflow.xgboost"}
"""MLflow's module for a model by the package its class comes from; all others are wrapped."""

KIND = "mlflow.experimentKind"
"""Tag of an experiment that MLflow's pages follow: without it they open on GenAI."""
MODELS = "custom_model_development"
"""The kind of an experiment in which models are trained."""
SEPARATOR = " · "
"""Between the parts of a run's name."""
EXAMPLE_ROWS = 5
BATCH = 100
"""Parameters in one request, at most."""
METRICS = 500
"""Metrics in one request; MLflow takes at most 1000 of all kinds."""
LONGEST_REQUEST = 4000
"""Characters of a request that somebody may want to copy from a terminal."""
TRAINED = "training.json"
"""The artifact that says what a training recorded, once all of it is; the tag ``lab.trained`` of the run says that it is there."""


@dataclass
class Logged:
    """A model in MLflow."""

    uri: str
    model_id: str | None
    """None where MLflow is older than 3, which knows models only as artifacts of runs."""


def connected() -> Any:
    """MLflow's client.

    Raises:
        Failure: MLflow is not named.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise Failure("MLFLOW_TRACKING_URI is not set in the worker's environment; it must hold the address of MLflow")
    client = mlflow.MlflowClient()
    inner = getattr(client, "_tracking_client", None)
    if inner is not None and hasattr(inner, "_log_url"):  # an older MLflow prints the address of every run that ends, and has no setting for that
        inner._log_url = lambda *_: None
    return client


def parent(client: Any, document: Mapping[str, Any], digest: str, tags: Mapping[str, str]) -> Run:
    """The run of a DAG run: the one that an earlier try of the same DAG run made for the same document and did not finish, or else a new one.

    Raises:
        Failure: MLflow refuses.
    """
    track = document["track"]
    print(f"[track] MLflow is at {os.environ['MLFLOW_TRACKING_URI']}", flush=True)
    with failures(f"making a run in the experiment {track['experiment']!r}"):
        experiment = mlflow.set_experiment(track["experiment"])
        if KIND not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, KIND, MODELS)
        run = _unfinished(client, experiment.experiment_id, digest, tags)
        made = "goes on" if run else "was made"
        if run is None:
            own = {
                "mlflow.source.name": tags["lab.file"],
                "mlflow.source.type": "JOB",
                **track["tags"],
                **tags,
                "lab.kind": "experiment",
                "lab.experiment": document["name"],
                "lab.document": digest,
            }
            name = track["run_name"] or SEPARATOR.join([document["name"], f"{datetime.now(UTC):%Y-%m-%d %H:%M}"])
            run = client.create_run(experiment.experiment_id, tags=own, run_name=name)
    page = pages.run(run.info.experiment_id, run.info.run_id)
    print(f"[track] MLflow run {run.info.run_id} in the experiment {track['experiment']!r} {made}{page and f': {page}'}", flush=True)
    return run


def show_in_name(client: Any, run_id: str, metric: str, value: float) -> None:
    """Let the name that the lab gave a run say what came of it: ``wine · 2026-11-26 14:02 · accuracy 0.978``. A later try says it anew."""
    given = client.get_run(run_id).info.run_name.split(SEPARATOR)[:2]
    client.update_run(run_id, name=SEPARATOR.join([*given, f"{metric} {value:.4g}"]))


def _unfinished(client: Any, experiment_id: str, digest: str, tags: Mapping[str, str]) -> Run | None:
    if not tags.get("airflow.run_id") or any("'" in value or "`" in value for value in (tags["airflow.run_id"], tags.get("airflow.dag_id", ""))):
        return None
    wanted = {"airflow.run_id": tags["airflow.run_id"], "airflow.dag_id": tags.get("airflow.dag_id", ""), "lab.document": digest, "lab.kind": "experiment"}
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items() if value)
    runs = client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    return runs[0] if runs and runs[0].info.status != "FINISHED" else None


@contextmanager
def working_on(client: Any, run_id: str, tags: Mapping[str, str], last: bool = False) -> Iterator[None]:
    """Work on a run that was made: it is running, and ends as failed or killed when this does; the last of the workers ends it as finished.

    Raises:
        Failure: MLflow refuses.
    """
    with failures(f"going on with the run {run_id}"):
        run = client.get_run(run_id)
        if run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        if "lab.failure" in run.data.tags:
            client.delete_tag(run_id, "lab.failure")
        new = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
        if new:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in new.items()])
    status = "FAILED"
    try:
        yield
        status = "FINISHED" if last else "RUNNING"
    except Failure as error:
        try:
            client.set_tag(run_id, "lab.failure", storable.text(str(error)))
        except Exception as second:  # the failure is what is to be told, whatever MLflow says to it
            print(f"[track] MLflow did not take the failure ({storable.raised(second)})", flush=True)
        raise
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        if status != "RUNNING":
            _keep_kinds(client, run.info.start_time)
            client.set_terminated(run_id, status)


def _keep_kinds(client: Any, since: int) -> None:
    """Give their kind to the experiments that were made without one since then: a package may log to others than the lab's."""
    with suppress(MlflowException):  # no training shall fail for what a page opens with
        for experiment in client.search_experiments(filter_string=f"creation_time >= {since}"):
            if KIND not in experiment.tags:
                client.set_experiment_tag(experiment.experiment_id, KIND, MODELS)


def nested(client: Any, experiment_id: str, parent_id: str, kind: str, name: str, tags: Mapping[str, str] | None = None, start: float | None = None) -> str:
    """Make a run inside another one; returns its id. ``start`` is in seconds since 1970."""
    own = {"mlflow.parentRunId": parent_id, "mlflow.source.type": "JOB", "lab.kind": kind, **(tags or {})}
    run = client.create_run(experiment_id, start_time=_milliseconds(start), tags=own, run_name=name)
    return str(run.info.run_id)


def end(client: Any, run_id: str, status: str = "FINISHED", at: float | None = None) -> None:
    """End a run; ``at`` is in seconds since 1970."""
    client.set_terminated(run_id, status, _milliseconds(at))


def log(
    client: Any,
    run_id: str,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    series: Mapping[str, Mapping[int, float]] | None = None,
    at: float | None = None,
) -> None:
    """Log all of this, in one request where MLflow takes as many; ``series`` are metrics by step. What is no finite number is left out."""
    now = _milliseconds(at) or int(time.time() * 1000)
    values = [Metric(name, value, now, 0) for name, value in storable.finite(metrics or {}).items()]
    values += [Metric(name, value, now, step) for name, steps in (series or {}).items() for step, value in steps.items() if math.isfinite(value)]
    parameters = [Param(name, text(value)) for name, value in (params or {}).items()]
    marks = [RunTag(name, storable.text(value)) for name, value in (tags or {}).items()]
    for number in range(max(1, math.ceil(len(values) / METRICS), math.ceil(len(parameters) / BATCH))):
        some = slice(number * BATCH, (number + 1) * BATCH)
        client.log_batch(run_id, metrics=values[number * METRICS : (number + 1) * METRICS], params=parameters[some], tags=marks if number == 0 else ())


def text(value: Any) -> str:
    """A parameter as MLflow keeps it."""
    return storable.text(value if isinstance(value, str) else json.dumps(value, default=str))


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


class Writer:
    """Writes to MLflow in a thread of its own, so that trials need not wait for it. What cannot be written is said, and left to :func:`search.settle`."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)  # a killed process does not wait for it

    def __enter__(self) -> Writer:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is waiting; after a failure only what takes no time."""
        self._waiting.put(None)
        self._thread.join(None if kind is None else 2)

    def put(self, write: Callable[[], None]) -> None:
        """Have something written."""
        self._waiting.put(write)

    def _write(self) -> None:
        while (write := self._waiting.get()) is not None:
            try:
                write()
            except Exception as error:
                print(f"[track] MLflow did not take something yet ({storable.raised(error)})", flush=True)


def own_runs(client: Any, root_id: str, key: str, **tags: str) -> list[Run]:
    """Runs with these tags that a package started itself while a call was made, in whatever experiment, the latest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments(max_results=1000)]
    wanted = {"lab.parent_run_id": root_id, "lab.key": key, **tags}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
    return list(client.search_runs(experiments, query, order_by=["attributes.start_time DESC"]))


def model_of(client: Any, run: Run) -> Logged | None:
    """The model that a run logged last."""
    if hasattr(client, "search_logged_models"):
        models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        if models:
            last = max(models, key=lambda model: model.creation_timestamp)
            return Logged(f"models:/{last.model_id}", last.model_id)
    history = json.loads(run.data.tags.get("mlflow.log-model.history", "[]"))
    return Logged(f"runs:/{run.info.run_id}/{history[-1]['artifact_path']}", None) if history else None


def parameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """The plain arguments of all calls as parameters: ``prepare.seed``, ``train.trees``; references are left out, inputs are ``inputs.<name>``."""
    found: dict[str, Any] = {f"inputs.{name}": references.decoded(value) for name, value in document["inputs"].items()}
    for key, _, arguments in calls(document):
        short = key.removeprefix("steps.").removeprefix("train.")
        found |= {f"{short}.{name}": references.resolve(value, {}) for name, value in arguments.items() if not references.of(value)}
    if document["search"]:
        found |= {f"search.{key}": value for key, value in document["search"].items() if key not in ("objective", "space") and value is not None}
        found |= {f"search.space.{name}": value for name, value in document["search"]["space"].items()}
    if document["cross_validation"]:
        found |= {f"cross_validation.{key}": document["cross_validation"][key] for key in ("splitter", "scoring") if document["cross_validation"].get(key)}
    return found


def failures(what: str) -> AbstractContextManager[None]:
    """Tell what MLflow refuses in one sentence, as a :class:`Failure`."""
    return callables.told_as(f"track: {what} failed with")


def example_of(source: Any, model: Any, method: str = "predict") -> Any:
    """The first rows of data, in a form that MLflow can keep and send and that the model takes; None if there is no such form, which is said.

    Args:
        source: A frame, an array, a sparse matrix, a list, or the path of a CSV or Parquet file.
        model: The model. A frame is narrowed to the columns that it was fitted on when it tells them.
        method: What the model predicts by, ``predict`` or ``predict_proba``.
    """
    import pandas as pd

    table = source
    with failures(f"reading train.input_example from {source if isinstance(source, (str, Path)) else type(source).__name__}"):
        if isinstance(source, (str, Path)):
            table = pd.read_parquet(source) if str(source).endswith(".parquet") else pd.read_csv(source)
        columns = list(getattr(model, "feature_names_in_", []))
        if isinstance(table, pd.DataFrame) and columns:
            table = table[columns]
        count = table.shape[0] if hasattr(table, "shape") else len(table)
    if not count:
        raise Failure("train.input_example has no rows; allowed is a table with at least one")
    try:
        if isinstance(model, mlflow.pyfunc.PythonModel):  # which says itself what it takes
            return table[:EXAMPLE_ROWS]
        rows = examples.rows_of(table, EXAMPLE_ROWS)
        examples.check(model, table, rows, method)
        return rows
    except Exception as error:
        callables.say(f"[track] the model is recorded without signature and input example, so it cannot be deployed: {storable.raised(error)}")
        return None


def log_model(run_id: str, folder: Path, flavor: str) -> Logged:
    """Log a model that :func:`save_model` wrote to a folder; without a flavor it is a file of the run."""
    if not flavor:
        with failures("logging the model to MLflow"):
            mlflow.MlflowClient().log_artifacts(run_id, str(folder), "model")
        return Logged(f"runs:/{run_id}/model", None)

    class Saved:
        """What MLflow takes for a flavor."""

        @staticmethod
        def save_model(path: str, mlflow_model: Any, **_: Any) -> None:
            """Bring the folder, and what is in its MLmodel beside the identity that MLflow just gave."""
            shutil.copytree(folder, path)
            given = {name: value for name, value in vars(mlflow_model).items() if name in ("artifact_path", "model_uuid", "run_id", "model_id")}
            vars(mlflow_model).update({**vars(mlflow.models.Model.load(str(folder))), **given})
            mlflow_model.save(str(Path(path, "MLmodel")))

    Saved.__name__ = flavor
    named = {"artifact_path": None, "name": "model"} if "name" in inspect.signature(mlflow.models.Model.log).parameters else {"artifact_path": "model"}
    with failures("logging the model to MLflow"):
        mlflow.set_experiment(experiment_id=mlflow.MlflowClient().get_run(run_id).info.experiment_id)
        info = mlflow.models.Model.log(flavor=Saved, run_id=run_id, validate_serving_input=False, **named)
    model_id = getattr(info, "model_id", None)
    return Logged(f"models:/{model_id}" if model_id else info.model_uri, model_id)


def save_model(folder: Path, model: Any, example: Any, method: str = "predict") -> str:
    """Write a model in MLflow's format for its kind, with signature, input example and pinned requirements; gives the flavor (``mlflow.sklearn``).

    Where it is served it answers by ``method``. A model of any other class, or whose format has no word for the method, is wrapped
    (:mod:`lab_experiment.wrapped`).

    Raises:
        Failure: It cannot be pickled, or MLflow refuses.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with failures("writing the model in MLflow's format"):
        more: dict[str, Any] = {} if example is None else {"input_example": example}
        if isinstance(model, mlflow.pyfunc.PythonModel) and method == "predict":
            mlflow.pyfunc.save_model(folder, python_model=model, pip_requirements=requirements.of_model(model), **more)
            return "mlflow.pyfunc"
        package = next((name for name in (base.__module__.partition(".")[0] for base in type(model).__mro__) if name in FLAVORS), None)
        if example is not None:
            more["signature"] = examples.describe(example, predicting.predict(model, example, method))
        if package is None or (package != "sklearn" and method != "predict"):
            _refuse_unless_pickled(model)
            made = wrapped.wrap(model, method)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*Add type hints")  # which the wrapper must not have
                mlflow.pyfunc.save_model(folder, python_model=made, pip_requirements=requirements.of_model(made), **more)
            callables.say(f"[track] a {kind_of(model)} is kept as a model of mlflow.pyfunc, which calls its {method}")
            return "mlflow.pyfunc"
        flavor = importlib.import_module(FLAVORS[package])
        held = {} if predicting.is_booster(model) else _sklearn_format(model, flavor)  # a booster has a format of its own
        also = ["skops"] if "skops_trusted_types" in held else []
        if method != "predict":
            held["pyfunc_predict_fn"] = method
        flavor.save_model(model, str(folder), pip_requirements=requirements.of_model(model, *also), **more, **held)
        return FLAVORS[package]


def kind_of(model: Any) -> str:
    """The class of a model with its module."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _refuse_unless_pickled(model: Any) -> None:
    """Refuse a model that cannot be kept.

    Raises:
        Failure: cloudpickle cannot hold it.
    """
    try:
        cloudpickle.dumps(model)
    except Exception as error:
        words = "allowed: a model that can be pickled, without open files, connections, locks or generators in it"
        raise Failure(f"train: cloudpickle cannot hold the {kind_of(model)} that was trained ({storable.raised(error, True)}); {words}", final=True) from None


def _sklearn_format(model: Any, flavor: Any) -> dict[str, Any]:
    """skops, which loads only the types that are named with the model; cloudpickle for what skops cannot hold, and where it or MLflow's use of it is missing.

    The types to trust are those of the very object we are about to write: the file is ours. Without them MLflow refuses every tree and forest, and of
    LightGBM's classes all but two. MLflow itself tells its formats: nothing is said to a flavor that does not ask.
    """
    if "skops_trusted_types" not in inspect.signature(flavor.save_model).parameters:
        return {}
    try:
        import skops.io

        data = skops.io.dumps(model)
        types = skops.io.get_untrusted_types(data=data)
        skops.io.loads(data, trusted=types)
    except Exception as error:
        callables.say(f"[track] skops cannot hold this model ({storable.raised(error)}); it is written with cloudpickle")
        return {"serialization_format": "cloudpickle"}
    return {"skops_trusted_types": types}


def log_metrics(client: Any, run_id: str, metrics: Mapping[str, float], model_id: str | None) -> None:
    """Log metrics to a run and, where MLflow can, to a model."""
    more = {"model_id": model_id} if model_id else {}
    now = int(time.time() * 1000)
    values = [Metric(name, value, now, 0, **more) for name, value in metrics.items()]
    with failures("logging metrics to MLflow"):
        for begin in range(0, len(values), METRICS):
            client.log_batch(run_id, metrics=values[begin : begin + METRICS])


def trained(client: Any, run_id: str) -> dict[str, Any] | None:
    """What :func:`keep_trained` kept for a run; None if its training was never done to its end."""
    if "lab.trained" not in client.get_run(run_id).data.tags:
        return None
    found: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{run_id}/{TRAINED}")
    return found


def keep_trained(client: Any, run_id: str, outcome: Mapping[str, Any]) -> None:
    """Keep what a training recorded, for a try that finds it done: whole, or not at all."""
    client.log_dict(run_id, dict(outcome), TRAINED)
    client.set_tag(run_id, "lab.trained", outcome["model_uri"])


def fetch(uri: str, folder: Path) -> str:
    """Fetch a model's files from MLflow to a folder; gives where they are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def text_of(run_id: str, path: str) -> str:
    """The text of an artifact of a run."""
    return str(mlflow.artifacts.load_text(f"runs:/{run_id}/{path}"))


def serving_request(folder: Path) -> str | None:
    """What to send to a service of a model whose files are below a folder: the first row of its input example, as MLflow's scoring protocol takes it.

    None where the model has no example, or where the text would have more than ``LONGEST_REQUEST`` characters.
    """
    file = next(folder.rglob("serving_input_example.json"), None)
    request = json.loads(file.read_text(encoding="utf-8")) if file else None
    if not isinstance(request, dict):
        return None
    for key, rows in request.items():
        if isinstance(rows, list):
            request[key] = rows[:1]
        elif key == "dataframe_split":
            request[key] = {name: part if name == "columns" else part[:1] for name, part in rows.items()}
    text = json.dumps(request)
    return text if len(text) <= LONGEST_REQUEST else None


def register(client: Any, logged: Logged, name: str, description: str, tags: Mapping[str, str]) -> int:
    """Register a model as the next version of ``name``, if no earlier try of the run did (``lab.run`` of the tags); returns the version.

    Raises:
        Failure: MLflow refuses.
    """
    with failures(f"registering the model as {name!r}"):
        there = client.search_model_versions(f"name = '{name}' and tags.`lab.run` = '{tags['lab.run']}'")
        version = there[0] if there else mlflow.register_model(logged.uri, name, tags=dict(tags))
        if there:
            print(f"[track] an earlier try of this run registered version {version.version} of {name}", flush=True)
        client.update_model_version(name, version.version, storable.text(description))
    return int(version.version)
