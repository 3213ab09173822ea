"""What a model predicts, of whatever class it is."""

from __future__ import annotations

import sys
from typing import Any


def predict(model: Any, rows: Any, method: str = "predict") -> Any:
    """What a model predicts for rows, by its ``predict`` or ``predict_proba``.

    A booster of XGBoost takes nothing but a matrix of XGBoost's. MLflow makes one where the model is served, and so does this.
    """
    if is_booster(model, "xgboost"):
        rows = sys.modules["xgboost"].DMatrix(rows)
    return getattr(model, method)(rows)


def is_booster(model: Any, *packages: str) -> bool:
    """Whether a model is what the own ``train`` of one of the packages gives, by default of LightGBM or XGBoost: no estimator, and without ``classes_``."""
    kinds = (getattr(sys.modules.get(name), "Booster", None) for name in packages or ("lightgbm", "xgboost"))  # imported, if a model is of it
    return isinstance(model, tuple(kind for kind in kinds if kind))
