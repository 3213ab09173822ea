"""Loads a model and predicts with it, in the project's environment or in the one that the model demands.

    python scoring.py predict <model folder> <answer.json>
    python scoring.py score <request.json> <report.json>

A script of its own, because a model's environment may be of another Python and hold an older MLflow and nothing of this project. Whatever goes wrong ends the
process with exit code 1 and one last line that says so.
"""

from __future__ import annotations

import ctypes
import gzip
import io
import itertools
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def predict(model_folder: str, answer_file: str) -> None:
    """Predict the model's own input example; writes ``predictions``, ``serving_input``, and what the model and this environment are."""
    model = load(model_folder)
    info = model.metadata.saved_input_example_info
    if info is None:
        raise SystemExit("The model has no input example, so there is nothing to prove a deployment with; log it with input_example=<a few rows>.")
    if model.metadata.signature is None:
        raise SystemExit("The model has no signature, so nobody can tell what it takes; log it with signature=infer_signature(<input>, <predictions>).")
    example = model.metadata.load_input_example(model_folder)
    parameters = _parameters(model.metadata, model_folder)
    try:
        predictions = model.predict(example, parameters) if parameters else model.predict(example)
    except Exception as error:
        told(error)
        raise SystemExit(f"The model cannot predict its own input example: {type(error).__name__}: {in_a_line(error)}") from None
    check_outputs(model.metadata.signature, example, predictions)
    answer = {
        "predictions": plain(predictions),
        "serving_input": _serving_input(info, example, model_folder),
        "python": platform.python_version(),
        "rows": len(example) if hasattr(example, "__len__") else 1,
        **about(model),
    }
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


def score(request_file: str, report_file: str) -> None:
    """Score files; writes predictions of the same names below the output folder, the rows that failed, and a report.

    The request holds ``model``, ``files`` (``path``, ``name``, ``format``), ``output``, ``columns`` (``others``, ``all`` or ``none``), ``rows_at_once``,
    ``allowed_failures``, and ``uri``, ``digest``, ``by`` and ``input`` for the report.
    """
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    begun = time.monotonic()
    model = load(request["model"])
    output = Path(request["output"])
    inputs = model.metadata.signature.inputs
    taken = inputs.input_names() if inputs.has_input_names() else []
    texts = [name for name, kind in zip(taken, inputs.input_types(), strict=False) if getattr(kind, "name", "") == "string"]
    files = []
    failed = 0
    for file in request["files"]:
        started = time.monotonic()
        target = output / file["name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = 0
        columns: list[str] = []
        failures = Failures(output / f"{file['name']}.failures.jsonl")
        writer = Writer(target, file["format"])
        for table, arrow in tables(Path(file["path"]), file["format"], request["rows_at_once"], taken, texts):
            missing = [name for name in taken if name not in table.columns and name in inputs.required_input_names()]
            if missing:
                raise SystemExit(
                    f"{file['name']} lacks {', '.join(map(repr, missing))}, which the model takes; its columns are {', '.join(map(str, table.columns))}."
                )
            if words := "" if taken else misshapen(table, inputs):
                raise SystemExit(f"{file['name']} {words}")
            kept = {"none": [], "all": list(table.columns), "others": [name for name in table.columns if name not in taken]}[request["columns"]]
            good, predictions = _scored(model, [name for name in taken if name in table.columns], table, failures, rows)
            failed_now = failed + failures.rows
            if failed_now > request["allowed_failures"]:
                raise SystemExit(
                    f"{failed_now} rows of {rows + len(table)} cannot be scored, the first in {failures.first}; "
                    f"target_options allowed_failures is {request['allowed_failures']}."
                )
            if len(good):
                found = framed(predictions, good.index)
                clash = [name for name in found.columns if name in kept]
                found = found.rename(columns={name: f"{name}_predicted" for name in clash})
                columns = [str(name) for name in (*kept, *found.columns)]
                writer.write(good[kept], found, arrow)
            rows += len(table)
        writer.close()
        failures.close()
        failed += failures.rows
        files.append({"file": file["name"], "rows": rows, "failures": failures.rows, "columns": columns, "seconds": round(time.monotonic() - started, 3)})
        print(f"[score] {file['name']}: {rows} rows, {failures.rows} failures, {files[-1]['seconds']} s", flush=True)
    total = sum(file["rows"] for file in files)
    if not total:
        raise SystemExit(f"{request['input']} has no row to score.")
    seconds = time.monotonic() - begun
    report = {
        "model": request["uri"],
        "digest": request["digest"],
        "by": request["by"],
        "input": request["input"],
        "rows": total,
        "failures": failed,
        "seconds": round(seconds, 3),
        "files": files,
        "python": platform.python_version(),
        **about(model),
    }
    Path(report_file).write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"[score] {total} rows, {failed} failures, {total / seconds:.0f} rows a second", flush=True)


