"""Which of the planted credentials (molecule/inventory/host_vars/labhost/credentials.yml, the vault of this lab too) are on a worker's disk, and where."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

import role_docs
from tests.testinfra.test_secrets import AT_HOME, PATTERN, hits
from tests.testinfra_three import lab
from tests.testinfra_three.lab import CONTROL, WORKER1, WORKER2

# For a pull alone: it may be on no disk afterwards.
PASSING = {"vault_registry_password"}
# What a worker speaks to the broker, the databases of Celery's results and of Optuna's studies, MLflow, the models and the index with, and signs its logs by
NEEDED = {one["name"] for one in role_docs.credentials() if "lab_workers" in one["hosts"] and one["kind"] == "password"} - PASSING
WORKERS = [pytest.param(name, id=name) for name in (WORKER1, WORKER2)]


def host_of(request: pytest.FixtureRequest, name: str) -> Host:
    """Return the host with this name."""
    host: Host = request.getfixturevalue(name.removeprefix("three-"))
    return host


def test_the_search_finds_what_is_there(control: Host, worker1: Host) -> None:
    """A search that finds nothing must be one that could."""
    assert lab.holding(control, ["vault_airflow_fernet_key"], "/opt/mlops-lab") and lab.holding(control, ["vault_airflow_jwt_secret"], "/opt/mlops-lab")
    assert lab.holding(worker1, ["vault_redis_password"], "/opt/mlops-lab"), "URL-encoded in an address"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_no_credential_that_it_does_not_need(request: pytest.FixtureRequest, name: str) -> None:
    """Of the control host's databases, keys and users, of the publisher, and of the authority."""
    never = lab.heads().keys() - NEEDED - {"vault_ca_certificate"}  # which everybody may see
    assert {"vault_airflow_db_password", "vault_airflow_jwt_secret", "vault_airflow_fernet_key", "vault_airflow_admin_password"} <= never
    assert {"vault_flower_password", "vault_nexus_publisher_pass", "vault_mlflow_db_password", "vault_ca_key"} | PASSING <= never
    assert lab.holding(host_of(request, name), never) == []


@pytest.mark.parametrize("name", [*WORKERS, pytest.param(CONTROL, id=CONTROL)])
def test_what_it_needs_is_where_root_alone_reads_it(request: pytest.FixtureRequest, name: str) -> None:
    """In the directories of secrets, and in no image, layer, log, volume, temporary file or definition of a container."""
    host = host_of(request, name)
    assert hits(host, "/", "/dev/shm") == []
    definitions = host.check_output("docker ps -aq | xargs docker inspect; docker image ls -q | sort -u | xargs docker image inspect; ps -eo args")
    assert not re.findall(f".*(?:{PATTERN}).*", definitions)
    places = sorted({path.rpartition("/")[0] for path in lab.holding(host, NEEDED, "/opt/mlops-lab") if AT_HOME.match(path)})
    assert places
    for place in places:
        for who in ("--reuid=65534 --regid=65534", "--reuid=50000 --regid=0"):
            assert host.run(f"setpriv {who} --clear-groups ls {place}").rc != 0, place


@pytest.mark.parametrize("name", [*WORKERS, pytest.param(CONTROL, id=CONTROL)])
def test_a_host_s_key_is_its_own_and_for_root(request: pytest.FixtureRequest, name: str) -> None:
    """No two hosts have the same one, and the authority's key is on none of them (the control host included)."""
    host = host_of(request, name)
    key = host.file("/opt/mlops-lab/certificates/host.key")
    assert (key.user, key.group, key.mode) == ("root", "root", 0o640)
    others = {CONTROL, WORKER1, WORKER2} - {name}
    assert key.sha256sum not in {host_of(request, other).file("/opt/mlops-lab/certificates/host.key").sha256sum for other in others}
    assert lab.holding(host, ["vault_ca_key"]) == []


def test_a_talkative_run_prints_no_credential() -> None:
    done = lab.play("site.yml", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.unwell(done.stdout, changed=False) == []
    assert not re.findall(f".*(?:{PATTERN}).*", done.stdout)
    assert lab.heads()["vault_ca_key"] not in done.stdout
