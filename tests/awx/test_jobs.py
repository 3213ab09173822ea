"""Jobs, run by ansible-runner as a controller runs them from what the role declared there."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.conftest import VAULT_PASSWORD, Checkout, copy_project
from tests.awx.controller import Controller, serving
from tests.awx.jobs import Job, launch, prepare
from tests.conftest import ROOT, VERBS, forms, run_tool

pytestmark = pytest.mark.deep
Launch = Callable[..., Job]
DRY = [verb for verb in VERBS if verb not in ("preflight", "clean")]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    sockets = [socket.socket() for _number in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def lab(make_checkout: Callable[..., Checkout], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A lab with names, ports and directories of its own, on whatever machine runs the tests."""
    place = tmp_path_factory.mktemp("host")
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
    names = [name for name in shared if name.endswith("_port")]
    limits = {f"preflight_min_{name}": 1 for name in ("memory_mb", "cores", "disk_gb", "disk_running_gb")}
    return make_checkout(
        {
            "lab_name": "wip-awx",
            "lab_dir": str(place / "lab"),
            "lab_staging_dir": f"/dev/shm/awx-{os.getpid()}",
            "ansible_remote_tmp": str(place / "remote"),
            "ansible_async_dir": str(place / "async"),
            **dict(zip(names, free_ports(len(names)), strict=True)),
            **limits,
        }
    )


@pytest.fixture(scope="module")
def declared(lab: Checkout) -> Iterator[Controller]:
    """A controller in which the lab was declared."""
    with serving() as controller:
        done = lab.apply(controller)
        assert done.returncode == 0, done.stdout
        yield controller


@pytest.fixture
def job(declared: Controller, tmp_path: Path) -> Launch:
    """A function that launches the job template of a verb."""

    def start(verb: str, answers: dict[str, Any] | None = None, check: bool = False) -> Job:
        return launch(prepare(declared, verb, copy_project, tmp_path / verb, answers), check)

    return start


def assert_clean(done: Job, lab: Checkout) -> None:
    """Assert that no credential is in what the controller keeps, and that the job changed nothing of its project."""
    secrets = {VAULT_PASSWORD: "the vault's password", **{value: name for name, value in lab.secrets.items() if not name.endswith("_user")}}
    texts = {path.relative_to(done.folder): path.read_bytes().decode(errors="replace") for path in done.files()}
    assert {Path("artifacts/1/stdout"), Path("artifacts/1/command")} <= texts.keys()
    found = [f"{path}: {name}" for path, text in texts.items() for secret, name in secrets.items() if any(form in text for form in forms(secret))]
    assert not found, "\n".join(found)
    assert done.written == []
    assert "Password:" not in done.output.replace("Vault password:", ""), "a prompt that nobody answers"


def test_preflight_judges_the_lab_with_the_credentials_of_the_controller(job: Launch, lab: Checkout) -> None:
    done = job("preflight")
    assert done.returncode == 0, done.output
    assert_clean(done, lab)


def test_an_answer_counts_and_an_empty_one_does_not(job: Launch, lab: Checkout) -> None:
    """The wrong answer reaches the check; the questions that were left empty leave the inventory's values alone."""
    done = job("preflight", answers={"survey_lab_index_url": "https://user:word@nexus.example.com/simple/"})
    assert done.returncode != 0
    assert "1 to put right" in done.messages() and "lab_index_url, set in the survey, " in done.messages(), done.output
    assert "credential of type Nexus" in done.messages() and "plugin" not in done.messages()
    assert_clean(done, lab)


@pytest.mark.parametrize("verb", ["preflight", "publish"])
@pytest.mark.parametrize("answer", ["../../etc", "examples/../../etc", "/etc", "examples/wine_cultivars\n..", "~root", "$HOME/x"])
def test_a_directory_outside_of_the_project_is_not_published(job: Launch, lab: Checkout, verb: str, answer: str) -> None:
    done = job(verb, answers={"survey_package_index_publish": answer}, check=True)
    assert done.returncode != 0
    assert "The survey asks for directories inside the repository, one in each line, and was answered " in done.messages(), done.output
    assert_clean(done, lab)


VALUES = [
    "lab_python_version",
    "lab_index_url",
    "lab_index_read_url",
    "lab_airflow_version",
    "airflow_image_requirements",
    "airflow_image_custom_requirements",
    "package_index_publish",
]


