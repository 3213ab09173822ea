"""The planted credentials of the lab host are looked for everywhere: on its disks, in its images and containers, and in what a run prints.

Every credential of the test host (molecule/inventory/host_vars/labhost/credentials.yml) holds the marker, so that one search finds
them raw, URL-encoded and in base64 at any alignment.
"""

from __future__ import annotations

import re
from pathlib import Path

from testinfra.host import Host

from tests.conftest import ROOT, forms, run_tool

MARKER = "canary7q"
PATTERN = "|".join(map(re.escape, sorted(forms(MARKER))))
# Where the runtime's credentials have to be: files that root alone can reach (a test of the stack looks at their modes).
AT_HOME = re.compile(r"^/opt/mlops-lab/(airflow_stack|environments|mlflow_server|model_server|workbench)/secrets/")


def hits(host: Host, *places: str, at_home: re.Pattern[str] = AT_HOME) -> list[str]:
    """Return the files below `places` that hold the marker and are not `at_home`; file systems that are only merged views are read once, as layers."""
    done = host.run(f"grep -rlaE '{PATTERN}' {' '.join(places)} --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev --exclude-dir=merged 2>/dev/null")
    return [path for path in done.stdout.splitlines() if not at_home.match(path)]


def test_the_search_finds_what_is_there(host: Host) -> None:
    """A search that finds nothing must be one that could: the runtime's own files hold the marker in all three ways."""
    found = host.check_output(f"grep -rlaE '{PATTERN}' /opt/mlops-lab").splitlines()
    assert "/opt/mlops-lab/airflow_stack/secrets/secret_key" in found
    assert "/opt/mlops-lab/airflow_stack/secrets/fernet_key" in found, "its key is the marker in base64"


def test_nothing_on_the_host_holds_a_credential(host: Host) -> None:
    """No layer, build cache, container definition, log, volume, temporary file or compose file; the whole disk is read."""
    assert hits(host, "/", "/dev/shm") == []


def test_no_definition_of_a_container_or_image_holds_a_credential(host: Host) -> None:
    definitions = host.check_output("docker ps -aq | xargs docker inspect; docker image ls -q | sort -u | xargs docker image inspect")
    histories = host.check_output("docker image ls -q | sort -u | xargs -n 1 docker history --no-trunc")
    assert not re.findall(f".*(?:{PATTERN}).*", definitions + histories)


def test_a_run_prints_no_credential_however_talkative(host: Host) -> None:
    """Neither does a run at -vvv with differences, nor does a failing one (test_failures.py). It has nothing to do, whatever went wrong before it."""
    done = run_tool(["ansible-playbook", "-i", "molecule/inventory", "site.yml", "-vvv", "--diff"], MOLECULE_PROJECT_DIRECTORY=str(ROOT))
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"labhost +: ok=\d+ +changed=0 ", done.stdout), done.stdout[-3000:]
    assert not re.findall(f".*(?:{PATTERN}).*", done.stdout)
    assert hits(host, "/tmp", "/run", "/root", "/home", "/var/log", "/var/tmp") == []


def test_nothing_on_the_control_node_holds_a_credential() -> None:
    """Neither the verdict nor the locks nor anything else that a run writes into the checkout."""
    written = [path for name in ("reports", "locks") for path in Path(ROOT / name).rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if re.search(PATTERN.encode(), path.read_bytes())] == []
