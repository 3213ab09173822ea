"""The search for parameters: one Optuna study in a database, searched by any number of processes on any number of hosts.

Each searcher claims a trial, evaluates it, and claims the next, until as many as wanted are finished. Claims are made one at a time, so there is never one
too many. A searcher's heartbeat tells the others that its trial goes on; when it stops, whoever claims next gives up the trial as lost and puts its
parameters back in the queue. So a killed worker costs one trial's work, and a search that is started again goes on where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import itertools
import json
import math
import os
import random
import socket
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from lab_experiment import callables, document, folders, storable, tracking
from lab_experiment.failures import Failure, Mistakes
from lab_experiment.job import Job
from lab_experiment.package import Pruned

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState

    Retry = getattr(optuna.storages, "RetryHeartbeatStaleTrialCallback", None) or optuna.storages.RetryFailedTrialCallback  # its name before Optuna 4.9
    # Optuna calls experimental what it has had for years, and does not expect its heartbeat to be sent by anyone else. For good, and not just while it is
    # called: each change of the filters lets every warning of a package be shown once more.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage")
    warnings.filterwarnings("ignore", message=".warn_independent_sampling. has been deprecated")
except ImportError:
    optuna = None

SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "grid": "RandomSampler", "cmaes": "CmaEsSampler", "gp": "GPSampler"}
"""Our names for Optuna's samplers. A grid's trials are given their points when they are claimed, so its sampler has nothing to choose."""

PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "hyperband": "HyperbandPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "threshold": "ThresholdPruner",
    "patient": "PatientPruner",
}
"""Our names for Optuna's pruners."""

NEEDS = {"cmaes": "cmaes", "gp": "torch"}
"""What a sampler needs besides Optuna."""

HEARTBEAT = int(os.environ.get("LAB_SEARCH_HEARTBEAT", "10"))
"""Seconds between two heartbeats of a trial."""

GRACE = int(os.environ.get("LAB_SEARCH_GRACE", "30"))
"""Seconds without heartbeat after which a trial is lost."""

LOST = 3
"""How often the parameters of lost trials are tried again."""

BEATS = "lab.heartbeat"
"""The attribute of a trial that has a heartbeat: its own number, for a trial that takes the place of a lost one inherits that one's attributes."""

EVERY = 1.0
"""Seconds between two looks of a searcher that waits for the last trials of the others."""


def check(settings: Mapping[str, Any], file: str) -> None:
    """See that the environment can do the search.

    Raises:
        Mistakes: It has no Optuna, or the sampler or pruner does not take an option.
    """
    if optuna is None:
        raise Mistakes([f"{file}: search needs optuna in the environment of the project; add it to the image's requirements."])
    sentences = []
    for key in ("sampler", "pruner"):
        try:
            sampler_of(settings, 0) if key == "sampler" else pruner_of(settings["pruner"])
        except Failure as error:
            sentences.append(f"{file}: search.{key} {error}.")
    if sentences:
        raise Mistakes(sentences)


def sampler_of(settings: Mapping[str, Any], seed: int | None) -> Any:
    """Optuna's sampler for the settings of a search.

    Raises:
        Failure: It does not take an option, or needs a package that is not there.
    """
    name, options = settings["sampler"]["name"], settings["sampler"]["options"]
    if name == "grid":
        return optuna.samplers.RandomSampler(seed=seed)
    taken = inspect.signature(getattr(optuna.samplers, SAMPLERS[name])).parameters
    if name == "tpe" and settings["parallel"] > 1:
        options = {"constant_liar": True, **options}  # do not try what another one is trying
    if "warn_independent_sampling" in taken:
        options = {"warn_independent_sampling": False, **options}  # a conditional space is sampled so by intention
    return _made(optuna.samplers, SAMPLERS[name], name, {**options, **({"seed": seed} if seed is not None else {})})


def pruner_of(settings: Mapping[str, Any]) -> Any:
    """Optuna's pruner by name and options.

    Raises:
        Failure: It does not take an option.
    """
    options = dict(settings["options"])
    if options.get("wrapped_pruner"):
        options["wrapped_pruner"] = pruner_of(options["wrapped_pruner"])
    return _made(optuna.pruners, PRUNERS[settings["name"]], settings["name"], options)


