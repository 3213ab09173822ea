"""Tells from a chemical analysis which of three cultivars a wine was made of."""

from wine_cultivars.data import prepare, read
from wine_cultivars.model import evaluate, make_model, train

__all__ = ["evaluate", "make_model", "prepare", "read", "train"]
