"""What functions say of their results, by the annotation of what they return.

Looked at where the package is, before anything runs. What is not said, or cannot be told for certain, is no mistake.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, MutableSequence, Sequence, Set
from pathlib import Path
from typing import Any

from lab_experiment import results

Functions = Mapping[str, tuple[str, Callable[..., Any]]]
"""The callables of a document by key: ``package.module:function``, and the function."""


def mistakes(
    functions: Functions,
    parts: Sequence[tuple[str, str]],
    numbers: int,
    metric: tuple[str, Sequence[str]] | None,
    predict: str = "predict",
    sought: tuple[str, Sequence[str], Sequence[str]] | None = None,
) -> Iterator[tuple[str, str]]:
    """Hold what a document expects of results against what the functions say.

    Args:
        functions: Those that could be imported.
        parts: Key and reference of each reference to a part of a step's result.
        numbers: How many numbers the objective has to return; 0 where nobody looks at what it returns.
        metric: The champion's metric, and the scorers that are measured beside ``train.evaluate``; None without a champion.
        predict: The method that a model has to have.
        sought: The metric that a search goes by, the keys of the calls that may give it, and the scorers that are measured beside them.

    Yields:
        The key, and the sentence.
    """
    for key, reference in parts:
        step, _, path = reference.removeprefix("steps.").partition(".")
        call, function = functions.get(f"steps.{step}", ("", None))
        lost = _lost(annotation(function), path.split("."))
        if lost:
            depth, kind, names = lost
            place = ".".join(["steps", step, *path.split(".")[:depth]])
            allowed = ", ".join(f"{{{{ {place}.{name} }}}}" for name in names) or f"{{{{ {place} }}}} as a whole"
            yield key, f"{key} has '{{{{ {reference} }}}}', and {place} is {_shown(kind)} by the annotation of {call}; allowed: {allowed}."
    wanted: list[tuple[str, Callable[[Any], bool], str]] = [
        ("train.evaluate", _may_be_metrics, "a number, or a mapping (a dataclass, a NamedTuple) of metric names to numbers"),
        ("cross_validation.data", _may_be_data, DATA),
        ("train.evaluate.data", _may_be_data, DATA),
        ("cross_validation.estimator", lambda kind: _may_have(kind, "fit", inspect.isclass(estimator)), "an object with fit(X, y) and predict(X)"),
    ]
    estimator = functions.get("cross_validation.estimator", ("", None))[1]
    if not _may_log(functions.get("train", ("", None))[1]):
        words = f"a model with {predict}, or a tuple, a mapping, a dataclass, a NamedTuple with one such part; or the path of a file with it"
        wanted.append(("train", lambda kind: _may_bring_model(kind, predict), words))
    if numbers:
        allowed = "a number" if numbers == 1 else f"a list of {numbers} numbers, as there are directions"
        wanted.insert(0, ("search.objective", lambda kind: _may_be_numbers(kind, numbers), allowed))
    for key, fits, allowed in wanted:
        call, function = functions.get(key, ("", None))
        if not fits(kind := annotation(function)):
            yield f"{key}.call", f"{key}.call has {call!r}, which returns {_shown(kind)} by its annotation; allowed: {allowed}."
    if metric:
        name, scorers = metric
        call, function = functions.get("train.evaluate", ("", None))
        kind = annotation(function)
        made = [results.function_of(call)] if kind in (int, float) else _metrics(kind)
        if made and name not in (*made, *scorers):
            key = "register.champion.metric"
            yield key, f"{key} has {name!r}; allowed: a metric of train.evaluate: {', '.join(dict.fromkeys([*made, *scorers]))}."
    if sought:
        name, keys, scorers = sought
        given = [_given(key, *functions[key], predict) if key in functions else None for key in keys]
        names = [*scorers, *(one for names in given for one in names or [])]
        if names and None not in given and not any(one == name or one.endswith(f".{name}") for one in names):
            key = "search.objective.metric"
            yield key, f"{key} has {name!r}; allowed, by what {' and '.join(keys)} return: {', '.join(dict.fromkeys(names))}."


def _given(key: str, call: str, function: Any, predict: str) -> list[str] | None:
    """The names of all numbers that a function gives for a search to choose by; None where it may give others, or log them to MLflow."""
    kind = annotation(function)
    if _may_log(function):
        return None
    if kind in (int, float):  # which only an evaluation's has a name by which it is known
        return [results.function_of(call)] if key == "train.evaluate" else None
    return [] if key == "train" and inspect.isclass(kind) and hasattr(kind, predict) else _metrics(kind)


def annotation(function: Any) -> Any:
    """What a function says that it returns, resolved; ``Any`` where it says nothing, or nothing that can be resolved. A class returns what it makes."""
    if inspect.isclass(function):
        return function
    try:
        function = inspect.unwrap(function)
        said = types.SimpleNamespace(__annotations__={"return": inspect.get_annotations(function)["return"]})
        return typing.get_type_hints(said, function.__globals__)["return"]  # type: ignore[no-untyped-call,unused-ignore]
    except Exception:  # a name that is imported for type checkers only, or whatever a package's own types raise
        return Any


def _shown(kind: Any) -> str:
    if kind is types.NoneType:
        return "nothing"
    return f"a {kind.__name__}" if inspect.isclass(kind) else str(kind).replace("typing.", "")


def members_of(kind: Any) -> list[Any]:
    """The kinds of a union, an alias or a new type's own; the kind itself if it is none of these."""
    if isinstance(kind, typing.NewType):
        return members_of(kind.__supertype__)
    if type(kind).__name__ == "TypeAliasType":
        return members_of(kind.__value__)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [member for one in typing.get_args(kind) for member in members_of(one)]
    return [kind]


