"""What a model predicts, of whatever class it is."""

from __future__ import annotations

import sys
from typing import Any


def predict(model: Any, rows: Any, method: str = "predict") -> Any:
    """What a model predicts for rows, by its ``predict`` or ``predict_proba``.

    A booster that XGBoost's own ``train`` gave takes nothing but a matrix of XGBoost's. MLflow makes one where the model is served, and so does this.
    """
    xgboost: Any = sys.modules.get("xgboost")  # it is there if the model is of it
    if isinstance(model, getattr(xgboost, "Booster", ())):
        rows = xgboost.DMatrix(rows)
    return getattr(model, method)(rows)
