"""The Python under ``dags/``: its modules import one another in one direction, and use other libraries by what those call public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

DAGS = ROOT / "dags"


def modules_of(folder: Path) -> dict[str, Path]:
    """Return every module below a folder that Python imports from, by its full name."""
    found = {path.relative_to(folder).with_suffix(""): path for path in sorted(folder.rglob("*.py"))}
    return {".".join(place.parent.parts if place.name == "__init__" else place.parts): path for place, path in found.items()}


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Give the known modules that a module imports, anywhere in it: also in functions and for annotations alone.

    To import a module of another package is to import that package first. A module's own packages are there already, so they do not count for it.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            members = [f"{source}.{alias.name}" for alias in node.names]
            own = source == package or package.startswith(f"{source}.")
            wanted = [member for member in members if member in known] if own else [source, *members]
        else:
            continue
        for whole in wanted:
            parts = whole.split(".")
            for end in range(1, len(parts) + 1):
                part = ".".join(parts[:end])
                if part in known and not f"{name}.".startswith(f"{part}."):
                    yield part


def circle(folder: Path) -> list[str]:
    """Return the modules of a circle, each imported by the one before it; none if there is no circle."""
    known = modules_of(folder)
    try:
        TopologicalSorter({name: set(imported(name, path, known)) for name, path in known.items()}).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert len(modules_of(DAGS)) > 30
    assert not circle(DAGS), " imports ".join(circle(DAGS))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("import p.b", "def f():\n    import p.a"),
        ("from p import b", "def f():\n    from p.a import x"),
        ("from p.b import y", "class C:\n    def f(self):\n        from p import a"),
        ("from . import b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import x"),
        ("from p.q import c", "import p.a"),  # p.q imports p.b
    ],
)
def test_a_circle_is_found_however_it_is_written(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "p/q").mkdir(parents=True)
    for name, source in {"__init__": "", "a": first, "b": second, "q/__init__": "from p import b", "q/c": ""}.items():
        (tmp_path / f"p/{name}.py").write_text(source)
    assert {"p.a", "p.b"} <= set(circle(tmp_path))
    (tmp_path / "p/b.py").write_text("import json\nfrom p.q import nothing\nfrom p import nothing" if "q" not in first else "")
    (tmp_path / "p/q/__init__.py").write_text("from p.q import c\nfrom p.q.c import x")
    assert not circle(tmp_path)


#: public for all their underscore, and one thing that an older MLflow has no setting for
TAKEN = {"_exit": "os", "_fields": "typing.NamedTuple", "_log_url": "mlflow"}


@pytest.mark.parametrize("module", modules_of(DAGS))
def test_a_module_takes_nothing_private_of_another_ones_object(module: str) -> None:
    """Of Optuna above all: what it calls private changes with any release."""
    nodes = ast.walk(ast.parse(modules_of(DAGS)[module].read_text(encoding="utf-8")))
    private = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")]
    others = [node for node in private if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")) and node.attr not in TAKEN]
    assert not [f"line {node.lineno}: {ast.unparse(node)}" for node in others]
