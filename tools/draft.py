#!/usr/bin/env python3
"""Write the first files of a project of one's own: ``make project NAME=churn``, ``make experiment NAME=churn PROJECT=../churn``.

A project is a small package with its tests. An experiment file is drafted from a package's source, of a folder or a wheel, which is read and not run. What the
names and arguments of its functions and classes tell is filled in, the rest is left as comments. Nothing is overwritten.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import contextlib
import copy
import keyword
import math
import os
import re
import shlex
import sys
import tempfile
import tomllib
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "dags"))
from lab_experiment import document, storable  # noqa: E402 (the path above comes first)

LAB = ROOT / os.environ.get("LAB", "inventories/lab")
TYPED = "" if os.environ.get("LAB", "inventories/lab") == "inventories/lab" else f" LAB={shlex.quote(os.environ['LAB'])}"
"""What a command of `make` has to say besides, to mean the same lab."""
SCHEMA = ROOT / "dags" / "lab_experiment" / "schema.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mlops.lab" / "wheels"
"""Where `make publish` keeps the wheels that it built: package_index_publish_cache, unless somebody set another one."""
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
"""How a new project may be called, whose package has this name, too."""

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
make publish PROJECT={folder}{lab}                    # the package goes to the lab's index
make experiment NAME={name} PROJECT={folder}{lab}     # an experiment file and an environment for it
make run EXPERIMENT={name}{lab}
```

After a change, raise the version in `pyproject.toml` and in the lab's `environments/{name}.in`, then publish and run again.
`make publish` says what to write there.
""",
}

KINDS = {
    "data": re.compile(r"^(data|load|read|get|fetch|make)(_.*)?$|^(load|read|get|fetch|make)(data|dataset|table|xy|frame|features)$"),
    "estimator": re.compile(r"^(make|build|create|get|new)?_?(model|estimator|pipeline|classifier|regressor)$"),
    "train": re.compile(r"^(train|fit|main_train|run_train(ing)?)(_.*)?$"),
    "evaluate": re.compile(r"^(evaluate|score|test|validate)(_.*)?$"),
}
"""What a function is likely for, by its name; the first kind that fits counts, the most telling one first."""

DATA = re.compile(r"(.*_)?(data|dataset|datasets|table|tables|xy|x_y|frame|frames|dataframe|df|features|samples)", re.IGNORECASE)
"""How what gives data is called."""

NEITHER = re.compile(
    r"(.*_)?(configs?|configuration|settings|loggers?|log|logging|args?|arguments|parsers?|paths?|dir|directory|params?|parameters|hyperparameters|env"
    r"|environment|secrets?|tokens?|passwords?|credentials|device|version|client|session|connection|schema|names?|columns|seed|optimizer|yaml|toml)(_.*)?",
    re.IGNORECASE,
)
"""What a package of any kind has: neither data nor a training nor the judgement of a model."""

NO_DATA = re.compile(
    r"(.*_)?(models?|estimators?|pipelines?|classifiers?|regressors?|metrics?|scor(es?|ers?)|loss|plots?|figures?|callbacks?)(_.*)?", re.IGNORECASE
)
"""What is loaded and made beside data."""

SPLITS = re.compile(
    r"train_(test|val|valid|validation|dev)(_(?!model).*)?|.*train_test_split.*|fit_(and_)?transform(_.*)?"
    r"|(train|fit|test|score|validate)_(.*_)?(split|loader|dataloader|size|ids|indices)"
)
"""What is called like a training or a judgement, and parts or changes a table."""

PARTS = re.compile(r"((make|do|create)_)?(train_(test|val|valid|validation)_)?split(s|_.*)?", re.IGNORECASE)
"""How a function is called that parts a table."""

EXACT = {"train", "train_model", "fit", "fit_model", "main_train", "run_training", "evaluate", "evaluate_model", "data", "load_data", "get_data"}
"""Names that leave no doubt."""

PART_OF_TRAINING = re.compile(r"(.*_)?(epoch|step|batch|fold|one|scaler|encoder|vectorizer|tokenizer|imputer|transformer|preprocessor)(_.*)?")
"""What a function is called that does a part of a training."""

DEVELOPMENT = re.compile(r"(unit|dev)?-?tests?|testing|dev|develop|development|docs?|documentation|lint(ing|ers?)?|typing|types|mypy|ci|build|release")
"""Extras that a package is developed with, and not run."""

NO_TABLE = {"None", "str", "int", "float", "bool", "dict", "list", "tuple", "object", "Any", "Path", "Namespace", "Logger"}
"""Types that say nothing of a table, or that it is none."""

TABLE = re.compile(r"((train|training|raw|input)_)?(df|data|table|dataset|frame|dataframe|samples|records)(_train)?")
"""An argument that takes what a function gives that loads data."""

X = re.compile(r"(train_)?(x|features|df|data|table|frame|inputs)(_train)?", re.IGNORECASE)
Y = re.compile(r"(train_)?(y|targets?|labels?)(_train)?", re.IGNORECASE)
"""Arguments that take the two parts of what such a function gives."""

ESTIMATOR = re.compile(r".*(Estimator|Classifier|Regressor)")
"""What the class of a model is derived from, by scikit-learn's names."""

NO_STEP = re.compile(r".*(Error|Exception|Warning|Enum|Flag|Protocol|TypedDict|NamedTuple)")
"""What a class is derived from that nobody calls as a step."""

PLAIN = re.compile(
    r"(.*_)?(seeds?|random_?state|rng|version|year|port)|seed_.*|(n|num|max)?_?(jobs|threads?|nthread|workers|cpus?|cores|gpus?)|thread_count|verbos(e|ity)"
    r"|silent|debug|log_level|copy(_.*)?|warm_start|cache_size|timeout|tol(erance)?|missing|device(_id)?|gpu_id|.*_(every|interval|timeout)"
    r"|(cv|n_)?_?(folds|splits)|cv|n_repeats|(test|validation|holdout)_(size|share|fraction)"
    r"|(n|num)_(class(es)?|labels|features|inputs?|outputs?|targets|channels)|(input|output)_(dim|size)",
    re.IGNORECASE,
)
"""Arguments that a search has nothing to find out about: chance, the machine, what is printed, what the data say."""

OURS = {"tracking_uri": "{{ mlflow_tracking_uri }}", "mlflow_tracking_uri": "{{ mlflow_tracking_uri }}"}
"""Arguments that the lab gives, by their names."""

CALL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
"""A function that an experiment file can call; methods are not drafted."""

NEEDED = "..."


class Problem(Exception):
    """What stands in the way, in one sentence."""


@dataclass(frozen=True)
class Function:
    """A public function or class of a package."""

    call: str
    """``package.module:function``."""
    arguments: dict[str, object]
    """Its arguments and their defaults; :data:`NEEDED` for those without one."""
    doc: str
    yields: bool = False
    """Whether it is a generator, which only a step may be."""
    makes: str = ""
    """Of a class what it makes: ``estimator`` or ``object``."""
    logs: list[str] | None = None
    """The metrics that it logs to MLflow, as far as they are written there, when it gives nothing else; None for others."""
    types: dict[str, str] = field(default_factory=dict)
    """The types of its arguments, as they are written; ``return`` has that of its result."""
    parts: int = 0
    """How many things it gives as a tuple; 0 for one thing, and -1 where that is not plain."""
    gives: list[str] = field(default_factory=list)
    """What the things of such a tuple are called where it is returned."""
    configures: bool = False
    """Whether it is a class of nothing but fields: a dataclass, or one of attrs or pydantic."""

    @property
    def name(self) -> str:
        """Its bare name."""
        return self.call.partition(":")[2]


