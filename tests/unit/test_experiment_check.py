"""``make experiment-check`` and the command ``check`` of the DAG's first task say the same sentence for each kind of broken file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import experiment_check
from lab_deployment.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "tests" / "experiments"
BROKEN: list[dict[str, Any]] = yaml.safe_load((EXPERIMENTS / "broken.yml").read_text())


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every_key.yml, and with a file for each way to break it: ``case-000.yml``."""
    folder = tmp_path_factory.mktemp("broken")
    good = (EXPERIMENTS / "every_key.yml").read_text()
    (folder / "every_key.yml").write_text(good)
    for number, case in enumerate(BROKEN):
        text = good
        for old, new in ((case["old"], case["new"]), *([case["also"]] if "also" in case else [])):
            text = new if old == "ALL" else text.replace(old, new, 1)
        (folder / f"case-{number:03}.yml").write_text(text)
    return folder


@pytest.fixture
def engine(tmp_path: Path, project_python: Path) -> dict[str, str]:
    """An environment whose ``docker`` has an image of the lab, and runs what is to run in it in the tests' project environment.

    The packages of the image are in ``tests/experiments`` and in ``site`` of the test's folder.
    """
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    path = f"{EXPERIMENTS}{os.pathsep}{tmp_path / 'site'}"
    docker.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "if sys.argv[1:3] == ['image', 'ls']: print('sha256:1'); sys.exit()\n"
        "assert '--network none' in ' '.join(sys.argv)\n"
        f"arguments = [a.replace('/opt/airflow/dags', {str(ROOT / 'dags')!r}) for a in sys.argv[sys.argv.index('sha256:1') + 1:]]\n"
        f"os.execve({str(project_python)!r}, [{str(project_python)!r}, *arguments], {{**os.environ, 'PYTHONPATH': {path!r}}})\n"
    )
    docker.chmod(0o755)
    return {**os.environ, "PATH": f"{docker.parent}{os.pathsep}{os.environ['PATH']}"}


def run(*arguments: str | Path, **more: Any) -> tuple[int, str, str]:
    """Run tools/experiment_check.py; returns its exit code, its output and what it said of mistakes."""
    done = subprocess.run([sys.executable, ROOT / "tools/experiment_check.py", *arguments], text=True, capture_output=True, check=False, **more)
    return done.returncode, done.stdout, done.stderr


def expected(folder: Path, case: dict[str, Any], number: int, python: str) -> str:
    """The sentence for a case."""
    says = case["says"].replace("PYTHON", python).replace("TARGETS", ", ".join(TARGETS))
    return f"{folder}/case-{number:03}.yml{'' if says.startswith('this') else ', '}{says}"


def test_there_are_many_kinds_of_broken_files() -> None:
    assert len({case["kind"] for case in BROKEN}) == len(BROKEN) >= 25
    assert len([case for case in BROKEN if case.get("callables")]) >= 5


def test_without_an_image_each_broken_file_is_one_sentence_and_the_callables_are_not_looked_at(broken: Path) -> None:
    code, output, said = run("--experiments", broken, "--image", "", cwd=broken.parent)
    assert code == 1
    wanted = [expected(Path(broken.name), case, number, "") for number, case in enumerate(BROKEN) if not case.get("callables")]
    assert said.splitlines() == wanted
    left = [f"case-{number:03}" for number, case in enumerate(BROKEN) if case.get("callables")]
    assert output == f"Right: {', '.join([*left, 'every_key'])} (the callables were not looked at: no image was named).\n"


@pytest.mark.parametrize(
    ("docker", "says"),
    [
        ("exit 0", "this machine has no image of the lab (make lab builds it)"),
        (
            "echo 'permission denied while trying to connect.' >&2; exit 1",
            "Docker does not say which images are here: permission denied while trying to connect; use sudo, or an account of the group docker",
        ),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "Docker does not say which images are here: Cannot connect to the Docker daemon"),
    ],
)
def test_why_the_callables_were_not_looked_at_is_said(broken: Path, tmp_path: Path, docker: str, says: str) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    code, output, _ = run("every_key", "--experiments", broken, env={**os.environ, "PATH": path})
    assert (code, output) == (0, f"Right: every_key (the callables were not looked at: {says}).\n")


def test_with_an_image_the_callables_are_looked_at(broken: Path, engine: dict[str, str], project_python: Path) -> None:
    numbers = [number for number, case in enumerate(BROKEN) if case.get("callables")]
    code, output, said = run("every_key", *(f"case-{number:03}" for number in numbers), "--experiments", broken, cwd=broken.parent, env=engine)
    assert code == 1
    assert said.splitlines() == [expected(Path(broken.name), BROKEN[number], number, str(project_python)) for number in numbers]
    assert output == "Right: every_key (file and callables).\n"


MODULES = {
    "exits": ("import sys\nif len(sys.argv) < 2: sys.exit('usage: exits TABLE')", "importing exits ended with the words 'usage: exits TABLE' (sys.exit), as a"),
    "parses": ("import argparse\np = argparse.ArgumentParser(); p.add_argument('table'); p.parse_args()", "importing parses ended with exit code 2 (sys.exit)"),
    "ends": ("import os\nos._exit(0)", "importing ends ended its process with exit code 0 (os._exit or the like) instead of returning"),
    "asks": ("table = input()", "importing asks failed with EOFError: EOF when reading a line; it asks for something to be typed in"),
    "streams": ("async def train(table, options):\n    yield 1", "which is an asynchronous generator (async def with yield)"),
    "waits": ("async def train(table, options): return 1", ""),
}


