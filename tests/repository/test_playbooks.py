"""The playbooks: verbs in one order, each play able to run alone and to clean up after itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run

ORDER = ["preflight", "provision", "index", "image", "stack", "models", "train", "verify", "clean"]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
PLAYS = [(path, play) for path in PLAYBOOKS for play in yaml.safe_load(path.read_text(encoding="utf-8")) if "hosts" in play]
# These change nothing on the lab's hosts but what a user of Airflow may change at any time, and run beside any other.
LOOKING = ("preflight", "run", "status", "logs", "password", "create_vault", "new_lab", "awx", "workflow_failed")
# Plays of the lab's hosts that can fail after they changed something
CHANGING = [(path, play) for path, play in PLAYS if path.stem not in (*LOOKING, "clean")]
LOCKED = [(path, play) for path, play in PLAYS if path.stem not in (*LOOKING, "verify")]


def named(plays: list[tuple[Path, dict[str, Any]]]) -> pytest.MarkDecorator:
    """Parametrize a test over plays."""
    return pytest.mark.parametrize(("path", "play"), plays, ids=[f"{path.stem}: {play['name']}" for path, play in plays])


def test_site_imports_the_verbs_in_their_order() -> None:
    imports = [play["ansible.builtin.import_playbook"] for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text())]
    assert imports == [f"{verb}.yml" for verb in ORDER]


def test_file_names_can_be_fqcns() -> None:
    assert [path.name for path in PLAYBOOKS if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem)] == []


@named(PLAYS)
def test_every_play_has_a_tag(path: Path, play: dict[str, Any]) -> None:
    assert play.get("tags"), f"{path.name}: {play['name']} has no tag"


@named(CHANGING)
def test_a_play_that_fails_cleans_and_stops_everywhere(path: Path, play: dict[str, Any]) -> None:
    assert play.get("any_errors_fatal") is True
    assert "roles" not in play and "post_tasks" not in play, "what a block does not hold is not rescued"
    for block in play["tasks"]:
        assert [task["ansible.builtin.import_tasks"] for task in block["rescue"]] == ["tasks/clean_and_stop.yml"]


@named(LOCKED)
def test_a_play_that_changes_something_takes_the_lab_s_lock_first(path: Path, play: dict[str, Any]) -> None:
    """Before the tasks, because their rescue would clean what the holder of the lock needs."""
    assert [task["ansible.builtin.import_tasks"] for task in play["pre_tasks"]] == ["tasks/lock.yml"]


def test_every_playbook_is_found_by_its_fqcn_from_the_checkout(tool: Run) -> None:
    done = tool(["ansible-playbook", *(f"mlops.lab.{path.stem}" for path in PLAYBOOKS), "-i", "localhost,", "--list-tasks"])
    assert done.returncode == 0, done.stdout
    assert [Path(place).name for place in re.findall(r"^playbook: (.*)$", done.stdout, re.M)] == [path.name for path in PLAYBOOKS]


def test_the_root_site_is_the_same_as_the_collection_s(tool: Run) -> None:
    listed = [tool(["ansible-playbook", site, "-i", "localhost,", "--list-tasks"]).stdout for site in ("site.yml", "mlops.lab.site")]
    plays = [re.sub(r"(?m)^playbook: .*", "", text) for text in listed]
    assert plays[0] == plays[1] and "play #2" in plays[0]


def test_every_role_s_play_can_run_alone_by_its_tag(tool: Run) -> None:
    done = tool(["ansible-playbook", *PLAYBOOKS, "-i", "localhost,", "--list-tags"])
    tags = set(re.findall(r"\w+", " ".join(re.findall(r"TASK TAGS: \[(.*?)\]", done.stdout))))
    assert {role.name for role in (ROOT / "roles").iterdir()} - tags == set()


def test_every_module_is_documented_under_its_fqcn(tool: Run) -> None:
    modules = [f"mlops.lab.{path.stem}" for path in (ROOT / "plugins/modules").glob("*.py")]
    done = tool(["ansible-doc", "--type", "module", "--json", *modules])
    documented = json.loads(done.stdout)
    assert {name for name, found in documented.items() if found["doc"]["description"]} == set(modules)