@dataclass(frozen=True)
class Package:
    """What the source of a package says."""

    name: str
    version: str
    """Empty where it is not written down."""
    module: str
    """Its first module."""
    functions: list[Function]
    unread: list[str]
    """What cannot be read, a sentence without its end for each file: a newer Python may read it."""
    extras: list[str] = field(default_factory=list)
    """The extras that its functions may need."""
    python: str = ""
    """The Python that it asks for, ``>=3.12``, where that is newer than this one; else empty."""


def package_of(project: Path) -> Package:
    """Read a project's folder or a wheel.

    Raises:
        Problem: It is neither, has no module, or none of its files is Python.
    """
    return _wheel(project) if project.suffix == ".whl" else _project(project)


def _project(project: Path) -> Package:
    content: dict[str, Any] = {}
    advice = "Write one, or name the project's wheel"
    try:
        content = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        wrong = str(error)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"PROJECT names {project}, whose pyproject.toml with a section [project] cannot be read ({error}). {advice}.") from None
    else:
        wrong = "it says no name, or a version that is no text"
    about = _table(content, "project") or _table(content, "tool", "poetry")
    members = _texts(_table(content, "tool", "uv", "workspace").get("members"))
    if members and not about:
        folders = sorted(
            str(path.relative_to(project))
            for member in members
            if member.strip("./")
            for path in project.glob(member.lstrip("/"))
            if (path / "pyproject.toml").is_file()
        )
        raise Problem(f"PROJECT names {project}, which is a workspace, and no package itself: name one of its members, {', '.join(folders)}.")
    if not about:
        about, settings = _old_settings(project)
        content = {**content, "tool": {**_table(content, "tool"), "setuptools": {**settings, **_table(content, "tool", "setuptools")}}}
    name, version = about.get("name"), about.get("version", "")
    if _table(content, "tool", "poetry-dynamic-versioning").get("enable") is True:
        version = ""  # what is written is a place for that of git
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not isinstance(version, str):
        raise Problem(f"PROJECT names {project}, whose pyproject.toml with a section [project] cannot be read ({wrong}). {advice}.")
    named = list(dict.fromkeys(_named(project, content)))
    roots = _roots(project, content)
    expected = [place for module in _modules(name) for above in roots or (project / "src", project) for place in _places(above, [above / module])]
    # a project churn-model with a package churn is that package, and not its module model
    expected = [(module, path) for module, path in expected if len(module) == 1 or not (path.parent / "__init__.py").is_file()]
    plain = [(module, path) for module, path in expected if any(path.glob("*.py"))]  # setuptools takes those without __init__.py, too
    inside = [path for path in (project / "src").glob("*") if path.name.isidentifier() and any(path.rglob("*.py"))]
    only = _places(project / "src", inside) if len(inside) == 1 else []
    moved, found = _moved(project, content, "force-include"), _discovered(project, roots)
    for places, bare in ((named, True), (expected, False), (moved, True), (plain, True), (found, False), (only, True)):
        if files := [one for module, path in places for one in _files(module, path, bare)]:
            version = version or _source_version(project, content, [file for _module, file in files])
            python = _newer(_python(about, content))
            return Package(name, version, *_read(dict.fromkeys(files), project, python), extras=_extras(about, content), python=python)
    looked = f"the modules that its pyproject.toml names ({', '.join(str(path) for _, path in named)})" if named else ""
    usual = f"a package {_modules(name)[0]} nor a module {_modules(name)[0]}.py, beside pyproject.toml or in src/"
    raise Problem(f"PROJECT names {project}, which has neither {f'{looked} nor ' if looked else ''}{usual}.")


def _python(about: dict[str, Any], content: dict[str, Any]) -> object:
    """What a project says of its Python, by its settings: those of today, of Poetry, and of before pyproject.toml."""
    poetry = str(_table(about, "dependencies").get("python", ""))
    return about.get("requires-python") or re.sub(r"[\^~](?=\d)", ">=", poetry) or _table(content, "tool", "setuptools").get("python-requires")


def _newer(python: object) -> str:
    """What a package asks of its Python, where that is a newer one than this; empty where it is not, or cannot be told."""
    with contextlib.suppress(InvalidSpecifier):
        wanted, (major, minor, micro) = SpecifierSet(str(python or "")), sys.version_info[:3]
        if not wanted.contains(f"{major}.{minor}.{micro}") and any(wanted.contains(f"{major}.{later}.99") for later in range(minor, minor + 9)):
            return str(wanted)
    return ""


def _extras(about: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """The extras of a project, by its settings: those of today, of Poetry, and of before pyproject.toml."""
    setuptools = _table(content, "tool", "setuptools")
    places = _table(about, "optional-dependencies"), _table(about, "extras"), _table(setuptools, "dynamic", "optional-dependencies")
    return _needed_extras(name for place in (*places, _table(setuptools, "extras-require")) for name in place)


def _needed_extras(names: Iterable[object]) -> list[str]:
    """Those that an environment may need; setup.py also has conditions in the place of names."""
    legal = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)
    return list(dict.fromkeys(name for name in map(str, names) if legal.fullmatch(name) and not DEVELOPMENT.fullmatch(name)))


