"""The experiment file: where it lies, what may stand in it, and one sentence for each mistake.

Everything here is read from the file alone. Whether the callables exist, and take the arguments given, is for :mod:`lab_experiment.callables`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab_experiment.references import references

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
"""How an experiment may be called; so no name leaves the folder of the experiments."""

PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".webp", ".pdf", ".html")

_CALL = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_STEP = r"[a-z][a-z0-9_]*"
_REGISTERED = r"[A-Za-z0-9][A-Za-z0-9 ._-]*"


class Mistakes(Exception):
    """What is wrong with an experiment file, a sentence each."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def experiments(folder: Path) -> list[str]:
    """Names of the experiment files in a folder, sorted; none if there is no such folder."""
    return sorted(path.stem for path in folder.glob("*.yml") if re.fullmatch(NAME, path.stem))


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
        raise Mistakes([f"Parameter experiment: there is no file {path}; the experiments there are: {known}."])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Mistakes([f"Parameter experiment: {path} is a link that leaves {folder}; put the file itself there."])
    return path


def read(path: Path) -> dict[str, Any]:
    """Read and check an experiment file.

    Args:
        path: The file.

    Returns:
        Its content with the defaults filled in: plain values only, so that it survives JSON. Keys: ``name``, ``description``, ``steps`` (list of
        ``name``, ``call``, ``with``), ``train`` (``call``, ``with``, ``input_example``, ``evaluate`` with ``call``, ``with``, ``plots``), ``track``
        (``experiment``, ``run_name``, ``tags``) and ``register`` (``name``, ``description``) or None.

    Raises:
        Mistakes: All that is wrong, a sentence each.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Mistakes([f"{path}{place}: this is not YAML: {error.problem or error.context}."]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Mistakes([f"{path}: this is not YAML in UTF-8: {' '.join(str(error).split())}."]) from None
    check = _Check(str(path))
    document = check.document(content, path.stem)
    if check.sentences:
        raise Mistakes(check.sentences)
    return document


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that is there twice (YAML itself silently keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key_node, yaml.ScalarNode) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is there twice", problem_mark=key_node.start_mark)
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep)


class _Check:
    """Goes through a document once, collects sentences, and gives the document with its defaults."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.sentences: list[str] = []

    def document(self, content: object, name: str) -> dict[str, Any]:
        top = self._mapping("the file", content, required=("train",), optional=("description", "steps", "track", "register"))
        steps = self._steps(top.get("steps"))
        known = ["run_dir", *(f"steps.{step['name']}" for step in steps)]
        return {
            "name": name,
            "description": self._text("description", top.get("description"), default=""),
            "steps": steps,
            "train": self._train(top.get("train"), known) if "train" in top else {},
            "track": self._track(top.get("track"), name),
            "register": self._register(top["register"]) if "register" in top else None,
        }

    def _steps(self, value: object) -> list[dict[str, Any]]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._mistake("steps", value, "a list of steps, each with name, call and with")
            return []
        steps: list[dict[str, Any]] = []
        for number, item in enumerate(value):
            key = f"steps[{number}]"
            step = self._mapping(key, item, required=("name", "call"), optional=("with",))
            name = step.get("name")
            if "name" in step and not (isinstance(name, str) and re.fullmatch(_STEP, name)):
                self._mistake(f"{key}.name", name, "a small letter, then small letters, digits and _")
            elif name in [earlier["name"] for earlier in steps]:
                self._mistake(f"{key}.name", name, "a name that no earlier step has")
            known = ["run_dir", *(f"steps.{earlier['name']}" for earlier in steps)]
            steps.append({"name": str(name), **self._call(key, step, known)})
        return steps

    def _train(self, value: object, known: list[str]) -> dict[str, Any]:
        train = self._mapping("train", value, required=("call", "input_example", "evaluate"), optional=("with",))
        evaluate = self._mapping("train.evaluate", train["evaluate"], required=("call",), optional=("with", "plots")) if "evaluate" in train else {}
        plots = evaluate.get("plots", [])
        if not isinstance(plots, list):
            self._mistake("train.evaluate.plots", plots, "a list of files that the evaluation writes")
            plots = []
        for number, plot in enumerate(plots):
            key = f"train.evaluate.plots[{number}]"
            if not isinstance(plot, str) or not plot.lower().endswith(PICTURES):
                self._mistake(key, plot, f"the path of a file that ends in one of {', '.join(PICTURES)}")
            else:
                self._references(key, plot, known)
        if "input_example" in train:
            example = train["input_example"]
            if not isinstance(example, str) or not references(example):
                self._mistake("train.input_example", example, "a reference to a table, for instance {{ steps.prepare.train }}")
            else:
                self._references("train.input_example", example, known)
        return {
            **self._call("train", train, known),
            "input_example": train.get("input_example"),
            "evaluate": {**self._call("train.evaluate", evaluate, [*known, "model"]), "plots": plots},
        }

    def _call(self, key: str, value: Mapping[str, Any], known: list[str]) -> dict[str, Any]:
        call = value.get("call")
        if "call" in value and not (isinstance(call, str) and re.fullmatch(_CALL, call)):
            self._mistake(f"{key}.call", call, "package.module:function")
        arguments = value.get("with")
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            self._mistake(f"{key}.with", arguments, "the arguments as name: value")
            arguments = {}
        for name, argument in arguments.items():
            if not isinstance(name, str) or not name.isidentifier():
                self._mistake(f"{key}.with", name, "the name of an argument")
            self._plain(f"{key}.with.{name}", argument, known)
        return {"call": call, "with": arguments}

    def _track(self, value: object, name: str) -> dict[str, Any]:
        track = self._mapping("track", value, optional=("experiment", "run_name", "tags")) if value is not None else {}
        tags = track.get("tags", {})
        if not isinstance(tags, dict):
            self._mistake("track.tags", tags, "tags as name: value")
            tags = {}
        for tag, content in tags.items():
            if not isinstance(tag, str) or not re.fullmatch(r"[\w./ -]+", tag):
                self._mistake("track.tags", tag, "a tag's name: letters, digits, blanks and . / _ -")
            if not isinstance(content, (str, int, float, bool)):
                self._mistake(f"track.tags.{tag}", content, "a text, a number, true or false")
        return {
            "experiment": self._text("track.experiment", track.get("experiment"), default=name),
            "run_name": self._text("track.run_name", track.get("run_name"), default=""),
            "tags": {str(tag): str(content) for tag, content in tags.items()},
        }

    def _register(self, value: object) -> dict[str, Any]:
        register = self._mapping("register", value, required=("name",), optional=("description",))
        name = register.get("name")
        if "name" in register and not (isinstance(name, str) and re.fullmatch(_REGISTERED, name)):
            self._mistake("register.name", name, "letters, digits, blanks and . _ -, beginning with a letter or digit")
        return {
            "name": name,
            "description": self._text("register.description", register.get("description"), default=""),
        }

    def _text(self, key: str, value: object, default: str) -> str:
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            self._mistake(key, value, "a text")
            return default
        return value

    def _plain(self, key: str, value: object, known: list[str]) -> None:
        """An argument: what JSON can hold, and references that can be met."""
        if isinstance(value, str):
            self._references(key, value, known)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self._plain(f"{key}[{number}]", item, known)
        elif isinstance(value, dict):
            for name, item in value.items():
                if not isinstance(name, str):
                    self._mistake(key, name, "a text as key (put it in quotes)")
                self._plain(f"{key}.{name}", item, known)
        elif isinstance(value, float) and not math.isfinite(value):
            self._mistake(key, value, "a finite number")
        elif value is not None and not isinstance(value, (bool, int, float)):
            self._mistake(key, value, "a text, a number, true, false, null, a list or a mapping (put a date in quotes)")

    def _references(self, key: str, text: str, known: list[str]) -> None:
        found = references(text)
        if len(found) != text.count("{{") or len(found) != text.count("}}"):
            self._mistake(key, text, "a reference written as {{ name }}, for instance {{ run_dir }}")
        for reference in found:
            if not any(reference == name or (name != "run_dir" and reference.startswith(f"{name}.")) for name in known):
                allowed = ", ".join(f"{{{{ {name} }}}}" for name in known)
                self._mistake(
                    key,
                    f"{{{{ {reference} }}}}",
                    f"{allowed}, and parts of a step's result such as {{{{ steps.prepare.train }}}}",
                )

    def _mapping(self, key: str, value: object, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Any]:
        allowed = ", ".join((*required, *optional))
        if not isinstance(value, dict):
            self._mistake(key, value, f"a mapping with the keys {allowed}")
            return {}
        for name in value:
            if name not in required and name not in optional:
                self._mistake(key, name, allowed, found="the key ")
        for name in required:
            if value.get(name) is None:
                self.sentences.append(f"{self.file}: {key} lacks the key {name}; its keys are {allowed}.")
        return {name: item for name, item in value.items() if name in required + optional and item is not None}

    def _mistake(self, key: str, value: object, allowed: str, found: str = "") -> None:
        shown = "nothing" if value is None else repr(value)
        if len(shown) > 80:
            shown = f"{shown[:77]}..."
        self.sentences.append(f"{self.file}: {key} has {found}{shown}; allowed: {allowed}.")
