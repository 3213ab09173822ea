"""The data that an experiment names: files below /opt/data, read once for each content, those that are not there, and addresses in object stores."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab_experiment import data_files
from lab_experiment.data_files import Address, Named

ROOT = Path(__file__).resolve().parents[2]


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
        "address": f"file://{data}/more/c.csv",
    }
    assert data_files.named_by(document(inputs, arguments)) == [
        Named("inputs.table", data / "a.csv", "a.csv"),
        Named("steps.prepare.with.part", data / "more" / "b.csv", "more/b.csv"),
        Named("steps.prepare.with.deep", data / "more", "more"),
        Named("steps.prepare.with.address", data / "more" / "c.csv", "more/c.csv"),
    ]


def test_patterns_beginnings_and_the_folder_itself_are_found(data: Path, tmp_path: Path) -> None:
    inputs = {
        "all": str(data),
        "again": f"{data}/",
        "csv": f"{data}/**/*.csv",
        "start": f"{data}/more/b",
        "none": f"{data}/*.parquet",
        "year": f"{data}/{{year}}",
    }
    found = data_files.named_by(document(inputs, {}))
    assert [(one.key, one.name) for one in found] == [("inputs.all", "data"), ("inputs.csv", "**/*.csv"), ("inputs.start", "more/b")]
    folder, pattern, start = (data_files.content_of(one, tmp_path) for one in found)
    assert folder == pattern and folder.files == 3, "the same files have the same paths below the folder"
    line = f"{hashlib.sha256(b'more/b.csv').hexdigest()}  more/b.csv\n"
    assert (start.sha256, start.files) == (hashlib.sha256(line.encode()).hexdigest(), 1)


def words(key: str, text: str, data: Path, where: object = "this worker") -> tuple[str, str]:
    """What is said of a file that is not there."""
    allowed = f"a file or folder below {data}, which has what is in the lab's folder data/ (the verb run brings it) or in lab_data_dir"
    return key, f"{key} has '{text}', where {where} has no file; allowed: {allowed}."


def test_what_is_named_and_not_there_is_said_once(data: Path) -> None:
    root = data.relative_to(Path("/"))
    inputs = {"table": f"{data}/gone.csv", "there": f"{data}/a.csv", "outside": f"{data}/../other", "near": f"{data}-not/a.csv", "all": str(data)}
    arguments = {
        "again": "{{ inputs.table }}",
        "address": f"file:///{root}/more/gone.csv",
        "deep": [{"x": [f"{data}/more/b.csv/"]}, f"{data}/nothing/"],
        "later": f"{data}/{{{{ steps.first }}}}",
        "folder": "{{ run_dir }}/gone.csv",
        "pattern": f"{data}/**/*.csv",
        "no_pattern": f"{data}/*.parquet",
        "yearly": f"{data}/{{year}}.csv",
        "daily": f"{data}/%Y.csv",
    }
    assert list(data_files.missing(document(inputs, arguments))) == [
        words("inputs.table", f"{data}/gone.csv", data),
        words("steps.prepare.with.address", f"file://{data}/more/gone.csv", data),
        words("steps.prepare.with.deep", f"{data}/nothing/", data),
        words("steps.prepare.with.no_pattern", f"{data}/*.parquet", data),
    ]


def test_what_will_be_there_is_looked_for_where_it_comes_from(data: Path, tmp_path: Path) -> None:
    given = document({"one": f"{data}/a.csv", "two": f"{data}/new.csv"}, {})
    source = tmp_path / "source"
    assert list(data_files.missing(given, source)) == [], "without a folder nothing is known"
    source.mkdir()
    (source / "new.csv").touch()
    assert list(data_files.missing(given, source)) == [words("inputs.one", f"{data}/a.csv", data, source)]


def test_addresses_in_object_stores_are_found_without_what_is_secret_in_them() -> None:
    inputs = {"table": "s3://bucket/orders/2026.parquet", "page": "https://example.org/x.csv", "scheme": "s3://", "words": "see s3://bucket/x"}
    arguments = {
        "again": ["{{ inputs.table }}", {"x": "gs://bucket/x"}],
        "azure": "abfs://orders@account.dfs.core.windows.net/x",
        "key": "s3://user:password@bucket/x?versionId=1",
        "signed": "az://orders/x.csv?sv=2026&sig=secret/with=more",
        "pattern": "s3://bucket/part-?.csv",
    }
    assert data_files.addresses(document(inputs, arguments)) == [
        Address("inputs.table", "s3://bucket/orders/2026.parquet"),
        Address("steps.prepare.with.again", "gs://bucket/x"),
        Address("steps.prepare.with.azure", "abfs://orders@account.dfs.core.windows.net/x"),
        Address("steps.prepare.with.key", "s3://bucket/x"),
        Address("steps.prepare.with.signed", "az://orders/x.csv"),
        Address("steps.prepare.with.pattern", "s3://bucket/part-?.csv"),
    ]


RECORD = """
import json, sys
from pathlib import Path
sys.path.append(sys.argv[1])
import mlflow
from lab_experiment import environment
client = mlflow.MlflowClient()
ids = []
for table in ("s3://bucket/orders.csv", "s3://bucket/orders.csv", "abfs://orders@account.dfs.core.windows.net/" + "x" * 600):
    run = client.create_run(client.create_experiment("stores") if not ids else experiment)
    ids.append(run.info.run_id)
    experiment = run.info.experiment_id
    document = {"inputs": {"table": table}, "steps": [], **dict.fromkeys(("search", "cross_validation", "train"))}
    environment.record_files(client, run.info.run_id, document, Path(sys.argv[2]))
found = [one for run in ids for one in client.get_run(run).inputs.dataset_inputs]
print(json.dumps([[one.dataset.to_dictionary(), one.tags[0].value] for one in found]))
"""


def test_an_address_is_a_data_set_of_the_run_without_a_digest(project_python: Path, mlflow_server: Any, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(mlflow_server.home), "MLFLOW_TRACKING_URI": mlflow_server.uri}
    command: list[str | Path] = [project_python, "-W", "ignore", "-B", "-c", RECORD, ROOT / "dags", tmp_path]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, answer = done.stdout.splitlines()
    first, second, azure = json.loads(answer)
    assert first == second and first[1] == "inputs.table"
    assert (first[0]["name"], first[0]["digest"], first[0]["source_type"]) == ("s3://bucket/orders.csv", "", "s3")
    assert json.loads(first[0]["source"]) == {"uri": "s3://bucket/orders.csv"}
    assert azure[0]["name"].startswith("abfs://orders@") and azure[0]["digest"] == "" and "x" * 600 in azure[0]["source"]
    assert "[data] inputs.table: s3://bucket/orders.csv, without a digest" in lines


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
