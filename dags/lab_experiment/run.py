"""The commands that the tasks of the DAG ``train`` run after ``check``: ``prepare``, ``search``, ``cross_validate`` and ``train``.

They work on one MLflow run and share one folder, each in a process of its own. A step's result is kept there, so that it is not done again for every
task and every try. Celery workers on several hosts share no disk: on a host that does not have the results yet, the first task that needs them does the steps.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lab_experiment import callables, folders, storable, tracking
from lab_experiment.callables import Failure, Final
from lab_experiment.references import UnmetReference, decoded, references, resolve

Answer = dict[str, Any]
"""What a command hands back; see ``__main__``."""


@dataclass
class Job:
    """What a task was asked to do."""

    document: Mapping[str, Any]
    """What :func:`lab_experiment.document.read` returned."""
    file: str
    """The file it was read from, for messages and tags."""
    folder: Path
    """The run's folder, ``{{ run_dir }}``."""
    run_id: str
    """The DAG run's id."""
    tags: Mapping[str, str]
    """Tags of the MLflow run besides those in the file."""
    run: dict[str, str] = field(default_factory=dict)
    """What ``prepare`` made: ``mlflow_run_id``, ``experiment_id``, and with a search ``search_run_id`` and ``study``."""
    file_digest: str = ""
    """Digest of that file, ``sha256:...``."""
    number: int = 1
    """Which of the searchers this is, from 1."""
    of: int = 1
    """How many searchers there are."""

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> Job:
        """Read a request of the DAG."""
        checked = request["checked"]
        part = request.get("part") or {}
        return cls(
            document=checked["document"],
            file=checked["file"],
            folder=folders.folder_of(request["run_id"], Path(request["runs_dir"])),
            run_id=request["run_id"],
            tags=request["tags"],
            run=dict(request.get("run") or {}),
            file_digest=checked.get("file_digest", ""),
            number=part.get("searcher", 1),
            of=part.get("of", 1),
        )

    @cached_property
    def client(self) -> Any:
        """MLflow's client."""
        return tracking.connected()

    @cached_property
    def values(self) -> dict[str, Any]:
        """What references point to, but for ``params`` and ``model``; does the steps whose results this host does not have."""
        known: dict[str, Any] = {
            "run_dir": str(self.folder),
            "inputs": decoded(self.document["inputs"]),
            "mlflow_tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", ""),
        }
        return {**known, "steps": self._steps(known)}

    def _steps(self, known: Mapping[str, Any]) -> dict[str, Any]:
        results: dict[str, Any] = {}
        digest = hashlib.sha256(json.dumps(self.document["inputs"], sort_keys=True).encode())
        with folders.alone(self.folder):
            for step in self.document["steps"]:
                digest.update(json.dumps([step["name"], step["call"], step["with"]], sort_keys=True).encode())
                kept = f"{step['name']}-{digest.hexdigest()[:16]}"
                try:
                    results[step["name"]] = folders.kept(self.folder, kept)
                    continue
                except FileNotFoundError:
                    pass
                except Exception as error:
                    print(f"[steps] the result of {step['name']} cannot be read back ({storable.raised(error)}); it is done again", flush=True)
                result = results[step["name"]] = self.call(f"steps.{step['name']}", step, {**known, "steps": results})
                try:
                    folders.keep(self.folder, kept, result)
                except Exception as error:
                    print(f"[steps] the result of {step['name']} cannot be kept ({storable.raised(error)}); each task does it again", flush=True)
        return results

    def call(self, key: str, what: Mapping[str, Any], values: Mapping[str, Any], parent_id: str = "") -> Any:
        """Make a call of the document; runs that the package starts in MLflow meanwhile are nested in ``parent_id``, by default in this run.

        Raises:
            Failure: The callable is not there, or raised something.
        """
        arguments = self.arguments(key, what, values)
        with self.ours(key, parent_id):
            try:
                return callables.call(key, what["call"], arguments)
            except LookupError as error:
                raise Failure(f"{key}.call has {what['call']!r}; {error.args[0]}") from None

    @contextmanager
    def ours(self, key: str, parent_id: str = "") -> Iterator[None]:
        """Have runs that a package starts nested and found."""
        root = self.run["mlflow_run_id"]
        with tracking.context(self.run["experiment_id"], parent_id or root, root, key.partition(" ")[0]):
            yield

    def arguments(self, key: str, what: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call. One that is nothing but a parameter that a trial does not have (its ``when`` is not met) is left out."""
        found: dict[str, Any] = {}
        for name, value in what["with"].items():
            found |= resolved(f"{key}.with.{name}", {name: value}, values)
        return found


def resolved(key: str, value: Any, values: Mapping[str, Any]) -> Any:
    """Put values in the place of references.

    Raises:
        Failure: One cannot be met.
    """
    try:
        return resolve(value, values)
    except UnmetReference as error:
        raise Failure(f"{key} has {error}") from None


def prepare(job: Job) -> Answer:
    """Make the run in MLflow, or go on with the one of an earlier try, do the steps, and record the environment.

    Returns:
        As result a list with a part for each searcher, empty without a search; as value ``run`` what the later commands need.
    """
    if job.document["search"]:
        from lab_experiment import search

        search.check(job.document["search"], job.file)
        search.storage_of()  # a database that cannot be reached is found before the steps are done
    from lab_experiment import environment

    document, client, packages = job.document, job.client, tracking.packages(job.document)
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    file = {"lab.file": job.file, **({"lab.file_digest": job.file_digest} if job.file_digest else {})}
    parent = tracking.parent(client, document, digest, {**job.tags, **file, "lab.packages": packages})
    job.run = {"mlflow_run_id": parent.info.run_id, "experiment_id": parent.info.experiment_id}
    parts: list[dict[str, int]] = []
    with tracking.working_on(client, parent.info.run_id, job.tags):
        with tracking.failures("logging parameters to MLflow"):
            tracking.log(client, parent.info.run_id, params=tracking.parameters(document))
            client.log_dict(parent.info.run_id, dict(document), "experiment.json")
        print(f"[steps] done: {', '.join(job.values['steps']) or 'none'}", flush=True)
        if document["search"]:
            job.run |= search.prepare(job)
            searchers = min(document["search"]["parallel"], document["search"]["trials"])
            parts = [{"searcher": number, "of": searchers} for number in range(1, searchers + 1)]
        with tracking.failures("recording the environment"):
            environment.record(client, parent.info.run_id, packages, file=job.file, file_digest=job.file_digest)
    return {"result": parts, "values": {"run": job.run}}


def search(job: Job) -> Answer:
    """Try parameters, beside the other searchers, until there are enough trials."""
    from lab_experiment import search as searching

    with tracking.working_on(job.client, job.run["mlflow_run_id"], {}), tracking.working_on(job.client, job.run["search_run_id"], {}):
        found = searching.work(job)
    return {"result": found, "title": found.pop("title")}


def cross_validate(job: Job) -> Answer:
    """Cross-validate the estimator with the best parameters of the search, if there was one."""
    from lab_experiment import cross_validation, pictures

    settings = job.document["cross_validation"]
    client, run_id = job.client, job.run["mlflow_run_id"]
    with tracking.working_on(client, run_id, {}):
        values = {**job.values, "params": best(job)}
        with tracking.failures("making a nested run"):
            nested = tracking.nested(client, job.run["experiment_id"], run_id, "cross_validation", "cross-validation")
        status = "FAILED"
        try:
            data = job.call("cross_validation.data", settings["data"], values)

            def on_fold(number: int, scores: Mapping[str, float]) -> None:
                with tracking.failures("logging a fold"):
                    fold = tracking.nested(client, job.run["experiment_id"], nested, "fold", f"fold {number}")
                    tracking.log(client, fold, metrics=scores, params=values["params"], tags={"lab.fold": str(number)})
                    tracking.end(client, fold)
                    tracking.log(client, nested, series={name: {number: value} for name, value in scores.items()})

            with job.ours("cross_validation"):
                scores = cross_validation.run(settings, estimator(job, values), data, on_fold)
            summary = summary_of(scores)
            with tracking.failures("logging the cross-validation"):
                tracking.log(client, nested, metrics=summary, params=values["params"])
                tracking.log(client, run_id, metrics=summary)
                for picture in pictures.of_folds(scores, job.folder / folders.KEPT / "pictures"):
                    client.log_artifact(nested, str(picture), "plots")
                    client.log_artifact(run_id, str(picture), "plots")
            status = "FINISHED"
        finally:
            tracking.end(client, nested, status)
    shown = ", ".join(f"{name}={scores.mean[name]:.6g} (deviation {scores.deviation[name]:.3g})" for name in scores.scorers)
    print(f"[cross_validation] {len(scores.folds)} folds: {shown}", flush=True)
    return {"result": {"mlflow_run_id": nested, "folds": scores.folds, "mean": scores.mean, "deviation": scores.deviation}}


def summary_of(scores: Any) -> dict[str, float]:
    """Mean and deviation of a cross-validation as metrics."""
    return {
        **{f"cv_{name}_mean": value for name, value in scores.mean.items()},
        **{f"cv_{name}_deviation": value for name, value in scores.deviation.items()},
    }


def estimator(job: Job, values: Mapping[str, Any]) -> Callable[[], Any]:
    """A function that makes a new estimator of the cross-validation."""
    key, what = "cross_validation.estimator", job.document["cross_validation"]["estimator"]
    arguments = job.arguments(key, what, values)

    def make() -> Any:
        with telling(key, what["call"], arguments):
            return callables.load(what["call"])(**arguments)

    return make


@contextmanager
def telling(key: str, name: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Tell what a callable raises inside as :func:`lab_experiment.callables.call` does, without a line for each call: there are many.

    Raises:
        Failure: It raised something.
    """
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        if type(error).__name__ == "TrialPruned":  # Optuna's word for a trial that is given up is no failure
            raise
        callables.tell(error)
        raise Failure(f"{key}: {name}({callables.shown_arguments(arguments)}) raised {storable.raised(error)}") from None


def best(job: Job) -> dict[str, Any]:
    """The best parameters of the search; empty without one. Completes what the search has to show in MLflow."""
    if not job.document["search"]:
        return {}
    from lab_experiment import search

    return search.settle(job)


def train(job: Job) -> Answer:
    """Fit the model with the best parameters, evaluate it, record it and register it.

    Returns:
        As result ``experiment``, ``mlflow_experiment``, ``mlflow_run_id``, ``params``, ``metrics``, ``plots``, ``model_id``, ``model_uri``, ``deploy`` and,
        when registered, ``registered_model``, ``version`` and ``champion`` (else None); as event what a deployment needs. ``model_uri`` is None if nothing was
        trained.
    """
    document, client, run_id = job.document, job.client, job.run["mlflow_run_id"]
    outcome: Answer = {
        "experiment": document["name"],
        "mlflow_experiment": document["track"]["experiment"],
        "mlflow_run_id": run_id,
        **dict.fromkeys(("model_id", "model_uri", "registered_model", "version", "champion")),
        "deploy": document["deploy"],
    }
    with tracking.working_on(client, run_id, job.tags, last=True):
        params = best(job)
        outcome |= {"params": params, "metrics": {}, "plots": []}
        if params:
            with tracking.failures("logging the best parameters"):
                tracking.log(client, run_id, tags={f"lab.best.{name}": tracking.text(value) for name, value in params.items()})
        if document["train"] is not None:
            outcome |= Training(job, {**job.values, "params": params}).run()
    folders.remove(job.folder)
    deploy = document["deploy"] if outcome["model_uri"] else None
    return {"result": outcome, "event": {"model_uri": outcome["model_uri"], "experiment": document["name"], "deploy": deploy}}


@dataclass
class Training:
    """The final fit and what is made of it."""

    job: Job
    values: dict[str, Any]
    data: list[Any] = field(default_factory=list)
    """The data that went in, as :class:`lab_experiment.environment.Data`."""
    held_back: tuple[Any, Any] | None = None
    """What ``train.evaluate.data`` gave."""

    def run(self) -> Answer:
        """Fit, evaluate, record; then register. What an earlier try of this run recorded is not trained again."""
        job, run_id = self.job, self.job.run["mlflow_run_id"]
        with tracking.failures("looking for what an earlier try recorded"):
            trained = tracking.trained(job.client, run_id)
        if trained:
            print(f"[train] an earlier try of this run trained and recorded the model {trained['model_uri']}; it is not trained again", flush=True)
        else:
            trained = self.trained()
            with tracking.failures("recording that the training is done"):
                tracking.keep_trained(job.client, run_id, trained)
        names = storable.metric_names(trained["metrics"])
        outcome: Answer = {**trained, "metrics": {names[name]: value for name, value in trained["metrics"].items()}}
        if job.document["register"]:
            logged = tracking.Logged(trained["model_uri"], trained["model_id"])
            outcome |= self.register(job.document["register"], logged, trained["metrics"])
        print(f"[track] the model is {outcome['model_uri']}", flush=True)
        return outcome

    def trained(self) -> Answer:
        """Fit, evaluate and record: ``metrics`` under the names that the package gave them, ``plots``, ``model_id`` and ``model_uri``.

        All that may be refused is looked at before the model is logged, so that no try leaves a second one.
        """
        from lab_experiment import environment

        job, client, run_id = self.job, self.job.client, self.job.run["mlflow_run_id"]
        train = job.document["train"]
        model, logged, metrics = self.fit(train)
        self.values["model"] = model
        plots: list[Path] = []
        if train["evaluate"]:
            metrics, plots = self.evaluate(train["evaluate"])
        champion = (job.document["register"] or {}).get("champion")
        if champion and champion["metric"] not in metrics:
            raise Final(f"register.champion.metric has {champion['metric']!r}; the evaluation gave {', '.join(sorted(metrics)) or 'none'}")
        names = storable.metric_names(metrics)
        if metrics:
            print(f"[metrics] {', '.join(f'{name}={value:.6g}' for name, value in metrics.items())}", flush=True)
        for name, legal in names.items():
            if name != legal:
                print(f"[metrics] MLflow takes no metric named {storable.short(name)}; it is recorded as {legal!r}", flush=True)
        if lost := [name for name, value in metrics.items() if not math.isfinite(value)]:
            print(f"[metrics] {', '.join(lost)}: no finite number, so it is null in the result of this task", flush=True)
        if logged is None:
            logged = tracking.log_model(run_id, model, self.example(train, model))
        if metrics:
            tracking.log_metrics(run_id, {names[name]: value for name, value in metrics.items()}, logged.model_id)
        with tracking.failures("logging pictures to MLflow"):
            for plot in plots:
                client.log_artifact(run_id, str(plot), "plots")
        with tracking.failures("recording the data"):
            environment.record_data(client, run_id, self.data)
        return {"metrics": metrics, "plots": [f"plots/{plot.name}" for plot in plots], "model_id": logged.model_id, "model_uri": logged.uri}

    def fit(self, train: Mapping[str, Any]) -> tuple[Any, tracking.Logged | None, dict[str, float]]:
        """The model, where it is if the package logged it itself, and the metrics that the package then logged."""
        if not train.get("call"):
            return self._fit_estimator(), None, {}
        self._note("train", train, "training")
        if train.get("input_example") is not None:
            self._check_deployable("train.input_example is", resolved("train.input_example", train["input_example"], self.values))
        returned = self.job.call("train", train, self.values)
        if isinstance(returned, (str, Path)) and re.match(r"(models|runs):/", str(returned)):
            return self._load(str(returned)), tracking.Logged(str(returned), _model_id(str(returned))), {}
        if isinstance(returned, (str, Path)) and Path(returned).suffix in (".joblib", ".pkl", ".pickle") and Path(returned).is_file():
            import joblib

            with tracking.failures(f"reading the model from {returned}"):
                return joblib.load(returned), None, {}  # the package's own file, written in this run
        if hasattr(returned, "predict"):
            return returned, None, {}
        with tracking.failures("looking for a run that the package started"):
            for run in tracking.own_runs(self.job.client, self.job.run["mlflow_run_id"], "train"):
                logged = tracking.model_of(self.job.client, run)
                if logged:
                    print(f"[train] the package logged its model itself: {logged.uri} in the run {run.info.run_id}", flush=True)
                    return self._load(logged.uri), logged, dict(run.data.metrics)
        if isinstance(returned, (str, Path)):
            raise Failure(
                f"train: the training returned {str(returned)!r}; allowed is a model, the path of a file it wrote that ends in .joblib, .pkl or .pickle, "
                "the address of a model in MLflow, or a run of its own in MLflow that holds a model"
            )
        return returned, None, {}

    def _fit_estimator(self) -> Any:
        from lab_experiment import cross_validation, environment

        settings = self.job.document["cross_validation"]
        data = self.job.call("cross_validation.data", settings["data"], self.values)
        self.data.append(environment.Data("train", data, "training", settings["data"]["call"]))
        x, y, _ = cross_validation.parts(data)
        self.values["x"] = x
        if self.job.document["train"].get("input_example") is None:
            self._check_deployable("cross_validation.data returned X as", x)
        make = estimator(self.job, self.values)
        with self.job.ours("train"):
            fresh = make()
            try:
                return cross_validation.fit(fresh, x, y)
            except Exception as error:
                callables.tell(error)
                raise Failure(f"train: fitting {settings['estimator']['call']} raised {storable.raised(error)}") from None

    def _check_deployable(self, what: str, table: Any) -> None:
        """See before the training that data can give the input example by which a deployment is proven, if one is asked for.

        Raises:
            Failure: They cannot.
        """
        from lab_experiment import examples

        if not self.job.document["deploy"] or isinstance(table, (str, Path)):
            return
        try:
            examples.describe(examples.rows_of(table, tracking.EXAMPLE_ROWS))
        except Exception as error:
            words = "the model could not be deployed, for MLflow can keep no rows of it to prove a deployment with"
            allowed = "data in a frame or an array, another table as train.input_example, or no deploy"
            raise Final(f"{what} a {type(table).__name__}, and {words} ({storable.raised(error)}); allowed: {allowed}") from None

    def _load(self, uri: str) -> Any:
        from lab_experiment import champion

        with tracking.failures(f"loading {uri}"):
            return champion.load(uri)

    def example(self, train: Mapping[str, Any], model: Any) -> Any:
        """Rows for the input example; None if the experiment names no table."""
        if train.get("input_example") is not None:
            return tracking.example_of(resolved("train.input_example", train["input_example"], self.values), model)
        if "x" in self.values:
            return tracking.example_of(self.values["x"], model)
        settings = self.job.document["cross_validation"]
        if settings:
            from lab_experiment import cross_validation

            return tracking.example_of(cross_validation.parts(self.job.call("cross_validation.data", settings["data"], self.values))[0], model)
        print("[track] no train.input_example: the model is recorded without signature and input example", flush=True)
        return None

    def evaluate(self, evaluate: Mapping[str, Any]) -> tuple[dict[str, float], list[Path]]:
        """Metrics and pictures of the model on held-back data."""
        from lab_experiment import environment, pictures

        self.held_back = held_back = self._held_back(evaluate)
        metrics = self.measure(evaluate, self.values["model"])
        if evaluate.get("call"):
            self._note("train.evaluate", evaluate, "evaluation")
        plots = [Path(resolved(f"train.evaluate.plots[{number}]", plot, self.values)) for number, plot in enumerate(evaluate.get("plots") or [])]
        for plot in plots:
            if not plot.is_file():
                raise Failure(f"train.evaluate.plots names {plot}, but {evaluate['call']} wrote no such file")
        if held_back is not None:
            self.data.append(environment.Data("evaluate", held_back, "evaluation", evaluate["data"]["call"]))
            plots += pictures.of_model(self.values["model"], held_back[0], held_back[1], self.job.folder / folders.KEPT / "pictures")
        return metrics, plots

    def _held_back(self, evaluate: Mapping[str, Any]) -> tuple[Any, Any] | None:
        if not evaluate.get("data"):
            return None
        from lab_experiment import cross_validation

        x, y, _ = cross_validation.parts(self.job.call("train.evaluate.data", evaluate["data"], self.values))
        return x, y

    def measure(self, evaluate: Mapping[str, Any], model: Any) -> dict[str, float]:
        """What the evaluation says of a model, ours or the present champion."""
        metrics: dict[str, float] = {}
        if self.held_back is not None and (evaluate.get("scoring") or not evaluate.get("call")):
            from lab_experiment import cross_validation

            x, y = self.held_back
            kind = cross_validation.kind_of(model, y)
            scorers = cross_validation.scorers_of(evaluate.get("scoring"), kind)
            with tracking.failures("scoring on train.evaluate.data"):
                metrics |= cross_validation.score(cross_validation.as_sklearn(model, kind, y), x, y, scorers)
        if evaluate.get("call"):
            metrics |= metrics_of(evaluate["call"], self.job.call("train.evaluate", evaluate, {**self.values, "model": model}))
        return metrics

    def _note(self, key: str, what: Mapping[str, Any], context: str) -> None:
        """Remember the tables among a call's arguments: frames, arrays and files of tables that steps gave or wrote."""
        from lab_experiment import environment

        steps = {step["name"]: step["call"] for step in self.job.document["steps"]}
        for argument, value in what["with"].items():
            found = references(value) if isinstance(value, str) else []
            kind, _, part = found[0].partition(".") if len(found) == 1 else ("", "", "")
            if kind not in ("steps", "run_dir"):
                continue
            table = resolved(f"{key}.with.{argument}", value, self.values)
            file = isinstance(table, (str, Path)) and Path(table).suffix in (".csv", ".parquet") and Path(table).is_file()
            if file or hasattr(table, "shape"):
                source = steps.get(part.partition(".")[0]) or next(reversed(steps.values()), str(table))
                self.data.append(environment.Data(part or Path(table).name, table, context, source))

    def register(self, settings: Mapping[str, Any], logged: tracking.Logged, metrics: Mapping[str, float]) -> Answer:
        """Register the model, last of all: what is registered is complete. Then see whether it is the new champion."""
        job = self.job
        name, run_id = settings["name"], job.run["mlflow_run_id"]
        address = f"{os.environ['MLFLOW_TRACKING_URI'].rstrip('/')}/#/experiments/{job.run['experiment_id']}/runs/{run_id}"
        words = [settings["description"], f"Trained by the experiment {job.document['name']}, DAG run {job.run_id}: {address}"]
        version = tracking.register(job.client, logged, name, "\n\n".join(filter(None, words)), {"lab.experiment": job.document["name"], "lab.run": run_id})
        outcome: Answer = {"model_uri": f"models:/{name}/{version}", "registered_model": name, "version": version}
        if settings.get("champion"):
            from lab_experiment import champion

            evaluate = job.document["train"]["evaluate"]
            if self.held_back is None:  # an earlier try trained
                self.held_back = self._held_back(evaluate)
            with tracking.failures("comparing the model with the champion"):
                outcome["champion"] = champion.promote(job.client, name, version, settings["champion"], metrics, lambda model: self.measure(evaluate, model))
        return outcome


def _model_id(uri: str) -> str | None:
    return uri.removeprefix("models:/") if uri.startswith("models:/m-") else None


def metrics_of(call: str, result: Any) -> dict[str, float]:
    """Turn what an evaluation returned into metrics; those of a mapping within a mapping get names with a dot.

    Raises:
        Failure: It is not a mapping of names to numbers.
    """
    if not isinstance(result, Mapping):
        raise Final(f"train.evaluate: {call} returned a {type(result).__name__}; allowed is a mapping of metric names to numbers")
    metrics: dict[str, float] = {}
    try:
        for name, value in storable.flat(result):
            number = storable.number(value)
            if number is None:
                raise Final(f"train.evaluate: {call} returned {storable.short(value)} as metric {storable.short(name)}; allowed is a number")
            same = sum(other == name or other.startswith(f"{name} (") for other in metrics) if name in metrics else 0
            metrics[f"{name} ({same + 1})" if same else name] = number
    except ValueError as error:
        raise Final(f"train.evaluate: {call} returned a mapping of metrics that cannot be read: {error}") from None
    return metrics


COMMANDS: dict[str, Callable[[Job], Answer]] = {"prepare": prepare, "search": search, "cross_validate": cross_validate, "train": train}
