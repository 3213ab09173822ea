"""Arguments that are configurations: a mapping of the file becomes the object that a function's annotation says, of a dataclass, attrs or pydantic."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lab_experiment import results, returns


def built(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, with objects in the place of mappings where a parameter is said to be one of those classes."""
    kinds = _kinds(function) if any(isinstance(value, Mapping) for value in arguments.values()) else {}
    return {name: _made(kinds.get(name), value) for name, value in arguments.items()}


def unfit(key: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What such a class would refuse of its mapping, at any depth: the key where it is said, and a sentence.

    Args:
        key: The key of the arguments, ``train.with``.
        function: A function, or a class.
        arguments: As the file has them; what an expression stands for is not known yet.
    """
    kinds = _kinds(function)
    for name, value in arguments.items():
        kind = _configuration(kinds.get(name))
        if kind is None or not isinstance(value, Mapping):
            continue
        where = f"{key}.{name}"
        try:
            parameters = inspect.signature(kind).parameters.values()
        except (ValueError, TypeError):
            continue
        fields = [parameter.name for parameter in parameters if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)]
        needed = [parameter.name for parameter in parameters if parameter.name in fields and parameter.default is parameter.empty]
        allowed = ", ".join(fields) or "none"
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            for field in value:
                if field not in fields:
                    yield f"{where}.{field}", f"{where} has {field!r}, which is no field of {kind.__name__}; allowed: {allowed}."
        for field in needed:
            if field not in value:
                yield where, f"{where} lacks {field!r}, which {kind.__name__} needs; its fields are {allowed}."
        yield from unfit(where, kind, value)


def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """What the parameters of a function, or of a class, are said to be; empty where it says nothing that can be resolved."""
    said: Any = function.__init__ if inspect.isclass(function) and "__init__" in vars(function) else function
    try:
        return typing.get_type_hints(inspect.unwrap(said))
    except Exception:  # a name that is imported for type checkers only, or whatever a package's own types raise
        return {}


def _configuration(kind: Any) -> Any:
    """The one class with named fields that a kind is, or None: where a mapping would do as well, nobody has to make anything of it."""
    members = [member for member in returns.members_of(kind) if member is not types.NoneType]
    return members[0] if len(members) == 1 and inspect.isclass(members[0]) and results.fields(members[0]) is not None else None


def _made(kind: Any, value: Any) -> Any:
    made_by = _configuration(kind)
    if made_by is None or not isinstance(value, Mapping):
        return value
    if hasattr(made_by, "model_fields"):  # pydantic makes what is in it by itself, under the names that it has outside
        return made_by(**value)
    kinds = _kinds(made_by)
    return made_by(**{name: _made(kinds.get(name), one) for name, one in value.items()})