def _old_settings(project: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What setup.cfg and setup.py say in plain words, as a pyproject.toml would have it: name and version, and the settings of setuptools."""
    about: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        for call in ast.walk(ast.parse((project / "setup.py").read_bytes())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("setup"):
                for part in call.keywords:
                    if isinstance(part.value, ast.Call) and re.fullmatch(r"(.*\.)?find(_namespace)?_packages", ast.unparse(part.value.func)):
                        given = {str(inner.arg): inner.value for inner in part.value.keywords} | dict(zip(("where",), part.value.args, strict=False))
                        with contextlib.suppress(ValueError, TypeError, KeyError):
                            settings["packages"] = {"find": {"where": [where for where in _texts(ast.literal_eval(given["where"])) if where != "."]}}
                    with contextlib.suppress(ValueError, TypeError):  # what is computed
                        key, value = (part.arg or "").replace("_", "-"), ast.literal_eval(part.value)
                        (about if key in ("name", "version") else settings)[key] = value
    written = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        written.read(project / "setup.cfg", encoding="utf-8")
    for key in ("name", "version"):
        if said := written.get("metadata", key, fallback=""):
            about[key] = said
    if attribute := re.match(r"attr:\s*(\S+)", str(about.get("version", ""))):
        settings["dynamic"] = {"version": {"attr": attribute[1]}}
    if re.match(r"(attr|file):", str(about.get("version", ""))):
        about["version"] = ""
    if python := written.get("options", "python_requires", fallback=""):
        settings["python-requires"] = python
    if modules := written.get("options", "py_modules", fallback="").split():
        settings["py-modules"] = modules
    if written.has_section("options.extras_require"):
        settings["extras-require"] = dict.fromkeys(written.options("options.extras_require"))
    if folders := re.findall(r"^\s*([\w.]*)\s*=\s*(\S+)", written.get("options", "package_dir", fallback=""), re.MULTILINE):
        settings["package-dir"] = dict(folders)
    if where := written.get("options.packages.find", "where", fallback=""):
        settings["packages"] = {"find": {"where": [where]}}
    return about, settings


def _source_version(project: Path, content: dict[str, Any], files: list[Path]) -> str:
    """The version that a build backend is told to read in a file; empty where that is not plain to see, or where git gives it."""
    tool = _table(content, "tool")
    said = _table(tool, "setuptools", "dynamic").get("version")
    attribute = said.get("attr") if isinstance(said, dict) else None
    found: list[tuple[Path, tuple[str, ...]]] = []
    for backend in (_table(tool, "hatch", "version"), _table(tool, "pdm", "version")):
        if isinstance(backend.get("path"), str) and not {"pattern", "expression"} & {*backend}:
            found.append((project / backend["path"], ("__version__", "VERSION")))
    if isinstance(attribute, str):
        module, _, name = attribute.rpartition(".")
        path = module.replace(".", "/")
        found += [(file, (name,)) for file in files if f"/{file.as_posix()}".endswith((f"/{path}.py", f"/{path}/__init__.py"))]
    if str(_table(content, "build-system").get("build-backend", "")).startswith("flit"):
        found += [(file, ("__version__",)) for file in files[:1]]
    for file, names in found:
        with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.parse(file.read_bytes()).body:
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    if any(isinstance(target, ast.Name) and target.id in names for target in targets):
                        return _valid(node.value.value)
    return ""


def _valid(version: object) -> str:
    """A version as an index has it; empty for what is none."""
    try:
        return str(Version(version)) if isinstance(version, str) else ""
    except InvalidVersion:
        return ""


def published(name: str) -> str:
    """Return the version of a package whose wheel `make publish` made or used last, here; empty when there is none."""
    found: list[tuple[float, str]] = []
    for wheel in CACHE.glob("*/*.whl"):
        with contextlib.suppress(InvalidWheelFilename, OSError):
            named, version = parse_wheel_filename(wheel.name)[:2]
            if named == canonicalize_name(name):
                found.append((wheel.parent.stat().st_mtime, str(version)))
    return max(found, default=(0, ""))[1]


def _table(content: Any, *keys: str) -> dict[str, Any]:
    """A table in TOML; empty where there is none, or something else."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _modules(name: str) -> list[str]:
    """How the module of a project may be called that says nothing else: build backends do not agree about dots and capitals, and some are in a namespace."""
    modules = [re.sub(r"[-.]+", "_", name), name.replace("-", "_").replace(".", "/"), re.sub(r"[-.]+", "/", name)]
    return list(dict.fromkeys(spelled for module in modules for spelled in (module, module.lower())))


Place = tuple[tuple[str, ...], Path]
"""A module, by the parts of its name, and its folder, or its file without ``.py``."""


def _places(above: Path, paths: Iterable[Path]) -> list[Place]:
    """Modules that are called as they lie in the folder that they are imported from."""
    return [(path.relative_to(above).parts, path) for path in paths if path.is_relative_to(above)]


def _named(project: Path, content: dict[str, Any]) -> Iterator[Place]:
    """The modules that the settings of a build backend name."""
    dotted: list[tuple[str, list[Path]]] = []
    usual = [project / "src", project]
    flit, setuptools, uv = _table(content, "tool", "flit", "module"), _table(content, "tool", "setuptools"), _table(content, "tool", "uv", "build-backend")
    dotted += [(module, usual) for module in (*_texts(flit.get("name")), *_texts(_table(content, "tool", "flit", "metadata").get("module")))]
    folders = {key: project / where for key, where in _table(setuptools, "package-dir").items() if isinstance(where, str)}
    above = [folders[""]] if "" in folders else usual
    dotted += [(module, above) for key in ("packages", "py-modules") for module in _texts(setuptools.get(key)) if module not in folders]
    dotted += [(module, [project / where]) for where in _texts(uv.get("module-root", "src")) for module in _texts(uv.get("module-name"))]
    for module, places in dotted:
        for place in places:
            yield from _places(place, [place / module.replace(".", "/")])
    yield from ((tuple(key.split(".")), folder) for key, folder in folders.items() if key and folder != project)
    for where in _texts(_table(setuptools, "packages", "find").get("where")):
        yield from _places(project / where, _packages(project / where))
    for path in _texts(_table(content, "tool", "hatch", "build", "targets", "wheel").get("packages")):
        yield from _places((project / path).parent, [project / path])
    yield from _moved(project, content, "sources")
    poetry = _table(content, "tool", "poetry").get("packages")
    for entry in poetry if isinstance(poetry, list) else []:
        for include in _texts(entry.get("include")) if isinstance(entry, dict) else []:
            root = project / next(iter(_texts(entry.get("from"))), "")
            yield from _places(root, [root / include.partition("*")[0].removesuffix(".py")])


def _hatch(content: dict[str, Any], key: str) -> dict[str, str]:
    """What hatch puts elsewhere: paths of the project and those in the wheel, which are empty where only the folder above is left out."""
    found: dict[str, Any] = {}
    for table in (_table(content, "tool", "hatch", "build"), _table(content, "tool", "hatch", "build", "targets", "wheel")):
        found |= _table(table, key) or dict.fromkeys(_texts(table.get(key)), "")
    return {source: target.strip("/") for source, target in found.items() if isinstance(target, str)}


def _moved(project: Path, content: dict[str, Any], key: str) -> list[Place]:
    """The modules that hatch puts under another name into a wheel."""
    found = [(target.removesuffix(".py"), project / source.removesuffix(".py")) for source, target in _hatch(content, key).items()]
    return [(Path(target).parts, path) for target, path in found if target and path != project]


def _roots(project: Path, content: dict[str, Any]) -> list[Path]:
    """The folders that packages are imported from, where the settings of a build backend name other ones than the usual."""
    backends = (_table(content, "tool", "setuptools", "package-dir"), ""), (_table(content, "tool", "maturin"), "python-source")
    found = [where for table, key in (*backends, (_table(content, "tool", "pdm", "build"), "package-dir")) for where in _texts(table.get(key))]
    found += [source for source, target in _hatch(content, "sources").items() if not target]
    return [project / where for where in found if project / where != project]


def _discovered(project: Path, roots: list[Path]) -> list[Place]:
    """All of a folder that is named for packages; else those that setuptools finds by itself: all of src/, or the one that there is beside pyproject.toml."""
    for root in (*roots, project / "src"):
        if inside := [*_packages(root), *(file.with_suffix("") for file in sorted(root.glob("*.py")) if root in roots)]:
            return _places(root, inside)
    others = ("tests", "test", "docs", "examples", "scripts", "tools", "benchmarks", "build", "dist", "venv")
    beside = [path for path in _packages(project) if path.relative_to(project).parts[0] not in others]
    return _places(project, beside) if len({path.relative_to(project).parts[0] for path in beside}) == 1 else []


def _packages(folder: Path, deep: int = 2) -> list[Path]:
    """The packages of a folder; below a folder without ``__init__.py`` there may be some, too, for it may be a namespace."""
    found: list[Path] = []
    for path in sorted(folder.glob("*")):
        if (path / "__init__.py").is_file():
            found.append(path)
        elif deep and path.name.isidentifier():
            found += _packages(path, deep - 1)
    return found


def _files(module: tuple[str, ...], path: Path, bare: bool) -> list[Place]:
    """The Python files of a module, each with its own name; a folder that somebody named may be one without ``__init__.py``."""
    if path.is_dir() and (bare or (path / "__init__.py").is_file()):
        return [((*module, *file.relative_to(path).with_suffix("").parts), file) for file in sorted(path.rglob("*.py"))]
    file = path.with_name(f"{path.name}.py")
    return [(module, file)] if file.is_file() else []


def _wheel(wheel: Path) -> Package:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
                about = HeaderParser().parsestr(archive.read(next(name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))).decode())
                archive.extractall(folder, [name for name in names if name.endswith(".py") and not re.match(r"[^/]+\.(dist-info|data)/", name)])
        except StopIteration:
            raise Problem(f"PROJECT names {wheel}, which has no METADATA and so is no wheel; build it anew, or name the project's folder.") from None
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
            raise Problem(f"PROJECT names {wheel}, which cannot be read as a wheel ({error}).") from None
        if not about["Name"] or not about["Version"]:
            raise Problem(f"PROJECT names {wheel}, whose METADATA says no name or no version; build it anew, or name the project's folder.")
        files = _files((), folder, bare=True)
        if not files:
            raise Problem(f"PROJECT names {wheel}, which has no Python file; name the wheel of your package, or its project's folder.")
        try:
            python = _newer(about["Requires-Python"])
            extras = _needed_extras(about.get_all("Provides-Extra", []))
            return Package(about["Name"], about["Version"], *_read(files, folder, python), extras=extras, python=python)
        except Problem as problem:
            raise Problem(str(problem).replace(str(folder), str(wheel))) from None


