"""What is given beside an experiment file is read as the file would be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.lab.plugins.filter.given_value import given_value

from lab_experiment import document

NUMBERS = ["8", "-3", "+5", "0", "0.3", "1e-3", "1e-5", "1E3", ".5", "1.", ".inf", "0x1f", "0o17"]
OTHERS = ["yes", "no", "on", "true", "False", "null", "~", "1:30", "2026-11-29", "random", "'012'", '"5"', "!x", "", "a b"]
PARTS = ["[1, 1e-4, yes]", "{name: cmaes, options: {sigma0: 1e-1}}"]


@pytest.mark.parametrize("text", [*NUMBERS, *OTHERS, *PARTS])
def test_a_value_is_what_it_would_be_in_the_file(text: str) -> None:
    def read(how: Any) -> Any:
        try:
            return how()
        except (yaml.YAMLError, AnsibleFilterError):
            return "refused"

    ours, theirs = read(lambda: given_value(text)), read(lambda: yaml.load(text, document._Loader))
    assert (ours, type(ours)) == (theirs, type(theirs))


def test_what_a_file_does_not_take_is_a_text_or_a_sentence() -> None:
    assert given_value("012") == "012"
    assert math.isnan(given_value(".nan"))
    with pytest.raises(AnsibleFilterError, match=r"^\[1, 2 is no value: "):
        given_value("[1, 2")
