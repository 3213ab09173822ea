"""Models of classes that MLflow has no format for here, kept as one of ``mlflow.pyfunc`` that calls their own ``predict``."""

from __future__ import annotations

import warnings
from typing import Any

import mlflow.pyfunc

NAME = "lab_wrapped"
"""The attribute that holds the model itself."""


def wrap(model: Any) -> Any:
    """A ``PythonModel`` that predicts what a model predicts.

    Its class is made anew here, so that cloudpickle holds the class itself and not its name: where a model is served there is no ``lab_experiment``.
    Nothing in it may therefore name anything of this module.
    """

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would take hints for a schema
        return self.lab_wrapped.predict(model_input)

    with warnings.catch_warnings():  # MLflow asks for the very hints
        warnings.simplefilter("ignore")
        made = type("Wrapped", (mlflow.pyfunc.PythonModel,), {"__doc__": "Calls a model's own predict.", "__module__": "__main__", "predict": predict})()
    setattr(made, NAME, model)
    return made


def unwrap(model: Any) -> Any:
    """The model itself, of what :func:`wrap` gave; anything else as it is."""
    return getattr(model, NAME, model)
