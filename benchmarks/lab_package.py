"""A package of the benchmarks, since experiments call functions of packages alone: published to a running lab's index, with an environment of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))
import running_lab  # noqa: E402 (the path above comes first)

NAME, MODULE = "lab-bench", "lab_bench"
PROJECT = """\
[build-system]
requires = ["flit_core==3.12.0"]
build-backend = "flit_core.buildapi"

[project]
name = "lab-bench"
version = "{version}"
description = "The package of the lab's benchmarks"
requires-python = ">=3.10"
dependencies = {dependencies}
"""
SOURCE = '''\
"""What the benchmarks of a lab call."""

import time
import timeit

import numpy

EDIT = "{version}"


def begin() -> dict:
    """Say when this line runs, and of which edit it is."""
    return {{"at": time.time(), "edit": EDIT, "numpy": numpy.__version__}}


def at(first: dict, edit: str, weight: int) -> float:
    """Tell the time of `begin`, -1 if that was another edit; nothing is searched for."""
    return first["at"] if first["edit"] == edit else -1.0


def work(statement: str, repeats: int, setup: str = "pass") -> float:
    """Run a statement so many times; the seconds it took."""
    return timeit.timeit(statement, setup=setup, number=repeats)


def wait(seconds: int) -> None:
    """Do nothing for so long."""
    time.sleep(seconds)
'''


class Package:
    """The package, its environment and its experiments in the lab's folder, until :meth:`close`."""

    def __init__(self, *dependencies: str) -> None:
        self.dependencies = ["numpy", *dependencies]
        self.folder = tempfile.TemporaryDirectory(prefix=NAME)
        self.project = Path(self.folder.name) / NAME
        self.environment = running_lab.LAB / f"environments/{MODULE}.in"
        self.image = running_lab.LAB / "custom_requirements.txt"
        self.image_former: bytes | None = None
        there = [*self.environment.parent.glob(f"{MODULE}.*"), *(running_lab.LAB / "experiments").glob(f"{MODULE}*.yml")]
        if there:
            raise SystemExit(f"{there[0]} is there already, and would be overwritten: remove it first.")
        (self.project / MODULE).mkdir(parents=True)

    def __enter__(self) -> Package:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove what was written into the lab's folder, and the package from the image. It stays in the index, and the runs in MLflow."""
        for path in (*self.environment.parent.glob(f"{MODULE}.*"), *(running_lab.LAB / "experiments").glob(f"{MODULE}*.yml")):
            path.unlink()
        self.folder.cleanup()
        if self.image_former is not None:
            self.image.write_bytes(self.image_former)
            running_lab.make("build", "start")  # the image as it was

    def write(self, version: str) -> None:
        """Change the package."""
        (self.project / "pyproject.toml").write_text(PROJECT.format(version=version, dependencies=json.dumps(self.dependencies)), encoding="utf-8")
        (self.project / MODULE / "__init__.py").write_text(SOURCE.format(version=version), encoding="utf-8")

    def publish(self) -> None:
        """Publish it."""
        running_lab.make("publish", f"PROJECT={self.project}")

    def want(self, version: str) -> None:
        """Name its version in the environment."""
        self.environment.parent.mkdir(exist_ok=True)
        self.environment.write_text(f"{NAME}=={version}\n", encoding="utf-8")

    def want_in_image(self, version: str) -> None:
        """Name its version in the requirements of the lab's image."""
        if self.image_former is None:
            self.image_former = self.image.read_bytes()
        self.image.write_bytes(self.image_former + f"{NAME}=={version}\n".encode())

    def experiment(self, name: str, content: dict[str, Any]) -> str:
        """Write an experiment file; returns what it is called."""
        named = f"{MODULE}_{name}"
        (running_lab.LAB / f"experiments/{named}.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return named


def first_line(version: str) -> dict[str, Any]:
    """Return the sections of an experiment that makes the time of its first line known, as the value of the only trial."""
    arguments = {"first": "{{ steps.first }}", "edit": version, "weight": "{{ params.weight }}"}
    search = {
        "objective": {"call": f"{MODULE}:at", "with": arguments},
        "space": {"weight": {"type": "categorical", "choices": [1]}},
        "trials": 1,
        "direction": "minimize",
    }
    return {"steps": [{"name": "first", "call": f"{MODULE}:begin"}], "search": search}
