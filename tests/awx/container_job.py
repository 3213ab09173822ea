"""A job in the execution environment, as on a controller: in a container that reaches the lab's host by SSH with the machine's credential.

Not collected by `make test`: it builds the image from the base image that the lab's builder has. `pytest tests/awx/container_job.py`, ten minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.awx.conftest import Checkout, copy_project
from tests.awx.controller import serving
from tests.awx.jobs import launch, prepare
from tests.awx.test_jobs import assert_clean
from tests.conftest import ROOT, run_tool

DEBIAN, IMAGE, HOST = "mlops-lab/debian:trixie", "mlops-lab-test/awx", "mlops-lab-test-awx-host"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# The machine's own trust store, in case its index is signed by an authority of its own.
TRUST = f"FROM {DEBIAN}\nCOPY ca.crt {BUNDLE}\nENV PIP_CERT={BUNDLE}\n"
SSH = """\
FROM mlops-lab-test/awx-base
RUN apt-get update && apt-get install -y --no-install-recommends openssh-server python3 sudo && mkdir -p /run/sshd \\
 && useradd --create-home --home-dir /srv/admin admin && echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin \\
 && install -d -o admin -m 700 /srv/admin/.ssh
COPY --chown=admin --chmod=600 key.pub /srv/admin/.ssh/authorized_keys
CMD ["/usr/sbin/sshd", "-D"]
"""


def docker(*arguments: str | Path) -> str:
    """Run the docker client; returns what it printed."""
    done = subprocess.run(["docker", *map(str, arguments)], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for what is built, and a key."""
    place = tmp_path_factory.mktemp("images")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "key"], check=True)
    shutil.copy(BUNDLE, place / "ca.crt")
    return place


@pytest.fixture(scope="module")
def image(folder: Path) -> str:
    """The execution environment."""
    (folder / "Dockerfile").write_text(TRUST, encoding="utf-8")
    docker("build", "--tag", f"{IMAGE}-base", folder)
    command: list[str | Path] = [
        "ansible-builder",
        "create",
        "--file",
        "execution-environment.yml",
        "--context",
        folder / "context",
        "--output-filename",
        "Dockerfile",
    ]
    done = run_tool(command, ROOT)
    assert done.returncode == 0, done.stdout
    docker("build", "--tag", IMAGE, "--build-arg", f"EE_BASE_IMAGE={IMAGE}-base", folder / "context")
    return IMAGE


@pytest.fixture(scope="module")
def host(folder: Path, image: str) -> Iterator[str]:
    """The address of a machine with an SSH server, and a user who may become root."""
    (folder / "Dockerfile").write_text(SSH, encoding="utf-8")
    docker("build", "--tag", f"{IMAGE}-host", folder)
    docker("run", "--detach", "--rm", "--name", HOST, "--hostname", "lab1", f"{IMAGE}-host")
    try:
        yield docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", HOST)
    finally:
        docker("rm", "--force", HOST)


def test_jobs_in_the_execution_environment(checkout: Checkout, folder: Path, image: str, host: str, tmp_path: Path) -> None:
    groups = {group: ["lab1"] for group in ("lab_control", "lab_workers", "lab_builder")}
    values = {
        "awx_groups": groups,
        "awx_host_variables": {"lab1": {"ansible_host": host, "ansible_connection": "ssh"}},
        "awx_machine_user": "admin",
        "awx_machine_ssh_key_file": str(folder / "key"),
        "awx_execution_environment_image": image,
    }
    with serving() as controller:
        done = checkout.apply(controller, "-e", json.dumps(values))
        assert done.returncode == 0, done.stdout
        jobs = {
            verb: launch(prepare(controller, verb, copy_project, tmp_path / verb, seen=Path("/runner")), image=image)
            for verb in ("preflight", "clean", "workflow_failed")
        }
    print(jobs["preflight"].output)
    assert jobs["preflight"].returncode == 0, jobs["preflight"].output
    assert jobs["clean"].returncode == 0, jobs["clean"].output
    assert "An earlier job of this workflow failed" in jobs["workflow_failed"].messages(), jobs["workflow_failed"].output
    for job in jobs.values():
        assert_clean(job, checkout)


def test_the_environment_can_build_the_project_s_wheel(image: str) -> None:
    """The one thing that the control node does by itself; and it finds the collections."""
    build = "python3 roles/package_index/files/build_wheel.py /tmp/wheels examples/wine_cultivars && ansible-galaxy collection list"
    printed = docker("run", "--rm", "--volume", f"{ROOT}:/runner/project:ro", "--workdir", "/runner/project", "--user", "12345:0", image, "bash", "-c", build)
    assert "wine_cultivars-" in printed and "awx.awx" in printed and "community.docker" in printed, printed
