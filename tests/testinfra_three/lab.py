"""A lab of three hosts (molecule/lab_of_three), asked as its users ask it and looked at as its operators do."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import log_lines, quoted
from testinfra.host import Host

from tests.conftest import ROOT, forms, run_tool
from tests.testinfra.asking import Answer, ask, question

FOLDER = ROOT / "molecule/lab_of_three"
REPORT = Path(os.environ.get("LAB_REPORT") or ROOT / "reports/lab_of_three/lab.json")
CONTROL, WORKER1, WORKER2, WORKER3, OUTSIDER = (f"three-{name}" for name in ("control", "worker1", "worker2", "worker3", "outsider"))
ADDRESSES: dict[str, str] = {one["name"]: one["address"] for one in yaml.safe_load((FOLDER / "molecule.yml").read_text(encoding="utf-8"))["platforms"]}
SECRETS: dict[str, str] = yaml.safe_load((FOLDER / "inventory/group_vars/lab/vault.yml").read_text(encoding="utf-8"))
WORKER = "mlops-lab-airflow-airflow-worker-1"
REDIS = "mlops-lab-airflow-redis-1"
SCHEDULER = "mlops-lab-airflow-airflow-scheduler-1"
CELERY = "celery --app airflow.providers.celery.executors.celery_executor.app"
AIRFLOW = "http://127.0.0.1:8080"
# What the control host has for the lab's other hosts, all of it over TLS
PORTS = {"page": 443, "airflow": 8080, "mlflow": 5000, "flower": 5555, "models": 8002, "index": 8081, "registry": 5001, "postgres": 5432, "redis": 6379}
LOGS = 8793

Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float, what: str, every: float = 2) -> Found:
    """Return what a function finds as soon as it finds something; its AssertionErrors are taken for nothing."""
    end = time.monotonic() + seconds
    last: Any = None
    while True:
        try:
            if found := look():
                return found
            last = found
        except AssertionError as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {seconds} s, but {last}"
        time.sleep(every)


# --- Runs of playbooks ------------------------------------------------------------------------------------------------


def play(*arguments: str, more: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the lab; with `more` the third worker is in its inventory."""
    inventories = ["-i", "molecule/lab_of_three/inventory", *(["-i", "molecule/lab_of_three/inventory_worker3/hosts.yml"] if more else [])]
    return run_tool(["ansible-playbook", *inventories, *arguments], MOLECULE_PROJECT_DIRECTORY=str(ROOT))


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return host -> its counts, from the end of what a playbook printed."""
    lines = re.findall(r"^(\S+)\s+: (ok=\d+ .*)$", output.rpartition("PLAY RECAP")[2], re.MULTILINE)
    return {host: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}


def unwell(output: str, changed: bool = True) -> list[str]:
    """Return the hosts of a recap on which something failed, or with ``changed=False`` was changed."""
    wrong = ("failed", "unreachable") if changed else ("failed", "unreachable", "changed")
    return [f"{host}: {counts}" for host, counts in recap(output).items() if any(counts[name] for name in wrong)]


# --- Hosts ------------------------------------------------------------------------------------------------------------


def names_of(host: Host, name: str) -> set[str]:
    """Return the names that a task on this worker may say it ran on."""
    told = host.run(f"docker exec {WORKER} sh -c 'hostname; hostname --fqdn'").stdout.split()
    return {name, ADDRESSES[name], *told}


def trusts(host: Host) -> bool:
    """Tell whether the programs of a host trust the lab's authority."""
    line = (ROOT / ".cache/lab_of_three/ca.pem").read_text(encoding="utf-8").splitlines()[2]
    return bool(host.run(f"grep -rqF {shlex.quote(line)} /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates").succeeded)


def docker(*arguments: str) -> str:
    """Use the engine that the hosts run in, to do to them what happens to machines."""
    done = run_tool(["docker", *arguments])
    assert done.returncode == 0, done.stdout
    return done.stdout


# Standard input: a list of [address, port]. Standard output: those that answer.
PROBE = r"""
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(place):
    with socket.socket() as one:
        one.settimeout(3)
        return one.connect_ex(tuple(place)) == 0
places = json.load(sys.stdin)
with ThreadPoolExecutor(256) as pool:
    print(json.dumps([place for place, open in zip(places, pool.map(answers, places)) if open]))
"""

# Standard input: [address, port, bytes in base64]. Standard output: what came back within three seconds, in base64.
SPEAK = r"""
import base64, json, socket, sys
address, port, said = json.load(sys.stdin)
heard = b""
try:
    with socket.create_connection((address, port), 5) as one:
        one.settimeout(3)
        one.sendall(base64.b64decode(said))
        while len(heard) < 65536:
            part = one.recv(4096)
            if not part:
                break
            heard += part
except OSError:
    pass
print(base64.b64encode(heard).decode())
"""


def python(host: Host, program: str, given: Any, inside: str = "python3") -> str:
    """Run a program on a host with JSON as its standard input; return what it prints."""
    done = host.run(f"printf %s {shlex.quote(json.dumps(given))} | {inside} -c {shlex.quote(program)}")
    assert done.rc == 0, done.stderr
    return str(done.stdout)


def answering(host: Host, name: str, ports: Iterable[int]) -> set[int]:
    """Return those of the ports of the host with this name that accept a connection from `host`."""
    wanted, found = sorted(ports), set[int]()
    for first in range(0, len(wanted), 2000):  # more do not fit on a command line
        given = [[ADDRESSES[name], port] for port in wanted[first : first + 2000]]
        found |= {port for _address, port in json.loads(python(host, PROBE, given))}
    return found


