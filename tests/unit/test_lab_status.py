"""What `make status` says of containers, disks, certificates and Airflow."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.modules import lab_status

from tests.conftest import ROOT, run_tool
from tests.unit.authorities import certify

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SYSTEMS = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))["lab_systems"]
COMMANDS = {"start": "make lab", "logs": "make logs SERVICE="}
PARAMS: dict[str, Any] = {
    **{"projects": ["lab"], "systems": {}, "groups": [], "paths": ["/"], "full": 101, "certificates": "", "airflow_url": ""},
    "commands": {"start": "make lab", "logs": ""},
}


def container(name: str, status: str, health: str = "", code: int = 0, started: str = "2026-11-26T09:00:00.123456789Z", restarts: int = 0) -> dict[str, Any]:
    """Return what `docker inspect` says of a container of project lab, which began at a time and, if it does not run, ended at ten o'clock."""
    state = {"Status": status, "ExitCode": code, "StartedAt": started, **({"Health": {"Status": health}} if health else {})}
    state["FinishedAt"] = "2026-11-26T10:00:00Z" if status == "exited" else "0001-01-01T00:00:00Z"
    labels = {"com.docker.compose.service": name, "com.docker.compose.project": "lab"}
    return {"Name": f"/lab-{name}-1", "State": state, "RestartCount": restarts, "Config": {"Labels": labels}}


def test_containers_are_told_with_their_state_and_what_is_ill_with_its_log() -> None:
    found = [
        container("worker", "running", "unhealthy"),
        container("redis", "running", "healthy", restarts=2),
        container("init", "exited"),
        container("flower", "exited", code=137),
        container("new", "created"),
        container("nginx", "running", started="2026-11-26T11:59:50Z"),
    ]
    lines, problems = lab_status.container_lines(found, [], NOW, COMMANDS)
    assert [" ".join(line.split()) for line in lines] == [
        "lab-flower-1 - exited with code 137 2 hours ago",
        "lab-new-1 - created with code 0",
        "lab-nginx-1 - running for 10 seconds",
        "lab-redis-1 healthy running for 3 hours, restarted 2 times",
        "lab-worker-1 unhealthy running for 3 hours",
    ]
    assert problems == [
        "lab-flower-1 is exited: make logs SERVICE=flower",
        "lab-new-1 is created: make logs SERVICE=new",
        "lab-worker-1 is unhealthy: make logs SERVICE=worker",
    ]
    unnamed = {"start": "", "logs": ""}
    assert lab_status.container_lines(found[:1], [], NOW, unnamed)[1] == ["lab-worker-1 is unhealthy."]


def test_what_was_stopped_without_an_error_and_what_is_missing_is_a_problem() -> None:
    """But not what is to run once."""
    wanted = [("lab", "worker"), ("lab", "redis"), ("lab", "flower")]
    lines, problems = lab_status.container_lines(
        [container("worker", "exited"), container("redis", "running"), container("init", "exited")], wanted, NOW, COMMANDS
    )
    assert [" ".join(line.split()) for line in lines] == ["lab-redis-1 - running for 3 hours", "lab-worker-1 - stopped 2 hours ago", "lab-flower - missing"]
    assert problems == ["lab-worker-1 is stopped: `make lab` starts it.", "Service flower of lab is missing: `make lab` starts it."]


def test_a_lab_that_was_stopped_is_one_sentence() -> None:
    lines, problems = lab_status.container_lines([container("worker", "exited")], [("lab", "worker"), ("lab", "redis")], NOW, COMMANDS)
    assert len(lines) == 2 and problems == ["Nothing of the lab runs here: `make lab` starts it."]
    died = lab_status.container_lines([container("worker", "exited", code=1)], [("lab", "worker"), ("lab", "redis")], NOW, COMMANDS)
    assert died[1] == ["lab-worker-1 is exited: make logs SERVICE=worker", "Service redis of lab is missing: `make lab` starts it."]


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        (["lab_workers"], {"environments environments", "airflow airflow-worker"}),
        (["lab_builder"], set()),
    ],
)
def test_a_host_has_the_services_of_its_groups(groups: list[str], wanted: set[str]) -> None:
    systems = {name: {**system, "project": name, "own": name != "workbench"} for name, system in SYSTEMS.items()}
    assert {" ".join(one) for one in lab_status.expected(systems, groups)} == wanted


def test_a_control_host_has_a_worker_if_it_is_one_and_what_the_lab_does_not_run_is_not_wanted() -> None:
    systems = {name: {**system, "project": name, "own": name not in ("workbench", "mlflow")} for name, system in SYSTEMS.items()}
    control = {" ".join(one) for one in lab_status.expected(systems, ["lab_control"])}
    assert {"airflow airflow-scheduler", "airflow postgres", "environments environments", "models runner", "gateway gateway", "index devpi"} <= control
    assert not [one for one in control if one.startswith(("workbench", "mlflow")) or one in ("airflow airflow-init", "airflow airflow-worker")]
    both = {" ".join(one) for one in lab_status.expected(systems, ["lab", "lab_control", "lab_workers"])}
    assert both - control == {"airflow airflow-worker"} and control <= both


def test_a_certificate_is_told_with_its_end_and_named_when_that_is_near(tmp_path: Path) -> None:
    certify(tmp_path / "c", "192.0.2.7", days=40.5)
    lines, problems = lab_status.certificate_lines(str(tmp_path / "c"), "192.0.2.7", 30, "make lab")
    assert re.fullmatch(r"certificate of 192\.0\.2\.7 +until \d{4}-\d\d-\d\d, 40 days", lines[0]) and problems == []
    near = lab_status.certificate_lines(str(tmp_path / "c"), "192.0.2.7", 41, "make lab")[1]
    assert near == ["The certificate of 192.0.2.7 ends in 40 days: `make lab` makes another."]
    certify(tmp_path / "old", "192.0.2.7", days=-1)
    lines, problems = lab_status.certificate_lines(str(tmp_path / "old"), "192.0.2.7", 30, "make lab")
    assert lines[0].endswith("not valid") and problems[0].endswith("certificate has expired: `make lab` makes another.")


