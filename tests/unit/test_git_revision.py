"""The revision that is recorded with a run: a commit's name alone stands for a checkout that is as the commit says."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import ROOT


def git(folder: Path, *arguments: str) -> str:
    """Run git with an author."""
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@lab.example", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a quote and a blank in its path."""
    folder = tmp_path / "it's a lab"
    for name in ("dags", "experiments"):
        (folder / name).mkdir(parents=True)
    (folder / "experiments/wine.yml").write_text("a: 1\n")
    (folder / "dags/train.py").write_text("pass\n")
    (folder / ".gitignore").write_text("ignored.yml\n__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A lab")
    return folder


def value(file: str, name: str, **variables: Any) -> Any:
    """Return what Ansible makes of a variable in a file of the project."""
    texts = {name: trust_as_template(text) for name, text in yaml.safe_load((ROOT / file).read_text(encoding="utf-8")).items() if isinstance(text, str)}
    templar = Templar(loader=DataLoader(), variables={**texts, **variables})
    return templar.template(texts[name])


def revision(folder: Path) -> str:
    """Return the revision of a checkout."""
    return str(value("playbooks/group_vars/all/shared.yml", "lab_git_revision", lab_home=str(folder)))


def cache(folder: Path) -> None:
    """What Python leaves is no change."""
    (folder / "dags/__pycache__").mkdir()
    (folder / "dags/__pycache__/train.cpython-311.pyc").write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        (lambda folder: None, False),
        (cache, False),
        (lambda folder: (folder / "notes.txt").write_text("x"), False),
        (lambda folder: (folder / "experiments/mine.yml").write_text("a: 2\n"), True),
        (lambda folder: (folder / "experiments/ignored.yml").write_text("a: 2\n"), True),
        (lambda folder: (folder / "experiments/wine.yml").write_text("a: 2\n"), True),
        (lambda folder: (folder / "experiments/wine.yml").unlink(), True),
        (lambda folder: git(folder, "mv", "dags/train.py", "dags/other.py"), True),
    ],
)
def test_a_checkout_that_is_not_what_its_commit_says_is_dirty(checkout: Path, change: Callable[[Path], Any], dirty: bool) -> None:
    change(checkout)
    assert revision(checkout) == git(checkout, "rev-parse", "HEAD") + ("-dirty" if dirty else "")


def test_a_folder_that_is_no_checkout_has_none(tmp_path: Path) -> None:
    assert revision(tmp_path) == revision(tmp_path / "missing") == ""


def test_the_digests_of_the_placed_experiments(checkout: Path) -> None:
    (checkout / "experiments/my experiment.yml").write_bytes(b"\xff\r\n")
    lines = value("roles/airflow_stack/vars/main.yml", "__airflow_stack_experiments", airflow_stack_experiments=str(checkout / "experiments"))
    facts = yaml.safe_load((ROOT / "roles/airflow_stack/vars/main.yml").read_text(encoding="utf-8"))["__airflow_stack_facts"]
    digests = Templar(loader=DataLoader(), variables={"__airflow_stack_experiments": lines}).template(trust_as_template(facts["experiments"]))
    files = (checkout / "experiments").glob("*.yml")
    assert digests == {file.name: f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files}
