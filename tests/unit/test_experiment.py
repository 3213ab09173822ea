"""What may stand in an experiment file, and the sentence for each thing that may not. No Airflow, no MLflow: plain Python."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import experiment_docs
import experiment_format
import lab_environments
from lab_experiment import callables, checking, document, inside, pages, references, results, returns
from lab_experiment.failures import Failure, Mistakes
from lab_experiment.folders import folder_of
from tests.conftest import ROOT, SHIPPED

EXPERIMENTS = ROOT / "tests" / "experiments"
EVERY_KEY = EXPERIMENTS / "every_key.yml"
BROKEN: list[dict[str, Any]] = yaml.safe_load((EXPERIMENTS / "broken.yml").read_text())
SMALL = "train: {call: 'theirs:train'}\n"


@pytest.fixture
def theirs(package: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes a package ``theirs`` which can be imported during this test."""

    def make(source: str) -> None:
        monkeypatch.syspath_prepend(str(package(source)))

    return make


def broken(case: dict[str, Any], folder: Path) -> Path:
    """Write every_key.yml as a case of broken.yml breaks it; returns the file."""
    text = EVERY_KEY.read_text()
    for old, new in ((case["old"], case["new"]), *([case["also"]] if "also" in case else [])):
        assert old == "ALL" or text.count(old), f"{case['kind']}: every_key.yml has no {old!r}"
        text = new if old == "ALL" else text.replace(old, new, 1)
    path = folder / "broken.yml"
    path.write_text(text)
    return path


