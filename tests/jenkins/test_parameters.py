"""What the first stage makes of the parameters, and the sentences it stops with."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.module_utils.package_index import Answer
from packaging.version import Version

import jenkins_parameters
import jenkins_report
import publish_wheel
from jenkins_index import Wrong
from jenkins_parameters import Given
from tests.conftest import BIN, ROOT, VERBS, Run

INVENTORY = {"custom": ["wine-cultivars==1.0.0", "other_package==2"], "environment": {"AIRFLOW__CORE__PARALLELISM": "4"}, "lock_dir": ""}
DEFAULTS = {"INVENTORY": "inventories/lab", "VERBS": "preflight"}


def given(**parameters: str) -> Given:
    """Return parameters as a build has them."""
    return Given(DEFAULTS | parameters)


@pytest.mark.parametrize(
    ("url", "read", "uploads"),
    [
        ("https://nexus.example.org", "https://nexus.example.org/repository/pypi-all/simple/", "https://nexus.example.org/repository/pypi-internal/"),
        (
            "https://nexus.example.org:8443/",
            "https://nexus.example.org:8443/repository/pypi-all/simple/",
            "https://nexus.example.org:8443/repository/pypi-internal/",
        ),
        ("http://n.example/repository/team/simple", "http://n.example/repository/team/simple/", "http://n.example/repository/pypi-internal/"),
    ],
)
def test_the_address_of_a_nexus_names_its_repositories(url: str, read: str, uploads: str) -> None:
    values = jenkins_parameters.index(given(NEXUS_URL=url, NEXUS_CREDS_ID="nexus", NEXUS_USER="reader", NEXUS_PASS=" p{{w "))
    assert (values["lab_index_url"], values["lab_index_upload_url"]) == (read, uploads)
    assert values["vault_nexus_pass"] == values["vault_nexus_publisher_pass"] == " p{{w ", "one account does both, and a password is taken as it is"


@pytest.mark.parametrize(
    ("judge", "parameters", "sentence"),
    [
        ("index", {"NEXUS_URL": "nexus.example.org"}, "NEXUS_URL is 'nexus.example.org', which is no address"),
        ("index", {"NEXUS_URL": "https://user:word@nexus.example.org"}, "NEXUS_URL has a user or a password in it"),
        ("index", {"NEXUS_URL": "https://nexus.example.org"}, "NEXUS_CREDS_ID is empty: write the id"),
        ("dev_dir", {"DEV_DIR": "/"}, "DEV_DIR is '/': write an absolute path"),
        ("dev_dir", {"DEV_DIR": "/opt/../etc"}, "DEV_DIR is"),
        ("dev_dir", {"DEV_DIR": "opt/lab"}, "DEV_DIR is"),
        ("airflow", {"AIRFLOW_VERSION": "latest"}, "AIRFLOW_VERSION is 'latest': write a released version"),
        ("airflow", {"AIRFLOW_VERSION": "2.11.0"}, "AIRFLOW_VERSION is '2.11.0'"),
        ("airflow", {"BASE_IMAGE": "My Image"}, "BASE_IMAGE is 'My Image', which is no name of an image"),
        ("verbs", {"VERBS": "preflight fly"}, "VERBS has 'fly': write names from this list"),
        ("verbs", {"VERBS": " "}, "VERBS is empty"),
        ("verbs", {"VERBS": "index preflight stack"}, "VERBS: index is called publish now, stack is called start now."),
        ("no_template", {"LIMIT": "{{ lookup('pipe', 'id') }}"}, "LIMIT has a template in it"),
        ("read_inventory", {"INVENTORY": "inventories/none"}, "INVENTORY is 'inventories/none', and there is no such path"),
    ],
)
def test_each_mistake_is_one_sentence(judge: str, parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(Wrong) as wrong:
        getattr(jenkins_parameters, judge)(given(**parameters))
    assert sentence in str(wrong.value) and "\n" not in str(wrong.value)
    assert "word" not in str(wrong.value).replace("password", "")


@pytest.mark.parametrize(
    ("judge", "parameters", "sentence"),
    [
        ("layers", {"REQUIREMENTS": "pandas\n--index-url https://elsewhere.example"}, "REQUIREMENTS has the option"),
        ("layers", {"REQUIREMENTS": "pandas=2"}, "REQUIREMENTS has 'pandas=2', which is no requirement"),
        ("layers", {"CUSTOM_REQUIREMENTS": "mine @ https://user:word@git.example/mine.whl"}, "CUSTOM_REQUIREMENTS has a requirement ('mine') with a user"),
        ("layers", {"REQUIREMENTS": "requirements/none.txt"}, "REQUIREMENTS names the file requirements/none.txt, which is not in the workspace"),
        ("layers", {"PROJECT": "wine-cultivars>=1"}, "PROJECT is 'wine-cultivars>=1': write one package and its version"),
        ("executor", {"EXECUTOR_OPTIONS": "parallelism 3"}, "EXECUTOR_OPTIONS has 'parallelism 3': write one option a line"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CELERY__WORKER_CONCURRENCY=many"}, "to 'many': write how many tasks"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CORE__FERNET_KEY=x"}, "which is a secret: it belongs into the vault"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CELERY__BROKER_URL=x"}, "which is a secret"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__WEBSERVER__EXPOSE_CONFIG=True"}, "sets AIRFLOW__WEBSERVER__EXPOSE_CONFIG, which a build may not"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__API__EXPOSE_CONFIG=True"}, "which a build may not: write it into airflow_stack_environment"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS=*"}, "which a build may not"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CORE__AUTH_MANAGER=x.Y"}, "which a build may not"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=os.system"}, "which a build may not"),
        ("executor", {"EXECUTOR_OPTIONS": "AIRFLOW__CORE__PARALLELISM=$(id)"}, "to '$(id)': write a number, True or False"),
        ("layers", {"REQUIREMENTS": "foo @ file:///etc/passwd"}, "REQUIREMENTS takes foo from a path of one machine"),
        ("layers", {"CUSTOM_REQUIREMENTS": "mine @ https://elsewhere.example/mine.whl"}, "CUSTOM_REQUIREMENTS takes mine from an address"),
        ("layers", {"CUSTOM_REQUIREMENTS": "-r /etc/passwd"}, "CUSTOM_REQUIREMENTS has the option -r"),
        ("layers", {"REQUIREMENTS": "numpy==1", "CUSTOM_REQUIREMENTS": "numpy==2"}, "CUSTOM_REQUIREMENTS asks for numpy==2 and REQUIREMENTS for numpy==1"),
    ],
)
def test_each_mistake_in_what_is_added_to_the_inventory_is_one_sentence(judge: str, parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(Wrong) as wrong:
        getattr(jenkins_parameters, judge)(given(**parameters), INVENTORY)
    assert sentence in str(wrong.value) and "\n" not in str(wrong.value)


def test_a_project_takes_the_place_of_its_own_line() -> None:
    values = jenkins_parameters.layers(given(PROJECT="Wine_Cultivars==1.0.1.dev20261124"), INVENTORY)
    assert values == {"airflow_image_custom_requirements": ["other_package==2", "Wine_Cultivars==1.0.1.dev20261124"]}
    values = jenkins_parameters.layers(
        given(PROJECT="wine-cultivars==2", CUSTOM_REQUIREMENTS="# ours\r\nmine==3\r\n", REQUIREMENTS=" pandas # why\n"), INVENTORY
    )
    assert values == {"airflow_image_requirements": ["pandas"], "airflow_image_custom_requirements": ["mine==3", "wine-cultivars==2"]}


def test_requirements_may_be_a_file_or_an_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("pandas\n")
    url = "https://git.example.com/raw/team/requirements.txt"
    values = jenkins_parameters.layers(given(REQUIREMENTS="mine.txt", CUSTOM_REQUIREMENTS=url), INVENTORY)
    assert values == {"airflow_image_requirements": str(tmp_path / "mine.txt"), "airflow_image_custom_requirements": url}


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/there-is-none", "../secret.txt", "link.txt", "folder/../../secret.txt", "~/secret.txt"])
def test_what_is_outside_of_the_workspace_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Nothing tells whether it is there, neither through a link."""
    (tmp_path / "secret.txt").write_text("hunter2:x\n")
    workspace = tmp_path / "workspace"
    (workspace / "folder").mkdir(parents=True)
    (workspace / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.chdir(workspace)
    for name in ("REQUIREMENTS", "CUSTOM_REQUIREMENTS"):
        with pytest.raises(Wrong) as wrong:
            jenkins_parameters.layers(given(**{name: path}), INVENTORY)
        assert str(wrong.value).startswith(f"{name} names the file {path}, which is not in the workspace")


def test_a_file_in_the_workspace_is_judged_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("pandas\nroot:hunter2:1\n-i https://me:hunter2@elsewhere.example/\n")
    with pytest.raises(Wrong) as wrong:
        jenkins_parameters.layers(given(REQUIREMENTS="mine.txt"), INVENTORY)
    first, second = str(wrong.value).split("\n")
    assert first.startswith("mine.txt:2 (REQUIREMENTS) has ") and second.startswith("mine.txt:3 (REQUIREMENTS) has the option -i")
    assert "hunter2" not in str(wrong.value)


def test_an_address_that_the_inventory_allows_may_be_given() -> None:
    line = "mine @ https://git.example.com/wheels/mine-1.0-py3-none-any.whl"
    values = jenkins_parameters.layers(given(CUSTOM_REQUIREMENTS=line), INVENTORY | {"allowed": ["https://git.example.com/wheels/"]})
    assert values == {"airflow_image_custom_requirements": [line]}


@pytest.mark.parametrize("inventory", ["/etc/shadow", "/etc", "/bin/true", "../hosts.yml"])
def test_an_inventory_outside_of_the_workspace_is_a_directory_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inventory: str) -> None:
    """Ansible would run a program, and show lines of a file that is no inventory."""
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    monkeypatch.setattr(jenkins_parameters, "ask", lambda _arguments: pytest.fail("it was read"))
    with pytest.raises(Wrong, match="there is no such path in the workspace, nor a directory with hosts"):
        jenkins_parameters.read_inventory(given(INVENTORY=inventory))


