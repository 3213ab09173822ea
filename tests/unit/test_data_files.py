"""The files below /opt/data that an experiment names: found in what it is given, and read once for each content."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab_experiment import data_files
from lab_experiment.data_files import Named


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data of a worker."""
    monkeypatch.setenv("LAB_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data" / "more").mkdir(parents=True)
    for name in ("a.csv", "more/b.csv", "more/c.csv"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def document(inputs: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """What a read experiment file has of these."""
    return {
        "inputs": inputs,
        "steps": [{"name": "prepare", "call": "churn:prepare", "with": arguments}],
        **dict.fromkeys(("search", "cross_validation", "train")),
    }


def test_what_inputs_and_arguments_name_is_found_once_whatever_it_is_nested_in(data: Path) -> None:
    inputs = {"table": f"{data}/a.csv", "year": "b", "number": 3, "gone": f"{data}/gone.csv", "outside": f"{data}/../other", "near": f"{data}-not/a.csv"}
    arguments = {
        "again": "{{ inputs.table }}",
        "part": f"{data}/more/{{{{ inputs.year }}}}.csv",
        "deep": [{"x": [f"{data}/more/"]}],
        "later": "{{ steps.first }}",
        "folder": "{{ run_dir }}/a.csv",
    }
    assert data_files.named_by(document(inputs, arguments)) == [
        Named("inputs.table", data / "a.csv", "a.csv"),
        Named("steps.prepare.with.part", data / "more" / "b.csv", "more/b.csv"),
        Named("steps.prepare.with.deep", data / "more", "more"),
    ]


def test_the_digest_of_a_file_and_of_a_folder_is_what_sha256sum_says(data: Path, tmp_path: Path) -> None:
    one = data_files.content_of(Named("", data / "a.csv", "a.csv"), tmp_path)
    assert (one.sha256, one.size, one.files) == (hashlib.sha256(b"a.csv").hexdigest(), 5, 1)
    more = data_files.content_of(Named("", data, "."), tmp_path)
    command = r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=data, text=True, capture_output=True, check=True).stdout
    assert (more.sha256, more.size, more.files) == (said.split()[0], 25, 3)


def test_a_content_is_read_once(data: Path, tmp_path: Path) -> None:
    named = Named("", data / "a.csv", "a.csv")
    first = data_files.content_of(named, tmp_path)
    state = named.path.stat()
    named.path.write_text("A.CSV")
    os.utime(named.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert data_files.content_of(named, tmp_path) == first, "of the same size and time, it is not read again"
    os.utime(named.path, (1, 1))
    assert data_files.content_of(named, tmp_path).sha256 == hashlib.sha256(b"A.CSV").hexdigest()
    (tmp_path / data_files.KNOWN).write_text("no JSON")
    assert data_files.content_of(named, tmp_path).sha256 == hashlib.sha256(b"A.CSV").hexdigest()