def sentences(path: Path, overrides: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with a file, without the file's name, which stands first in each sentence."""
    with pytest.raises(Mistakes) as caught:
        document.read(path, overrides)
    return [sentence.removeprefix(str(path)).lstrip(":, ") for sentence in caught.value.sentences]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_experiments_are_right_and_short(path: Path) -> None:
    assert document.read(path)["name"] == path.stem
    assert len(path.read_text().splitlines()) <= 45
    assert path.read_text().startswith("# yaml-language-server: $schema=../dags/lab_experiment/schema.json\n"), "editors find the schema by this line"


def test_with_a_champion_only_a_champion_is_deployed_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    champion = "train: {call: 'theirs:train', evaluate: {call: 'theirs:f', with: {model: '{{ model }}'}}}\nregister: {name: a, champion: {metric: r2}}\n"
    for register, deploy, when in (
        (champion, "", "champion"),
        (champion, ", when: always", "always"),
        (f"{SMALL}register: {{name: a}}\n", "", "always"),
    ):
        path.write_text(f"{register}deploy: {{target: endpoint{deploy}}}\n")
        assert document.read(path)["deploy"]["when"] == when
    path.write_text(f"{SMALL}register: {{name: a}}\ndeploy: {{target: endpoint, when: champion}}\n")
    with pytest.raises(Mistakes, match=r"line 3: deploy\.when has 'champion'; allowed: always, or champion together with register\.champion"):
        document.read(path)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text(SMALL)
    assert document.read(path) == {
        "name": "small",
        "description": "",
        "environment": "project",
        "queues": {},
        "inputs": {},
        "steps": [],
        "search": None,
        "cross_validation": None,
        "train": {"call": "theirs:train", "with": {}, "input_example": None, "predict": "predict", "evaluate": None},
        "track": {"experiment": "small", "run_name": "", "tags": {}},
        "register": None,
        "deploy": None,
    }
    path.write_text(
        "search: {objective: cross_validation, space: {a: {type: int, low: 1, high: 3}}}\n"
        "cross_validation: {estimator: {call: 'theirs:make', with: {a: '{{ params.a }}'}}, data: {call: 'theirs:read'}}\n"
        "train: {evaluate: {data: {call: 'theirs:read'}}}\n"
        "register: {name: a, champion: {metric: r2}}\n"
        "deploy: {target: endpoint}\n"
    )
    found = document.read(path)
    assert found["search"] == {
        "objective": "cross_validation",
        "space": {"a": {"type": "int", "low": 1, "high": 3, "step": 1, "log": False, "when": {}}},
        "direction": ["maximize"],
        "sampler": {"name": "tpe", "options": {}},
        "pruner": {"name": "none", "options": {}},
        "trials": 20,
        "timeout": None,
        "parallel": 2,
        "seed": None,
        "allowed_failures": 3,
    }
    assert found["cross_validation"]["splitter"] == {"name": "auto", "options": {"n_splits": 5, "shuffle": True, "random_state": 0}}
    assert found["cross_validation"]["scoring"] == []
    assert found["train"]["call"] is None
    assert found["train"]["evaluate"] == {"call": None, "with": {}, "plots": [], "data": {"call": "theirs:read", "with": {}}, "scoring": []}
    assert found["register"]["champion"] == {"metric": "r2", "direction": "maximize", "margin": 0.0}
    assert found["deploy"] == {"target": "endpoint", "options": {}, "when": "champion"}


def test_every_key_is_read_and_survives_json() -> None:
    found = document.read(EVERY_KEY)
    assert json.loads(json.dumps(found)) == found
    assert {key for key, value in found.items() if not value} == set()
    assert found["search"]["space"]["gamma"] == {"type": "float", "low": 1e-4, "high": 1, "step": None, "log": True, "when": {"kernel": ["rbf"]}}
    assert found["search"]["sampler"] == {"name": "tpe", "options": {"n_startup_trials": 5, "multivariate": True, "group": True}}
    assert found["search"]["pruner"] == {"name": "patient", "options": {"patience": 2, "wrapped_pruner": {"name": "median", "options": {}}}}
    assert found["cross_validation"]["splitter"] == {"name": "stratified_k_fold", "options": {"n_splits": 4, "shuffle": True, "random_state": 7}}
    assert found["track"]["tags"] == {"data": "theirs", "rows": "178", "public": "true"}


@pytest.mark.parametrize(
    ("splitter", "name", "options"),
    [
        ("k_fold", "k_fold", {"n_splits": 5, "shuffle": False}),
        ("{folds: 3, seed: 4}", "auto", {"n_splits": 3, "shuffle": True, "random_state": 4}),
        ("{name: k_fold, shuffle: true}", "k_fold", {"n_splits": 5, "shuffle": True, "random_state": 0}),
        ("{name: group_k_fold, n_splits: 3}", "group_k_fold", {"n_splits": 3}),
        ("{name: time_series, folds: 3, gap: 2}", "time_series", {"n_splits": 3, "gap": 2}),
        ("{name: repeated_k_fold, repeats: 2}", "repeated_k_fold", {"n_splits": 5, "n_repeats": 2, "random_state": 0}),
    ],
)
def test_splitters_have_scikit_learns_names_and_what_is_shuffled_has_a_seed(tmp_path: Path, splitter: str, name: str, options: dict[str, Any]) -> None:
    path = tmp_path / "folds.yml"
    path.write_text(EVERY_KEY.read_text().replace("{name: stratified_k_fold, folds: 4, shuffle: true, seed: 7}", splitter))
    assert document.read(path)["cross_validation"]["splitter"] == {"name": name, "options": options}


def test_an_objective_may_name_the_metric_that_it_logs(tmp_path: Path) -> None:
    path = tmp_path / "logs.yml"
    text = "search: {objective: {call: 'theirs:f', with: {a: '{{ params.a }}'}METRIC}, space: {a: {type: int, low: 1, high: 3}}}\n"
    for metric, found in ((", metric: val_auc", "val_auc"), ("", None)):
        path.write_text(text.replace("METRIC", metric))
        assert document.read(path)["search"]["objective"] == {"call": "theirs:f", "with": {"a": "{{ params.a }}"}, "metric": found}


def test_an_objective_may_be_a_metric_of_the_training(tmp_path: Path) -> None:
    """Its parameters are those of the training and its evaluation, and a trigger may add such a search, for it calls nothing else."""
    path = tmp_path / "trained.yml"
    space = "space: {a: {type: int, low: 1, high: 3}}"
    train = "train: {call: 'theirs:f', with: {a: '{{ params.a }}'}, evaluate: {call: 'theirs:g', with: {model: '{{ model }}'}}}\n"
    path.write_text(f"search: {{objective: {{metric: auc}}, {space}}}\n{train}")
    assert document.read(path)["search"]["objective"] == {"call": None, "with": {}, "metric": "auc"}
    assert [call for _key, call, _arguments in document.calls(document.read(path))] == ["theirs:f", "theirs:g"]
    path.write_text(train.replace("{{ params.a }}", "1"))
    added = {"search": {"objective": {"metric": "auc"}, "space": {"a": {"type": "int", "low": 1, "high": 3}}}, "train.with.a": "{{ params.a }}"}
    assert document.read(path, added)["search"]["space"].keys() == {"a"}
    path.write_text(f"search: {{objective: {{metric: auc}}, {space}}}\n{train.replace('{{ params.a }}', '1')}")
    assert sentences(path) == ["line 1: search.space.a is used by nothing; allowed: parameters that train refers to as {{ params.a }}."]
    path.write_text(f"search: {{objective: {{metric: auc}}, {space}}}\n")
    words = "has no call, and neither has train, which would be tried then; allowed: a call here, or in train, or objective: cross_validation."
    assert sentences(path)[0] == f"line 1: search.objective {words}"


def test_steps_come_after_those_they_wait_for_and_else_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.yml"
    path.write_text("""
steps:
  - {name: last, call: "theirs:f", with: {table: "{{ steps.first.a }}"}, after: [second]}
  - {name: first, call: "theirs:f", after: []}
  - {name: second, call: "theirs:f", with: {table: "{{ steps.first }}"}}
""")
    assert [(step["name"], step["after"]) for step in document.read(path)["steps"]] == [("first", []), ("second", ["first"]), ("last", ["second"])]


def test_a_grid_has_as_many_trials_as_points(tmp_path: Path) -> None:
    path = tmp_path / "grid.yml"
    space = "a: {type: int, low: 1, high: 6, step: 2}, b: {type: float, low: 0.1, high: 0.5, step: 0.2}, c: {type: categorical, choices: [x, null]}"
    path.write_text(f"{SMALL}search: {{objective: {{call: 'theirs:f', with: {{all: '{{{{ params }}}}'}}}}, space: {{{space}}}, sampler: grid}}")
    search = document.read(path)["search"]
    assert document.grid(search["space"]) == {"a": [1, 3, 5], "b": [0.1, 0.3, 0.5], "c": ["x", None]}
    assert search["trials"] == 18


@pytest.mark.parametrize("case", [case for case in BROKEN if not case.get("callables")], ids=lambda case: str(case["kind"]))
def test_a_mistake_is_one_sentence_with_line_key_finding_and_what_is_allowed(tmp_path: Path, case: dict[str, Any]) -> None:
    assert sentences(broken(case, tmp_path)) == [case["says"]]


def test_a_file_that_is_not_utf8_or_holds_itself(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_bytes(b"a: \xff\n")
    assert sentences(path)[0].startswith("this is not YAML in UTF-8")
    path.write_text("steps: &all [*all]\n")
    assert sentences(path) == ["line 1, column 8: this is not YAML: this refers to itself."]


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(EVERY_KEY.read_text().replace("trials: 12", "trials: 0").replace("target: endpoint", "target: 1").replace("low: 1e-4", "low: x"))
    assert [sentence.partition(" has ")[0] for sentence in sentences(path)] == [
        "line 16: search.space.gamma.low",
        "line 22: search.trials",
        "line 53: deploy.target",
    ]


def test_schema_and_readme_are_what_make_docs_writes() -> None:
    Draft202012Validator.check_schema(json.loads(document.SCHEMA.read_text()))
    assert [path.name for path, wanted in experiment_docs.current().items() if path.read_text(encoding="utf-8") != wanted] == [], "run `make docs`"


@pytest.mark.parametrize("path", [EVERY_KEY, *SHIPPED], ids=lambda path: path.stem)
def test_the_model_of_the_format_takes_what_the_schema_takes(path: Path) -> None:
    experiment_format.Experiment.model_validate(document.Source(path, {}).content)


def test_an_environment_without_jsonschema_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    document._validator.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(Mistakes, match="has no module 'jsonschema', by which experiment files are checked; add it to its requirements"):
        document.read(EVERY_KEY)


def test_yaml_is_read_as_editors_read_it(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text("train: {call: 'theirs:train', with: {day: 2026-01-01, answer: no, rate: 1e-4, time: 12:30, one: &one {a: 1}, two: {<<: *one, b: 2}}}")
    arguments = document.read(path)["train"]["with"]
    assert arguments == {"day": "2026-01-01", "answer": "no", "rate": 1e-4, "time": "12:30", "one": {"a": 1}, "two": {"a": 1, "b": 2}}


def test_a_trigger_sets_keys_by_path() -> None:
    overrides = {
        "search.trials": 5,
        "inputs.seed": 3,
        "steps.split.with.seed": 8,
        "search.space.cost.high": 4,
        "track.tags.night": True,
        "inputs.source": "x.csv",
    }
    changed, found = document.read(EVERY_KEY), document.read(EVERY_KEY, overrides)
    changed["search"]["trials"] = 5
    changed["inputs"] |= {"seed": 3, "source": "x.csv"}
    changed["steps"][2]["with"]["seed"] = 8
    changed["search"]["space"]["cost"]["high"] = 4.0
    changed["track"]["tags"]["night"] = "true"
    assert found == changed


def test_a_trigger_takes_sections_out_with_null() -> None:
    found = document.read(EVERY_KEY, {"register": None, "deploy": None})
    assert found == {**document.read(EVERY_KEY), "register": None, "deploy": None}
    within = document.read(EVERY_KEY, {"register.champion": None})["register"]
    assert within == {**document.read(EVERY_KEY)["register"], "champion": None}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"search.trials": 0}, "search.trials has 0; allowed: a whole number of at least 1."),
        (
            {"search.trails": 5},
            "search has the key 'trails'; allowed: objective, space, direction, sampler, pruner, trials, timeout, parallel, seed, allowed_failures, queue.",
        ),
        ({"inputs.sed": 3}, "there is nothing to set at 'inputs.sed'; allowed: inputs.test_share, inputs.seed, inputs.source."),
        ({"inputs.seed": "3"}, "inputs.seed has '3'; allowed: a number, as its default 7 is."),
        ({"steps.splt.call": "a:b"}, "there is nothing to set at 'steps.splt.call'; allowed: steps.fetch.call, steps.other.call, steps.split.call."),
        ({"search.space.gama.low": 1}, "search.space.gama lacks the key type; allowed: type, low, high, step, log, choices, when."),
        ({"track.run_name.x": 1}, "there is nothing to set at 'track.run_name.x'; allowed: keys of mappings and numbers of items in lists."),
        (
            {"steps.split.with.seed": "{{ inputs.sed }}"},
            "steps.split.with.seed has '{{ inputs.sed }}'; allowed: {{ inputs.test_share }}, {{ inputs.seed }}, {{ inputs.source }}.",
        ),
        (
            {"search.sampler": "grid"},
            f"with them, {EVERY_KEY}, line 16: search.space.gamma lacks the key step, without which the sampler grid has no end; "
            "allowed: float with step, int, categorical.",
        ),
    ],
)
def test_a_mistake_of_the_trigger_names_the_trigger(overrides: dict[str, Any], sentence: str) -> None:
    assert sentences(EVERY_KEY, overrides)[0] == f"Trigger parameter overrides: {sentence}"


