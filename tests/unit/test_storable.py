"""What no store of the lab can hold is refused in the file, or made storable in what a package returns and raises. Plain Python."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import experiment_check
import lab_environments
from lab_experiment import callables, checking, document, inside, references, storable
from lab_experiment.failures import Failure, Mistakes

ROOT = Path(__file__).resolve().parents[2]
EVERY_KEY = ROOT / "tests" / "experiments" / "every_key.yml"


def mistakes(folder: Path, text: str | bytes, overrides: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with a file, without its name."""
    path = folder / "x.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Mistakes) as caught:
        document.read(path, overrides)
    return [sentence.replace(f"{path}, ", "").replace(f"{path}: ", "") for sentence in caught.value.sentences]


def arguments(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> Any:
    """The arguments of a file's training, as its function gets them."""
    path = folder / "x.yml"
    path.write_text(f"train:\n  call: theirs:train\n  with: {text}\n")
    content = document.read(path, overrides)
    assert json.loads(json.dumps(content, allow_nan=False)) == content, "it travels as JSON"
    return references.resolve(content["train"]["with"], {"run_dir": "/runs/1"})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (r'"x\0y"', r"has a text with the character NUL (\0), which no database keeps; allowed: a text without it."),
        (r'"\ud800"', "has a text with half a character (a lone surrogate), which is no Unicode; allowed: whole characters."),
        ("1e400", "has inf; allowed: a finite number."),
        (".nan", "has nan; allowed: a finite number."),
        ("9223372036854775808", "has a whole number of more than 64 bits; allowed: smaller ones, or a text (put it in quotes)."),
        ("{null: 1}", "has nothing as a key; allowed: a text (put it in quotes), a number, true, false."),
        (r'{"a\0b": 1}', r"has a text with the character NUL (\0), which no database keeps; allowed: a text without it, in its key."),
    ],
)
def test_what_no_database_holds_is_refused_with_its_line(tmp_path: Path, value: str, sentence: str) -> None:
    assert mistakes(tmp_path, f"train:\n  call: theirs:train\n  with:\n    a: {value}\n") == [f"line 4: train.with.a {sentence}"]


def test_what_no_database_holds_is_refused_in_what_a_trigger_sets(tmp_path: Path) -> None:
    (sentence,) = mistakes(tmp_path, "train: {call: 'theirs:train', with: {a: 1}}", {"train.with.a": "x\0y"})
    assert sentence.startswith("Trigger parameter overrides: train.with.a has a text with the character NUL")
    assert mistakes(tmp_path, "train: {call: 'theirs:train'}\ntrack: {tags: {1: a}}") == [
        "line 2: track.tags has 1 as a key; allowed: a text (put it in quotes)."
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{a: 0123}", "line 3, column 13: 0123 has a 0 in front, which is read in different ways; write 123 or '0123'."),
        ("{a: -08}", "line 3, column 13: -08 has a 0 in front, which is read in different ways; write -8 or '-08'."),
        ("{a: {1: x, 1.0: y}}", "line 3, column 20: this is not YAML: the key '1.0' is there twice, for Python takes 1 for the same."),
        ("{a: {1: x, true: y}}", "line 3, column 20: this is not YAML: the key 'true' is there twice, for Python takes 1 for the same."),
    ],
)
def test_what_is_read_in_two_ways_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    assert mistakes(tmp_path, f"train:\n  call: theirs:train\n  with: {text}\n") == [sentence]


def test_yaml_of_every_age_is_read_by_version_1_2(tmp_path: Path) -> None:
    found = arguments(tmp_path, "{a: 0o17, b: 1_000, c: yes, d: 1:30, e: 2026-01-01, f: 1e3, g: off, h: 0.5, i: 0, j: '0123', k: 0x1F}")
    assert found == {"a": 15, "b": "1_000", "c": "yes", "d": "1:30", "e": "2026-01-01", "f": 1000.0, "g": "off", "h": 0.5, "i": 0, "j": "0123", "k": 31}
    assert arguments(tmp_path, r'{a: "\ud83d\ude00", b: "😀"}') == {"a": "😀", "b": "😀"}