def _read(files: Iterable[Place], project: Path, python: str) -> tuple[str, list[Function], list[str]]:
    """The first module of some files, each with the parts of its name, their public functions, and what of them cannot be read.

    Raises:
        Problem: None of them is Python, and no newer one than this is asked for, which may read them.
    """
    modules = {file: [part for part in module if part != "__init__"] for module, file in files}
    public = {file: parts for file, parts in modules.items() if "tests" not in parts and CALL.fullmatch(f"{'.'.join(parts)}:f")}
    if not public:
        raise Problem(f"PROJECT names {project}, whose modules have names that no experiment file can call; allowed are ASCII letters, digits and _.")
    shown = [(file, parts) for file, parts in public.items() if not any(part.startswith("_") for part in parts)]
    private = {tuple(parts): file for file, parts in public.items() if any(part.startswith("_") for part in parts)}
    found: dict[str, Function] = {}
    unread: dict[Path, str] = {}
    named = [node for file in public for node in _statements(_parsed(file, {})) if isinstance(node, ast.ClassDef)]
    often = Counter(node.name for node in named)
    classes = {node.name: node for node in named if often[node.name] == 1}
    for file, parts in shown:
        for function in _functions(file, parts, private, classes, unread):
            found.setdefault(function.call, function)
    sentences = [f"{file.relative_to(project) if file.is_relative_to(project) else file}{words}" for file, words in unread.items()]
    if unread and not python and all(file in unread for file, _parts in shown):
        advice = "Mend it, or let its requires-python name the newer Python that it is for; nothing was written meanwhile"
        raise Problem(f"PROJECT names {project}, of which no file can be read: {'; '.join(sentences)}. {advice}.")
    return next(iter(public.values()))[0], _configured(found.values()), sentences


def _configured(functions: Iterable[Function]) -> list[Function]:
    """Functions with the fields of a configuration in the place of an argument that is said to be one, for a file gives it as a mapping."""
    all_of_them = [*functions]
    often = Counter(function.name for function in all_of_them)
    fields = {function.name: function.arguments for function in all_of_them if function.configures and often[function.name] == 1}

    def given(function: Function, name: str, value: object) -> object:
        said = re.sub(r"^Optional\[(.*)\]$|\s*\|\s*None$", r"\1", function.types.get(name, "")).rpartition(".")[2]
        return fields[said] if value == NEEDED and said in fields else value

    return [replace(function, arguments={name: given(function, name, value) for name, value in function.arguments.items()}) for function in all_of_them]


def _functions(
    file: Path, module: list[str], private: dict[tuple[str, ...], Path], classes: dict[str, ast.ClassDef], unread: dict[Path, str]
) -> Iterator[Function]:
    """The functions and classes of a module, and those that a package takes from a private module and so gives as its own; what cannot be read is noted."""
    for node in _statements(_parsed(file, unread)):
        if isinstance(node, ast.ImportFrom) and file.name == "__init__.py":
            above = module[: len(module) + 1 - node.level] if node.level else []
            source = private.get((*above, *(node.module or "").split(".")))
            names = {alias.name: alias.asname or alias.name for alias in node.names}
            for inner in _statements(_parsed(source, unread)) if source else []:
                if name := names.get(_name(inner), _name(inner) if "*" in names else ""):
                    yield from _callable(inner, module, name, classes)
        else:
            yield from _callable(node, module, _name(node), classes)


