"""The role is run against a stand-in: what it declares is there, a second time changes nothing, and it can be removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.awx.conftest import VAULT_PASSWORD, Checkout
from tests.awx.controller import BUILT_IN, HIDDEN, TOKEN, Controller, serving
from tests.conftest import AIRFLOWS, ROOT, VERBS


def changed(output: str) -> int:
    """Return how many tasks of a play changed something."""
    found = re.search(r"changed=(\d+)", output)
    assert found, output
    return int(found[1])


def values_of(controller: Controller) -> dict[str, Any]:
    """Return the variables of the lab's one host: those of an inventory or a group would lose against what the playbooks bring."""
    assert [json.loads(row["variables"]) for row in controller.rows("inventories")] == [{}]
    (host,) = controller.rows("hosts")
    values: dict[str, Any] = yaml.safe_load(host["variables"])
    return values


@pytest.fixture(scope="module")
def declared(checkout: Checkout) -> Iterator[Controller]:
    """A controller to which the playbook was applied, with everything that is an option."""
    with serving() as controller:
        controller.make("users", {"username": "ada"})
        done = checkout.apply(controller, "-e", OPTIONS)
        assert done.returncode == 0, done.stdout
        for secret in [VAULT_PASSWORD, *checkout.secrets.values()]:
            assert len(secret) < 10 or secret not in done.stdout
        yield controller


OPTIONS = """{
  "awx_launch_users": ["ada"],
  "awx_backup_schedule": "DTSTART:20270101T030000Z RRULE:FREQ=DAILY;INTERVAL=1",
  "awx_machine_user": "admin", "awx_machine_password": "planted-password-of-the-machine",
  "awx_notifications": [
    {"name": "chat", "type": "webhook", "configuration": {"url": "https://chat.example.com/hook", "http_method": "POST", "headers": {}}, "events": ["error"]},
    {"name": "pager", "type": "pagerduty", "configuration": {"token": "planted-token", "service_key": "x"}, "events": ["error", "success"]}
  ]
}"""


def test_every_verb_can_be_launched(declared: Controller) -> None:
    templates = {template["name"]: template for template in declared.rows("job_templates")}
    assert templates.keys() == {f"mlops-lab {verb}" for verb in [*VERBS, "workflow_failed", "backup"]}
    for template in templates.values():
        assert (ROOT / template["playbook"]).is_file()
        assert template["ask_job_type_on_launch"]
        assert template["ask_limit_on_launch"] == ("workflow_failed" not in template["name"]), "it would meet no host of a limit, and succeed"
        assert 0 < template["timeout"] <= 24 * 3600, "a job that nobody ends would run for ever"
        kinds = [declared.tables["credential_types"][credential["credential_type"]]["name"] for credential in declared.listed(template, "credentials")]
        assert sorted(kinds) == ["Encrypted vault", "Machine", "Nexus", "Vault"]


def test_surveys_have_types_choices_defaults_and_limits(declared: Controller) -> None:
    asked: dict[str, set[str]] = {}
    for template in [*declared.rows("job_templates"), *declared.rows("workflow_job_templates")]:
        survey = declared.surveys.get(template["related"]["survey_spec"], {"spec": []})
        assert template["survey_enabled"] is bool(survey["spec"])
        asked[template["name"]] = {question["variable"] for question in survey["spec"]}
        for question in survey["spec"]:
            assert question["question_description"]
            assert "choices" in question if question["type"] == "multiplechoice" else question["max"] > question["min"]
            # An empty answer to an optional question must not hide a value of the inventory.
            assert question["required"] or question["variable"].startswith("survey_")
            # AWX's `!unsafe` lets ansible-core read such a text as a number.
            assert question["type"] == "integer" or not [text for text in question.get("choices", []) if isinstance(yaml.safe_load(text), float)]
            assert question["required"] or (question["default"], question["min"]) == ("", 0)
    every = set().union(*asked.values())
    assert asked["mlops-lab"] == asked["mlops-lab preflight"] == every, "the workflow passes on what its jobs ask"
    offered = {question["variable"]: question["choices"] for path in declared.surveys for question in declared.surveys[path]["spec"] if "choices" in question}
    assert set(offered["lab_airflow_version"]) == set(AIRFLOWS), "the locks say which versions there are"
    assert set(offered["survey_lab_python_version"]) == {f"python{python}" for python in AIRFLOWS.values()}
    values = values_of(declared)
    for variable in every:
        assert not variable.startswith("survey_") or variable in values[variable.removeprefix("survey_")], f"nothing reads {variable}"


