"""Command lines of packages, click's and typer's, that an experiment gives values to."""

from __future__ import annotations

from typing import Any

import pytest

from lab_experiment import callables
from lab_experiment.failures import Failure

SOURCE = """
import enum, pathlib
import click, typer

@click.group()
def cli(): ...

@cli.command()
@click.argument("table", type=click.Path(path_type=pathlib.Path))
@click.option("--learning-rate", type=float, default="0.5", show_default=True)
@click.option("--tag", multiple=True)
@click.option("--limit", type=int)
@click.option("--fast/--slow", default=False)
@click.option("--exit", "code", type=int, default=-1)
@click.version_option("1.0")
@click.pass_context
def train(context, table, learning_rate, tag, limit, fast, code):
    if code >= 0:
        context.exit(code)
    return [table, learning_rate, tag, limit, fast, context.params["limit"]]

@click.command()
def nothing():
    return 7

app = typer.Typer()

class Kind(enum.Enum):
    TREE = "tree"

@app.command()
def fit(table: pathlib.Path, output: pathlib.Path = typer.Option("out"), kind: Kind = typer.Option("tree"), depth: int = typer.Option(3),
        tags: list[str] = typer.Option(default_factory=list), seed: int = typer.Option(...)):
    return [table, output, kind.name, depth, tags, seed]

several = typer.Typer()
several.command()(fit)
several.command()(nothing.callback)
"""


