#!/usr/bin/env python3
"""Turn the parameters of a Jenkins build into what Ansible reads, or say in one sentence each what is wrong with them.

Usage: ``.venv/bin/python tools/jenkins_parameters.py FOLDER``, in the workspace, with the parameters and the bound credentials in the
environment. It writes

- ``FOLDER/values.yml`` (mode 0600): the extra variables, for ``-e @FOLDER/values.yml``; the credentials of the index are in it
- ``FOLDER/options`` (mode 0600): the other options of every play, one word per line
- ``FOLDER/lock_dir``: the directory with the lock of the image that this inventory builds

and exits with 1 when a parameter is wrong. The sentences are kept in ``reports/mistakes.txt``, too. No host is asked or changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from jenkins_index import GROUP, HOSTED, Wrong, wrong_url

ROOT = Path(__file__).resolve().parent.parent

sys.path.append(str(ROOT / "plugins/plugin_utils"))
from requirement_sources import Entry, Reader, contradictions  # noqa: E402 (the path above comes first)

# The verbs in their order, and names that are no more
VERBS = tuple(play["ansible.builtin.import_playbook"].removesuffix(".yml") for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text("utf-8")))
RENAMED: dict[str, str] = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text("utf-8"))["lab_renamed"]
# Reports of an earlier build in this workspace
STALE = ("lab.json", "mistakes.txt", "description.txt", "junit", "lock", "sbom.json")
# Files of FOLDER, in the order of the docstring
FILES = ("values.yml", "options", "lock_dir")
ASK = "{{ {'custom': airflow_image_custom_requirements | default([]), 'environment': airflow_stack_environment | default({}), "
ASK += "'allowed': airflow_image_allowed_sources | default([]), "
ASK += "'lock_dir': airflow_image_lock_dir | default('')} }}"
# Parts of an option's name whose value is a secret
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|_AUTH$|_CONN$|BROKER_URL|RESULT_BACKEND|_CMD$")

# Options that a form may set: numbers and yes or no that say how much runs at once, how often something is done, and how long it is waited for.
# Everything else (what is open, who may see what, which code runs) is for the inventory, which is reviewed.
OPTIONS = {
    "CELERY": "WORKER_CONCURRENCY WORKER_PREFETCH_MULTIPLIER OPERATION_TIMEOUT SYNC_PARALLELISM TASK_ACKS_LATE TASK_PUBLISH_MAX_RETRIES TASK_TRACK_STARTED",
    "CELERY_BROKER_TRANSPORT_OPTIONS": "VISIBILITY_TIMEOUT",
    "CORE": "PARALLELISM MAX_ACTIVE_RUNS_PER_DAG MAX_ACTIVE_TASKS_PER_DAG MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG MAX_MAP_LENGTH "
    "DEFAULT_POOL_TASK_SLOT_COUNT DEFAULT_TASK_EXECUTION_TIMEOUT DEFAULT_TASK_RETRIES DEFAULT_TASK_RETRY_DELAY DAGBAG_IMPORT_TIMEOUT KILLED_TASK_CLEANUP_TIME",
    "DAG_PROCESSOR": "DAG_FILE_PROCESSOR_TIMEOUT MIN_FILE_PROCESS_INTERVAL PARSING_PROCESSES REFRESH_INTERVAL",
    "SCHEDULER": "JOB_HEARTBEAT_SEC SCHEDULER_HEARTBEAT_SEC SCHEDULER_HEALTH_CHECK_THRESHOLD SCHEDULER_IDLE_SLEEP_TIME MAX_TIS_PER_QUERY "
    "MAX_DAGRUNS_TO_CREATE_PER_LOOP MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE NUM_STUCK_IN_QUEUED_RETRIES TASK_INSTANCE_HEARTBEAT_SEC "
    "TASK_INSTANCE_HEARTBEAT_TIMEOUT TASK_QUEUED_TIMEOUT TASK_QUEUED_TIMEOUT_CHECK_INTERVAL",
    "TRIGGERER": "CAPACITY",
}
ALLOWED = {f"AIRFLOW__{section}__{name}" for section, names in OPTIONS.items() for name in names.split()}


class Unsafe(str):
    """A text that Ansible must not read as a template."""


yaml.SafeDumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


def index(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables of the package index."""
    url, values = given["NEXUS_URL"], dict[str, Any]()
    if url:
        if problem := wrong_url("NEXUS_URL", url):
            raise Wrong(problem)
        if not given["NEXUS_CREDS_ID"]:
            raise Wrong("NEXUS_URL is given but NEXUS_CREDS_ID is empty: write the id of the credential (user name and password) that reads from there.")
        base, repository, _ = url.partition("/repository/")
        values["lab_index_url"] = url.rstrip("/") + "/" if repository else base.rstrip("/") + GROUP
        values["lab_index_upload_url"] = base.rstrip("/") + HOSTED
    for role, user, password in (("", "NEXUS_USER", "NEXUS_PASS"), ("publisher_", "NEXUS_PUBLISHER_USER", "NEXUS_PUBLISHER_PASS")):
        if given[user]:
            values[f"vault_nexus_{role}user"] = Unsafe(given[user])
            values[f"vault_nexus_{role}pass"] = Unsafe(given[password])
    if url and not given["NEXUS_PUBLISHER_USER"]:  # one account does both
        values["vault_nexus_publisher_user"], values["vault_nexus_publisher_pass"] = Unsafe(given["NEXUS_USER"]), Unsafe(given["NEXUS_PASS"])
    return values