def _made(module: Any, kind: str, name: str, options: Mapping[str, Any]) -> Any:
    taken = inspect.signature(getattr(module, kind)).parameters
    unknown = [option for option in options if option not in taken]
    if unknown:
        raise Failure(f"has the option {unknown[0]!r}; allowed for {name}: {', '.join(taken)}")
    try:
        return getattr(module, kind)(**options)
    except ImportError:
        raise Failure(f"{name} needs {NEEDS.get(name, 'a package that is not there')}; add it to the image's requirements") from None
    except Exception as error:
        raise Failure(f"{name} was refused by Optuna: {error}") from None


def suggest(trial: Any, space: Mapping[str, Any]) -> dict[str, Any]:
    """Have a trial choose a value for each parameter whose condition (``when``) is met, after those that the condition speaks of.

    The order is our own: Airflow's database keeps the keys of a mapping in another one than the file.
    """
    params: dict[str, Any] = {}
    for name in TopologicalSorter({name: sorted(space[name]["when"]) for name in sorted(space)}).static_order():
        what = space[name]
        if not all(other in params and params[other] in values for other, values in what["when"].items()):
            continue
        if what["type"] == "categorical":
            params[name] = trial.suggest_categorical(name, what["choices"])
            continue
        more = {key: what[key] for key in ("step", "log") if what[key] and not (what["log"] and key == "step")}
        params[name] = (trial.suggest_int if what["type"] == "int" else trial.suggest_float)(name, what["low"], what["high"], **more)
    return params


def storage_of() -> Any:
    """Optuna's storage.

    Raises:
        Failure: It is not named, cannot be reached, or was made by an Optuna that this one does not get along with.
    """
    if optuna is None:
        raise Failure("search needs optuna in the environment of the project; add it to the image's requirements", final=True)
    url, engine = _address()
    callback = "heartbeat_stale_trial_callback" if "heartbeat_stale_trial_callback" in inspect.signature(optuna.storages.RDBStorage).parameters else None
    options: dict[str, Any] = {"heartbeat_interval": HEARTBEAT, "grace_period": GRACE, callback or "failed_trial_callback": _lost}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for tries in (2, 1, 0):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=engine, **options)
        except ImportError as error:
            raise Failure(f"the database for searches needs a driver that the environment of the project does not have: {error}", final=True) from None
        except Exception as error:  # two that meet an empty database both make its tables, and one of them fails
            if not tries:
                words = str(error).replace(url, "...").splitlines()[0]
                raise Failure(f"search: Optuna's database cannot be used ({type(error).__name__}: {words})") from None
            time.sleep(1)


def _address() -> tuple[str, dict[str, Any]]:
    """The address of the database for searches, and SQLAlchemy's options for it.

    Raises:
        Failure: It is not named.
    """
    named = os.environ.get("LAB_OPTUNA_STORAGE_FILE", "")
    if not named or not Path(named).is_file():
        raise Failure("LAB_OPTUNA_STORAGE_FILE does not name a file in the worker's environment; it must hold the address of the database for searches")
    url = Path(named).read_text(encoding="utf-8").strip()
    return url, {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}


def _lost(study: Any, trial: FrozenTrial) -> None:
    """A trial whose searcher is gone: its parameters go back into the queue, a few times."""
    Retry(max_retry=LOST)(study, trial)
    print(f"[search] trial {trial.number} was lost with its worker; its parameters are tried again", flush=True)


def prepare(job: Job) -> dict[str, str]:
    """Make the study and the run in MLflow that holds its trials, if they are not there yet; gives ``study`` and ``search_run_id``."""
    settings = job.document["search"]
    storage = storage_of()
    definition = {key: value for key, value in settings.items() if key not in ("trials", "timeout", "parallel", "allowed_failures")}
    tried = "cross_validation" if settings["objective"] == "cross_validation" or settings["objective"]["call"] else "train"
    digest = hashlib.sha256(json.dumps([definition, job.document[tried]], sort_keys=True).encode()).hexdigest()[:16]
    name = f"{job.document['name']}/{job.run_id}"
    with _database(f"making the study {name}"):
        study = _create(storage, name, settings)
        if study.user_attrs.get("lab.definition", digest) != digest:  # the file was changed before the run was cleared: other trials
            name = f"{name}/{digest}"
            study = _create(storage, name, settings)
        study.set_user_attr("lab.definition", digest)
        run_id = study.user_attrs.get("lab.mlflow_run_id")
    if study.user_attrs.get("lab.parent_run_id") != job.run["mlflow_run_id"]:
        with tracking.failures("making a nested run for the search"):
            run_id = tracking.nested(job.client, job.run["experiment_id"], job.run["mlflow_run_id"], "search", "search", {"lab.study": name})
        with _database(f"making the study {name}"):
            study.set_user_attr("lab.mlflow_run_id", run_id)
            study.set_user_attr("lab.parent_run_id", job.run["mlflow_run_id"])
    known = study.get_trials(deepcopy=False)
    print(f"[search] study {name}: {_counts(known) or 'no trial yet'}", flush=True)
    return {"study": name, "search_run_id": str(run_id)}


