"""The first files of a project: a package that passes its own tests, and an experiment file that is right as it was drafted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.plugin_utils import environment_files

from lab_experiment import document
from tests.unit.conftest import ROOT


def draft(lab: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run tools/draft.py for a lab's folder."""
    command: list[str | Path] = [sys.executable, ROOT / "tools" / "draft.py", *arguments]
    return subprocess.run(command, env={**os.environ, "LAB": str(lab), "XDG_CACHE_HOME": str(lab / "cache")}, text=True, capture_output=True, check=False)


def project(folder: Path, source: str, about: str = "[project]\nname = 'theirs'\nversion = '1.2'\n", module: str = "theirs.py") -> Path:
    """A project with one module."""
    file = folder / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    (folder / "pyproject.toml").write_text(about)
    return folder


def drafted(lab: Path, project: Path, name: str = "mine") -> tuple[dict[str, Any], str]:
    """A draft of a project: what the lab reads in it, and its text."""
    done = draft(lab, "experiment", name, project)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines()[-1] == f"Next: make run EXPERIMENT={name} LAB={lab}, which locks the environment and checks the file before anything runs."
    file = lab / "experiments" / f"{name}.yml"
    return document.read(file), file.read_text().replace(f" LAB={lab}", "")


def test_from_nothing_to_an_experiment_file_that_is_right(tmp_path: Path, project_python: Path) -> None:
    lab, project = tmp_path / "lab", tmp_path / "churn risk"
    assert draft(lab, "project", "churn-risk", project).returncode == 0
    assert f"make publish PROJECT='{os.path.relpath(project, ROOT)}' LAB={lab} " in (project / "README.md").read_text()
    tested: list[str | Path] = [project_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", project / "tests"]
    done = subprocess.run(tested, env={**os.environ, "PYTHONPATH": str(project / "src")}, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert draft(lab, "experiment", "churn-risk", project).returncode == 0
    found = document.read(lab / "experiments" / "churn-risk.yml")
    header = (lab / "experiments" / "churn-risk.yml").read_text().partition("\n")[0]
    assert (lab / "experiments" / header.partition("$schema=")[2]).resolve() == document.SCHEMA, "editors find the schema by this line"
    (lab / "experiments" / ".schema.json").touch()
    assert draft(lab, "experiment", "beside-it", project).returncode == 0
    assert (lab / "experiments" / "beside-it.yml").read_text().startswith("# yaml-language-server: $schema=.schema.json\n")
    assert found["environment"] == "churn-risk" and found["register"]["name"] == "churn-risk"
    assert found["cross_validation"]["estimator"]["call"] == "churn_risk:make_model" and found["cross_validation"]["data"]["call"] == "churn_risk:data"
    assert set(found["search"]["space"]) == {"trees", "max_depth"}
    assert "churn-risk==0.1.0\n" in (lab / "environments" / "churn-risk.in").read_text()


@pytest.mark.parametrize("example", ["wine_cultivars", "diabetes_progression"])
def test_a_package_is_read_and_what_is_not_known_is_left_to_be_filled_in(tmp_path: Path, example: str) -> None:
    done = draft(tmp_path, "experiment", "mine", ROOT / "examples" / example)
    assert done.returncode == 0 and "Put values in the place of '...'" in done.stdout, done.stderr
    document.read(tmp_path / "experiments" / "mine.yml")
    text = (tmp_path / "experiments" / "mine.yml").read_text()
    assert f"#   - {{name: {'prepare' if example == 'wine_cultivars' else 'split'}, call: '{example}" in text


def test_what_stands_in_the_way_is_a_sentence_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yml").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pyproject.toml").write_text("[project]\nname = 'empty'\n")
    with zipfile.ZipFile(tmp_path / "nothing.whl", "w") as archive:
        archive.writestr("theirs.py", "")
    wine = ROOT / "examples" / "wine_cultivars"
    for name, text in {"space": "[tool.uv.workspace]\nmembers = ['p/*', '.', '']\n", "space/p/one": "", "computed": ""}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").write_text(text)
    (tmp_path / "computed" / "setup.py").write_text("setup(name=NAME)")
    cases: dict[tuple[str | Path, ...], str] = {
        ("experiment", "other", tmp_path / "space"): "which is a workspace, and no package itself: name one of its members, p/one.",
        ("experiment", "other", tmp_path / "computed"): "(it says no name, or a version that is no text). Write one, or name the project's wheel.",
        ("experiment", "mine", wine): "mine.yml is there already, and nothing is overwritten",
        ("experiment", "My exp!", wine): "NAME has 'My exp!'; write letters, digits, - and _, the first a letter or digit, as in my-exp.",
        ("experiment", "_", wine): "the first a letter or digit, as in churn.",
        ("experiment", "x" * 101, wine): f"as in {'x' * 60}.",
        ("project", "My_Exp", tmp_path / "class"): "NAME has 'My_Exp'; write small letters, digits, - and _, the first a letter, as in my-exp.",
        ("experiment", "project", wine): "NAME has 'project', which is the environment in the lab's image; write another one, as in churn.",
        ("experiment", "other"): "PROJECT is missing; write the folder of the package or its wheel",
        ("experiment",): "NAME is missing; write it, as in make experiment NAME=churn PROJECT=../churn.",
        ("experiment", wine): f"NAME is missing; write it, as in make experiment NAME=churn PROJECT={wine}.",
        ("project", "class", tmp_path / "class"): "NAME has 'class', which is a word or a module of Python itself; write another one, as in class-model.",
        ("project", "json", tmp_path / "json"): "NAME has 'json', which is a word or a module of Python itself",
        ("project",): "NAME is missing; write it, as in make project NAME=churn PROJECT=../churn.",
        ("experiment", "other", tmp_path): "whose pyproject.toml with a section [project] cannot be read",
        ("experiment", "other", tmp_path / "none.whl"): "which cannot be read as a wheel",
        ("experiment", "other", tmp_path / "nothing.whl"): "which has no METADATA and so is no wheel",
        ("experiment", "other", tmp_path / "empty"): "which has neither a package empty nor a module empty.py",
    }
    for arguments, words in cases.items():
        done = draft(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, "") and words in done.stderr, done.stderr
    assert (tmp_path / "experiments" / "mine.yml").read_text() == "mine" and not (tmp_path / "environments").exists()
    assert not (tmp_path / "json").exists() and not (tmp_path / "class").exists()


ODD = """
import math
LIMIT = 3
def make_model(trees=100, depth=1, share=0.5, whole=1.0, rate=1e-4, tiny=5e-324, huge=1e308, alpha=10.0, l1=0.0, below=-3, none=0, most=9007199254740992,
               random_state=7, seed=1, split_seed=2, n_jobs=4, verbose=1, copy_x=1, copy_X=True, cv=5,
               limit=LIMIT, sizes=(8, 4), raw=b"x", odd=1j, rest=..., endless=1e999, many=10**30, names={1, 2}, by={1: 2}, text="{{ x }}", lines="a\\nb",
               number="1e5", zero="007", no="no", null="null", tilde="~", words="a: b # c", mixed=[1, "2", None], größe=3, *, strict=False, needed):
    pass
def data(n=3, /, seed=1): pass
def only_by_place(table, /): pass
"""


def test_a_search_tries_what_a_model_can_gain_by_and_every_draft_is_right(tmp_path: Path) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", ODD))
    space = {name: (what["type"], what["low"], what["high"]) for name, what in found["search"]["space"].items()}
    assert space == {
        "trees": ("int", 50, 400),
        "depth": ("int", 1, 4),
        "share": ("float", 0.05, 1.0),
        "whole": ("float", 0.1, 1.0),
        "rate": ("float", 1e-5, 1e-3),
        "alpha": ("float", 1.0, 100.0),
    }
    given = found["cross_validation"]["estimator"]["with"]
    assert given.pop("needed") == "..." and all(given.pop(name) == f"{{{{ params.{name} }}}}" for name in space)
    plain: dict[str, Any] = {"tiny": 5e-324, "huge": 1e308, "l1": 0.0, "below": -3, "none": 0, "most": 2**53}
    plain |= {"random_state": 7, "seed": 1, "split_seed": 2, "n_jobs": 4, "verbose": 1, "copy_x": 1, "copy_X": True, "cv": 5}
    plain |= {"number": "1e5", "zero": "007", "no": "no", "null": "null", "tilde": "~", "words": "a: b # c"}
    assert given == {**plain, "mixed": [1, "2", None], "größe": 3, "strict": False}, "what a file cannot hold as it is is left to the function's own default"
    assert found["cross_validation"]["data"] == {"call": "theirs:data", "with": {"seed": 1}}


@pytest.mark.parametrize("name", ["null", "yes", "e5", "my_exp", "My-Exp", "2026_q1", "1e5", "True"])
def test_a_name_that_yaml_has_a_meaning_for_is_a_name(tmp_path: Path, name: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", "def make_model(n_jobs=1): pass\ndef data(): pass\n"), name)
    assert (found["environment"], found["register"]["name"], found["search"]) == (name, name, None)
    assert environment_files.NAME.fullmatch(name) and [*environment_files.files_of(tmp_path / "environments")] == [name]


TRAINING = """
async def train(table, tracking_uri=None, rate=0.1):
    def numbers(): yield 1
def evaluate(model, table, mlflow_tracking_uri="http://127.0.0.1:5000"): pass
async def fetch(): pass
async def stream(): yield 1
def fit(): yield 1
def Split(): "Split\x1b it."
def split(): pass
"""


def test_a_training_gets_the_labs_mlflow_and_says_what_its_deployment_needs(tmp_path: Path) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", TRAINING))
    assert found["train"]["call"] == "theirs:train"
    assert found["train"]["with"] == {"table": "...", "tracking_uri": "{{ mlflow_tracking_uri }}", "rate": 0.1}
    assert found["train"]["evaluate"]["with"] == {"model": "{{ model }}", "table": "...", "mlflow_tracking_uri": "{{ mlflow_tracking_uri }}"}
    assert found["deploy"] is None and re.search(r"^# deploy: {target: endpoint} .* It needs train.input_example", text, re.MULTILINE)
    steps = yaml.safe_load(re.sub(r"^# ?", "", text[text.index("# steps:") :], flags=re.MULTILINE))["steps"]
    assert [step["name"] for step in steps] == ["fetch", "fit", "split", "theirs_split"], "an asynchronous generator is nothing that a file can call"
    (tmp_path / "experiments" / "mine.yml").write_text(text.replace("# steps:", "steps:").replace("#   - ", "  - "))
    assert len(document.read(tmp_path / "experiments" / "mine.yml")["steps"]) == 4


def test_where_nothing_looks_like_a_training_the_draft_is_right_all_the_same(tmp_path: Path) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", "def go(table): pass\n"), "one")
    assert found["train"]["call"] == "theirs:go" and found["train"]["with"] == {"table": "..."} and found["deploy"] is None
    found, _ = drafted(tmp_path, project(tmp_path / "3d", "", "[project]\nname = '3d-shapes'\n[tool.flit.module]\nname = 'shapes'", "shapes.py"), "two")
    assert found["train"]["call"] == "shapes:train"
    assert (tmp_path / "environments" / "two.in").read_text().endswith("\n3d-shapes\n")


DYNAMIC = "[build-system]\nrequires = []\nbuild-backend = '{backend}'\n[project]\nname = 'the.irs'\ndynamic = ['version']\n"
READ = {
    "hatchling.build": "[tool.hatch.version]\npath = 'theirs/_about.py'",
    "pdm.backend": "[tool.pdm.version]\nsource = 'file'\npath = 'theirs/_about.py'",
    "setuptools.build_meta": "[tool.setuptools]\npackages = ['theirs']\n[tool.setuptools.dynamic]\nversion = {attr = 'theirs._about.__version__'}",
    "flit_core.buildapi": "[tool.flit.module]\nname = 'theirs'",
    "git": "[tool.setuptools]\npackages = ['theirs']\n[tool.setuptools_scm]",
    "poetry": "[tool.poetry]\nname = 'the.irs'\nversion = '0.0.0'\npackages = [{include = 'theirs'}]\n[tool.poetry-dynamic-versioning]\nenable = true",
}


@pytest.mark.parametrize("backend", [*READ])
def test_a_version_that_pyproject_does_not_say_is_that_of_the_source_or_the_one_that_was_published_last(tmp_path: Path, backend: str) -> None:
    about = READ[backend] if backend == "poetry" else DYNAMIC.format(backend=backend) + READ[backend]
    folder = project(tmp_path / "theirs", "__version__: str = '1.3-rc1'\ndef train(): pass\n", about, module="theirs/__init__.py")
    project(folder, "__version__ = '1.3.rc1'\n", about, module="theirs/_about.py")
    for number, name in enumerate(("the_irs-1.2.0", "the_irs-1.1.0", "theirs-3.0", "the_irs-1.0.0")):
        wheel = tmp_path / "cache" / "mlops.lab" / "wheels" / str(number) / f"{name}-py3-none-any.whl"
        wheel.parent.mkdir(parents=True)
        wheel.touch()
        os.utime(wheel.parent, (9 - number, 9 - number))
    (tmp_path / "cache" / "mlops.lab" / "wheels" / "4").mkdir()
    (tmp_path / "cache" / "mlops.lab" / "wheels" / "4" / "nothing.whl").touch()
    done = draft(tmp_path, "experiment", "mine", folder)
    version = "1.2.0" if backend in ("git", "poetry") else "1.3rc1"
    assert (tmp_path / "environments" / "mine.in").read_text().endswith(f"\nthe.irs=={version}\n"), done.stderr
    assert (f"mine.in asks for the.irs=={version}, which `make publish` built last." in done.stdout) == (version == "1.2.0")


@pytest.mark.parametrize(("gives", "told"), [("pd.DataFrame", True), ("tuple[pd.DataFrame, pd.Series]", False), ("Any", False)])
def test_a_loader_of_one_table_is_drafted_with_a_word_on_what_is_wanted(tmp_path: Path, gives: str, told: bool) -> None:
    source = f"def make_model(depth: int = 3): ...\n\n\ndef load_data(path: str = 'a') -> {gives}: ...\n"
    found, text = drafted(tmp_path, project(tmp_path / "theirs", source))
    assert found["cross_validation"]["data"]["call"] == "theirs:load_data"
    assert ("# load_data gives one table, and (X, y) is wanted of cross_validation.data" in text) == told


def test_where_no_version_is_known_the_draft_says_how_to_get_one(tmp_path: Path) -> None:
    folder = project(tmp_path / "the irs", "def train(): pass\n", DYNAMIC.format(backend="git") + READ["git"], module="theirs/__init__.py")
    done = draft(tmp_path, "experiment", "mine", folder)
    assert f"No version of the.irs is known here: run `make publish PROJECT='{folder}' LAB={tmp_path}`, and write the.irs==<version>" in done.stdout, (
        done.stderr
    )
    assert (tmp_path / "environments" / "mine.in").read_text().endswith("\nthe.irs\n")


CLASSES = """
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar
class Wrong(ValueError): pass
class Scaler(BaseEstimator):
    def transform(self, table): pass
@dataclass(frozen=True)
class Settings:
    "Which columns count."
    columns: list
    kinds: ClassVar = 3
    _: KW_ONLY
    limit: int = 3
    names: list = field(default_factory=list)
    share: float = field(default=0.5)
    made: str = field(init=False)
class Forest(sklearn.base.BaseEstimator):
    def __init__(self, trees=100, *, random_state=7): pass
def load_data(path): pass
"""


def test_a_class_gives_the_model_of_a_search(tmp_path: Path) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", CLASSES))
    assert found["cross_validation"]["estimator"] == {"call": "theirs:Forest", "with": {"trees": "{{ params.trees }}", "random_state": 7}}
    assert found["cross_validation"]["data"] == {"call": "theirs:load_data", "with": {"path": "..."}} and set(found["search"]["space"]) == {"trees"}
    assert found["train"]["call"] is None and found["register"]["name"] == "mine"
    steps = yaml.safe_load(re.sub(r"^# ?", "", text[text.index("# steps:") :], flags=re.MULTILINE))["steps"]
    assert [(step["call"], step["with"]) for step in steps] == [
        ("theirs:Scaler", {}),
        ("theirs:Settings", {"columns": "...", "limit": 3, "share": 0.5}),
    ]
    duck = "class Duck:\n  def fit(self, x, y): pass\n  def predict(self, x): pass\nclass Other: pass\ndef load(): pass\n"
    assert drafted(tmp_path, project(tmp_path / "theirs", duck), "duck")[0]["cross_validation"]["estimator"] == {"call": "theirs:Duck", "with": {}}


DERIVED = """
from dataclasses import dataclass
from .base import Model, Options
class Forest(Model):
    def fit(self, rows, labels): pass
class Deep(Forest):
    def __init__(self, depth: int = 3): pass
@dataclass
class Narrow(Options):
    limit: int = 2
class Lost(Circle): pass
class Circle(Lost): pass
class Worse(Bad): pass
class Bad(ValueError): pass
def load_data(path): pass
"""
BASE = """
from dataclasses import dataclass
from typing import Protocol
class Fits(Protocol): pass
class Model(Fits):
    def __init__(self, trees=100, *, random_state=7): pass
    def predict(self, rows): pass
@dataclass
class Options:
    columns: list
    limit: int = 9
"""


def test_a_class_has_the_arguments_that_it_inherits(tmp_path: Path) -> None:
    """From a class of the package, in whatever file; one that is derived from itself, as broken code may say, ends nothing."""
    folder = project(tmp_path / "theirs", DERIVED, module="theirs/__init__.py")
    project(folder, BASE, module="theirs/base.py")
    found, text = drafted(tmp_path, folder)
    assert found["cross_validation"]["estimator"] == {"call": "theirs:Forest", "with": {"trees": "{{ params.trees }}", "random_state": 7}}
    rest = dict(re.findall(r"call: '(.*?)'(?:, with: (\{.*?\}))?", text))
    assert rest["theirs:Narrow"] == "{columns: '...', limit: 2}" and {"theirs:Worse", "theirs:Bad", "theirs.base:Fits"}.isdisjoint(rest)


CONFIGURED = """
from dataclasses import dataclass, field
from pydantic import BaseModel, Field
@dataclass(frozen=True)
class Config:
    rate: float
    depth: int = 3
    columns: list[str] = field(default_factory=list)
class Data(BaseModel):
    path: str = Field(...)
    share: float = Field(0.2, gt=0)
def train(cfg: Config, data: "Data | None", seed: int = 1, other: Config = Config(1)): pass
"""


def test_a_configuration_is_drafted_with_its_fields(tmp_path: Path) -> None:
    found, _text = drafted(tmp_path, project(tmp_path / "theirs", CONFIGURED))
    assert found["train"]["with"] == {"cfg": {"rate": "...", "depth": 3}, "data": {"path": "...", "share": 0.2}, "seed": 1}


def test_a_package_gives_what_it_takes_from_its_private_modules(tmp_path: Path) -> None:
    folder = project(tmp_path / "theirs", "from ._fit import train, _split as split\nfrom theirs._more import *\n", module="theirs/__init__.py")
    project(folder, "def train(rate=0.1): pass\ndef _split(): pass\ndef hidden(): pass\n", module="theirs/_fit.py")
    project(folder, "def load(): pass\ndef _no(): pass\n", module="theirs/_more.py")
    found, text = drafted(tmp_path, folder)
    assert (found["train"]["call"], found["train"]["with"]) == ("theirs:train", {"rate": 0.1})
    assert re.findall(r"call: '(.*?)'", text) == ["theirs:split", "theirs:load"]


BRANCHES = """
try:
    import fast
    def train(rate=0.1): pass
except ImportError:
    def train(rate=0.2): pass
if fast:
    def score(): pass
else:
    def load(): pass
if TYPE_CHECKING:
    def typed(): pass
if __name__ == "__main__":
    def script(): pass
"""


def test_functions_in_the_branches_of_a_module_count_once(tmp_path: Path) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", BRANCHES))
    assert (found["train"]["with"], found["train"]["evaluate"]["call"]) == ({"rate": 0.1}, "theirs:score")
    assert re.findall(r"call: '(.*?)'", text) == ["theirs:load"]


def test_what_loads_data_is_no_training(tmp_path: Path) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", "def load_data(): pass\n"))
    assert found["train"]["call"] == "theirs:train" and "# No function looks like one that trains: name yours here." in text


CHOICES = {
    "load_data": "def load_config(path): pass\ndef get_logger(name): pass\ndef get_args(): pass\ndef load_model(path): pass\ndef load_data(path): pass",
    "load_wine": "def get_device(): pass\ndef load_params(): pass\ndef load_wine() -> pd.DataFrame: pass",
    "load_data_from_path": "def load_data_config(): pass\ndef get_data_path(): pass\ndef get_n(n) -> int: pass\ndef load_data_from_path(path): pass",
    "get_features": "def make_plots(): pass\ndef read_yaml(file): pass\ndef load(): pass\ndef get_features(table): pass",
    "load_model_data": "def load_model(path): pass\ndef load_model_data(): pass",
}


@pytest.mark.parametrize("name", [*CHOICES])
def test_what_loads_something_else_is_no_data(tmp_path: Path, name: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", f"{CHOICES[name]}\ndef make_model(n_jobs=1): pass\n"))
    assert found["cross_validation"]["data"]["call"] == f"theirs:{name}"


TRAININGS = {
    "train_model": "def train_test_split_by_date(df): pass\ndef fit_transform_all(df): pass\ndef train_on_fold(x): pass\ndef train_model(x): pass",
    "main_train": "def temporal_train_test_split(df): pass\ndef train_one_epoch(x): pass\ndef main_train(x): pass",
    "fit_forest": "def fit_scaler(x): pass\ndef train_loader(x): pass\ndef train_data(): pass\ndef fit_forest(x): pass",
    "train_with_config": "def train_with_config(x): pass\ndef validate_df(x): pass",
    "main": "def parse_args(): pass\ndef temporal_train_test_split(df): pass\ndef clean(x): pass\ndef main(x): pass",
    "train_final_model": "def train_final_model(x): pass",
}


@pytest.mark.parametrize("name", [*TRAININGS])
def test_what_parts_a_table_or_does_a_part_is_no_training(tmp_path: Path, name: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", f"def validate_config(x): pass\ndef score_model(model): pass\n{TRAININGS[name]}\n"))
    assert found["train"]["call"] == f"theirs:{name}"
    if name != "main":
        assert found["train"]["evaluate"]["call"] == "theirs:score_model"


WIRED = {
    "def load_data(path): return 1\ndef train(df, rate=0.1): pass": {"df": "{{ steps.load_data }}", "rate": 0.1},
    "def load_orders(n=9): return 1\ndef fit(orders, rate=0.1): pass": {"orders": "{{ steps.load_orders }}", "rate": 0.1},
    "def get_orders_table() -> pd.DataFrame: pass\ndef train(orders: pandas.DataFrame, cfg): pass": {"orders": "{{ steps.get_orders_table }}", "cfg": "..."},
    "def load_data():\n    def inner(): return 1\n    return 1, 2\ndef train(X, y): pass": {"X": "{{ steps.load_data.0 }}", "y": "{{ steps.load_data.1 }}"},
    "def load_data() -> tuple[A, B]: pass\ndef train(features, target, n): pass": {
        "features": "{{ steps.load_data.0 }}",
        "target": "{{ steps.load_data.1 }}",
        "n": "...",
    },
    "def load_data() -> tuple[A, B]: pass\ndef train(df): pass": {"df": "..."},
    "def load_data() -> tuple[A, ...]: pass\ndef train(X, y): pass": {"X": "...", "y": "..."},
    "def load_data(): return 1, 2, 3\ndef train(df): pass": {"df": "..."},
    "def load_data(): pass\ndef load_raw_data(): pass\ndef train(df): pass": {"df": "..."},
    "def load_data() -> pd.Series: pass\ndef train(df: pd.DataFrame): pass": {"df": "..."},
    "def load_data() -> dict: pass\ndef train(cfg: dict): pass": {"cfg": "..."},
    "def load_data(): pass\ndef train(df, data): pass": {"df": "...", "data": "..."},
    "def load_data(): pass\ndef train(df=None): pass": {"df": None},
}


@pytest.mark.parametrize("source", [*WIRED])
def test_an_argument_that_one_function_can_fill_gets_its_result(tmp_path: Path, source: str) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", source))
    assert found["train"]["with"] == WIRED[source]
    wired = "{{ steps." in str(WIRED[source])
    assert [step["call"] for step in found["steps"]] == (["theirs:" + source[4:].partition("(")[0]] if wired else [])
    assert not wired or "What else" not in text


ONE_TABLE = {
    "def load_data() -> pd.DataFrame: pass\ndef train(df): pass": {"df": "{{ steps.load_data }}"},
    "def load_data(path):\n    table = read(path)\n    return table\ndef train(df, rate=0.1): pass": {"df": "{{ steps.load_data }}", "rate": 0.1},
    "def load_data() -> pd.DataFrame: pass\ndef train(X, y): pass": {"X": "...", "y": "..."},
    "def load_data(): return 1, 2, 3, 4\ndef train(path): pass": {"path": "..."},
    "def load_data(): return load_wine()\ndef train(): pass": {},
}
TWO_PARTS = [
    "def load_data() -> tuple[A, B]: pass\ndef train(df): pass",
    "def load_data() -> 'tuple[A, B, C]': pass\ndef train(df): pass",
    "def load_data() -> Any: return 1, 2\ndef train(df): pass",
    "def load_data(n):\n    if n: return 1, 2\n    return 3\ndef train(df): pass",
    "def load_data(): return load_wine(return_X_y=True)\ndef train(features, target, n=3): pass",
    "def load_data() -> pd.DataFrame: pass\ndef evaluate(model): pass",
]


PARTED = """
from dataclasses import dataclass
@dataclass
class Split:
    train: pd.DataFrame
    test: pd.DataFrame
def load(rows: int = 20) -> pd.DataFrame: return pd.DataFrame()
def split(frame: pd.DataFrame, share: float = 0.2) -> Split: return Split(frame, frame)
def fit(train: pd.DataFrame, leaves: int = 15, seed: int = 1) -> Any: return 1
def evaluate(model: Any, test: pd.DataFrame) -> dict[str, float]: return {}
def objective(train: pd.DataFrame, test: pd.DataFrame, leaves: int = 15) -> float: return 1.0
"""
TUPLE = """
def load_data(path="/opt/data/a.csv"): return 1
def split_data(df): return train_test_split(df.drop(columns="y"), df["y"], random_state=1)
def train_model(X_train, y_train, leaves=15, seed=1): return 1
def evaluate_model(model, X_test, y_test): return 1
def objective(X, y, leaves=15): return 1
"""


OTHER_ORDER = """
def load_data(path="/opt/data/a.csv"): return 1
def split_data(df):
    X_train, X_test, y_train, y_test = train_test_split(df, df)
    return X_train, y_train, X_test, y_test
def train_model(X_train, y_train, leaves=15, seed=1): return 1
def evaluate_model(model, X_test, y_test): return 1
def objective(X, y, leaves=15, more=2): return 1
"""


@pytest.mark.parametrize(
    ("source", "split", "given", "judged", "objective"),
    [
        (PARTED, "split", {"train": "train"}, {"test": "test"}, {"train": "train", "test": "test"}),
        (TUPLE, "split_data", {"X_train": "0", "y_train": "2"}, {"X_test": "1", "y_test": "3"}, {"X": "0", "y": "2"}),
        (OTHER_ORDER, "split_data", {"X_train": "0", "y_train": "1"}, {"X_test": "2", "y_test": "3"}, {"X": "0", "y": "1", "more": 2}),
    ],
    ids=["a dataclass", "scikit-learn's", "another order"],
)
def test_a_table_is_parted_before_a_model_is_trained_and_judged(
    tmp_path: Path, source: str, split: str, given: dict[str, str], judged: dict[str, str], objective: dict[str, Any]
) -> None:
    """The parts go where their names say, and an objective of the package's own is searched."""
    found, text = drafted(tmp_path, project(tmp_path / "theirs", source))

    def parts(of: dict[str, Any]) -> dict[str, Any]:
        return {name: f"{{{{ steps.{split}.{part} }}}}" if isinstance(part, str) else part for name, part in of.items()}

    assert [step["call"].partition(":")[2] for step in found["steps"]][1:] == [split]
    assert found["search"]["objective"]["with"] == {**parts(objective), "leaves": "{{ params.leaves }}"}
    assert found["train"]["with"] == {**parts(given), "leaves": "{{ params.leaves }}", "seed": 1}
    assert found["train"]["evaluate"]["with"] == {"model": "{{ model }}", **parts(judged)}
    assert "Split" not in text and "..." not in text


@pytest.mark.parametrize(
    "source",
    [
        "def load_data(): return 1\ndef split_features_target(df):\n  X, y = 1, 2\n  return X, y\ndef train(X, y): return 1\n",
        "def load_data(): return 1\ndef split(df): return (1, 2), (3, 4)\ndef train(X_train): return 1\n",
        "def train(model, epochs=10): return 1\ndef objective(model, alpha=0.1): return 1\n",
        "def load(path): return 1\ndef save(model, path): return 1\ndef train(df): return 1\n",
    ],
    ids=["features and target", "pairs", "a model to train", "a model to load"],
)
def test_where_it_is_not_plain_what_goes_where_nothing_is_parted(tmp_path: Path, source: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", source))
    assert not found["search"]
    assert "..." in found["train"]["with"].values() or not found["steps"]


def test_a_search_over_training_and_evaluation_is_left_as_comments(tmp_path: Path) -> None:
    _, text = drafted(tmp_path, project(tmp_path / "theirs", TUPLE.replace("def objective", "def other")))
    search = yaml.safe_load(re.sub(r"^# ?", "", text[text.index("# search:") : text.index("\nregister:")], flags=re.MULTILINE))["search"]
    assert search == {"objective": {"metric": "..."}, "space": {"leaves": {"type": "int", "low": 7, "high": 60}}}
    path = tmp_path / "experiments" / "mine.yml"
    path.write_text(text.replace("leaves: 15", "leaves: '{{ params.leaves }}'", 1) + yaml.safe_dump({"search": search}))
    assert document.read(path)["search"]["objective"]["call"] is None


@pytest.mark.parametrize("source", [*ONE_TABLE, *TWO_PARTS])
def test_a_training_is_drafted_where_the_data_are_no_x_and_y(tmp_path: Path, source: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", f"def build_model(n=100): pass\n{source}\n"))
    if source in ONE_TABLE:
        assert not found["search"] and not found["cross_validation"]
        assert (found["train"]["call"], found["train"]["with"]) == ("theirs:train", ONE_TABLE[source])
    else:
        assert found["cross_validation"]["estimator"]["call"] == "theirs:build_model" and found["train"]["call"] is None


LOGS = """
import mlflow
def load_data(): return 1
def log_all(words): mlflow.log_metrics(words)
def {name}(table, rate=0.1, seed=7){gives}:
    def loss(): return 1
    with mlflow.start_run():
        mlflow.log_metric({metric})
    return None
"""


@pytest.mark.parametrize(
    ("name", "gives", "metric", "wanted"),
    [
        ("train", "", "'accuracy', loss()", ("accuracy", "maximize")),
        ("fit_all", " -> None", "key='val_loss', value=0", ("val_loss", "minimize")),
        ("go", "", "NAME, 1", ("...", "maximize")),
    ],
)
def test_what_only_logs_is_searched_by_what_it_logs(tmp_path: Path, name: str, gives: str, metric: str, wanted: tuple[str, str]) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", LOGS.format(name=name, gives=gives, metric=metric)))
    objective = {"call": f"theirs:{name}", "with": {"table": "{{ steps.load_data }}", "rate": "{{ params.rate }}", "seed": 7}, "metric": wanted[0]}
    assert (found["search"]["objective"], found["search"]["direction"], set(found["search"]["space"])) == (objective, [wanted[1]], {"rate"})
    assert not found["train"] and not found["register"] and not found["deploy"] and [step["name"] for step in found["steps"]] == ["load_data"]


def test_what_only_logs_and_has_nothing_to_try_is_a_step(tmp_path: Path) -> None:
    source = "from mlflow import log_metrics\ndef train(table): log_metrics({'accuracy': 1})\ndef split(): pass\n"
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", source))
    assert [(step["name"], step["with"]) for step in found["steps"]] == [("train", {"table": "..."})]
    assert not found["search"] and not found["train"] and not found["register"]
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", f"{source}def load_data(): pass\n"), "other")
    assert [(step["name"], step["with"]) for step in found["steps"]] == [("load_data", {}), ("train", {"table": "{{ steps.load_data }}"})]


@pytest.mark.parametrize("more", ["mlflow.sklearn.log_model(1)", "mlflow.autolog()", "return 1"])
def test_what_logs_and_gives_a_model_is_a_training(tmp_path: Path, more: str) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", f"import mlflow\ndef train(rate=0.1):\n    mlflow.log_metric('a', 1)\n    {more}\n"))
    assert found["search"] is None and found["train"]["call"] == "theirs:train" and found["register"]["name"] == "mine"


CLICK = """
import click
from click import option
@click.group()
def cli(): pass
@cli.command()
@click.pass_context
@click.argument("path")
@click.argument("more", default="all")
@option("--epochs", "-e", default=3, help="How many.")
@click.option("-r", "rate", default=0.5)
@click.option("--test-share", required=True)
@click.option("--limit", default=LIMIT)
@click.option("--note")
@click.option("--none", default=None)
@click.option("--dry", default=False)
@click.option("--shuffle/--no-shuffle", default=True)
@click.option("--tracking-uri", required=True)
def train(ctx, **rest): pass
@click.command
def evaluate(): pass
"""


def test_a_command_of_click_gets_its_arguments_by_their_names(tmp_path: Path) -> None:
    found, text = drafted(tmp_path, project(tmp_path / "theirs", CLICK))
    wanted = {"path": "...", "more": "all", "epochs": 3, "rate": 0.5, "test_share": "...", "dry": False}  # click knows the others
    assert found["train"]["with"] == {**wanted, "tracking_uri": "{{ mlflow_tracking_uri }}"} and "cli" not in text
    assert found["train"]["evaluate"]["with"] == {}
    logs = CLICK.replace("**rest): pass", "**rest): mlflow.log_metric('accuracy', 1)")
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", logs), "other")
    assert found["search"]["objective"]["with"]["epochs"] == "{{ params.epochs }}" and set(found["search"]["space"]) == {"epochs", "rate"}


TYPER = """
@app.command()
def train(
    path: Path = typer.Argument(...), epochs: int = typer.Option(3, "--epochs"), rate: float = Option(default=0.5), seed: int = typer.Option(SEED),
    name: str = typer.Option(None), more: str = typer.Option(), less: Annotated[int, typer.Option()] = 4): pass
"""


def test_the_default_that_typer_reads_is_the_default(tmp_path: Path) -> None:
    found, _ = drafted(tmp_path, project(tmp_path / "theirs", TYPER))
    assert found["train"]["with"] == {"path": "...", "epochs": 3, "rate": 0.5, "seed": "...", "name": None, "more": "...", "less": 4}


NAMED = "[project]\nname = 'the-project'\nversion = '1.2'\n"
POETRY = "[tool.poetry]\nname = 'the-project'\nversion = '1.2'\n"


@pytest.mark.parametrize(
    ("module", "about", "called"),
    [
        ("src/other/__init__.py", f"{NAMED}[tool.flit.module]\nname = 'other'", "other:train"),
        ("src/acme/other/__init__.py", f"{NAMED}[tool.flit.module]\nname = 'acme.other'", "acme.other:train"),
        ("other/__init__.py", f"{NAMED}[tool.setuptools]\npackages = ['other', 'other.deep']", "other:train"),
        ("lib/other/fit.py", f"{NAMED}[tool.setuptools]\npackages = ['other']\npackage-dir = {{'' = 'lib'}}", "other.fit:train"),
        ("other.py", f"{NAMED}[tool.setuptools]\npy-modules = ['other']", "other:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.setuptools.packages.find]\nwhere = ['lib']", "other:train"),
        ("source/other/__init__.py", f"{NAMED}[tool.hatch.build.targets.wheel]\npackages = ['source/other']", "other:train"),
        ("lib/other/__init__.py", f"{POETRY}packages = [{{include = 'other', from = 'lib'}}]", "other:train"),
        ("lib/other.py", f"{NAMED}[tool.poetry]\npackages = [{{include = 'other.py', from = 'lib'}}]", "other:train"),
        ("other/__init__.py", f"{NAMED}[tool.uv.build-backend]\nmodule-name = 'other'\nmodule-root = ''", "other:train"),
        ("the_project/__init__.py", POETRY, "the_project:train"),
        ("src/the_project/__init__.py", NAMED.replace("the-", "The."), "the_project:train"),
        ("src/other/__init__.py", NAMED, "other:train"),
        ("src/the/project/__init__.py", NAMED, "the.project:train"),
        ("the/project/__init__.py", NAMED.replace("the-", "The."), "the.project:train"),
        ("src/acme/risk/other/__init__.py", NAMED, "acme.risk.other:train"),
        ("acme/other/__init__.py", NAMED, "acme.other:train"),
        ("src/the_project/fit.py", NAMED, "the_project.fit:train"),
        ("the_project/fit.py", NAMED, "the_project.fit:train"),
        ("src/other/fit.py", NAMED, "other.fit:train"),
        ("src/acme/other/fit.py", NAMED, "acme.other.fit:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.setuptools.package-dir]\n'' = 'lib'", "other:train"),
        ("lib/__init__.py", f"{NAMED}[tool.setuptools.package-dir]\nother = 'lib'", "other:train"),
        ("lib/fit.py", f"{NAMED}[tool.setuptools]\npackages = ['acme.other']\npackage-dir = {{'acme.other' = 'lib'}}", "acme.other.fit:train"),
        ("python/the_project/__init__.py", f"{NAMED}[tool.maturin]\npython-source = 'python'\nmodule-name = 'the_project._it'", "the_project:train"),
        ("python/other/__init__.py", f"{NAMED}[tool.maturin]\npython-source = 'python'", "other:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.pdm.build]\npackage-dir = 'lib'", "other:train"),
        ("lib/other.py", f"{NAMED}[tool.pdm.build]\npackage-dir = 'lib'", "other:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.hatch.build.targets.wheel.force-include]\n'lib/other' = 'other'", "other:train"),
        ("lib/__init__.py", f"{NAMED}[tool.hatch.build.targets.wheel.force-include]\nlib = '/acme/other'", "acme.other:train"),
        ("lib/it.py", f"{NAMED}[tool.hatch.build.force-include]\n'lib/it.py' = 'other.py'", "other:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.hatch.build.targets.wheel]\nsources = ['lib']", "other:train"),
        ("lib/other/__init__.py", f"{NAMED}[tool.hatch.build.targets.wheel.sources]\nlib = ''", "other:train"),
        ("lib/it/__init__.py", f"{NAMED}[tool.hatch.build.sources]\n'lib/it' = 'other'", "other:train"),
        ("src/the_project/__init__.py", f"{NAMED}[tool.hatch.build.force-include]\n'more.py' = 'the_project/more.py'\n'.' = 'all'", "the_project:train"),
        ("the_project/__init__.py", f"{NAMED}[tool.setuptools.package-dir]\n'' = '.'", "the_project:train"),
        ("other/__init__.py", f"{NAMED}[tool]\nhatch = 3\nsetuptools = {{packages = 4, find = 5}}\npoetry = {{packages = [6]}}", "other:train"),
    ],
)
def test_a_module_is_found_that_is_not_called_as_its_project(tmp_path: Path, module: str, about: str, called: str) -> None:
    folder = project(tmp_path / "theirs", "def train(): pass\n", about, module)
    (folder / "more.py").write_text("def load(): pass\n")
    found, text = drafted(tmp_path, folder)
    assert found["train"]["call"] == called and "# steps:" not in text, "each function once"
    assert re.search(r"^[Tt]he[-.]project==1\.2$", (tmp_path / "environments" / "mine.in").read_text(), re.MULTILINE)


SETUP = "from setuptools import setup\nsetup(name='the-irs', version='1.2', "
TRAIN, WRONG = "def train(): pass\n", "def wrong(): pass\n"


@pytest.mark.parametrize(
    ("files", "pin"),
    [
        ({"setup.cfg": "[metadata]\nname = the-irs\nversion = 1.2\n[options]\npy_modules = theirs\n"}, "the-irs==1.2"),
        ({"setup.cfg": "[metadata]\nname = the-irs\nversion = attr: theirs.__version__\n[options]\npy_modules = theirs\n"}, "the-irs==3.1"),
        ({"setup.py": "from setuptools import setup\nsetup(name='the-irs', version='1.2', py_modules=['theirs'], url=URL)\n"}, "the-irs==1.2"),
        *(
            ({"setup.py": f"{SETUP}{more})\n", "lib/theirs.py": TRAIN, "lib/deep/__init__.py": "", "theirs.py": WRONG}, "the-irs==1.2")
            for more in ("py_modules=['theirs'], package_dir={'': 'lib'}", "package_dir={'': 'lib'}")
        ),
        *(
            ({"setup.py": f"{SETUP}{more})\n", "lib/theirs/__init__.py": TRAIN, "theirs.py": WRONG}, "the-irs==1.2")
            for more in ("package_dir={'': 'lib'}, packages=find_packages('lib')", "packages=setuptools.find_namespace_packages(where='lib')")
        ),
        (
            {
                "setup.cfg": "[metadata]\nname = the-irs\nversion = 1.2\n[options]\npackage_dir =\n    =lib\n",
                "lib/theirs/__init__.py": TRAIN,
                "theirs.py": WRONG,
            },
            "the-irs==1.2",
        ),
        ({"setup.py": f"{SETUP}packages=find_packages('.') + find_packages(HERE), py_modules=['theirs'])\n"}, "the-irs==1.2"),
        ({"setup.py": "import setuptools\nsetuptools.setup()\n", "setup.cfg": "[metadata]\nname = theirs\n", "pyproject.toml": "[build-system]\n"}, "theirs"),
    ],
)
def test_a_project_of_before_pyproject_is_read(tmp_path: Path, files: dict[str, str], pin: str) -> None:
    folder = project(tmp_path / "theirs", "__version__ = '3.1'\ndef train(): pass\n")
    (folder / "pyproject.toml").unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert drafted(tmp_path, folder)[0]["train"]["call"] == "theirs:train"
    assert (tmp_path / "environments" / "mine.in").read_text().endswith(f"\n{pin}\n")


EXTRAS: dict[str, dict[str, str]] = {
    "today": {"pyproject.toml": "[project]\nname = 'theirs'\nversion = '1.2'\n[project.optional-dependencies]\ntrain = ['x']\ntest = []\nplots = []\n"},
    "dynamic": {"pyproject.toml": f"{NAMED.replace('the-project', 'theirs')}[tool.setuptools.dynamic.optional-dependencies]\ntrain = 1\nplots = 2\n"},
    "poetry": {"pyproject.toml": f"{POETRY.replace('the-project', 'theirs')}[tool.poetry.extras]\ntrain = ['x']\ndev = []\nplots = ['y']\n"},
    "setup.cfg": {"setup.cfg": "[metadata]\nname = theirs\nversion = 1.2\n[options.extras_require]\ntrain = x\ndocs = y\nplots = z\n"},
    "setup.py": {"setup.py": "setup(name='theirs', version='1.2', extras_require={'train': 'x', 'plots': [], ':python_version<\"3\"': 'y'})\n"},
}


@pytest.mark.parametrize("kind", [*EXTRAS])
def test_the_extras_of_a_package_are_named_in_its_environment(tmp_path: Path, kind: str) -> None:
    folder = project(tmp_path / "theirs", "def train(): pass\n")
    (folder / "pyproject.toml").unlink()
    for name, text in EXTRAS[kind].items():
        (folder / name).write_text(text)
    drafted(tmp_path, folder)
    file = tmp_path / "environments" / "mine.in"
    words = "# extras: theirs[train,plots]==1.2 has all of them; write those that you need below."
    assert file.read_text().splitlines()[1:] == [words, "theirs==1.2"]
    assert [str(entry.requirement) for entry in environment_files.entries_of("mine", [file])] == ["theirs==1.2"]


def test_a_package_is_no_namespace_of_its_modules(tmp_path: Path) -> None:
    folder = project(tmp_path / "theirs", "def train(): pass\n", NAMED, "src/the/__init__.py")
    project(folder, "def split(): pass\n", NAMED, "src/the/project/__init__.py")
    assert drafted(tmp_path, folder)[0]["train"]["call"] == "the:train"


def test_a_folder_without_init_that_is_called_as_its_project_is_the_package_and_of_several_others_none_is(tmp_path: Path) -> None:
    folder = project(tmp_path / "theirs", "def train(): pass\n", NAMED, "src/the_project/fit.py")
    project(folder, "def load(): pass\n", NAMED, "src/the_project/rows/__init__.py")
    project(folder, "def wrong(): pass\n", NAMED, "other/__init__.py")
    found, text = drafted(tmp_path, folder)
    assert found["train"]["call"] == "the_project.fit:train" and re.findall(r"call: '(.*?)'", text) == ["the_project.rows:load"]
    several = project(tmp_path / "several", "def train(): pass\n", NAMED, "src/one/fit.py")
    project(several, "def train(): pass\n", NAMED, "src/two/fit.py")
    assert "which has neither a package the_project nor a module the_project.py" in draft(tmp_path, "experiment", "several", several).stderr


def test_a_wheel_is_read_as_its_project_is(tmp_path: Path) -> None:
    wheel = tmp_path / "dist" / "churn-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
        archive.writestr("other/fit.py", "def train(rate=0.1): pass\n")
        about = "Metadata-Version: 2.1\nName: churn\nVersion: 0.1.0\nProvides-Extra: gpu\nProvides-Extra: test\n\nName: nothing\n"
        archive.writestr("churn-0.1.0.dist-info/METADATA", about)
    found, _ = drafted(tmp_path, wheel)
    needs = (tmp_path / "environments" / "mine.in").read_text()
    assert found["train"]["call"] == "other.fit:train" and "\nchurn==0.1.0\n" in needs and "\n# extras: churn[gpu]==0.1.0 has all" in needs
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("other/wrong.py", "x = 1\ndef train(:\n")
    found, text = drafted(tmp_path, wheel, "wrong")
    assert found["train"]["call"] == "other.fit:train"
    assert re.search(r"^# Left out: other/wrong.py, line 2, cannot be read as Python 3[.]\d+ \(.*\). Its functions can be named here", text, re.MULTILINE)


def test_a_file_that_is_no_python_is_left_out_and_named(tmp_path: Path) -> None:
    folder = project(tmp_path / "theirs", "from ._rows import *\nfrom .fit import train\n", module="theirs/__init__.py")
    project(folder, "def train(rate=0.1): pass\n", module="theirs/fit.py")
    for name in ("_rows", "newer"):
        project(folder, "type Row = = dict[str, float]\ndef load(): pass\n", module=f"theirs/{name}.py")
    done = draft(tmp_path, "experiment", "mine", folder)
    assert document.read(tmp_path / "experiments" / "mine.yml")["train"]["call"] == "theirs.fit:train", done.stderr
    for said in (done.stdout, (tmp_path / "experiments" / "mine.yml").read_text()):
        assert len(re.findall(r"^(?:# )?Left out: theirs/(?:_rows|newer).py, line 1, cannot be read as Python ", said, re.MULTILINE)) == 2


LATER = f">=3.{sys.version_info.minor + 1}"
FOR_LATER = {
    "today": {"pyproject.toml": f"[project]\nname = 'theirs'\nversion = '1.2'\nrequires-python = '{LATER}'\n"},
    "poetry": {"pyproject.toml": f"[tool.poetry]\nname = 'theirs'\nversion = '1.2'\n[tool.poetry.dependencies]\npython = '{LATER.replace('>=', '^')}'\n"},
    "setup.cfg": {"setup.cfg": f"[metadata]\nname = theirs\nversion = 1.2\n[options]\npython_requires = {LATER}\n"},
    "setup.py": {"setup.py": f"setup(name='theirs', version='1.2', python_requires='{LATER}')\n"},
    "a wheel": {},
}


@pytest.mark.parametrize("kind", [*FOR_LATER])
def test_a_package_for_a_newer_python_is_drafted_without_what_this_one_cannot_read(tmp_path: Path, kind: str) -> None:
    source = "type Row = = dict[str, float]\ndef train(): pass\n"  # no Python reads this
    folder = project(tmp_path / "theirs", source)
    (folder / "pyproject.toml").unlink()
    for name, text in FOR_LATER[kind].items():
        (folder / name).write_text(text)
    if kind == "a wheel":
        folder = tmp_path / "theirs-1.2-py3-none-any.whl"
        with zipfile.ZipFile(folder, "w") as archive:
            archive.writestr("theirs.py", source)
            archive.writestr("theirs-1.2.dist-info/METADATA", f"Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\nRequires-Python: {LATER}\n")
    found, text = drafted(tmp_path, folder)
    assert found["train"]["call"] == "theirs:train" and "# Left out: theirs.py, line 1, cannot be read as Python 3." in text
    assert (tmp_path / "environments" / "mine.in").read_text().endswith("\ntheirs==1.2\n")
    said = draft(tmp_path, "experiment", "other", folder).stdout
    assert (
        f"theirs is for Python {LATER}, and make has Python 3.{sys.version_info.minor} here" in said
        and f"where python3 is Python {LATER}, which can read them.\n" in said
    )


@pytest.mark.parametrize("asked", [">=3.8", "<3.8", "no version"])
def test_a_package_for_this_python_that_it_cannot_read_is_to_be_mended(tmp_path: Path, asked: str) -> None:
    about = f"[project]\nname = 'theirs'\nversion = '1.2'\nrequires-python = '{asked}'\n"
    done = draft(tmp_path, "experiment", "mine", project(tmp_path / "theirs", "type Row = = dict[str, float]\n", about))
    assert done.returncode == 1 and done.stderr.endswith(
        "). Mend it, or let its requires-python name the newer Python that it is for; nothing was written meanwhile.\n"
    )


@pytest.mark.parametrize(
    "source", [b"x = 1\ndef train(:\n", b"x = 1\nx = '\xff'\n", b"x = 1\nx = '\0'\n", b"# coding: nonsense\n", b"x = " + b"-" * 99999 + b"1"]
)
def test_a_file_that_is_no_python_is_a_sentence(tmp_path: Path, source: bytes) -> None:
    (project(tmp_path / "theirs", "") / "theirs.py").write_bytes(source)
    done = draft(tmp_path, "experiment", "mine", tmp_path / "theirs")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert re.search(r"/theirs, of which no file can be read: theirs.py(, line \d,)? cannot be read as Python 3.", done.stderr), done.stderr
    assert not (tmp_path / "experiments").exists()


def test_what_python_only_warns_of_and_other_encodings_are_read_in_silence(tmp_path: Path) -> None:
    folder = project(tmp_path / "theirs", "")
    (folder / "theirs.py").write_bytes("# coding: latin-1\ndef train(word='\\d', name='größe'): pass\n".encode("latin-1"))
    assert drafted(tmp_path, folder)[0]["train"]["with"] == {"word": "\\d", "name": "größe"}
