"""Which versions of Airflow images are built for is said by the locks of role base_images; all that names them follows, or is held to them here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from lab_experiment import inside
from tests.conftest import AIRFLOWS, ROOT
from tests.unit.rendering import Case

LOCKS = [f"airflow-{version}-python{python}.txt" for version, python in AIRFLOWS.items()]
# "3.3.2 on 3.13" or "3.3.2 on Python 3.13": how texts name a version and its Python
PAIR = re.compile(r"\b(\d+\.\d+\.\d+) on (?:Python )?(\d+\.\d+)\b")
LISTING = (
    "playbooks/templates/lab/lab.yml.j2",
    *(f"roles/base_images/{name}" for name in ("README.md", "defaults/main.yml", "meta/argument_specs.yml")),
)


def read(path: str) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def base_images(folder: Path, name: str) -> Any:
    """Return a variable of role base_images that lies in a folder."""
    return Case("", "base_images", "", {"role_path": str(folder)}).value(name)


def survey(**values: Any) -> dict[str, dict[str, Any]]:
    """Return the two questions of role awx about Airflow, with values for the role."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for path in ("defaults/main.yml", "vars/main/surveys.yml"):
        variables |= loader.load_from_file(str(ROOT / "roles/awx" / path), trusted_as_template=True)
    questions = variables["__awx_questions"]
    templar = Templar(loader=loader, variables={**variables, **values})
    return {name: templar.template(questions[name]) for name in ("airflow_version", "python_version")}


def test_a_lock_that_is_put_there_is_a_version_that_is_built(tmp_path: Path) -> None:
    assert sorted(base_images(ROOT / "roles/base_images", "__base_images_locks")) == sorted(LOCKS)
    assert len(LOCKS) > 1
    (tmp_path / "files").mkdir()
    for name in ("airflow-3.4.0-python3.13.txt", "airflow_entrypoint.sh", "uv.txt"):
        (tmp_path / "files" / name).touch()
    assert base_images(tmp_path, "__base_images_locks") == ["airflow-3.4.0-python3.13.txt"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_its_name_says_for_a_python_that_a_release_has(name: str) -> None:
    text = (ROOT / "roles/base_images/files" / name).read_text(encoding="utf-8")
    version, python = re.findall(r"\d+(?:\.\d+)+", name)
    assert text.startswith(f"# Airflow {version} on Python {python} ") and f"\napache-airflow=={version} \\\n" in text
    assert python in base_images(ROOT / "roles/base_images", "__base_images_releases")


@pytest.mark.parametrize("path", LISTING)
def test_a_text_that_lists_versions_lists_those_of_the_locks(path: str) -> None:
    assert PAIR.findall((ROOT / path).read_text(encoding="utf-8")), f"{path} lists none as `3.3.2 on 3.13`"


def test_no_text_lists_other_versions_or_half_of_them(own_files: list[Path]) -> None:
    wrong = {}
    for path in own_files:
        if path.suffix in (".md", ".yml", ".j2", ".py") and path.parts[0] not in ("tests", "changelogs", "CONTRIBUTING.md") and (ROOT / path).is_file():
            for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
                if (found := dict(PAIR.findall(line))) and found != AIRFLOWS:
                    wrong[str(path)] = line.strip()
    assert not wrong, f"the locks are {', '.join(LOCKS)}"


def test_every_default_is_one_version_that_there_is_a_lock_of() -> None:
    shared = read("playbooks/group_vars/all/shared.yml")
    version, python = shared["lab_airflow_version"], shared["lab_python_version"]
    assert AIRFLOWS.get(version) == python
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        values = {name.removeprefix(path.parents[1].name + "_"): value for name, value in read(str(path.relative_to(ROOT))).items()}
        named = {values[name] for name in ("airflow_version", "suggested_airflow_version") if name in values}
        named |= {found for value in values.values() for found in re.findall(r"/airflow(?:-base)?:(\d[\w.]*)", str(value))}
        pythons = {values[name] for name in ("python_version", "suggested_python_version") if name in values}
        assert named - {""} <= {version} and pythons - {""} <= {python}, path


def test_surveys_offer_what_the_wiring_hands_over_and_the_suggested_version_first() -> None:
    wiring = DataLoader().load_from_file(str(ROOT / "playbooks/group_vars/all/awx.yml"), trusted_as_template=True)
    handed = Templar(loader=DataLoader(), variables={"lab_collection": str(ROOT)}).template(wiring["awx_airflow_versions"])
    assert handed == AIRFLOWS
    asked = survey(awx_airflow_versions={"3.4.0": "3.13", "3.1.8": "3.11"}, awx_suggested_airflow_version="3.1.8", awx_suggested_python_version="3.11")
    assert asked["airflow_version"]["choices"] == ["3.1.8", "3.4.0"] and asked["airflow_version"]["default"] == "3.1.8"
    assert asked["python_version"]["choices"] == ["python3.11", "python3.13"] and asked["python_version"]["default"] == "python3.11"
    assert asked["python_version"]["question_description"] == "3.13 for Airflow 3.4.0, 3.11 for Airflow 3.1.8"
    alone = survey()
    assert [alone[name]["choices"] for name in alone] == [[alone[name]["default"]] for name in alone]
    assert alone["python_version"]["question_description"] == "Under Airflow"


@pytest.mark.parametrize("version", AIRFLOWS)
def test_there_is_an_environment_that_the_dags_and_workers_of_each_version_are_tested_in(version: str) -> None:
    folder = ROOT / "tests/unit/environments"
    assert f"apache-airflow-core=={version}\n" in (folder / f"airflow-{version}.in").read_text(encoding="utf-8")
    assert f"apache-airflow-core=={version} " in (folder / f"airflow-{version}.txt").read_text(encoding="utf-8")


def test_molecule_builds_images_for_the_oldest_version() -> None:
    values = next(play["vars"] for play in read("molecule/images/side_effect.yml") if "lab_airflow_version" in play.get("vars", {}))
    assert (values["lab_airflow_version"], values["lab_python_version"]) == list(AIRFLOWS.items())[-1]


def test_the_client_of_mlflow_is_nowhere_newer_than_the_server() -> None:
    version = read("roles/mlflow_server/defaults/main.yml")["mlflow_server_version"]
    assert f"\nmlflow=={version} " in (ROOT / "roles/mlflow_server/files/requirements.txt").read_text(encoding="utf-8")
    assert f"mlflow-skinny<={version}" in read("roles/airflow_image/defaults/main.yml")["airflow_image_lab_requirements"]
    oldest, newest = (".".join(map(str, one)) for one in inside.CLIENTS)
    assert f"mlflow-skinny>={oldest},<={version}" in read("roles/environments/defaults/main.yml")["environments_lab_requirements"]
    assert version.startswith(f"{newest}.")