FOLDS = """
cross_validation:
  estimator: {call: 'theirs:make', with: {depth: 3}}
  data: {call: 'theirs:read', with: }
train: {evaluate: {data: {call: 'theirs:read'}}}
register: {name: small}
"""


def test_a_trigger_adds_what_the_file_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text(FOLDS)
    found = document.read(
        path,
        {
            "search": {"objective": "cross_validation", "space": {"depth": {"type": "int", "low": 1, "high": 4}}},
            "search.trials": 3,
            "cross_validation.estimator.with.depth": "{{ params.depth }}",
            "cross_validation.data.with.rows": 5,
            "cross_validation.scoring": "f1_macro",
            "register.champion.metric": "accuracy",
            "deploy.target": "endpoint",
            "deploy.when": "always",
        },
    )
    assert found["search"]["trials"] == 3 and list(found["search"]["space"]) == ["depth"]
    assert found["cross_validation"]["data"]["with"] == {"rows": 5} and found["cross_validation"]["scoring"] == ["f1_macro"]
    assert found["register"]["champion"] == {"metric": "accuracy", "direction": "maximize", "margin": 0.0}
    assert found["deploy"] == {"target": "endpoint", "options": {}, "when": "always"}
    path.write_text(FOLDS.partition("train:")[0])
    assert document.read(path, {"train": {}})["train"]["call"] is None, "the estimator of the file is fitted"