def test_the_workflow_is_the_lab_s_order_and_cleans_on_every_branch(declared: Controller) -> None:
    nodes = {node["identifier"]: node for node in declared.rows("workflow_job_template_nodes")}
    after = {
        name: {kind: [child["identifier"] for child in declared.listed(node, f"{kind}_nodes")] for kind in ("success", "failure", "always")}
        for name, node in nodes.items()
    }
    verb = {name: declared.tables["job_templates"][node["unified_job_template"]]["playbook"] for name, node in nodes.items()}
    path = ["preflight"]
    while after[path[-1]]["success"]:
        path += after[path[-1]]["success"]
    (workflow,) = declared.rows("workflow_job_templates")
    assert workflow["ask_limit_on_launch"] and not workflow["ask_variables_on_launch"], (
        "a host that is off is left out of all steps, and nothing else can be given"
    )
    assert path == VERBS and [verb[name] for name in path] == [f"playbooks/{name}.yml" for name in VERBS]
    for name in path[:-1]:
        (cleaner,) = after[name]["failure"]
        assert verb[cleaner] == "playbooks/clean.yml"
        (end,) = after[cleaner]["always"]
        assert verb[end] == "playbooks/workflow_failed.yml", "else the controller calls a failed lab a success"


def test_the_inventory_has_hosts_groups_and_the_values_as_they_are_written(declared: Controller) -> None:
    groups = {group["name"]: [host["name"] for host in declared.listed(group, "hosts")] for group in declared.rows("groups")}
    assert groups == {group: ["localhost"] for group in ("lab", "lab_control", "lab_workers", "lab_builder")}
    values = values_of(declared)
    assert values["lab_name"] == "mlops-lab" and values["ansible_connection"] == "local"
    assert values["lab_home"] == "{{ playbook_dir ~ '/..' }}/inventories/lab"
    assert "lab_airflow_port" not in values, "what the playbooks bring is not repeated"
    assert "playbooks/awx.yml" in values["preflight_credentials_hint"], "a job says what helps in a controller"
    assert values["package_index_credentials_in"] == "the controller's credential mlops-lab Nexus"


def test_secrets_are_in_credentials_alone(checkout: Checkout, declared: Controller) -> None:
    secrets = {VAULT_PASSWORD, "planted-password-of-the-machine", *(value for name, value in checkout.secrets.items() if not name.endswith("_user"))}
    for table in declared.tables:
        if table != "notification_templates":
            shown = [declared.shown(row) for row in declared.rows(table)]
            assert not [secret for secret in secrets if secret in yaml.safe_dump(shown, width=100000, allow_unicode=True)], table
    assert HIDDEN in str([declared.shown(row) for row in declared.rows("credentials")])
    for kind in declared.rows("credential_types"):
        if kind["name"] not in BUILT_IN:
            assert kind["injectors"].keys() == {"file", "extra_vars"}
            assert all(value == "{{ tower.filename }}" for value in kind["injectors"]["extra_vars"].values())


def test_who_may_launch(declared: Controller) -> None:
    (team,) = declared.rows("teams")
    execute = {
        template["summary_fields"]["object_roles"]["execute_role"]["id"]
        for template in [*declared.rows("job_templates"), declared.rows("workflow_job_templates")[0]]
        # Steps of the workflow, which needs no right of its user for them.
        if template["name"] not in ("mlops-lab clean", "mlops-lab workflow_failed")
    }
    granted = {int(path.split("/")[4]) for path, ids in declared.lists.items() if path.endswith("/teams/") and ids == [team["id"]]}
    assert granted == execute
    (ada,) = declared.rows("users")
    assert declared.lists[f"/api/v2/roles/{team['summary_fields']['object_roles']['member_role']['id']}/users/"] == [ada["id"]]


def test_who_is_told(declared: Controller) -> None:
    (workflow,) = declared.rows("workflow_job_templates")
    told = {event: sorted(row["name"] for row in declared.listed(workflow, f"notification_templates_{event}")) for event in ("started", "success", "error")}
    assert told == {"started": [], "success": ["mlops-lab pager"], "error": ["mlops-lab chat", "mlops-lab pager"]}


@pytest.mark.deep
def test_a_second_time_changes_nothing_and_a_change_is_noticed(checkout: Checkout, declared: Controller) -> None:
    declared.changes.clear()
    done = checkout.apply(declared, "-e", OPTIONS)
    assert done.returncode == 0 and changed(done.stdout) == 0, done.stdout
    assert declared.changes == []
    declared.named("job_templates", "mlops-lab build")["playbook"] = "playbooks/other.yml"
    done = checkout.apply(declared, "-e", OPTIONS, "--check")
    assert done.returncode == 0 and changed(done.stdout) == 1, done.stdout
    assert declared.changes == []
    declared.named("job_templates", "mlops-lab build")["playbook"] = "playbooks/build.yml"


