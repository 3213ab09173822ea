"""What a model needs to be loaded again: the distributions it is made of, pinned, with all they depend on."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import pickle
from collections.abc import Iterable
from types import ModuleType

import cloudpickle
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def of_model(model: object, *also: str) -> list[str]:
    """Requirements (``name==version``) for loading a model: what the modules in its pickle belong to, MLflow's client, pandas, and their dependencies.

    MLflow's own way is to load the model in a second process and watch its imports: seconds slower, and it lists what merely happened to be imported
    and the full ``mlflow`` in place of the client that is installed.

    Args:
        model: The model; it must be one that cloudpickle can hold.
        also: Further distributions that are needed, by name.
    """
    modules: set[str] = set()

    def subimport(name: str) -> ModuleType:
        modules.add(name.partition(".")[0])
        return importlib.import_module(name)

    class Recorder(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str, /) -> object:
            if (module_name, global_name) == ("cloudpickle.cloudpickle", "subimport"):  # a module that a function of the model uses
                return subimport
            modules.add(module_name.partition(".")[0])
            found = super().find_class(module_name, global_name)
            # No class is there without those that it is derived from, which its own distribution need not demand: scikit-learn is an extra of XGBoost.
            modules.update(str(base.__module__).partition(".")[0] for base in (found.__mro__ if isinstance(found, type) else ()))
            return found

    Recorder(io.BytesIO(cloudpickle.dumps(model))).load()  # our own bytes, made in this line
    if "keras" in modules:  # what it computes with is in no pickle
        modules.add(importlib.import_module("keras").backend.backend())
    by_module = importlib.metadata.packages_distributions()
    roots = {name for module in modules for name in by_module.get(module, [])}
    return pinned({*roots, *by_module["mlflow"], "pandas", *also})


def pinned(names: Iterable[str]) -> list[str]:
    """Installed distributions and all they depend on here, as ``name==version``, sorted; names that are not installed are left out."""
    waiting = [(canonicalize_name(name), "") for name in names]
    seen: set[tuple[str, str]] = set()
    versions: dict[str, str] = {}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        versions[name] = distribution.version
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return [f"{name}=={version}" for name, version in sorted(versions.items())]
