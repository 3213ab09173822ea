"""Functions that are written as command lines: commands of click, apps of typer, and functions whose defaults are typer's.

Neither library is imported here; a package that uses one brings it.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def is_command(function: Any) -> bool:
    """Whether something is a command of click."""
    return not inspect.isclass(function) and hasattr(function, "make_context") and hasattr(function, "callback") and hasattr(function, "params")


def behind(function: Any) -> Any:
    """The function of a typer app that has one command; anything else as it is.

    Raises:
        LookupError: It has several, or is a group of click's commands.
    """
    registered = [command.callback for command in getattr(function, "registered_commands", None) or [] if getattr(command, "callback", None)]
    if len(registered) == 1 and not getattr(function, "registered_groups", None):
        return registered[0]
    names = [getattr(one, "__name__", "") for one in registered] or [*(getattr(function, "commands", None) or {})]
    if registered or (is_command(function) and names):
        raise LookupError(f"it is a group of commands, {', '.join(sorted(names))}; allowed: the function of one of them, without the group")
    return function


def parameters(command: Any) -> tuple[list[str], list[str]]:
    """The names of the values that a command of click takes, and of those that it has to be given."""
    taken = [one for one in command.params if getattr(one, "expose_value", True)]
    return [one.name for one in taken], [one.name for one in taken if one.required and not one.envvar]


def run(command: Any, arguments: Mapping[str, Any]) -> Any:
    """Call the function of a click command with values as click would give them: texts are converted, and what is not given has the command's default.

    Raises:
        SystemExit: It ended with ``ctx.exit()``.
    """
    context = command.context_class(command, info_name=command.name)
    with context:  # for functions that ask click for it
        for one in command.params:
            value = arguments.get(one.name)
            if one.name in arguments and not isinstance(value, str):  # an object of a step, say, which click could only turn into a text
                context.params[one.name] = value
            else:
                one.handle_parse_result(context, {one.name: value} if one.name in arguments else {}, [])
        values = {name: None if type(value).__name__ == "Sentinel" else value for name, value in context.params.items()}
        context.params.update(values)
        try:
            return context.invoke(command.callback, **values)
        except Exception as error:
            if type(error).__name__ == "Exit" and hasattr(error, "exit_code"):
                raise SystemExit(error.exit_code) from None
            raise


def has_default(parameter: inspect.Parameter) -> bool:
    """Whether a parameter need not be given; typer's word for one that must be is a default, too."""
    default = parameter.default
    return default is not parameter.empty and not (_is_typers(default) and default.default is ... and not getattr(default, "default_factory", None))


def _is_typers(default: Any) -> bool:
    return type(default).__name__ in ("OptionInfo", "ArgumentInfo") and hasattr(default, "default")


def defaults(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values behind the defaults of a function that are typer's descriptions of them."""
    try:
        given = {one.name: one.default for one in inspect.signature(function).parameters.values() if _is_typers(one.default) and one.name not in arguments}
    except (ValueError, TypeError):  # some functions written in C do not tell
        return {}
    if not given:
        return {}
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name that is imported for type checkers only, or whatever a package's own types raise
        hints = {}
    found = {}
    for name, default in given.items():
        factory = getattr(default, "default_factory", None)
        value, kind = factory() if factory else default.default, hints.get(name)
        if value is ...:
            continue
        found[name] = kind(value) if isinstance(value, str) and inspect.isclass(kind) and issubclass(kind, Path | enum.Enum) else value
    return found
