"""The hosts of molecule/lab_of_three, each as a fixture of its name."""

from __future__ import annotations

from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.testinfra_three import lab


def reached(name: str) -> Host:
    """Return a host, whether it is part of the lab or not."""
    host: Any = testinfra.get_host(f"docker://{name}")
    return host


@pytest.fixture(scope="session")
def control() -> Host:
    """The control host, which builds and has no worker."""
    return reached(lab.CONTROL)


@pytest.fixture(scope="session")
def worker1() -> Host:
    """The worker for the queue default."""
    return reached(lab.WORKER1)


@pytest.fixture(scope="session")
def worker2() -> Host:
    """The worker for the queues default and gpu."""
    return reached(lab.WORKER2)


@pytest.fixture(scope="session")
def worker3() -> Host:
    """A host that is no part of the lab until a test makes it one."""
    return reached(lab.WORKER3)


@pytest.fixture(scope="session")
def outsider() -> Host:
    """A host in the same network that is never part of the lab."""
    return reached(lab.OUTSIDER)


@pytest.fixture(scope="session")
def airflow(control: Host) -> lab.Airflow:
    """Airflow, to somebody who logged in."""
    return lab.Airflow(control)


@pytest.fixture(scope="session")
def where(worker1: Host, worker2: Host) -> dict[str, set[str]]:
    """Worker -> the names that a task may say it ran on; no name is of two workers."""
    names = {lab.WORKER1: lab.names_of(worker1, lab.WORKER1), lab.WORKER2: lab.names_of(worker2, lab.WORKER2)}
    assert not names[lab.WORKER1] & names[lab.WORKER2], names
    return names