def test_an_inventory_that_cannot_be_read_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yml").write_text("a: [hunter2\n")
    with pytest.raises(Wrong) as wrong:
        jenkins_parameters.read_inventory(given(INVENTORY="broken.yml"))
    assert "hunter2" not in str(wrong.value) and "INVENTORY is 'broken.yml'" in str(wrong.value)


def test_options_of_the_executor_are_added_to_those_of_the_inventory() -> None:
    values = jenkins_parameters.executor(given(EXECUTOR_OPTIONS="AIRFLOW__CELERY__WORKER_CONCURRENCY=8\nAIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY = 32"), INVENTORY)
    assert values["airflow_stack_worker_concurrency"] == 8
    assert values["airflow_stack_environment"] == {"AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "32"}


def test_a_version_that_is_built_here_brings_its_python() -> None:
    assert jenkins_parameters.airflow(given(AIRFLOW_VERSION="3.1.8")) == {"lab_airflow_version": "3.1.8", "lab_python_version": "3.11"}


def test_nothing_given_changes_nothing() -> None:
    for judge in ("index", "dev_dir", "airflow"):
        assert getattr(jenkins_parameters, judge)(given()) == {}
    for judge in ("layers", "executor"):
        assert getattr(jenkins_parameters, judge)(given(), INVENTORY) == {}


def test_ansible_takes_the_values_and_reads_no_template_in_a_password(tool: Run, tmp_path: Path) -> None:
    environment = DEFAULTS | {"INVENTORY": "localhost,", "NEXUS_USER": "reader", "NEXUS_PASS": "{{ 1 + 1 }}: #'\"", "DEV_DIR": "/opt/other"}
    values = jenkins_parameters.index(Given(environment)) | jenkins_parameters.dev_dir(Given(environment))
    jenkins_parameters.write(tmp_path / "values.yml", yaml.safe_dump(values))
    assert stat.S_IMODE((tmp_path / "values.yml").stat().st_mode) == 0o600
    message = "{{ [vault_nexus_pass, lab_dir] }}"
    options = ["-e", f"@{tmp_path}/values.yml", "-m", "ansible.builtin.debug", "-a", f"msg={message}"]
    done = tool(["ansible", "localhost", "-i", "localhost,", *options], ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert json.loads(done.stdout.partition("=>")[2])["msg"] == ["{{ 1 + 1 }}: #'\"", "/opt/other"], done.stdout


def test_the_verbs_are_the_playbooks_of_the_lab() -> None:
    assert list(jenkins_parameters.VERBS) == VERBS


# ------------------------------------------------------------------ reports

CHECKS = [
    {"name": "A page answers", "ok": True, "detail": "HTTP 200", "seconds": 0.5},
    {"name": "A model loads", "ok": False, "detail": "no <model>", "seconds": 1},
]


@pytest.mark.parametrize(
    ("verdict", "mistakes", "dry_run", "description"),
    [
        (None, ["DEV_DIR is '/'."], False, "Wrong parameters: DEV_DIR is '/'."),
        (None, [], True, "Dry run: nothing was changed."),
        (None, [], False, "No verdict: the verb verify did not come to an end."),
        ({"checks": CHECKS}, [], False, "1 of 2 checks failed: A model loads"),
        (
            {"checks": CHECKS[:1], "versions": {"airflow": "3.3.2"}, "image": {"id": "sha256:0123456789abcdef"}, "model": {"uri": "models:/wine/2"}},
            [],
            False,
            "The lab works: 1 checks, airflow 3.3.2, image 0123456789ab, models:/wine/2",
        ),
    ],
)
def test_the_description_says_what_became_of_it(verdict: dict[str, Any] | None, mistakes: list[str], dry_run: bool, description: str) -> None:
    assert jenkins_report.describe(verdict, mistakes, dry_run) == description


def test_verdict_lock_and_bill_of_materials_are_kept(tool: Run, tmp_path: Path) -> None:
    folder, locks = tmp_path / "folder", tmp_path / "locks"
    (tmp_path / "reports").mkdir()
    folder.mkdir()
    locks.mkdir()
    (tmp_path / "reports/lab.json").write_text(json.dumps({"checks": CHECKS}))
    (folder / "lock_dir").write_text(str(locks))
    (locks / "project.txt").write_text("# Resolved\nwine-cultivars==1.0.1 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    done = tool([BIN / "python", ROOT / "tools/jenkins_report.py", folder], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    bill = json.loads((tmp_path / "reports/sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and [part["purl"] for part in bill["components"]] == ["pkg:pypi/wine-cultivars@1.0.1"]
    assert (tmp_path / "reports/lock/project.txt").exists()
    junit = (tmp_path / "reports/junit/verdict.xml").read_text()
    assert 'tests="2" failures="1"' in junit and "no &lt;model&gt;" in junit


# ------------------------------------------------------------------ versions of projects


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a git repository, whose version is written down as 1.1.0."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "my.project"\nversion = "1.1.0"\n')
    commit(tmp_path, "init", "-q")
    commit(tmp_path, "add", "-A")
    commit(tmp_path, "commit", "-q", "-m", "A project")
    return tmp_path


def commit(project: Path, *arguments: str) -> None:
    """Run git with an author and a time of its own."""
    environment = os.environ | {"GIT_COMMITTER_DATE": "2026-11-24T10:20:30Z", "GIT_AUTHOR_DATE": "2026-11-24T10:20:30Z"}
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@lab.example", "-C", str(project), *arguments]
    subprocess.run(command, env=environment, check=True)


@pytest.mark.parametrize(
    ("tags", "version"),
    [
        (["v1.2.0"], "1.2.0"),
        (["1.2.0rc1"], "1.2.0rc1"),
        (["my-project-1.3.0", "other-9.0.0", "nightly"], "1.3.0"),
        (["my_project/v1.3.0"], "1.3.0"),
        (["v1.2.0", "v1.10.0"], "1.10.0"),
        ([], "1.1.0.dev20261124102030"),
    ],
)
def test_a_tag_is_the_version(project: Path, tags: list[str], version: str) -> None:
    for tag in tags:
        commit(project, "tag", tag)
    assert str(publish_wheel.version_of(project, publish_wheel.settings(project))) == version


@pytest.mark.parametrize(
    ("tag", "version"), [("v1.0.3", "1.1.0.dev20261124102030"), ("v1.4.2", "1.4.3.dev20261124102030"), ("v2.0.0rc1", "2.0.0.dev20261124102030")]
)
def test_a_commit_after_a_tag_is_a_development_version_of_the_next_release(project: Path, tag: str, version: str) -> None:
    commit(project, "tag", tag)
    commit(project, "commit", "-q", "--allow-empty", "-m", "More")
    assert str(publish_wheel.version_of(project, publish_wheel.settings(project))) == version
    assert tag == "v2.0.0rc1" or Version(version) > Version(tag)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('[project]\nname = "a"\nversion = "1.0"  # ours\n', 'version = "2.0"  # ours'),
        ('[project]\nname = "a"\ndynamic = ["version", "readme"]\n', 'dynamic = ["readme"]'),
        ('[project]\nname = "a"\nversion = "2.0.0"\n', 'version = "2.0.0"'),
    ],
)
def test_the_version_is_written_for_every_backend(tmp_path: Path, text: str, kept: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    publish_wheel.set_version(tmp_path / "pyproject.toml", Version("2.0"))
    written = (tmp_path / "pyproject.toml").read_text()
    assert kept in written and Version(str(publish_wheel.settings(tmp_path)["project"]["version"])) == Version("2.0")


def test_a_tag_that_is_no_version_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[tuple[str, Callable[[], None]]] = [
        ("nightly names no version of my.project", lambda: monkeypatch.setenv("TAG_NAME", "nightly")),
        ("a local version", lambda: monkeypatch.setenv("TAG_NAME", "v1.2.0+mine")),
    ]
    for sentence, prepare in refused:
        prepare()
        with pytest.raises(Wrong, match=sentence):
            publish_wheel.version_of(project, publish_wheel.settings(project))


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, "", "refuses the user 'robot' with the password it was given (401): choose the right credential in NEXUS_CREDS_ID."),
        (403, "", "or choose another credential there."),
        (502, "", "(NEXUS_URL) answers 502"),
        (-1, "Connection refused", "This agent does not reach the package index at http://n.example/simple/small/ (NEXUS_URL): Connection refused."),
    ],
)
def test_an_index_that_does_not_work_is_told_in_the_lab_s_own_words(monkeypatch: pytest.MonkeyPatch, status: int, reason: str, words: str) -> None:
    monkeypatch.setenv("NEXUS_USER", "robot")
    monkeypatch.setenv("NEXUS_PASS", "planted-word")
    monkeypatch.setattr("publish_wheel.package_index.ask", lambda *_question: [Answer(status, None, reason)])
    with pytest.raises(Wrong) as wrong:
        publish_wheel.ask("http://n.example/simple/small/")
    assert words in str(wrong.value) and "planted-word" not in str(wrong.value) and "serves its own" not in str(wrong.value)


def test_a_page_that_is_not_there_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_USER", "robot")
    monkeypatch.setenv("NEXUS_PASS", "planted-word")
    monkeypatch.setattr("publish_wheel.package_index.ask", lambda *_question: [Answer(404)])
    assert publish_wheel.ask("http://n.example/simple/small/") == b""
