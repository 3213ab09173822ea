"""Who bears the alias ``champion`` in MLflow's model registry.

A new version becomes champion only if it is better than the present one on the same held-back data, measured now and by the same evaluation; what was
recorded when the present one was trained says nothing about other data. The reason is a sentence in the tag ``lab.champion`` of the new version.

A champion that can no longer be loaded or measured stays: whether it is worse is not known, and somebody may be served by it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import mlflow.models
import mlflow.pyfunc
from mlflow.exceptions import MlflowException

from lab_experiment import callables, storable, wrapped
from lab_experiment.failures import Failure

ALIAS = "champion"
TAG = "lab.champion"
CHANGES = 5
"""How often the champion may change under our hands before we give up."""


def promote(
    client: Any,
    name: str,
    version: str | int,
    rule: Mapping[str, Any],
    metrics: Mapping[str, float],
    evaluate: Callable[[str], Mapping[str, float]],
) -> dict[str, Any]:
    """Give a new version the alias ``champion`` if it deserves it, and tag it with the reason.

    Args:
        client: An ``MlflowClient``.
        name: The registered model.
        version: The new version, which is registered.
        rule: ``metric``, ``direction`` (``maximize`` or ``minimize``) and ``margin``: by more than this the new version must be better.
        metrics: What the new version reached on the held-back data.
        evaluate: Measures the model at another address of MLflow on the same data.

    Returns:
        ``promoted``, ``reason``, ``metric``, ``value``, and of the champion before ``former_version`` and ``former_value`` (None if there was none).

    Raises:
        Failure: The metric is none of those that were measured.
    """
    metric = rule["metric"]
    if metric not in metrics:
        raise Failure(f"register.champion.metric has {metric!r}; the evaluation gave {', '.join(sorted(metrics)) or 'none'}")
    for _ in range(CHANGES):
        present = champion_of(client, name)
        verdict = _verdict(name, str(version), present, rule, metrics[metric], evaluate)
        if verdict["promoted"] and champion_of(client, name) != present:
            continue  # another run was quicker: this version has yet to be measured against that one
        break
    else:
        verdict |= {"promoted": False, "reason": f"the champion changed {CHANGES} times while this version was compared with it; it was left alone"}
    if verdict["promoted"] and present != str(version):
        client.set_registered_model_alias(name, ALIAS, str(version))
    client.set_model_version_tag(name, str(version), TAG, verdict["reason"][:5000])
    print(f"[champion] version {version} of {name} is {'' if verdict['promoted'] else 'not '}champion: {verdict['reason']}", flush=True)
    return verdict


def champion_of(client: Any, name: str) -> str | None:
    """The version that is champion now; None if there is none."""
    try:
        return str(client.get_model_version_by_alias(name, ALIAS).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def load(uri: str) -> Any:
    """Load a model from MLflow, or from the folder that it was fetched to.

    It is what it was when it was logged: a scikit-learn estimator, a booster, a ``PythonModel``, a package's own class.
    """
    flavors = mlflow.models.Model.load(uri).flavors  # of a folder this asks nobody, as get_model_info does
    module = flavors["python_function"]["loader_module"]
    if module.startswith("mlflow.pyfunc"):
        return wrapped.unwrap(mlflow.pyfunc.load_model(uri).unwrap_python_model())
    return importlib.import_module(module).load_model(uri)


def _verdict(
    name: str, version: str, present: str | None, rule: Mapping[str, Any], value: float, evaluate: Callable[[str], Mapping[str, float]]
) -> dict[str, Any]:
    metric, margin = rule["metric"], float(rule.get("margin") or 0.0)
    verdict = {"promoted": False, "reason": "", "metric": metric, "value": value, "former_version": present, "former_value": None}
    if not math.isfinite(value):
        return verdict | {"reason": f"its {metric} is {'not a number' if math.isnan(value) else value}"}
    if present is None:
        return verdict | {"promoted": True, "reason": f"there was no champion yet; its {metric} is {value:.6g}"}
    if present == version:
        return verdict | {"promoted": True, "reason": f"it was champion already; its {metric} is {value:.6g}"}
    try:
        measured = evaluate(f"models:/{name}/{present}")
        former = float(measured[metric])
        if math.isnan(former):
            raise ValueError(f"its {metric} is not a number")
    except Exception as error:
        if not isinstance(error, Failure):
            callables.tell(error)
        words = (
            f"the present champion, version {present}, could not be measured on the same data ({storable.raised(error)}), so it stays; "
            f"delete the alias {ALIAS!r} to have the next training promoted, or set it by hand"
        )
        return verdict | {"reason": words}
    better = value - former if rule.get("direction", "maximize") == "maximize" else former - value
    enough = better > margin and not math.isclose(better, margin, rel_tol=1e-9)  # 0.9 - 0.8 is not exactly 0.1
    by = f"better by more than {margin:g}" if margin else "better"
    comparison = f"its {metric} of {value:.6g} is {'' if enough else 'not '}{by} than the {former:.6g} of version {present} on the same data"
    return verdict | {"promoted": enough, "reason": comparison, "former_value": former}
