"""Every linter, once over the whole project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Run

pytestmark = pytest.mark.lint


def python_files(files: list[Path]) -> list[Path]:
    """Return the Python files as mypy should name them: plugins as parts of the collection."""
    return [Path("collections/ansible_collections/mlops/lab") / path if path.parts[0] == "plugins" else path for path in files if path.suffix == ".py"]


def shell_files(root: Path, files: list[Path]) -> list[Path]:
    """Return the shell scripts: by their name, or by the first line of a file without a suffix."""
    found = []
    for path in files:
        if path.suffix == ".sh":
            found.append(path)
        elif not path.suffix and (root / path).is_file():
            first = (root / path).open("rb").readline()
            if first.startswith(b"#!") and first.rstrip().endswith((b"sh", b"bash")):
                found.append(path)
    return found


def test_ansible_lint(tool: Run) -> None:
    done = tool(["ansible-lint", "--offline", "--strict", "--nocolor"])
    assert done.returncode == 0, done.stdout


def test_yamllint(tool: Run, own_files: list[Path]) -> None:
    found = [path for path in own_files if path.suffix in (".yml", ".yaml")]
    done = tool(["yamllint", "--strict", "--format", "parsable", *found])
    assert found and done.returncode == 0, done.stdout


def test_ruff_check(tool: Run) -> None:
    done = tool(["ruff", "check", "--output-format", "concise", "."])
    assert done.returncode == 0, done.stdout


def test_ruff_format(tool: Run) -> None:
    done = tool(["ruff", "format", "--diff", "."])
    assert done.returncode == 0, done.stdout


def test_mypy(tool: Run, root: Path, files: list[Path]) -> None:
    packages = ":".join(str(path) for path in root.glob("examples/*/src"))
    done = tool(["mypy", *python_files(files)], MYPYPATH=packages)
    assert done.returncode == 0, done.stdout


def test_shellcheck(tool: Run, root: Path, files: list[Path]) -> None:
    assert shutil.which("shellcheck"), "shellcheck is not installed: apt install shellcheck"
    done = tool(["shellcheck", "--external-sources", *shell_files(root, files)])
    assert done.returncode == 0, done.stdout


def test_changelog(tool: Run) -> None:
    done = tool(["antsibull-changelog", "lint"])
    assert done.returncode == 0, done.stdout