def dev_dir(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the variable of the lab's directory on the hosts."""
    path = given["DEV_DIR"]
    if not path:
        return {}
    if not re.fullmatch(r"(/[\w.+-]+){2,}/?", path) or ".." in path.split("/"):
        raise Wrong(f"DEV_DIR is '{path}': write an absolute path of at least two parts and without spaces, as in /opt/mlops-lab.")
    return {"lab_dir": path.rstrip("/")}


def requirements(name: str, value: str | list[str], allowed: list[str]) -> tuple[list[Entry], str]:
    """Return what a parameter of requirements asks for, and the absolute path or the URL when it is one; the role reads an URL itself.

    Args:
        name: the parameter.
        value: what is in it: requirements, one a line, the path of a file in the workspace, or an URL.
        allowed: addresses that the inventory allows packages from.
    """
    source: str | list[str] = value.split("\n") if isinstance(value, str) else value
    where, workspace = "", Path.cwd().resolve()
    if isinstance(value, str) and "\n" not in value:
        if re.match(r"https?://", value):
            source = where = value
        elif Path(value).suffix in (".txt", ".in") or value.startswith(("/", "./", "../", "~")):
            path = Path(value).resolve()  # where a link ends counts, too
            if workspace not in path.parents or not path.exists():
                raise Wrong(f"{name} names the file {value}, which is not in the workspace: commit it, or write the requirements themselves, one a line.")
            source = where = str(path)
    entries, problems = Reader(lambda _variable, _line: name, allowed, "airflow_image_allowed_sources").read(name, source)
    if problems:
        raise Wrong("\n".join(problems).replace(f"{workspace}/", ""))
    return entries, where


def layers(given: Mapping[str, str], inventory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the project's two layers; PROJECT takes its own line's place in the second."""
    values, asked, allowed = dict[str, Any](), dict[str, list[Entry]](), list(inventory.get("allowed") or [])
    for name, variable in (("REQUIREMENTS", "airflow_image_requirements"), ("CUSTOM_REQUIREMENTS", "airflow_image_custom_requirements")):
        if given[name]:
            asked[name], where = requirements(name, given[name], allowed)
            values[variable] = where or [str(entry.requirement) for entry in asked[name]]
    project = given["PROJECT"]
    if project:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.!+]+", project):
            raise Wrong(f"PROJECT is '{project}': write one package and its version, as in wine-cultivars==1.0.1.")
        mine = requirements("PROJECT", [project], [])[0][0]
        others = values.get("airflow_image_custom_requirements", inventory["custom"])
        if isinstance(others, str) and re.match(r"https?://", others):
            raise Wrong("PROJECT is given and the lab's own packages are at an URL: write them into CUSTOM_REQUIREMENTS, one a line, to replace one of them.")
        kept, problems = Reader(lambda variable, _line: variable, allowed).read("airflow_image_custom_requirements of the inventory", others)
        if problems:
            raise Wrong("\n".join(problems))
        values["airflow_image_custom_requirements"] = [str(one.requirement) for one in (*(one for one in kept if one.name != mine.name), mine)]
    elif found := contradictions(entry for entries in asked.values() for entry in entries):
        raise Wrong("\n".join(found))
    return values


def airflow(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables of Airflow's version and of the image below the lab's own."""
    values, version, image = dict[str, Any](), given["AIRFLOW_VERSION"], given["BASE_IMAGE"]
    if version:
        try:
            parsed = Version(version)
        except InvalidVersion:
            parsed = Version("0")
        if not re.fullmatch(r"\d+\.\d+\.\d+", version) or parsed < Version("3.1"):
            raise Wrong(f"AIRFLOW_VERSION is '{version}': write a released version from 3.1.0 on, as in 3.3.2, or nothing for the inventory's.")
        values["lab_airflow_version"] = version
        for lock in ROOT.glob(f"roles/base_images/files/airflow-{version}-python*.txt"):  # images that are built here know one Python each
            values["lab_python_version"] = lock.stem.rpartition("python")[2]
    if image:
        if not re.fullmatch(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", image):
            raise Wrong(f"BASE_IMAGE is '{image}', which is no name of an image: write one, as in registry.example.org/airflow-base:3.3.2.")
        values["airflow_image_base"] = image
    return values


def executor(given: Mapping[str, str], inventory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the executor's options, which are added to those of the inventory."""
    options = dict[str, str]()
    for line in filter(None, map(str.strip, given["EXECUTOR_OPTIONS"].splitlines())):
        name, _, value = (part.strip() for part in line.partition("="))
        if not re.fullmatch(r"AIRFLOW__[A-Z0-9_]+?__[A-Z0-9_]+", name) or not value:
            raise Wrong(f"EXECUTOR_OPTIONS has '{line}': write one option a line, as in AIRFLOW__CELERY__WORKER_CONCURRENCY=8.")
        if SECRET.search(name):
            raise Wrong(f"EXECUTOR_OPTIONS sets {name}, which is a secret: it belongs into the vault of the inventory.")
        if name not in ALLOWED:
            raise Wrong(
                f"EXECUTOR_OPTIONS sets {name}, which a build may not: "
                "write it into airflow_stack_environment of the inventory, or an option of docs/jenkins.md."
            )
        options[name] = value
    values = dict[str, Any]()
    if concurrency := options.pop("AIRFLOW__CELERY__WORKER_CONCURRENCY", ""):
        if not re.fullmatch(r"[1-9]\d{0,2}", concurrency):
            raise Wrong(f"EXECUTOR_OPTIONS sets AIRFLOW__CELERY__WORKER_CONCURRENCY to '{concurrency}': write how many tasks a worker runs at once, 1 to 999.")
        values["airflow_stack_worker_concurrency"] = int(concurrency)
    for name, value in options.items():
        if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?|True|False", value):
            raise Wrong(f"EXECUTOR_OPTIONS sets {name} to '{value}': write a number, True or False.")
    if options:
        values["airflow_stack_environment"] = inventory["environment"] | options
    return values


def verbs(given: Mapping[str, str]) -> dict[str, Any]:
    """Judge the verbs; the Jenkinsfile itself looks which of them were chosen."""
    chosen = given["VERBS"].split()
    if former := [f"{verb} is called {RENAMED[verb]} now" for verb in chosen if verb in RENAMED]:
        raise Wrong(f"VERBS: {', '.join(former)}.")
    if unknown := [verb for verb in chosen if verb not in VERBS]:
        raise Wrong(f"VERBS has '{' '.join(unknown)}': write names from this list with spaces between them: {' '.join(VERBS)}.")
    if not chosen:
        raise Wrong(f"VERBS is empty: write at least one name of {' '.join(VERBS)}.")
    return {}


def no_template(given: Mapping[str, str]) -> dict[str, Any]:
    """Refuse what Ansible would run as a template; a password may hold anything."""
    for name, value in given.items():
        if ("{{" in value or "{%" in value or "{#" in value) and not name.endswith(("_PASS", "_USER")):
            raise Wrong(f"{name} has a template in it ({{{{, {{% or {{#): write the value itself.")
    return {}


def ask(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Ansible's ad-hoc command on the control node alone; both streams come together in ``stdout``."""
    environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    command = [str(Path(sys.executable).parent / "ansible"), *arguments]
    return subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)


def read_inventory(given: Mapping[str, str]) -> dict[str, Any]:
    """Return what the inventory says about the values that parameters are added to.

    Raises:
        Wrong: there is no such inventory, it cannot be read with this vault password, or the limit meets none of its hosts.
    """
    inventory, limit = given["INVENTORY"], given["LIMIT"]
    path = Path(inventory)
    if (
        not re.fullmatch(r"[\w./][\w./+ -]*", inventory)
        or not (Path.cwd().resolve() in path.resolve().parents or (path / "hosts.yml").is_file())
        or not path.exists()
    ):
        raise Wrong(
            f"INVENTORY is '{inventory}', and there is no such path in the workspace, nor a directory with hosts.yml on this agent: "
            "write one, as in inventories/lab."
        )
    done = ask(["lab_builder", "-i", inventory, "--playbook-dir", str(ROOT / "playbooks"), "-m", "ansible.builtin.debug", "-a", f"msg={ASK}"])
    found = re.search(r"=> (\{.*\})", done.stdout, re.S)
    if "Decrypt" in done.stdout or "vault secrets" in done.stdout.lower() or "vault password" in done.stdout.lower():
        raise Wrong(f"VAULT_CREDS_ID: the vault of {inventory} does not open with this credential; choose the secret file that holds its password.")
    if done.returncode or not found:
        if "Could not match supplied host pattern" in done.stdout:
            raise Wrong(f"INVENTORY is '{inventory}', which has no host in the group lab_builder: write an inventory with the lab's groups.")
        # What Ansible says has lines of the file in it.
        raise Wrong(f"INVENTORY is '{inventory}', which cannot be read: `ansible-inventory -i {inventory} --list` says why on the agent.")
    if limit:
        if re.search(r"\s", limit) or limit.startswith(("-", "@")):
            raise Wrong(f"LIMIT is '{limit}': write hosts and groups of the inventory without spaces, as in lab_workers:!lab3.example.org.")
        if ask(["all", "-i", inventory, "--limit", limit, "--list-hosts"]).returncode:
            raise Wrong(f"LIMIT is '{limit}', which meets no host of {inventory}: write names of its hosts or groups.")
    return dict(json.JSONDecoder().raw_decode(found[1])[0]["msg"])


def judge(given: Mapping[str, str]) -> tuple[dict[str, Any], list[str], str, list[str]]:
    """Return the extra variables, the other options, the lock's directory, and one sentence for each mistake."""
    values: dict[str, Any] = {"lab_reports_dir": str(Path.cwd() / "reports")}
    found, mistakes = {"custom": [], "environment": {}, "lock_dir": ""}, list[str]()
    try:
        found = read_inventory(given)
    except Wrong as wrong:
        mistakes.append(str(wrong))
    steps: list[Callable[[], dict[str, Any]]] = [
        lambda: no_template(given),
        lambda: index(given),
        lambda: dev_dir(given),
        lambda: layers(given, found),
        lambda: airflow(given),
        lambda: executor(given, found),
        lambda: verbs(given),
    ]
    for step in steps:
        try:
            values |= step()
        except Wrong as wrong:
            mistakes.append(str(wrong))
    if re.search(r"\s", str(Path.cwd())):
        mistakes.append(f"The workspace {Path.cwd()} has a space in its path, which Python environments do not bear: give the job a name without one.")
    options = ["--limit", given["LIMIT"]] if given["LIMIT"] else []
    options += ["--check", "--diff"] if given["DRY_RUN"] == "true" else []
    return values, options, str(found["lock_dir"]), mistakes


def write(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def main(arguments: list[str]) -> int:
    """Run as in the module's docstring."""
    folder, reports = Path(arguments[0]), Path("reports")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    reports.mkdir(exist_ok=True)
    for name in STALE:
        shutil.rmtree(reports / name, ignore_errors=True) if (reports / name).is_dir() else (reports / name).unlink(missing_ok=True)
    values, options, lock_dir, mistakes = judge(Given(os.environ))
    if mistakes:
        (reports / "mistakes.txt").write_text("\n".join(mistakes) + "\n", encoding="utf-8")
        print("\n".join(mistakes), file=sys.stderr)
        return 1
    for name, text in zip(FILES, (yaml.safe_dump(values), "\n".join(options), lock_dir), strict=True):
        write(folder / name, text)
    shown = {name: value for name, value in values.items() if not name.startswith("vault_")}
    print(f"Set by this build: {json.dumps(shown, indent=2)}")
    return 0


class Given(dict[str, str]):
    """The parameters and bound credentials in an environment: browsers send CR LF, people leave spaces, and what is not there is empty."""

    NAMES = (
        *("NEXUS_URL", "NEXUS_CREDS_ID", "NEXUS_USER", "NEXUS_PASS", "NEXUS_PUBLISHER_USER", "NEXUS_PUBLISHER_PASS", "DEV_DIR", "REQUIREMENTS"),
        *("CUSTOM_REQUIREMENTS", "PROJECT", "AIRFLOW_VERSION", "BASE_IMAGE", "EXECUTOR_OPTIONS", "INVENTORY", "LIMIT", "VERBS", "DRY_RUN"),
    )

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take what is ours from an environment."""
        for name in self.NAMES:
            value = environment.get(name, "")
            self[name] = value if name.endswith("_PASS") else value.replace("\r\n", "\n").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