def speak(host: Host, port: int, said: bytes) -> bytes:
    """Return what a port of the control host answers to bytes in the clear."""
    given = [ADDRESSES[CONTROL], port, base64.b64encode(said).decode()]
    return base64.b64decode(python(host, SPEAK, given))


def published(host: Host) -> set[int]:
    """Return the ports that something listens on for other hosts: sockets, and what Docker hands on without one."""
    found = set()
    for line in host.check_output("ss -H -l -t -n").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            found.add(int(port))
    for line in host.run("docker ps --format '{{.Ports}}'").stdout.splitlines():
        for address, first, last in re.findall(r"([^\s,]+):(\d+)(?:-(\d+))?->", line):
            if not address.startswith("127."):
                found |= set(range(int(first), int(last or first) + 1))
    return found


# --- Airflow ----------------------------------------------------------------------------------------------------------


class Airflow:
    """Airflow's REST API, as the control host reaches it."""

    def __init__(self, host: Host) -> None:
        """Log in."""
        self.host = host
        who = {"username": "admin", "password": SECRETS["vault_airflow_admin_password"]}
        token = ask(host, question("POST", f"{AIRFLOW}/auth/token", body=who))[0]
        assert token.status in (200, 201), token
        self.headers = {"Authorization": f"Bearer {token.data['access_token']}"}

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Call the API."""
        return ask(self.host, question(method, f"{AIRFLOW}/api/v2/{path}", body=body, headers=self.headers))[0]

    def trigger(self, name: str, experiment: str, trials: int | None = None, **overrides: Any) -> str:
        """Start a run of an experiment, of which nothing is deployed; return its id. Dots in the names of overrides are written as two underscores."""
        run_id = f"{name}-{time.time_ns()}"
        changes = {key.replace("__", "."): value for key, value in overrides.items()} | ({"deploy": None} if experiment == "wine_search" else {})
        conf = {"experiment": experiment, "overrides": changes} | ({"trials": trials} if trials else {})
        answer = self.ask("POST", "dags/train/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})
        assert answer.status in (200, 201), answer
        return run_id

    def tasks(self, run_id: str, *states: str, task: str = "") -> list[dict[str, Any]]:
        """Return the task instances of a run, those in the given states and of the given task if there are any."""
        answer = self.ask("GET", f"dags/train/dagRuns/{quoted(run_id)}/taskInstances?limit=100")
        assert answer.status == 200, answer
        found: list[dict[str, Any]] = answer.data["task_instances"]
        return [one for one in found if (not states or one["state"] in states) and task in ("", one["task_id"])]

    def log(self, run_id: str, task: dict[str, Any]) -> list[str]:
        """Return the lines of a task instance's log."""
        path = f"dags/train/dagRuns/{quoted(run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = self.ask("GET", f"{path}?full_content=true&map_index={task['map_index']}")
        assert answer.status == 200, answer
        return log_lines(answer.data)

    def state(self, run_id: str) -> str:
        """Return the state of a run."""
        answer = self.ask("GET", f"dags/train/dagRuns/{quoted(run_id)}")
        assert answer.status == 200, answer
        return str(answer.data["state"])

    def finish(self, run_id: str, seconds: float = 900) -> list[dict[str, Any]]:
        """Wait for the end of a run, which has to be a good one; return its task instances."""
        state = until(lambda: (found := self.state(run_id)) in ("success", "failed") and found, seconds, f"{run_id} ends")
        tasks = self.tasks(run_id)
        failed = [task for task in tasks if task["state"] == "failed"]
        assert state == "success", "\n".join(f"{task['task_id']} on {task['hostname']}: {self.log(run_id, task)[-15:]}" for task in failed)
        return tasks

    def searching(self, run_id: str, where: set[str]) -> list[dict[str, Any]]:
        """Return the searchers of a run that are at work on a host with one of these names."""
        return [task for task in self.tasks(run_id, "running", task="search") if task["hostname"] in where]


def consumers(control: Host) -> dict[str, set[str]]:
    """Return the hosts of the Celery workers that answer now, each with the queues that it takes tasks from."""
    told = control.run(f"docker exec {SCHEDULER} {CELERY} inspect --timeout 5 --json active_queues").stdout
    found = json.loads(told[told.index("{") :]) if "{" in told else {}
    return {worker.partition("@")[2]: {queue["name"] for queue in queues} for worker, queues in found.items()}


# --- Secrets ----------------------------------------------------------------------------------------------------------


def heads() -> dict[str, str]:
    """Return name -> the beginning of each credential of the vault that is a secret, by which it is known wherever it is, and the authority's key."""
    public = ("_user", "vault_ca_certificate")
    secrets = {name: value for name, value in SECRETS.items() if not name.endswith(public)}
    found = {name: match[0] if (match := re.match(r"canary7q-[\w-]{1,30}@?", value)) else value[:40] for name, value in secrets.items()}
    return {**found, "vault_ca_key": (ROOT / ".cache/lab_of_three/ca.key").read_text(encoding="utf-8").splitlines()[1]}


def holding(host: Host, names: Iterable[str], *places: str) -> list[str]:
    """Return the files below `places`, as shipped the whole disk, that hold one of the credentials with these names; in memory they are looked for nowhere."""
    patterns = "\n".join(sorted({form for name in names for form in forms(heads()[name])}))
    given = base64.b64encode(f"{patterns}\n".encode()).decode()
    without = " ".join(f"--exclude-dir={name}" for name in ("proc", "sys", "dev", "merged"))
    return str(host.run(f"printf %s {given} | base64 -d | grep -rlaF -f - {without} {' '.join(places or ('/', '/dev/shm'))} 2>/dev/null").stdout).splitlines()
