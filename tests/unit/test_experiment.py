"""What may stand in an experiment file, and the sentence for each thing that may not. No Airflow, no MLflow: plain Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_experiment import callables, document, references
from lab_experiment.callables import Failure
from lab_experiment.document import Mistakes
from lab_experiment.folders import folder_of

ROOT = Path(__file__).resolve().parents[2]

GOOD: dict[str, Any] = {
    "steps": [{"name": "prepare", "call": "json:loads", "with": {"s": "{{ run_dir }}"}}],
    "train": {
        "call": "json:dumps",
        "with": {"obj": "{{ steps.prepare.train }}"},
        "input_example": "{{ steps.prepare.train }}",
        "evaluate": {"call": "json:dumps", "with": {"obj": "{{ model }}"}, "plots": ["{{ run_dir }}/a.png"]},
    },
    "track": {"experiment": "wine", "tags": {"data": "UCI"}},
    "register": {"name": "wine"},
}


@pytest.fixture
def theirs(package: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes a package ``theirs`` which can be imported during this test."""

    def make(source: str) -> None:
        monkeypatch.syspath_prepend(str(package(source)))
        monkeypatch.delitem(sys.modules, "theirs", raising=False)

    return make


def changed(key: str, value: Any) -> dict[str, Any]:
    """Copy GOOD with the value at a key such as ``train.evaluate.call`` or ``steps.0.name`` replaced; ``...`` takes the key away."""
    content: Any = json.loads(json.dumps(GOOD))
    place = content
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return dict(content)