def test_a_file_as_windows_writes_it_is_read_and_one_that_means_billions_is_not(tmp_path: Path) -> None:
    text = "train: {call: 'theirs:train', with: {a: é}}\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.yml"
        path.write_bytes(text.encode(encoding))
        assert document.read(path)["train"]["with"] == {"a": "é"}
    assert mistakes(tmp_path, b"train:\n  call: a\0b\n") == [
        r"line 2: this is not YAML: the character \x00 may not stand in it; remove it, or save the file in UTF-8."
    ]
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert mistakes(tmp_path, bomb)[0].startswith("the file has more than 100000 values")
    assert "too deep" in mistakes(tmp_path, "a: " + "[" * 5000)[0]


def test_class_weights_have_numbers_as_keys(tmp_path: Path) -> None:
    assert arguments(tmp_path, "{class_weight: {0: 1, 1: 5.5}, more: [{true: a, 0.5: b, c: {7: '{{ run_dir }}'}}]}") == {
        "class_weight": {0: 1, 1: 5.5},
        "more": [{True: "a", 0.5: "b", "c": {7: "/runs/1"}}],
    }
    assert arguments(tmp_path, "{class_weight: {0: 1, 1: 5}}", {"train.with.class_weight.1": 9}) == {"class_weight": {0: 1, 1: 9}}
    (tmp_path / "x.yml").write_text("inputs: {weights: {0: 1}}\ntrain: {call: 'theirs:train', with: {w: '{{ inputs.weights }}'}}")
    assert references.decoded(document.read(tmp_path / "x.yml")["inputs"]) == {"weights": {0: 1}}


def test_braces_that_are_no_reference_are_doubled(tmp_path: Path) -> None:
    assert arguments(tmp_path, "{a: 'Hello {{{{ name }}}}', b: '{{ run_dir }}/{{{{x}}}}', c: '{one}', d: '{{{{ run_dir }}}}'}") == {
        "a": "Hello {{ name }}",
        "b": "/runs/1/{{x}}",
        "c": "{one}",
        "d": "{{ run_dir }}",
    }
    assert "doubled: {{{{ x }}}} is the text {{ x }}" in mistakes(tmp_path, "train: {call: 'theirs:train', with: {a: '{{ a b }}'}}")[0]


SEARCHED = "steps: []\nsearch:\n  objective: {call: 'theirs:f', with: {a: '{{ params.a }}'}}\n"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("  space: {a: {type: categorical, choices: [1, true]}}", "search.space.a.choices[1] has true; allowed: what Python can tell from 1; "),
        ("  space: {a: {type: categorical, choices: [x, false, 0]}}", "search.space.a.choices[2] has 0; allowed: what Python can tell from false; "),
        (
            "  space: {a: {type: int, low: 0, high: 9007199254740993}}",
            "search.space.a.high has 9007199254740993; allowed: whole numbers up to 9007199254740992",
        ),
        ("  space: {a: {type: float, low: -1.7e308, high: 1.7e308}}", "search.space.a.high has 1.7e+308; allowed: a number whose distance from low is finite"),
        ("  space: {a: {type: int, low: 0, high: 9}}\n  trials: 1000000000", "search.trials has 1000000000; allowed: at most 100000"),
        ("  space: {a: {type: int, low: 0, high: 1000000000}}\n  sampler: grid\n  trials: 5", "search.space.a has more than 100000 values; allowed for the "),
        (f"  space: {{{'a' * 101}: {{type: int, low: 0, high: 9}}}}", f"search.space has {('a' * 101)[:76]!r}"[:40]),
    ],
)
def test_a_space_has_only_what_the_search_can_tell_apart_and_keep(tmp_path: Path, lines: str, sentence: str) -> None:
    assert sentence in mistakes(tmp_path, SEARCHED + lines)[0]