class Failures:
    """The rows that failed: number, reason and content, a JSON line each; the file is only there when there are some."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self.rows = 0
        self.first = ""

    def add(self, number: int, error: BaseException, row: Any) -> None:
        """Write down one."""
        self.rows += 1
        reason = f"{type(error).__name__}: {in_a_line(error)}"
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
            self.first = f"{self._path.name.removesuffix('.failures.jsonl')}, row {number}: {reason}"
        self._file.write(json.dumps({"row": number, "reason": reason, "content": json.loads(row.to_json(orient="records", date_format="iso"))[0]}) + "\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def misshapen(table: Any, schema: Any) -> str:
    """What is wrong with the number of columns for a model that was trained on an array, whose columns have no names; nothing where MLflow takes them."""
    shape = schema.inputs[0].shape if schema.is_tensor_spec() else ()
    columns = list(map(str, table.columns))
    if not shape or len(columns) == 1 or shape == (-1, len(columns)):  # one column may hold a list for each row
        return ""
    return (
        f"has {len(columns)} columns ({', '.join(columns)}), and the model takes {'x'.join(map(str, shape[1:])) or 1} values a row without names, "
        "for it was trained on an array; leave out of the file what it was not trained on, such as an id, or train it on a data frame, "
        "whose columns it takes by their names."
    )


def typed(table: Any, schema: Any) -> Any:
    """A table whose columns have the types that the model promises to take, as far as that is possible.

    In a text file 1 and 1.0 are the same number, and 0.1 does not say of how many bits it is. So every number that is taken as a float becomes one,
    rounded as the training's own data were, unless it is too great for that. Whole numbers are made without loss alone. A model without names takes all
    columns as they come.

    A column that cannot be brought there stays as it is; the model then says what is wrong with it.
    Texts become objects: pandas 3 reads them as a type of their own, in which older releases of MLflow (2.22 and 3.4, for example) refuse every row.
    """
    import numpy as np

    names = schema.input_names() if schema.has_input_names() else list(table.columns)
    kinds = [kind.to_pandas() if hasattr(kind, "to_pandas") else kind for kind in schema.input_types()]
    if schema.is_tensor_spec() and not schema.has_input_names():
        kinds *= len(names)
    table = table.copy(deep=False)
    for name, kind in zip(names, kinds, strict=False):  # a table may have more columns than a model without names takes
        if name not in table.columns:
            continue
        if table[name].dtype.name == "str":
            table[name] = table[name].astype(object)
        if table[name].dtype != kind and getattr(kind, "kind", "") in ("f", "i", "u") and table[name].dtype.kind in "fiub":
            try:
                with np.errstate(over="ignore"):
                    cast = table[name].astype(kind)
            except (TypeError, ValueError):  # empty cells in a column of whole numbers
                continue
            endless = [np.inf, -np.inf]
            fits = cast == table[name] if kind.kind != "f" else ~cast.isin(endless) | table[name].isin(endless)
            if fits.where(table[name].notna(), True).all():
                table[name] = cast
    return table


MOST_FAILURES = 1000
"""A model that fails at more rows of a file is broken; looking for each of them would take forever."""


def _scored(model: Any, columns: list[str], table: Any, failures: Failures, before: int) -> tuple[Any, Any]:
    """Predict a table. Where that fails, halves are tried, so that only the rows that fail are left out.

    Returns:
        The rows that were predicted, and their predictions.
    """
    import pandas as pd

    if not len(table):
        return table, []
    # each half by its own types, for one value may keep a column from them; and numbered anew, since MLflow looks for row 0 of what an array is made from
    given = typed(table, model.metadata.signature.inputs).reset_index(drop=True)
    try:
        return table, model.predict(given[columns] if columns else given)
    except Exception as error:
        if len(table) == 1:
            failures.add(before + 1 + int(table.index[0]), error, table)
            if failures.rows > MOST_FAILURES:
                raise SystemExit(f"More than {MOST_FAILURES} rows cannot be scored, the first in {failures.first}.") from None
            return table[:0], []
    middle = len(table) // 2
    parts = [_scored(model, columns, half, failures, before) for half in (table[:middle], table[middle:])]
    framed_parts = [framed(predictions, rows.index) for rows, predictions in parts if len(rows)]
    rows = pd.concat([rows for rows, _ in parts if len(rows)]) if framed_parts else table[:0]
    return rows, pd.concat(framed_parts) if framed_parts else []


def framed(predictions: Any, index: Any) -> Any:
    """Predictions as a table; what has no names is called ``prediction``, or ``prediction_0``, ``prediction_1``, ..."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, pd.DataFrame):
        found = predictions
    elif isinstance(predictions, pd.Series):
        found = predictions.to_frame("prediction")
    elif isinstance(predictions, list) and predictions and isinstance(predictions[0], dict):
        found = pd.DataFrame(predictions)
    else:
        values = predictions if isinstance(predictions, list) and predictions and isinstance(predictions[0], (list, str)) else np.asarray(predictions)
        if isinstance(values, np.ndarray) and values.ndim == 2:
            found = pd.DataFrame(values, columns=[f"prediction_{number}" for number in range(values.shape[1])] if values.shape[1] > 1 else ["prediction"])
        else:
            found = pd.DataFrame({"prediction": list(values)})
    if len(found) != len(index):
        raise SystemExit(f"The model gave {len(found)} predictions for {len(index)} rows; only a model with one prediction for each row can score files.")
    return found.set_axis(index)


