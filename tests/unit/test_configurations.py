"""Arguments that become objects of a package's own classes. Plain Python, as in the project's environment."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import pydantic
import pytest

from lab_experiment import callables, configurations


@dataclasses.dataclass(frozen=True)
class Tree:
    """A part of a configuration."""

    depth: int = 3
    leaves: int = 8


@dataclasses.dataclass
class Config:
    """A configuration."""

    rate: float
    tree: Tree = dataclasses.field(default_factory=Tree)
    seed: int | None = None


class Window(NamedTuple):
    """Another kind of class with fields."""

    begin: int
    end: int = 9


class Data(pydantic.BaseModel):
    """One of pydantic, with an alias and a part."""

    path: str = pydantic.Field(alias="file")
    tree: Tree = Tree()


class Model:
    """What takes a configuration."""

    def __init__(self, cfg: Config | None = None, window: Window = Window(0)) -> None:  # noqa: B008
        """Keep it."""
        self.cfg, self.window = cfg, window


def load(data: Data) -> Data:
    """Return what came."""
    return data


def fit(cfg: Config, options: dict[str, Any] | Config | None = None, extra: Any = None) -> Any:
    """Return what came."""
    return cfg, options, extra


def test_a_mapping_becomes_what_the_parameter_is_said_to_be() -> None:
    given = {"cfg": {"rate": 0.1, "tree": {"depth": 5}}, "options": {"rate": 1}, "extra": {"rate": 1}}
    assert callables.invoke("theirs:fit", fit, given) == (Config(0.1, Tree(5)), {"rate": 1}, {"rate": 1}), "a mapping that is welcome stays one"
    ready = Config(0.2)
    assert callables.invoke("theirs:fit", fit, {"cfg": ready})[0] is ready
    model = callables.invoke("theirs:Model", Model, {"cfg": {"rate": 0.3}, "window": {"begin": 2}})
    assert (model.cfg, model.window) == (Config(0.3), Window(2, 9))


def test_pydantic_makes_and_judges_its_own() -> None:
    made = callables.invoke("theirs:load", load, {"data": {"file": "a.csv", "tree": {"depth": 4}}})
    assert made == Data(file="a.csv", tree=Tree(4))
    found = dict(configurations.unfit("steps.load.with", load, {"data": {"path": "a.csv"}}))
    assert found["steps.load.with.data"] == "steps.load.with.data lacks 'file', which Data needs; its fields are file, tree."


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({"rat": 0.1}, "train.with.cfg.rat", "train.with.cfg has 'rat', which is no field of Config; allowed: rate, tree, seed."),
        ({"tree": "{{ steps.tree }}"}, "train.with.cfg", "train.with.cfg lacks 'rate', which Config needs; its fields are rate, tree, seed."),
        (
            {"rate": "{{ params.rate }}", "tree": {"deep": 1}},
            "train.with.cfg.tree.deep",
            "train.with.cfg.tree has 'deep', which is no field of Tree; allowed: depth, leaves.",
        ),
    ],
)
def test_a_field_that_is_not_there_is_found_before_anything_runs(given: dict[str, Any], where: str, words: str) -> None:
    assert (where, words) in list(configurations.unfit("train.with", fit, {"cfg": given}))


@pytest.mark.parametrize("given", [{"rate": 1}, {"rate": "{{ params.rate }}", "tree": {"depth": 1}, "seed": None}, "{{ steps.config }}"])
def test_what_fits(given: Any) -> None:
    assert list(configurations.unfit("train.with", fit, {"cfg": given, "options": {"any": 1}})) == []
