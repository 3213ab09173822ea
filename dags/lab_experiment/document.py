"""The experiment file: where it lies, what may stand in it, and one sentence for each mistake.

The shape of a file and the defaults of its keys are said by ``schema.json``, which editors read too; ``make docs`` writes it from
``tools/experiment_format.py``. :func:`read` also holds the parts of a file against each other. Everything here is read from the file alone. Whether the
callables exist, and take the arguments given, is for :mod:`lab_experiment.callables`.

A document, as :func:`read` returns it, has all of these keys, and only values that survive JSON (in ``inputs`` and ``with`` a mapping with other keys than
texts is written as :mod:`lab_experiment.references` says)::

    name, description: text ("" when there is none)
    environment: name
    queues: {key: name of a queue}, the key being queue, search.queue, cross_validation.queue or train.queue; what the file does not name is not there
    inputs: {name: value}
    steps: [{name, call, with: {}, after: [names]}], each after those it waits for
    search: None, or {
        objective: {call (None: the training and its evaluation), with, metric (name or None)} or "cross_validation", call or metric being there
        space: {name: {type: int|float, low, high, step (number or None), log, when: {name: [values]}} or {type: categorical, choices, when}}, in this order
        direction: ["maximize" or "minimize"], one for each objective
        sampler: {name, options}, pruner: {name, options}, the options under Optuna's own names; that of `patient` has wrapped_pruner: None or {name, options}
        trials, timeout (seconds or None), parallel, seed (number or None), allowed_failures
    }
    cross_validation: None, or {
        estimator: {call, with}, data: {call, with}
        splitter: {name, options}, the options under scikit-learn's own names; `auto` is stratified_k_fold for classifiers and k_fold for others
        scoring: [names], empty for accuracy or r2 by the kind of estimator
        bad_folds: "error" or "skip"
    }
    train: None, or {
        call (None: fit the estimator of cross_validation on its data), with, input_example (reference or None), predict: "predict" or "predict_proba"
        evaluate: None, or {call (or None), with, plots: [], data: None or {call, with}, scoring: [] as above}, call or data being there
    }
    track: {experiment, run_name ("" when there is none), tags: {name: text}}
    register: None, or {name, description, champion: None or {metric, direction, margin}}
    deploy: None, or {target, options: {}, when: "always" or "champion"}
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
import sys
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from lab_experiment import storable
from lab_experiment.failures import Mistakes
from lab_experiment.references import encoded, has_strays, of, references

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
"""How an experiment may be called; so no name leaves the folder of the experiments, or is too long for the name of a study."""

MOST_VALUES = 100_000
"""A file may not hold more values, those behind an alias counted each time: ten lines of YAML can mean billions."""

MOST_TRIALS = 100_000
"""Trials of a search, and values of one parameter in a grid, at most: each claim of a trial looks at all others."""

SCHEMA = Path(__file__).with_name("schema.json")

PARAMETERS = ("experiment", "trials", "inputs", "overrides")
"""What a trigger may set."""
OVERRIDES = "Trigger parameter overrides"
"""What a sentence names in the place of file and line when the mistake was not made in the file."""

_STEP = r"[a-z][a-z0-9_]*"

_CALL = "#/$defs/Call"
"""What the schema calls a function with its arguments."""

_ALIASES = {"folds": "n_splits", "seed": "random_state", "repeats": "n_repeats"}

KeyPath = tuple[str | int, ...]


def experiments(folder: Path) -> list[str]:
    """Names of the experiment files in a folder, sorted; none if there is no such folder."""
    return sorted(path.stem for path in folder.glob("*.yml") if re.fullmatch(NAME, path.stem) and path.is_file())


def passed_over(folder: Path) -> list[str]:
    """A sentence for each entry of a folder that somebody may take for an experiment, and that is none."""
    return [sentence for _, sentence in _passed_over(folder)]


def _passed_over(folder: Path) -> Iterator[tuple[Path, str]]:
    known = {f"{name}.yml" for name in experiments(folder)}
    allowed = "files named like wine.yml: at most 100 letters, digits, - and _, the first a letter or digit, then .yml in small letters"
    for path in sorted(folder.glob("*")):
        if path.name.lower().endswith((".yml", ".yaml")) and path.name not in known:
            kind = "a folder" if path.is_dir() else "a file whose name is none of an experiment" if path.is_file() else "no file"
            yield path, f"{path}: this is {kind}, and is passed over; allowed: {allowed}."


def find(name: object, folder: Path) -> Path:
    """Find an experiment's file by its name.

    Raises:
        Mistakes: The name is not one (it holds a path, say), or there is no such file.
    """
    known = ", ".join(experiments(folder)) or "none"
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise Mistakes(
            [f"Parameter experiment: {name!r} is not a name; give the name of a file in {folder} without .yml (letters, digits, - and _), one of: {known}."]
        )
    path = folder / f"{name}.yml"
    if not path.is_file():
        like = [sentence for other, sentence in _passed_over(folder) if other.stem.lower() == name.lower()]
        raise Mistakes([f"Parameter experiment: there is no file {path}; the experiments there are: {known}.", *like])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Mistakes([f"Parameter experiment: {path} is a link that leaves {folder}; put the file itself there."])
    return path


def overrides(params: dict[str, Any]) -> dict[str, Any]:
    """What the trigger sets (``trials``, ``inputs``, ``overrides``), by path: ``{"search.trials": 5, "inputs.seed": 3}``.

    Raises:
        Mistakes: It sets something else; Airflow's form has no such field, its REST API takes anything.
    """
    if unknown := sorted(params.keys() - PARAMETERS):
        raise Mistakes([f"Trigger parameter {storable.short(name)} is unknown; allowed: {', '.join(PARAMETERS)}." for name in unknown])
    found = {f"inputs.{name}": value for name, value in (params.get("inputs") or {}).items()}
    if params.get("trials") is not None:
        found["search.trials"] = params["trials"]
    return {**found, **(params.get("overrides") or {})}


def read(path: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read and check an experiment file.

    Args:
        path: The file.
        overrides: What the trigger sets in the place of what the file says, by path: ``{"search.trials": 5, "steps.prepare.with.seed": 8}``.

    Returns:
        The document, as the head of this module says.

    Raises:
        Mistakes: All that is wrong, a sentence each.
    """
    document = _read(path, {})  # the file is right by itself; what is wrong after this, the overrides brought in
    if not overrides:
        return document
    try:
        changed = _read(path, overrides)
        before = {key: call for key, call, _ in calls(document)}
        others = {key: call for key, call, _ in calls(changed) if before.get(key) != call}
        if others:
            raise Mistakes(list(dict.fromkeys(_called_otherwise(key, others, before, document) for key in others)))
        return changed
    except Mistakes as error:
        raise Mistakes([sentence if sentence.startswith(OVERRIDES) else f"{OVERRIDES}: with them, {sentence}" for sentence in error.sentences]) from None


