"""Whether an experiment can be run: its callables are looked at in its environment, the rest is held against what the lab has."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab_environments import PROJECT, Environment, header
from lab_experiment import data_files, queues
from lab_experiment.document import Source, calls
from lab_experiment.failures import Failure, Mistakes
from lab_experiment.inside import CLIENTS
from lab_experiment.package import Package
from lab_experiment.references import of


def check(document: Mapping[str, Any], file: str, overrides: Mapping[str, Any], environment: Environment, package: Package, queues_by_run: bool = True) -> None:
    """Look at everything that can be known before the first step.

    Args:
        document: What :func:`lab_experiment.document.read` returned.
        file: The file it was read from; its lines are named when it is there.
        overrides: What the trigger set.
        environment: The experiment's environment.
        package: The process to import its callables in.
        queues_by_run: Whether this Airflow lets a run choose its queues.

    Raises:
        Mistakes: A callable or a library is not there, an argument is unknown or missing, a function says that its result is not what it is taken for, a
            deployment would be refused, nobody consumes a queue, data that is named is not there; a sentence each.
        Failure: Importing a package ended its process.
    """
    place = _places(file, overrides)
    made = list(calls(document))
    scorers = [
        (key, name)
        for key, part in (("cross_validation.scoring", document["cross_validation"]), ("train.evaluate.scoring", (document["train"] or {}).get("evaluate")))
        if part
        for name in part["scoring"]
    ]
    try:
        found = package.ask("check", calls=made, scorers=scorers, modules=list(_modules(document, environment)), results=_results(document))
    except Failure as failure:
        key = next((key for key, _, _ in made if str(failure).startswith(f"{key}.call ")), "")
        raise Failure(f"{place(f'{key}.call')}: {failure}" if key else str(failure)) from None
    unconsumed = queues.unconsumed(document["queues"], queues_by_run)
    others = [
        *_unfilled(document),
        *_search_libraries(document),
        *_unwritable(document, environment),
        *_undeployable(document),
        *unconsumed,
        *data_files.missing(document),
    ]
    sentences = [f"{place(key)}: {words}" for key, words in [*found, *_unfilled(document), *others]]
    if sentences:
        raise Mistakes(list(dict.fromkeys(sentences)))


def _places(file: str, overrides: Mapping[str, Any]) -> Callable[[str], str]:
    """What says where a key was set."""
    if not Path(file).is_file():
        return lambda key: file
    source = Source(Path(file), overrides)
    return lambda key: source.place(source.path(key))


def _results(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the document expects of results, as :func:`lab_experiment.returns.mistakes` is told."""
    search, train, champion = document["search"], document["train"] or {}, (document["register"] or {}).get("champion")
    evaluate = train.get("evaluate") or {}
    values = [(f"{key}.with.{name}", value) for key, _, arguments in calls(document) for name, value in arguments.items()]
    values += [("train.input_example", train.get("input_example")), ("train.evaluate.plots", evaluate.get("plots"))]
    metric = search["objective"]["metric"] if search and search["objective"] != "cross_validation" else None
    sought = None
    if metric and metric != TO_FILL:
        alone = not search["objective"]["call"]
        keys = [key for key, _, _ in calls(document) if key in (("train", "train.evaluate") if alone else ("search.objective",))]
        sought = (metric, keys, (evaluate.get("scoring") or []) if alone else [])
    return {
        "sought": sought,
        "parts": [(key, reference) for key, value in values for reference in of(value) if reference.startswith("steps.") and reference.count(".") > 1],
        "numbers": len(search["direction"]) if search and search["objective"] != "cross_validation" and not metric else 0,
        "metric": [champion["metric"], evaluate.get("scoring") or []] if champion else None,
        "predict": train.get("predict", "predict"),
    }


def _modules(document: Mapping[str, Any], environment: Environment) -> Iterator[tuple[str, str, str]]:
    """What the lab needs in the experiment's environment beside its callables: key, module, what for."""
    if environment.name == PROJECT or not environment.lock:
        return
    without = header(environment.lock).get("without", "")
    why = f": the lab's own needs do not go with the pins of the environment {environment.name} ({without})" if without else ""
    # Without MLflow a model is kept as a file, and nobody can register, deploy or compare it.
    for key in ("register", "deploy"):
        if document[key]:
            yield key, "mlflow", f"which writes a model that can be registered or deployed{why}"
    if document["cross_validation"]:
        yield "cross_validation", "sklearn", f"which makes the folds{why}"
    if ((document["train"] or {}).get("evaluate") or {}).get("data"):
        yield "train.evaluate.data", "sklearn", f"which scores the model{why}"


def _unwritable(document: Mapping[str, Any], environment: Environment) -> Iterator[tuple[str, str]]:
    """What asks for a model that the environment's version of MLflow would write as nobody here has tried: key and sentence."""
    found = re.search(r"^(mlflow(?:-skinny)?==(\d+)\.(\d+)\S*)", environment.lock or "", re.MULTILINE)
    if environment.name == PROJECT or not found or CLIENTS[0] <= (int(found[2]), int(found[3])) <= CLIENTS[1]:
        return
    supported = " to ".join(f"{major}.{minor}" for major, minor in CLIENTS)
    for key in ("register", "deploy"):
        if document[key]:
            words = f"the environment {environment.name} has {found[1]}, and models are written by {supported}"
            yield key, f"{key} is there, but {words}; allowed: without {key}, or with such a version among the requirements."


TO_FILL = "..."
"""What a draft (tools/draft.py) has in the place of a value that nobody but the user knows."""


def _unfilled(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Values that a draft left open: key and sentence."""

    def within(value: object) -> bool:
        return value == TO_FILL or (isinstance(value, (list, dict)) and any(map(within, value.values() if isinstance(value, dict) else value)))

    values = [(f"{key}.with.{name}", value) for key, _, arguments in calls(document) for name, value in arguments.items()]
    objective = (document["search"] or {}).get("objective")
    if isinstance(objective, Mapping):
        values.append(("search.objective.metric", objective.get("metric")))
    for key, value in values:
        if within(value):
            yield key, f"{key} has {TO_FILL!r}, which a draft has where a value is to be filled in; allowed: a value in its place."


def _search_libraries(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a search needs in the environment that keeps the books, which is this one."""
    search = document["search"]
    if not search:
        return
    here, sampler = f"the environment of {sys.executable}", search["sampler"]["name"]
    if not importlib.util.find_spec("optuna"):
        words = f"{here} has no module 'optuna', which a search needs; allowed: without search, or with optuna among the requirements"
        yield "search", f"search has {sampler!r}; {words}."
    module = {"cmaes": "cmaes", "gp": "torch"}.get(sampler)
    if module and not importlib.util.find_spec(module):
        words = f"{here} has no module {module!r}, which it needs; allowed: tpe, random, grid, or {module} among the requirements"
        yield "search.sampler", f"search.sampler has {sampler!r}; {words}."


def _undeployable(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the DAG ``deploy`` would refuse after the training: key and sentence."""
    if document["deploy"]:
        from lab_deployment import target, targets  # here, because not every experiment is deployed

        try:
            target.checked(document["deploy"]["options"], targets.find(document["deploy"]["target"]))
        except Mistakes as error:
            for sentence in error.sentences:
                words = sentence.replace("target_options: ", "deploy.options.").replace("target_options", "deploy.options")
                words = f"deploy.{words}" if words.startswith("target ") else words
                yield re.split(" |: ", words)[0], words
