"""Tells from a chemical analysis which of three cultivars a wine was made of."""

from wine_cultivars.data import prepare
from wine_cultivars.model import evaluate, train

__all__ = ["evaluate", "prepare", "train"]
