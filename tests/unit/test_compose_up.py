"""The action compose_up: a project's files, their digest in its definition, and nothing of secret files anywhere. Starting is tested on a host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plays import Done, play

pytestmark = pytest.mark.usefixtures("compose_plugin")

CANARY = "canary-of-compose-up"
DEFINITION = 'name: tried\nservices:\n  one:\n    image: nobodys\n    labels: {files: "FILES_DIGEST"}\n'
DIRECTORIES = [
    {"name": "config", "files": {"a.conf": "a", "deep/b.conf": "b"}, "recreate": True},
    {"name": "pages", "files": {"index.html": "hello"}, "mode": "0640", "directory_mode": "0750", "group": 0},
]


def up(folder: Path, *options: str, more: dict[str, str] | None = None, **arguments: Any) -> Done:
    """Bring the project in ``folder/project`` to its definition, without starting it."""
    given = {"secrets": {"password": "first"}, "directories": DIRECTORIES, "definition": DEFINITION, **arguments}
    task = {"mlops.lab.compose_up": {"project": "tried", "project_src": str(folder / "project"), "start": False, **given}, "register": "result"}
    return play(folder, [task], *options, **(more or {}))


def label(folder: Path) -> str:
    """Return the digest in the definition that was written."""
    found = re.search(r'files: "(\w+)"', (folder / "project/compose.yml").read_text(encoding="utf-8"))
    assert found
    return found[1]


def rights(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:o}"


def test_files_and_definition_are_placed_once_and_predicted(tmp_path: Path) -> None:
    project = tmp_path / "project"
    predicted = up(tmp_path, "--check", "--diff")
    assert predicted.returncode == 0 and predicted.result["changed"] and not project.exists(), predicted.output
    done = up(tmp_path)
    assert done.returncode == 0, done.output
    names = ["secrets/password", "config/a.conf", "config/deep/b.conf", "pages/index.html"]
    assert done.result["placed"] == predicted.result["placed"] == names
    assert (project / "config/deep/b.conf").read_text(encoding="utf-8") == "b"
    assert [rights(project / name) for name in ("secrets", "secrets/password", "config", "config/deep", "config/a.conf", "pages", "pages/index.html")] == [
        *("700", "440", "755", "755", "644", "750", "640")
    ]
    assert re.fullmatch("[0-9a-f]{16}", label(tmp_path))
    again = up(tmp_path)
    assert (again.result["changed"], again.result["placed"], again.result["removed"]) == (False, [], [])


def test_what_containers_read_at_start_alone_makes_them_anew(tmp_path: Path) -> None:
    up(tmp_path)
    first = label(tmp_path)
    told = up(tmp_path, directories=[DIRECTORIES[0], {**DIRECTORIES[1], "files": {"other.html": "hello"}}])
    assert (told.result["placed"], told.result["removed"]) == (["pages/other.html"], ["pages/index.html"])
    assert label(tmp_path) == first
    labels = [first]
    changes: list[dict[str, Any]] = [{"secrets": {"password": "second"}}, {"directories": [{**DIRECTORIES[0], "files": {"a.conf": "a"}}]}, {"secrets": {}}]
    for arguments in changes:
        assert up(tmp_path, **arguments).result["changed"]
        labels.append(label(tmp_path))
    assert len(set(labels)) == 4
    assert not list((tmp_path / "project/secrets").iterdir())


def test_what_others_have_placed_stays_where_that_is_wanted(tmp_path: Path) -> None:
    up(tmp_path)
    mine = {**DIRECTORIES[1], "files": {"mine.html": "hello"}}
    told = up(tmp_path, directories=[DIRECTORIES[0], {**mine, "keep_others": True}])
    assert (told.result["placed"], told.result["removed"]) == (["pages/mine.html"], [])
    assert up(tmp_path, directories=[DIRECTORIES[0], {**mine, "keep_others": True}]).result["changed"] is False
    assert up(tmp_path, directories=[DIRECTORIES[0], mine]).result["removed"] == ["pages/index.html"]


def test_a_directory_of_others_is_made_and_its_content_left_alone(tmp_path: Path) -> None:
    given = [{"name": "output", "directory_mode": "0770", "group": 0}]
    output = tmp_path / "project/output"
    assert up(tmp_path, directories=given).returncode == 0
    assert rights(output) == "770"
    (output / "empty").mkdir()
    (output / "result.csv").touch()
    assert up(tmp_path, directories=given).result["changed"] is False
    output.chmod(0o755)
    assert up(tmp_path, directories=given).result["changed"] is True
    assert rights(output) == "770" and (output / "empty").is_dir() and (output / "result.csv").exists()


def test_without_a_list_of_files_nothing_is_done_to_any(tmp_path: Path) -> None:
    up(tmp_path)
    done = up(tmp_path, secrets=None, directories=[])
    assert done.returncode == 0, done.output
    assert (tmp_path / "project/secrets/password").exists() and (tmp_path / "project/pages/index.html").exists()


def test_a_definition_that_compose_refuses_changes_nothing(tmp_path: Path) -> None:
    up(tmp_path)
    done = up(tmp_path, secrets={"password": "second"}, definition="name: tried\nservices:\n  one: {there_is_no_such_key: 1}\n")
    assert done.returncode != 0 and "compose refuses the definition of tried" in done.output and "there_is_no_such_key" in done.output
    assert (tmp_path / "project/secrets/password").read_text(encoding="utf-8") == "first"
    assert up(tmp_path).result["changed"] is False


@pytest.mark.parametrize("definition", [DEFINITION, "services: 7\n"])
def test_no_secret_is_shown_however_loudly_ansible_speaks(tmp_path: Path, definition: str) -> None:
    up(tmp_path)
    loud = {"THE_SECRET": CANARY, "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "true", "ANSIBLE_DEBUG": "false"}
    done = up(tmp_path, "-vvvv", "--diff", secrets={"password": "{{ lookup('ansible.builtin.env', 'THE_SECRET') }}"}, definition=definition, more=loud)
    assert (done.returncode == 0) == (definition == DEFINITION)
    assert ("secrets/password (new content)" in done.output) == (definition == DEFINITION)
    assert CANARY not in done.output
    assert done.left() == []