GAPS = ["", "nan", "NaN", "-nan", "-NaN", "null", "NULL", "None", "NA", "n/a", "N/A", "<NA>", "#NA", "#N/A", "#N/A N/A"]
GAPS += ["1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"]
"""What pandas takes for an empty cell of a CSV file, by its documentation; it can only be told so for all columns or with the whole list."""


def tables(path: Path, kind: str, rows: int, taken: Sequence[str] = (), texts: Sequence[str] = ()) -> Any:
    """The rows of a file as tables of at most ``rows`` rows, each numbered from 0; of Parquet with the same rows as Arrow has them, else with None.

    Args:
        path: The file.
        kind: ``csv``, ``jsonl`` or ``parquet``.
        rows: How many rows a table may have.
        taken: The columns that the model takes. All others are left as they are written, ``007`` and an empty cell, too; without it there are no others.
        texts: Those of them that it takes as texts: ``01234`` is one, too.
    """
    import pandas as pd

    try:
        if kind == "parquet":
            import pyarrow.parquet  # type: ignore[import-not-found, unused-ignore]

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(rows):
                yield batch.to_pandas().reset_index(drop=True), batch
        elif kind == "csv":
            as_written: dict[str, Any] = {}
            if taken:
                names = pd.read_csv(path, nrows=0, compression="infer").columns
                as_written["dtype"] = {name: str for name in names if name not in taken or name in texts}
                as_written |= {"keep_default_na": False, "na_values": {name: GAPS for name in names if name in taken}}
            with pd.read_csv(path, chunksize=rows, compression="infer", **as_written) as reader:
                for table in reader:
                    yield table.reset_index(drop=True), None
        else:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8") as file:
                filled = (line for line in file if line.strip())
                while lines := list(itertools.islice(filled, rows)):
                    yield _of_lines(lines, taken, texts), None
    except pd.errors.EmptyDataError:
        return
    except SystemExit:
        raise
    except Exception as error:
        told(error)
        raise SystemExit(f"{path.name} cannot be read as {kind}: {type(error).__name__}: {in_a_line(error)}") from None


def _of_lines(lines: list[str], taken: Sequence[str], texts: Sequence[str]) -> Any:
    """A table of JSON lines; pandas makes numbers and times of texts, which is for the columns alone that a model takes as such."""
    import pandas as pd

    table = pd.read_json(io.StringIO("".join(lines)), lines=True, convert_axes=False)
    others = [name for name in table.columns if taken and (name not in taken or name in texts)]
    if others:
        records = json.loads(f"[{','.join(lines)}]")  # four times as fast as one by one
        for name in others:
            values = [record.get(name) if isinstance(record, dict) else None for record in records]
            table[name] = pd.Series(values, index=table.index, dtype=object)
    return table.reset_index(drop=True)


class Writer:
    """Writes tables to one file, in the format of the input."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._open: Any = None
        self._predicted: Any = None

    def write(self, kept: Any, predictions: Any, arrow: Any) -> None:
        """Write rows.

        Args:
            kept: The columns of the input that stand beside the predictions.
            predictions: The predictions for the same rows.
            arrow: The part of a Parquet file in which ``kept`` has the numbers of its rows; their columns are taken from there, for pandas has other types:
                none for a column without any value, and floating point numbers for whole ones with gaps.
        """
        if self._kind == "parquet":
            import pyarrow  # type: ignore[import-not-found, unused-ignore]
            import pyarrow.parquet

            found = pyarrow.Table.from_pandas(predictions, preserve_index=False, schema=self._predicted)
            self._predicted = found.schema
            places = [arrow.schema.get_field_index(str(name)) for name in kept.columns]
            fields = [*(arrow.schema.field(place) for place in places), *found.schema]
            rows = pyarrow.array(kept.index)
            content = pyarrow.Table.from_arrays([*(arrow.column(place).take(rows) for place in places), *found.columns], schema=pyarrow.schema(fields))
            self._open = self._open or pyarrow.parquet.ParquetWriter(self._path, content.schema)
            self._open.write_table(content)
            return
        table = kept.join(predictions)
        first = self._open is None
        if first:
            opened = gzip.open if self._path.suffix == ".gz" else open
            self._open = opened(self._path, "wt", encoding="utf-8", newline="")
        if self._kind == "csv":
            table.to_csv(self._open, index=False, header=first, lineterminator="\n")
        else:
            table.to_json(self._open, orient="records", lines=True, date_format="iso", double_precision=15)  # the most that it can

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.close()


def load(model_folder: str) -> Any:
    """Load a model as MLflow's python_function."""
    try:
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(model_folder)
    except Exception as error:
        told(error)
        raise SystemExit(f"The model cannot be loaded here ({sys.executable}): {type(error).__name__}: {in_a_line(error)}") from None


