#!/usr/bin/env python3
"""Write the first files of a project of one's own: ``make project NAME=churn``, ``make experiment NAME=churn PROJECT=../churn``.

A project is a small package with its tests. An experiment file is drafted from a package's source, which is read and not run. What the names and
arguments of its functions tell is filled in, the rest is left as comments. Nothing is overwritten.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / os.environ.get("LAB", "inventories/lab")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PROJECT = {
    "pyproject.toml": """\
[build-system]
requires = ["flit_core==3.12.0"]
build-backend = "flit_core.buildapi"

[project]
name = "{name}"
version = "0.1.0"
description = "What {name} predicts, and from what"
requires-python = ">=3.10"
dependencies = ["pandas", "scikit-learn"]

[project.optional-dependencies]
test = ["pytest>=8"]

[tool.flit.module]
name = "{module}"
""",
    "src/{module}/__init__.py": '''\
"""What an experiment file calls: plain functions that know nothing of the lab."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier


def data(seed: int = 7) -> tuple[pd.DataFrame, pd.Series]:
    """Give the table and the target; put your own data here."""
    table, target = load_breast_cancer(return_X_y=True, as_frame=True)
    order = table.sample(frac=1, random_state=seed).index
    return table.loc[order], target.loc[order]


def make_model(trees: int = 50, max_depth: int = 4, seed: int = 7) -> Any:
    """Give a model that is not fitted yet."""
    return RandomForestClassifier(n_estimators=trees, max_depth=max_depth, random_state=seed)
''',
    "tests/test_{module}.py": '''\
"""Run them with `python -m pytest` in an environment that has the project: `pip install -e '.[test]'`."""

from {module} import data, make_model


def test_the_model_learns() -> None:
    table, target = data()
    model = make_model().fit(table[:400], target[:400])
    assert model.score(table[400:], target[400:]) > 0.9