DRIFT: dict[str, dict[str, dict[str, object]]] = {
    "job_templates": {
        "mlops-lab build": {
            **dict.fromkeys(("ask_variables_on_launch", "ask_inventory_on_launch", "ask_credential_on_launch", "ask_tags_on_launch"), True),
            **dict.fromkeys(("ask_execution_environment_on_launch", "ask_scm_branch_on_launch", "become_enabled", "allow_simultaneous", "diff_mode"), True),
            **{"forks": 50, "extra_vars": '{"lab_dir": "/opt/other"}', "limit": "nobody", "job_tags": "x", "skip_tags": "x", "timeout": 0, "verbosity": 4},
            **{"job_type": "check", "playbook": "playbooks/other.yml", "scm_branch": "other", "start_at_task": "x", "job_slice_count": 3, "description": "x"},
        }
    },
    "workflow_job_templates": {
        "mlops-lab": {
            **dict.fromkeys(("ask_variables_on_launch", "ask_inventory_on_launch", "ask_tags_on_launch"), True),
            **{"ask_limit_on_launch": False},
            **{"extra_vars": '{"lab_dir": "/opt/other"}', "limit": "nobody", "scm_branch": "other", "skip_tags": "x", "allow_simultaneous": True},
        }
    },
    "inventories": {"mlops-lab hosts": {"variables": "lab_dir: /opt/other", "description": "x"}},
    "groups": {"lab_control": {"variables": '{"lab_dir": "/opt/other"}', "description": "x"}},
    "hosts": {"localhost": {"variables": '{"lab_dir": "/opt/other"}', "enabled": False}},
    "schedules": {"mlops-lab backup": {"enabled": False, "rrule": "DTSTART:20300101T030000Z RRULE:FREQ=YEARLY;INTERVAL=1", "extra_data": {"x": 1}}},
    "projects": {"mlops-lab playbooks": {"scm_branch": "other", "scm_clean": False, "scm_refspec": "x", "allow_override": True, "scm_update_on_launch": False}},
    "workflow_job_template_nodes": {"build": {"limit": "nobody", "extra_data": {"x": 1}}, "start": {"all_parents_must_converge": True}},
}


@pytest.mark.deep
def test_what_was_changed_by_hand_is_put_right(checkout: Checkout, declared: Controller) -> None:
    """Every field, links of credentials and steps; once more changes nothing."""
    before = {table: {name: dict(declared.named(table, name)) for name in rows} for table, rows in DRIFT.items()}
    for table, rows in DRIFT.items():
        for name, values in rows.items():
            declared.named(table, name).update(values)
    image = declared.named("job_templates", "mlops-lab build")
    credentials = declared.lists[f"{image['url']}credentials/"]
    linked = list(credentials)
    other = declared.make("credentials", {"name": "another's", "credential_type": 1})
    credentials[:] = [*linked[1:], other["id"]]
    workflow = declared.named("workflow_job_templates", "mlops-lab")
    declared.make("workflow_job_template_nodes", {"identifier": "by hand", "workflow_job_template": workflow["id"], "unified_job_template": image["id"]})

    done = checkout.apply(declared, "-e", OPTIONS)
    assert done.returncode == 0, done.stdout
    for table, rows in DRIFT.items():
        for name, values in rows.items():
            now = declared.named(table, name)
            for field in values:
                assert now.get(field) == before[table][name].get(field), f"{field} of {name}"
    assert sorted(declared.lists[f"{image['url']}credentials/"]) == sorted(linked)
    test_the_workflow_is_the_lab_s_order_and_cleans_on_every_branch(declared)
    declared.changes.clear()
    again = checkout.apply(declared, "-e", OPTIONS)
    assert again.returncode == 0 and changed(again.stdout) == 0, again.stdout
    assert declared.changes == []
    declared.remove("credentials", other)


