"""The playbooks: verbs in one order, each play able to run alone and to clean up after itself."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, VERBS, Run

SHARED = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
# What a user may ask for beside the order of site.yml
OTHER_VERBS = ["stop", "drain", "remove_worker", "backup", "restore", "destroy"]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
PLAYS = [(path, play) for path in PLAYBOOKS for play in yaml.safe_load(path.read_text(encoding="utf-8")) if "hosts" in play]
# These change nothing on the lab's hosts but what a user of Airflow may change at any time, and run beside any other.
LOOKING = ("preflight", "reach", "renamed", "run", "status", "logs", "password", "create_vault", "new_lab", "awx", "workflow_failed")
# Plays of the lab's hosts that can fail after they changed something
CHANGING = [(path, play) for path, play in PLAYS if path.stem not in (*LOOKING, "clean")]
LOCKED = [(path, play) for path, play in PLAYS if path.stem not in (*LOOKING, "verify")]


def named(plays: list[tuple[Path, dict[str, Any]]]) -> pytest.MarkDecorator:
    """Parametrize a test over plays."""
    return pytest.mark.parametrize(("path", "play"), plays, ids=[f"{path.stem}: {play['name']}" for path, play in plays])


def test_every_place_has_the_verbs_of_site_in_their_order() -> None:
    """Of what a user reads or types; Jenkins and AWX have tests of their own."""
    words = " ".join(VERBS[:-1])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^VERBS = (.*)$", makefile, re.M) == [words]
    assert re.findall(r"^OTHER_VERBS = (.*)$", makefile, re.M) == [f"{VERBS[-1]} {' '.join(OTHER_VERBS)}"]
    told = re.findall(r"^([a-z_]+): ## ", makefile, re.M)
    assert [verb for verb in told if verb in (*VERBS, *OTHER_VERBS)] == [*VERBS, *OTHER_VERBS]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `make (\w+).*?` \| `playbooks/\1\.yml` \|", readme, re.M)
    assert [verb for verb in told if verb in VERBS] == VERBS and set(OTHER_VERBS) <= set(told)
    assert set(re.findall(r"preflight provision [a-z ]+", (ROOT / "Jenkinsfile").read_text(encoding="utf-8"))) == {words}
    for path in ("roles/awx/README.md", "docs/awx.md"):
        assert " > ".join(VERBS) in (ROOT / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize("verb", [*VERBS, *OTHER_VERBS])
def test_every_play_of_a_verb_has_its_tag(verb: str) -> None:
    plays = [play for path, play in PLAYS if path.stem == verb]
    assert plays and all(verb in play["tags"] or play["tags"] == ["always"] for play in plays)
    others = {tag for path, play in PLAYS if path.stem in VERBS and path.stem != verb for tag in play["tags"]}
    assert verb not in others, "a tag means one thing"


def test_old_names_are_of_nothing_else() -> None:
    assert set(SHARED["lab_renamed"]).isdisjoint([*VERBS, *OTHER_VERBS, *(tag for _path, play in PLAYS for tag in play["tags"])])


@pytest.mark.parametrize("old", [old for old in SHARED["lab_renamed"] if (ROOT / f"playbooks/{old}.yml").exists()])
def test_a_playbook_of_an_old_name_stops_with_the_new_one(tool: Run, old: str) -> None:
    done = tool(["ansible-playbook", f"mlops.lab.{old}", "-i", "one,two,", "--limit", "two", "--tags", "airflow_stack"])
    assert done.returncode != 0 and f"{old}.yml is called {SHARED['lab_renamed'][old]}.yml now." in done.stdout, done.stdout


def test_an_old_tag_stops_with_the_new_one(tool: Run) -> None:
    done = tool(["ansible-playbook", "site.yml", "-i", "one,two,", "--limit", "two", "--tags", "stack,down,docker_engine"])
    assert done.returncode != 0 and "down is called stop now, stack is called start now." in done.stdout, done.stdout


def test_make_down_stops_with_the_new_name(tool: Run) -> None:
    done = tool(["make", "down"])
    assert done.returncode != 0 and "make down is called make stop now." in done.stdout


@pytest.mark.parametrize(("given", "path"), [("~/my churn", "/me/my churn"), ("../churn", f"{ROOT}/../churn"), ("/a/b c.whl", "/a/b c.whl")])
def test_make_takes_a_project_at_any_path(tool: Run, given: str, path: str) -> None:
    def command(verb: str) -> list[str]:
        done = tool(["make", "-n", verb, "NAME=churn", f"PROJECT={given}"], HOME="/me")
        return shlex.split(done.stdout.splitlines()[-1])

    words = command("publish")
    given_to_ansible = [word for before, word in itertools.pairwise(words) if before == "-e"]
    assert given_to_ansible[0] == "package_index_serve=false" and json.loads(given_to_ansible[1]) == {"package_index_publish": [path]}
    for verb in ("project", "experiment"):
        assert command(verb)[-3:] == [verb, "churn", given.replace("~", "/me")]


@pytest.mark.parametrize(("given", "path"), [("~/my lab", "/me/my lab"), ("/a/b", "/a/b")])
@pytest.mark.parametrize("how", ["typed", "exported"])
def test_make_takes_a_lab_at_any_path(tool: Run, given: str, path: str, how: str) -> None:
    def command(*words: str) -> list[str]:
        typed = [f"LAB={given}"] if how == "typed" else []
        done = tool(["make", "-n", *words, *typed], HOME="/me", **({} if typed else {"LAB": given}))
        return shlex.split(done.stdout.splitlines()[-1])

    for verb in ("lab", "status", "stop", "check"):
        words = command(verb)
        assert words[words.index("-i") + 1] == f"{path}/hosts.yml", words
    for verb in ("new", "vault", "renew"):
        assert {"lab_home": path} in [json.loads(word) for word in command(verb, "NAME=redis") if word.startswith("{")]


def test_make_new_wants_a_name(tool: Run) -> None:
    done = tool(["make", "-o", "venv", "new"])
    assert done.returncode != 0 and "LAB says which folder the lab gets: make new LAB=~/churn-lab" in done.stdout


def test_what_set_gives_reaches_ansible_as_it_was_typed(tool: Run) -> None:
    typed = """inputs.code='0123' inputs.label="5" register.name={{ lookup('pipe', 'id') }}"""
    done = tool(["make", "-o", "there", "run", "EXPERIMENT=churn", f"SET={typed}", r"PLAYBOOK=printf '%s\n'"])
    given = done.stdout.splitlines()[-1]
    assert given.startswith("{set: !unsafe "), done.stdout
    assert yaml.safe_load(given.replace("!unsafe ", "", 1)) == {"set": typed}


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


def hollow(
    tool: Run, folder: Path, plays: list[dict[str, Any]], workers: list[str], *options: str, builder: str = "control", **values: Any
) -> dict[str, set[str]]:
    """Run plays with their own hosts and a task that does nothing, as those of a lab with these workers; return the hosts of each play that is printed."""
    shown = [{"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has it"}}]
    kept = [{**{key: play[key] for key in ("name", "hosts", "tags")}, "gather_facts": False, "tasks": shown} for play in plays]
    (folder / "plays.yml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    if not (folder / "group_vars").exists():
        (folder / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    groups = {"lab_control": ["control"], "lab_builder": [builder], "lab_workers": workers}
    lab = {"children": {group: {"hosts": {host: {} for host in hosts}} for group, hosts in groups.items()}, "vars": {"ansible_connection": "local"}}
    (folder / "hosts.json").write_text(json.dumps({"lab": lab}), encoding="utf-8")
    command = ["ansible-playbook", folder / "plays.yml", "-i", folder / "hosts.json", "-e", json.dumps(values), *options]
    done = tool(command, ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal")
    assert done.returncode == 0 and "no hosts matched" not in done.stdout, done.stdout
    found = re.split(r"(?m)^\[\d+/\d+\] (.*)$", done.stdout)
    return {name: set(re.findall(r"(\w+) has it", text)) for name, text in zip(found[1::2], found[2::2], strict=True)}


@pytest.mark.parametrize(
    ("workers", "gateway", "parts"),
    [
        (["control"], "false", set()),
        (["control"], "true", {"certificates", "firewall", "gateway"}),
        (["worker1"], "false", {"host_clock", "certificates", "firewall", "gateway", "image_registry"}),
    ],
)
def test_hosts_are_provisioned_with_what_their_lab_needs(tool: Run, tmp_path: Path, workers: list[str], gateway: str, parts: set[str]) -> None:
    """Each play of provision.yml, with its own hosts and a task that does nothing; all of them, and each by its tag. What has no hosts is not printed."""
    plays = [play for path, play in PLAYS if path.stem == "provision"]
    everybody, control = {"control", *workers}, {"control"}
    wanted = {"docker_engine": everybody, "base_images": control}
    wanted |= {part: everybody if part in ("host_clock", "certificates", "firewall") else control for part in parts}
    named = {part: {play["name"] for play in plays if part in play["tags"]}.pop() for part in wanted}
    assert hollow(tool, tmp_path, plays, workers, lab_gateway=gateway) == {named[part]: hosts for part, hosts in wanted.items()}
    by_tag = hollow(tool, tmp_path, plays, workers, "--tags", "gateway,firewall", lab_gateway=gateway)
    assert {name: hosts for name, hosts in by_tag.items() if hosts} == {named[part]: wanted[part] for part in ("firewall", "gateway") if part in wanted}


@pytest.mark.parametrize(
    ("workers", "builder", "pulls"),
    [
        (["control"], "control", set()),
        (["worker1"], "control", {"worker1"}),
        (["worker1", "worker2"], "worker1", {"control", "worker2"}),
        (["control"], "elsewhere", {"control"}),
    ],
)
def test_the_image_is_built_on_the_builder_wherever_it_is_and_all_others_pull_it(
    tool: Run, tmp_path: Path, workers: list[str], builder: str, pulls: set[str]
) -> None:
    plays = [play for path, play in PLAYS if path.stem in ("provision", "publish", "build")]
    found = hollow(tool, tmp_path, plays, workers, builder=builder)
    everybody = {"control", builder, *workers}
    wanted = {
        "Provision every host with a Docker engine": everybody,
        "Provide the base images": {"control", builder},
        "Offer the package index": {"control"},
        "Build the lab's image": {builder},
    }
    if len(everybody) > 1:
        wanted |= {"Give every host a certificate": everybody, "Close the ports": everybody, "Run the image registry": {"control"}}
        wanted |= {"Bring the image to the registry": {builder}, "Tidy the registry": {"control"}, "Bring the image to the other hosts": pulls}
    alone = {builder} - {"control", *workers}
    assert found.get("Remove the worker of a host that only builds", set()) == alone, "no host, no play"
    assert {name: hosts for name, hosts in found.items() if name in wanted} == wanted
    assert pulls or not [name for name in found if "registry" in name or "other hosts" in name]


@pytest.mark.parametrize(
    ("workers", "gateway", "projects", "removed"),
    [
        (["control"], "false", ["mlops-lab-airflow", "mlops-lab-gateway"], True),
        (["control"], "false", ["mlops-lab-airflow"], False),
        (["control"], "false", None, False),
        (["control"], "true", ["mlops-lab-gateway"], False),
        (["worker1"], "false", ["mlops-lab-gateway"], False),
    ],
)
def test_a_gateway_of_an_earlier_setting_is_removed(
    tool: Run, tmp_path: Path, workers: list[str], gateway: str, projects: list[str] | None, removed: bool
) -> None:
    """Where preflight saw it, and nowhere else. Another play comes first, since hostvars are there from the second one of a run on."""
    plays = [play for path, play in PLAYS if path.stem == "start" and (play["name"] == "Run MLflow" or "gateway" in play["tags"])]
    seen: dict[str, Any] = {} if projects is None else {"preflight_measured": {"found": {"lab_projects": projects}}}
    printed = hollow(tool, tmp_path, plays, workers, lab_gateway=gateway, **seen)
    assert (plays[-1]["name"] in printed) is removed and printed.get(plays[-1]["name"], {"control"}) == {"control"}, printed


def test_every_playbook_is_found_by_its_fqcn_from_the_checkout(tool: Run) -> None:
    done = tool(["ansible-playbook", *(f"mlops.lab.{path.stem}" for path in PLAYBOOKS), "-i", "localhost,", "--list-tasks"])
    assert done.returncode == 0, done.stdout
    assert [Path(place).name for place in re.findall(r"^playbook: (.*)$", done.stdout, re.M)] == [path.name for path in PLAYBOOKS]


def test_the_root_site_is_the_same_as_the_collection_s(tool: Run) -> None:
    listed = [tool(["ansible-playbook", site, "-i", "localhost,", "--list-tasks"]).stdout for site in ("site.yml", "mlops.lab.site")]
    plays = [re.sub(r"(?m)^playbook: .*", "", re.sub(r"TAGS: \[.*?\]", lambda tags: " ".join(sorted(re.findall(r"\w+", tags[0]))), text)) for text in listed]
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