def test_a_module_that_is_no_module_is_named_and_the_others_are_looked_at(broken: Path, engine: dict[str, str], tmp_path: Path) -> None:
    folder, site = tmp_path / "experiments", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    for name, (source, _) in MODULES.items():
        (site / f"{name}.py").write_text(f"{source}\n")
        (folder / f"{name}.yml").write_text((broken / "every_key.yml").read_text().replace("theirs:train", f"{name}:train"))
    code, output, said = run(*MODULES, "--experiments", folder, cwd=tmp_path, env=engine)
    sentences = [line for line in said.splitlines() if line.startswith("experiments/")]
    assert (code, output) == (1, "Right: waits (file and callables).\n")
    for (name, (_, words)), sentence in zip(list(MODULES.items())[:-1], sentences, strict=True):
        assert sentence.startswith(f"experiments/{name}.yml, line 35: train.call has '{name}:train'") and words in sentence


def test_one_experiment_can_be_asked_for_and_another_name_is_a_sentence(broken: Path) -> None:
    assert run("every_key", "--experiments", broken, "--image", "")[0] == 0
    code, _, said = run("every-key", "--experiments", broken, "--image", "")
    assert code == 1
    assert said.startswith("Parameter experiment: there is no file ") and "case-000, case-001" in said


def test_locks_are_those_beside_a_folder_that_is_a_link(broken: Path, tmp_path: Path) -> None:
    """As in the shipped lab, whose experiments are those of the checkout."""
    lab, docker = tmp_path / "lab", tmp_path / "docker"
    (lab / "environments").mkdir(parents=True)
    (lab / "experiments").symlink_to(broken)
    docker.write_text(f'#!/bin/sh\nif [ $1 = image ]; then echo sha256:1; elif [ $1 = run ]; then echo "$@" > {tmp_path}/asked; exit 1; fi\n')
    docker.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run("every_key", "--experiments", lab / "experiments", env={**os.environ, "PATH": path})
    assert f" {lab}/environments:/opt/airflow/environments:ro " in (tmp_path / "asked").read_text()


def test_data_that_the_labs_folder_lacks_is_named(broken: Path, engine: dict[str, str], tmp_path: Path) -> None:
    folder, data, variables = (tmp_path / "lab" / name for name in ("experiments", "data", "group_vars/lab/lab.yml"))
    folder.mkdir(parents=True)
    variables.parent.mkdir(parents=True)
    good = (broken / "every_key.yml").read_text()
    for name, line in (("there", "orders/a.csv"), ("gone", "orders/b.csv")):
        (folder / f"{name}.yml").write_text(good.replace("source: null", f"source: /opt/data/{line}"))
    asked = {"cwd": tmp_path / "lab", "env": {**engine, "LAB_DATA_DIR": ""}}
    right = "Right: gone, there (file and callables).\n"
    assert run("--experiments", folder, **asked) == (0, right, ""), "there is no folder to hold it against"
    (data / "orders").mkdir(parents=True)
    (data / "orders" / "a.csv").touch()
    allowed = "a file or folder below /opt/data, which has what is in the lab's folder data/ (the verb run brings it) or in lab_data_dir"
    sentence = f"experiments/gone.yml, line 4: inputs.source has '/opt/data/orders/b.csv', where data has no file; allowed: {allowed}.\n"
    assert run("--experiments", folder, **asked) == (1, "Right: there (file and callables).\n", sentence)
    assert run("gone", "--experiments", folder, "--image", "", **asked) == (1, "", sentence)
    for text, code in (("# lab_data_dir: /srv/x\n", 1), ("lab_data_dir: ''\n", 1), ('lab_data_dir: "" # none\n', 1), ("lab_data_dir: /srv/x\n", 0)):
        variables.write_text(text)
        assert run("gone", "--experiments", folder, "--image", "", **asked)[0] == code, text


def test_an_image_that_does_not_start_is_a_mistake_with_its_words(broken: Path, engine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\n[ $1 = image ] && echo sha256:1 && exit\necho 'no space left' >&2\nexit 125\n")
    code, output, said = run("every_key", "--experiments", broken, cwd=broken.parent, env=engine)
    assert (code, output) == (1, "")
    assert said == "The callables were not looked at: the lab's image sha256:1 says: no space left\n"


def test_the_command_of_the_dag_says_the_same(broken: Path, project_python: Path) -> None:
    names = [f"case-{number:03}" for number in range(len(BROKEN))]
    command: list[str | Path] = [project_python, "-B", "-c", experiment_check.IN_IMAGE, ROOT / "dags", broken, *names]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(EXPERIMENTS)}, text=True, capture_output=True, check=False)
    answers = json.loads(done.stdout.splitlines()[-1])
    for number, case in enumerate(BROKEN):
        assert answers[names[number]] == {"mistakes": [expected(broken, case, number, str(project_python))]}, case["kind"]


def test_the_makefile_names_it() -> None:
    done = subprocess.run(["make", "--dry-run", "experiment-check", "EXPERIMENT=wine"], cwd=ROOT, text=True, capture_output=True, check=True)
    assert "tools/experiment_check.py wine" in done.stdout
