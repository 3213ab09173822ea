"""References in an experiment file.

``{{ run_dir }}``, ``{{ mlflow_tracking_uri }}``, ``{{ inputs.<name> }}``, ``{{ steps.<name> }}``, ``{{ steps.<name>.<part> }}``, ``{{ params.<name> }}``,
``{{ params }}`` and ``{{ inputs }}`` (all of them, a mapping), ``{{ model }}``. Doubled braces mean braces: ``{{{{ x }}}}`` is the text ``{{ x }}``.

JSON, in which a document travels, knows only texts as keys. A mapping with other keys (class weights: ``{0: 1, 1: 5}``) is written as a list of pairs under the
one key :data:`PAIRS`, and is a mapping again once it is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.\w+)*)\s*\}\}")

_TOKEN = re.compile(rf"(?P<open>\{{\{{\{{\{{)|(?P<close>\}}\}}\}}\}})|{_REFERENCE.pattern}")
"""Doubled braces, or else a reference."""

PAIRS = "{{ pairs }}"
"""The key that stands for all keys of a mapping that are no texts; no file can hold it."""


class UnmetReference(Exception):
    """A reference points to a part that a step's result does not have; the message says which and what there is."""


def references(text: str) -> list[str]:
    """The references in a text, without their braces: ``"{{ run_dir }}/a"`` holds ``["run_dir"]``."""
    return [match[3] for match in _TOKEN.finditer(text) if match[3]]


def of(value: object) -> list[str]:
    """The references in a value, and in all that it holds."""
    if isinstance(value, str):
        return references(value)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [reference for item in items for reference in of(item)]


def has_strays(text: str) -> bool:
    """Whether a text has double braces that belong to no reference."""
    rest = _TOKEN.sub(" ", text)
    return "{{" in rest or "}}" in rest


def encoded(value: Any) -> Any:
    """A value as JSON can hold it: mappings with keys that are no texts as pairs."""
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if all(isinstance(name, str) for name in value):
        return {name: encoded(item) for name, item in value.items()}
    return {PAIRS: [[name, encoded(item)] for name, item in value.items()]}


def decoded(value: Any) -> Any:
    """What :func:`encoded` was given."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: decoded(item) for name, item in _items(value)}


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    return value[PAIRS] if list(value) == [PAIRS] else value.items()


def resolve(value: Any, values: Mapping[str, Any]) -> Any:
    """Put values in the place of references, in lists and mappings too.

    A text that is nothing but a reference becomes the object itself (a model, a table); inside a longer text the object must be a text, a path or a number.

    Args:
        value: An argument as it stands in the experiment file. An entry of a mapping that is nothing but a reference to a parameter which this trial does
            not have (its condition is not met) is left out, so that the function's own default holds.
        values: ``run_dir``, ``mlflow_tracking_uri``, ``inputs``, ``params`` (those the trial has), ``steps`` (results by step), ``model``.

    Raises:
        UnmetReference: A part is not there, or something else than text stands inside a text.
    """
    if isinstance(value, list):
        return [resolve(item, values) for item in value]
    if isinstance(value, dict):
        return {name: resolve(item, values) for name, item in _items(value) if not _is_left_out(item, values)}
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value.strip())
    if whole:
        return _look_up(whole[1], values)
    return _TOKEN.sub(lambda match: _text(match[3], _look_up(match[3], values)) if match[3] else "{{" if match["open"] else "}}", value)


def _is_left_out(value: object, values: Mapping[str, Any]) -> bool:
    whole = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
    kind, _, name = whole[1].partition(".") if whole else ("", "", "")
    return kind == "params" and bool(name) and isinstance(values.get("params"), Mapping) and name not in values["params"]


def _look_up(reference: str, values: Mapping[str, Any]) -> Any:
    found: Any = values
    seen: list[str] = []
    for part in reference.split("."):
        if isinstance(found, Mapping):
            there = [str(key) for key in found]
            fits = part in found
        elif isinstance(found, Sequence) and not isinstance(found, str):
            there = [*getattr(found, "_fields", ()), *(str(number) for number in range(len(found)))]
            fits = part in there
        else:
            there = []
            fits = not part.startswith("_") and hasattr(found, part)
        if not fits:
            parts = f"its parts are {', '.join(there)}" if there else "it has no such part"
            raise UnmetReference(f"{{{{ {reference} }}}}: {'.'.join(seen)} is a {type(found).__name__}; {parts}")
        found = found[part] if isinstance(found, Mapping) else found[int(part)] if there and part.isdigit() else getattr(found, part)
        seen.append(part)
    return found


def _text(reference: str, value: Any) -> str:
    if isinstance(value, (str, Path, int, float)):
        return str(value)
    raise UnmetReference(f"{{{{ {reference} }}}}: a {type(value).__name__} cannot stand inside a text; let the reference be the whole value")
