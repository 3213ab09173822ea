"""What a cross-validation found; apart from :mod:`lab_experiment.cross_validation`, because the keeper shows it and needs no scikit-learn for that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Scores:
    """What a cross-validation found."""

    scorers: list[str]
    """The names of the scorers, in the order of the file; the first is the one that counts."""
    folds: list[dict[str, float]]
    """The scores by scorer; NaN for what was skipped."""
    mean: dict[str, float]
    deviation: dict[str, float]
    """The standard deviation between the folds (of the folds themselves, not an estimate for others: numpy's default)."""
