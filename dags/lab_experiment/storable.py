"""What the lab's stores can hold: the one judge of values, names and messages at each border.

A value of an experiment goes through JSON (Airflow's XComs, msgpack between its processes), Postgres (no NUL in texts, UTF-8 only), Optuna and MLflow (finite
names, letters of its own). What comes out of a file or a trigger is refused before anything runs (:func:`unstorable`). What a package returns or raises is
made storable (:func:`text`, :func:`plain`, :func:`metric_names`), for by then the work is done.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

LONGEST = 5000
"""Characters of a message, a tag or a parameter, at most; every supported MLflow takes so many."""

LONGEST_NAME = 250
"""Characters of the name of a metric, a parameter or a tag, at most (MLflow)."""

EXACT = 2**53
"""Whole numbers up to this are kept exactly by a database that keeps them as floating point numbers, as Optuna's does."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_UNNAMED = re.compile(r"[^\w.\- /]+")
"""What no supported MLflow takes in the name of a metric; newer ones also take a colon."""


def unstorable(value: object) -> str | None:
    """Why a plain value cannot be kept, as the middle and end of a sentence (``has ...; allowed: ...``); None if it can be."""
    if isinstance(value, str):
        if "\0" in value:
            return "has a text with the character NUL (\\0), which no database keeps; allowed: a text without it"
        if _SURROGATE.search(value):
            return "has a text with half a character (a lone surrogate), which is no Unicode; allowed: whole characters"
    elif isinstance(value, float) and not math.isfinite(value):
        return f"has {value}; allowed: a finite number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "has a whole number of more than 64 bits; allowed: smaller ones, or a text (put it in quotes)"
    return None


def text(value: str, longest: int = LONGEST) -> str:
    """A text as every store can hold it: NUL and lone surrogates are written as escapes, and of a long one the end is left out, which is said."""
    shown = value if len(value) <= longest else f"{value[: longest - 40]}... ({len(value)} characters in all)"
    return shown.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def raised(error: BaseException, first_line: bool = False) -> str:
    """An exception as a sentence names it, with its kind and its words, perhaps only the first line of them; some cannot even say those."""
    try:
        words = str(error)
    except Exception as second:
        words = f"(its message cannot be shown: {type(second).__name__})"
    words = words.partition("\n")[0] if first_line else words
    return f"{type(error).__name__}: {text(words, 2000)}"


def short(value: object, longest: int = 120) -> str:
    """A value as a message shows it."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return text(shown if len(shown) <= longest else f"{shown[: longest - 3]}...")


def number(value: object) -> float | None:
    """A value as a number, which may be NaN or infinite; None if it is none. Texts are none, and whole numbers beyond all floats are infinite."""
    if value is None or isinstance(value, (str, bytes, bytearray, complex)):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    except Exception:  # a package's own type may raise anything
        return None


def plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A result as JSON holds it: texts storable, numbers finite (else null), keys texts, arrays lists; what is nothing of the kind as a text."""
    if value is None or isinstance(value, (bool, str)):
        return text(value, 10**6) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value) if unstorable(value) is None else float(value) if abs(value) < 10**300 else None
    if isinstance(value, numbers.Real) or hasattr(value, "__float__"):
        found = number(value)
        if found is not None:
            return (int(found) if isinstance(value, numbers.Integral) else found) if math.isfinite(found) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist(), above)
    if id(value) in above:
        return "(holds itself)"
    inside = (*above, id(value))
    if isinstance(value, Mapping):
        return {text(str(name)): plain(item, inside) for name, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(item, inside) for item in value]
    try:
        return text(str(value))
    except Exception:  # a package's own type may raise anything
        return f"<{type(value).__name__}>"


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of some metrics that are finite numbers."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def flat(result: Mapping[Any, Any], above: tuple[int, ...] = ()) -> Iterator[tuple[str, object]]:
    """Names and values of a mapping; those of a mapping within it get names with a dot.

    Raises:
        ValueError: It holds itself.
    """
    if id(result) in above:
        raise ValueError("it holds itself")
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", number) for inner, number in flat(value, (*above, id(result))))
        else:
            yield str(name), value


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """Names under which MLflow takes metrics, by the names that a package gave them: two of them are never the same."""
    legal: dict[str, str] = {}
    taken: set[str] = set()
    own = [*names]
    for name in sorted(own, key=lambda name: _legal(name) != name):  # what is right keeps its name
        made = _legal(name)
        count = 1
        while made in taken:
            count += 1
            made = f"{_legal(name)[: LONGEST_NAME - 8]}_{count}"
        taken.add(made)
        legal[name] = made
    return {name: legal[name] for name in own}


def _legal(name: str) -> str:
    """Letters, digits and ``_ . - /`` and blanks, no longer than MLflow's longest, and no path that could be written in another way."""
    parts = [part.strip(" _") if _UNNAMED.search(name) else part for part in _UNNAMED.sub("_", name).split("/")]
    made = "/".join(part for part in parts if part not in ("", ".", ".."))
    return made[:LONGEST_NAME].rstrip("/") or "metric"
