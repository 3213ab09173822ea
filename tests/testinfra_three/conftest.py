"""The hosts of molecule/lab_of_three, and who works for it."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from tests.testinfra_three import lab


@pytest.fixture(scope="session")
def control() -> Host:
    """The control host, which builds and has no worker."""
    return lab.reach(lab.CONTROL)


@pytest.fixture(scope="session")
def worker() -> Host:
    """Some worker."""
    return lab.reach(lab.WORKERS[0])


@pytest.fixture(scope="session")
def joiner() -> Host:
    """A host that is no part of the lab until a test makes it one."""
    return lab.reach(lab.JOINER)


# Not for the session: pytest would bring all tests with the same outsider together, and those of a host that was away come when it was.
@pytest.fixture(params=lab.OUTSIDERS)
def outsider(request: pytest.FixtureRequest) -> Host:
    """A host in the same network that is never part of the lab."""
    return lab.reach(request.param)


@pytest.fixture(scope="session")
def airflow(control: Host) -> lab.Airflow:
    """Airflow, to somebody who logged in."""
    return lab.Airflow(control)


@pytest.fixture(scope="session")
def where() -> dict[str, set[str]]:
    """Worker -> the names that a task may say it ran on; no name is of two workers."""
    names = {name: lab.names_of(name) for name in lab.WORKERS}
    assert len(set[str]().union(*names.values())) == sum(map(len, names.values())), names
    return names
