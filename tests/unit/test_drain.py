"""What `drain` and `remove_worker` refuse, and how a worker is drained, with a Docker client that answers as the real one does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run
from tests.unit.plays import Done, play

DRAIN = {"ansible.builtin.include_tasks": str(ROOT / "playbooks/tasks/drain_worker.yml")}
DOCKER = """\
#!/bin/sh
echo "$*" >>"$0.log"
case $1 in
  ps) case $* in *--all*) echo "worker Exited" ;; *) printf '%s' "{running}" ;; esac ;;
  stop) sleep 1; for last; do :; done; echo "$last" ;;
  inspect) echo {code} ;;
  version) echo 26.1.5 ;;
esac
"""
HOSTS = {"lab_control": ["control"], "lab_builder": ["control"], "lab_workers": ["control", "worker2", "worker3"]}


class Host:
    """A host whose Docker client is a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def drain(self, running: str, code: int, *options: str, tasks: Iterable[dict[str, Any]] = (DRAIN,), **values: Any) -> Done:
        """Drain a host with these running workers, which end with this code; or run other tasks there."""
        docker = self.folder / "docker"
        docker.write_text(DOCKER.replace("{running}", running).replace("{code}", str(code)), encoding="utf-8")
        docker.chmod(0o755)
        known = {
            "lab_systems": {"airflow": {"project": "my-lab-airflow"}},
            "lab_queues": {"localhost": ["default"], "worker2": ["default"]},
            "airflow_stack_worker_queues": ["default"],
            "ansible_connection": "local",
        }
        return play(self.folder, [*tasks], "-e", json.dumps({**known, **values}), *options, PATH=f"{self.folder}{os.pathsep}{os.environ['PATH']}")

    def calls(self) -> list[str]:
        """Return what the client was asked to do."""
        return [line for line in (self.folder / "docker.log").read_text(encoding="utf-8").splitlines() if not line.startswith(("ps", "inspect"))]


@pytest.mark.parametrize(
    ("code", "values", "stop", "sentences"),
    [
        (0, {}, "stop worker", ["The worker on localhost ended by itself after ", ", and its tasks before it (exit code 0)."]),
        (
            137,
            {"drain_timeout": 5},
            "stop -t 5 worker",
            ["The worker on localhost was killed after ", ", with the tasks that still ran (exit code 137)."],
        ),
        (3, {"airflow_stack_worker_queues": ["default", "gpu"]}, "stop worker", ["with exit code 3", "No other worker takes tasks from gpu: what"]),
    ],
)
def test_a_worker_is_stopped_and_how_it_ended_is_told(tmp_path: Path, code: int, values: dict[str, Any], stop: str, sentences: list[str]) -> None:
    host = Host(tmp_path)
    done = host.drain("worker", code, **values)
    assert done.returncode == 0, done.output
    assert host.calls() == [stop]
    assert [sentence for sentence in sentences if sentence not in done.output] == [], done.output
    assert ("No other worker" in done.output) == ("airflow_stack_worker_queues" in values)


def test_a_builder_that_was_a_worker_loses_it_with_its_secrets_and_keeps_its_results(tmp_path: Path) -> None:
    (wanted,) = (
        play for play in yaml.safe_load((ROOT / "playbooks/provision.yml").read_text()) if "lab_builder:!lab_control:!lab_workers" in play.get("hosts", "")
    )
    tasks = wanted["tasks"][0]["block"]
    for task in tasks:
        if file := task.pop("ansible.builtin.import_tasks", ""):
            task["ansible.builtin.include_tasks"] = str(ROOT / "playbooks" / file)
    workers = ["lab_control", "lab_workers"]
    lab = {"environments": workers, "airflow": workers, "registry": ["lab_control"]}
    systems = {name: {"project": f"my-lab-{name}", "dir": str(tmp_path / "lab it" / name), "hosts": groups} for name, groups in lab.items()}
    files = ("airflow/secrets/redis", "airflow/compose.yml", "airflow/.env", "airflow/output/run/result", "environments/secrets/x", "registry/secrets/y")
    for file in files:
        (tmp_path / "lab it" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lab it" / file).touch()
    host = Host(tmp_path)
    done = host.drain("worker", 0, tasks=[{"block": tasks, "vars": wanted["vars"]}], lab_systems=systems)
    assert done.returncode == 0, done.output
    left = {path.relative_to(tmp_path / "lab it").as_posix() for path in (tmp_path / "lab it").rglob("*") if path.is_file()}
    assert left == {"airflow/output/run/result", "registry/secrets/y"}
    down = "compose --project-name my-lab-{} down --remove-orphans"
    assert [call for call in host.calls() if "ps" not in call and "version" not in call] == ["stop worker", down.format("airflow"), down.format("environments")]


def test_check_mode_says_what_would_be_stopped(tmp_path: Path) -> None:
    host = Host(tmp_path)
    done = host.drain("worker", 0, "--check")
    assert (done.returncode, host.calls()) == (0, []), done.output
    assert "The worker on localhost would be stopped: worker." in done.output


def test_a_host_whose_worker_is_drained_already_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    done = host.drain("", 0)
    assert (done.returncode, host.calls()) == (0, []), done.output
    assert '"No worker runs on localhost."' in done.output and "changed=1 " in done.output  # the file of the test itself


@pytest.mark.parametrize(
    ("verb", "limit", "sentence"),
    [
        ("drain", "", "LIMIT=worker3` drains one,"),
        ("drain", "control,worker9", "worker9 is not in lab_workers, so it has no worker to drain: name one of control, worker2, worker3."),
        ("remove_worker", "", "LIMIT=worker3` removes one,"),
        ("remove_worker", "worker2,control", "control is in lab_control and in lab_builder, and the other hosts need what runs there"),
    ],
)
def test_what_would_stop_more_than_was_meant_is_refused(tool: Run, tmp_path: Path, verb: str, limit: str, sentence: str) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$*" >>"$0.log"\n', encoding="utf-8")
    docker.chmod(0o755)
    hosts = {name: {"hosts": dict.fromkeys([*members, *(["worker9"] if name == "lab_control" else [])])} for name, members in HOSTS.items()}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"lab": {"children": hosts}}), encoding="utf-8")
    values = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "/usr/bin/python3"}
    values |= {"lab_lock_file": str(tmp_path / "lab.lock"), "lab_staging_dir": str(tmp_path / "staging"), "lab_dir": str(tmp_path / "opt/lab")}
    values |= {"ansible_async_dir": str(tmp_path / "async"), "ansible_remote_tmp": str(tmp_path / "remote")}
    done = tool(
        ["ansible-playbook", f"mlops.lab.{verb}", "-i", inventory, *(["--limit", limit] if limit else []), "-e", json.dumps(values)],
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    )
    assert done.returncode != 0 and sentence in " ".join(done.stdout.split()), done.stdout
    asked = (tmp_path / "docker.log").read_text(encoding="utf-8").splitlines() if (tmp_path / "docker.log").exists() else []
    assert [line for line in asked if not line.startswith("version")] == []
