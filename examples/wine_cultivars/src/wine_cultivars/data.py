"""The data: 178 wines, 13 measurements each, three cultivars.

Source: UCI Machine Learning Repository, *Wine* (S. Aeberhard and M. Forina, 1992, doi:10.24432/C5PC7J, CC BY 4.0), as shipped with scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

TARGET = "cultivar"
"""Name of the column that holds the class: ``class_0``, ``class_1`` or ``class_2``, the names scikit-learn gives them."""


def prepare(folder: str | Path, test_share: float = 0.25, seed: int = 0) -> dict[str, str]:
    """Write the wines as two tables, one to train on and one held back.

    The split is stratified: each cultivar has the same share in both tables.

    Args:
        folder: Where the tables go; made if it is not there.
        test_share: Share of the 178 rows that is held back, above 0 and below 1.
        seed: Seed of the split; the same seed gives the same tables.

    Returns:
        Paths of the two tables, ``{"train": ".../train.csv", "test": ".../test.csv"}``. Each has 13 columns of floats in the units of the source
        (alcohol in percent by volume, magnesium and proline in mg/l, for the rest it names none) and the column ``cultivar``.

    Raises:
        ValueError: ``test_share`` is not between 0 and 1, or leaves a table without one of the cultivars.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}; it must lie between 0 and 1")
    source = load_wine(as_frame=True)
    wines: pd.DataFrame = source.data.copy()
    wines.columns = pd.Index([str(name).replace("/", "_") for name in wines.columns])
    wines[TARGET] = [str(source.target_names[number]) for number in source.target]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = {"train": str(target / "train.csv"), "test": str(target / "test.csv")}
    tables = train_test_split(wines, test_size=test_share, random_state=seed, stratify=wines[TARGET])
    for path, table in zip(paths.values(), tables, strict=True):
        table.to_csv(path, index=False)
    return paths


def read(table: str | Path) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Read a table that :func:`prepare` wrote.

    Args:
        table: Path of the CSV file.

    Returns:
        The measurements, shape (rows, 13), and the cultivars, shape (rows,).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The table has no column ``cultivar``.
    """
    wines = pd.read_csv(table)
    if TARGET not in wines.columns:
        raise ValueError(f"{table} has no column {TARGET!r}; its columns are {', '.join(map(str, wines.columns))}")
    return wines.drop(columns=TARGET), wines[TARGET]
