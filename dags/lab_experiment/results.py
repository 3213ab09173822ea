"""What the results of foreign functions are taken for: the model among what a training returned, and the metrics of a training or an evaluation."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Any

from lab_experiment import storable
from lab_experiment.failures import Failure


def function_of(call: str) -> str:
    """The name of a function without its module, and of a method without its class."""
    return re.split(r"[:.]", call)[-1]


def fields(kind: Any) -> list[str] | None:
    """The names of the fields of a NamedTuple, a dataclass, or a class of attrs or pydantic; None of anything else."""
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(kind._fields)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    if isinstance(getattr(kind, "model_fields", None), Mapping) and hasattr(kind, "model_dump"):
        return list(kind.model_fields)
    return None


def named(value: Any) -> dict[str, Any] | None:
    """The fields of an object of such a class by name; None of anything else."""
    names = fields(type(value))
    return None if names is None else {name: getattr(value, name, None) for name in names}


def _opened(value: Any) -> Any:
    """A value with mappings in the place of such objects."""
    fields = named(value)
    return value if fields is None else {name: _opened(one) for name, one in fields.items()}


def of_training(call: str, returned: Any, method: str = "predict") -> tuple[Any, dict[str, float], dict[str, Any]]:
    """The model among what a training returned, the numbers beside it, and what else is beside it; what was returned itself, where no part of it can predict.

    Args:
        call: The function, ``package.module:function``.
        returned: A model, or a tuple, a mapping, a NamedTuple, a dataclass with a model among its parts.
        method: What a model has to have.

    Raises:
        Failure: Several parts can predict.
    """
    function = function_of(call)
    parts = None if hasattr(returned, method) else named(returned)
    if parts is None and isinstance(returned, tuple):
        parts = {str(number): part for number, part in enumerate(returned)}
    elif parts is None and isinstance(returned, Mapping):
        parts = {str(name): part for name, part in returned.items()}
    models = {name: part for name, part in (parts or {}).items() if hasattr(part, method) and not isinstance(part, type)}
    if not parts or not models:
        return returned, {}, {}
    if len({id(model) for model in models.values()}) > 1:
        words = "allowed is one model, and numbers beside it"
        raise Failure(f"train: {call} returned a {type(returned).__name__} in which {' and '.join(models)} have {method}; {words}", final=True)
    metrics: dict[str, float] = {}
    others: dict[str, Any] = {}
    bare = [name for name, part in parts.items() if name.isdigit() and _number(part) is not None]
    for name, part in parts.items():
        if name in models:
            continue
        others |= _others(name, part)
        if name in bare:  # of a tuple, where numbers have no names
            name = function if len(bare) == 1 else f"{function}_{name}"
        found = _opened(part)
        if isinstance(found, Mapping):
            metrics |= {f"{name}.{inner}" if inner in metrics else inner: value for inner, value in _numbers(found).items()}
        elif (number := _number(found)) is not None:
            metrics[name] = number
    return next(iter(models.values())), metrics, others


def _others(name: str, part: Any) -> dict[str, Any]:
    """What of a part is no number, by its name."""
    found = _opened(part)
    try:
        inside = {f"{name}.{inner}": value for inner, value in storable.flat(found)} if isinstance(found, Mapping) and not _prepares(part) else {name: part}
    except ValueError:  # it holds itself
        inside = {name: part}
    return {name: value for name, value in inside.items() if value is not None and _number(value) is None}


def _prepares(part: Any) -> bool:
    """Whether a part makes what a model is given, or reads what it gives; a frame has ``transform``, too, but no ``fit``."""
    return hasattr(part, "fit") and hasattr(part, "transform") and not isinstance(part, type)


def missed(model: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the other parts that a model cannot be used without: scalers, encoders and the like that are nowhere in it, as they are in a pipeline."""
    wanted = {name: part for name, part in others.items() if _prepares(part)}
    seen: set[int] = set()
    waiting = [model] if wanted else []
    while waiting and len(seen) < 1_000_000:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(value))
        inside = value if isinstance(value, (dict, list, tuple)) else getattr(value, "__dict__", None)
        waiting += inside.values() if isinstance(inside, dict) else inside if isinstance(inside, (list, tuple)) else []
    return {name: part for name, part in wanted.items() if id(part) not in seen}


def kinds_of(parts: Mapping[str, Any]) -> str:
    """Parts as a log names them."""
    shown = ", ".join(f"{name} ({type(part).__module__}.{type(part).__qualname__})" for name, part in parts.items())
    return storable.text(shown.replace("(builtins.", "("), 1000)


def numbers_in(returned: Any) -> dict[str, float]:
    """The numbers with names in a tuple, a mapping, a NamedTuple or a dataclass that a function returned; those of an inner mapping have names with a dot."""
    parts = returned if isinstance(returned, (tuple, list)) and named(returned) is None else [returned]
    numbers: dict[str, float] = {}
    for found in map(_opened, parts):
        if isinstance(found, Mapping):
            numbers |= {name: value for name, value in _numbers(found).items() if name not in numbers}
    return numbers


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) else storable.number(value)


def _numbers(parts: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers in a mapping; what else a training returns is no metric."""
    try:
        return {name: number for name, value in storable.flat(parts) if (number := _number(value)) is not None}
    except ValueError:  # it holds itself
        return {}


def metrics_of(call: str, result: Any) -> dict[str, float]:
    """Turn what an evaluation returned into metrics: one number is named after the function, those of a mapping within a mapping get names with a dot.

    Raises:
        Failure: It is neither a number nor a mapping, a NamedTuple or a dataclass of numbers.
    """
    result = _opened(result)
    if not isinstance(result, Mapping) and storable.number(result) is not None:
        result = {function_of(call): result}
    if not isinstance(result, Mapping):
        allowed = "a number, or a mapping (a dataclass, a NamedTuple) of metric names to numbers"
        raise Failure(f"train.evaluate: {call} returned a {type(result).__name__}; allowed is {allowed}", final=True)
    metrics: dict[str, float] = {}
    try:
        for name, value in storable.flat({name: _opened(value) for name, value in result.items()}):
            number = storable.number(value)
            if number is None:
                raise Failure(f"train.evaluate: {call} returned {storable.short(value)} as metric {storable.short(name)}; allowed is a number", final=True)
            same = sum(other == name or other.startswith(f"{name} (") for other in metrics) if name in metrics else 0
            metrics[f"{name} ({same + 1})" if same else name] = number
    except ValueError as error:
        raise Failure(f"train.evaluate: {call} returned a mapping of metrics that cannot be read: {error}", final=True) from None
    return metrics