def _class_of(kind: Any) -> Any:
    """The class of a kind: of ``dict[str, float]`` it is ``dict``. ``object``, which may be anything, where it has none."""
    found = typing.get_origin(kind) or kind
    return found if inspect.isclass(found) else object


def _is_typed_dict(kind: Any) -> bool:
    return hasattr(kind, "__required_keys__") and hasattr(kind, "__total__")  # of typing_extensions, too


def _lost(kind: Any, path: Sequence[str]) -> tuple[int, Any, list[str]] | None:
    """Where a path of parts leaves what there is: after how many of them, at what kind, and what parts it has. None if it does not, as far as is known."""
    for depth, part in enumerate(path):
        members = [member for member in members_of(kind) if member is not types.NoneType] or [types.NoneType]
        there: dict[str, Any] = {}
        for member in members:
            parts = _parts(member)
            if parts is None or (part not in parts and hasattr(_class_of(member), part)):
                return None
            there |= parts
        if part not in there:
            named = [name for name in there if not name.isdigit()]  # those of a NamedTuple have numbers, too
            return depth, members[0] if len(members) == 1 else kind, named or list(there)
        kind = there[part] if len(members) == 1 else Any
    return None


PLAIN = (str, int, float, bool, types.NoneType)
"""What has no parts."""


def _parts(kind: Any) -> dict[str, Any] | None:
    """The parts of a kind and their own kinds, by name; None where nobody can tell. A dataclass may make more in ``__post_init__`` or ``__getattr__``."""
    made_by, arguments = _class_of(kind), typing.get_args(kind)
    if made_by in PLAIN:
        return {}
    if _is_typed_dict(made_by):
        return _hints(made_by, sorted(made_by.__required_keys__ | made_by.__optional_keys__))
    if issubclass(made_by, tuple) and hasattr(made_by, "_fields"):
        named = _hints(made_by, made_by._fields)
        return named | {str(number): one for number, one in enumerate(named.values())}
    if made_by is tuple and arguments and Ellipsis not in arguments:
        return {str(number): one for number, one in enumerate(arguments)}
    of_its_own = issubclass(made_by, Mapping | Sequence) or {"__post_init__", "__getattr__"} & set(dir(made_by))
    if dataclasses.is_dataclass(made_by) and not of_its_own:
        return _hints(made_by, [field.name for field in dataclasses.fields(made_by)])
    return None


