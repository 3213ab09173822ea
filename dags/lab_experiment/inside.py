"""The process that a package's code runs in: what :class:`lab_experiment.package.Package` asks it to do.

Its standard input is empty, its command line has no arguments, and it keeps no books: it has neither MLflow's run nor Optuna's study in its hands, only the
objects that functions of the package gave (results of steps, data, the model), which stay here. What goes to the keeper is what Python's JSON can hold, NaN and
infinite numbers among it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import math
import os
import pickle
import platform
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lab_experiment import callables, folders, results, storable
from lab_experiment.callables import say
from lab_experiment.failures import Failure, Mistakes, Stopped
from lab_experiment.references import UnmetReference, decoded, of, references, resolve

MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "")
"""MLflow's address, before a package can have changed it."""

CLIENTS = (2, 19), (3, 17)
"""The oldest and the newest version of MLflow's client that models are written by; role environments has the same (``environments_lab_requirements``)."""

FILTERS = list(warnings.filters)
"""The filters of warnings, likewise."""

Tell = Callable[[dict[str, Any]], Any]


class TrialPruned(Exception):
    """The keeper gave up the trial; called like Optuna's, which a package may raise itself."""


@dataclass
class Work:
    """What the keeper may ask for, and what is kept between its questions."""

    tell: Tell
    """Sends something to the keeper; gives the answer to an ``event``, nothing otherwise."""
    document: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    """The run's folder."""
    apart: str = ""
    """The name of this task's own working directory, if it works beside others of the run; else it is the run's folder."""
    run: Mapping[str, str] = field(default_factory=dict)
    """See :attr:`lab_experiment.job.Job.run`."""
    data: list[Any] = field(default_factory=list)
    """The data that went into a training, as :class:`lab_experiment.environment.Data`."""
    held_back: tuple[Any, Any] | None = None
    """What ``train.evaluate.data`` gave."""
    folds_data: Any = None
    """What ``cross_validation.data`` gave, for the trials of a search."""
    at: str = "the package"
    """The function that is at work, for messages."""
    trained: dict[str, Any] = field(default_factory=dict)
    """What references point to in a training."""

    @property
    def method(self) -> str:
        """The method of the model that answers where it is served; a run that an older release began says nothing of it."""
        return str((self.document["train"] or {}).get("predict", "predict"))

    @cached_property
    def values(self) -> dict[str, Any]:
        """What references point to, but for ``params`` and ``model``; does the steps whose results this host does not have."""
        known: dict[str, Any] = {
            "run_dir": str(self.folder),
            "inputs": decoded(self.document["inputs"]),
            "mlflow_tracking_uri": MLFLOW,
        }
        steps = self._steps(known)
        self.go_there()
        return {**known, "steps": steps}

    def go_there(self) -> None:
        """Make the task's folder the working directory: what a step wrote by a relative path is found there by every task."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folders.apart(self.folder, self.apart) if self.apart else self.folder)

    def _steps(self, known: Mapping[str, Any]) -> dict[str, Any]:
        results: dict[str, Any] = {}
        digest = hashlib.sha256(json.dumps(self.document["inputs"], sort_keys=True).encode())
        with folders.alone(self.folder):
            for step in self.document["steps"]:
                digest.update(json.dumps([step["name"], step["call"], step["with"]], sort_keys=True).encode())
                kept = f"{step['name']}-{digest.hexdigest()[:16]}"
                self._at(f"steps.{step['name']}", step["call"])
                try:
                    results[step["name"]] = folders.kept(self.folder, kept)
                    continue
                except FileNotFoundError:
                    pass
                except Exception as error:
                    say(f"[steps] the result of {step['name']} cannot be read back ({storable.raised(error)}); it is done again")
                os.chdir(self.folder)  # whoever does it, for all
                result = results[step["name"]] = self.call(f"steps.{step['name']}", step, {**known, "steps": results})
                try:
                    folders.keep(self.folder, kept, result)
                except Exception as error:
                    say(f"[steps] the result of {step['name']} cannot be kept ({storable.raised(error)}); each task does it again")
        return results

    def _at(self, key: str, call: str) -> None:
        """Tell the keeper which function it is, for it may end the process; let it see a command line of its own, without arguments."""
        self.at = f"{key}: {call}"
        self.tell({"at": self.at})
        sys.argv = [call.partition(":")[0]]

    def call(self, key: str, what: Mapping[str, Any], values: Mapping[str, Any], parent_id: str = "", of_trial: Mapping[str, str] | None = None) -> Any:
        """Make a call of the document; runs that the package starts in MLflow meanwhile are nested in ``parent_id``, by default in this run.

        Those of a trial have its tags, and count as the objective's.

        Raises:
            Failure: The callable is not there, or raised something.
        """
        arguments = self.arguments(key, what, values)
        self._at(key, what["call"])
        with self.ours("search.objective" if of_trial else key, parent_id, of_trial), self._there(key, what["call"]):
            return callables.call(key, what["call"], arguments)

    @contextmanager
    def _there(self, key: str, call: str) -> Iterator[None]:
        """Tell that a callable cannot be imported."""
        try:
            yield
        except LookupError as error:
            raise Failure(f"{key}.call has {call!r}; {error.args[0]}") from None

    @contextmanager
    def ours(self, key: str, parent_id: str = "", tags: Mapping[str, str] | None = None) -> Iterator[None]:
        """Runs that a package starts in MLflow meanwhile are nested in ``parent_id``, and found by :func:`lab_experiment.tracking.own_runs`.

        Raises:
            Failure: One of the package's functions failed; where its address of MLflow is why, it is said.
        """
        root = self.run["mlflow_run_id"]
        above = {"mlflow.parentRunId": parent_id or root, "lab.parent_run_id": root, "lab.key": key.partition(" ")[0], "lab.kind": "package", **(tags or {})}
        mine = {"MLFLOW_RUN_CONTEXT": json.dumps(above), "MLFLOW_EXPERIMENT_ID": self.run["experiment_id"]}
        before = {name: os.environ.get(name) for name in mine}
        os.environ.update(mine)
        try:
            yield
        except Failure as failure:
            if "MLFLOW_EXPERIMENT_ID" in str(failure) and (where := elsewhere(_address())):
                words = "where the lab's experiment is not: let it call mlflow.set_experiment there, or leave the address as it is"
                raise Failure(f"{failure}; the package set MLflow's address to {where}, {words}", failure.final) from None
            raise
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def arguments(self, key: str, what: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call. One that is nothing but a parameter that a trial does not have (its ``when`` is not met) is left out."""
        found: dict[str, Any] = {}
        for name, value in what["with"].items():
            found |= resolved(f"{key}.with.{name}", {name: value}, values)
        return found

    def estimator(self, values: Mapping[str, Any]) -> Callable[[], Any]:
        """A function that makes a new estimator of the cross-validation."""
        key, what = "cross_validation.estimator", self.document["cross_validation"]["estimator"]
        arguments = self.arguments(key, what, values)
        self._at(key, what["call"])
        with self._there(key, what["call"]):
            function = callables.load(what["call"])

        def make() -> Any:
            made = None
            with callables.telling(key, what["call"], arguments):
                made = callables.invoke(what["call"], function, arguments)
            return made

        return make

    # What the keeper asks for

    def check(self, **what: Any) -> list[tuple[str, str]]:
        """See :func:`lab_experiment.callables.check`."""
        sys.argv = ["check"]
        return callables.check(**what, at=lambda words: self.tell({"at": words}))

    def about(self, modules: list[str]) -> dict[str, Any]:
        """What this environment is: ``python``, ``platform``, ``installed``, and the ``packages`` that modules come from."""
        return {"python": sys.version, "platform": platform.platform(), "installed": callables.installed(), "packages": callables.packages(modules)}

    def steps(self) -> list[str]:
        """Do the steps whose results this host does not have; gives the names of all."""
        return list(self.values["steps"])

    def objective(self, params: dict[str, Any]) -> list[float]:
        """The value of the objective, one for each direction of the search. What a generator yields is an event, after which it may be pruned."""
        return self._numbers(self.document["search"]["objective"]["call"], self._tried(params))

    def logging(self, params: dict[str, Any], trial: int) -> dict[str, Any]:
        """Try parameters whose value has a name.

        Gives ``numbers``: those with names that the objective returned; ``elsewhere``: MLflow's address, if it changed that. What it logged is in runs with the
        tag ``lab.trial``.
        """
        _end_runs()  # one that a step or a trial before left open would take what this trial logs
        try:
            returned = self._tried(params, {"lab.trial": str(trial)})
        finally:
            address = _end_runs()
        return {"numbers": results.numbers_in(returned), "elsewhere": elsewhere(address)}

    def _tried(self, params: dict[str, Any], tags: Mapping[str, str] | None = None) -> Any:
        """What the objective returned, or yielded last."""
        what = self.document["search"]["objective"]
        key = "search.objective"
        if not what["call"]:
            return self._judged(params, tags)
        arguments = self.arguments(key, what, {**self.values, "params": params})
        self._at(key, what["call"])
        result = None
        with self.ours(key, self.run["search_run_id"], tags), self._there(key, what["call"]):
            function = callables.load(what["call"])
            with callables.telling(key, what["call"], arguments):
                result = callables.invoke(what["call"], function, arguments)
                if inspect.isgenerator(result):
                    result = self._last_of(result)
        return result

    def _judged(self, params: dict[str, Any], tags: Mapping[str, str] | None) -> dict[str, float]:
        """The metrics of a model that is trained with a trial's parameters, as the final one is with the best; its runs in MLflow are the trial's."""
        train = self.document["train"]
        evaluate, metric, parent_id = train.get("evaluate"), self.document["search"]["objective"]["metric"], self.run["search_run_id"]
        vars(self).pop("values", None)  # the results of the steps as they were kept: a training may change what it is given
        self.trained = {**self.values, "params": params}
        returned = self._brought(self.call("train", train, self.trained, parent_id, tags))
        model, metrics, _ = results.of_training(train["call"], returned, self.method)
        if not evaluate:
            return metrics
        by_rows = evaluate["data"] is not None
        if not hasattr(model, self.method) if by_rows else model is None or isinstance(model, (str, Path)):
            what = f"a model with {self.method}" if by_rows else "a model"
            raise Failure(f"search.objective: {train['call']} returned {storable.short(model)}; allowed is {what}, to be evaluated", final=True)
        self.held_back = self._held_back(evaluate)
        measured = self._measure(model, parent_id, tags)
        return measured if any(name == metric or name.endswith(f".{metric}") for name in measured) else {**measured, **metrics}

    def _numbers(self, call: str, result: Any) -> list[float]:
        several = len(self.document["search"]["direction"])
        listed = list(result) if isinstance(result, (list, tuple)) else [result]
        numbers = [number for value in listed if (number := storable.number(value)) is not None and not math.isnan(number)]
        if len(numbers) != several or len(listed) != several:
            allowed = "a number" if several == 1 else f"a list of {several} numbers, as there are directions"
            names = ", ".join(results.numbers_in(result))
            hint = f", or with search.objective.metric the name of one of {names}" if names and several == 1 else ""
            raise Failure(f"search.objective: {call} returned {storable.short(result)}; allowed is {allowed}{hint}")
        return numbers

    def _last_of(self, values: Any) -> Any:
        """The last value that a generator yields, or what it returns.

        Each but those of several objectives is an intermediate value, after which it may be pruned.
        """
        last, step = None, 0
        try:
            while True:
                last = next(values)
                if isinstance(last, (list, tuple)):
                    continue
                value = storable.number(last)
                if value is None:
                    raise Failure(f"search.objective yielded {storable.short(last)}; allowed is a number")
                if self.tell({"event": [step, value]}):
                    values.close()
                    raise TrialPruned
                step += 1
        except StopIteration as end:
            return last if end.value is None else end.value

    def cross_validated(self, params: dict[str, Any]) -> float:
        """The value of a trial whose objective is the cross-validation; each fold is an event, after which it may be pruned."""
        from lab_experiment import cross_validation

        settings, values, parent_id = self.document["cross_validation"], {**self.values, "params": params}, self.run["search_run_id"]
        own = any(
            reference.partition(".")[0] == "params" for reference in of(settings["data"]["with"])
        )  # data that depend on the parameters are read for each trial
        if self.folds_data is None or own:
            self.folds_data = self.call("cross_validation.data", settings["data"], values, parent_id)

        def on_fold(number: int, scores: dict[str, float]) -> None:
            if self.tell({"event": [number, scores]}):
                raise TrialPruned

        with self.ours("search.objective", parent_id):
            scores = cross_validation.run(settings, self.estimator(values), self.folds_data, on_fold, self.method)
        return float(scores.mean[scores.scorers[0]])

    def folds(self, params: dict[str, Any]) -> dict[str, Any]:
        """Cross-validate the estimator; gives the fields of :class:`lab_experiment.scores.Scores`. Each fold is an event."""
        from lab_experiment import cross_validation

        settings, values = self.document["cross_validation"], {**self.values, "params": params}
        data = self.call("cross_validation.data", settings["data"], values)
        with self.ours("cross_validation"):
            return vars(cross_validation.run(settings, self.estimator(values), data, lambda *fold: self.tell({"event": fold}), self.method))

    def fit(self, params: dict[str, Any]) -> dict[str, Any]:
        """Train.

        Gives ``model`` (whether there is one), or ``address``: where the training says that it is; ``metrics`` that it returned beside the model; ``returned``:
        what it gave that can be no model, in words; ``left_out``: what it returned that the model needs, in words; ``elsewhere``: MLflow's address, if the
        package changed it.
        """
        train = self.document["train"]
        self.trained = {**self.values, "params": params}
        if not train.get("call"):
            self.trained["model"] = self._fit_estimator()
            return {"model": True}
        self._note("train", train, "training")
        if train.get("input_example") is not None:
            self._check_deployable("train.input_example is", resolved("train.input_example", train["input_example"], self.trained))
        returned = self.trained["model"] = self.call("train", train, self.trained)
        answer = {"elsewhere": elsewhere(_end_runs())}
        text = str(returned) if isinstance(returned, (str, Path)) else ""
        if re.match(r"(models|runs):/", text):
            return {**answer, "address": text}
        returned, metrics, others = results.of_training(train["call"], self._brought(returned), self.method)
        self.trained["model"] = returned
        if others:
            say(f"[train] {train['call']} returned beside the model what is no number, and is not kept: {results.kinds_of(others)}")
        if left_out := results.kinds_of(results.missed(returned, others)):
            say(
                f"[train] WARNING: the model is kept without {left_out}, so where it is served it wants rows that went through that already; "
                f"return one object whose {self.method} does all of it, as that of sklearn.pipeline.make_pipeline(scaler, model)"
            )
        kind = f"a {type(returned).__module__}.{type(returned).__qualname__}, which has no {self.method}"
        no_model = "nothing" if returned is None else repr(text) if isinstance(returned, (str, Path)) else kind
        # Without MLflow a model is a file of the run, whatever it can do.
        model = hasattr(returned, self.method) or not (no_model != kind or _mlflow_here())
        return {**answer, "model": model, "returned": no_model, "metrics": metrics, "left_out": left_out}

    def _brought(self, returned: Any) -> Any:
        """What a training returned; the model in a file, where it returned the path of one."""
        text = str(returned) if isinstance(returned, (str, Path)) else ""
        if Path(text).suffix not in (".joblib", ".pkl", ".pickle") or not Path(text).is_file():
            return returned
        import joblib

        with callables.told_as(f"track: reading the model from {returned} failed with"):
            return joblib.load(text)  # the package's own file, written in this run

    def _fit_estimator(self) -> Any:
        from lab_experiment import cross_validation

        settings = self.document["cross_validation"]
        data = self.call("cross_validation.data", settings["data"], self.trained)
        self._went_in("train", data, "training", settings["data"]["call"])
        x, y, _ = cross_validation.parts(data)
        self.trained["x"] = x
        if self.document["train"].get("input_example") is None:
            self._check_deployable("cross_validation.data returned X as", x)
        make = self.estimator(self.trained)
        with self.ours("train"):
            fresh = make()
            with callables.told_as(f"train: fitting {settings['estimator']['call']} raised", call=settings["estimator"]["call"]):
                return cross_validation.fit(fresh, x, y, self.method)

    def _check_deployable(self, what: str, table: Any) -> None:
        """See before the training that data can give the input example by which a deployment is proven, if one is asked for.

        Raises:
            Failure: They cannot.
        """
        if not self.document["deploy"] or isinstance(table, (str, Path)):
            return
        from lab_experiment import examples, tracking

        try:
            examples.describe(examples.rows_of(table, tracking.EXAMPLE_ROWS))
        except Exception as error:
            words = "the model could not be deployed, for MLflow can keep no rows of it to prove a deployment with"
            allowed = "data in a frame or an array, another table as train.input_example, or no deploy"
            raise Failure(f"{what} a {type(table).__name__}, and {words} ({storable.raised(error)}); allowed: {allowed}", final=True) from None

    def load(self, folder: str, uri: str) -> None:
        """Take a model of MLflow, which was fetched to a folder, for the one that was trained."""
        self.trained["model"] = self._loaded(folder, uri)

    def _loaded(self, folder: str, uri: str) -> Any:
        with callables.told_as(f"track: loading {uri} failed with"), warned_as_usual():
            from lab_experiment import champion

            return champion.load(folder)

    def evaluate(self) -> dict[str, Any]:
        """``metrics`` and ``plots`` (files) of the model on held-back data."""
        evaluate = self.document["train"]["evaluate"]
        self.held_back = held_back = self._held_back(evaluate)
        metrics = self._measure(self.trained["model"])
        if evaluate.get("call"):
            self._note("train.evaluate", evaluate, "evaluation")
        plots = [Path(resolved(f"train.evaluate.plots[{number}]", plot, self.trained)) for number, plot in enumerate(evaluate.get("plots") or [])]
        for plot in plots:
            if not plot.is_file():
                raise Failure(f"train.evaluate.plots names {plot}, but {evaluate['call']} wrote no such file")
        if held_back is not None:
            self._went_in("evaluate", held_back, "evaluation", evaluate["data"]["call"])
        if held_back is not None and importlib.util.find_spec("matplotlib"):
            from lab_experiment import pictures

            with warned_as_usual():
                plots += pictures.of_model(self.trained["model"], held_back[0], held_back[1], self.folder / folders.KEPT / "pictures")
        return {"metrics": metrics, "plots": [str(plot.absolute()) for plot in plots]}

    def _held_back(self, evaluate: Mapping[str, Any]) -> tuple[Any, Any] | None:
        if not evaluate.get("data"):
            return None
        from lab_experiment import cross_validation

        x, y, _ = cross_validation.parts(self.call("train.evaluate.data", evaluate["data"], self.trained))
        return x, y

    def measure(self, folder: str, uri: str, params: dict[str, Any]) -> dict[str, float]:
        """What the evaluation says of a model that was fetched to a folder: the present champion."""
        if not self.trained:  # an earlier try trained, or an earlier process
            self.trained = {**self.values, "params": params}
            self.held_back = self._held_back(self.document["train"]["evaluate"])
        return self._measure(self._loaded(folder, uri))

    def _measure(self, model: Any, parent_id: str = "", of_trial: Mapping[str, str] | None = None) -> dict[str, float]:
        """What the evaluation says of a model; its runs in MLflow are nested as those of :meth:`call`."""
        evaluate = self.document["train"]["evaluate"]
        metrics: dict[str, float] = {}
        if self.held_back is not None and (evaluate.get("scoring") or not evaluate.get("call")):
            from lab_experiment import cross_validation

            x, y = self.held_back
            kind = cross_validation.kind_of(model, y)
            scorers = cross_validation.scorers_of(evaluate.get("scoring"), kind)
            with callables.told_as("track: scoring on train.evaluate.data failed with", call=evaluate["data"]["call"]), warned_as_usual():
                metrics |= cross_validation.score(cross_validation.as_sklearn(model, kind, y), x, y, scorers)
        if evaluate.get("call"):
            values = {**self.trained, "model": model}
            metrics |= results.metrics_of(evaluate["call"], self.call("train.evaluate", evaluate, values, parent_id, of_trial))
        return metrics

    def save(self, folder: str) -> dict[str, str]:
        """Write the model to a folder in MLflow's format; gives the ``flavor``, nothing where this environment has no MLflow and the model is a file."""
        if not _mlflow_here():
            return {"flavor": self._pickled(Path(folder))}
        with warned_as_usual():
            from lab_experiment import tracking

            return {"flavor": tracking.save_model(Path(folder), self.trained["model"], self._example(), self.method)}

    def _pickled(self, folder: Path) -> str:
        say("[track] this environment has no MLflow, so the model is kept as a file of the run, which can be neither registered nor deployed")
        folder.mkdir(parents=True)
        with callables.told_as("track: keeping the model as a file failed with"), (folder / "model.pkl").open("wb") as file:
            pickle.dump(self.trained["model"], file)
        return ""

    def _example(self) -> Any:
        """Rows for the input example; None if the experiment names no table."""
        from lab_experiment import tracking

        train, model = self.document["train"], self.trained["model"]
        if train.get("input_example") is not None:
            return tracking.example_of(resolved("train.input_example", train["input_example"], self.trained), model, self.method)
        if "x" in self.trained:
            return tracking.example_of(self.trained["x"], model, self.method)
        settings = self.document["cross_validation"]
        if settings:
            from lab_experiment import cross_validation

            return tracking.example_of(cross_validation.parts(self.call("cross_validation.data", settings["data"], self.trained))[0], model, self.method)
        say("[track] no train.input_example: the model is recorded without signature and input example")
        return None

    def inputs(self) -> list[dict[str, Any]]:
        """The data that went in; see :func:`lab_experiment.environment.inputs_of`."""
        if not self.data:
            return []
        from lab_experiment import environment

        with warned_as_usual():
            return environment.inputs_of(self.data)

    def _went_in(self, name: str, value: Any, context: str, source: str) -> None:
        """Remember data for MLflow, which alone can describe them."""
        if _mlflow_here():
            from lab_experiment import environment

            self.data.append(environment.Data(name, value, context, source))

    def _note(self, key: str, what: Mapping[str, Any], context: str) -> None:
        """Remember the tables among a call's arguments: frames, arrays and files of tables that steps gave or wrote."""
        steps = {step["name"]: step["call"] for step in self.document["steps"]}
        for argument, value in what["with"].items():
            found = references(value) if isinstance(value, str) else []
            kind, _, part = found[0].partition(".") if len(found) == 1 else ("", "", "")
            if kind not in ("steps", "run_dir"):
                continue
            table = resolved(f"{key}.with.{argument}", value, self.trained)
            file = isinstance(table, (str, Path)) and Path(table).suffix in (".csv", ".parquet") and Path(table).is_file()
            if file or hasattr(table, "shape"):
                source = steps.get(part.partition(".")[0]) or next(reversed(steps.values()), str(table))
                self._went_in(part or Path(table).name, table, context, source)

    def finish(self) -> list[str]:
        """Say which threads would keep this process from ending."""
        return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]