def sentences(path: Path) -> list[str]:
    """What is wrong with a file, without the file's name, which stands first in each sentence."""
    with pytest.raises(Mistakes) as caught:
        document.read(path)
    assert all(sentence.startswith(str(path)) for sentence in caught.value.sentences)
    return [sentence[len(str(path)) :].lstrip(":, ") for sentence in caught.value.sentences]


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yml")), ids=lambda path: path.stem)
def test_the_shipped_experiments_are_right_and_short(path: Path) -> None:
    assert document.read(path)["name"] == path.stem
    assert len(path.read_text().splitlines()) <= 30


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text(
        yaml.safe_dump({"train": {"call": "a:b", "input_example": "{{ run_dir }}/t.csv", "evaluate": {"call": "a:c"}}}),
    )
    found = document.read(path)
    assert found["steps"] == []
    assert found["track"] == {"experiment": "small", "run_name": "", "tags": {}}
    assert found["register"] is None
    assert found["train"]["with"] == {}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("search", {}, "the file has the key 'search'; allowed: train, description, steps, track, register."),
        ("train", ..., "the file lacks the key train; its keys are train, description, steps, track, register."),
        ("train", "wine:train", "train has 'wine:train'; allowed: a mapping with the keys call, input_example, evaluate, with."),
        ("train.call", ..., "train lacks the key call; its keys are call, input_example, evaluate, with."),
        ("train.call", "json.dumps", "train.call has 'json.dumps'; allowed: package.module:function."),
        ("train.call", "os:system('x')", "train.call has \"os:system('x')\"; allowed: package.module:function."),
        ("train.with", [1, 2], "train.with has [1, 2]; allowed: the arguments as name: value."),
        ("train.with", {"a b": 1}, "train.with has 'a b'; allowed: the name of an argument."),
        ("train.evaluate", ..., "train lacks the key evaluate; its keys are call, input_example, evaluate, with."),
        ("train.evaluate.plots", "a.png", "train.evaluate.plots has 'a.png'; allowed: a list of files that the evaluation writes."),
        (
            "train.evaluate.plots",
            ["a.exe"],
            "train.evaluate.plots[0] has 'a.exe'; allowed: the path of a file that ends in one of .png, .jpg, .jpeg, .svg, .webp, .pdf, .html.",
        ),
        ("train.input_example", 5, "train.input_example has 5; allowed: a reference to a table, for instance {{ steps.prepare.train }}."),
        (
            "train.with.obj",
            "{{ model }}",
            "train.with.obj has '{{ model }}'; allowed: {{ run_dir }}, {{ steps.prepare }}, and parts of a step's result such as {{ steps.prepare.train }}.",
        ),
        (
            "steps.0.with.s",
            "{{ steps.prepare }}",
            "steps[0].with.s has '{{ steps.prepare }}'; allowed: {{ run_dir }}, and parts of a step's result such as {{ steps.prepare.train }}.",
        ),
        ("train.with.obj", "{{ run_dir", "train.with.obj has '{{ run_dir'; allowed: a reference written as {{ name }}, for instance {{ run_dir }}."),
        ("train.with.obj", "{{ 1 + 1 }}", "train.with.obj has '{{ 1 + 1 }}'; allowed: a reference written as {{ name }}, for instance {{ run_dir }}."),
        ("train.with.obj", float("nan"), "train.with.obj has nan; allowed: a finite number."),
        ("train.with.obj", {"a": {1: 2}}, "train.with.obj.a has 1; allowed: a text as key (put it in quotes)."),
        ("steps", {"a": 1}, "steps has {'a': 1}; allowed: a list of steps, each with name, call and with."),
        ("steps.0.name", "Prepare!", "steps[0].name has 'Prepare!'; allowed: a small letter, then small letters, digits and _."),
        ("track.experiment", 3, "track.experiment has 3; allowed: a text."),
        ("track.tags", ["a"], "track.tags has ['a']; allowed: tags as name: value."),
        ("track.tags.data", [1], "track.tags.data has [1]; allowed: a text, a number, true or false."),
        ("register.name", "a/b", "register.name has 'a/b'; allowed: letters, digits, blanks and . _ -, beginning with a letter or digit."),
        ("register.alias", "x", "register has the key 'alias'; allowed: name, description."),
    ],
)
def test_a_mistake_is_one_sentence_with_key_finding_and_what_is_allowed(tmp_path: Path, key: str, value: Any, sentence: str) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(yaml.safe_dump(changed(key, value)))
    assert sentences(path)[0] == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "the file has nothing; allowed: a mapping with the keys train, description, steps, track, register."),
        (b"- 1\n", "the file has [1]; allowed: a mapping with the keys train, description, steps, track, register."),
        (b"a: [1\nb: 2\n", "line 2, column 2: this is not YAML: expected ',' or ']', but got ':'."),
        (b"a: 1\na: 2\n", "line 2, column 1: this is not YAML: the key 'a' is there twice."),
        (b"a: !!python/object/apply:os.system [id]\n", "line 1, column 4: this is not YAML: could not determine a constructor for the tag"),
        (b"a: \xff\n", "this is not YAML in UTF-8"),
    ],
)
def test_a_file_that_is_no_experiment_at_all(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "broken.yml"
    path.write_bytes(text)
    assert sentences(path)[0].startswith(sentence)


def test_a_date_and_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(yaml.safe_dump(changed("train.call", 1)).replace("obj: '{{ model }}'", "obj: 2026-01-01"))
    found = sentences(path)
    assert len(found) == 2
    assert "train.evaluate.with.obj has datetime.date(2026, 1, 1)" in found[1] and "put a date in quotes" in found[1]


def test_two_steps_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(yaml.safe_dump(changed("steps", [*GOOD["steps"], {"name": "prepare", "call": "a:b"}])))
    assert sentences(path) == ["steps[1].name has 'prepare'; allowed: a name that no earlier step has."]


@pytest.mark.parametrize("name", ["../wine", "a/b", "/etc/passwd", "wine.yml", ".hidden", "", "wine\n", None, 3])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: object) -> None:
    (tmp_path / "wine.yml").touch()
    with pytest.raises(Mistakes, match=r"is not a name; .* one of: wine"):
        document.find(name, tmp_path)


def test_a_name_without_a_file_and_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "wine.yml").touch()
    with pytest.raises(Mistakes, match=r"there is no file .*/beer\.yml; the experiments there are: wine\."):
        document.find("beer", folder)
    (tmp_path / "outside.yml").touch()
    (folder / "link.yml").symlink_to(tmp_path / "outside.yml")
    with pytest.raises(Mistakes, match="is a link that leaves"):
        document.find("link", folder)
    assert document.find("wine", folder) == folder / "wine.yml"


