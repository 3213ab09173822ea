"""Run what a controller holds with ansible-runner, as AWX does it (awx/main/tasks/jobs.py).

A private directory for each job: the project, the inventory as a script, the files of the credentials and the answers of the survey as extra
variables, each marked as no template; the password of the vault is typed at a prompt. The environment is the job's own: a home directory
that does not exist, no terminal, nothing of the person who tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.awx.controller import Controller, Row
from tests.conftest import BIN


@dataclass(frozen=True)
class Job:
    """What a job ended with."""

    returncode: int
    output: str
    folder: Path  # the private directory
    artifacts: Path
    events: list[Row]
    written: list[str]  # files of the project that the job changed

    def messages(self) -> str:
        """Return what the failed tasks said."""
        return "\n".join(str(event["event_data"].get("res", {}).get("msg", "")) for event in self.events if event["event"] == "runner_on_failed")

    def files(self) -> list[Path]:
        """Return every file that the job left where the controller collects it."""
        return [path for path in self.artifacts.rglob("*") if path.is_file()]


@dataclass(frozen=True)
class Prepared:
    """A private directory that is ready: the playbook, its inventory and options, and what is typed at its prompts (by regular expression)."""

    folder: Path
    seen: Path  # the same as the job sees it
    playbook: str
    inventory: Path
    options: list[str]
    prompts: dict[str, str]


def digests(folder: Path) -> dict[str, str]:
    """Return the files of a directory with their digests, without what Python compiles by itself."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts
    }


def survey_answers(controller: Controller, template: Row, given: dict[str, Any]) -> dict[str, Any]:
    """Return the extra variables of a launch from the form: every question is answered, by its default where nothing was typed."""
    survey = controller.surveys.get(template["related"]["survey_spec"], {"spec": []})
    answers = {question["variable"]: question["default"] for question in survey["spec"]}
    assert given.keys() <= answers.keys(), f"{template['name']} does not ask for {given.keys() - answers.keys()}"
    return {**answers, **given}


def write_inventory(controller: Controller, inventory: Row, folder: Path) -> Path:
    """Write the inventory as the script that AWX makes of it."""
    hosts = [host for host in controller.rows("hosts") if host["inventory"] == inventory["id"]]
    groups = [group for group in controller.rows("groups") if group["inventory"] == inventory["id"]]
    data = {
        "all": {"hosts": [host["name"] for host in hosts], "vars": json.loads(inventory["variables"])},
        **{group["name"]: {"hosts": [host["name"] for host in controller.listed(group, "hosts")]} for group in groups},
        "_meta": {"hostvars": {host["name"]: json.loads(host.get("variables") or "{}") for host in hosts}},
    }
    path = folder / "inventory" / "hosts"
    path.parent.mkdir()
    path.write_text(f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(data)!r})\n", encoding="utf-8")
    path.chmod(0o500)
    return path


