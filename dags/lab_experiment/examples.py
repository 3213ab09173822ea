"""Input examples: a few rows of what a model was fitted on, as MLflow can keep them, describe them in a signature, and send them over HTTP.

MLflow's formats are frames and arrays of numpy's own types. What scikit-learn takes besides is brought into that form: a sparse matrix becomes an array, a list
or a series of texts an array of texts, a nullable or categorical column one of numpy's own types. The model must predict the same for both.
"""

from __future__ import annotations

from typing import Any

import mlflow.models
import numpy as np
import pandas as pd

from lab_experiment import predicting, storable
from lab_experiment.callables import say

WIDEST = 200_000
"""Numbers of an input example that was sparse, at most."""


def rows_of(table: Any, count: int) -> Any:
    """The first rows of data as a frame or array.

    Raises:
        ValueError: MLflow can keep no rows of it.
    """
    if hasattr(table, "toarray"):  # a sparse matrix
        count = min(count, WIDEST // max(1, table.shape[1]))
        if not count:
            raise ValueError(f"a row of the sparse matrix has {table.shape[1]} columns, and an input example at most {WIDEST}")
        return np.asarray(table.tocsr()[:count].toarray())
    if type(table).__module__.partition(".")[0] == "polars":
        table = _of_polars(table, count)
    elif hasattr(table, "to_pandas"):
        table = table.to_pandas()  # of polars' like
    if isinstance(table, pd.DataFrame):
        return _frame(table, count)
    rows = np.asarray(table.to_numpy() if isinstance(table, pd.Series) else table[:count])[:count]
    if rows.dtype == object:
        texts = all(isinstance(value, str) for value in rows.ravel())
        if not texts and any(isinstance(value, (str, bytes)) or storable.number(value) is None for value in rows.ravel()):
            raise ValueError("rows of mixed kinds have no place in an array; allowed: a frame with a column for each kind")
        rows = rows.astype(str if texts else float)
    return rows


def _of_polars(table: Any, count: int) -> Any:
    """The first rows of a frame or series of polars as pandas or numpy have them. Polars' own way there needs pyarrow, and goes through all rows."""
    if not hasattr(table, "columns"):
        return np.asarray(table.head(count).to_list())
    columns = {name: pd.Series(table[name].head(count).to_numpy()) for name in table.columns}
    for name, rows in columns.items():
        if table[name].null_count():  # in whatever row, as in `_frame`
            columns[name] = rows.astype({"i": float, "u": float, "b": object}.get(rows.dtype.kind, rows.dtype))
    return pd.DataFrame(columns)


def _frame(table: Any, count: int) -> Any:
    """The first rows of a frame, its columns of numpy's own types. Gaps anywhere in the table count: whole numbers with gaps are floating point numbers."""
    columns = {name: _column(table[name], count) for name in table.columns} if table.columns.is_unique else {}
    return pd.DataFrame(columns, index=table.index[:count]) if columns else table[:count]


def _column(column: Any, count: int) -> Any:
    kind, rows = column.dtype, column[:count]
    if isinstance(kind, pd.SparseDtype):
        return rows.sparse.to_dense()
    if isinstance(kind, pd.CategoricalDtype):
        gaps = column.isna().any() and kind.categories.dtype.kind in "iub"
        return rows.astype(float if gaps else kind.categories.dtype)
    if isinstance(kind, (np.dtype, pd.DatetimeTZDtype)):
        return rows
    numeric, truth = pd.api.types.is_numeric_dtype(kind), pd.api.types.is_bool_dtype(kind)
    if truth:
        return rows.astype(object).where(rows.notna(), None) if column.isna().any() else rows.astype(bool)
    if numeric:
        whole = pd.api.types.is_integer_dtype(kind) and not column.isna().any()
        return rows.astype("int64" if whole else "float64")
    return rows.astype(object).where(rows.notna(), None)


def describe(rows: Any, predictions: Any = None) -> Any:
    """A signature of rows and, where MLflow has a type for them, of predictions.

    Raises:
        Exception: MLflow has no type for the rows.
    """
    if predictions is not None:
        try:
            return mlflow.models.infer_signature(rows, predictions)
        except Exception as error:
            say(f"[track] the signature does not tell the predictions ({storable.raised(error)})")
    return mlflow.models.infer_signature(rows)


def check(model: Any, table: Any, rows: Any, method: str = "predict") -> None:
    """See that MLflow can describe rows, and that the model predicts for them what it does for those they were made of.

    Raises:
        Exception: It does not.
    """
    describe(rows)
    found = np.asarray(predicting.predict(model, rows, method))
    if type(rows) is type(table) and not isinstance(rows, pd.DataFrame):
        return
    own = np.asarray(predicting.predict(model, table[: len(rows)], method))
    same = (
        np.allclose(own, found, equal_nan=True)
        if own.dtype.kind in "fiu" and found.dtype.kind in "fiu" and own.shape == found.shape
        else np.array_equal(own, found)
    )
    if not same:
        raise ValueError(f"for rows of a {type(table).__name__} the model predicts something else than for the same rows as a {type(rows).__name__}")
