"""What MLflow's registry wants to be served."""

from __future__ import annotations

from typing import NamedTuple

from mlflow.tracking import MlflowClient

#: aliases that are served
ALIASES = ("live", "candidate")


class Address(NamedTuple):
    """Where a version is served: the name of a registered model and an alias."""

    name: str
    alias: str


class Wanted(NamedTuple):
    """A version of a registered model."""

    name: str
    made: int
    """When the registered model was made, in milliseconds since 1970: another one of the same name counts its versions from 1 again."""
    number: str


def wanted() -> dict[Address, Wanted]:
    """Ask the registry; takes one request for each thousand models.

    Raises:
        Exception: whatever MLflow's client raises when the registry does not answer.
    """
    client = MlflowClient()
    found: dict[Address, Wanted] = {}
    token: str | None = None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        for model in page:
            for alias in ALIASES:
                if alias in model.aliases:
                    found[Address(model.name, alias)] = Wanted(model.name, model.creation_timestamp, str(model.aliases[alias]))
        token = page.token
        if not token:
            return found
