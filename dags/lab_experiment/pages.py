"""Addresses for people: a worker reaches MLflow and the scoring service by names that no browser outside knows."""

from __future__ import annotations

import os
from urllib.parse import quote

TRAINING = "?workflowType=machine_learning"
"""How MLflow is told to show model training, and not GenAI."""


def run(experiment_id: str, run_id: str) -> str:
    """The page of a run in MLflow; empty where MLflow has no pages."""
    return _below(mlflow(), f"/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}{TRAINING}")


def model(name: str | None, version: str | int | None) -> str:
    """The page of a registered model's version in MLflow; empty where there is none."""
    return _below(mlflow(), f"/#/models/{quote(name, safe='')}/versions/{version}{TRAINING}") if name and version else ""


def mlflow() -> str:
    """MLflow's address for people; the one that this process has where the lab does not say another (``LAB_MLFLOW_PUBLIC_URL``)."""
    return (os.environ.get("LAB_MLFLOW_PUBLIC_URL") or os.environ.get("MLFLOW_TRACKING_URI", "")).rstrip("/")


def models() -> str:
    """The scoring service's address for people, likewise (``LAB_MODELS_PUBLIC_URL``)."""
    return (os.environ.get("LAB_MODELS_PUBLIC_URL") or os.environ.get("LAB_MODELS_URL", "")).rstrip("/")


def _below(address: str, path: str) -> str:
    return f"{address}{path}" if address.startswith(("http://", "https://")) else ""
