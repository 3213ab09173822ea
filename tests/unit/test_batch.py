"""Files scored for real: in the environment that the model demands, made by uv; from folders and from a real S3 server."""

from __future__ import annotations

import base64
import csv
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lab_deployment import environments
from lab_deployment.targets.batch import Batch, Place
from lab_experiment.failures import Failure, Mistakes
from tests.unit import test_object_store as stores
from tests.unit.conftest import ROOT, make_environment, serving_environments

models, commands, deployer, gateway, s3, airflow = stores.models, stores.commands, stores.deployer, stores.gateway, stores.s3, stores.airflow  # fixtures


def score(airflow: stores.Airflow, uri: str, **options: Any) -> dict[str, Any]:
    """Have files scored."""
    return airflow.deploy(uri, target="batch", **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.deep
def test_a_folder_is_scored_in_the_models_own_environment(airflow: stores.Airflow, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "scored"
    (data / "more").mkdir(parents=True)
    (data / "a.csv").write_text("id,x\n" + "".join(f"{number},{number}\n" for number in range(25)))
    (data / "more" / "b.jsonl").write_text('{"x": 1.5, "id": "one"}\n{"x": 2.5, "id": "two"}\n')
    (data / ".hidden").write_text("no table")
    done = score(airflow, "models:/plain/1", input=str(data), output=str(out), rows_at_once=10)
    assert "result" in done, done
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == ["a.csv", "more/b.jsonl", "report.json"]
    scored = rows_of(out / "a.csv")
    assert list(scored[0]) == ["id", "prediction"], "the model does not take id, so it stands beside the predictions"
    assert [(int(row["id"]), round(float(row["prediction"]), 6)) for row in scored] == [(number, 2 * number) for number in range(25)]
    lines = [json.loads(line) for line in (out / "more" / "b.jsonl").read_text().splitlines()]
    assert [(line["id"], round(line["prediction"], 6)) for line in lines] == [("one", 3), ("two", 5)]
    report = json.loads((out / "report.json").read_text())
    assert (report["model"], report["rows"], report["failures"], report["by"]) == ("models:/plain/1", 27, 0, "deploy/manual__1")
    assert [(file["file"], file["rows"], file["columns"]) for file in report["files"]] == [
        ("a.csv", 25, ["id", "prediction"]),
        ("more/b.jsonl", 2, ["id", "prediction"]),
    ]
    assert report["inputs"][0]["name"] == "x" and report["digest"] == done["result"]["digest"] and report["seconds"] > 0
    again = airflow.check("models:/plain/1", "batch", input=str(data), output=str(out))
    assert again["words"] == f"target_options: output has '{out}', where files lie already; allowed: a folder that is not there or empty."


@pytest.mark.deep
def test_the_environment_is_the_models_own_and_is_kept(airflow: stores.Airflow, project_python: Path, tmp_path: Path) -> None:
    theirs = subprocess.run([project_python, "-c", "import pandas; print(pandas.__version__)"], text=True, capture_output=True, check=True).stdout.strip()
    assert theirs != "2.2.3"
    (tmp_path / "x.csv").write_text("x\n1\n2\n")
    assert "result" in score(airflow, "models:/versioned/1", input=str(tmp_path / "x.csv"), output=str(tmp_path / "one"))
    assert [row["prediction"] for row in rows_of(tmp_path / "one" / "x.csv")] == ["2.2.3", "2.2.3"]
    again = score(airflow, "models:/versioned/1", input=str(tmp_path / "x.csv"), output=str(tmp_path / "two"))
    assert "result" in again and "making" not in again["output"]


@pytest.mark.deep
def test_rows_that_fail_are_written_down_or_fail_the_whole(airflow: stores.Airflow, tmp_path: Path) -> None:
    data, out = tmp_path / "x.csv", tmp_path / "out"
    data.write_text("x,id\n2,a\n1,b\n3,c\n-4,d\n5,e\n")
    failed = score(airflow, "models:/failing/1", input=str(data), output=str(out), rows_at_once=2)
    assert (
        failed["words"]
        == "1 rows of 2 cannot be scored, the first in x.csv, row 2: ZeroDivisionError: float division by zero; target_options allowed_failures is 0."
    )
    assert not out.exists(), "half of the predictions are there"
    assert "result" in score(airflow, "models:/failing/1", input=str(data), output=str(out), allowed_failures=2)
    assert [row["id"] for row in rows_of(out / "x.csv")] == ["a", "c", "e"]
    rows = [json.loads(line) for line in (out / "x.csv.failures.jsonl").read_text().splitlines()]
    assert [(row["row"], row["content"]["id"]) for row in rows] == [(2, "b"), (4, "d")] and rows[1]["reason"] == "ValueError: x is below 0"
    assert json.loads((out / "report.json").read_text())["failures"] == 2
    data.write_text("y\n1\n")
    assert score(airflow, "models:/plain/1", input=str(data), output=str(tmp_path / "other"))["words"] == (
        "x.csv lacks 'x', which the model takes; its columns are y."
    )  # fmt: skip


@pytest.mark.deep
def test_parquet_in_an_object_store_is_scored_there(airflow: stores.Airflow, s3: stores.S3) -> None:
    folder = s3.folder / "orders"
    folder.mkdir()
    (folder / "a.csv").write_text("x,id\n1,a\n2,b\n")
    done = score(airflow, "models:/plain/2", input="s3://models/orders", output="s3://models/orders-scored", connection="store")
    assert "result" in done, done
    assert [round(float(row["prediction"]), 6) for row in rows_of(s3.folder / "orders-scored" / "a.csv")] == [3, 6]
    (folder / "a.csv").unlink()
    make = "import pandas, sys; pandas.DataFrame({'x': [1.0, 2.0, 4.0], 'id': list('abc')}).to_parquet(sys.argv[1])"
    read = "import pandas, sys; print(pandas.read_parquet(sys.argv[1]).to_json(orient='records'))"
    arrow = make_environment("mlflow")  # MLflow's server comes with pyarrow
    subprocess.run([arrow, "-c", make, str(folder / "b.parquet")], check=True)
    done = score(airflow, "models:/plain/2", input="s3://models/orders/b.parquet", output="s3://models/orders-parquet", connection="store", columns="all")
    assert "result" in done, done
    found = subprocess.run([arrow, "-c", read, str(s3.folder / "orders-parquet" / "b.parquet")], text=True, capture_output=True, check=True).stdout
    assert [(row["id"], round(row["x"], 6), round(row["prediction"], 6)) for row in json.loads(found)] == [("a", 1, 3), ("b", 2, 6), ("c", 4, 12)]


PARQUET = """
import json, sys
from pathlib import Path
import mlflow.pyfunc, pandas, pyarrow, pyarrow.parquet
from mlflow.models import infer_signature
sys.path.append(sys.argv[1])
from lab_deployment import scoring
folder, columns = Path(sys.argv[2]), sys.argv[3]
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if model_input["x"].isna().any(): raise ValueError("a gap")
        return pandas.DataFrame({"when": model_input["x"] * 2, "y": model_input["x"] * 3})
made = pandas.DataFrame({"when": [1.0], "y": [1.0]})
mlflow.pyfunc.save_model(folder / "model", python_model=Model(), signature=infer_signature(pandas.DataFrame({"x": [1.0]}), made), pip_requirements=[])
rows = pyarrow.table({
    "x": pyarrow.array([1.0, 2.0, None, 4.0, 5.0]),
    "note": pyarrow.array([None, None, "c", "d", None]),
    "id": pyarrow.array([9007199254740993, None, 3, 4, None]),
    "nothing": pyarrow.array([None] * 5, pyarrow.string()),
    "small": pyarrow.array([1, 2, 3, 4, 5], pyarrow.int8()),
    "when": pyarrow.array([None, None, None, None, 1000001], pyarrow.timestamp("us", "UTC")),
    "kind": pyarrow.array(["a", "b", "a", None, "c"]).dictionary_encode(),
    "list": pyarrow.array([[], None, [1], [1, 2], [3]], pyarrow.list_(pyarrow.int32())),
})
pyarrow.parquet.write_table(rows, folder / "rows.parquet")
request = {"model": str(folder / "model"), "output": str(folder / "out"), "uri": "", "digest": "", "by": "", "input": "", "columns": columns, "rows_at_once": 2}
request |= {"allowed_failures": 1, "files": [{"path": str(folder / "rows.parquet"), "name": "rows.parquet", "format": "parquet"}]}
(folder / "request.json").write_text(json.dumps(request))
scoring.score(str(folder / "request.json"), str(folder / "report.json"))
found = pyarrow.parquet.read_table(folder / "out" / "rows.parquet")
kept = [name for name in rows.column_names if columns == "all" or (columns == "others" and name != "x")]
when = "when_predicted" if kept else "when"
assert found.column_names == [*kept, when, "y"], found.column_names
assert not kept or found.select(kept).equals(rows.select(kept).take([0, 1, 3, 4])), found
assert found.select([when, "y"]).to_pydict() == {when: [2, 4, 8, 10], "y": [3, 6, 12, 15]}
assert json.loads((folder / "report.json").read_text())["files"][0]["columns"] == found.column_names
"""


@pytest.mark.parametrize("columns", ["others", "all", "none"])
def test_columns_of_parquet_keep_their_types_beside_the_predictions(tmp_path: Path, columns: str) -> None:
    """Also where the first rows have no value in them, and where whole numbers have gaps; one row fails and is left out."""
    command: list[str | Path] = [make_environment("mlflow"), "-c", PARQUET, ROOT / "dags", tmp_path, columns]  # MLflow's server comes with pyarrow
    (tmp_path / "out").mkdir()
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    (failed,) = (tmp_path / "out" / "rows.parquet.failures.jsonl").read_text().splitlines()
    assert json.loads(failed)["content"]["note"] == "c"


@pytest.mark.deep
def test_what_cannot_be_scored_is_one_sentence_before_anything_runs(airflow: stores.Airflow, tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    known = ".csv, .csv.gz, .parquet, .jsonl, .ndjson, .jsonl.gz"
    readable = f"a file or folder below {tmp_path} or {tmp_path}, or an address in an object store"
    out = str(tmp_path / "out")
    cases = {
        (
            f"{tmp_path}/nothing",
            out,
        ): f"target_options: input has '{tmp_path}/nothing', where this worker finds no file; allowed: a file, or a folder of files, ending in {known}.",
        (f"{tmp_path}/x.txt", out): f"target_options: input has '{tmp_path}/x.txt', with the file 'x.txt'; allowed are names ending in {known}.",
        ("s3://models/x", out): "target_options lacks 'connection', the id of the Airflow connection for s3://models/x.",
        ("/etc", out): f"target_options: input has '/etc', which a deployment may not use; allowed: {readable}.",
        ("relative/x.csv", out): "target_options: input has 'relative/x.csv'; allowed: text such as /opt/data/orders.parquet or s3://bucket/orders.",
    }
    for (source, output), sentence in cases.items():
        answer = airflow.check("models:/plain/1", "batch", input=source, output=output)
        assert (answer.get("kind"), answer.get("words")) == ("AirflowFailException", sentence)


@pytest.fixture
def index() -> Iterator[tuple[str, list[str | None]]]:
    """A package index that has nothing, and asks for a password first; its address, and the credentials that it was given."""
    given: list[str | None] = []

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.append(self.headers.get("Authorization"))
            self.send_response(404 if given[-1] else 401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", given
    server.shutdown()


def test_the_index_is_asked_with_the_credentials_of_a_file_that_nobody_sees(
    index: tuple[str, list[str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address, given = index
    configuration = tmp_path / "uv.toml"
    configuration.write_text(f'[[index]]\nname = "lab"\nurl = "http://reader:pass%2Fword@{address}/simple/"\ndefault = true\n')
    model = tmp_path / "model"
    model.mkdir()
    (model / "requirements.txt").write_text("theirs==1.0\n")
    (model / "MLmodel").write_text("mlflow_version: 3.17.2\n")
    (model / "python_env.yaml").write_text(f"python: {sys.version_info.major}.{sys.version_info.minor}.1\n")
    with TemporaryDirectory() as short, serving_environments(Path(short), LAB_INDEX_CONFIG_FILE=str(configuration)) as folder:
        monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(folder))
        with pytest.raises(Failure, match=r"what the model demands cannot be installed: Because .* was not found in the package registry"):
            environments.of_model(model)
        assert "Basic " + base64.b64encode(b"reader:pass/word").decode() in given
        told = capfd.readouterr()
        assert "pass" not in told.out.replace("passed", "") and "pass" not in told.err
        (model / "python_env.yaml").write_text("python: 3.4.1\n")
        with pytest.raises(Mistakes, match=r"environment cannot be made here: Python 3\.4 is not on this host, which has Python 3\."):
            environments.of_model(model)
    with pytest.raises(Failure, match=r"the environments' service of this host does not answer at .*socket"):
        environments.of_model(model)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folders of a worker for data, with a file ``x.csv``, and for results."""
    data, results = tmp_path / "data", tmp_path / "results"
    monkeypatch.setenv("LAB_DATA_DIR", str(data))
    monkeypatch.setenv("LAB_OUTPUT_DIR", f"{results}/")
    for folder in (data, results, tmp_path / "elsewhere"):
        folder.mkdir()
        (folder / "x.csv").write_text("x\n1\n")
    return data, results


def options(source: object, scored: object) -> dict[str, Any]:
    """Options of the target."""
    return {"input": str(source), "output": str(scored), "connection": None}


def test_an_output_where_nothing_can_be_written_is_named_before_anything_runs(roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, results = roots
    asked = options(data / "x.csv", results / "scored" / "today")
    assert Batch.check(asked, {}) == []
    monkeypatch.setattr("os.access", lambda path, _mode: path != results)  # a file system that is mounted read-only says so to root, too
    (words,) = Batch.check(asked, {})
    allowed = f"a folder below {results}, or an address in an object store"
    assert words == f"target_options: output has '{results}/scored/today', where this worker may not write; allowed: {allowed}."


def test_only_the_labs_data_and_results_are_read_and_only_results_are_written(roots: tuple[Path, Path], tmp_path: Path) -> None:
    data, results = roots
    scored, elsewhere = results / "scored", tmp_path / "elsewhere"
    allowed: tuple[object, ...] = (data, data / "x.csv", f"file://{data}/x.csv", results / "x.csv", f"{data}/../results/x.csv")
    for source in allowed:
        assert Batch.check(options(source, scored), {}) == [], source
    (data / "out").symlink_to(elsewhere)
    readable = f"allowed: a file or folder below {data} or {results}, or an address in an object store."
    writable = f"allowed: a folder below {results}, or an address in an object store."
    forbidden: dict[object, str] = {
        elsewhere / "x.csv": "which a deployment may not use",
        f"file://{elsewhere}": "which a deployment may not use",
        f"{data}/../elsewhere/x.csv": f"which leads to {elsewhere}/x.csv",
        f"file://{data}/../elsewhere": f"which leads to {elsewhere}",
        data / "out" / "x.csv": f"which leads to {elsewhere}/x.csv",
        f"{data}-not": "which a deployment may not use",
        "/proc/self/environ": f"which leads to /proc/{os.getpid()}/environ",
    }
    for outside, words in forbidden.items():
        assert Batch.check(options(outside, scored), {}) == [f"target_options: input has '{outside}', {words}; {readable}"]
    unwritten: dict[object, str] = {
        elsewhere / "new": "which a deployment may not use",
        data / "new": "which a deployment may not use",
        results: "which a deployment may not use",
        f"file://{results}/../elsewhere/new": f"which leads to {elsewhere}/new",
        data / "out" / "new": f"which leads to {elsewhere}/new",
    }
    for output, words in unwritten.items():
        assert Batch.check(options(data / "x.csv", output), {}) == [f"target_options: output has '{output}', {words}; {writable}"]
    both = Batch.check(options(elsewhere, elsewhere), {})
    assert [words.split()[1] for words in both] == ["input", "output"]


def test_a_file_that_leads_out_of_the_data_is_not_read(roots: tuple[Path, Path], tmp_path: Path) -> None:
    data, results = roots
    (data / "more").mkdir()
    asked = options(data, results / "scored")
    place = Place(str(data), None)
    assert place.fetch(tmp_path / "copy") == 4 and (tmp_path / "copy" / "x.csv").read_text() == "x\n1\n"
    (data / "more" / "y.csv").symlink_to(tmp_path / "elsewhere" / "x.csv")
    (words,) = Batch.check(asked, {})
    assert words.startswith(f"target_options: input has '{data}/more/y.csv', which leads to {tmp_path}/elsewhere/x.csv; allowed: ")
    with pytest.raises(Mistakes, match=r"which leads to .*/elsewhere/x\.csv"):
        place.fetch(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_folder_that_became_a_link_is_neither_written_nor_removed(roots: tuple[Path, Path], tmp_path: Path) -> None:
    _, results = roots
    made = tmp_path / "made"
    made.mkdir()
    (made / "report.json").write_text("{}")
    place = Place(f"{results}/today/elsewhere", None)
    place.publish(made, "report.json")
    assert (results / "today" / "elsewhere" / "report.json").read_text() == "{}"
    place.remove()
    assert not (results / "today" / "elsewhere").exists()
    (results / "today").rmdir()
    (results / "today").symlink_to(tmp_path)
    with pytest.raises(Mistakes, match=f"output has '{results}/today/elsewhere', which leads to {tmp_path}/elsewhere; allowed: a folder below {results}, "):
        place.publish(made, "report.json")
    place.remove()
    assert (tmp_path / "elsewhere" / "x.csv").is_file()
