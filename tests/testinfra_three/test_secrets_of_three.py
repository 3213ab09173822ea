"""Which of the planted credentials (molecule/inventory/host_vars/labhost/credentials.yml, the vault of this lab too) are on a worker's disk, and where."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

import role_docs
from tests.testinfra.test_secrets import PATTERN, hits
from tests.testinfra_three import lab
from tests.testinfra_three.lab import AT_HOME, CERTIFICATES, DIR, HOSTS, WORKERS

# For a pull alone: it may be on no disk afterwards.
PASSING = {"vault_registry_password"}
# What a worker speaks to the broker, the databases of Celery's results and of Optuna's studies, MLflow, the models and the index with, and signs its logs by
NEEDED = {one["name"] for one in role_docs.credentials() if "lab_workers" in one["hosts"] and one["kind"] == "password"} - PASSING


def test_the_search_finds_what_is_there(control: Host, worker: Host) -> None:
    """A search that finds nothing must be one that could."""
    assert lab.holding(control, ["vault_airflow_fernet_key"], DIR) and lab.holding(control, ["vault_airflow_jwt_secret"], DIR)
    assert lab.holding(worker, ["vault_redis_password"], DIR), "URL-encoded in an address"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_no_credential_that_it_does_not_need(name: str) -> None:
    """Of the control host's databases, keys and users, of the publisher, and of the authority."""
    never = lab.heads().keys() - NEEDED - {"vault_ca_certificate"}  # which everybody may see
    assert {"vault_airflow_db_password", "vault_airflow_jwt_secret", "vault_airflow_fernet_key", "vault_airflow_admin_password"} <= never
    assert {"vault_flower_password", "vault_nexus_publisher_pass", "vault_mlflow_db_password", "vault_ca_key"} | PASSING <= never
    assert lab.holding(lab.reach(name), never) == []


@pytest.mark.parametrize("name", HOSTS)
def test_what_it_needs_is_where_root_alone_reads_it(name: str) -> None:
    """In the directories of secrets, and in no image, layer, log, volume, temporary file or definition of a container."""
    host = lab.reach(name)
    assert hits(host, "/", "/dev/shm", at_home=AT_HOME) == []
    definitions = host.check_output("docker ps -aq | xargs docker inspect; docker image ls -q | sort -u | xargs docker image inspect; ps -eo args")
    assert not re.findall(f".*(?:{PATTERN}).*", definitions)
    places = sorted({path.rpartition("/")[0] for path in lab.holding(host, NEEDED, DIR) if AT_HOME.match(path)})
    assert places
    for place in places:
        for who in ("--reuid=65534 --regid=65534", "--reuid=50000 --regid=0"):
            assert host.run(f"setpriv {who} --clear-groups ls {place}").rc != 0, place


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_s_key_is_its_own_and_for_root(name: str) -> None:
    """No two hosts have the same one, and the authority's key is on none of them (the control host included)."""
    host = lab.reach(name)
    key = host.file(f"{CERTIFICATES}/host.key")
    assert (key.user, key.group, key.mode) == ("root", "root", 0o640)
    assert key.sha256sum not in {lab.reach(other).file(f"{CERTIFICATES}/host.key").sha256sum for other in HOSTS if other != name}
    assert lab.holding(host, ["vault_ca_key"]) == []


def test_a_talkative_run_prints_no_credential() -> None:
    done = lab.play("site.yml", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.unwell(done.stdout, changed=False) == []
    assert not re.findall(f".*(?:{PATTERN}).*", done.stdout)
    assert lab.heads()["vault_ca_key"] not in done.stdout