''',
    "README.md": """\
# {name}

What this predicts, from which data, and how well. From the checkout of the lab:

```sh
make publish PROJECT={folder}                    # the package goes to the lab's index
make experiment NAME={name} PROJECT={folder}     # an experiment file and an environment for it
make run EXPERIMENT={name}
```

After a change, raise the version in `pyproject.toml` and in the lab's `environments/{name}.in`, then publish and run again.
""",
}

KINDS = {
    "data": re.compile(r"^(data|load|read|get|fetch|make)(_?(data|dataset|table|xy|frame|features|training))?(_.*)?$"),
    "estimator": re.compile(r"^(make|build|create|get|new)?_?(model|estimator|pipeline|classifier|regressor)$"),
    "train": re.compile(r"^(train|fit)(_.*)?$"),
    "evaluate": re.compile(r"^(evaluate|score|test|validate)(_.*)?$"),
}
"""What a function is likely for, by its name; the first kind that fits counts, the most telling one first."""


class Problem(Exception):
    """What stands in the way, in one sentence."""


@dataclass(frozen=True)
class Function:
    """A public function of a package."""

    call: str
    """``package.module:function``."""
    arguments: dict[str, object]
    """Its arguments and their defaults; :data:`NEEDED` for those without one."""
    doc: str

    @property
    def name(self) -> str:
        """Its bare name."""
        return self.call.partition(":")[2]


NEEDED = "..."


def functions_of(project: Path) -> tuple[str, str, list[Function]]:
    """Return name, version (may be empty) and public functions of a project.

    Raises:
        Problem: It is no project, or has no module.
    """
    try:
        about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise Problem(f"PROJECT names {project}, whose pyproject.toml with a section [project] cannot be read ({error}).") from None
    module = re.sub(r"[-.]+", "_", about["name"])
    home = next((place / module for place in (project / "src", project) if (place / module / "__init__.py").is_file()), None)
    files = sorted(home.rglob("*.py")) if home else [place / f"{module}.py" for place in (project / "src", project) if (place / f"{module}.py").is_file()]
    if not files:
        raise Problem(f"PROJECT names {project}, which has neither a package {module} nor a module {module}.py, beside pyproject.toml or in src/.")
    return about["name"], str(about.get("version", "")), [function for file in files for function in _functions(file, (home or files[0]).parent)]


def _functions(file: Path, above: Path) -> Iterator[Function]:
    parts = [part for part in file.relative_to(above).with_suffix("").parts if part != "__init__"]
    if any(part.startswith("_") for part in parts) or "tests" in parts:
        return
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield Function(f"{'.'.join(parts)}:{node.name}", dict(_arguments(node)), (ast.get_docstring(node) or "").partition("\n")[0])


def _arguments(node: ast.FunctionDef) -> Iterator[tuple[str, object]]:
    named = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(named) - len(node.args.defaults)) + list(node.args.defaults)
    for argument, default in [*zip(named, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]:
        try:
            yield argument.arg, NEEDED if default is None else ast.literal_eval(default)
        except ValueError:  # a constant of the module, say, which need not be given
            continue


def sorted_out(functions: list[Function]) -> dict[str, Function]:
    """Return the functions by what they are likely for; of several the first one."""
    found: dict[str, Function] = {}
    for kind in ("estimator", "train", "evaluate", "data"):
        for function in functions:
            if kind not in found and function not in found.values() and KINDS[kind].match(function.name):
                found[kind] = function
    return found


def experiment(name: str, package: str, functions: list[Function]) -> str:
    """Return the text of an experiment file."""
    known = sorted_out(functions)
    lines = [
        "# yaml-language-server: $schema=../dags/lab_experiment/schema.json",
        "---",
        f"# Drafted from the package {package}. `make experiment-check EXPERIMENT={name}` says what is wrong; dags/README.md explains every key.",
        f"description: What {name} predicts, and from what",
        f"environment: {name}",
        "",
    ]
    if "estimator" in known and "data" in known:
        space = {key: value for key, value in known["estimator"].arguments.items() if type(value) in (int, float) and value and not key.endswith("seed")}
        if space:
            lines += ["search:", "  objective: cross_validation", "  space: # around the defaults of the function; change the bounds"]
            lines += [f"    {key}: {_range(value)}" for key, value in space.items()]
            lines += ["  trials: 10", ""]
        arguments = {**known["estimator"].arguments, **{key: f"{{{{ params.{key} }}}}" for key in space}}
        lines += ["cross_validation:", f"  estimator: {_call(known['estimator'], arguments)}", f"  data: {_call(known['data'])}"]
        lines += ["  splitter: {name: auto, folds: 5}", "", "train: {} # the best estimator, fitted on all of cross_validation.data", ""]
    elif "train" in known:
        lines += ["train:", f"  call: {known['train'].call}", f"  with: {_with(known['train'].arguments)}"]
        if "evaluate" in known:
            arguments = {key: "{{ model }}" if key == "model" else value for key, value in known["evaluate"].arguments.items()}
            lines += ["  evaluate:", f"    call: {known['evaluate'].call}", f"    with: {_with(arguments)}"]
        lines.append("")
    else:
        call = functions[0].call if functions else f"{package.replace('-', '_')}:train"
        lines += ["# No function looks like one that trains: name yours here.", "train:", f"  call: {call}", "  with: {}", ""]
    lines += [f"register: {{name: {name}}}", "deploy: {target: endpoint} # puts every new version in service", ""]
    used = list(known.values()) if "train" not in known else [known["train"], known.get("evaluate")]
    rest = [function for function in functions if function not in used]
    if rest:
        lines += ["# Other functions of the package, which may be steps:", "# steps:"]
        for function in rest:
            line = f"#   - {{name: {function.name}, call: '{function.call}', with: {_with(function.arguments)}}}"
            lines.append(f"{line} # {function.doc}" if function.doc else line)
    return "\n".join(lines).rstrip("\n") + "\n"


def _range(value: object) -> str:
    assert isinstance(value, int | float)
    if isinstance(value, int):
        return f"{{type: int, low: {max(1, value // 2)}, high: {value * 4}}}"
    return f"{{type: float, low: {value / 10:g}, high: {value * 10:g}, log: true}}"


def _call(function: Function, arguments: dict[str, object] | None = None) -> str:
    return f'{{call: "{function.call}", with: {_with(function.arguments if arguments is None else arguments)}}}'


def _with(arguments: dict[str, object]) -> str:
    return yaml.safe_dump(arguments, default_flow_style=True, sort_keys=False, width=10_000).strip()


def write(files: dict[Path, str]) -> None:
    """Write files, all or none.

    Raises:
        Problem: One of them is there already.
    """
    there = [path for path in files if path.exists()]
    if there:
        raise Problem(f"{there[0]} is there already, and nothing is overwritten: choose another NAME, or move it away.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


def main() -> int:
    """Write what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[2], prog="tools/draft.py")
    parser.add_argument("what", choices=("project", "experiment"))
    parser.add_argument("name", help="small letters, digits and hyphens")
    parser.add_argument("project", nargs="?", type=Path, help="folder of the project; of a new one ../<name> unless named")
    asked = parser.parse_args()
    try:
        if not NAME.fullmatch(asked.name) or len(asked.name) > 60 or asked.name == "project":
            raise Problem(f"NAME has {asked.name!r}; write small letters, digits and hyphens, the first a letter, as in churn (project is taken).")
        if asked.what == "project":
            folder = asked.project or ROOT.parent / asked.name
            values = {"name": asked.name, "module": asked.name.replace("-", "_"), "folder": os.path.relpath(folder, ROOT)}
            write({folder / _filled(path, values): _filled(text, values) for path, text in PROJECT.items()})
            return 0
        if asked.project is None:
            raise Problem(f"PROJECT is missing; write the folder of the package, as in make experiment NAME={asked.name} PROJECT=../{asked.name}.")
        package, version, functions = functions_of(asked.project)
        pin = f"{package}=={version}" if version else package
        head = f"# What experiments/{asked.name}.yml needs. The lock beside it is made by `make run` and `make lab`; commit both.\n"
        environment = LAB / "environments" / f"{asked.name}.in"
        write({LAB / "experiments" / f"{asked.name}.yml": experiment(asked.name, package, functions), environment: f"{head}{pin}\n"})
        if any(NEEDED in function.arguments.values() for function in functions):
            print(f"Put values in the place of '{NEEDED}'; then: make experiment-check EXPERIMENT={asked.name}")
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(name|module|folder)\}", lambda match: values[match[1]], text)


if __name__ == "__main__":
    sys.exit(main())