def about(model: Any) -> dict[str, Any]:
    """What a report says of the model."""
    import mlflow

    signature = model.metadata.signature
    return {
        "mlflow": mlflow.__version__,
        "inputs": signature.inputs.to_dict() if signature and signature.inputs else None,
        "outputs": signature.outputs.to_dict() if signature and signature.outputs else None,
    }


def check_outputs(signature: Any, example: Any, predictions: Any) -> None:
    """Hold predictions against the outputs of the signature: names and types, as MLflow itself infers them."""
    from mlflow.models import infer_signature

    if signature.outputs is None:
        return
    try:
        found = infer_signature(example, predictions).outputs
    except Exception as error:  # MLflow knows no types for some outputs; then their equality is all that can be proven
        print(f"MLflow cannot tell the types of the predictions: {in_a_line(error)}", flush=True)
        return
    wanted, got = _kinds(signature.outputs), _kinds(found)
    if any(kind == "Any" for _, kind in (*wanted, *got)):  # so does MLflow call what it cannot tell
        return
    named = len(wanted) > 1 or len(got) > 1
    if (wanted if named else [kind for _, kind in wanted]) != (got if named else [kind for _, kind in got]):
        raise SystemExit(f"The model's predictions do not fit its signature: it promises {_words(wanted)}, and gives {_words(got)} for its input example.")


KINDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "truth values", "O": "texts", "U": "texts", "M": "times", "S": "texts"}


def _kinds(schema: Any) -> list[tuple[str, str]]:
    """Names and kinds of the columns of a schema. MLflow describes one output as a column or as a tensor, and widths differ by how it was inferred."""
    import numpy as np

    found = []
    for spec in schema.inputs:
        kind: Any = getattr(spec, "type", None)
        if hasattr(kind, "to_numpy"):
            kind = kind.to_numpy()
        found.append((str(spec.name or ""), KINDS.get(kind.kind, kind.kind) if isinstance(kind, np.dtype) else str(kind)))
    return found


def _words(kinds: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" if name else kind for name, kind in kinds)


def _parameters(metadata: Any, model_folder: str) -> Any:
    """The inference parameters of the input example, where MLflow knows such."""
    reader = getattr(metadata, "load_input_example_params", None)
    return reader(model_folder) if reader else None


def _serving_input(info: dict[str, Any], example: Any, model_folder: str) -> str:
    """The input example as MLflow's scoring protocol takes it: the file that MLflow wrote, or made from the example for older models."""
    written = info.get("serving_input_path")
    if written:
        return Path(model_folder, written).read_text(encoding="utf-8")
    try:
        from mlflow.models import convert_input_example_to_serving_input

        return str(convert_input_example_to_serving_input(example))
    except Exception as error:
        raise SystemExit(f"The input example cannot be sent over HTTP: {type(error).__name__}: {in_a_line(error)}") from None


def plain(predictions: Any) -> Any:
    """Predictions as plain JSON values, in the form of MLflow's scoring protocol: frames become records, arrays lists."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, (pd.DataFrame, pd.Series)):
        predictions = pd.DataFrame(predictions).to_dict(orient="records")
    elif isinstance(predictions, np.ndarray):
        predictions = predictions.tolist()
    try:
        from mlflow.utils.proto_json_utils import NumpyEncoder
    except ImportError:
        return json.loads(json.dumps(predictions, default=str))
    return json.loads(json.dumps(predictions, cls=NumpyEncoder))


def in_a_line(error: BaseException) -> str:
    """An exception's words in one line. Some libraries write pages; MLflow puts the whole table before what is wrong with it."""
    words = " ".join(str(error).split())
    return words.rpartition(" Error: ")[2][:500]


def told(error: BaseException) -> None:
    """Print the traceback of an exception."""
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)


def end_with_parent() -> None:
    """Have the system end this process when the one that started it is gone (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG in linux/prctl.h


if __name__ == "__main__":
    end_with_parent()
    {"predict": predict, "score": score}[sys.argv[1]](*sys.argv[2:])