def test_choices_of_several_kinds_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(f"{SEARCHED}  space: {{a: {{type: categorical, choices: [1, '1', null, x, false]}}}}")
    assert document.read(tmp_path / "x.yml")["search"]["space"]["a"]["choices"] == [1, "1", None, "x", False]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"track: {{experiment: {'x' * 251}}}", "track.experiment has "),
        (f"track: {{run_name: {'x' * 251}}}", "track.run_name has "),
        (f"track: {{tags: {{{'x' * 251}: a}}}}", "track.tags has "),
        ("track: {tags: {a//b: a}}", "track.tags has 'a//b'; allowed: a tag's name that MLflow takes, such as 'a/b'"),
        (f"track: {{tags: {{a: {'x' * 5001}}}}}", "track.tags.a has "),
        (f"register: {{name: {'x' * 251}}}", "register.name has "),
    ],
)
def test_names_are_no_longer_than_mlflow_keeps_them(tmp_path: Path, line: str, sentence: str) -> None:
    assert mistakes(tmp_path, f"train: {{call: 'theirs:train'}}\n{line}")[0].startswith(f"line 2: {sentence}")


@pytest.mark.parametrize(
    "overrides",
    [
        {"steps.fetch.call": "subprocess:getoutput"},
        {"steps.fetch": {"name": "fetch", "call": "subprocess:getoutput"}},
        {"train.evaluate": {"call": "theirs:train", "with": {"model": "{{ model }}"}}},
        {"cross_validation.estimator.call": "theirs:read"},
        {"search.objective": {"call": "theirs:read", "with": {"all": "{{ params }}"}}},
    ],
)
def test_a_trigger_does_not_set_what_is_called(overrides: dict[str, Any]) -> None:
    with pytest.raises(Mistakes) as caught:
        document.read(EVERY_KEY, overrides)
    assert "for a trigger does not set what is called; write that in the file." in caught.value.sentences[0]


def checked(path: Path) -> None:
    """Look at an experiment's callables in this very process."""
    work = inside.Work(lambda _: None)
    package = SimpleNamespace(ask=lambda operation, **what: getattr(work, operation)(**what))
    checking.check(document.read(path), str(path), {}, lab_environments.project(), cast("Any", package))


BORROWED = """
import dataclasses, types
from os import getpid
from pathlib import Path
from random import randint
from subprocess import Popen, getoutput
def train(): pass
Options = dataclasses.make_dataclass("Options", [("cmd", str)])
SimpleNamespace = dataclasses.make_dataclass("SimpleNamespace", [("cmd", str)])
New = types.new_class("New", (), {}, lambda body: body.update(__init__=lambda self, cmd: None))
"""