def test_a_file_system_is_told_once_and_named_when_it_is_full(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    paths = [str(tmp_path), str(tmp_path / "below"), str(tmp_path / "nowhere")]
    lines, problems = lab_status.disk_lines(paths, full=101)
    assert len(lines) == 1 and "GiB free" in lines[0] and problems == []
    assert lab_status.disk_lines(paths, full=0)[1][0].startswith(f"The disk of {tmp_path} is ")


def test_a_machine_without_the_lab_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one on which nothing of it is to run is well."""
    monkeypatch.setattr(lab_status, "containers", lambda _projects: [])
    params = {**PARAMS, "airflow_url": "http://127.0.0.1:9"}
    assert lab_status.look(params) == ([], ["Nothing of the lab runs here: `make lab` starts it."])
    assert lab_status.look({**params, "commands": {"start": "", "logs": ""}}) == ([], ["Nothing of the lab runs here."])
    systems = {"index": {"own": False, "project": "index", "hosts": ["lab_builder"], "services": ["devpi"]}}
    lines, problems = lab_status.look({**PARAMS, "systems": systems, "groups": ["lab_builder"]})
    assert lines[0].startswith("disk of / ") and problems == []


def test_a_host_of_workers_alone_is_asked_for_its_worker_and_its_certificate(tmp_path: Path) -> None:
    """Through the playbook, with a Docker client that knows one container, of which the worker is not."""
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "/usr/bin/python3"}
    groups = {"lab_control": ["control"], "lab_workers": ["worker1"], "lab_builder": ["control"]}
    hosts = {"control": {**local, "ansible_host": "192.0.2.6"}, "worker1": {**local, "ansible_host": "192.0.2.7"}}
    children = {group: {"hosts": {name: hosts[name] for name in names}} for group, names in groups.items()}
    values = {"vault_airflow_admin_password": "abc", "lab_dir": str(tmp_path)}
    (tmp_path / "hosts.json").write_text(json.dumps({"lab": {"children": children}}), encoding="utf-8")
    certify(tmp_path / "certificates", "192.0.2.7")
    one = container("environments", "running", "healthy")
    one["Config"]["Labels"]["com.docker.compose.project"] = "mlops-lab-environments"
    (tmp_path / "inspect.json").write_text(json.dumps([one]), encoding="utf-8")
    client = tmp_path / "bin/docker"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\ncase "$*" in inspect*) cat {tmp_path}/inspect.json;; *project=mlops-lab-environments) echo x;; esac\n', encoding="utf-8")
    client.chmod(0o755)
    command: list[str | Path] = [
        "ansible-playbook",
        ROOT / "playbooks/status.yml",
        "-i",
        tmp_path / "hosts.json",
        "-e",
        json.dumps(values),
        "--limit",
        "worker1",
    ]
    done = run_tool(command, tmp_path, ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal", PATH=f"{client.parent}:{os.environ['PATH']}")
    assert done.returncode == 2, done.stdout
    start = f"`ansible-playbook mlops.lab.site -i {tmp_path}/hosts.yml`"
    assert "lab-environments-1" in done.stdout and re.search(r"certificate of 192\.0\.2\.7 +until .*, 8 days", done.stdout), done.stdout
    for words in (f"Service airflow-worker of mlops-lab-airflow is missing: {start} starts it.", "The certificate of 192.0.2.7 ends in 8 days:"):
        assert words in done.stdout, done.stdout
    assert "airflow-scheduler" not in done.stdout


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        ("airflow_admin", "\nabc\n"),
        ("fernet", "\nkey\n"),
        ("nothing", "The vault has no credential nothing; -e credential= takes one of airflow_admin, fernet."),
    ],
)
def test_one_password_is_shown(credential: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("lab_control: {hosts: {vm1: {ansible_connection: local}}}\n", encoding="utf-8")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("{vault_airflow_admin_password: abc, vault_fernet: key}\n", encoding="utf-8")
    command: list[str | Path] = ["ansible-playbook", ROOT / "playbooks/password.yml", "-i", tmp_path / "hosts.yml", "-e", f"credential={credential}"]
    output = run_tool(command, tmp_path, ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal").stdout
    assert words in output and ("abc" in output) == (credential == "airflow_admin"), output


def test_whoever_names_no_service_is_told_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("lab_control: {hosts: {vm1: {ansible_connection: local, ansible_become: false}}}\n", encoding="utf-8")
    client = tmp_path / "bin/docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\necho redis lab-redis-1\n", encoding="utf-8")
    client.chmod(0o755)
    more = {"ANSIBLE_STDOUT_CALLBACK": "mlops.lab.terminal", "PATH": f"{client.parent}:{os.environ['PATH']}"}
    for command, words in (("ansible-playbook mlops.lab.VERB", "-e service= says whose log is wanted: redis."), ("make VERB", "SERVICE= says whose")):
        values = {"lab_command": command, "ansible_python_interpreter": "/usr/bin/python3"}
        output = run_tool(["ansible-playbook", ROOT / "playbooks/logs.yml", "-i", tmp_path / "hosts.yml", "-e", json.dumps(values)], tmp_path, **more).stdout
        assert words in output, output
