"""Tables of batch scoring, as a model takes them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from pandas._libs.parsers import STR_NA_VALUES

from lab_deployment import scoring


def test_texts_of_a_file_are_objects_as_every_mlflow_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("kind,number\na,1\n,2\n")
    [(table, _)] = scoring.tables(path, "csv", 10)
    made = scoring.typed(table, Schema([ColSpec(DataType.string, "kind", required=False), ColSpec(DataType.double, "number")]))
    assert made["kind"].dtype == object and made["number"].dtype == float
    assert made["kind"][0] == "a" and pd.isna(made["kind"][1]) and isinstance(made["kind"][1], float), "a gap stays what it is"


class Sum(mlflow.pyfunc.PythonModel):
    """Adds up the numbers of a row."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would take hints for a schema
        """The sums."""
        return np.asarray(model_input).sum(axis=1)


def scored(folder: Path, example: Any, text: str, kind: str = "csv", **options: Any) -> str:
    """What is written for a file, two rows at a time, by a model that was trained on such rows, or by a model with a schema of its own."""
    (folder / f"rows.{kind}").write_text(text)
    (folder / "out").mkdir()
    model, signature = (example[0], ModelSignature(example[1])) if isinstance(example, tuple) else (Sum(), infer_signature(example, np.array([1.0])))
    mlflow.pyfunc.save_model(folder / "model", python_model=model, signature=signature, pip_requirements=[])
    request: dict[str, Any] = {"model": str(folder / "model"), "output": str(folder / "out")}
    request |= {"uri": "models:/m/1", "digest": "", "by": "", "input": str(folder)}
    request |= {"columns": "none", "rows_at_once": 2, "allowed_failures": 0, **options}
    request["files"] = [{"path": str(folder / f"rows.{kind}"), "name": f"rows.{kind}", "format": kind}]
    (folder / "request.json").write_text(json.dumps(request))
    scoring.score(str(folder / "request.json"), str(folder / "report.json"))
    return (folder / "out" / f"rows.{kind}").read_text()


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]})
TRAINED_ON = {
    "a frame": FRAME,
    "a narrow frame": FRAME.astype("float32"),
    "an array": FRAME.to_numpy(),
    "a narrow array": FRAME.to_numpy(dtype="float32"),
}


@pytest.mark.parametrize("kind", [*TRAINED_ON])
def test_a_text_file_is_scored_whatever_width_the_numbers_of_the_training_had(tmp_path: Path, kind: str) -> None:
    """The second two rows are whole numbers; the last two have one that no narrow float holds exactly."""
    found = scored(tmp_path, TRAINED_ON[kind], "a,b\n0.5,1\n0.1,2\n3,4\n1,2\n16777217,0\n1.5,1\n").split()
    assert found[0] == "prediction" and [round(float(number), 3) for number in found[1:]] == pytest.approx([1.5, 2.1, 7, 3, 16777217, 2.5], rel=1e-7)


def test_the_columns_of_a_model_without_names_are_taken_by_their_places() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [0.1, 0.5], "more": [1, 2]})
    made = scoring.typed(table, Schema([ColSpec(DataType.float), ColSpec(DataType.float)]))
    assert [*made.dtypes] == ["float32", "float32", "int64"] and [*table.dtypes] == ["int64", "float64", "int64"]


def test_whole_numbers_are_scored_as_such_and_nothing_else_is(tmp_path: Path) -> None:
    whole = FRAME.to_numpy(dtype="int32")
    assert scored(tmp_path, whole, "a,b\n1.0,2\n3,4\n").split() == ["prediction", "3", "7"]
    (tmp_path / "more").mkdir()
    with pytest.raises(SystemExit, match=r"1 rows of 2 cannot be scored, the first in rows.csv, row 2: MlflowException: dtype of input float64 does not match"):
        scored(tmp_path / "more", whole, "a,b\n1,2\n1,2.5\n")


def test_what_is_too_great_for_the_model_is_no_endless_number(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"1 rows of 2 cannot be scored, the first in rows.csv, row 2: MlflowException: "):
        scored(tmp_path, FRAME.astype("float32"), "a,b\n1.5,inf\n1e300,2\n")


def test_the_columns_beside_the_predictions_are_as_they_were(tmp_path: Path) -> None:
    written = scored(tmp_path, FRAME.astype("float32"), "id,a,b\nx,0.123456789012,1\n", columns="all")
    assert written.splitlines()[1].startswith("x,0.123456789012,1,1.12345")


