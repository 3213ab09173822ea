"""Tables of batch scoring, as a model takes them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mlflow.types import ColSpec, DataType, Schema

from lab_deployment import scoring


def test_texts_of_a_file_are_objects_as_every_mlflow_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("kind,number\na,1\n,2\n")
    [table] = scoring.tables(path, "csv", 10)
    made = scoring.typed(table, Schema([ColSpec(DataType.string, "kind", required=False), ColSpec(DataType.double, "number")]))
    assert made["kind"].dtype == object and made["number"].dtype == float
    assert made["kind"][0] == "a" and pd.isna(made["kind"][1]) and isinstance(made["kind"][1], float), "a gap stays what it is"