def resolved(key: str, value: Any, values: Mapping[str, Any]) -> Any:
    """Put values in the place of references.

    Raises:
        Failure: One cannot be met.
    """
    try:
        return resolve(value, values)
    except UnmetReference as error:
        raise Failure(f"{key} has {error}") from None


@contextmanager
def warned_as_usual() -> Iterator[None]:
    """Let warnings be warnings again, for what the lab does here with the package's objects."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filters.extend(FILTERS)  # type: ignore[attr-defined]
        yield


def _mlflow_here() -> bool:
    """Whether this environment has an MLflow that models are written by; the pins of some packages forbid it."""
    for name in ("mlflow-skinny", "mlflow"):
        with suppress(importlib.metadata.PackageNotFoundError):
            major, minor = importlib.metadata.version(name).split(".")[:2]
            return CLIENTS[0] <= (int(major), int(minor)) <= CLIENTS[1]
    return False


def _end_runs() -> str:
    """End the runs that the package has open in MLflow; gives the address of MLflow as it left it, nothing if it does not use it."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None:
        return ""
    with suppress(Exception):
        while mlflow.active_run():
            mlflow.end_run()
    return _address()


def _address() -> str:
    """The address of MLflow as the package left it, nothing if it does not use it."""
    with suppress(Exception):
        return str(sys.modules["mlflow"].get_tracking_uri())
    return ""


