"""What a target is: one small class with four methods and a table of its options. ``docs/targets.md`` has a worked example."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lab_experiment.failures import Failure, Mistakes

SCORING = Path(__file__).with_name("scoring.py")


@dataclass(frozen=True)
class Option:
    """An option of a target: what it means, what is allowed, and what counts when it is not given."""

    summary: str
    kind: type[str] | type[int] | type[float] | type[bool]
    default: Any = None
    required: bool = False
    choices: Sequence[Any] = ()
    pattern: str = ""
    example: str = ""
    low: int = 1
    """The smallest whole number that is allowed."""

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return " or ".join(map(str, self.choices))
        words = {
            str: "text",
            int: f"a whole number above {self.low - 1}" if self.low else "a whole number, 0 or more",
            float: "a number",
            bool: "true or false",
        }[self.kind]
        return f"{words}{f' such as {self.example}' if self.example else ''}"

    def accepts(self, value: Any) -> bool:
        """Whether a value may be given."""
        if self.kind in (int, float) and isinstance(value, bool):
            return False
        if not isinstance(value, (int, float) if self.kind is float else self.kind):
            return False
        if self.choices:
            return value in self.choices
        if self.kind is int:
            return isinstance(value, int) and value >= self.low
        return not isinstance(value, str) or bool(value and re.fullmatch(self.pattern or ".+", value))


@dataclass(frozen=True)
class Model:
    """The model to deploy, in a folder of this host."""

    uri: str
    """Its address with an alias resolved: ``models:/wine/3``, ``models:/m-1234``, ``runs:/5678/model``, ``mlflow-artifacts:/...``."""
    folder: Path
    """MLflow's model directory: ``MLmodel`` and all that belongs to it."""
    digest: str
    """SHA-256 over the paths and contents of its files: two equal models have the same, wherever they lie."""
    name: str | None = None
    """The registered model, and its version; None when the address is not that of a registered one."""
    version: int | None = None
    model_id: str | None = None
    run_id: str | None = None

    @property
    def title(self) -> str:
        """What people call it: ``wine 3``, or its address."""
        return f"{self.name} {self.version}" if self.name else self.uri


@dataclass
class Deployment:
    """A deployment under way: what a target is given to work with."""

    model: Model
    options: Mapping[str, Any]
    """All options of the target, checked, with defaults filled in."""
    expected: Any
    """The model's own predictions for its input example, as plain JSON values."""
    serving_input: str
    """The input example as the JSON text that MLflow's scoring protocol takes at ``/invocations``."""
    folder: Path
    """A folder for this deployment's own files; removed afterwards."""
    python: str
    """The interpreter that made the expected predictions: the project's, or that of an environment of the model's own."""
    by: str
    """Who deploys: ``deploy/<id of the DAG run>``."""
    run: Callable[[Sequence[str]], None] = field(repr=False)
    """Runs a command; its output goes to the task's log. Raises :class:`Failure` when it fails."""

    def say(self, words: str) -> None:
        """Write a line to the task's log."""
        print(f"[deploy] {words}", flush=True)

    def predict(self, model_folder: Path) -> Any:
        """The predictions of a model directory for its own input example, made by a new process; raises :class:`Failure`."""
        answer = self.folder / "predictions.json"
        self.run([self.python, str(SCORING), "predict", str(model_folder), str(answer)])
        return json.loads(answer.read_text(encoding="utf-8"))["predictions"]

    def prove(self, predictions: Any) -> None:
        """Compare predictions with the expected ones.

        Raises:
            Failure: They differ.
        """
        if found := difference(self.expected, predictions):
            raise Failure(f"the proof failed: for the input example of {self.model.title} {found}")