PASSED_ON = ["007", "1001", "", "NA", "1.50", "TRUE", "1e5", "2026-01-02", "12345678901234567890123", 'a ""b"", c', " x "]


@pytest.mark.parametrize("columns", ["others", "all"])
def test_what_the_model_does_not_take_is_passed_on_as_it_is_written(tmp_path: Path, columns: str) -> None:
    rows = "".join(f'"{value}",{number},1,{value if value in ("007", "") else "x"}\n' for number, value in enumerate(PASSED_ON))
    written = scored(tmp_path, FRAME, f",a,b,date\n{rows}", columns=columns)
    found = pd.read_csv(io.StringIO(written), dtype=str, keep_default_na=False)
    assert [*found["Unnamed: 0"]] == [value.replace('""', '"') for value in PASSED_ON]
    assert [*found["date"]] == [value if value in ("007", "") else "x" for value in PASSED_ON]
    assert [*found["prediction"].astype(float)] == [number + 1 for number in range(len(PASSED_ON))]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_text_that_the_model_takes_stays_one_where_it_looks_like_a_number(tmp_path: Path, kind: str) -> None:
    """Such as a postcode. The model gives the length of each."""

    class Lengths(mlflow.pyfunc.PythonModel):
        """Tells how long texts are."""

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would take hints for a schema
            """The lengths."""
            return np.asarray([len(value) if isinstance(value, str) else -1 for value in model_input["code"]])

    codes = ["01234", "5", None, "1e5"]
    lines = [json.dumps({"code": code}) for code in codes] if kind == "jsonl" else ["code", *(f'"{code or ""}"' for code in codes)]
    schema = Schema([ColSpec(DataType.string, "code", required=False)])
    written = scored(tmp_path, (Lengths(), schema), "\n".join(lines) + "\n", kind=kind)
    found = [json.loads(line)["prediction"] for line in written.splitlines()] if kind == "jsonl" else [int(line) for line in written.split()[1:]]
    assert found == [5, 1, -1, 3]


def test_gaps_in_what_the_model_takes_are_those_that_pandas_knows(tmp_path: Path) -> None:
    assert set(scoring.GAPS) == STR_NA_VALUES
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{gap},{gap}\n" for gap in scoring.GAPS))
    [(table, _)] = scoring.tables(tmp_path / "rows.csv", "csv", 100, ["a"])
    assert table["a"].isna().all() and [*table["b"]] == scoring.GAPS


def test_values_of_json_lines_that_the_model_does_not_take_stay_what_they_are(tmp_path: Path) -> None:
    passed_on: list[Any] = ["007", 1001, None, 9007199254740993, True, 0.123456789012345, 1e-13, "2026-01-02", "", ["1", None], {"a": "1"}]
    lines = [json.dumps({"date": value, "2026": str(value), "a": number, "b": 0.5}) for number, value in enumerate(passed_on)]
    written = scored(tmp_path, FRAME, "\n\n".join([*lines, '{"a": 1, "b": 1}']), kind="jsonl", columns="others")
    found = [json.loads(line) for line in written.splitlines()]
    assert [line["date"] for line in found] == [*passed_on, None] and [line["2026"] for line in found] == [*map(str, passed_on), None]
    assert [type(line["date"]) for line in found] == [*map(type, passed_on), type(None)]
    assert [line["prediction"] for line in found] == [*(number + 0.5 for number in range(len(passed_on))), 2]


@pytest.mark.parametrize(("header", "columns"), [("id,a,b", 3), ("a", 1)])
def test_a_model_without_names_says_which_columns_it_cannot_tell_apart(tmp_path: Path, header: str, columns: int) -> None:
    row = ",".join("1" * columns)
    words = f"rows.csv has 3 columns ({', '.join(header.split(','))}), and the model takes 2 values a row without names, for it was trained on an array; "
    words += "leave out of the file what it was not trained on, such as an id, or train it on a data frame, whose columns it takes by their names."
    with pytest.raises(SystemExit) as stopped:
        scored(tmp_path, FRAME.to_numpy(), f"{header}\n{row}\n")
    assert str(stopped.value) == words if columns > 1 else "cannot be scored" in str(stopped.value)


def test_a_row_that_an_array_of_one_column_cannot_hold_takes_no_other_one_along(tmp_path: Path) -> None:
    found = scored(tmp_path, np.array([[1.0], [2.0]]), "a\n1\nx\n3\n4\n", rows_at_once=4, allowed_failures=1)
    assert found.split() == ["prediction", "1.0", "3.0", "4.0"]