@pytest.mark.parametrize(
    ("answers", "different"),
    [
        ({}, {}),
        ({"survey_lab_index_url": "  "}, {}),
        (
            {"survey_lab_index_url": "https://nexus.example.com/simple/", "survey_airflow_image_requirements": "polars==1.0\r\n\r\n  duckdb\n"},
            {
                "lab_index_url": "https://nexus.example.com/simple/",
                "lab_index_read_url": "https://nexus.example.com/simple/",
                "airflow_image_requirements": ["polars==1.0", "duckdb"],
            },
        ),
        (
            {
                "survey_airflow_image_custom_requirements": "https://git.example.com/raw/requirements.txt",
                "survey_package_index_publish": "examples/other",
                "lab_airflow_version": "3.1.8",
                "survey_lab_python_version": "python3.11",
            },
            {
                "lab_python_version": "3.11",
                "airflow_image_custom_requirements": "https://git.example.com/raw/requirements.txt",
                "package_index_publish": ["PROJECT/examples/other"],
                "lab_airflow_version": "3.1.8",
            },
        ),
    ],
    ids=["nothing typed", "spaces", "address and lines", "file and choice"],
)
def test_values_are_those_of_the_shell_but_for_what_is_answered(
    declared: Controller, lab: Checkout, tmp_path: Path, answers: dict[str, Any], different: dict[str, Any]
) -> None:
    shell = shown_values(["-i", "inventories/lab"], lab.path)
    folder = tmp_path / "job"
    prepared = prepare(declared, "preflight", copy_project, folder, answers)
    password = tmp_path / "password"
    password.write_text(prepared.prompts["Vault password:\\s*?$"], encoding="utf-8")
    arguments = [option for option in prepared.options if option != "--ask-vault-pass"]
    controller = shown_values(
        ["-i", str(prepared.inventory), *arguments, "-e", f"@{folder}/env/extravars", "--vault-password-file", str(password)], folder / "project"
    )
    normal = json.loads(json.dumps(controller).replace(f"{folder}/project/playbooks/..", "PROJECT").replace(f"{folder}/project", "PROJECT"))
    expected = json.loads(json.dumps(shell).replace(str(lab.path), "PROJECT"))
    assert normal == {**expected, **different}


def shown_values(options: list[str], project: Path) -> dict[str, Any]:
    """Return values and secrets as a play of the project sees them on the lab's host."""
    names = [*VALUES, "vault_nexus_user", "vault_nexus_pass", "vault_airflow_admin_password", "airflow_image_index_password"]
    book = project / "playbooks" / "show.yml"
    task = {
        "ansible.builtin.copy": {"content": "{{ dict(names | zip(query('ansible.builtin.vars', *names))) | to_json }}", "dest": "{{ playbook_dir }}/shown.json"}
    }
    play = {"hosts": "lab_control", "gather_facts": False, "vars": {"ansible_connection": "local", "ansible_become": False, "names": names}, "tasks": [task]}
    book.write_text(json.dumps([play]), encoding="utf-8")
    done = run_tool(["ansible-playbook", "playbooks/show.yml", *options], project, ANSIBLE_COLLECTIONS_PATH=str(project / "collections"))
    assert done.returncode == 0, done.stdout
    shown: dict[str, Any] = json.loads((project / "playbooks/shown.json").read_text(encoding="utf-8"))
    return shown


@pytest.mark.parametrize("verb", DRY)
def test_every_verb_runs_as_a_job_without_asking_anything(job: Launch, lab: Checkout, verb: str) -> None:
    done = job(verb, check=True)
    assert done.returncode == 0, done.output
    assert_clean(done, lab)


def test_clean_removes_what_a_run_left(job: Launch, lab: Checkout) -> None:
    staging = Path(yaml.safe_load((lab.path / "inventories/lab/group_vars/lab/lab.yml").read_text(encoding="utf-8"))["lab_staging_dir"])
    (staging / "build").mkdir(parents=True)
    (staging / "build" / "index_password").write_text("left by a run that was killed", encoding="utf-8")
    done = job("clean")
    assert done.returncode == 0, done.output
    assert not staging.exists()
    assert_clean(done, lab)


def test_a_workflow_that_failed_ends_in_a_sentence(job: Launch, lab: Checkout) -> None:
    done = job("workflow_failed")
    assert done.returncode != 0 and "An earlier job of this workflow failed" in done.messages(), done.output
    assert_clean(done, lab)
