"""The Python environment that a model itself demands: one in the image, or one that the environments' service makes of its requirements, and keeps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import lab_environments
from lab_deployment.demands import Unclear, demanded, in_image, name_of
from lab_experiment.failures import Failure, Mistakes


def of_model(model: Path, also: Sequence[str] = (), or_this: bool = False) -> str:
    """The interpreter of the environment that a model demands, made if it is not there yet.

    Args:
        model: MLflow's model directory.
        also: Requirements for reading data, for names that the model's own do not pin.
        or_this: Whether this interpreter's will do, where it has the very same versions, or nobody knows what is demanded.

    Raises:
        Mistakes: The model demands a Python that is not on this worker, or what no index has.
        Failure: Its requirements cannot be installed.
    """
    try:
        demands = demanded(model).and_also(also)
    except Unclear as error:
        if or_this:
            return sys.executable
        raise Mistakes([f"The model does not say what it needs: {error}."]) from None
    here = {name_of(one.name): one.version for one in distributions()} if or_this else {}
    if or_this and demands.python == f"{sys.version_info[0]}.{sys.version_info[1]}" and demands.met_by(here):
        print(f"[environment] Python {demands.python}, the project's own, which has all that the model demands", flush=True)
        return sys.executable
    if found := in_image(demands, lab_environments.folder_in_image()):
        key, interpreter = found
        print(f"[environment] {key}: Python {demands.python}, in the image", flush=True)
        return interpreter
    try:
        key, interpreter = lab_environments.made(demands.requirements, demands.python, lambda line: print(f"[environment] {line}", flush=True))
    except Mistakes as error:
        raise Mistakes([f"The model's environment cannot be made here: {sentence}" for sentence in error.sentences]) from None
    except Failure as error:
        raise Failure(f"what the model demands cannot be installed: {error}") from None
    print(f"[environment] {key}: Python {demands.python}, {len(demands.own) + len(demands.added)} requirements", flush=True)
    return interpreter