class Target(ABC):
    """Where a model can go. A class of this kind in :data:`lab_deployment.targets.TARGETS` is all it takes.

    The order of calls is: ``check`` before anything runs; ``stage``; ``predict``, compared with the model's own; ``release``; ``confirm``. When anything after
    ``check`` raises, or the task is stopped, ``withdraw`` is called last.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for the trigger form."""
    options: ClassVar[Mapping[str, Option]]
    runs_in: ClassVar[Literal["project", "airflow"]] = "project"
    """The Python that this class works in: the project's has MLflow's client, Airflow's has connections and ObjectStoragePath."""
    alias: ClassVar[str | None] = None
    """An alias that a registered version gets in MLflow once it is deployed."""
    page: str = ""
    """Address of a page for people that shows what is in service, for the button in Airflow; ``release`` sets it where there is one."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.model = deployment.model

    @classmethod
    def check(cls, options: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
        """What is wrong with the options beyond their kinds, a sentence each. Nothing may be changed here.

        Args:
            options: The options with defaults filled in.
            model: ``uri``, ``name``, ``version``, ``model_id`` and ``run_id`` of the model.
        """
        return []

    @classmethod
    def environment(cls, options: Mapping[str, Any]) -> Literal["fitting", "project", "model"]:
        """Where the model's own predictions are made: in the project's environment, in one of its own that has what the model demands, or in the fitting one.

        That is the project's where it has the very versions that the model was logged with, else one of its own.
        """
        return "fitting"

    @abstractmethod
    def stage(self) -> None:
        """Bring the model to the target, beside what is in service and unseen by its users."""

    @abstractmethod
    def predict(self) -> Any:
        """Predictions for the input example by what was staged, or by what is in service once ``release`` was called; plain JSON values."""

    @abstractmethod
    def release(self) -> str:
        """Put in service what was staged; returns where it is found."""

    def confirm(self) -> None:
        """Prove that what is in service is what was staged; by default with predictions once more."""
        self.deployment.prove(self.predict())

    def withdraw(self) -> None:  # noqa: B027 (a target that leaves nothing behind need not write it)
        """After a failure: leave in service what was there before, and remove what was staged."""


def checked(options: Mapping[str, Any], target: type[Target]) -> dict[str, Any]:
    """Options with defaults filled in.

    Raises:
        Mistakes: One is unknown, missing or of the wrong kind.
    """
    names = ", ".join(target.options)
    given = {name: value for name, value in options.items() if value is not None}
    sentences = [
        f"target_options has {name!r}, which the target {target.name} does not know; allowed: {names}." for name in given if name not in target.options
    ]
    for name, option in target.options.items():
        if name not in given:
            if option.required:
                sentences.append(f"target_options lacks {name!r}, which the target {target.name} needs; allowed: {option.allowed}.")
        elif not option.accepts(given[name]):
            sentences.append(f"target_options: {name} has {given[name]!r}; allowed: {option.allowed}.")
    if sentences:
        raise Mistakes(sentences)
    return {name: given.get(name, option.default) for name, option in target.options.items()}


RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far two predicted numbers may lie apart and still be equal: other builds of numpy round the last digits in another way."""


def difference(expected: Any, found: Any, where: str = "") -> str | None:
    """The first difference between two predictions, as the end of a sentence; None when they are equal."""
    place = f"at {where} " if where else ""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        if set(expected) != set(found):
            return f"{place}the model itself answers with {', '.join(sorted(map(str, expected)))}, the deployment with {', '.join(sorted(map(str, found)))}"
        parts = [(f"{where}.{key}".lstrip("."), value, found[key]) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{place}the model itself gives {len(expected)} values, the deployment {len(found)}"
        parts = [(f"{where}[{number}]", value, found[number]) for number, value in enumerate(expected)]
    elif isinstance(expected, float | int) and isinstance(found, float | int) and bool not in (type(expected), type(found)):
        same = (math.isnan(expected) and math.isnan(found)) or math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        return None if same else f"{place}the model itself predicts {expected!r}, the deployment {found!r}"
    else:
        return None if expected == found else f"{place}the model itself predicts {expected!r}, the deployment {found!r}"
    return next((sentence for part, one, other in parts if (sentence := difference(one, other, part))), None)