ONLY_VALUES = "allowed: values, for a trigger does not set what is called; write the section in the file."
ONLY_VALUES_THERE = "allowed: values of what the file has, for a trigger does not set what is called; write that in the file."


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"search.trials": 5},
            "search lacks the keys objective, space, for the file has no search; "
            "allowed: objective, space, direction, sampler, pruner, trials, timeout, parallel, seed, allowed_failures, queue.",
        ),
        ({"register.champion": {"metric": "r2"}}, "register lacks the key name, for the file has no register; allowed: name, description, champion."),
        ({"deploy.when": "always"}, "deploy lacks the key target, for the file has no deploy; allowed: target, options, when."),
        ({"steps.a.with.b": 1}, "there is nothing to set at 'steps.a.with.b'; allowed: keys of what FILE has; it has no steps."),
        (
            {"cross_validation": {"estimator": {"call": "theirs:make"}, "data": {"call": "theirs:read"}}},
            f"cross_validation, which the file does not have, would call 'theirs:make', 'theirs:read'; {ONLY_VALUES}",
        ),
        (
            {"search": {"objective": {"call": "theirs:train", "with": {"a": "{{ params.a }}"}}, "space": {"a": {"type": "int", "low": 1, "high": 2}}}},
            f"search, which the file does not have, would call 'theirs:train'; {ONLY_VALUES}",
        ),
        ({"steps": [{"name": "a", "call": "theirs:f"}]}, f"steps, which the file does not have, would call 'theirs:f'; {ONLY_VALUES}"),
        ({"cross_validation.scoring": "r2"}, f"cross_validation lacks the keys estimator, data, for the file has no cross_validation; {ONLY_VALUES_THERE}"),
        ({"train.evaluate.data.with.rows": 5}, f"train.evaluate.data lacks the key call; {ONLY_VALUES_THERE}"),
        (
            {"train.evaluate.call": "theirs:f"},
            "train.evaluate.call has 'theirs:f', where the file has nothing; "
            "allowed: values, for a trigger does not set what is called; write that in the file.",
        ),
    ],
)
def test_what_a_trigger_adds_is_checked_as_the_file_is_and_brings_nothing_to_call(tmp_path: Path, overrides: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "small.yml"
    path.write_text(SMALL)
    assert sentences(path, overrides) == [f"Trigger parameter overrides: {sentence.replace('FILE', str(path))}"]


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


class Fold(NamedTuple):
    """What a step may give."""

    train: str
    test: str


def test_references_become_objects_or_text() -> None:
    model = object()
    values = {"run_dir": "/runs/1", "steps": {"split": ("a", "b"), "made": {"train": Path("/t.csv")}}, "model": model}
    assert references.resolve("{{ model }}", values) is model
    assert references.resolve({"x": ["{{ run_dir }}/{{ steps.split.1 }}.csv", 5]}, values) == {"x": ["/runs/1/b.csv", 5]}
    assert references.resolve("{{ steps.made.train }}", values) == Path("/t.csv")
    assert references.resolve("{{ steps.made.train.name }}", values) == "t.csv"
    fold = Fold("a", "b")
    assert [references.resolve(f"{{{{ model.{part} }}}}", {"model": fold}) for part in ("test", "1")] == ["b", "b"]


def test_an_argument_is_left_out_when_the_trial_does_not_have_its_parameter() -> None:
    values = {"params": {"kernel": "linear"}, "inputs": {"seed": 3}}
    arguments = {"kernel": "{{ params.kernel }}", "gamma": "{{ params.gamma }}", "seed": "{{ inputs.seed }}", "all": "{{ params }}"}
    assert references.resolve(arguments, values) == {"kernel": "linear", "seed": 3, "all": {"kernel": "linear"}}


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
        (
            "theirs:trian",
            {},
            "x.yml: train.call has 'theirs:trian'; the module theirs has no such function; its functions are Trainer, keyword, position, train.",
        ),
        ("theirs:NUMBER", {}, "x.yml: train.call has 'theirs:NUMBER'; the module theirs holds something there that cannot be called; its functions are"),
        ("nowhere.at:all", {}, "x.yml: train.call has 'nowhere.at:all'; the environment of "),
        ("theirs:position", {}, "x.yml: train.call has 'theirs:position', whose argument 'a' cannot be given by name; allowed: functions that take"),
        (
            "theirs:Trainer.fit",
            {"table": 1},
            "x.yml: train.with lacks 'self', which theirs:Trainer.fit needs (an object of Trainer, which a step can make); its arguments are self, table.",
        ),
        ("theirs:Trainer.fti", {}, "x.yml: train.call has 'theirs:Trainer.fti'; the class Trainer has no such function; its functions are fit, start."),
        ("theirs:train.fit", {}, "x.yml: train.call has 'theirs:train.fit'; the module theirs has no class train; its functions are Trainer, "),
        ("theirs:Trainer.start", {"table": 1}, "x.yml: train.with has 'table', which is no argument of theirs:Trainer.start; allowed: rate."),
    ],
)
def test_callables_and_arguments_are_checked_before_anything_runs(theirs: Callable[[str], None], call: str, arguments: dict[str, Any], sentence: str) -> None:
    methods = "class Trainer:\n  def fit(self, table): pass\n  @classmethod\n  def start(cls, rate=1): pass\n"
    theirs(f"NUMBER = 3\ndef train(table, trees=1): pass\ndef keyword(*, table, **more): pass\ndef position(a, /): pass\n{methods}")
    evaluate: dict[str, Any] = {"call": "theirs:keyword", "with": {"table": 1, "any": 2}, "data": None, "scoring": []}
    content: dict[str, Any] = {
        "queues": {},
        "inputs": {},
        "steps": [],
        "search": None,
        "cross_validation": None,
        "register": None,
        "deploy": None,
        "train": {"call": call, "with": arguments, "evaluate": evaluate},
    }
    work = inside.Work(lambda _: None)
    package = SimpleNamespace(ask=lambda operation, **what: getattr(work, operation)(**what))
    with pytest.raises(Mistakes) as caught:
        checking.check(content, "x.yml", {}, lab_environments.project(), cast("Any", package))
    assert caught.value.sentences[0].startswith(sentence)