def elsewhere(address: str) -> str:
    """MLflow's address without credentials; nothing if it is the lab's."""
    return "" if address.rstrip("/") in ("", MLFLOW.rstrip("/")) else re.sub(r"//[^/@]*@", "//***@", address)


def serve(connection: Any) -> None:
    """Do what the keeper asks for until it asks no more."""
    process = os.getpid()

    def send(message: dict[str, Any]) -> Any:
        if os.getpid() != process:  # a copy of this process, which a package made by fork, came back from its function
            os._exit(0)
        callables.flush()
        connection.send_bytes(json.dumps(message).encode())
        return json.loads(connection.recv_bytes())["reply"] if "event" in message else None

    work = Work(send)
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        if asked["job"]:
            job = asked["job"]
            work.document, work.folder, work.run, work.apart = job["document"], Path(job["folder"]).absolute(), job["run"], job.get("apart", "")
            work.go_there()
        send(answer(work, lambda asked=asked: getattr(work, asked["do"])(**asked["with"])))  # type: ignore[misc]
        if asked["do"] == "finish":
            return


def answer(work: Work, do: Callable[[], Any]) -> dict[str, Any]:
    """What the keeper is told of something that was done."""
    try:
        return {"result": do()}
    except Mistakes as error:
        return {"mistakes": error.sentences}
    except Failure as error:
        return {"failure": str(error), "final": error.final}
    except Stopped:
        raise
    except BaseException as error:
        if type(error).__name__ == "TrialPruned":
            return {"pruned": True}
        say(traceback.format_exc().rstrip("\n"))
        return {"failure": f"{work.at} {callables.ended(error)}", "final": False}


def main(descriptor: int, keeper: int) -> int:
    """Be the process that a package's code runs in; returns the exit code."""
    if os.getppid() != keeper:  # it ended before this process could ask to end with it
        return 1
    callables.say_to(os.dup(1))
    os.set_inheritable(descriptor, False)
    serve(Connection(descriptor))
    return 0