@pytest.mark.deep
def test_what_the_lab_no_longer_has_goes(checkout: Checkout, controller: Controller) -> None:
    """Hosts and groups, the schedule of backups with its template, notifications; what others made stays."""
    more = {
        "awx_groups": {"lab_control": ["one"], "lab_workers": ["one", "two"], "lab_builder": ["one"], "other": ["two"]},
        "awx_host_variables": {},
    }
    assert checkout.apply(controller, "-e", OPTIONS.replace('["ada"]', "[]"), "-e", json.dumps(more)).returncode == 0
    assert {host["name"] for host in controller.rows("hosts")} == {"one", "two"}
    organization = controller.named("organizations", "mlops-lab")["id"]
    controller.make("notification_templates", {"name": "mlops-lab of a colleague", "organization": organization, "description": "mine"})
    elsewhere = controller.make("inventories", {"name": "another", "organization": organization})
    controller.make("hosts", {"name": "two", "inventory": elsewhere["id"]})

    fewer = {"awx_groups": {"lab_control": ["one"], "lab_workers": ["one"], "lab_builder": ["one"]}, "awx_host_variables": {}}
    looked = checkout.apply(controller, "-e", json.dumps(fewer), "--check")
    assert looked.returncode == 0 and changed(looked.stdout) > 0, looked.stdout
    done = checkout.apply(controller, "-e", json.dumps(fewer))
    assert done.returncode == 0, done.stdout
    assert [(host["name"], host["inventory"] == elsewhere["id"]) for host in controller.rows("hosts")] == [("one", False), ("two", True)]
    assert {group["name"] for group in controller.rows("groups")} == {"lab_control", "lab_workers", "lab_builder"}
    assert controller.rows("schedules") == []
    assert "mlops-lab backup" not in {template["name"] for template in controller.rows("job_templates")}
    assert [row["name"] for row in controller.rows("notification_templates")] == ["mlops-lab of a colleague"]
    again = checkout.apply(controller, "-e", json.dumps(fewer))
    assert again.returncode == 0 and changed(again.stdout) == 0, again.stdout


@pytest.mark.deep
def test_a_project_that_was_not_updated_stays_red_and_says_why(checkout: Checkout, declared: Controller) -> None:
    project = declared.named("projects", "mlops-lab playbooks")
    declared.unreachable = "Failed to download remote objects and refs: fatal: repository 'https://git.example.com/x.git/' not found"
    declared.update_project(project)
    for options in ((), ("--check",), ()):
        done = checkout.apply(declared, "-e", OPTIONS, *options)
        assert done.returncode != 0 and "could not get the playbooks of project mlops-lab playbooks" in done.stdout, done.stdout
        assert "fatal: repository 'https://git.example.com/x.git/' not found" in " ".join(done.stdout.split())
    declared.unreachable = ""
    done = checkout.apply(declared, "-e", OPTIONS)
    assert done.returncode == 0 and project["status"] == "successful", done.stdout


@pytest.mark.deep
def test_removed_with_one_variable_and_nothing_else(checkout: Checkout, declared: Controller) -> None:
    declared.make("organizations", {"name": "another"})
    arguments = ("-e", OPTIONS, "-e", "awx_state=absent")
    done = checkout.apply(declared, *arguments)
    assert done.returncode == 0, done.stdout
    left = {table: [row.get("name", row.get("username")) for row in rows.values()] for table, rows in declared.tables.items() if rows}
    assert left == {"credential_types": list(BUILT_IN), "users": ["ada"], "organizations": ["another"]}
    done = checkout.apply(declared, *arguments)
    assert done.returncode == 0 and changed(done.stdout) == 0, done.stdout


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ("awx_project_url=https://user:pass@git.example.com/x.git", "awx_project_url holds credentials"),
        ("awx_vault_file=/nowhere", "awx_vault_file is '/nowhere', which is not there or not encrypted"),
        ("awx_job_timeout=0", "awx_job_timeout is 0"),
        ("lab_name=lab2", "lab_name has another value here than in"),
        ('{"lab_airflow_port": 9090}', "lab_airflow_port has another value here than in"),
        ("awx_state=gone", "value of awx_state must be one of: present, absent"),
    ],
)
def test_bad_values_stop_before_the_first_request(checkout: Checkout, controller: Controller, values: str, sentence: str) -> None:
    done = checkout.apply(controller, "-e", values)
    assert done.returncode != 0 and sentence in done.stdout, done.stdout
    assert controller.changes == []


@pytest.mark.parametrize(
    ("host", "token", "words"),
    [
        ("", TOKEN, "No controller is named, and none answers where the modules look for one"),
        ("http://127.0.0.1:9", TOKEN, "The controller http://127.0.0.1:9 cannot be used"),
        ("here", "wrong", "cannot be used (Invalid authentication credentials"),
    ],
)
def test_a_controller_that_is_missing_is_one_sentence(checkout: Checkout, controller: Controller, host: str, token: str, words: str) -> None:
    for state in ("present", "absent"):
        done = checkout.apply(replace(controller, url=controller.url if host == "here" else host), "-e", f"awx_state={state}", CONTROLLER_OAUTH_TOKEN=token)
        assert done.returncode != 0 and words in " ".join(done.stdout.split()), done.stdout
        assert done.stdout.count("fatal: ") == 1 and "CONTROLLER_OAUTH_TOKEN" in done.stdout