def _parsed(file: Path, unread: dict[Path, str]) -> list[ast.stmt]:
    """What a file says; nothing, and a note, where it is no Python, or one that is newer than this."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of somebody else's text
            return ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
        words = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        unread[file] = f"{line} cannot be read as Python {'.'.join(map(str, sys.version_info[:2]))} ({words})"
        return []


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """What a module does when it is imported, in the branches of ``if`` and ``try``, too."""
    for node in body:
        if isinstance(node, ast.Try):
            yield from _statements([*node.body, *(inner for handler in node.handlers for inner in handler.body), *node.orelse, *node.finalbody])
        elif isinstance(node, ast.If):
            unseen = ast.unparse(node.test).endswith("TYPE_CHECKING") or "__main__" in ast.unparse(node.test)
            yield from _statements(node.orelse if unseen else [*node.body, *node.orelse])
        else:
            yield node


def _name(node: ast.stmt) -> str:
    return node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else ""


def _lineage(node: ast.ClassDef, classes: dict[str, ast.ClassDef], deep: int = 9) -> Iterator[ast.ClassDef]:
    """A class and those of the package that it is derived from; one whose name is there twice is not looked for."""
    yield node
    for base in node.bases:
        parent = classes.get(ast.unparse(base).partition("[")[0].rpartition(".")[2])
        if parent and deep:
            yield from _lineage(parent, classes, deep - 1)


def _callable(node: ast.stmt, module: list[str], name: str, classes: dict[str, ast.ClassDef]) -> Iterator[Function]:
    """A function or a class, under the name that a module gives it; nothing when no experiment file can call it."""
    call, makes = f"{'.'.join(module)}:{name}", ""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or name.startswith("_") or not CALL.fullmatch(call):
        return
    if any(re.match(r"(click\.)?group\b", ast.unparse(decorator)) for decorator in node.decorator_list):  # which does nothing but to call its commands
        return
    doc = "".join(filter(str.isprintable, (ast.get_docstring(node) or "").partition("\n")[0]))
    if isinstance(node, ast.ClassDef):
        lineage = [*_lineage(node, classes)]
        methods = {inner.name: inner for one in reversed(lineage) for inner in one.body if isinstance(inner, ast.FunctionDef)}
        bases = [ast.unparse(base).partition("[")[0] for one in lineage for base in one.bases]
        own = bases[: len(node.bases)]  # what is derived from a Protocol of the package is no Protocol
        if any(map(NO_STEP.fullmatch, [*own, *(base for base in bases if not base.endswith("Protocol"))])):
            return
        derived = any(map(ESTIMATOR.fullmatch, bases)) and "transform" not in methods
        makes = "estimator" if derived or {"fit", "predict"} <= {*methods} else "object"
        if "__init__" not in methods:
            fields = {name: value for one in reversed(lineage) for name, value in _fields(one, bases)}
            yield Function(call, fields, doc, makes=makes, configures=bool(fields))
            return
        node = copy.deepcopy(methods["__init__"])
        del (node.args.posonlyargs or node.args.args)[:1]  # self
    yields = _yields(node)
    options = _options(node)
    if options is not None:
        yield Function(call, options, doc, logs=_logged(node))
        return
    by_place = node.args.posonlyargs and len(node.args.defaults) < len(node.args.posonlyargs) + len(node.args.args)
    if by_place or (yields and isinstance(node, ast.AsyncFunctionDef)):  # which no experiment file can call
        return
    logs = None if makes or yields else _logged(node)
    yield Function(call, dict(_arguments(node)), doc, yields, makes, logs, _types(node), parts=_parts(node), gives=_gives(node))


def _types(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """The types that are written for arguments, and for the result."""
    found = {argument.arg: argument.annotation for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)} | {"return": node.returns}
    return {name: ast.unparse(said).strip("'\"") for name, said in found.items() if said}


def _parts(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many things a function gives as a tuple, by what it says, or else by what it returns; 0 for one thing, and -1 where that is not plain."""
    said = node.returns
    if isinstance(said, ast.Constant) and isinstance(said.value, str):  # in quotes
        with contextlib.suppress(SyntaxError, ValueError):
            said = ast.parse(said.value, mode="eval").body
    if said and ast.unparse(said).rpartition(".")[2] in ("Any", "object"):
        said = None
    if isinstance(said, ast.Subscript) and ast.unparse(said.value).lower().endswith("tuple"):
        parts = said.slice.elts if isinstance(said.slice, ast.Tuple) else [said.slice]
        return -1 if any(isinstance(part, ast.Constant) and part.value is ... for part in parts) else len(parts)
    if said and not ast.unparse(said).lower().endswith("tuple"):
        return 0
    lengths = {len(value.elts) if isinstance(value, ast.Tuple) else 0 for child in _inside(node) if isinstance(child, ast.Return) and (value := child.value)}
    return lengths.pop() if len(lengths) == 1 else -1 if lengths or said else 0


def _gives(node: ast.AST) -> list[str]:
    """The names under which a function returns a tuple, those of scikit-learn for its ``train_test_split``; nothing where there are none, or different ones."""
    found: list[list[str]] = []
    for value in (child.value for child in _inside(node) if isinstance(child, ast.Return) and child.value):
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("train_test_split"):
            found.append({1: ["train", "test"], 2: ["X_train", "X_test", "y_train", "y_test"]}.get(len(value.args), []))
        else:
            found.append([part.id for part in value.elts if isinstance(part, ast.Name)] if isinstance(value, ast.Tuple) else [])
            found[-1] = found[-1] if isinstance(value, ast.Tuple) and len(found[-1]) == len(value.elts) else []
    return found[0] if found and all(names == found[0] for names in found) else []


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, but not in those within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _inside(child)


def _yields(node: ast.AST) -> bool:
    return any(isinstance(child, ast.Yield | ast.YieldFrom) for child in _inside(node))


def _logged(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str] | None:
    """The names of the metrics that a function logs to MLflow, if it gives neither a result nor a model; None for another one."""
    returned = [child.value for child in _inside(node) if isinstance(child, ast.Return) and child.value]
    said = ast.unparse(node.returns) if node.returns else ""
    if said not in ("", "None") or (not said and not all(isinstance(value, ast.Constant) and value.value is None for value in returned)):
        return None
    calls = [(ast.unparse(child.func), child) for child in _inside(node) if isinstance(child, ast.Call)]
    logging = [call for name, call in calls if re.fullmatch(r"(mlflow\.)?log_metrics?", name)]
    if not logging or any(re.fullmatch(r"(.*\.)?(log_model|save_model|autolog)", name) for name, _call in calls):
        return None
    named = [value for call in logging for value in (*call.args[:1], *(part.value for part in call.keywords if part.arg in ("key", "metrics")))]
    keys = [key for value in named for key in (value.keys if isinstance(value, ast.Dict) else [value])]
    return list(dict.fromkeys(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)))


def _options(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, object] | None:
    """The arguments of a command of click, by its decorators, with what a file gives them; None for a plain function."""
    found: dict[str, object] = {}
    command = False
    for decorator in node.decorator_list:
        kind = re.fullmatch(r"(?:(.*)\.)?(command|option|argument)", ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator))
        command |= bool(kind and (kind[1] == "click" or kind[2] != "command"))  # typer has a decorator command, too, which leaves the function as it is
        if not kind or kind[2] == "command" or not isinstance(decorator, ast.Call):
            continue
        words = [part.value for part in decorator.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        said = {part.arg: part.value for part in decorator.keywords}
        flags = sorted((word for word in words if word.startswith("-")), key=lambda word: word[:2] == "--")
        name = next((word for word in words if word.isidentifier()), flags[-1].lstrip("-") if flags else "").replace("-", "_").lower()
        needed = ast.unparse(said["required"]) == "True" if "required" in said else kind[2] == "argument" and "default" not in said
        several = {"multiple", "is_flag", "nargs", "count", "flag_value"} & {*said} or any("/" in word for word in words)
        if name and needed:
            found[name] = OURS.get(name, NEEDED)
        elif name and "default" in said and not several:
            found |= {name: value for name, value in _argument(name, said["default"]) if value is not None}
    return found if command else None


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, object]]:
    """The arguments that can be given by name: what the lab gives, what has to be given, and each default that a file can hold as it is."""
    named = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(named) - len(node.args.defaults)) + list(node.args.defaults)
    by_name = [*zip(named, defaults, strict=True)][len(node.args.posonlyargs) :]
    for argument, default in [*by_name, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]:
        yield from _argument(argument.arg, default)