def points_of(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The points of a grid, each once; with a seed in an order of chance, so that not all of those that are tried lie in one corner.

    The order depends on space and seed alone, so every searcher knows it. No list of all points is made: there may be millions.
    """
    axes = document.grid(settings["space"])
    count = math.prod(len(values) for values in axes.values())
    chance = None if settings["seed"] is None else random.Random(settings["seed"])
    seen: set[int] = set()
    for number in range(count):
        while chance and (number := chance.randrange(count)) in seen:
            pass
        seen.add(number)
        point: dict[str, Any] = {}
        for name, values in reversed(axes.items()):
            number, place = divmod(number, len(values))
            point[name] = values[place]
        yield point


def _create(storage: Any, name: str, settings: Mapping[str, Any]) -> Any:
    return optuna.create_study(storage=storage, study_name=name, directions=settings["direction"], load_if_exists=True)


def _database(what: str) -> AbstractContextManager[None]:
    return callables.told_as(f"search: {what} failed with", first_line=True)  # SQLAlchemy's words go on with the statement


def _counts(trials: Iterable[FrozenTrial]) -> str:
    states = [trial.state.name.lower() for trial in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def lost_numbers(trials: Iterable[FrozenTrial]) -> set[int]:
    """The trials that were lost with their worker and have another one in their place."""
    return {number for trial in trials for number in instead_of(trial)}


def instead_of(trial: FrozenTrial) -> list[int]:
    """The lost trials that a trial takes the place of, the first one first."""
    numbers: list[int] = Retry.retry_history(trial) if trial.system_attrs else []  # most have none, and each call warns: 6 µs, for every trial at every claim
    return numbers


class Heartbeat:
    """Sends the heartbeat of the trial that this process is at, from a thread of its own.

    Optuna itself sends heartbeats in ``Study.optimize`` alone, which cannot claim trials under a lock, and has no public call to send one for a trial that was
    asked for. So this class speaks to the storage, and to the ids by which it knows studies and trials; nothing else here does.
    """

    def __init__(self, storage: Any, study: str) -> None:
        self._storage = storage
        self._study = study
        self._trial_id: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="optuna-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join(5)

    def of(self, number: int | None) -> None:
        """Send that of the trial with this number from now on; of none if None."""
        self._trial_id = None if number is None else self.first(number)

    def first(self, number: int) -> int:
        """Send the first one of a trial, and note at the trial that it has one; gives the trial's id. In this order: one that is noted is surely there."""
        trial_id: int = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.record_heartbeat(trial_id)
        self._storage.set_trial_user_attr(trial_id, BEATS, number)
        return trial_id

    @cached_property
    def _study_id(self) -> int:
        return int(self._storage.get_study_id_from_name(self._study))

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT):
            trial_id = self._trial_id
            if trial_id is not None:
                try:
                    self._storage.record_heartbeat(trial_id)
                except Exception as error:
                    print(f"[search] a heartbeat could not be sent ({storable.raised(error)})", flush=True)


class Turns:
    """Lets one searcher of a study at a time claim a trial, on whatever host it is. The connection is our own: Optuna lends none."""

    def __init__(self, study: str) -> None:
        import sqlalchemy  # type: ignore[import-not-found,unused-ignore]  # which Optuna brings

        address, options = _address()
        url = sqlalchemy.make_url(address)
        self._file = Path(f"{url.database}.lock")
        self._engine = sqlalchemy.create_engine(url, **options) if url.get_backend_name() == "postgresql" else None
        key = int.from_bytes(hashlib.sha256(study.encode()).digest()[:4], "big", signed=True)
        self._lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:space, :study)").bindparams(space=0x6C6162, study=key)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until it is this one's turn; it is to the end of the block."""
        with ExitStack() as stack:
            if self._engine:
                stack.enter_context(self._engine.begin()).execute(self._lock)  # it goes with the transaction, and with the connection of a killed process
            else:
                fcntl.flock(stack.enter_context(self._file.open("w")), fcntl.LOCK_EX)
            yield


