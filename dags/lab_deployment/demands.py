"""What a model demands of its environment, and which environment of the lab's image is that already. Role ``model_server`` uses this very file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

WITHOUT_FLASK, WITH_PANDAS_3 = (2, 21), (3, 16)
"""The first releases of MLflow's client whose scoring server needs no Flask, and that take pandas 3."""

PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")
"""A requirement of one version, whatever the platform."""


class Unclear(Exception):
    """A model does not say what it demands; a sentence without its full stop."""


class Demands(NamedTuple):
    """What a model demands."""

    python: str
    """3.13"""
    own: list[str]
    """The requirements that it was logged with."""
    added: list[str]
    """What it takes besides to load it and to ask it, where its own requirements do not name that."""

    @property
    def requirements(self) -> str:
        """All of them, as the text of a requirements file."""
        return "".join(f"{line}\n" for line in (*self.own, *self.added))

    def and_also(self, names: Iterable[str]) -> Demands:
        """The same with further distributions, unless they are among them."""
        known = {name_of(line) for line in (*self.own, *self.added)}
        return self._replace(added=[*self.added, *(name for name in names if name_of(name) not in known)])

    def met_by(self, versions: Mapping[str, str]) -> bool:
        """Whether distributions are all that is demanded, in the very versions that the model was logged with.

        Args:
            versions: Normalised name -> version. A requirement of the model that leaves it open means the newest one of the index, which nobody knows here.
        """
        return all(PIN.fullmatch(line) for line in self.own) and all(_has(versions, line) for line in (*self.own, *self.added))


def demanded(model: Path) -> Demands:
    """What a model directory of MLflow demands.

    Raises:
        Unclear: It does not say.
    """
    requirements, environment = model / "requirements.txt", model / "python_env.yaml"
    if not requirements.is_file() or not environment.is_file():
        raise Unclear("its directory lacks requirements.txt or python_env.yaml; log it with pip_requirements=[...]")
    python = re.search(r"^python:\s*['\"]?(\d+\.\d+)", environment.read_text(encoding="utf-8"), re.MULTILINE)
    if python is None:
        raise Unclear("its python_env.yaml has no line python: <version>")
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    own, added = [line for line in lines if line and not line.startswith("#")], list[str]()
    by_name = {name_of(line): line for line in own}
    if not {"mlflow", "mlflow-skinny"} & by_name.keys():
        written_by = re.search(r"^mlflow_version:\s*(\S+)", (model / "MLmodel").read_text(encoding="utf-8"), re.MULTILINE)
        by_name["mlflow-skinny"] = f"mlflow-skinny=={written_by[1]}" if written_by else "mlflow-skinny"
        added.append(by_name["mlflow-skinny"])
    if "mlflow" not in by_name:  # which demands what follows itself; mlflow-skinny needs it for predictions, and does not
        release = _release(by_name["mlflow-skinny"])
        if "pandas" not in by_name:
            added.append("pandas" if release >= WITH_PANDAS_3 else "pandas<3")
        if "flask" not in by_name and release < WITHOUT_FLASK:
            added.append("flask<4")  # mlflow.pyfunc.scoring_server imports it
    return Demands(python[1], own, added)


def in_image(demands: Demands, folder: Path) -> tuple[str, str] | None:
    """Key and interpreter of an environment in the image that has what is demanded, in the very versions that the model was logged with; None if there is none.

    Args:
        demands: What is demanded.
        folder: Where the image has environments, each with its lock beside it.
    """
    for lock in sorted(folder.glob("*.lock")):
        text = lock.read_text(encoding="utf-8")
        pins = {name_of(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==([^\s;\\]+)", text, re.MULTILINE)}
        if f"# python: {demands.python}\n" in text and demands.met_by(pins):
            key = os.readlink(folder / lock.stem)
            return key, str(folder / key / "bin" / "python")
    return None


def name_of(requirement: str) -> str:
    """The normalised name in a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _has(pins: Mapping[str, str], line: str) -> bool:
    """Whether a lock's pins satisfy a requirement."""
    try:
        return Requirement(line).specifier.contains(pins[name_of(line)], prereleases=True)
    except (InvalidRequirement, KeyError):
        return False


def _release(requirement: str) -> tuple[int, int]:
    """The version that a requirement pins or has as its highest, 2.20; the newest one where it says nothing."""
    found = re.search(r"(?:==|~=|<=?)\s*(\d+)\.(\d+)", requirement)
    return (int(found[1]), int(found[2])) if found else (99, 0)
