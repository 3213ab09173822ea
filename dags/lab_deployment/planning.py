"""What is to be deployed where: a model and a target, checked together. Needs MLflow's client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab_deployment import models, targets
from lab_deployment.target import checked
from lab_experiment.failures import Mistakes


def plan(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Check what was asked for, and find the model.

    Args:
        wanted: ``model_uri``, ``target``, ``target_options``.

    Returns:
        ``title``, ``model`` (``uri`` with its alias resolved, ``name``, ``version``, ``model_id``, ``run_id``), ``target``, ``options`` and ``environment``.

    Raises:
        Mistakes: Something is wrong or not there.
        Failure: MLflow cannot be asked.
    """
    sentences: list[str] = []
    target = None
    options: dict[str, Any] = {}
    try:
        target = targets.find(wanted["target"])
        options = checked(wanted["target_options"] or {}, target)
    except Mistakes as error:
        sentences += error.sentences
    try:
        model = models.find(wanted["model_uri"])
    except Mistakes as error:
        raise Mistakes([*error.sentences, *sentences]) from None
    if target and not sentences and target.runs_in == "project":
        sentences += target.check(options, model)
    if sentences or target is None:
        raise Mistakes(sentences)
    title = f"{model['name']} {model['version']}" if model["name"] else model["uri"]
    return {
        "title": f"{title} to {target.name}", "model": model, "target": target.name, "options": options, "environment": target.environment(options),
    }  # fmt: skip