def _fields(node: ast.ClassDef, bases: Iterable[str]) -> Iterator[tuple[str, object]]:
    """The arguments of a dataclass, or of a class of attrs or pydantic, as those of a function; none of another class without ``__init__``."""
    decorated = any(re.fullmatch(r"(.*\.)?(dataclass|define|frozen|mutable)(\(.*\))?", ast.unparse(decorator)) for decorator in node.decorator_list)
    if not decorated and not any(base.rpartition(".")[2] == "BaseModel" for base in bases):
        return
    for inner in node.body:
        if not isinstance(inner, ast.AnnAssign) or not isinstance(inner.target, ast.Name) or re.search("ClassVar|KW_ONLY", ast.unparse(inner.annotation)):
            continue
        default = inner.value
        if isinstance(default, ast.Call) and re.fullmatch(r"(.*\.)?[Ff]ield", ast.unparse(default.func)):
            said = {part.arg: part.value for part in default.keywords}
            if "init" in said and ast.unparse(said["init"]) == "False":
                continue
            default = said.get("default", next(iter(default.args), said.get("default_factory", said.get("factory"))))
            default = None if isinstance(default, ast.Constant) and default.value is ... else default
        yield from _argument(inner.target.id, default)


def _argument(name: str, default: ast.expr | None) -> Iterator[tuple[str, object]]:
    """An argument with what a file gives it; nothing where its own default holds."""
    if isinstance(default, ast.Call) and re.fullmatch(r"(.*\.)?(Option|Argument)", ast.unparse(default.func)):
        # typer reads the default in it, but who calls the function without typer would give it the whole of it
        inside = next(iter(default.args), next((part.value for part in default.keywords if part.arg == "default"), None))
        found = [*_argument(name, inside)] if inside and ast.unparse(inside) != "..." else []
        yield from found or [(name, NEEDED)]
        return
    if default is None or name in OURS:
        yield name, OURS.get(name, NEEDED)
        return
    with contextlib.suppress(ValueError, TypeError, RecursionError, MemoryError):  # a constant of the module, say, which need not be given
        value = ast.literal_eval(default)
        if _is_plain(value):
            yield name, value


def _is_plain(value: object) -> bool:
    """Whether a file gives this value as it is: a tuple would come back as a list, and braces may be a reference."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(name) and _is_plain(item) for name, item in value.items())
    if isinstance(value, str) and ("{{" in value or "}}" in value or not value.isprintable()):
        return False
    return isinstance(value, str | bool | int | float | None) and storable.unstorable(value) is None


def _rank(kind: str, function: Function) -> int | None:
    """How well a function fits a kind by its name: 0 is best; None when it does not."""
    name = function.name
    if not KINDS[kind].match(name) or function.yields or function.makes:
        return None
    if kind == "estimator":
        return 0
    bare = _bare(name)
    called_data = bool(DATA.fullmatch(bare))
    if (NEITHER.fullmatch(bare) and not (called_data and kind == "data")) or SPLITS.fullmatch(name):
        return None
    if kind == "data":
        said = function.types.get("return", "").rpartition(".")[2]
        if said in NO_TABLE - {"dict", "list", "tuple", "object", "Any"} or (
            not called_data and (NO_DATA.fullmatch(bare) or (re.match("(get|make)_", name) and not said))
        ):
            return None
        return 0 if called_data else 1 if "_" not in name else 2
    if called_data:  # train_data, validate_df
        return None
    return 0 if name in EXACT else 2 if PART_OF_TRAINING.fullmatch(name) else 1


def _bare(name: str) -> str:
    """A name up to a word like ``from``: load_data_from_path loads data."""
    return re.split(r"_(?:from|by|for|with|of|in|to|as|at|using|and)_", name)[0]


def _best(kind: str, functions: list[Function]) -> list[Function]:
    """The functions that may be of a kind, the likeliest first: names that say it exactly, then shorter ones, then as they stand in the package."""
    ranked = [(rank, function.name not in EXACT, function.name.count("_"), function) for function in functions if (rank := _rank(kind, function)) is not None]
    return [function for *_rank_of, function in sorted(ranked, key=lambda one: one[:3])]


def sorted_out(functions: list[Function]) -> dict[str, Function]:
    """Return the functions by what they are likely for."""
    found: dict[str, Function] = {}
    for kind in ("estimator", "train", "evaluate", "data"):
        if best := [function for function in _best(kind, functions) if function not in found.values()]:
            found[kind] = best[0]
    classes = (function for function in functions if function.makes == "estimator")
    return found if "estimator" in found or not (made := next(classes, None)) else {**found, "estimator": made}


def _filled_by_data(function: Function, functions: list[Function]) -> tuple[dict[str, object], Function | None]:
    """The arguments of a function, filled with what the one function gives that loads data, and that one; None where it is not plain what goes where."""
    missing = [name for name, value in function.arguments.items() if value == NEEDED]
    sources = _best("data", functions)
    # load_data, or else load_customers where customers are asked for
    loads = [other for other in sources if _rank("data", other) == 0] or [other for other in sources if any(_names(other, name) for name in missing)]
    if not loads and not {"save", "dump"} & {other.name for other in functions}:  # load and save are often a model's
        loads = [other for other in sources if other.name in ("load", "read")]
    if len(loads) != 1 or loads[0].parts not in (0, 2):
        return function.arguments, None
    step = f"steps.{loads[0].name.lower()}"
    gives = loads[0].types.get("return", "").rpartition(".")[2]

    def takes(name: str) -> bool:
        said = function.types.get(name, "").rpartition(".")[2]
        if said and gives and said != gives and "Any" not in (said, gives):
            return False
        return (bool(said) and said == gives and said not in NO_TABLE) or bool(TABLE.fullmatch(name)) or _names(loads[0], name)

    if loads[0].parts:
        places = [[name for name in missing if kind.fullmatch(name)] for kind in (X, Y)]
        given = {names[0]: f"{{{{ {step}.{part} }}}}" for part, names in enumerate(places) if len(names) == 1}
        wanted = 2
    else:
        given = {name: f"{{{{ {step} }}}}" for name in missing if takes(name)}
        wanted = 1
    return ({**function.arguments, **given}, loads[0]) if len(given) == wanted else (function.arguments, None)


def _parted(functions: list[Function]) -> tuple[list[Function], dict[str, str]]:
    """The one function that loads data and the one that parts them, as steps, and the name of each part -> its reference; nothing where that is not plain."""
    splits = [function for function in functions if PARTS.fullmatch(function.name) and not function.makes and not function.yields]
    if len(splits) != 1:
        return [], {}
    arguments, data = _filled_by_data(splits[0], functions)
    if data is None or NEEDED in arguments.values() or data.name.lower() == splits[0].name.lower():
        return [], {}
    said = splits[0].types.get("return", "").rpartition(".")[2]
    fields = next((function.arguments for function in functions if function.configures and function.name == said), None)
    parts = {name: name for name in fields} if fields else {name: str(place) for place, name in enumerate(splits[0].gives)}
    if not any("train" in name.lower() for name in parts):  # features and target, say
        parts = {}
    step = f"steps.{splits[0].name.lower()}"
    return [data, replace(splits[0], arguments=arguments)] if parts else [], {name: f"{{{{ {step}.{part} }}}}" for name, part in parts.items()}


def _filled_by_parts(function: Function, parts: dict[str, str], part: str) -> dict[str, object]:
    """The arguments of a function, filled with the parts of a table that they are called after, one that is called after none with the given part.

    Nothing where something stays open.
    """
    what = re.compile(r"_?(df|data|table|dataset|frame|set)$")
    known = {what.sub("", name.lower()): reference for name, reference in parts.items()} | {name.lower(): reference for name, reference in parts.items()}

    def given(name: str) -> object:
        bare = what.sub("", name.lower())
        keys = [name.lower(), bare, f"{bare}_{part}", f"{part}_{bare}", *([part] if bare in ("", "holdout") else [])]
        found = [known[key] for key in keys if key in known]
        return "{{ model }}" if name == "model" and part == "test" else found[0] if found else NEEDED

    filled = {name: given(name) if value == NEEDED else value for name, value in function.arguments.items()}
    return {} if NEEDED in filled.values() else filled


def _is_one_table(data: Function, train: Function | None = None) -> bool:
    """Whether what loads data gives no X and y, as far as is known, so that only the training can tell its target.

    What says nothing of its result and returns no tuple may still give two things, as scikit-learn's loaders do; the training that asks for X and y knows,
    and without a training it is taken for two.
    """
    missing = [name for name, value in train.arguments.items() if value == NEEDED] if train else []
    asks_for_two = not train or all(any(map(kind.fullmatch, missing)) for kind in (X, Y))
    if data.parts:
        return data.parts not in (-1, 2, 3)
    return data.types.get("return", "").rpartition(".")[2] not in ("", "Any", "object") or not asks_for_two


def _names(source: Function, argument: str) -> bool:
    """Whether a function is called after an argument that takes what it gives."""
    return source.name.lower().endswith(f"_{argument.lower()}")


def _schema() -> str:
    """Where an editor finds the schema, from the folder of the experiments: beside them in a lab's own folder, else in the checkout."""
    here = LAB / "experiments"
    return ".schema.json" if (here / ".schema.json").is_file() else os.path.relpath(SCHEMA, os.path.realpath(here))


