"""What is given beside an experiment file is read as the file would be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.filter.given_values import given_values

from lab_experiment import document

NUMBERS = ["8", "-3", "+5", "0", "0.3", "1e-3", "1e-5", "1E3", ".5", "1.", ".inf", "0x1f", "0o17"]
OTHERS = ["yes", "no", "on", "true", "False", "null", "~", "1:30", "2026-11-29", "random", "'012'", '"5"', "", "'a b'"]
PARTS = ["[1, 1e-4, yes]", "{name: cmaes, options: {sigma0: 1e-1}}"]


def given_value(text: str) -> Any:
    """Return the one value that is given by ``key=text``."""
    (one,) = given_values(f"key={text}")
    assert (one["part"], one["key"]) == (f"key={text}", "key")
    return one["value"]


@pytest.mark.parametrize("text", [*NUMBERS, *OTHERS, *PARTS])
def test_a_value_is_what_it_would_be_in_the_file(text: str) -> None:
    ours, theirs = given_value(text), yaml.load(text, document._Loader)
    assert (ours, type(ours)) == (theirs, type(theirs))


@pytest.mark.parametrize("text", ["012", "[1,2", "!x", "{{x}}"])
def test_what_a_file_does_not_take_is_a_text(text: str) -> None:
    assert given_value(text) == text


def test_no_number_is_none() -> None:
    assert math.isnan(given_value(".nan"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("  inputs.seed=8   search.sampler=random ", {"inputs.seed": 8, "search.sampler": "random"}),
        ("a='two words' b=\"and  three more\" c=1", {"a": "two words", "b": "and  three more", "c": 1}),
        ("a=[age, 'last visit', {x: 1}] b={c: [1, 2], d: e f}", {"a": ["age", "last visit", {"x": 1}], "b": {"c": [1, 2], "d": "e f"}}),
        ("a=it's b=x=y c=[1 d=2", {"a": "it's", "b": "x=y", "c": "[1", "d": 2}),
        ("words =5 a=1", {"": 5, "a": 1}),
    ],
)
def test_a_value_in_quotes_or_brackets_may_have_blanks(text: str, values: dict[str, Any]) -> None:
    assert {one["key"]: one["value"] for one in given_values(text)} == values


def test_a_part_without_a_value_has_no_key() -> None:
    assert given_values("seed")[0] == {"part": "seed", "key": "", "value": None}
