"""When the Python environment of `make lab` is made, made again, added to, or left alone."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

UV = """#!/bin/sh
echo "$*" >>uv.log
case "$1 $2" in
"venv "*) mkdir -p .venv/bin && ln -s /bin/true .venv/bin/python ;;
"pip "*) [ ! -e interrupt ] ;;
esac
"""


class Checkout:
    """The script with two locks and a uv that only writes down what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "tools").mkdir()
        shutil.copy(ROOT / "tools/make_venv.sh", path / "tools")
        (path / "bin").mkdir()
        (path / "bin/uv").write_text(UV)
        (path / "bin/uv").chmod(stat.S_IRWXU)
        for lock in ("requirements.txt", "requirements-test.txt"):
            (path / lock).write_text(f"# {lock}\n")

    def make(self, lock: str = "requirements.txt") -> tuple[int, list[str]]:
        """Run the script; returns its exit code and the first words of what uv was told."""
        log = self.path / "uv.log"
        log.unlink(missing_ok=True)
        environment = {"PATH": f"{self.path / 'bin'}:/usr/bin:/bin"}
        done = subprocess.run(["tools/make_venv.sh", lock], cwd=self.path, env=environment, capture_output=True, check=False)
        return done.returncode, [line.split()[0] for line in log.read_text().splitlines() if line != "--version"] if log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout without an environment."""
    return Checkout(tmp_path)


def test_it_is_made_once(checkout: Checkout) -> None:
    assert checkout.make() == (0, ["venv", "pip"])
    assert checkout.make() == (0, [])


def test_test_requirements_are_added_to_it_and_both_stay(checkout: Checkout) -> None:
    checkout.make()
    assert checkout.make("requirements-test.txt") == (0, ["pip"])
    assert checkout.make() == (0, [])
    assert checkout.make("requirements-test.txt") == (0, [])


def test_a_new_lock_is_installed(checkout: Checkout) -> None:
    checkout.make()
    (checkout.path / "requirements.txt").write_text("# other versions\n")
    assert checkout.make() == (0, ["pip"])


def test_one_that_an_interruption_left_half_made_is_made_again(checkout: Checkout) -> None:
    (checkout.path / "interrupt").touch()
    assert checkout.make() == (1, ["venv", "pip"])
    (checkout.path / "interrupt").unlink()
    (checkout.path / ".venv/half").touch()
    assert checkout.make() == (0, ["venv", "pip"])
    assert not (checkout.path / ".venv/half").exists()


def test_one_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    checkout.make()
    (checkout.path / ".venv/bin/python").unlink()
    assert checkout.make() == (0, ["venv", "pip"])