def _hints(kind: Any, names: Sequence[str]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # as in `annotation`
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def _may_be_number(kind: Any) -> bool:
    """Whether `float` may take a value of a kind."""
    made_by = _class_of(kind)
    if made_by is Any or hasattr(made_by, "__float__") or hasattr(made_by, "__index__"):
        return True
    try:
        return issubclass(float, made_by)  # of whose kind numbers are, too: `object`, `numbers.Number`
    except TypeError:  # a protocol that cannot be asked
        return True


def _may_hold_numbers(made_by: Any) -> bool:
    """Whether a value of a class other than a list or a tuple may be several numbers, as an array is."""
    if made_by in PLAIN or issubclass(made_by, str | bytes | bytearray | complex | Mapping | Set):
        return False
    return not dataclasses.is_dataclass(made_by) or hasattr(made_by, "__iter__")


def _may_be_numbers(kind: Any, count: int) -> bool:
    """Whether a value of a kind can be so many numbers: one by itself, or in a list or a tuple. Of a generator it is what it yields, or returns in the end."""
    if len(members := members_of(kind)) > 1:
        return any(_may_be_numbers(member, count) for member in members)
    kind = members[0]
    made_by, arguments = _class_of(kind), typing.get_args(kind)
    if made_by in (Generator, Iterator, Iterable):
        return not arguments or any(_may_be_numbers(one, count) for one in (arguments[0], arguments[-1]))
    if issubclass(made_by, tuple) and hasattr(made_by, "_fields"):
        return len(made_by._fields) == count
    if made_by is tuple and arguments and Ellipsis not in arguments:
        return len(arguments) == count and all(_may_be_numbers(one, 1) for one in arguments)
    if issubclass(made_by, list | tuple) or made_by in (Sequence, MutableSequence, Collection):  # which a list is, too
        return not arguments or _may_be_numbers(arguments[0], 1)
    return _may_be_number(kind) if count == 1 else _may_hold_numbers(made_by)


DATA = (
    "(X, y) or (X, y, groups). From one frame: return frame.drop(columns=[target]), frame[target]; "
    "of four parts, as train_test_split gives them, let a step return them and a function the two that are wanted here"
)
"""What data are to be, in words."""


def _may_be_metrics(kind: Any, above: tuple[Any, ...] = ()) -> bool:
    if len(members := members_of(kind)) > 1:
        return any(_may_be_metrics(member, above) for member in members)
    member, made_by = members[0], _class_of(members[0])
    if member in above:
        return True
    if _is_typed_dict(made_by) or dataclasses.is_dataclass(made_by) or hasattr(made_by, "_fields"):
        return all(_may_be_metrics(part, (*above, member)) for part in (_parts(member) or {}).values())
    return issubclass(made_by, Mapping) or _may_be_number(member) or not (issubclass(made_by, str | bytes | complex | Set | list | tuple) or made_by in PLAIN)


def _may_be_data(kind: Any) -> bool:
    """Whether a value of a kind can be two or three parts of data."""
    if len(members := members_of(kind)) > 1:
        return any(map(_may_be_data, members))
    made_by, arguments = _class_of(members[0]), typing.get_args(members[0])
    if issubclass(made_by, tuple) and hasattr(made_by, "_fields"):
        return len(made_by._fields) in (2, 3)
    if made_by is tuple and arguments and Ellipsis not in arguments:
        return len(arguments) in (2, 3)
    return issubclass(made_by, tuple | list) or not (_is_known(made_by) or dataclasses.is_dataclass(made_by))


TABLES = ("numpy", "pandas", "polars", "pyarrow", "scipy")
"""Packages whose classes hold data, and neither are nor have a model."""


def _is_known(made_by: Any) -> bool:
    """Whether a class is one of data, by which nobody predicts, and which is no pair of them."""
    plain = issubclass(made_by, str | bytes | bytearray | complex | Mapping | Set | list) or made_by in PLAIN
    return plain or str(made_by.__module__).partition(".")[0] in TABLES


def _may_have(kind: Any, method: str, exactly: bool = False) -> bool:
    """Whether an object of a kind may have a method. Unless it is exactly of that class, it may be of one derived from it, which has more."""
    if len(members := members_of(kind)) > 1:
        return any(_may_have(member, method) for member in members)
    made_by = _class_of(members[0])
    return hasattr(made_by, method) or "__getattr__" in dir(made_by) or not (exactly or _is_known(made_by) or issubclass(made_by, tuple))


def _may_bring_model(kind: Any, method: str) -> bool:
    """Whether the result of a training may be a model, or have one among its parts, or say where one is."""
    if len(members := members_of(kind)) > 1:
        return any(_may_bring_model(member, method) for member in members)
    member, made_by = members[0], _class_of(members[0])
    if made_by in (str, types.NoneType):
        return True
    parts = _parts(member) if made_by not in PLAIN else None
    if parts and not hasattr(made_by, method):
        return any(_may_have(part, method) for part in parts.values())
    if issubclass(made_by, Mapping) and len(typing.get_args(member)) == 2:
        return _may_have(typing.get_args(member)[1], method)
    return issubclass(made_by, Mapping | tuple) or _may_have(member, method)


def _may_log(function: Any) -> bool:
    """Whether a training may log its model to MLflow itself: its package speaks of MLflow, or needs something that does."""
    name = str(getattr(function, "__module__", None) or "").partition(".")[0]
    if "mlflow" in sys.modules or not name:
        return True
    try:
        found = importlib.util.find_spec(name)
        assert found
        folders = [Path(folder) for folder in found.submodule_search_locations or []]
        files = [file for folder in folders for file in folder.rglob("*.py")] or [Path(str(found.origin))]
        return any(b"mlflow" in file.read_bytes() for file in files) or _needs_mlflow(importlib.metadata.packages_distributions().get(name, []))
    except Exception:  # it has no source, or no metadata, that could be read
        return True


def _needs_mlflow(distributions: Sequence[str]) -> bool:
    """Whether distributions, or what they need, need MLflow."""
    waiting, seen = list(distributions), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name.startswith("mlflow"):
            return True
        if name in seen:
            continue
        seen.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [found[0] for line in lines if "extra ==" not in line and (found := re.match(r"[A-Za-z0-9._-]+", line))]
    return False


def _metrics(kind: Any, above: tuple[Any, ...] = ()) -> list[str] | None:
    """The names of all metrics in a mapping of a kind, those of a mapping in it with a dot; None where there may be others."""
    [member, *others] = members_of(kind)
    made_by = _class_of(member)
    if others or member in above or not (_is_typed_dict(made_by) or dataclasses.is_dataclass(made_by) or hasattr(made_by, "_fields")):
        return None
    names: list[str] = []
    for name, one in (_parts(member) or {}).items():
        if name.isdigit():  # a NamedTuple's parts have numbers, too
            continue
        below = [name] if hasattr(_class_of(one), "__float__") else [f"{name}.{inner}" for inner in _metrics(one, (*above, member)) or []]
        if not below:
            return None
        names += below
    return names
