"""Loads a model and predicts with it, in the project's environment or in the one that the model demands.

    python scoring.py predict <model folder> <answer.json>
    python scoring.py score <request.json> <report.json>

A script of its own, because a model's environment may be of another Python and hold an older MLflow and nothing of this project. Whatever goes wrong ends the process
with exit code 1 and one last line that says so.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def predict(model_folder: str, answer_file: str) -> None:
    """Predict the model's own input example; writes ``predictions``, ``serving_input``, and what the model and this environment are."""
    model = load(model_folder)
    info = model.metadata.saved_input_example_info
    if info is None:
        raise SystemExit("The model has no input example, so there is nothing to prove a deployment with; log it with input_example=<a few rows>.")
    if model.metadata.signature is None:
        raise SystemExit("The model has no signature, so nobody can tell what it takes; log it with signature=infer_signature(<input>, <predictions>).")
    example = model.metadata.load_input_example(model_folder)
    parameters = _parameters(model.metadata, model_folder)
    try:
        predictions = model.predict(example, parameters) if parameters else model.predict(example)
    except Exception as error:
        told(error)
        raise SystemExit(f"The model cannot predict its own input example: {type(error).__name__}: {first_line(error)}") from None
    check_outputs(model.metadata.signature, example, predictions)
    answer = {
        "predictions": plain(predictions),
        "serving_input": _serving_input(info, example, model_folder),
        "python": platform.python_version(),
        "rows": len(example) if hasattr(example, "__len__") else 1,
        **about(model),
    }
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


def load(model_folder: str) -> Any:
    """Load a model as MLflow's python_function."""
    try:
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(model_folder)
    except Exception as error:
        told(error)
        raise SystemExit(f"The model cannot be loaded here ({sys.executable}): {type(error).__name__}: {first_line(error)}") from None


def about(model: Any) -> dict[str, Any]:
    """What a report says of the model."""
    import mlflow

    signature = model.metadata.signature
    return {
        "mlflow": mlflow.__version__,
        "inputs": signature.inputs.to_dict() if signature and signature.inputs else None,
        "outputs": signature.outputs.to_dict() if signature and signature.outputs else None,
    }


def check_outputs(signature: Any, example: Any, predictions: Any) -> None:
    """Hold predictions against the outputs of the signature: names and types, as MLflow itself infers them."""
    from mlflow.models import infer_signature

    if signature.outputs is None:
        return
    try:
        found = infer_signature(example, predictions).outputs
    except Exception as error:  # MLflow knows no types for some outputs; then their equality is all that can be proven
        print(f"MLflow cannot tell the types of the predictions: {first_line(error)}", flush=True)
        return
    wanted, got = _kinds(signature.outputs), _kinds(found)
    named = len(wanted) > 1 or len(got) > 1
    if (wanted if named else [kind for _, kind in wanted]) != (got if named else [kind for _, kind in got]):
        raise SystemExit(f"The model's predictions do not fit its signature: it promises {_words(wanted)}, and gives {_words(got)} for its input example.")


KINDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "truth values", "O": "texts", "U": "texts", "M": "times", "S": "texts"}


def _kinds(schema: Any) -> list[tuple[str, str]]:
    """Names and kinds of the columns of a schema. MLflow describes one output as a column or as a tensor, and widths differ by how it was inferred."""
    import numpy as np

    found = []
    for spec in schema.inputs:
        kind: Any = getattr(spec, "type", None)
        if hasattr(kind, "to_numpy"):
            kind = kind.to_numpy()
        found.append((str(spec.name or ""), KINDS.get(kind.kind, kind.kind) if isinstance(kind, np.dtype) else str(kind)))
    return found


def _words(kinds: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" if name else kind for name, kind in kinds)


def _parameters(metadata: Any, model_folder: str) -> Any:
    """The inference parameters of the input example, where MLflow knows such."""
    reader = getattr(metadata, "load_input_example_params", None)
    return reader(model_folder) if reader else None


def _serving_input(info: dict[str, Any], example: Any, model_folder: str) -> str:
    """The input example as MLflow's scoring protocol takes it: the file that MLflow wrote, or made from the example for older models."""
    written = info.get("serving_input_path")
    if written:
        return Path(model_folder, written).read_text(encoding="utf-8")
    try:
        from mlflow.models import convert_input_example_to_serving_input

        return str(convert_input_example_to_serving_input(example))
    except Exception as error:
        raise SystemExit(f"The input example cannot be sent over HTTP: {type(error).__name__}: {first_line(error)}") from None


def plain(predictions: Any) -> Any:
    """Predictions as plain JSON values, in the form of MLflow's scoring protocol: frames become records, arrays lists."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, (pd.DataFrame, pd.Series)):
        predictions = pd.DataFrame(predictions).to_dict(orient="records")
    elif isinstance(predictions, np.ndarray):
        predictions = predictions.tolist()
    try:
        from mlflow.utils.proto_json_utils import NumpyEncoder
    except ImportError:
        return json.loads(json.dumps(predictions, default=str))
    return json.loads(json.dumps(predictions, cls=NumpyEncoder))


def first_line(error: BaseException) -> str:
    """The first line of an exception's words; some libraries write pages."""
    return next(iter(str(error).strip().splitlines()), "")


def told(error: BaseException) -> None:
    """Print the traceback of an exception."""
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)


if __name__ == "__main__":
    {"predict": predict}[sys.argv[1]](*sys.argv[2:])