@pytest.fixture
def theirs(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package."""
    monkeypatch.syspath_prepend(str(package(SOURCE)))


def test_a_click_command_is_called_with_the_values_of_the_file_and_its_own_defaults(theirs: None) -> None:
    table, *others = callables.call("train", "theirs:train", {"table": "/a.csv", "limit": 3, "tag": ["a"]})
    assert (table.name, others) == ("a.csv", [0.5, ["a"], 3, False, 3])
    frame = object()
    assert callables.call("train", "theirs:train", {"table": frame, "learning_rate": "1e-3"}) == [frame, 0.001, (), None, False, None]
    assert callables.call("train", "theirs:train", {"table": "a", "code": 0}) is None
    with pytest.raises(Failure, match=r"theirs:train\(table='a', code=4\) ended with exit code 4"):
        callables.call("train", "theirs:train", {"table": "a", "code": 4})
    with pytest.raises(Failure, match=r"raised BadParameter: 'x' is not a valid integer"):
        callables.call("train", "theirs:train", {"table": "a", "limit": "x"})


def test_a_function_of_typer_has_its_own_defaults(theirs: None) -> None:
    for name in ("theirs:fit", "theirs:app"):
        table, output, *others = callables.call("train", name, {"table": "/a.csv", "seed": 1})
        assert (table, output.name, others) == ("/a.csv", "out", ["TREE", 3, [], 1]), name
        assert callables.call("train", name, {"table": 1, "seed": 1, "output": 2, "kind": type("K", (), {"name": "x"})}) == [1, 2, "x", 3, [], 1]


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        ("train", {"table": "a", "fast": True}, []),
        ("train", {"tabel": "a"}, ["train.with has 'tabel', which is no argument of theirs:train; allowed: table, learning_rate,", "train.with lacks 'table'"]),
        ("train", {}, ["train.with lacks 'table', which theirs:train needs; its arguments are table, learning_rate, tag, limit, fast, code."]),
        ("nothing", {}, []),
        ("nothing", {"x": 1}, ["train.with has 'x', which is no argument of theirs:nothing; allowed: none."]),
        ("fit", {"table": "a"}, ["train.with lacks 'seed', which theirs:fit needs"]),
        ("app", {"table": "a", "sed": 1}, ["train.with has 'sed', which is no argument of theirs:app; allowed: table, output,", "train.with lacks 'seed'"]),
        ("cli", {"table": "a"}, ["train.call has 'theirs:cli'; it is a group of commands, train; allowed: the function of one of them"]),
        ("several", {"table": "a"}, ["train.call has 'theirs:several'; it is a group of commands, fit, nothing; allowed: the function of one of them"]),
    ],
)
def test_check_holds_values_against_what_a_command_takes(theirs: None, call: str, arguments: dict[str, Any], says: list[str]) -> None:
    expected: dict[str, Any] = {"parts": [], "numbers": 0, "metric": None}
    said = [sentence for _, sentence in callables.check([("train", f"theirs:{call}", arguments)], [], [], expected, lambda _: None)]
    assert len(said) == len(says) and all(sentence.startswith(words) for sentence, words in zip(said, says, strict=True)), said


WRAPPED = """
import functools

def configured(function):
    @functools.wraps(function)
    def main(cfg=None):
        return function(cfg or 7)
    return main

def passed_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def named(function):
    @functools.wraps(function)
    def wrapper(*args, cfg=7, run_name="mine", **kwargs):
        return function(cfg, *args, **kwargs)
    return wrapper

def in_session(function):
    @functools.wraps(function)
    def wrapper(rate):
        return function("session", rate)
    return wrapper

@configured
def hydra(cfg): return cfg

@in_session
def within(session, rate): return [session, rate]

@in_session
def renamed(session, share): return [session, share]

@named
def with_names(cfg, rate=1): return [cfg, rate]

@passed_on
def plain(table, rate=1): return [table, rate]

@functools.lru_cache
def kept(table): return table

class Trainer:
    @classmethod
    @passed_on
    def start(cls, table): return table
    @classmethod
    @functools.wraps(within)
    def quick(cls, rate=3): return rate
"""


@pytest.mark.parametrize(
    ("call", "arguments", "gives", "says"),
    [
        ("hydra", {}, 7, []),
        ("hydra", {"cfg": 3}, 3, []),
        ("hydra", {"config": 3}, None, ["train.with has 'config', which is no argument of theirs:hydra; allowed: cfg."]),
        ("within", {"rate": 2}, ["session", 2], []),
        ("within", {}, None, ["train.with lacks 'rate', which theirs:within needs; its arguments are rate."]),
        ("within", {"rate": 2, "session": 1}, None, ["train.with has 'session', which is no argument of theirs:within; allowed: rate."]),
        ("renamed", {"rate": 2}, ["session", 2], []),
        ("with_names", {"rate": 2}, [7, 2], []),
        ("with_names", {"cfg": 1, "run_name": "a"}, [1, 1], []),
        ("with_names", {"rat": 2}, None, ["train.with has 'rat', which is no argument of theirs:with_names; allowed: cfg, rate, run_name."]),
        ("plain", {"table": 2}, [2, 1], []),
        ("plain", {"rate": 2}, None, ["train.with lacks 'table', which theirs:plain needs; its arguments are table, rate."]),
        ("plain", {"table": 2, "rat": 1}, None, ["train.with has 'rat', which is no argument of theirs:plain; allowed: table, rate."]),
        ("kept", {}, None, ["train.with lacks 'table', which theirs:kept needs; its arguments are table."]),
        ("kept", {"table": 3}, 3, []),
        ("Trainer.start", {"table": 3}, 3, []),
        ("Trainer.start", {}, None, ["train.with lacks 'table', which theirs:Trainer.start needs"]),
        ("Trainer.quick", {}, 3, []),
    ],
)
def test_check_holds_values_against_what_a_decorated_function_takes(
    package: Any, monkeypatch: pytest.MonkeyPatch, call: str, arguments: dict[str, Any], gives: Any, says: list[str]
) -> None:
    """What is let through can be called so, and what is refused cannot."""
    monkeypatch.syspath_prepend(str(package(WRAPPED)))
    expected: dict[str, Any] = {"parts": [], "numbers": 0, "metric": None}
    said = [sentence for _, sentence in callables.check([("train", f"theirs:{call}", arguments)], [], [], expected, lambda _: None)]
    assert len(said) == len(says) and all(sentence.startswith(words) for sentence, words in zip(said, says, strict=True)), said
    if says:
        with pytest.raises(Failure, match=r"raised TypeError"):
            callables.call("train", f"theirs:{call}", arguments)
    else:
        assert callables.call("train", f"theirs:{call}", arguments) == gives