def test_a_method_is_called_with_its_object_and_one_of_the_class_without(theirs: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """What a package of classes needs: a step makes the object, and training and evaluation are methods of it."""
    theirs(
        "class Trainer:\n"
        "  def __init__(self, rate): self.rate = rate\n"
        "  @classmethod\n  def quick(cls): return cls(9)\n"
        "  @staticmethod\n  def twice(value): return 2 * value\n"
        "  async def fit(self, table) -> float: return self.rate + table\n"
        "  def wrapped(estimator, *args, **more): return estimator.rate + more['table']\n"
        "  wrapped.__signature__ = __import__('inspect').signature(fit)\n"
        "class Slow(Trainer):\n"
        "  def fit(self, table): return -1\n"
    )
    trainer = callables.call("steps.made", "theirs:Trainer.quick", {})
    assert callables.call("train", "theirs:Trainer.fit", {"self": trainer, "table": 1}) == 10
    assert callables.call("train", "theirs:Trainer.twice", {"value": 4}) == 8
    assert callables.call("train", "theirs:Trainer.wrapped", {"self": trainer, "table": 2}) == 11
    slow = callables.call("steps.made", "theirs:Slow", {"rate": 1})
    assert callables.call("train", "theirs:Trainer.fit", {"self": slow, "table": 1}) == -1, "the object's own method is called"
    assert "[train] theirs:Trainer.fit(self=<Trainer>, table=1)" in capsys.readouterr().out
    assert results.metrics_of("theirs:Trainer.fit", 0.5) == {"fit": 0.5}
    assert returns.annotation(callables.load("theirs:Trainer.fit")) is float


RESULTS = """
from __future__ import annotations
import dataclasses
import numbers, pathlib
import typing
from collections.abc import Collection, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, SupportsFloat, TypedDict
if TYPE_CHECKING:
    from nowhere import Unknown

class Fold(NamedTuple):
    train: str
    test: str

@dataclasses.dataclass
class Tables:
    main: Fold
    size: int = 0
    @property
    def rows(self): return 3

@dataclasses.dataclass
class Grown:
    main: str
    def __post_init__(self): self.later = 1

class Counts(TypedDict, total=False):
    n: int

class Scores(TypedDict):
    auc: float
    by_class: Counts

class Open(TypedDict):
    auc: float
    more: dict[str, float]

class Nested(TypedDict):
    auc: float
    inner: Nested

def tables() -> Tables: ...
def perhaps() -> Optional[Tables]: ...
def either() -> Tables | Fold: ...
def known_in_part() -> Tables | dict[str, str]: ...
def pair() -> tuple[str, int]: ...
def grown() -> Grown: ...
def unknown() -> Unknown: ...
def silent(): ...
def anything() -> Any: ...
async def later() -> Tables: ...
def text() -> str: ...
def nothing() -> None: ...
def number() -> float: ...
def some_number() -> numbers.Number: ...
def like_a_number() -> SupportsFloat: ...
def place() -> pathlib.Path: ...
def places() -> list[pathlib.Path]: ...
def perhaps_number() -> float | None: ...
def two() -> tuple[float, float]: ...
def several() -> list[float]: ...
def sequence() -> Sequence[float]: ...
def sequence_of_typing() -> typing.Sequence[float]: ...
def plain_sequence() -> typing.Sequence: ...
def sequence_that_grows() -> MutableSequence[int]: ...
def collection() -> Collection[float]: ...
def texts() -> Sequence[str]: ...
def mapping() -> dict[str, float]: ...
def yields() -> Iterator[float]: yield 1.0
def yields_texts() -> Iterator[str]: yield ""
def scores() -> Scores: ...
def open_scores() -> Open: ...
def nested_scores() -> Nested: ...

@dataclasses.dataclass
class Report:
    auc: float
    by_class: Counts

class Triple(NamedTuple):
    recall: float
    precision: float

class Model:
    def fit(self, x, y): ...
    def predict(self, x): ...

class Base: ...

class Trained(NamedTuple):
    model: Model
    auc: float

def report() -> Report: ...
def triple() -> Triple: ...
def model() -> Model: ...
def base() -> Base: ...
def trained() -> Trained: ...
def trained_pair() -> tuple[Model, dict[str, float]]: ...
def whole_numbers() -> tuple[int, int]: ...
def four() -> tuple[list, list, list, list]: ...
"""

SEQUENCES = ("sequence", "sequence_of_typing", "plain_sequence", "sequence_that_grows", "collection")
"""Functions of these that may return a list of numbers, and do not say that it is a list."""


def said_of_results(**expected: Any) -> list[str]:
    """What is said of functions of the package `theirs`, of which each is a step, with what is expected of their results."""
    steps = expected.pop("steps", {})
    made = {f"steps.{name}": (f"theirs:{name}", callables.load(f"theirs:{name}")) for name in steps}
    made |= {key: (f"theirs:{name}", callables.load(f"theirs:{name}")) for key, name in expected.pop("functions", {}).items()}
    parts = [("train.with.x", f"steps.{name}.{part}") for name, part in steps.items()]
    return [sentence for _, sentence in returns.mistakes(made, parts, expected.get("numbers", 0), expected.get("metric"), sought=expected.get("sought"))]


@pytest.mark.parametrize(
    ("step", "part", "says"),
    [
        *((step, part, "") for step in ("tables", "perhaps", "either", "later") for part in ("main", "main.test", "main.1", "size", "rows")),
        *((step, "mian", "") for step in ("known_in_part", "grown", "unknown", "silent", "anything", "mapping")),
        ("pair", "1", ""),
        ("tables", "mian", "steps.tables is a Tables by the annotation of theirs:tables; allowed: {{ steps.tables.main }}, {{ steps.tables.size }}."),
        ("later", "mian", "steps.later is a Tables by the annotation of theirs:later; allowed: {{ steps.later.main }}, {{ steps.later.size }}."),
        ("perhaps", "mian", "steps.perhaps is a Tables by the annotation of theirs:perhaps; allowed: {{ steps.perhaps.main }}, {{ steps.perhaps.size }}."),
        (
            "tables",
            "main.tset",
            "steps.tables.main is a Fold by the annotation of theirs:tables; allowed: {{ steps.tables.main.train }}, {{ steps.tables.main.test }}.",
        ),
        ("pair", "2", "steps.pair is tuple[str, int] by the annotation of theirs:pair; allowed: {{ steps.pair.0 }}, {{ steps.pair.1 }}."),
        ("scores", "by_class.m", "steps.scores.by_class is a Counts by the annotation of theirs:scores; allowed: {{ steps.scores.by_class.n }}."),
        ("nothing", "x", "steps.nothing is nothing by the annotation of theirs:nothing; allowed: {{ steps.nothing }} as a whole."),
    ],
)
def test_a_part_that_a_step_says_it_does_not_return_is_a_mistake(theirs: Callable[[str], None], step: str, part: str, says: str) -> None:
    theirs(RESULTS)
    wanted = [f"train.with.x has '{{{{ steps.{step}.{part} }}}}', and {says}"] if says else []
    assert said_of_results(steps={step: part}) == wanted


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        *((name, 1, "") for name in ("number", "some_number", "like_a_number", "perhaps_number", "yields", "several", "anything", "unknown", "silent")),
        *((name, count, "") for name in SEQUENCES for count in (1, 2)),
        ("texts", 1, "collections.abc.Sequence[str] by its annotation; allowed: a number."),
        ("texts", 2, "collections.abc.Sequence[str] by its annotation; allowed: a list of 2 numbers, as there are directions."),
        *((name, 2, "") for name in ("two", "several", "anything")),
        *((name, 0, "") for name in ("text", "nothing")),
        ("text", 1, "a str by its annotation; allowed: a number."),
        ("nothing", 1, "nothing by its annotation; allowed: a number."),
        ("mapping", 1, "dict[str, float] by its annotation; allowed: a number."),
        ("tables", 1, "a Tables by its annotation; allowed: a number."),
        ("two", 1, "tuple[float, float] by its annotation; allowed: a number."),
        ("place", 1, "a Path by its annotation; allowed: a number."),
        ("places", 2, "list[pathlib.Path] by its annotation; allowed: a list of 2 numbers, as there are directions."),
        ("yields_texts", 1, "collections.abc.Iterator[str] by its annotation; allowed: a number."),
        ("number", 2, "a float by its annotation; allowed: a list of 2 numbers, as there are directions."),
    ],
)
def test_an_objective_that_says_it_returns_no_number_is_a_mistake(theirs: Callable[[str], None], name: str, numbers: int, says: str) -> None:
    theirs(RESULTS)
    wanted = [f"search.objective.call has 'theirs:{name}', which returns {says}"] if says else []
    assert said_of_results(functions={"search.objective": name}, numbers=numbers) == wanted