def _called_otherwise(key: str, others: Mapping[str, str], before: Mapping[str, str], document: Mapping[str, Any]) -> str:
    """The sentence for a call that a trigger would change or add; one for all of a section that the file does not have."""
    section = key.partition(".")[0]
    allowed = f"allowed: values, for a trigger does not set what is called; write {'that' if document[section] else 'the section'} in the file."
    if document[section]:
        return f"{OVERRIDES}: {key}.call has {others[key]!r}, where the file has {shown(before.get(key))}; {allowed}"
    named = [call for other, call in others.items() if other.partition(".")[0] == section]
    return f"{OVERRIDES}: {section}, which the file does not have, would call {', '.join(map(repr, dict.fromkeys(named)))}; {allowed}"


def _read(path: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    source = Source(path, overrides)
    source.raise_mistakes()
    source.check_plain()
    source.raise_mistakes()
    source.check_shape()
    source.raise_mistakes()
    document = _Reader(source).document(path.stem)
    source.raise_mistakes()
    return document


def calls(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The calls of a document in the order they are made: key, ``package.module:function``, arguments."""
    search, folds, train = document["search"] or {}, document["cross_validation"] or {}, document["train"] or {}
    evaluate = train.get("evaluate") or {}
    named = [
        *((f"steps.{step['name']}", step) for step in document["steps"]),
        ("search.objective", search.get("objective") if search.get("objective") != "cross_validation" else None),
        ("cross_validation.estimator", folds.get("estimator")),
        ("cross_validation.data", folds.get("data")),
        ("train", train),
        ("train.evaluate", evaluate),
        ("train.evaluate.data", evaluate.get("data")),
    ]
    for key, what in named:
        if what and what["call"]:
            yield key, what["call"], what["with"]


def queues(content: Mapping[str, Any]) -> dict[str, str]:
    """The queues that the content of a file names, by key; it need not be right otherwise."""
    parts = {"queue": content, **{f"{name}.queue": content.get(name) for name in ("search", "cross_validation", "train")}}
    return {key: part["queue"] for key, part in parts.items() if isinstance(part, dict) and isinstance(part.get("queue"), str)}


def grid(space: Mapping[str, Any]) -> dict[str, list[Any]]:
    """All values of each parameter of a document's search space; every float of it has a step."""
    values: dict[str, list[Any]] = {}
    for name, parameter in space.items():
        if parameter["type"] == "categorical":
            values[name] = list(parameter["choices"])
        elif parameter["type"] == "int":
            values[name] = list(range(parameter["low"], parameter["high"] + 1, parameter["step"] or 1))
        else:
            low, step = parameter["low"], parameter["step"]
            values[name] = [round(low + number * step, 12) for number in range(math.floor((parameter["high"] - low) / step + 1e-9) + 1)]
    return values


class Source:
    """An experiment file with what the trigger sets in it: knows where each key was written, and collects sentences.

    Raises:
        Mistakes: It is not YAML.
    """

    def __init__(self, path: Path, overrides: Mapping[str, Any]) -> None:
        self.file = str(path)
        self.content, self._lines = _load(path)
        self._overridden: list[KeyPath] = []
        self._sentences: dict[str, int] = {}
        for key, value in overrides.items():
            self._override(key, copy.deepcopy(value))

    def mistake(self, path: KeyPath, value: object, allowed: str) -> None:
        """Note that the value of a key is not allowed."""
        self.note(path, f"has {shown(value)}; allowed: {allowed}")

    def note(self, path: KeyPath, words: str, at: KeyPath | None = None) -> None:
        """Note a mistake in words that follow the key's name, without the full stop; ``at`` is where it was made, if not there."""
        self._sentences.setdefault(f"{self.place(at or path)}: {self.key(path)} {words}.", self._line(at or path))

    def raise_mistakes(self) -> None:
        """Raise what was noted, in the order of the file.

        Raises:
            Mistakes: Something was noted.
        """
        if self._sentences:
            raise Mistakes(sorted(self._sentences, key=lambda sentence: self._sentences[sentence]))

    def place(self, path: KeyPath) -> str:
        """Where a key was set: file and line, or the trigger's parameter."""
        made = path not in self._lines
        if any(path[: len(overridden)] == overridden or (made and overridden[: len(path)] == path) for overridden in self._overridden):
            return OVERRIDES
        return f"{self.file}, line {self._line(path)}"

    def key(self, path: KeyPath) -> str:
        """How a key is called: as in overrides, a step by its name."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
        if path[:1] == ("steps",) and len(path) > 1:
            names = self._steps()
            name = names[path[1]] if isinstance(path[1], int) else path[1]
            if re.fullmatch(_STEP, str(name)) and names.count(name) == 1 and path[2:] != ("name",):
                text = text.replace(f"steps[{path[1]}]", f"steps.{name}", 1)
        return text or "the file"

    def path(self, key: str) -> KeyPath:
        """The path of a key as overrides have it: a step by its name."""
        parts: list[Any] = key.split(".")
        if parts[0] == "steps" and len(parts) > 1 and parts[1] in self._steps():
            parts[1] = self._steps().index(parts[1])
        return tuple(parts)

    def check_shape(self) -> None:
        """Hold the content against the schema, and note a sentence for each place where they differ."""
        keys: dict[KeyPath, Mapping[str, Any]] = {}
        for error in _validator().iter_errors(self.content):
            path = tuple(error.absolute_path)
            if error.validator == "required" or (error.validator == "additionalProperties" and error.validator_value is False):
                keys[path] = error.schema
            else:
                self.mistake(path, error.instance, _allowed(error.schema))
        for path, schema in keys.items():
            self._check_keys(path, schema)

    def _check_keys(self, path: KeyPath, schema: Mapping[str, Any]) -> None:
        found: Any = self.content
        for part in path:
            found = found[part]
        strange = [name for name in found if name not in schema["properties"]]
        lacking = [name for name in schema.get("required", []) if name not in found]
        words = [
            *([f"has the key{'s' * (len(strange) > 1)} {', '.join(map(repr, strange))}"] if strange else []),
            *([f"lacks the key{'s' * (len(lacking) > 1)} {', '.join(lacking)}"] if lacking else []),
        ]
        allowed, why = f"allowed: {', '.join(_keys(schema))}", ""
        if lacking and self.place(path) == OVERRIDES:
            why = "" if path[:1] in self._lines else f", for the file has no {path[0]}"
            if any(name == "call" or schema["properties"][name].get("$ref") == _CALL for name in lacking):
                allowed = "allowed: values of what the file has, for a trigger does not set what is called; write that in the file"
        self.note(path, f"{' and '.join(words)}{why}; {allowed}", at=(*path, *strange[:1]))

    def check_plain(self) -> None:
        """Note what JSON cannot hold, which YAML can."""
        for path, value in _values(self.content, ()):
            reason = storable.unstorable(value)
            if reason:
                self.note(path, reason)
            elif isinstance(value, dict):
                free = "with" in path or (path[:1] == ("inputs",) and len(path) > 1)  # a function's own values
                for name in value:
                    number = isinstance(name, (bool, int, float))
                    if (reason := storable.unstorable(name)) or not (isinstance(name, str) or (free and path[-1:] != ("with",) and number)):
                        words = f"has {shown(name)} as a key; allowed: a text (put it in quotes){', a number, true, false' if free else ''}"
                        self.note(path, f"{reason}, in its key" if reason else words, at=(*path, str(name)))
            elif value is not None and not isinstance(value, (str, bool, int, float, list)):
                self.note(path, f"has a {type(value).__name__}; allowed: a text, a number, true, false, null, a list or a mapping")

    def _line(self, path: KeyPath) -> int:
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _steps(self) -> list[object]:
        steps = self.content.get("steps") if isinstance(self.content, dict) else None
        return [step.get("name") if isinstance(step, dict) else None for step in steps] if isinstance(steps, list) else []

    def _override(self, key: str, value: object) -> None:
        """Set one value by its path; what is not there is made, but for inputs, steps and items of lists. Null takes a whole section out."""
        parts = key.split(".")
        if value is None and len(parts) == 1 and isinstance(self.content, dict):
            self.content.pop(key, None)
            return None
        path: list[str | int] = []
        place: Any = self.content
        if parts[0] == "steps" and len(parts) > 1 and isinstance(place, dict) and not place.get("steps"):
            return self._refuse(key, f"keys of what {self.file} has; it has no steps")
        if parts[0] == "inputs" and len(parts) > 1 and isinstance(place, dict) and parts[1] not in (place.get("inputs") or {}):
            return self._refuse(key, ", ".join(f"inputs.{name}" for name in place.get("inputs") or {}) or f"keys of what {self.file} has; it has no inputs")
        for depth, part in enumerate(parts):
            index: Any = part
            if isinstance(place, list):
                there = [str(name) for name in self._steps()] if path == ["steps"] else [str(number) for number in range(len(place))]
                if part not in there:
                    return self._refuse(key, ", ".join(".".join([*parts[:depth], name, *parts[depth + 1 :]]) for name in there) or "keys of what the file has")
                index = there.index(part)
            elif isinstance(place, dict):
                index = next((name for name in place if str(name) == part), part)  # class weights have numbers as keys
            else:
                return self._refuse(key, "keys of mappings and numbers of items in lists")
            path.append(index if isinstance(place, list) else str(index))
            if depth == len(parts) - 1:
                former = place[index] if isinstance(place, list) else place.get(index)
                if value is None and isinstance(place, dict) and isinstance(former, dict) and not {"with", "inputs"} & set(parts):
                    del place[index]
                    return None
                place[index] = value
                self._overridden.append(tuple(path))
                if parts[0] == "inputs" and depth == 1:
                    self._check_input(tuple(path), former, value)
            else:
                if isinstance(place, dict) and place.get(index) is None:  # `with:` may be there without content
                    place[index] = {}
                place = place[index]
        return None

    def _refuse(self, key: str, allowed: str) -> None:
        self._sentences.setdefault(f"{OVERRIDES}: there is nothing to set at {key!r}; allowed: {allowed}.", 0)

    def _check_input(self, path: KeyPath, default: object, value: object) -> None:
        kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
        wanted, found = kinds.get(type(default)), kinds.get(type(value))
        if wanted and found and wanted != found:
            self.mistake(path, value, f"{wanted}, as its default {shown(default)} is")


def shown(value: object) -> str:
    """A value as a sentence shows it, at most 80 characters."""
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _Loader(yaml.SafeLoader):
    """YAML's safe loader as editors read YAML: by version 1.2, in which `no` and dates are texts and 1e-4 is a number; and no key may be there twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, str] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = key_node.value
            value = key if key_node.tag.endswith(":merge") else self.construct_object(key_node)
            for other in (key, value):
                if other in seen and (other == key or not isinstance(other, str)):
                    same = "" if seen[other] == key else f", for Python takes {seen[other]} for the same"
                    raise yaml.MarkedYAMLError(problem=f"the key {key!r} is there twice{same}", problem_mark=key_node.start_mark)
            seen |= {key: key, value: key}
        return super().construct_mapping(node, deep)

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """A text; as in JSON, a character may be written as two halves."""
        text = str(self.construct_scalar(node))
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

    def refuse_zero(self, node: yaml.ScalarNode) -> None:
        """Refuse a whole number with zeros in front, which some read as octal, and which often is no number at all (a post code).

        Raises:
            Unclear: Always.
        """
        number = int(node.value)
        raise Unclear(problem=f"{node.value} has a 0 in front, which is read in different ways; write {number} or '{node.value}'", problem_mark=node.start_mark)


class Unclear(yaml.MarkedYAMLError):
    """What is YAML, and yet is not taken."""


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("lab.zero", "[-+]?0[0-9]+", "-+0"),
    ("int", "[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:lab.zero", _Loader.refuse_zero)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_text)


def _decoded(path: Path) -> str:
    """A file's text: UTF-8, or UTF-16 with a byte order mark, as editors of Windows write it.

    Raises:
        Mistakes: It is neither, or has a character that YAML does not allow.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistakes([f"{path}: this is not YAML in UTF-8: {error}; save it in UTF-8."]) from None
    wrong = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        raise Mistakes(
            [f"{path}, line {line}: this is not YAML: the character \\x{ord(wrong.group()):02x} may not stand in it; remove it, or save the file in UTF-8."]
        )
    return text


def _load(path: Path) -> tuple[Any, dict[KeyPath, int]]:
    """A file's content, and the line of each key and each item in it."""
    lines: dict[KeyPath, int] = {}
    count = itertools.count()

    def walk(node: yaml.Node, at: KeyPath, above: tuple[yaml.Node, ...]) -> None:
        if node in above:
            raise yaml.MarkedYAMLError(problem="this refers to itself", problem_mark=node.start_mark)
        if next(count) > 2 * MOST_VALUES:  # we walk twice
            raise Unclear(
                problem=f"the file has more than {MOST_VALUES} values, those of an alias counted each time it is used; keep data in files of their own"
            )
        lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    lines[(*at, key.value)] = key.start_mark.line + 1
                walk(value, (*at, str(key.value)), (*above, node))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                walk(value, (*at, number), (*above, node))

    try:
        loader = _Loader(_decoded(path))
        node = loader.get_single_node()
        if node is None:
            return None, {}
        walk(node, (), ())
        content = loader.construct_document(node)
        walk(node, (), ())  # once more, now with what `<<` brought in
        return content, lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        words = "" if isinstance(error, Unclear) else "this is not YAML: "
        raise Mistakes([f"{path}{place}: {words}{error.problem or error.context}."]) from None
    except RecursionError:
        raise Mistakes([f"{path}: lists and mappings lie too deep in one another; allowed: at most a hundred levels."]) from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError of a number that is too long for Python
        raise Mistakes([f"{path}: this is not YAML: {' '.join(str(error).split())}."]) from None


@cache
def _validator() -> Any:
    try:
        import jsonschema  # type: ignore[import-untyped]  # here, because Airflow's own Python, which only lists the files, need not have it
    except ImportError:
        raise Mistakes(
            [f"The environment of {sys.executable} has no module 'jsonschema', by which experiment files are checked; add it to its requirements."]
        ) from None

    return jsonschema.Draft202012Validator(_schema())


@cache
def _schema() -> Any:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def _filled(content: Mapping[str, Any], part: str | None = None) -> dict[str, Any]:
    """What a file, or a part of it, says, with the schema's defaults for the keys that it leaves out."""
    schema = _schema()["$defs"][part] if part else _schema()
    return {**{name: copy.deepcopy(key["default"]) for name, key in schema["properties"].items() if "default" in key}, **content}


def _keys(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required", [])
    return [*required, *(name for name in schema["properties"] if name not in required)]


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a part of the schema allows, in words: its own, or those made from its keywords."""
    if "errorMessage" in schema:
        return str(schema["errorMessage"]).removeprefix("allowed: ")
    if "enum" in schema:
        return ", ".join(schema["enum"])
    return f"a mapping with the keys {', '.join(_keys(schema))}"


def _values(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """A value and all that it holds, with their paths."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _values(item, (*path, str(name)))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _values(item, (*path, number))


class _Reader:
    """Goes once through a document of the right shape: holds its parts against each other, and gives it with its defaults."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.content = _filled(source.content)
        self.known = {"run_dir": False, "mlflow_tracking_uri": False}
        """What may be referred to everywhere; true for what has parts."""
        if self.content["inputs"]:
            self.known["inputs"] = False
        self.known.update({f"inputs.{name}": True for name in self.content["inputs"]})

    def document(self, name: str) -> dict[str, Any]:
        content = self.content
        if not any(key in self.source.content for key in ("steps", "search", "cross_validation", "train")):
            self.source.note((), "has none of the keys steps, search, cross_validation, train; allowed: at least one of them, for there is nothing to do")
        steps = self._steps()
        self.known.update({f"steps.{step['name']}": True for step in steps})
        search = self._search() if "search" in content else None
        searched = {**self.known, "params": False, **{f"params.{name}": False for name in search["space"]}} if search else self.known
        document = {
            "name": name,
            "description": content.get("description", ""),
            "environment": content["environment"],
            "queues": queues(content),
            "inputs": encoded(content["inputs"]),
            "steps": steps,
            "search": search,
            "cross_validation": self._cross_validation(searched) if "cross_validation" in content else None,
            "train": self._train(searched) if "train" in content else None,
            "track": self._track(name),
            "register": self._register() if "register" in content else None,
            "deploy": _filled(content["deploy"], "Deploy") if "deploy" in content else None,
        }
        champion = bool((document["register"] or {}).get("champion"))
        if document["deploy"]:
            document["deploy"].setdefault("when", "champion" if champion else "always")
        self.source.raise_mistakes()
        if search:
            self._check_use(search, document)
        for key in ("register", "deploy"):
            if document[key] and not document["train"]:
                self.source.note((key,), "is there, but no train; allowed: with a training that gives a model")
        if document["deploy"] and document["deploy"]["when"] == "champion" and not champion:
            self.source.mistake(("deploy", "when"), "champion", "always, or champion together with register.champion, which says when a model becomes it")
        if document["deploy"] and document["deploy"]["target"] == "endpoint" and not document["register"] and "name" not in document["deploy"]["options"]:
            self.source.mistake(("deploy", "target"), "endpoint", "for a registered model (register.name), or with options: {name: ...}")
        return document

    def _steps(self) -> list[dict[str, Any]]:
        raw = self.content["steps"]
        names = [step["name"] for step in raw]
        after: dict[str, list[str]] = {}
        for number, step in enumerate(raw):
            path: KeyPath = ("steps", number)
            if step["name"] in names[:number]:
                self.source.mistake((*path, "name"), step["name"], "a name that no earlier step has")
                continue
            for place, other in enumerate(step.get("after", [])):
                if other not in names or other == step["name"]:
                    allowed = dict.fromkeys(name for name in names if name != step["name"])
                    self.source.mistake((*path, "after", place), other, f"the name of another step: {', '.join(allowed) or 'there is none'}")
            after[step["name"]] = [name for name in step.get("after", names[number - 1 : number] if number else []) if name in names]
        try:
            order = _in_order(after)
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            self.source.note(("steps", names.index(cycle[0])), f"waits for itself: {' waits for '.join(cycle)}; allowed: steps that do not wait for each other")
            order = []
            self.known.update({f"steps.{name}": True for name in names})  # one mistake is one sentence
        steps: dict[str, dict[str, Any]] = {}
        before: dict[str, list[str]] = {}
        for name in order:
            before[name] = list(dict.fromkeys(step for other in after[name] for step in (*before[other], other)))
            number = names.index(name)
            known = {**self.known, **{f"steps.{other}": True for other in before[name]}}
            steps[name] = {"name": name, **self._call(("steps", number), raw[number], known), "after": after[name]}
        return list(steps.values())

    def _search(self) -> dict[str, Any]:
        raw = _filled(self.content["search"], "Search")
        space = {name: self._parameter(name, parameter) for name, parameter in raw["space"].items()}
        known = {**self.known, "params": False, **{f"params.{name}": False for name in space}}
        objective = raw["objective"]
        if objective != "cross_validation":
            self._check_objective(objective)
            objective = {**self._call(("search", "objective"), objective, known), "metric": objective.get("metric")}
        elif "cross_validation" not in self.content:
            self.source.mistake(("search", "objective"), objective, "a mapping with the keys call, with, metric, for the file has no cross_validation")
        direction = raw["direction"]
        directions = _listed(direction)
        sampler, pruner = _named(raw["sampler"]), _named(raw["pruner"])
        search = {
            "objective": objective,
            "space": space,
            "direction": directions,
            "sampler": sampler,
            "pruner": pruner,
            "trials": int(raw["trials"]),
            "timeout": None if raw.get("timeout") is None else float(raw["timeout"]),
            "parallel": int(raw["parallel"]),
            "seed": raw.get("seed"),
            "allowed_failures": int(raw["allowed_failures"]),
        }
        if isinstance(objective, Mapping) and not objective["call"] and pruner["name"] != "none":
            self.source.mistake(("search", "pruner"), pruner["name"], "none, for a training and its evaluation give no intermediate values")
        if search["trials"] > MOST_TRIALS:
            self.source.mistake(("search", "trials"), raw["trials"], f"at most {MOST_TRIALS}")
        if objective == "cross_validation" and directions != ["maximize"]:
            self.source.mistake(
                ("search", "direction"), direction, "maximize, for cross_validation gives one value, and scikit-learn's scorers are better when greater"
            )
        if len(directions) > 1:
            if objective != "cross_validation" and objective["metric"]:
                self.source.mistake(("search", "direction"), direction, "maximize or minimize, for search.objective.metric names one metric")
            if pruner["name"] != "none":
                self.source.mistake(("search", "pruner"), pruner["name"], "none, for trials with several objectives cannot be pruned")
            if sampler["name"] == "cmaes":
                self.source.mistake(("search", "sampler"), "cmaes", "tpe, random, grid, gp, for cmaes knows one objective only")
        if sampler["options"].get("group") and not sampler["options"].get("multivariate"):
            self.source.mistake(("search", "sampler", "group"), True, "true only with multivariate: true")
        self._check_pruner(("search", "pruner"), pruner)
        if sampler["name"] == "grid":
            self._check_grid(search)
        return search

    def _check_objective(self, objective: Mapping[str, Any]) -> None:
        path: KeyPath = ("search", "objective")
        if "call" in objective:
            return
        train = self.content.get("train") or {}
        if "metric" not in objective:
            self.source.note(path, "has neither call nor metric; allowed: at least one of them")
        elif "call" not in train:
            self.source.note(
                path, "has no call, and neither has train, which would be tried then; allowed: a call here, or in train, or objective: cross_validation"
            )
        elif objective.get("with"):
            self.source.note(path, "has with, but no call; allowed: both or none", at=(*path, "with"))

    def _parameter(self, name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
        path: KeyPath = ("search", "space", name)
        parameter: dict[str, Any] = {"type": raw["type"]}
        raw = _filled(raw, raw["type"].capitalize())
        if raw["type"] == "categorical":
            parameter["choices"] = choices = raw["choices"]
            for number, choice in enumerate(choices):
                if choice in choices[:number]:
                    same = shown(choices[choices.index(choice)])
                    self.source.mistake((*path, "choices", number), choice, f"what Python can tell from {same}; leave one of them out, or put it in quotes")
        else:
            low, high, step = raw["low"], raw["high"], raw.get("step")
            if raw["type"] == "int":
                low, high, step = int(low), int(high), int(raw["step"])
            else:
                low, high, step = float(low), float(high), None if step is None else float(step)
            parameter |= {"low": low, "high": high, "step": step, "log": raw["log"]}
            for end, value in (("low", low), ("high", high)):
                if raw["type"] == "int" and abs(value) > storable.EXACT:
                    self.source.mistake((*path, end), raw[end], f"whole numbers up to {storable.EXACT}, which a database keeps exactly")
            if math.isinf(float(high) - float(low)):
                self.source.mistake((*path, "high"), raw["high"], "a number whose distance from low is finite")
            if low > high:
                self.source.mistake((*path, "low"), raw["low"], f"at most high, which is {shown(raw['high'])}")
            if parameter["log"] and low <= 0:
                self.source.mistake((*path, "low"), raw["low"], "a number above 0, for log is true")
            if parameter["log"] and step not in (None, 1):
                self.source.mistake((*path, "step"), raw["step"], "no step, for log is true")
        above = list(self.content["search"]["space"])
        above = above[: above.index(name)]
        parameter["when"] = {}
        for other, values in raw.get("when", {}).items():
            if other not in above:
                self.source.mistake((*path, "when"), other, f"the name of a parameter written above {name}: {', '.join(above) or 'there is none'}")
                continue
            wanted = values if isinstance(values, list) else [values]
            parameter["when"][other] = wanted
            for value in wanted:
                allowed = _unlike(value, self.content["search"]["space"][other])
                if allowed:
                    self.source.mistake((*path, "when", other), value, allowed)
        return parameter

    def _check_pruner(self, path: KeyPath, pruner: dict[str, Any]) -> None:
        options = pruner["options"]
        if pruner["name"] == "threshold" and "lower" not in options and "upper" not in options:
            self.source.note(path, "has threshold without lower and upper; allowed: with at least one of them")
        if pruner["name"] == "patient":
            wrapped = _filled(options, "Patient")["wrapped"]
            options.pop("wrapped", None)
            inner = _named(wrapped)
            if inner["name"] == "patient":
                self.source.mistake((*path, "wrapped"), wrapped, "another pruner than patient")
            self._check_pruner((*path, "wrapped"), inner) if inner["name"] != "patient" else None
            options["wrapped_pruner"] = None if inner["name"] == "none" else inner

    def _check_grid(self, search: dict[str, Any]) -> None:
        finite = True
        for name, parameter in search["space"].items():
            if parameter["type"] == "float" and parameter["step"] is None:
                finite = False
                self.source.note(
                    ("search", "space", name), "lacks the key step, without which the sampler grid has no end; allowed: float with step, int, categorical"
                )
            if parameter["when"]:
                self.source.mistake(("search", "space", name, "when"), parameter["when"], "no when, for the sampler grid knows no conditions")
            if parameter["type"] != "categorical" and parameter["step"] and (parameter["high"] - parameter["low"]) / parameter["step"] > MOST_TRIALS:
                finite = False
                self.source.note(("search", "space", name), f"has more than {MOST_TRIALS} values; allowed for the sampler grid: fewer, by a greater step")
        if finite and all(parameter["type"] == "categorical" or parameter["low"] <= parameter["high"] for parameter in search["space"].values()):
            points = math.prod(len(values) for values in grid(search["space"]).values())
            if "trials" not in self.content["search"]:
                search["trials"] = points
                if points > MOST_TRIALS:
                    self.source.note(("search",), f"lacks the key trials for a grid of {points} points; allowed: at most {MOST_TRIALS} of them")
            elif search["trials"] > points:
                self.source.mistake(("search", "trials"), search["trials"], f"at most {points}, the points of the grid")

    def _check_use(self, search: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """A parameter that changes nothing wastes trials, and is a slip of the pen in most cases."""
        by_folds = search["objective"] == "cross_validation"
        by_training = not by_folds and not search["objective"]["call"]
        user = document["cross_validation"] if by_folds else document["train"] if by_training else search["objective"]
        if user is None:
            return
        evaluate = user.get("evaluate") or {} if by_training else {}
        named = [user["estimator"], user["data"]] if by_folds else [one for one in (user, evaluate, evaluate.get("data")) if one]
        used = {reference for call in named for reference in of(call["with"])}
        for parameter in search["space"].values():
            used |= {f"params.{other}" for other in parameter["when"]}
        for name in search["space"]:
            if not {"params", f"params.{name}"} & used:
                where = "cross_validation" if by_folds else "train" if by_training else "search.objective.with"
                self.source.note(("search", "space", name), f"is used by nothing; allowed: parameters that {where} refers to as {{{{ params.{name} }}}}")

    def _cross_validation(self, known: Mapping[str, bool]) -> dict[str, Any]:
        raw = _filled(self.content["cross_validation"], "CrossValidation")
        return {
            "estimator": self._call(("cross_validation", "estimator"), raw["estimator"], known),
            "data": self._call(("cross_validation", "data"), raw["data"], known),
            "splitter": self._splitter(raw["splitter"]),
            "scoring": _listed(raw.get("scoring", [])),
            "bad_folds": raw["bad_folds"],
        }

    def _splitter(self, raw: str | Mapping[str, Any]) -> dict[str, Any]:
        """The splitter with scikit-learn's own names; whatever is shuffled has a seed, so that every trial and every process has the same folds."""
        path: KeyPath = ("cross_validation", "splitter")
        standard = _filled({}, "CrossValidation")["splitter"]
        splitter = _named(raw if isinstance(raw, str) else {"name": standard["name"], **raw})
        given = splitter["options"]
        for alias, name in _ALIASES.items():
            if alias in given and name in given:
                self.source.note(path, f"has both {alias} and {name}, which are the same; allowed: one of them")
        options = {"n_splits": standard["folds"], **{_ALIASES.get(name, name): value for name, value in given.items()}}
        shuffling = [part["properties"]["name"]["enum"] for part in _schema()["$defs"].values() if "shuffle" in part["properties"]]
        if any(splitter["name"] in names for names in shuffling):
            options.setdefault("shuffle", options.get("random_state") is not None)
            if not options["shuffle"] and options.pop("random_state", None) is not None:
                self.source.mistake((*path, "shuffle"), False, "true, for a seed is given")
        if options.get("shuffle") or splitter["name"].startswith("repeated"):
            options["random_state"] = options.get("random_state") or standard["seed"]
        return {"name": splitter["name"], "options": options}

    def _train(self, known: Mapping[str, bool]) -> dict[str, Any]:
        raw = _filled(self.content["train"], "Train")
        if "call" not in raw:
            if "cross_validation" not in self.content:
                self.source.note(("train",), "lacks the key call; allowed: no call only with cross_validation, whose estimator is then fitted")
            if raw.get("with"):
                self.source.note(("train",), "has with, but no call; allowed: both or none", at=("train", "with"))
        if "input_example" in raw:
            self._references(("train", "input_example"), raw["input_example"], known)
        return {
            **self._call(("train",), raw, known),
            "input_example": raw.get("input_example"),
            "predict": raw["predict"],
            "evaluate": self._evaluate(raw["evaluate"], known) if "evaluate" in raw else None,
        }

    def _evaluate(self, raw: Mapping[str, Any], known: Mapping[str, bool]) -> dict[str, Any]:
        path: KeyPath = ("train", "evaluate")
        raw = _filled(raw, "Evaluate")
        if "call" not in raw:
            if "data" not in raw:
                self.source.note(path, "has neither call nor data; allowed: at least one of them")
            lost = [key for key in ("with", "plots") if raw.get(key)]
            if lost:
                self.source.note(path, f"has {' and '.join(lost)}, but no call; allowed: both or none", at=(*path, lost[0]))
        if "scoring" in raw and "data" not in raw:
            self.source.note(path, "has scoring, but no data to score on; allowed: both or none", at=(*path, "scoring"))
        for number, plot in enumerate(raw["plots"]):
            self._references((*path, "plots", number), plot, known)
        return {
            **self._call(path, raw, {**known, "model": True}),
            "plots": raw["plots"],
            "data": self._call((*path, "data"), raw["data"], known) if "data" in raw else None,
            "scoring": _listed(raw.get("scoring", [])),
        }

    def _track(self, name: str) -> dict[str, Any]:
        raw = _filled(self.content.get("track", {}), "Track")
        for tag, legal in storable.metric_names(raw["tags"]).items():
            if tag != legal:
                self.source.mistake(("track", "tags"), tag, f"a tag's name that MLflow takes, such as {legal!r}")
        for tag, value in raw["tags"].items():
            if isinstance(value, str) and len(value) > storable.LONGEST:
                self.source.mistake(("track", "tags", tag), value, f"a text of at most {storable.LONGEST} characters, as long as MLflow's tags may be")
        tags = {tag: value if isinstance(value, str) else json.dumps(value) for tag, value in raw["tags"].items()}
        return {"experiment": raw.get("experiment", name), "run_name": raw.get("run_name", ""), "tags": tags}

    def _register(self) -> dict[str, Any]:
        raw = self.content["register"]
        if len(raw["name"]) > storable.LONGEST_NAME:
            self.source.mistake(("register", "name"), raw["name"], f"at most {storable.LONGEST_NAME} characters")
        champion = raw.get("champion")
        if champion:
            champion = _filled(champion, "Champion")
            self._check_champion(champion)
        return {"name": raw["name"], "description": raw.get("description", ""), "champion": champion}

    def _check_champion(self, champion: Mapping[str, Any]) -> None:
        path: KeyPath = ("register", "champion")
        evaluate = self.content.get("train", {}).get("evaluate")
        if not evaluate:
            self.source.note(path, "is there, but no train.evaluate; allowed: with an evaluation that measures both models on the same held-back data")
        elif "call" not in evaluate:
            metrics = _listed(evaluate.get("scoring", [])) or ["accuracy", "r2"]
            if champion["metric"] not in metrics:
                self.source.mistake((*path, "metric"), champion["metric"], f"a scorer of train.evaluate: {', '.join(metrics)}")
            if champion["direction"] == "minimize":
                self.source.mistake((*path, "direction"), "minimize", "maximize, for scikit-learn's scorers are better when greater")
        elif not any(reference.partition(".")[0] == "model" for reference in of(evaluate.get("with"))):
            self.source.note(path, "is there, but train.evaluate.with has no {{ model }}; allowed: an evaluation that can measure the present champion too")

    def _call(self, path: KeyPath, raw: Mapping[str, Any], known: Mapping[str, bool]) -> dict[str, Any]:
        arguments = raw.get("with") or {}
        self._references((*path, "with"), arguments, known)
        return {"call": raw.get("call"), "with": encoded(arguments)}

    def _references(self, path: KeyPath, value: object, known: Mapping[str, bool]) -> None:
        """Note each reference in a value, and in all that it holds, that cannot be met."""
        for place, text in _values(value, path):
            if not isinstance(text, str):
                continue
            if has_strays(text):
                allowed = (
                    "a reference written as {{ name }}, for instance {{ run_dir }}; braces that are no reference are doubled: {{{{ x }}}} is the text {{ x }}"
                )
                self.source.mistake(place, text, allowed)
            for reference in references(text):
                if not any(reference == name or (parts and reference.startswith(f"{name}.")) for name, parts in known.items()):
                    self.source.mistake(place, f"{{{{ {reference} }}}}", _known(reference, known))


def _known(reference: str, known: Mapping[str, bool]) -> str:
    """What may stand in the place of a reference: those of its kind, if there are any."""
    kind = f"{reference.partition('.')[0]}."
    names = [name for name in known if name.startswith(kind)] or [name for name in known if name not in ("inputs", "params")]
    more = ", and parts of a step's result such as {{ steps.prepare.train }}" if any(name.startswith("steps.") for name in names) else ""
    return ", ".join(f"{{{{ {name} }}}}" for name in names) + more


def _in_order(after: Mapping[str, list[str]]) -> list[str]:
    """Names, each after those it waits for, and otherwise in the order given."""
    sorter = TopologicalSorter(after)
    sorter.prepare()
    order: list[str] = []
    while len(order) < len(after):
        ready = sorted([*sorter.get_ready()], key=list(after).index)
        order += ready
        sorter.done(*ready)
    return order


def _named(raw: str | Mapping[str, Any]) -> dict[str, Any]:
    """A name, or a mapping with a name and options, as name and options."""
    if isinstance(raw, str):
        return {"name": raw, "options": {}}
    return {"name": raw["name"], "options": {name: value for name, value in raw.items() if name != "name"}}


def _listed(raw: str | list[str]) -> list[str]:
    return [raw] if isinstance(raw, str) else list(raw)


def _unlike(value: object, parameter: Mapping[str, Any]) -> str:
    """What a condition on a parameter may name, if this value is no value of it."""
    if parameter["type"] == "float":
        return "conditions on parameters of type int or categorical"
    if parameter["type"] == "categorical":
        same = [choice for choice in parameter["choices"] if choice == value and isinstance(choice, bool) == isinstance(value, bool)]
        return "" if same else f"one of {', '.join(map(shown, parameter['choices']))}"
    inside = isinstance(value, int) and not isinstance(value, bool) and parameter["low"] <= value <= parameter["high"]
    return "" if inside else f"a whole number from {parameter['low']} to {parameter['high']}"
