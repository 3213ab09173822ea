#!/usr/bin/env python3
"""Write what is made of something else: ``make docs``.

That is the table of variables in each role's README, from its argument spec; the example of a vault, whose head stays, from ``lab_credentials``; and what
``experiment_docs.py`` makes of the format of an experiment file. With ``--check`` nothing is written; the exit code says whether every file is current. A table
stands between two comment lines; a role's README that has none gets a section "Variables" at its end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- begin: variables, written by `make docs` -->"
END = "<!-- end: variables -->"
CREDENTIALS = ROOT / "playbooks/group_vars/all/credentials.yml"
EXAMPLE = ROOT / "playbooks/files/credentials_example.yml"
# What a credential of a kind is made with
MADE = {
    "fernet": "head -c 32 /dev/urandom | base64 | tr '+/' '-_'",
    "private_key": "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256; as `NAME: |` with the lines below it, indented",
}
MARKUP = re.compile(r"\b([OVCIBEPM])\(((?:\\.|[^()\\])*)\)")


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of a role by name, those of all its entry points together."""
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    merged: dict[str, dict[str, Any]] = {}
    for entry in spec["argument_specs"].values():
        merged.update(entry.get("options") or {})
    return merged


def text_of(description: str | list[str]) -> str:
    """Return a description as one line of Markdown."""
    text = " ".join([description] if isinstance(description, str) else description)
    text = MARKUP.sub(lambda match: f"`{match[2]}`", " ".join(text.split()))
    return text.replace("|", "\\|")


def default_of(option: dict[str, Any]) -> str:
    """Return the default as Markdown: `required`, a short value, or the number of entries of a long one."""
    if option.get("required"):
        return "required"
    if "default" not in option or option["default"] is None:
        return ""
    value = option["default"]
    text = str(value).lower() if isinstance(value, bool) else str(value) if not isinstance(value, str) else value or '""'
    if len(text) > 60:
        return f"{len(value)} entries, see `defaults/main.yml`" if not isinstance(value, str) else "see `defaults/main.yml`"
    escaped = text.replace("|", "\\|").replace("\n", " ")
    return f"`{escaped}`"


def rows_of(options: dict[str, dict[str, Any]], prefix: str = "") -> Iterator[str]:
    """Yield the table's rows; keys of dictionaries follow their option as ``name.key`` or, in lists, ``name[].key``."""
    for name, option in options.items():
        kind = option.get("type", "str")
        if "elements" in option:
            kind += f" of {option['elements']}"
        text = text_of(option["description"])
        if "choices" in option:
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        yield f"| `{prefix}{name}` | {kind} | {default_of(option)} | {text} |"
        if "options" in option:
            yield from rows_of(option["options"], f"{prefix}{name}{'[]' if kind.startswith('list') else ''}.")


def table_of(role: Path) -> str:
    """Return the part of the README that is generated, markers included."""
    head = ["| Variable | Type | Default | What it is |", "|---|---|---|---|"]
    return "\n".join([BEGIN, "", *head, *rows_of(options_of(role)), "", END])


def readme_of(role: Path) -> str:
    """Return the README as it should be."""
    readme = role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"# {role.name}\n"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        return before + table_of(role) + rest.split(END, 1)[1]
    return f"{text.rstrip()}\n\n## Variables\n\n{table_of(role)}\n"


def credentials() -> list[dict[str, Any]]:
    """Return the map of the lab's credentials."""
    entries: list[dict[str, Any]] = yaml.safe_load(CREDENTIALS.read_text(encoding="utf-8"))["lab_credentials"]
    return entries


def example_of(entries: list[dict[str, Any]], head: str) -> str:
    """Return the example of a vault with these credentials: what each is for, what it has to be, and a value that nobody should keep."""
    usual = options_of(ROOT / "roles/preflight")["preflight_credentials"]["options"]["min_length"]["default"]
    lines = [head.partition("---\n")[0] + "---"]
    for entry in entries:
        shape = f"; {entry.get('min_length', usual)} or more characters" if entry["kind"] == "password" and entry.get("min_length") != 1 else ""
        shape += f", without {entry['without']}" if "without" in entry else ""
        made = MADE.get(entry["kind"], "").replace("NAME", entry["name"])
        lines += [f"# {entry['what']}{shape}", f"{entry['name']}: {entry.get('first', 'change-me')}" + (f" # {made}" if made else "")]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    import experiment_docs  # here, because others import this module where neither pydantic nor dags/ need be

    stale = 0
    roles = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    files = {role / "README.md": readme_of(role) for role in roles} | experiment_docs.current()
    files[EXAMPLE] = example_of(credentials(), EXAMPLE.read_text(encoding="utf-8"))
    for file, wanted in files.items():
        if file.exists() and file.read_text(encoding="utf-8") == wanted:
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{file.relative_to(ROOT)} is not current: run `make docs`")
        else:
            file.write_text(wanted, encoding="utf-8")
            print(f"{file.relative_to(ROOT)} was written")
    return int(bool(stale and "--check" in arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
