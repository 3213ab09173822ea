"""Models of classes that MLflow has no format for here, and of methods that it does not call, kept as one of ``mlflow.pyfunc`` that calls their own."""

from __future__ import annotations

import warnings
from typing import Any

import mlflow.pyfunc

NAME = "lab_wrapped"
"""The attribute that holds the model itself."""


def wrap(model: Any, method: str = "predict") -> Any:
    """A ``PythonModel`` that predicts what a model predicts by this method.

    Its class is made anew here, so that cloudpickle holds the class itself and not its name: where a model is served there is no ``lab_experiment``.
    Nothing in it may therefore name anything of this module.
    """

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would take hints for a schema
        return getattr(self.lab_wrapped, method)(model_input)

    with warnings.catch_warnings():  # MLflow asks for the very hints
        warnings.simplefilter("ignore")
        made = type("Wrapped", (mlflow.pyfunc.PythonModel,), {"__doc__": f"Calls a model's own {method}.", "__module__": "__main__", "predict": predict})()
    setattr(made, NAME, model)
    return made


def unwrap(model: Any) -> Any:
    """The model itself, of what :func:`wrap` gave; anything else as it is."""
    return getattr(model, NAME, model)
