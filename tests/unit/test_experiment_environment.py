"""Which environment an experiment file names, in whatever way YAML lets it be written."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.filter.experiment_environment import experiment_environment

from lab_experiment import document

WAYS = [
    "environment: churn\nsteps: []\n",
    "environment: 'churn'\n",
    '"environment": churn\n',
    "environment : churn # ours\n",
    "{environment: churn, steps: []}\n",
    '{"environment": "churn"}\n',
    "environment:\n  churn\n",
    "environment: >-\n  churn\n",
    "environment: !!str churn\n",
    "environment: &e churn\n",
]


@pytest.mark.parametrize("text", WAYS)
def test_it_is_found_as_the_run_finds_it(text: str) -> None:
    assert experiment_environment(text) == yaml.load(text, document._Loader)["environment"] == "churn"


@pytest.mark.parametrize("text", ["", "steps: []\n", "a: [\n", "- environment: churn\n", "environment: [churn]\n", "train: {environment: churn}\n"])
def test_a_file_that_names_none_or_cannot_be_read_gives_nothing(text: str) -> None:
    assert experiment_environment(text) == ""