@pytest.mark.parametrize("run_id", ["..", "../../etc", "a/b", "...", "manual__2026-01-01T00:00:00+00:00"])
def test_the_folder_of_a_run_stays_where_runs_are(run_id: str) -> None:
    folder = folder_of(run_id, Path("/runs"))
    assert folder.resolve().parent == Path("/runs") and folder.name


def test_references_become_objects_or_text() -> None:
    model = object()
    values = {"run_dir": "/runs/1", "steps": {"split": ("a", "b"), "made": {"train": Path("/t.csv")}}, "model": model}
    assert references.resolve("{{ model }}", values) is model
    assert references.resolve({"x": ["{{ run_dir }}/{{ steps.split.1 }}.csv", 5]}, values) == {"x": ["/runs/1/b.csv", 5]}
    assert references.resolve("{{ steps.made.train }}", values) == Path("/t.csv")
    assert references.resolve("{{ steps.made.train.name }}", values) == "t.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ steps.made.test }}", "{{ steps.made.test }}: steps.made is a dict; its parts are train"),
        ("{{ steps.split.2 }}", "{{ steps.split.2 }}: steps.split is a tuple; its parts are 0, 1"),
        ("{{ model.__class__ }}", "{{ model.__class__ }}: model is a object; it has no such part"),
        ("a {{ model }}", "{{ model }}: a object cannot stand inside a text; let the reference be the whole value"),
    ],
)
def test_a_reference_that_cannot_be_met_says_what_there_is(text: str, message: str) -> None:
    values = {"run_dir": "/runs/1", "steps": {"split": ("a", "b"), "made": {"train": "/t.csv"}}, "model": object()}
    with pytest.raises(references.UnmetReference) as caught:
        references.resolve(text, values)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "arguments", "sentence"),
    [
        ("theirs:train", {"tabel": 1}, "x.yml: train.with has 'tabel', which is no argument of theirs:train; allowed: table, trees."),
        ("theirs:train", {}, "x.yml: train.with lacks 'table', which theirs:train needs; its arguments are table, trees."),
        ("theirs:trian", {}, "x.yml: train.call has 'theirs:trian'; the module theirs has no such function; its functions are keyword, position, train."),
        ("theirs:NUMBER", {}, "x.yml: train.call has 'theirs:NUMBER'; the module theirs holds something there that cannot be called; its functions are"),
        ("nowhere.at:all", {}, "x.yml: train.call has 'nowhere.at:all'; the environment of "),
        ("theirs:position", {}, "x.yml: train.call has 'theirs:position', whose argument 'a' cannot be given by name; allowed: functions that take"),
    ],
)
def test_callables_and_arguments_are_checked_before_anything_runs(theirs: Callable[[str], None], call: str, arguments: dict[str, Any], sentence: str) -> None:
    theirs("NUMBER = 3\ndef train(table, trees=1): pass\ndef keyword(*, table, **more): pass\ndef position(a, /): pass\n")
    content = {"steps": [], "train": {"call": call, "with": arguments, "evaluate": {"call": "theirs:keyword", "with": {"table": 1, "any": 2}}}}
    with pytest.raises(Mistakes) as caught:
        callables.check(content, "x.yml")
    assert caught.value.sentences[0].startswith(sentence)


def test_a_failure_names_callable_arguments_and_has_the_packages_own_traceback(theirs: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    source = "def train(table, trees):\n    return _grow(trees)\ndef _grow(trees):\n    raise ValueError('trees must be above 0')\n"
    theirs(source)
    with pytest.raises(Failure) as caught:
        callables.call("train", "theirs:train", {"table": "/t.csv", "trees": 0})
    assert str(caught.value) == "train: theirs:train(table='/t.csv', trees=0) raised ValueError: trees must be above 0"
    told = capfd.readouterr().out
    assert 'theirs.py", line 2, in train' in told and 'theirs.py", line 4, in _grow' in told
    assert "lab_experiment" not in told


def test_a_package_whose_import_fails_is_told_with_its_traceback(theirs: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    theirs("import no_such_dependency\n")
    with pytest.raises(LookupError, match="importing theirs failed: it needs the module 'no_such_dependency', which is not installed"):
        callables.load("theirs:train")
    told = capfd.readouterr().out
    assert 'theirs.py", line 1' in told and "lab_experiment" not in told
