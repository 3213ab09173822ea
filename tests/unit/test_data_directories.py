"""Directories of a host that belong to others: looked at before the first change, and named when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.plays import play


@pytest.mark.parametrize(
    ("folder", "mount", "words"),
    [
        ("", "", ""),
        ("", "there", ""),
        ("there", "", ""),
        ("", "nowhere", "airflow_stack_data_dir is '{}/nowhere', which is no directory of localhost: mount it there, write the path of one"),
        ("", "file", "airflow_stack_data_dir is '{}/file', which is no directory of localhost"),
        ("there", "there", "{}/there is there, and airflow_stack_data_dir is '{}/there', into which the lab copies nothing: move those files"),
    ],
)
def test_a_directory_of_data_that_cannot_be_used_is_one_sentence(tmp_path: Path, folder: str, mount: str, words: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    values = {"airflow_stack_data": folder and f"{tmp_path}/{folder}", "airflow_stack_data_dir": mount and f"{tmp_path}/{mount}"}
    done = play(tmp_path, [{"ansible.builtin.import_role": {"name": "mlops.lab.airflow_stack", "tasks_from": "check"}, "vars": values}])
    assert bool(done.returncode) is bool(words), done.output
    assert words.replace("{}", str(tmp_path)) in " ".join(done.output.split())
