"""What goes wrong ends in one clear sentence, leaves nothing behind, and the next run is none the worse for it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.conftest import BIN, ROOT, environment, run_tool
from tests.testinfra.test_secrets import PATTERN, hits

OWN_INDEX = "http://127.0.0.1:8081/repository/pypi-all/simple/"
TOUCHED = ("/tmp", "/run", "/dev/shm", "/root", "/home", "/var/log", "/var/tmp", "/opt/mlops-lab/package_index")


def play(name: str, *arguments: str, variables: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one play of the lab at the test host, at -vvv."""
    extra = ["-e", json.dumps(variables)] if variables else []
    return run_tool(["ansible-playbook", "-i", "molecule/inventory", f"playbooks/{name}.yml", "-vvv", *extra, *arguments], MOLECULE_PROJECT_DIRECTORY=str(ROOT))


@pytest.fixture
def tidy(host: Host) -> Iterator[None]:
    """After the test the host holds neither staging directory nor credential, and the same images and containers as before."""
    question = "docker ps -aq --no-trunc | sort; docker image ls -q --no-trunc | sort"
    before = host.check_output(question)
    yield
    assert not host.file("/dev/shm/mlops-lab").exists
    assert hits(host, *TOUCHED) == []
    assert host.check_output(question) == before


CASES = [
    pytest.param(
        "publish",
        {"lab_index_url": OWN_INDEX, "lab_index_upload_url": "http://127.0.0.1:8081/repository/pypi-internal/", "vault_nexus_pass": "wrong-password"},
        r"401.*(lab_index_url|package_index_url|vault_nexus_pass)|vault_nexus_pass.*401",
        id="wrong password of the index",
    ),
    pytest.param(
        "publish",
        {"lab_index_url": "http://127.0.0.1:9/simple/", "lab_index_upload_url": "http://127.0.0.1:9/"},
        r"127\.0\.0\.1:9/simple.*refused",
        id="index down",
    ),
    pytest.param(
        "build",
        {"airflow_image_requirements": ["there-is-no-such-package-zq"], "airflow_image_lock_dir": "/nonexistent/locks"},
        r"requirements cannot be resolved.*\n.*\n.*there-is-no-such-package-zq was not found",
        id="requirement that does not exist",
    ),
    pytest.param(
        "build",
        {"airflow_image_providers": ["there-is-no-such-provider-zq"]},
        r"(?s)could not be built.*there-is-no-such-provider-zq was not found",
        id="build that fails in the middle",
        marks=pytest.mark.deep,  # that of the requirements is of the same kind
    ),
    pytest.param(
        "preflight",
        {"lab_airflow_port": 22022, "preflight_min_memory_mb": 10**9, "airflow_stack_prot": 8080, "vault_flower_password": ""},
        r"(?s)(?=.*22022[^\n]*lab_airflow_port)(?=.*Memory is \d+ MB, the lab needs \d+ MB)(?=.*airflow_stack_prot[^\n]*airflow_stack_port)"
        r"(?=.*vault_flower_password)",
        id="port taken, too little memory, misspelt variable and empty credential, all at once",
    ),
]


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize(("name", "variables", "sentence"), CASES)
def test_one_clear_sentence(host: Host, name: str, variables: dict[str, Any], sentence: str) -> None:
    holder = None
    if variables.get("lab_airflow_port"):
        holder = host.check_output("nohup python3 -m http.server 22022 --bind 127.0.0.1 >/dev/null 2>&1 & echo $!")
    try:
        done = play(name, variables=variables)
    finally:
        if holder:
            host.run(f"kill {holder}")
    assert done.returncode != 0
    assert re.search(sentence, done.stdout), done.stdout[-3000:]
    assert not re.findall(f".*(?:{PATTERN}).*", done.stdout)
    assert "Traceback" not in done.stdout


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_interrupted_leaves_no_credential(host: Host, tmp_path: Path, how: signal.Signals) -> None:
    """Ansible is stopped while the build runs with its secrets; then `clean` runs, as `make lab` does by itself after Ctrl-C."""
    variables = {"airflow_image_requirements": [f"mlflow-skinny==3.17.2; implementation_name != '{how.name}'"], "airflow_image_lock_dir": str(tmp_path)}
    running = subprocess.Popen(
        [BIN / "ansible-playbook", "-i", "molecule/inventory", "playbooks/build.yml", "-e", json.dumps(variables)],
        cwd=ROOT,
        env=environment(MOLECULE_PROJECT_DIRECTORY=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 300
        while not host.run("ls /dev/shm/mlops-lab/*/secrets/index_password").succeeded:
            assert time.monotonic() < until, "the build never had its secrets"
            assert running.poll() is None, "the play ended before the build had its secrets"
            time.sleep(0.1)
    finally:
        os.killpg(running.pid, how)
        running.wait(60)
    done = play("clean")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "removed" in done.stdout


@pytest.mark.deep  # it installs what it makes the image with
def test_a_bootstrap_that_fails_leaves_no_image_that_is_taken_for_the_right_one(host: Host, tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    values = {"base_images_prefix": "half-made", "base_images_debian_mirror": "http://127.0.0.1:9/debian", "__base_images_release": "trixie"}
    task = {"ansible.builtin.include_role": {"name": "mlops.lab.base_images", "tasks_from": "debian"}, "vars": values}
    playbook.write_text(json.dumps([{"hosts": "labhost", "gather_facts": False, "become": True, "tasks": [task]}]))
    for _again in range(2):  # the second run has to fail where the first did
        done = run_tool(["ansible-playbook", "-i", "molecule/inventory", playbook], MOLECULE_PROJECT_DIRECTORY=str(ROOT))
        assert done.returncode != 0 and "E: " in done.stdout, done.stdout
        assert host.check_output("docker image ls --quiet half-made/debian") == ""


TALKER = {
    "image": "mlops-lab/debian:trixie",
    "command": ["sh", "-c", "echo the last words; exit 3"],
    "restart": "unless-stopped",
    "init": True,
    "healthcheck": {"test": ["CMD", "true"], "start_interval": "1s", "start_period": "10s"},
}
STRANGER = {"image": "there-is-no-such-image-zq"}


def test_a_project_that_does_not_start_is_explained_and_can_start_again(host: Host, tmp_path: Path) -> None:
    """The message has the container's own words, no image is asked of a registry, and a mended file starts although the broken one ran."""
    playbook = tmp_path / "play.yml"
    task = {"mlops.lab.compose_up": {"project": "failing", "project_src": "/var/tmp/failing", "wait_timeout": 20}}
    playbook.write_text(json.dumps([{"hosts": "labhost", "gather_facts": False, "become": True, "tasks": [task]}]))
    command: list[str | Path] = ["ansible-playbook", "-i", "molecule/inventory", playbook]

    def start(service: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        definition = json.dumps({"name": "failing", "services": {"one": service}})
        host.check_output(f"mkdir -p /var/tmp/failing && printf %s {shlex.quote(definition)} >/var/tmp/failing/compose.yml")
        return run_tool(command, MOLECULE_PROJECT_DIRECTORY=str(ROOT))

    try:
        for service, sentence in ((STRANGER, "there-is-no-such-image-zq"), (TALKER, "the last words")):
            done = start(service)
            assert done.returncode != 0
            assert sentence in done.stdout
        for changed in (1, 0):
            done = start({**TALKER, "command": ["sleep", "600"]})
            assert done.returncode == 0, done.stdout
            assert f"changed={changed} " in done.stdout
    finally:
        host.run("docker compose -p failing down --timeout 1 --volumes; rm -rf /var/tmp/failing")


def test_a_dry_run_on_a_running_lab_predicts_no_change(host: Host) -> None:
    """The lab is none the worse for all of that, once it is cleaned; a real run says so, too (test_secrets.py)."""
    assert play("clean").returncode == 0
    done = run_tool(["ansible-playbook", "-i", "molecule/inventory", "site.yml", "--check", "--diff"], MOLECULE_PROJECT_DIRECTORY=str(ROOT))
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"labhost +: ok=\d+ +changed=0 ", done.stdout), done.stdout[-3000:]