def experiment(name: str, package: Package) -> str:
    """Return the text of an experiment file."""
    functions, known = package.functions, sorted_out(package.functions)
    lines = [
        f"# yaml-language-server: $schema={_schema()}",
        "---",
        f"# Drafted from the package {package.name}. `make run EXPERIMENT={name}{TYPED}` locks its environment, says what is wrong, and runs.",
        "# dags/README.md explains every key.",
        *(f"# Left out: {''.join(filter(str.isprintable, sentence))}. Its functions can be named here all the same." for sentence in package.unread),
        f"description: What {name} predicts, and from what",
        f"environment: {_value(name)}",
        "",
    ]
    deploy = [
        "# deploy: {target: endpoint} # puts every new version in service. It needs train.input_example, a reference to a table whose first rows",
        '#   show what the model is given, such as input_example: "{{ steps.<name> }}" with a step that makes the table',
    ]
    others = [function for function in functions if function not in known.values() and not KINDS["data"].match(function.name)]
    others = [function for function in others if not NEITHER.fullmatch(_bare(function.name)) and not SPLITS.fullmatch(function.name)]
    others.sort(key=lambda function: function.name not in ("main", "run"))
    logs = known.get("train") or next((function for function in others if function.logs is not None and not function.name.startswith("log")), None)
    if "estimator" in known and "data" in known and not ("train" in known and _is_one_table(known["data"], known["train"])):
        if ranges := _ranges(known["estimator"]):
            lines += ["search:", "  objective: cross_validation", "  space: # around the defaults of the function; change the bounds"]
            lines += [f"    {key}: {found}" for key, found in ranges.items()]
            lines += ["  trials: 10", ""]
        arguments = {**known["estimator"].arguments, **{key: f"{{{{ params.{key} }}}}" for key in ranges}}
        if _is_one_table(known["data"]):
            lines += [f"# {known['data'].name} gives one table, and (X, y) is wanted of cross_validation.data: name a function here that returns"]
            lines += ["# table.drop(columns=[target]), table[target]"]
        lines += ["cross_validation:", f"  estimator: {_call(known['estimator'], arguments)}", f"  data: {_call(known['data'])}"]
        lines += ["  splitter: {name: auto, folds: 5}", "", "train: {} # the best estimator, fitted on all of cross_validation.data", ""]
        used = [known["estimator"], known["data"]]
        deploy = ["deploy: {target: endpoint} # puts every new version in service"]
    elif logs and logs.logs is not None:
        arguments, data = _filled_by_data(logs, functions)
        used = [logs, *([data] if data else [])]
        steps_of_logs = _of_logs(replace(logs, arguments=arguments))
        lines += ["# The function gives no model, but logs to MLflow: so there is neither train nor register, which need one."]
        lines += [
            *_steps(*([data] if data else [])),
            *(steps_of_logs[1:] if data and steps_of_logs[0] == "steps:" else [*([""] if data else []), *steps_of_logs]),
            "",
        ]
    elif "train" in known:
        train, (steps, parts) = known["train"], _parted(functions)
        if NEEDED not in train.arguments.values() or not (arguments := _filled_by_parts(train, parts, "train")):
            arguments, data = _filled_by_data(train, functions)
            steps, parts = [data] if data else [], {}
        used = [train, *steps]
        lines += [*_steps(*steps), *([""] if steps else [])]
        objective = next((function for function in functions if function.name == "objective" and not function.makes), None)
        tried = _filled_by_parts(objective, parts, "train") if objective else {}
        ranges = {key: found for key, found in (_ranges(objective) if objective else {}).items() if key in arguments}  # of what the training takes, too
        if objective and tried and ranges:
            used.append(objective)
            arguments = {key: f"{{{{ params.{key} }}}}" if key in ranges else value for key, value in arguments.items()}
            lines += [*_search(replace(objective, arguments=tried), ranges), ""]
        lines += ["train:", f"  call: {train.call}", f"  with: {_value(arguments)}"]
        if "evaluate" in known:
            used.append(known["evaluate"])
            judged = _filled_by_parts(known["evaluate"], parts, "test")
            judged = judged or {key: "{{ model }}" if key == "model" else value for key, value in known["evaluate"].arguments.items()}
            lines += ["  evaluate:", f"    call: {known['evaluate'].call}", f"    with: {_value(judged)}"]
            if "search:" not in lines and (open_ones := _ranges(train)):
                lines += ["", "# A search, each trial a training and its evaluation: take the marks away, name a metric that the evaluation returns, and write"]
                lines += ["# '{{ params.<name> }}' into train.with.", "# search:", f"#   objective: {{metric: {_value(NEEDED)}}}", "#   space:"]
                lines += [f"#     {key}: {found}" for key, found in open_ones.items()]
        lines.append("")
    else:
        used = [function for function in others if not function.yields and not function.makes][:1]
        call = _call(used[0]) if used else f'{{call: "{package.module}:train", with: {{}}}}'
        lines += ["# No function looks like one that trains: name yours here.", f"train: {call}", ""]
    if not any(function.logs is not None for function in used):
        lines += [f"register: {_value({'name': name})}", *deploy, ""]
    results = {function.types.get("return", "").rpartition(".")[2] for function in functions}  # what a function gives is no step
    called = {function.call for function in used}
    if rest := [function for function in functions if function.call not in called and not (function.configures and function.name in results)]:
        lines += ["# What else the package has, which may be steps:", *([] if "steps:" in lines else ["# steps:"])]
        names = {function.name.lower() for function in used if "steps:" in lines}
        for function in rest:
            step = function.name.lower() if function.name.lower() not in names else re.sub(r"[.:]", "_", function.call.lower())
            names.add(step)
            line = f"#   - {{name: {_value(step)}, call: '{function.call}', with: {_value(function.arguments)}}}"
            lines.append(f"{line} # {function.doc}" if function.doc else line)
    return "\n".join(lines).rstrip("\n") + "\n"


