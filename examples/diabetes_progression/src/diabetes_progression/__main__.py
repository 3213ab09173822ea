"""``python -m diabetes_progression <csv> <tracking uri>``: write the data, and fit a model on all of it."""

from __future__ import annotations

import sys

from diabetes_progression import data, fit

if __name__ == "__main__":
    data.export(sys.argv[1])
    fit.fit(sys.argv[1], sys.argv[2])
