"""The package that every_key.yml names: functions without content, only to be found and held against their arguments."""

from __future__ import annotations

from typing import Any, TypedDict


class Tables(TypedDict):
    """What a step gives."""

    train: str
    test: str


class Scores(TypedDict):
    """What an evaluation gives."""

    loss: float


def fetch(folder: str, uri: str = "") -> str:
    raise NotImplementedError


def split(folder: str, table: str, share: float, seed: int = 0) -> Tables:
    raise NotImplementedError


def make(kernel: str, cost: float, rounds: int, gamma: float = 0.1) -> Any:
    raise NotImplementedError


def read(table: str) -> tuple[Any, Any]:
    raise NotImplementedError


def train(table: str, options: dict[str, Any]) -> Any:
    raise NotImplementedError


def evaluate(model: Any, table: str) -> Scores:
    raise NotImplementedError


def measure(model: Any, table: str) -> list[float]:
    raise NotImplementedError