def _steps(*functions: Function) -> list[str]:
    """Functions as steps, such as those that load data and part them."""
    steps = [f"  - {{name: {_value(function.name.lower())}, call: '{function.call}', with: {_value(function.arguments)}}}" for function in functions]
    return ["steps:", *steps] if steps else []


def _search(function: Function, ranges: dict[str, str], metric: str = "") -> list[str]:
    """A search around the defaults of a function, for its result or for a metric of it."""
    direction = ["minimize", "maximize"] if re.search(r"loss|err|mae|mse", metric, re.IGNORECASE) else ["maximize", "minimize"]
    return [
        "search:",
        f"  objective: {_call(function, {**function.arguments, **{key: f'{{{{ params.{key} }}}}' for key in ranges}}, metric)}",
        "  space: # around the defaults of the function; change the bounds",
        *(f"    {key}: {found}" for key, found in ranges.items()),
        f"  direction: {direction[0]} # or {direction[1]}",
        "  trials: 10",
    ]


def _of_logs(function: Function) -> list[str]:
    """The search for what a function logs best; a step when it has no argument that a search could try."""
    ranges = _ranges(function)
    if not ranges:
        return _steps(function)
    return _search(function, ranges, next(iter(function.logs or []), NEEDED))


def _ranges(function: Function) -> dict[str, str]:
    return {key: found for key, value in function.arguments.items() if (found := _range(key, value))}


def _range(name: str, value: object) -> str:
    """The values to try around a default; empty where that says nothing of them: 0, -1 and the like mean something of their own."""
    if type(value) not in (int, float) or not isinstance(value, int | float) or value <= 0 or PLAIN.fullmatch(name) or not name.isascii():
        return ""
    if isinstance(value, int):
        return f"{{type: int, low: {max(1, value // 2)}, high: {value * 4}}}" if value * 4 <= storable.EXACT else ""
    low, high = f"{value / 10:g}", f"{min(1.0, value * 10) if value <= 1 else value * 10:g}"  # up to 1 it is often a share
    return f"{{type: float, low: {low}, high: {high}, log: true}}" if 0 < float(low) < float(high) < math.inf else ""


def _call(function: Function, arguments: dict[str, object] | None = None, metric: str = "") -> str:
    more = f", metric: {_value(metric)}" if metric else ""
    return f'{{call: "{function.call}", with: {_value(function.arguments if arguments is None else arguments)}{more}}}'


class _Dumper(yaml.SafeDumper):
    """Writes values in one line, so that YAML 1.1 and 1.2 read the same in them."""

    def text(self, value: str) -> yaml.ScalarNode:
        """A text; in quotes where it may be taken for a number, as ``1e5`` and ``007``."""
        return self.represent_scalar("tag:yaml.org,2002:str", value, style="'" if value[:1] in [*"+-.0123456789"] else None)

    def ignore_aliases(self, data: Any) -> bool:
        """Write what is there twice twice."""
        return True


_Dumper.add_representer(str, _Dumper.text)


def _value(value: object) -> str:
    shown = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return shown.strip()[1:-1]


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
    parser.add_argument("name", nargs="?", default="", help="letters, digits, - and _; of a new project small letters")
    parser.add_argument("project", nargs="?", type=Path, help="folder of the project, or a wheel; of a new one ../<name> unless named")
    asked = parser.parse_args()
    try:
        if not asked.name or (asked.project is None and re.search(r"[/\\]|\.whl$|^\.+$", asked.name)):  # a path is what PROJECT has
            raise Problem(f"NAME is missing; write it, as in make {asked.what} NAME=churn PROJECT={asked.name or '../churn'}.")
        allowed = (
            "letters, digits, - and _, the first a letter or digit" if asked.what == "experiment" else "small letters, digits, - and _, the first a letter"
        )
        if not re.fullmatch(document.NAME, asked.name) or (asked.what == "project" and (not NAME.fullmatch(asked.name) or len(asked.name) > 60)):
            raise Problem(f"NAME has {asked.name!r}; write {allowed}, as in {_allowed(asked.name)}.")
        if asked.name == "project":
            raise Problem("NAME has 'project', which is the environment in the lab's image; write another one, as in churn.")
        if asked.what == "project":
            module = asked.name.replace("-", "_")
            if keyword.iskeyword(module) or module in sys.stdlib_module_names:  # neither can be imported as a package of one's own
                raise Problem(f"NAME has {asked.name!r}, which is a word or a module of Python itself; write another one, as in {asked.name}-model.")
            folder = asked.project or ROOT.parent / asked.name
            values = {"name": asked.name, "module": module, "folder": shlex.quote(os.path.relpath(folder, ROOT)), "lab": TYPED}
            write({folder / _filled(path, values): _filled(text, values) for path, text in PROJECT.items()})
            return 0
        if asked.project is None:
            raise Problem(f"PROJECT is missing; write the folder of the package or its wheel, as in make experiment NAME={asked.name} PROJECT=../{asked.name}.")
        package = package_of(asked.project)
        version = package.version or published(package.name)
        pin = f"{package.name}=={version}" if version else package.name
        head = f"# What experiments/{asked.name}.yml needs. The lock beside it is made by `make run` and `make lab`; commit both.\n"
        file, text = LAB / "experiments" / f"{asked.name}.yml", experiment(asked.name, package)
        needs = LAB / "environments" / f"{asked.name}.in"
        if package.extras:
            head += f"# extras: {package.name}[{','.join(package.extras)}]{pin.removeprefix(package.name)} has all of them; write those that you need below.\n"
        write({file: text, needs: f"{head}{pin}\n"})
        for sentence in package.unread:
            print(f"Left out: {sentence}. The draft says so, too.")
        if package.unread and package.python:
            here = ".".join(map(str, sys.version_info[:2]))
            print(f"{package.name} is for Python {package.python}, and make has Python {here} here; the lab has its own. Name its functions in {file},")
            print(f"or remove it, {needs} and {ROOT / '.venv'}, and run the same again where python3 is Python {package.python}, which can read them.")
        if not version:
            publish = f"make publish PROJECT={shlex.quote(str(asked.project))}{TYPED}"
            print(f"No version of {package.name} is known here: run `{publish}`, and write {package.name}==<version>")
            print(f"as it is printed there into {needs}. Without it the first lock takes the newest release, and stays with it.")
        elif not package.version:
            print(f"{needs} asks for {pin}, which `make publish` built last.")
        if any(NEEDED in line for line in text.splitlines() if not line.startswith("#")):
            print(f"Put values in the place of '{NEEDED}' in {file}.")
        print(f"Next: make run EXPERIMENT={asked.name}{TYPED}, which locks the environment and checks the file before anything runs.")
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _allowed(name: str) -> str:
    """The nearest name that a project and an experiment may have."""
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("0123456789-")[:60].rstrip("-")
    return near if NAME.fullmatch(near) and near != "project" else "churn"


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(name|module|folder|lab)\}", lambda match: values[match[1]], text)


if __name__ == "__main__":
    sys.exit(main())
