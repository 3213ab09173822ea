"""What `make status` says of containers, disks and Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.modules import lab_status

from tests.conftest import ROOT, run_tool

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def container(name: str, status: str, health: str = "", code: int = 0, started: str = "2026-11-26T09:00:00.123456789Z", restarts: int = 0) -> dict[str, Any]:
    """Return what `docker inspect` says of a container."""
    state = {"Status": status, "ExitCode": code, "StartedAt": started, **({"Health": {"Status": health}} if health else {})}
    return {"Name": f"/lab-{name}-1", "State": state, "RestartCount": restarts, "Config": {"Labels": {"com.docker.compose.service": name}}}


def test_containers_are_told_with_their_state_and_what_is_ill_with_its_log() -> None:
    found = [
        container("worker", "running", "unhealthy"),
        container("redis", "running", "healthy", restarts=2),
        container("init", "exited"),
        container("flower", "exited", code=137),
        container("nginx", "running", started="2026-11-26T11:59:50Z"),
    ]
    lines, problems = lab_status.container_lines(found, NOW, "make logs SERVICE=")
    assert [" ".join(line.split()) for line in lines] == [
        "lab-flower-1 - exited with code 137",
        "lab-nginx-1 - running for 10 seconds",
        "lab-redis-1 healthy running for 3 hours, restarted 2 times",
        "lab-worker-1 unhealthy running for 3 hours",
    ]
    assert problems == ["lab-flower-1 is exited: make logs SERVICE=flower", "lab-worker-1 is unhealthy: make logs SERVICE=worker"]
    assert lab_status.container_lines(found, NOW, "")[1] == ["lab-flower-1 is exited.", "lab-worker-1 is unhealthy."]


def test_a_file_system_is_told_once_and_named_when_it_is_full(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    paths = [str(tmp_path), str(tmp_path / "below"), str(tmp_path / "nowhere")]
    lines, problems = lab_status.disk_lines(paths, full=101)
    assert len(lines) == 1 and "GiB free" in lines[0] and problems == []
    assert lab_status.disk_lines(paths, full=0)[1][0].startswith(f"The disk of {tmp_path} is ")


def test_a_machine_without_the_lab_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_status, "containers", lambda _projects: [])
    params = {"projects": ["lab"], "paths": ["/"], "full": 90, "airflow_url": "http://127.0.0.1:9", "commands": {"start": "make lab"}}
    assert lab_status.look(params) == ([], ["Nothing of the lab runs here: `make lab` starts it."])
    assert lab_status.look({**params, "commands": {"start": ""}}) == ([], ["Nothing of the lab runs here."])


@pytest.mark.parametrize(
    ("credential", "words"),
    [("airflow_admin", "\nabc\n"), ("fernet", "\nkey\n"), ("nothing", "The vault has no credential nothing; NAME is one of airflow_admin, fernet.")],
)
def test_one_password_is_shown(credential: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("lab_control: {hosts: {vm1: {ansible_connection: local}}}\n", encoding="utf-8")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("{vault_airflow_admin_password: abc, vault_fernet: key}\n", encoding="utf-8")
    command: list[str | Path] = ["ansible-playbook", ROOT / "playbooks/password.yml", "-i", tmp_path / "hosts.yml", "-e", f"credential={credential}"]
    output = run_tool(command, tmp_path, ANSIBLE_STDOUT_CALLBACK="mlops.lab.terminal").stdout
    assert words in output and ("abc" in output) == (credential == "airflow_admin"), output
