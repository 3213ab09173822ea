"""Every Molecule scenario, its output shown as it comes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT, environment

# The whole lab is in every run of CI; the one of three hosts wants an hour and a machine of three.
MARKS = {"default": pytest.mark.molecule, "lab_of_three": pytest.mark.three}
SCENARIOS = [pytest.param(name, marks=MARKS.get(name, pytest.mark.deep)) for name in sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))]
# What a failed task and a failed test say in the middle of thousands of lines.
TELLING = re.compile(r"""^[\s\-'"]*(?:fatal: |msg: |FAILED |ERROR |SKIPPED |E {3}|tests/testinfra\w*/\S+: )""")
# Ansible folds a long line of a list: what follows is indented further and is no item of its own.
FOLDED = re.compile(r"^ {8,}(?!- )\S")


@pytest.mark.usefixtures("compose_plugin")  # by one test process at a time
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["molecule", "test", "--scenario-name", scenario]
    telling: list[str] = []
    told = False
    with capfd.disabled():  # to standard error: one of several test processes has no other output
        print(f"\n{' '.join(command)}", file=sys.stderr, flush=True)
        with subprocess.Popen(
            [BIN / command[0], *command[1:]], cwd=root, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as running:
            assert running.stdout
            for line in running.stdout:
                print(line, end="", file=sys.stderr, flush=True)
                told = bool(TELLING.match(line)) or (told and bool(FOLDED.match(line)))
                if told:
                    telling.append(line[:500])
    assert running.returncode == 0, f"{' '.join(command)} ended with {running.returncode}; its output is above, and in it:\n{''.join(telling[-60:])}"