@pytest.mark.parametrize(
    ("name", "metric", "says"),
    [
        *(("scores", metric, "") for metric in ("auc", "by_class.n", "f1")),
        *((name, "nobody_knows", "") for name in ("open_scores", "nested_scores", "mapping", "anything", "silent")),
        ("scores", "acu", "register.champion.metric has 'acu'; allowed: a metric of train.evaluate: auc, by_class.n, f1."),
        (
            "several",
            "f1",
            "train.evaluate.call has 'theirs:several', which returns list[float] by its annotation; "
            "allowed: a number, or a mapping (a dataclass, a NamedTuple) of metric names to numbers.",
        ),
        *((name, metric, "") for name, metric in (("number", "number"), ("report", "auc"), ("report", "f1"), ("triple", "recall"))),
        ("number", "auc", "register.champion.metric has 'auc'; allowed: a metric of train.evaluate: number, f1."),
        ("report", "acu", "register.champion.metric has 'acu'; allowed: a metric of train.evaluate: auc, by_class.n, f1."),
        ("triple", "acu", "register.champion.metric has 'acu'; allowed: a metric of train.evaluate: recall, precision, f1."),
        *(
            (
                name,
                "f1",
                f"train.evaluate.call has 'theirs:{name}', which returns a {kind} by its annotation; "
                "allowed: a number, or a mapping (a dataclass, a NamedTuple) of metric names to numbers.",
            )
            for name, kind in (("tables", "Tables"), ("text", "str"))
        ),
    ],
)
def test_a_champions_metric_that_nothing_makes_is_a_mistake(theirs: Callable[[str], None], name: str, metric: str, says: str) -> None:
    theirs(RESULTS)
    assert said_of_results(functions={"train.evaluate": name}, metric=(metric, ["f1"])) == ([says] if says else [])