class Searcher:
    """One of the processes that search."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.settings: Mapping[str, Any] = job.document["search"]
        self.storage = storage_of()
        with _database(f"loading the study {job.run['study']}"):
            self.study = optuna.load_study(
                study_name=job.run["study"],
                storage=self.storage,
                sampler=sampler_of(self.settings, None),
                pruner=pruner_of(self.settings["pruner"]),
            )
            self.turns = Turns(self.study.study_name)
        self.tries: list[FrozenTrial] = []
        self.looked = 0.0
        self.known = len(self.study.get_trials(deepcopy=False))
        self.points = points_of(self.settings) if self.settings["sampler"]["name"] == "grid" else None
        self.drawn: list[dict[str, Any]] = []

    def work(self) -> dict[str, Any]:
        """Claim and evaluate trials until there are enough."""
        job = self.job
        job.package.ask("steps")  # before the first claim
        with tracking.Writer() as writer, Heartbeat(self.storage, self.study.study_name) as heart:
            self.writer = writer
            while True:
                with _database("claiming a trial"):
                    trial = self._claim(heart)
                if trial is None:
                    break
                try:
                    self._try(trial)
                except BaseException:
                    with suppress(Exception):  # killed in an orderly way: the trial need not be waited for
                        _lost(self.study, self.study.tell(trial, state=TrialState.FAIL))
                    raise
                finally:
                    heart.of(None)
        counts = _counts(self.tries) or "no trial"
        number, of = job.number, job.of
        print(f"[search] searcher {number} of {of} is done: {counts} here; in all {_counts(self.study.get_trials(deepcopy=False))}", flush=True)
        trials = len(self.tries)
        return {
            "searcher": number,
            "trials": [trial.number for trial in self.tries],
            "title": f"searcher {number} of {of}: {trials} trial{'' if trials == 1 else 's'}",
        }

    def _claim(self, heart: Heartbeat) -> Any:
        """The next trial, None when the search is over; waits while all that is left is being tried by others."""
        while True:
            with self.turns.turn():
                if time.monotonic() - self.looked > HEARTBEAT / 2:
                    self._give_up_lost(heart)
                    self.looked = time.monotonic()
                trials = self.study.get_trials(deepcopy=False)
                lost = lost_numbers(trials)
                running = sum(trial.state == TrialState.RUNNING for trial in trials)
                done = sum(trial.state.is_finished() and trial.number not in lost for trial in trials)
                self._stop_after_failures(trials, lost)
                enough = self.settings["trials"]
                late = self._is_late(trials)
                if done >= enough or (late and not running):
                    return None
                if done + running < enough and not late:
                    queued = [trial.number for trial in trials if trial.state == TrialState.WAITING]
                    if self.points is not None and not queued:
                        self.study.enqueue_trial(self._point(len(trials) - sum(bool(instead_of(trial)) for trial in trials)))
                    self._seed(queued[0] if queued else len(trials))
                    trial = self.study.ask()
                    heart.of(trial.number)
                    return trial
            time.sleep(EVERY)

    def _point(self, number: int) -> dict[str, Any]:
        """A point of the grid, by the number of points tried before it."""
        assert self.points is not None
        self.drawn += itertools.islice(self.points, max(0, number + 1 - len(self.drawn)))
        return self.drawn[number]

    def _give_up_lost(self, heart: Heartbeat) -> None:
        """Have lost trials tried again; in our turn, so one that has no heartbeat yet is of a process that was killed just then: it gets one, its last."""
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.user_attrs.get(BEATS) != trial.number:
                with suppress(RuntimeError):  # it has ended meanwhile
                    heart.first(trial.number)
        optuna.storages.fail_stale_trials(self.study)

    def _seed(self, number: int) -> None:
        """With a seed, what is sampled depends on the trial's number (and the trials so far) alone: not on who samples, nor on how often anyone began again."""
        if self.settings["seed"] is not None:
            digest = hashlib.sha256(f"{self.settings['seed']}/{number}".encode()).digest()
            self.study.sampler = sampler_of(self.settings, int.from_bytes(digest[:4], "big"))

    def _is_late(self, trials: Iterable[FrozenTrial]) -> bool:
        if self.settings["timeout"] is None:
            return False
        begun = min((trial.datetime_start.timestamp() for trial in trials if trial.datetime_start), default=None)
        return begun is not None and time.time() - begun > float(self.settings["timeout"])

    def _stop_after_failures(self, trials: Iterable[FrozenTrial], lost: set[int]) -> None:
        allowed = self.settings["allowed_failures"]
        failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number >= self.known and trial.number not in lost]
        if len(failed) > allowed:
            last = failed[-1].user_attrs.get("failure", "it was lost with its worker again and again")
            raise Failure(f"search: {len(failed)} trials failed, search.allowed_failures is {allowed}; the last one: {last}", final=True)

    def _try(self, trial: Any) -> None:
        params: dict[str, Any] = {}
        begun = time.monotonic()
        folds: list[dict[str, float]] = []
        state, result = TrialState.COMPLETE, None
        try:
            with _database("suggesting parameters"):
                params = suggest(trial, self.settings["space"])
            result = self._value(trial, params, folds)
        except Pruned:
            state = TrialState.PRUNED
        except Failure as failure:
            state = TrialState.FAIL
            with _database("telling a trial's failure"):
                trial.set_user_attr("failure", str(failure)[:1000])
        shown = ", ".join(f"{name}={_number(value)}" for name, value in params.items())
        words = {TrialState.COMPLETE: ", ".join(map(_number, result or [])), TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[state]
        try:
            frozen = self.study.tell(trial, result, state)
        except Exception as error:
            with _database("looking whether a trial was given up"):
                over = self.study.get_trials(deepcopy=False)[trial.number].state.is_finished()
            if not over:
                raise Failure(f"search: telling the result of trial {trial.number} failed with {storable.raised(error)}") from None
            print(f"[search] trial {trial.number} had been given up for lost before it ended; its result is not taken", flush=True)
            return
        print(f"[search] trial {trial.number}: {shown} -> {words} in {time.monotonic() - begun:.2f} s", flush=True)
        self.tries.append(frozen)
        job = self.job
        self.writer.put(lambda: write_trial(job, frozen, folds, worker=socket.gethostname()))

    def _value(self, trial: Any, params: Mapping[str, Any], folds: list[dict[str, float]]) -> list[float]:
        def on_value(told: tuple[int, float]) -> bool:
            step, value = told
            trial.report(value, step)
            return bool(trial.should_prune())

        def on_fold(told: tuple[int, dict[str, float]]) -> bool:
            number, scores = told
            folds.append(scores)
            mean = _mean(folds, next(iter(scores)))
            return mean is not None and on_value((number, mean))

        if self.settings["objective"] == "cross_validation":
            return [self.job.package.ask("cross_validated", on_fold, params=params)]
        if self.settings["objective"].get("metric"):
            return [self._named(trial.number, **self.job.package.ask("logging", on_value, params=params, trial=trial.number))]
        numbers: list[float] = self.job.package.ask("objective", on_value, params=params)
        return numbers

    def _named(self, trial: int, numbers: Mapping[str, float], elsewhere: str) -> float:
        """The objective's metric: what was returned under its name, else its last value in the runs that the package started for a trial.

        Args:
            trial: The trial's number.
            numbers: Those that were returned, by name; of a mapping within another one with a dot.
            elsewhere: MLflow's address, if the package changed it.

        Raises:
            Failure: There is none, or one that is no number.
        """
        call, name = self.settings["objective"]["call"] or "the training", self.settings["objective"]["metric"]
        value = numbers.get(name, next((number for inner, number in numbers.items() if inner.endswith(f".{name}")), None))
        what = "returned" if value is not None else "logged"
        if value is None:
            value = self._logged(trial, call, name, numbers, elsewhere)
        if math.isnan(value):
            raise Failure(f"search.objective: {call} {what} {name!r} as nan; allowed is a number")
        return value if abs(value) < sys.float_info.max else math.copysign(math.inf, value)  # MLflow's database has no infinity

    def _logged(self, trial: int, call: str, name: str, numbers: Collection[str], elsewhere: str) -> float:
        """The last value of a metric in the runs that the package started for a trial; runs nested in one of those do not count.

        Raises:
            Failure: It logged none.
        """
        tags = {"lab.trial": str(trial), "mlflow.parentRunId": self.job.run["search_run_id"]}
        with tracking.failures("looking for what a trial logged"):
            made = tracking.own_runs(self.job.client, self.job.run["mlflow_run_id"], "search.objective", **tags)
        value = next((one.data.metrics[name] for one in made if name in one.data.metrics), None)
        if value is None:
            logged = ", ".join(sorted({metric for one in made for metric in one.data.metrics}))
            found = f"it logged {logged or 'none'}" if made else "it started no run there"
            returned = f", and returned {', '.join(numbers)}" if numbers else ""
            away = f", for it set MLflow's address to {elsewhere}, which is not the lab's" if elsewhere else ""
            raise Failure(f"search.objective: {call} logged no metric {name!r} in MLflow; {found}{returned}{away}")
        return float(value)


def _mean(folds: Iterable[Mapping[str, float]], scorer: str) -> float | None:
    """The mean of a scorer over the folds that have it; None if none has."""
    good = [fold[scorer] for fold in folds if math.isfinite(fold[scorer])]
    return sum(good) / len(good) if good else None


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def work(job: Job) -> dict[str, Any]:
    """Search until there are enough trials; gives ``searcher``, ``trials`` (the numbers of those evaluated here) and ``title``."""
    return Searcher(job).work()


STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED", "LOST": "KILLED"}


def write_trial(job: Job, trial: FrozenTrial, folds: list[dict[str, float]], run_id: str = "", lost: bool = False, worker: str = "") -> None:
    """Write a finished trial as a run nested in that of the search, and its folds as runs nested in that; ``worker``, if known, is who tried it."""
    client = job.client
    start, over = (when.timestamp() if when else None for when in (trial.datetime_start, trial.datetime_complete))
    state = "LOST" if lost else trial.state.name
    experiment = job.run["experiment_id"]
    own = {"lab.trial": str(trial.number), **({"lab.worker": worker} if worker else {})}
    run_id = run_id or tracking.nested(client, experiment, job.run["search_run_id"], "trial", f"trial {trial.number}", own, start)
    values = list(trial.values or [])
    metrics = {"objective" if len(values) == 1 else f"objective_{number}": value for number, value in enumerate(values)}
    if start and over:
        metrics["seconds"] = over - start
    for name in folds[0] if folds else []:
        metrics[name] = mean if (mean := _mean(folds, name)) is not None else math.nan
    tags = {"lab.state": state}
    if trial.user_attrs.get("failure"):
        tags["lab.failure"] = trial.user_attrs["failure"]
    if others := instead_of(trial):
        tags["lab.instead_of"] = ", ".join(map(str, others))
    intermediate = {"intermediate": trial.intermediate_values}
    for number, scores in enumerate(folds):
        fold = tracking.nested(client, experiment, run_id, "fold", f"fold {number}", {"lab.fold": str(number)}, start)
        tracking.log(client, fold, metrics=scores)
        tracking.end(client, fold, at=over)
    tracking.log(client, run_id, metrics=metrics, params=trial.params, tags=tags, series=intermediate, at=over)
    tracking.end(client, run_id, STATUS[state], at=over)


def settle(job: Job) -> dict[str, Any]:
    """The best parameters. Completes the search in MLflow: a run for every trial, the best of them, pictures; once.

    Raises:
        Failure: No trial was completed, or MLflow or the database fail.
    """
    settings, client, run_id = job.document["search"], job.client, job.run["search_run_id"]
    with _database(f"loading the study {job.run['study']}"):
        study = optuna.load_study(study_name=job.run["study"], storage=storage_of())
        trials = study.get_trials(deepcopy=False)
    chosen = best(trials, settings["direction"])
    with tracking.failures("completing the search"):
        known = client.get_run(run_id)
        digest = hashlib.sha256(repr([(trial.number, trial.state) for trial in trials]).encode()).hexdigest()[:16]
        if known.info.status == "FINISHED" and known.data.tags.get("lab.settled") == digest:
            return dict(chosen.params)
        _write_missing(job, trials)
        metrics = {"objective" if len(chosen.values) == 1 else f"objective_{number}": value for number, value in enumerate(chosen.values)}
        counts = {f"trials_{state.name.lower()}": float(sum(trial.state == state for trial in trials)) for state in TrialState if state.is_finished()}
        lost = len(lost_numbers(trials))
        counts |= {"trials_lost": float(lost), "trials_fail": counts["trials_fail"] - lost}
        best_tags = {f"lab.best.{name}": tracking.text(value) for name, value in chosen.params.items()}
        tracking.log(client, run_id, metrics={**metrics, **counts}, tags={"lab.best_trial": str(chosen.number), **best_tags})
        tracking.log(client, job.run["mlflow_run_id"], metrics={f"search_{name}": value for name, value in metrics.items()})
        client.log_dict(run_id, [_shown(trial) for trial in trials], "trials.json")
        from lab_experiment import pictures  # here, because drawing takes seconds to import, and a search is drawn once

        for picture in pictures.of_study(study, job.folder / folders.KEPT / "search"):
            client.log_artifact(run_id, str(picture), "plots")
            client.log_artifact(job.run["mlflow_run_id"], str(picture), "plots/search")
        tracking.log(client, run_id, tags={"lab.settled": digest})
        if "lab.failure" in known.data.tags:  # of a searcher whose next try did better
            client.delete_tag(run_id, "lab.failure")
        tracking.end(client, run_id)
    shown = ", ".join(f"{name}={_number(value)}" for name, value in chosen.params.items())
    print(f"[search] {_counts(trials)}; the best is trial {chosen.number}: {shown} -> {', '.join(map(_number, chosen.values))}", flush=True)
    return dict(chosen.params)


def _shown(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "intermediate_values": {str(step): value for step, value in trial.intermediate_values.items()},
        "start": trial.datetime_start and trial.datetime_start.isoformat(),
        "complete": trial.datetime_complete and trial.datetime_complete.isoformat(),
        "instead_of": instead_of(trial),
        "failure": trial.user_attrs.get("failure"),
    }


def _write_missing(job: Job, trials: Iterable[FrozenTrial]) -> None:
    """Write the trials that have no whole run in MLflow: those that were lost, and those whose searcher was killed before it had written them."""
    written: dict[str, Any] = {}
    token = None
    query = f"tags.`mlflow.parentRunId` = '{job.run['search_run_id']}' and tags.`lab.kind` = 'trial'"
    while True:
        page = job.client.search_runs([job.run["experiment_id"]], query, max_results=1000, page_token=token)
        for made in page:
            number = made.data.tags["lab.trial"]
            if number not in written or made.info.status != "RUNNING":
                written[number] = made
        token = page.token
        if not token:
            break
    lost = lost_numbers(trials)
    for trial in trials:
        made = written.get(str(trial.number))
        if trial.state.is_finished() and (made is None or made.info.status == "RUNNING"):
            write_trial(job, trial, [], made.info.run_id if made else "", trial.number in lost)


def best(trials: Iterable[FrozenTrial], aims: list[str]) -> FrozenTrial:
    """The best completed trial. Of several objectives: the one on the Pareto front that is nearest to the best of each, measured by the front's own extent.

    Raises:
        Failure: None was completed.
    """
    signs = [1 if aim == "minimize" else -1 for aim in aims]
    complete = [(tuple(sign * value for sign, value in zip(signs, trial.values, strict=True)), trial) for trial in trials if trial.state == TrialState.COMPLETE]
    complete = [(values, trial) for values, trial in complete if all(map(math.isfinite, values))]
    if not complete:
        raise Failure("search: no trial was completed with a finite value; search.timeout may be too short, or every trial was pruned or failed")
    front = [
        (values, trial)
        for values, trial in complete
        if not any(other != values and all(theirs <= ours for theirs, ours in zip(other, values, strict=True)) for other, _ in complete)
    ]
    ideal = [min(values[number] for values, _ in front) for number in range(len(aims))]
    extent = [max(values[number] for values, _ in front) - ideal[number] or 1.0 for number in range(len(aims))]

    def distance(values: tuple[float, ...]) -> float:
        return math.dist([0.0] * len(aims), [(value - low) / wide for value, low, wide in zip(values, ideal, extent, strict=True)])

    return min(front, key=lambda item: (distance(item[0]), item[1].number))[1]
