"""Every Molecule scenario, its output shown as it comes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT, environment

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
# The whole lab comes last: a role that fails is found sooner alone.
SCENARIOS.sort(key=lambda name: name == "default")


@pytest.mark.molecule
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        print(f"\nmolecule test --scenario-name {scenario}", flush=True)
        done = subprocess.run([BIN / "molecule", "test", "--scenario-name", scenario], cwd=root, env=environment(), check=False)
    assert done.returncode == 0, f"molecule test --scenario-name {scenario} ended with {done.returncode}; its output is above"
