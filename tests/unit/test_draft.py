"""The first files of a project: a package that passes its own tests, and an experiment file that is right as it was drafted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab_experiment import document
from tests.unit.conftest import ROOT


def draft(lab: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run tools/draft.py for a lab's folder."""
    command: list[str | Path] = [sys.executable, ROOT / "tools" / "draft.py", *arguments]
    return subprocess.run(command, env={**os.environ, "LAB": str(lab)}, text=True, capture_output=True, check=False)


def test_from_nothing_to_an_experiment_file_that_is_right(tmp_path: Path, project_python: Path) -> None:
    lab, project = tmp_path / "lab", tmp_path / "churn-risk"
    assert draft(lab, "project", "churn-risk", project).returncode == 0
    tested: list[str | Path] = [project_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", project / "tests"]
    done = subprocess.run(tested, env={**os.environ, "PYTHONPATH": str(project / "src")}, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert draft(lab, "experiment", "churn-risk", project).returncode == 0
    found = document.read(lab / "experiments" / "churn-risk.yml")
    assert found["environment"] == "churn-risk" and found["register"]["name"] == "churn-risk"
    assert found["cross_validation"]["estimator"]["call"] == "churn_risk:make_model" and found["cross_validation"]["data"]["call"] == "churn_risk:data"
    assert set(found["search"]["space"]) == {"trees", "max_depth"}
    assert "churn-risk==0.1.0\n" in (lab / "environments" / "churn-risk.in").read_text()


@pytest.mark.parametrize("example", ["wine_cultivars", "diabetes_progression"])
def test_a_package_is_read_and_what_is_not_known_is_left_to_be_filled_in(tmp_path: Path, example: str) -> None:
    done = draft(tmp_path, "experiment", "mine", ROOT / "examples" / example)
    assert done.returncode == 0 and "Put values in the place of '...'" in done.stdout, done.stderr
    document.read(tmp_path / "experiments" / "mine.yml")
    text = (tmp_path / "experiments" / "mine.yml").read_text()
    assert f"#   - {{name: {'prepare' if example == 'wine_cultivars' else 'split'}, call: '{example}" in text


def test_what_stands_in_the_way_is_a_sentence_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yml").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pyproject.toml").write_text("[project]\nname = 'empty'\n")
    wine = ROOT / "examples" / "wine_cultivars"
    cases: dict[tuple[str | Path, ...], str] = {
        ("experiment", "mine", wine): "mine.yml is there already, and nothing is overwritten",
        ("experiment", "Mine!", wine): "NAME has 'Mine!'; write small letters, digits and hyphens",
        ("experiment", "project", wine): "(project is taken)",
        ("experiment", "other"): "PROJECT is missing; write the folder of the package",
        ("experiment", "other", tmp_path): "whose pyproject.toml with a section [project] cannot be read",
        ("experiment", "other", tmp_path / "empty"): "which has neither a package empty nor a module empty.py",
    }
    for arguments, words in cases.items():
        done = draft(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, "") and words in done.stderr, done.stderr
    assert (tmp_path / "experiments" / "mine.yml").read_text() == "mine" and not (tmp_path / "environments").exists()
