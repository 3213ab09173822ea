"""The patients: ten measurements each, and how far the disease had advanced a year later.

Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, *Least Angle Regression*, Annals of Statistics 32 (2004), as shipped with scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

TARGET = "progression"


def export(csv: str) -> None:
    """Write all 442 patients to a CSV file, the measurements in their own units (age in years, bp in mmHg, ...)."""
    patients = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": TARGET})
    Path(csv).parent.mkdir(parents=True, exist_ok=True)
    patients.to_csv(csv, index=False)


def split(csv: str, train_csv: str, test_csv: str, share: float = 0.2, seed: int = 0) -> None:
    """Split a CSV file into two; ``share`` (0 to 1) of its rows go to the second."""
    train, test = train_test_split(pd.read_csv(csv), test_size=share, random_state=seed)
    train.to_csv(train_csv, index=False)
    test.to_csv(test_csv, index=False)


def load(csv: str) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Read the measurements, shape (rows, 10), and the progression, shape (rows,)."""
    patients = pd.read_csv(csv).astype(float)
    return patients.drop(columns=TARGET), patients[TARGET]
