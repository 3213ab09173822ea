"""Jobs, run by ansible-runner as a controller runs them from what the role declared there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.awx.conftest import Checkout, copy_project
from tests.awx.controller import Controller, serving
from tests.awx.jobs import Job, launch

Launch = Callable[..., Job]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    sockets = [socket.socket() for _number in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def lab(make_checkout: Callable[..., Checkout], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A lab with names, ports and directories of its own, on whatever machine runs the tests."""
    place = tmp_path_factory.mktemp("host")
    ports = dict(zip(("lab_airflow_port", "lab_flower_port", "lab_mlflow_port", "lab_index_port"), free_ports(4), strict=True))
    limits = {f"lab_check_min_{name}": 1 for name in ("memory_mb", "cores", "disk_gb", "disk_running_gb")}
    return make_checkout(
        {
            "lab_name": "wip-awx",
            "lab_dir": str(place / "lab"),
            "lab_staging_dir": f"/dev/shm/{place.name}-awx",
            "ansible_remote_tmp": str(place / "remote"),
            "ansible_async_dir": str(place / "async"),
            **ports,
            **limits,
        }
    )


@pytest.fixture(scope="module")
def declared(lab: Checkout) -> Iterator[Controller]:
    """A controller in which the lab was declared."""
    with serving() as controller:
        done = lab.apply(controller)
        assert done.returncode == 0, done.stdout
        yield controller


@pytest.fixture
def job(declared: Controller, tmp_path: Path) -> Launch:
    """A function that launches the job template of a verb."""

    def start(verb: str, **options: object) -> Job:
        return launch(declared, verb, copy_project, tmp_path / verb, **options)  # type: ignore[arg-type]

    return start


def test_preflight(job: Launch) -> None:
    done = job("preflight")
    print(done.output)
    assert done.returncode == 0


@pytest.mark.parametrize("verb", ["provision", "index", "image", "stack", "train", "verify"])
def test_dry(job: Launch, verb: str) -> None:
    done = job(verb, check=True)
    print(done.output)
    assert done.returncode == 0


def test_clean(job: Launch) -> None:
    done = job("clean")
    print(done.output)
    assert done.returncode == 0