@pytest.mark.parametrize(
    "call",
    [
        *("subprocess:getoutput", "builtins:eval", "os.path:join", "_pickle:loads", "lab_deployment.processes:run"),
        *(f"theirs:{name}" for name in ("getoutput", "getpid", "randint", "Popen", "Popen.wait", "Path.home")),
    ],
)
def test_what_is_called_is_of_a_package(tmp_path: Path, package: Any, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.syspath_prepend(str(package(BORROWED)))
    path = tmp_path / "x.yml"
    path.write_text(f"train: {{call: '{call}', with: {{cmd: id}}}}")
    with pytest.raises(
        Mistakes, match="is a part of the lab; allowed: functions of" if call.startswith("lab") else "a part of Python itself; allowed: functions of"
    ):
        checked(path)


@pytest.mark.parametrize("name", ["Options", "SimpleNamespace", "New"])
def test_what_python_made_for_a_package_is_the_packages_own(tmp_path: Path, package: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Before Python 3.12 a class of ``make_dataclass`` says that it is of ``types``."""
    monkeypatch.syspath_prepend(str(package(BORROWED)))
    path = tmp_path / "x.yml"
    path.write_text(f"steps: [{{name: made, call: 'theirs:{name}', with: {{cmd: id}}}}]\ntrain: {{call: 'theirs:train'}}")
    checked(path)


def test_what_lies_beside_the_lock_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lock = tmp_path / "x.yml", tmp_path / "requirements.txt"
    path.write_text("train: {call: 'yaml:safe_load', with: {stream: a}}")
    lock.write_text("PyYAML==6.0 \\\n    --hash=sha256:abc\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    checked(path)
    lock.write_text("numpy==2.0\n")
    with pytest.raises(Mistakes, match="yaml is of PyYAML, which is not in the lock of this environment; allowed: functions of the packages"):
        checked(path)


def test_files_that_are_no_experiments_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yml").write_text("train: {call: 'theirs:train'}\n")
    strange = ["x.yaml", "my experiment.yml", "X.YML", ".hidden.yml", ".yml", f"{'x' * 101}.yml"]
    for name in strange:
        (tmp_path / name).write_text("train: {call: 'theirs:train'}\n")
    (tmp_path / "folder.yml").mkdir()
    (tmp_path / "gone.yml").symlink_to(tmp_path / "nothing")
    (tmp_path / "README.md").touch()
    assert document.experiments(tmp_path) == ["good"]
    assert not experiment_check.check(tmp_path, [], "")
    said = capsys.readouterr()
    for name in strange:
        assert f"{tmp_path / name}: this is a file whose name is none of an experiment, and is passed over; allowed: files named like" in said.err
    assert f"{tmp_path / 'folder.yml'}: this is a folder," in said.err and f"{tmp_path / 'gone.yml'}: this is no file," in said.err
    assert "README" not in said.err and "Right: good" in said.out
    with pytest.raises(Mistakes) as caught:
        document.find("x", tmp_path)
    assert "X.YML: this is a file whose name" in caught.value.sentences[1] and "x.yaml: this is a file whose name" in caught.value.sentences[2]
    assert experiment_check.check(tmp_path, ["good"], ""), "what was not asked for is no matter"


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        """Raise."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a\x00b"), "ValueError: a\\x00b"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (Mute(), "Mute: (its message cannot be shown: RuntimeError)"),
        (ValueError("x" * 10**6), "(1000000 characters in all)"),
    ],
)
def test_any_exception_becomes_a_sentence_that_can_be_stored(capsys: pytest.CaptureFixture[str], error: Exception, words: str) -> None:
    with pytest.raises(Failure) as caught, callables.told_as("train failed with"):
        raise error
    sentence = str(caught.value)
    assert words in sentence and len(sentence) < storable.LONGEST and "\0" not in sentence
    sentence.encode()
    assert len(capsys.readouterr().out) < 200_000


def test_a_mistake_that_quotes_such_a_value_can_be_printed() -> None:
    assert Mistakes(["a\x00b \ud800"]).sentences == ["a\\x00b \\ud800"]


def test_results_are_what_json_and_a_database_hold() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    result = {
        "nan": math.nan, "inf": [-math.inf], "huge": 2**70, "beyond": 10**400, "decimal": Decimal("0.5"), "tuple": (1, "a\0"), "set": {1}, "bytes": b"x",
        1: "key", "circle": circle, "path": Path("/a"), "flag": True, "whole": 3,
    }  # fmt: skip
    found = storable.plain(result)
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "nan": None, "inf": [None], "huge": 2.0**70, "beyond": None, "decimal": 0.5, "tuple": [1, "a\\x00"], "set": [1], "bytes": "b'x'",
        "1": "key", "circle": [1, "(holds itself)"], "path": "/a", "flag": True, "whole": 3,
    }  # fmt: skip


def test_metrics_get_names_that_mlflow_takes_and_no_two_the_same() -> None:
    given = ["recall@10", "recall_10", "f1,macro", "top-5 (%)", "a:b", "", "../x", "a//b", "/", "x" * 300, "x" * 299, "Recall_10", "zoë", "a\0b", "\ud800"]
    names = storable.metric_names(given)
    assert [names[name] for name in given[:8]] == ["recall_10_2", "recall_10", "f1_macro", "top-5", "a_b", "metric", "x", "a/b"]
    assert (names["Recall_10"], names["zoë"]) == ("Recall_10", "zoë")
    assert len(set(names.values())) == len(given) and max(map(len, names.values())) <= 250
    assert list(names) == given


def test_numbers_are_numbers() -> None:
    assert storable.number(Decimal("0.25")) == 0.25 and storable.number(True) == 1.0
    assert storable.number(10**400) == math.inf and storable.number(-(10**400)) == -math.inf
    assert [storable.number(value) for value in ("0.5", b"1", None, 1j, object(), [1])] == [None] * 6
