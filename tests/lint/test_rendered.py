"""Linters over what the roles render."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Run
from tests.unit.rendering import DOCKERFILES, Case

pytestmark = pytest.mark.lint


@pytest.mark.parametrize("case", DOCKERFILES, ids=str)
def test_hadolint(case: Case, tool: Run, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(case.render(), encoding="utf-8")
    done = tool(["hadolint", "--no-color", "--config", root / ".config/hadolint.yaml", file])
    assert done.returncode == 0, done.stdout
