"""Every argument of every task of the role, against the argument specification of its module."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.conftest import ROOT

ROLE = ROOT / "roles/awx"
GIVEN: dict[str, Any] = {
    "awx_project_url": "https://git.example.com/lab.git",
    "awx_execution_environment_image": "registry.example.com/lab:1",
    "awx_execution_environment_credential": "registry",
    "awx_project_credential": "git",
    "awx_inventory_files": [],
    "awx_inventory_overrides": {"lab_name": "lab"},
    "awx_groups": {"lab_control": ["vm1"]},
    "awx_host_variables": {"vm1": {"ansible_user": "admin"}},
    "awx_vault_names": ["vault_a", "vault_nexus_user"],
    "awx_vault_password": "x",
    "awx_nexus_user": "reader",
    "awx_nexus_pass": "x",
    "awx_machine_user": "admin",
    "awx_launch_users": ["ada"],
    "awx_notifications": [{"name": "chat", "type": "webhook", "configuration": {"url": "https://chat.example.com"}, "events": ["error"]}],
    "awx_backup_schedule": "DTSTART:20270101T030000Z RRULE:FREQ=DAILY",
    "__awx_hosts_there": ["gone"],
    "__awx_groups_there": ["gone"],
    "__awx_nodes_there": [{"identifier": "gone"}],
    "__awx_notifications_there": ["mlops-lab gone"],
    "__awx_kept": [],
    "__awx_vault": "$ANSIBLE_VAULT;1.1;AES256",
    "__awx_types": {"results": []},
    "__awx_removable": [{"name": "a", "type": "Vault"}],
    "__awx_notification_secret": False,
    "ansible_check_mode": False,
    "omit": "__omitted__",
    "role_path": str(ROLE),
}


def tasks_of(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a file, those in blocks too."""
    for entry in entries:
        yield from tasks_of(entry["block"]) if "block" in entry else [entry]


TASKS = [
    (path.stem, task["name"], next(key for key in task if key.startswith("awx.awx.")), task)
    for path in sorted((ROLE / "tasks").glob("*.yml"))
    for task in tasks_of(yaml.safe_load(path.read_text(encoding="utf-8")))
    if any(key.startswith("awx.awx.") for key in task)
]


class Specification(Exception):
    """Carries what a module says about its arguments, out of the module before it does anything."""


def specification(module: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the keywords with which the module makes itself: its argument specification and rules between arguments."""
    imported = importlib.import_module(f"ansible_collections.awx.awx.plugins.modules.{module}")

    def catch(_self: object, argument_spec: dict[str, Any], **keywords: Any) -> None:
        raise Specification({"argument_spec": argument_spec, **keywords})

    monkeypatch.setattr(imported.ControllerAPIModule, "__init__", catch)
    with pytest.raises(Specification) as caught:
        imported.main()
    found: dict[str, Any] = caught.value.args[0]
    return found


@pytest.mark.parametrize(("file", "name", "module", "task"), TASKS, ids=[f"{file}: {name}" for file, name, _module, _task in TASKS])
def test_arguments_fit(file: str, name: str, module: str, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for path in [ROLE / "defaults/main.yml", *sorted((ROLE / "vars/main").glob("*.yml"))]:
        variables.update(loader.load_from_file(str(path), trusted_as_template=True))
    variables.update(GIVEN)
    trusted = {entry["name"]: entry for entry in tasks_of(loader.load_from_file(str(ROLE / f"tasks/{file}.yml"), trusted_as_template=True))}[name]
    loop = Templar(loader=loader, variables=variables).template(trusted["loop"]) if "loop" in trusted else [None]
    assert loop, "nothing to check"
    spec = specification(module.removeprefix("awx.awx."), monkeypatch)
    rules = {key: value for key, value in spec.items() if key in ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")}
    validator = ModuleArgumentSpecValidator(spec["argument_spec"], **rules)
    for item in loop:
        templar = Templar(loader=loader, variables={**variables, trusted.get("loop_control", {}).get("loop_var", "item"): item})
        arguments = {key: templar.template(value) for key, value in trusted[module].items()}
        result = validator.validate({key: value for key, value in arguments.items() if value != GIVEN["omit"]})
        assert not result.error_messages, f"{item}: {result.error_messages}"


def test_every_kind_of_definition_is_data() -> None:
    assert {path.stem for path in (ROLE / "vars/main").glob("*.yml")} >= {
        *("organization", "project", "inventory", "execution_environment", "credential_types", "credentials", "surveys", "job_templates", "workflow"),
    }
    assert Path(ROLE / "vars/main/surveys.yml").read_text(encoding="utf-8").count("question_name") >= 8
