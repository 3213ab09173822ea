"""The champion: who deserves the alias, in a real registry."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from sklearn.dummy import DummyRegressor

from lab_experiment import champion
from lab_experiment.failures import Failure

RULE = {"metric": "accuracy", "direction": "maximize", "margin": 0.0}
LOSS = {"metric": "loss", "direction": "minimize", "margin": 0.05}


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of the real server."""
    mlflow.set_experiment("champions")
    return mlflow.MlflowClient()


@pytest.fixture
def name(client: Any) -> str:
    """A registered model of its own."""
    name = f"champion-{uuid.uuid4().hex[:8]}"
    client.create_registered_model(name)
    return name


def log(name: str, value: float) -> str:
    """Register a model that predicts one number, which is also how good it is."""
    model = DummyRegressor(strategy="constant", constant=value).fit([[0.0]], [0.0])
    with mlflow.start_run():
        mlflow.sklearn.log_model(model, "model", registered_model_name=name, pip_requirements=[])
    return str(max(int(version.version) for version in mlflow.MlflowClient().search_model_versions(f"name='{name}'")))


def measure(model: Any) -> Mapping[str, float]:
    """What all of these models are measured by: natively loaded, so that they are what the package made."""
    assert isinstance(model, DummyRegressor)
    value = float(model.predict(np.zeros((1, 1)))[0])
    return {"accuracy": value, "loss": value}


def holder(name: str) -> str | None:
    """The version that has the alias, asked as a user asks."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, "champion").version)
    except MlflowException:
        return None


def promote(client: Any, name: str, version: str, value: float, rule: Mapping[str, Any] = RULE, evaluate: Any = measure) -> dict[str, Any]:
    """Have it decided, and see that the sentence is on the version."""
    verdict = champion.promote(client, name, version, rule, {"accuracy": value, "loss": value, "other": 1.0}, lambda uri: evaluate(champion.load(uri)))
    assert client.get_model_version(name, version).tags["lab.champion"] == verdict["reason"]
    assert (holder(name) == version) == verdict["promoted"]
    return verdict


def test_the_first_is_champion_the_better_replaces_it_and_the_worse_and_the_equal_do_not(client: Any, name: str) -> None:
    first = promote(client, name, log(name, 0.8), 0.8)
    assert (first["promoted"], first["reason"]) == (True, "there was no champion yet; its accuracy is 0.8")
    better = promote(client, name, log(name, 0.9), 0.9)
    assert better["reason"] == "its accuracy of 0.9 is better than the 0.8 of version 1 on the same data"
    assert (better["former_version"], better["former_value"]) == ("1", 0.8)
    worse = promote(client, name, log(name, 0.7), 0.7)
    assert (worse["promoted"], worse["reason"]) == (False, "its accuracy of 0.7 is not better than the 0.9 of version 2 on the same data")
    assert not promote(client, name, log(name, 0.9), 0.9)["promoted"]
    again = promote(client, name, "2", 0.9)  # a task that is tried again
    assert (again["promoted"], again["reason"]) == (True, "it was champion already; its accuracy is 0.9")


def test_the_champion_is_measured_now_and_its_former_figures_do_not_count(client: Any, name: str) -> None:
    promote(client, name, log(name, 0.5), 0.99)  # easier data, then
    assert promote(client, name, log(name, 0.6), 0.6)["former_value"] == 0.5


def test_a_margin_must_be_exceeded_in_the_stated_direction(client: Any, name: str) -> None:
    promote(client, name, log(name, 0.5), 0.5, LOSS)
    little = promote(client, name, log(name, 0.46), 0.46, LOSS)
    assert little["reason"] == "its loss of 0.46 is not better by more than 0.05 than the 0.5 of version 1 on the same data"
    assert not promote(client, name, log(name, 0.6), 0.6, LOSS)["promoted"]
    assert not promote(client, name, log(name, 0.45), 0.45, LOSS)["promoted"]
    assert promote(client, name, log(name, 0.44), 0.44, LOSS)["promoted"]


def test_a_champion_that_cannot_be_measured_stays_and_it_is_said(client: Any, name: str) -> None:
    promote(client, name, log(name, 0.5), 0.5)

    def fails(_: Any) -> Mapping[str, float]:
        raise ValueError("X has 5 features, but 13 are expected")

    verdict = promote(client, name, log(name, 0.9), 0.9, evaluate=fails)
    assert not verdict["promoted"]
    assert verdict["reason"].startswith(
        "the present champion, version 1, could not be measured on the same data (ValueError: X has 5 features, but 13 are expected), so it stays; "
    )
    source = client.get_model_version(name, "1").source
    missing = client.create_model_version(name, source=f"{source.rpartition('/')[0]}/nothing").version if "://" in source else None
    if missing:
        client.set_registered_model_alias(name, "champion", missing)
        assert not promote(client, name, log(name, 0.9), 0.9)["promoted"]
        assert holder(name) == missing
    client.delete_registered_model_alias(name, "champion")
    assert promote(client, name, log(name, 0.9), 0.9)["promoted"]


def test_a_champion_that_appears_meanwhile_is_measured_too(client: Any, name: str) -> None:
    promote(client, name, log(name, 0.5), 0.5)
    other, mine = log(name, 0.8), log(name, 0.7)

    def late(model: Any) -> Mapping[str, float]:
        if holder(name) == "1":
            client.set_registered_model_alias(name, "champion", other)
        return measure(model)

    verdict = promote(client, name, mine, 0.7, evaluate=late)
    assert verdict["reason"] == f"its accuracy of 0.7 is not better than the 0.8 of version {other} on the same data"


def test_a_metric_that_is_no_number_or_was_not_measured(client: Any, name: str) -> None:
    version = log(name, 0.5)
    assert promote(client, name, version, float("nan"))["reason"] == "its accuracy is not a number"
    with pytest.raises(Failure, match=r"register.champion.metric has 'auc'; the evaluation gave accuracy"):
        champion.promote(client, name, version, {"metric": "auc"}, {"accuracy": 1.0}, measure)
