"""What is given beside an experiment file is read as the file would be."""

from __future__ import annotations

import math

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.filter.given_value import given_value

from lab_experiment import document

NUMBERS = ["8", "-3", "+5", "0", "0.3", "1e-3", "1e-5", "1E3", ".5", "1.", ".inf", "0x1f", "0o17"]
OTHERS = ["yes", "no", "on", "true", "False", "null", "~", "1:30", "2026-11-29", "random", "'012'", '"5"', "", "a b"]
PARTS = ["[1, 1e-4, yes]", "{name: cmaes, options: {sigma0: 1e-1}}"]


@pytest.mark.parametrize("text", [*NUMBERS, *OTHERS, *PARTS])
def test_a_value_is_what_it_would_be_in_the_file(text: str) -> None:
    ours, theirs = given_value(text), yaml.load(text, document._Loader)
    assert (ours, type(ours)) == (theirs, type(theirs))


@pytest.mark.parametrize("text", ["012", "[1, 2", "!x", "{{ x }}"])
def test_what_a_file_does_not_take_is_a_text(text: str) -> None:
    assert given_value(text) == text


def test_no_number_is_none() -> None:
    assert math.isnan(given_value(".nan"))