@pytest.mark.parametrize(
    ("key", "name", "says"),
    [
        *(("train", name, "") for name in ("model", "base", "trained", "trained_pair", "silent", "anything", "nothing", "text", "place", "perhaps")),
        *(
            ("train", name, f"{kind} by its annotation; allowed: a model with predict, or a tuple")
            for name, kind in (("number", "a float"), ("mapping", "dict[str, float]"), ("triple", "a Triple"), ("whole_numbers", "tuple[int, int]"))
        ),
        *(("cross_validation.data", name, "") for name in ("two", "several", "anything", "triple", "pair", "base")),
        *(
            ("cross_validation.data", name, f"{kind} by its annotation; allowed: (X, y) or (X, y, groups). From one frame: return frame.drop(")
            for name, kind in (("mapping", "dict[str, float]"), ("four", "tuple[list, list, list, list]"), ("number", "a float"), ("report", "a Report"))
        ),
        ("train.evaluate.data", "four", "tuple[list, list, list, list] by its annotation; allowed: (X, y) or (X, y, groups)."),
        *(("cross_validation.estimator", name, "") for name in ("model", "base", "Model", "silent")),
        ("cross_validation.estimator", "Base", "a Base by its annotation; allowed: an object with fit(X, y) and predict(X)."),
        ("cross_validation.estimator", "two", "tuple[float, float] by its annotation; allowed: an object with fit(X, y) and predict(X)."),
    ],
)
def test_results_that_can_be_neither_models_nor_data_are_mistakes(theirs: Callable[[str], None], key: str, name: str, says: str) -> None:
    theirs(RESULTS.replace("perhaps() -> Optional[Tables]", "perhaps() -> Optional[Model]"))
    said = said_of_results(functions={key: name})
    assert len(said) == bool(says) and all(sentence.startswith(f"{key}.call has 'theirs:{name}', which returns {says}") for sentence in said), said


@pytest.mark.parametrize(
    ("functions", "metric", "allowed"),
    [
        ({"search.objective": "scores"}, "acu", "search.objective return: auc, by_class.n"),
        ({"search.objective": "scores"}, "n", ""),  # of an inner mapping
        *(({"search.objective": name}, "acu", "") for name in ("open_scores", "mapping", "number", "silent", "two")),  # may give others
        ({"train": "Model", "train.evaluate": "scores"}, "acu", "train and train.evaluate return: f1, auc, by_class.n"),
        ({"train": "Model", "train.evaluate": "number"}, "number", ""),
        ({"train": "Model", "train.evaluate": "number"}, "acu", "train and train.evaluate return: f1, number"),
        ({"train": "Model", "train.evaluate": "scores"}, "f1", ""),
        ({"train": "silent", "train.evaluate": "scores"}, "acu", ""),
    ],
)
def test_a_metric_that_a_search_goes_by_and_nothing_gives_is_a_mistake(
    theirs: Callable[[str], None], functions: dict[str, str], metric: str, allowed: str
) -> None:
    theirs(RESULTS)
    sought = (metric, list(functions), [] if "search.objective" in functions else ["f1"])
    wanted = [f"search.objective.metric has {metric!r}; allowed, by what {allowed}."] if allowed else []
    assert said_of_results(functions=functions, sought=sought) == wanted


def test_a_metric_that_a_function_may_log_need_not_be_returned(theirs: Callable[[str], None]) -> None:
    theirs(RESULTS + "# by mlflow\n")
    assert said_of_results(functions={"search.objective": "scores"}, sought=("acu", ["search.objective"], [])) == []


