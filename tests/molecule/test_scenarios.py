"""Every Molecule scenario, its output shown as it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT, environment

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
# The whole lab comes last: a role that fails is found sooner alone.
SCENARIOS.sort(key=lambda name: name == "default")


@pytest.mark.molecule
@pytest.mark.usefixtures("compose_plugin")  # by one test process at a time
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():  # to standard error: one of several test processes has no other output
        print(f"\nmolecule test --scenario-name {scenario}", file=sys.stderr, flush=True)
        done = subprocess.run([BIN / "molecule", "test", "--scenario-name", scenario], cwd=root, env=environment(), stdout=sys.stderr, check=False)
    assert done.returncode == 0, f"molecule test --scenario-name {scenario} ended with {done.returncode}; its output is above"
