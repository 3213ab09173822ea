"""What ``make docs`` makes of the format of an experiment file: its schema, and the tables of keys in ``dags/README.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

import experiment_format as form

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "dags/lab_experiment/schema.json"
README = ROOT / "dags/README.md"

TABLES = {
    "keys of the file": form.Experiment,
    "keys of a step": form.Step,
    "keys of search": form.Search,
    "samplers": form.Sampler,
    "pruners": form.Pruner,
    "parameters": form.Parameter,
    "keys of cross_validation": form.CrossValidation,
    "splitters": form.Splitter,
    "keys of train": form.Train,
}
"""The tables, by their names in the comment lines between which they stand."""

WIDTH = 160
"""Characters of a line of the schema, where it can be kept."""

Schema = dict[str, Any]


class Generator(GenerateJsonSchema):
    """Writes every choice as `if` and `then`, so that a validator points at the key that is wrong, and not at all that might stand in its place."""

    def sort(self, value: Schema, parent_key: str | None = None) -> Schema:
        """Keys stay in the order of the model."""
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No field has a title beside its name."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        """None is no default: it says that nothing is filled in."""
        return self.generate_inner(schema["schema"]) if schema.get("default") is None else super().default_schema(schema)

    def literal_schema(self, schema: core_schema.LiteralSchema) -> Schema:
        """One value is written as several are."""
        return {"enum": schema["expected"]}

    def dict_schema(self, schema: core_schema.DictSchema) -> Schema:
        """The names are held to their own schema; pydantic's way takes names that do not match for unknown keys."""
        parts = {"propertyNames": schema.get("keys_schema"), "additionalProperties": schema.get("values_schema")}
        made = {word: self.generate_inner(part) for word, part in parts.items() if part and part["type"] != "any" and part != {"type": "str"}}
        return {"type": "object", **made, **({"minProperties": schema["min_length"]} if "min_length" in schema else {})}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        """What is there, or null."""
        return self._either([self.generate_inner(schema["schema"]), {"type": "null"}])

    def union_schema(self, schema: core_schema.UnionSchema) -> Schema:
        """One of several types."""
        return self._either([self.generate_inner(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"]])

    def _either(self, members: list[Schema]) -> Schema:
        """One schema where the keywords of each member mean only its own type, and otherwise one for each."""
        types = [member.get("type", "object" if "$ref" in member else "string") for member in members]
        flat = [name for kind in types for name in (kind if isinstance(kind, list) else [kind])]
        if all("type" in member for member in members):
            words = {word: value for member in members for word, value in member.items() if word != "errorMessage"}
            return {**words, "type": flat}
        return {"type": flat, "allOf": [{"if": {"type": kind}, "then": member} for kind, member in zip(types, members, strict=True)]}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Schema:
        """A mapping whose other keys depend on one of them."""
        key = str(schema["discriminator"])
        kinds: dict[str, list[str]] = {}
        for name, choice in schema["choices"].items():
            kinds.setdefault(self.generate_inner(choice)["$ref"], []).append(str(name))
        return {
            "type": "object",
            "properties": {key: {"description": f"The {key}.", "enum": [name for names in kinds.values() for name in names]}},
            "required": [key],
            "allOf": [
                {"if": {"type": "object", "properties": {key: {"enum": names}}, "required": [key]}, "then": {"$ref": kind}} for kind, names in kinds.items()
            ],
        }


def schema() -> str:
    """Return the text of the schema's file."""
    made = form.Experiment.model_json_schema(schema_generator=Generator)
    for part in (made, *made["$defs"].values()):
        del part["title"]
    head = {"$schema": Generator.schema_dialect, "$comment": "Written by `make docs` from tools/experiment_format.py.", "title": "Experiment file of mlops.lab"}
    return written({**head, "description": f"{made.pop('description')} Explained in dags/README.md.", **made}) + "\n"


def written(value: Any, indent: str = "") -> str:
    """Return a value as JSON, in one line where that is short."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= WIDTH or not isinstance(value, (dict, list)):
        return line
    deeper = f"{indent}  "
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    items = [f"{deeper}{name}{written(item, deeper)}" for name, item in zip(names, value.values() if isinstance(value, dict) else value, strict=True)]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([first, ",\n".join(items), f"{indent}{last}"])


def fields(part: type[form.Part]) -> Iterator[tuple[str, Any, str, str]]:
    """Yield the keys of a part: name, type, what it says, and its default as Markdown."""
    for name, field in part.model_fields.items():
        what, _, default = (field.description or "").partition(" Default: ")
        yield field.alias or name, field.annotation, what, "required" if field.is_required() else default.removesuffix(".") or "none"


def keys(part: type[form.Part], prefix: str = "") -> Iterator[str]:
    """Yield the lines of the table of a part's keys. Those of a part in it follow as ``name.key``, unless it is a call or has a table of its own."""
    for name, kind, what, default in fields(part):
        below = " Below." if any(part in TABLES.values() for part in (kind, *get_args(kind))) else ""
        yield f"| `{prefix}{name}` | {what or kind.__doc__}{below} | {default} |"
        if isinstance(kind, type) and issubclass(kind, form.Part) and not below and kind is not form.Call:
            yield from keys(kind, f"{prefix}{name}.")


def kinds(choice: Any) -> Iterator[str]:
    """Yield the lines of the table of kinds and their keys."""
    union, field = get_args(choice)[:2]
    for kind in get_args(union):
        others = [f"`{name}`" + (f" ({default})" if default != "none" else "") for name, _, _, default in fields(kind) if name != field.discriminator]
        names = get_args(kind.model_fields[field.discriminator].annotation)
        yield f"| {', '.join(f'`{name}`' for name in names)} | {', '.join(others) or 'none'} |"


def readme() -> str:
    """Return the text of the README, its tables written anew."""
    text = README.read_text(encoding="utf-8")
    for subject, part in TABLES.items():
        begin, end = f"<!-- begin: {subject}, written by `make docs` -->", f"<!-- end: {subject} -->"
        if isinstance(part, type):
            lines = ["| key | what it says | default |", "|---|---|---|", *keys(part)]
        else:
            lines = [f"| `{get_args(part)[1].discriminator}` | other keys |", "|---|---|", *kinds(part)]
        before, rest = text.split(begin)
        text = "\n".join([before + begin, "", *lines, "", end + rest.split(end)[1]])
    return text


def current() -> dict[Path, str]:
    """Return what the files should be."""
    return {SCHEMA: schema(), README: readme()}