def test_a_training_that_may_log_its_model_itself_may_return_what_it_likes(theirs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs(RESULTS + "# by mlflow\n")
    assert said_of_results(functions={"train": "number"}) == []
    monkeypatch.setattr(importlib.metadata, "requires", {"theirs": ["six", "Their_Logs>=1 ; python_version > '3'"], "their-logs": ["mlflow-skinny"]}.get)
    assert returns._needs_mlflow(["theirs"]) and not returns._needs_mlflow(["six"])


def test_an_objective_that_logs_need_not_return_a_number(theirs: Callable[[str], None], tmp_path: Path) -> None:
    theirs("def f(a) -> None: ...\ndef train(): ...\n")
    path = tmp_path / "logs.yml"
    work = inside.Work(lambda _: None)
    package = SimpleNamespace(ask=lambda operation, **what: getattr(work, operation)(**what))
    said: dict[str, str] = {}
    for metric in (", metric: val_auc", ""):  # nothing but a search is an experiment, too
        text = "search: {objective: {call: 'theirs:f', with: {a: '{{ params.a }}'}METRIC}, space: {a: {type: int, low: 1, high: 3}}}\n"
        path.write_text(text.replace("METRIC", metric))
        try:
            checking.check(document.read(path), str(path), {}, lab_environments.project(), cast("Any", package))
        except Mistakes as error:  # this environment need not have Optuna
            said[metric] = str(error)
    assert "search.objective" not in said.get(", metric: val_auc", "")
    assert "line 1: search.objective.call has 'theirs:f', which returns nothing by its annotation; allowed: a number." in said[""]


@pytest.mark.parametrize(
    ("pin", "says"), [("mlflow==2.14.1", 2), ("mlflow-skinny==3.18.0", 2), ("mlflow==2.19.0", 0), ("mlflow-skinny==3.17.2", 0), ("six==1", 0)]
)
def test_a_model_that_an_unsupported_mlflow_would_write_is_refused(pin: str, says: int) -> None:
    needs = yaml.safe_load((ROOT / "roles/environments/defaults/main.yml").read_text(encoding="utf-8"))["environments_lab_requirements"]
    oldest, newest = (".".join(map(str, one)) for one in inside.CLIENTS)
    assert any(re.match(rf"mlflow-skinny>={re.escape(oldest)},<={re.escape(newest)}\.", line) for line in needs)
    environment = lab_environments.Environment("churn", "", f"# without: reasons\n{pin} \\\n    --hash=sha256:1\n")
    found = list(checking._unwritable({"register": {"name": "churn"}, "deploy": {"target": "endpoint"}}, environment))
    assert [key for key, _ in found] == ["register", "deploy"][:says]
    assert all(f"the environment churn has {pin}, and models are written by 2.19 to 3.17; allowed: without {key}" in words for key, words in found)


def test_what_a_draft_left_open_is_named_with_its_line(theirs: Callable[[str], None], tmp_path: Path) -> None:
    theirs("def train(table, names, text, by): ...\n")
    path = tmp_path / "open.yml"
    path.write_text("train:\n  call: theirs:train\n  with:\n    table: ...\n    names: [a, '...']\n    text: 'and so on ...'\n    by: {1: ...}\n")
    work = inside.Work(lambda _: None)
    package = SimpleNamespace(ask=lambda operation, **what: getattr(work, operation)(**what))
    with pytest.raises(Mistakes) as caught:
        checking.check(document.read(path), str(path), {}, lab_environments.project(), cast("Any", package))
    end = "has '...', which a draft has where a value is to be filled in; allowed: a value in its place."
    assert caught.value.sentences == [f"{path}, line {line}: train.with.{name} {end}" for line, name in ((4, "table"), (5, "names"), (7, "by"))]
    draft = compile((ROOT / "tools" / "draft.py").read_text(encoding="utf-8"), "draft", "exec", ast.PyCF_ONLY_AST)
    assert [ast.literal_eval(node.value) for node in ast.walk(draft) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NEEDED"] == [
        checking.TO_FILL
    ]


def test_data_that_is_not_there_is_named_with_its_line(theirs: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, path = tmp_path / "data", tmp_path / "names.yml"
    monkeypatch.setenv("LAB_DATA_DIR", str(data))
    theirs("def train(table, other=None): ...\n")
    path.write_text(f"inputs:\n  table: {data}/gone.csv\ntrain:\n  call: theirs:train\n  with: {{table: '{{{{ inputs.table }}}}', other: '{data}/a.csv'}}\n")
    work = inside.Work(lambda _: None)
    package = SimpleNamespace(ask=lambda operation, **what: getattr(work, operation)(**what))

    def said(**overrides: Any) -> list[str]:
        try:
            checking.check(document.read(path, overrides), str(path), overrides, lab_environments.project(), cast("Any", package))
        except Mistakes as error:
            return error.sentences
        return []

    assert said() == [], "a worker without the folder knows nothing"
    data.mkdir()
    words = f"where this worker has no file; allowed: a file or folder below {data}, "
    table, other = said()
    assert table.startswith(f"{path}, line 2: inputs.table has '{data}/gone.csv', {words}")
    assert other.startswith(f"{path}, line 5: train.with.other has '{data}/a.csv', {words}")
    (data / "a.csv").touch()
    (changed,) = said(**{"inputs.table": f"{data}/b.csv"})
    assert changed.startswith(f"Trigger parameter overrides: inputs.table has '{data}/b.csv', {words}")
    assert said(**{"inputs.table": f"file://{data}/a.csv"}) == []


def test_a_class_will_do_as_a_factory_and_of_many_names_the_like_are_told() -> None:
    assert isinstance(callables.call("cross_validation.estimator", "fractions:Fraction", {"numerator": 3}), Fraction)
    with pytest.raises(LookupError, match="the module yaml has no such function; it has many others, such as safe_dump, safe_dump_all, "):
        callables.load("yaml:safe_dumps")


def test_the_examples_in_the_documentation_are_right(tmp_path: Path) -> None:
    blocks = [block for path in (ROOT / "docs").glob("*.md") for block in re.findall(r"```yaml\n(# yaml-language-server.*?)```", path.read_text(), re.S)]
    assert blocks
    for number, block in enumerate(blocks):
        (tmp_path / f"block{number}.yml").write_text(block)
        document.read(tmp_path / f"block{number}.yml")


def test_the_callables_of_a_document_are_told_in_the_order_they_are_called() -> None:
    assert [key for key, _, _ in document.calls(document.read(EVERY_KEY))] == [
        *("steps.fetch", "steps.other", "steps.split"),
        *("cross_validation.estimator", "cross_validation.data"),
        *("train", "train.evaluate", "train.evaluate.data"),
    ]


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


def test_pages_have_the_addresses_that_people_can_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAB_MLFLOW_PUBLIC_URL", "LAB_MODELS_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("LAB_MODELS_URL", "http://models:8000")
    assert (pages.run("1", "abc"), pages.models()) == (f"http://mlflow:5000/#/experiments/1/runs/abc{pages.TRAINING}", "http://models:8000")
    monkeypatch.setenv("LAB_MLFLOW_PUBLIC_URL", "https://mlflow.example.com/")
    monkeypatch.setenv("LAB_MODELS_PUBLIC_URL", "https://models.example.com/")
    assert pages.run("1", "abc") == f"https://mlflow.example.com/#/experiments/1/runs/abc{pages.TRAINING}"
    assert pages.model("my model", 3) == "https://mlflow.example.com/#/models/my%20model/versions/3?workflowType=machine_learning"
    assert (pages.model(None, None), pages.models()) == ("", "https://models.example.com")
    monkeypatch.setenv("LAB_MLFLOW_PUBLIC_URL", "file:///runs")
    assert pages.run("1", "abc") == "", "files have no pages"


def test_a_trigger_that_sets_what_nobody_reads_is_refused() -> None:
    """Airflow's REST API takes any key."""
    with pytest.raises(Mistakes) as caught:
        document.overrides({"experiment": "wine", "trails": 3, "input": {}})
    assert caught.value.sentences == [
        "Trigger parameter 'input' is unknown; allowed: experiment, trials, inputs, overrides.",
        "Trigger parameter 'trails' is unknown; allowed: experiment, trials, inputs, overrides.",
    ]
    assert document.overrides({"experiment": "wine", "trials": 3, "inputs": {"a": 1}}) == {"search.trials": 3, "inputs.a": 1}