def write_extra_variables(values: Row, path: Path) -> Path:
    """Write variables that no template may hide in."""
    lines = [f"{name}: {'!unsafe ' if isinstance(value, str) else ''}{json.dumps(value)}\n" for name, value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")
    path.chmod(0o440)
    return path


def inject(controller: Controller, template: Row, folder: Path, seen: Path) -> tuple[list[str], dict[str, str]]:
    """Put the credentials of a job template where its job finds them; returns options of ansible-playbook and answers to its prompts."""
    options: list[str] = []
    prompts: dict[str, str] = {}
    user = "root"
    for number, credential in enumerate(controller.listed(template, "credentials")):
        kind, inputs = controller.tables["credential_types"][credential["credential_type"]], credential.get("inputs", {})
        if kind["name"] == "Machine":
            user = inputs.get("username", user)
            if "ssh_key_data" in inputs:
                (folder / "env" / "ssh_key").write_text(inputs["ssh_key_data"], encoding="utf-8")
                (folder / "env" / "ssh_key").chmod(0o400)
        elif kind["name"] == "Vault":
            options.append("--ask-vault-pass")
            prompts[r"Vault password:\s*?$"] = inputs["vault_password"]
        else:
            sandbox, tower = ImmutableSandboxedEnvironment(), SimpleNamespace()
            secret = folder / "env" / f"credential{number}"
            secret.write_text(sandbox.from_string(kind["injectors"]["file"]["template"]).render(**inputs), encoding="utf-8")
            secret.chmod(stat.S_IRUSR | stat.S_IWUSR)
            tower.filename = str(seen / "env" / secret.name)
            values = {name: sandbox.from_string(text).render(tower=tower, **inputs) for name, text in kind["injectors"]["extra_vars"].items()}
            options += ["-e", f"@{seen / 'env' / write_extra_variables(values, folder / 'env' / f'variables{number}').name}"]
            assert "env" not in kind["injectors"], "a secret in the environment is seen by every process of the job"
    return ["-u", user, *options], prompts


def prepare(
    controller: Controller, verb: str, project: Callable[[Path], None], folder: Path, answers: dict[str, Any] | None = None, seen: Path | None = None
) -> Prepared:
    """Make the private directory of a job of a verb's template.

    Args:
        controller: what was declared.
        verb: the last word of the template's name.
        project: writes the project's files into a directory.
        folder: the private directory, which must not exist.
        answers: what was typed into the form.
        seen: the directory as the job sees it, where that is a container.
    """
    template = next(row for row in controller.rows("job_templates") if row["name"].endswith(f" {verb}"))
    (folder / "env").mkdir(parents=True)
    project(folder / "project")
    options, prompts = inject(controller, template, folder, seen or folder)
    meta = {f"{prefix}_{name}": "1" for prefix in ("awx", "tower") for name in ("job_id", "job_template_id", "user_id", "inventory_id")}
    meta |= {"awx_job_template_name": template["name"], "awx_job_launch_type": "manual", "awx_project_revision": "0", "awx_user_name": "admin"}
    of_template = json.loads(template.get("extra_vars") or "{}")
    write_extra_variables({**of_template, **survey_answers(controller, template, answers or {}), **meta}, folder / "env" / "extravars")
    inventory = write_inventory(controller, controller.tables["inventories"][template["inventory"]], folder)
    return Prepared(folder, seen or folder, template["playbook"], inventory, options, prompts)


def launch(prepared: Prepared, check: bool = False, timeout: float = 900, image: str = "") -> Job:
    """Run a job with ansible-runner, as a dry run with `check`, in a container of an `image` or in none; `timeout` in seconds."""
    folder, seen = prepared.folder, prepared.seen
    collections = "collections:~/.ansible/collections:/usr/share/ansible/collections"  # the project's own setting comes after what was synchronised
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": f"{seen}/requirements_collections:{collections}",
        "ANSIBLE_FORCE_COLOR": "True",
        "ANSIBLE_HOST_KEY_CHECKING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{seen}/cp",
        "AWX_PRIVATE_DATA_DIR": str(seen),
        "JOB_ID": "1",
        "INVENTORY_ID": "1",
        "PROJECT_REVISION": "0",
        "HOME": str(seen / "home-of-nobody"),
    }
    (folder / "env" / "envvars").write_text(json.dumps(environment), encoding="utf-8")
    (folder / "env" / "passwords").write_text(json.dumps(prepared.prompts), encoding="utf-8")
    before = digests(folder / "project")
    for path in [folder / "project", *(path for path in (folder / "project").rglob("*") if not path.is_symlink())]:
        path.chmod(path.stat().st_mode & ~0o222)  # root writes all the same: what was written is compared, too
    command = [str(BIN / "ansible-runner"), "run", str(folder), "--ident", "1", "--playbook", prepared.playbook]
    if image:
        command += ["--process-isolation", "--process-isolation-executable", "docker", "--container-image", image]
    command += ["--cmdline", shlex.join([*prepared.options, *(["--check"] if check else [])])]
    done = subprocess.run(
        command,
        env={"PATH": f"{BIN}{os.pathsep}{os.defpath}", "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # no terminal
        timeout=timeout,
        check=False,
    )
    after = digests(folder / "project")
    written = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    artifacts = folder / "artifacts" / "1"
    events = [json.loads(path.read_text(encoding="utf-8")) for path in (artifacts / "job_events").glob("*.json")]
    return Job(done.returncode, done.stdout, folder, artifacts, sorted(events, key=lambda event: event["counter"]), written)
