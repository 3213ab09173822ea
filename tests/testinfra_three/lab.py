"""A lab of three hosts or more (molecule/lab_of_three, or a copy of it), asked as its users ask it and looked at as its operators do.

Names, addresses, queues, ports and directories are what the scenario's inventory and its molecule.yml say, which may have other ones, and more workers. The
control host has no worker of its own; two workers have a queue in common; one host joins the lab and leaves it (inventory_worker3), and whoever else has a
platform is an outsider.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import testinfra
import yaml
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import log_lines, quoted
from testinfra.host import Host

from tests.conftest import ROOT, forms, run_tool
from tests.testinfra.asking import Answer, ask, question

FOLDER = ROOT / "molecule" / os.environ.get("MOLECULE_SCENARIO_NAME", "lab_of_three")
AUTHORITY = ROOT / ".cache/lab_of_three"
JOINING = FOLDER / "inventory_worker3/hosts.yml"
SECRETS: dict[str, str] = yaml.safe_load((FOLDER / "inventory/group_vars/lab/vault.yml").read_text(encoding="utf-8"))
CELERY = "celery --app airflow.providers.celery.executors.celery_executor.app"
# Ports of the control host for the lab's other hosts, all of them over TLS, by the names of their variables
PORT_NAMES = {
    "page": "gateway",
    "airflow": "airflow",
    "mlflow": "mlflow",
    "flower": "flower",
    "models": "models",
    "index": "index",
    "registry": "registry",
    "postgres": "database",
    "redis": "broker",
}


def inventories(more: bool) -> list[str | Path]:
    """Return the options that name the lab's inventory, with `more` that of the host which joins it as well."""
    joining: list[str | Path] = ["-i", JOINING] if more else []
    return ["-i", FOLDER / "inventory", *joining]


def known(**expressions: str) -> dict[str, Any]:
    """Return what expressions are to a playbook for the control host when the host that joins is in the inventory."""
    message = json.dumps({"msg": "{{ {" + ", ".join(f"'{name}': {text}" for name, text in expressions.items()) + "} }}"})
    place: list[str | Path] = [*inventories(True), "--playbook-dir", ROOT / "playbooks", "-m", "ansible.builtin.debug", "-a", message]
    done = run_tool(["ansible", "lab_control", *place], ANSIBLE_CALLBACK_RESULT_FORMAT="json", MOLECULE_PROJECT_DIRECTORY=str(ROOT))
    assert done.returncode == 0, done.stdout
    return dict(json.loads(done.stdout.partition("=>")[2])["msg"])


def on_each(group: str, variable: str, default: str = "''") -> str:
    """Return an expression: host of a group -> what a variable is there."""
    return f"dict({group} | zip({group} | map('extract', hostvars) | map(attribute='{variable}', default={default})))"


KNOWN = known(
    control="groups.lab_control",
    builder="groups.lab_builder",
    containers=on_each("lab_hosts", "ansible_host"),
    addresses="lab_addresses",
    queues="lab_queues",
    consumed="lab_consumed_queues",
    slots=on_each("groups.lab_workers", "airflow_stack_worker_concurrency", "4"),  # as the role has it
    pool="airflow_stack_pools.search.slots",
    name="lab_name",
    dir="lab_dir",
    systems="lab_systems",
    certificates="certificates_dir",
    firewall="firewall_name",
    locks="airflow_image_lock_dir",
    image="image_registry_images",
    registry="image_registry_address",
    local="lab_bind_address",
    logs="lab_logs_port",
    reports="lab_reports_dir",
    users="{'airflow': lab_airflow_admin_user, 'mlflow': lab_mlflow_admin_user, 'registry': lab_registry_user}",
    ports="{" + ", ".join(f"'{name}': lab_{variable}_port" for name, variable in PORT_NAMES.items()) + "}",
)

# ------------------------------------------------------------------ hosts, by their names in the inventory
[CONTROL], [BUILDER] = KNOWN["control"], KNOWN["builder"]
[JOINER] = yaml.safe_load(JOINING.read_text(encoding="utf-8"))["lab"]["children"]["lab_workers"]["hosts"]
WORKERS: list[str] = [name for name in KNOWN["queues"] if name != JOINER]
HOSTS = [CONTROL, *WORKERS]
PLATFORMS: dict[str, dict[str, str]] = {one["name"]: one for one in yaml.safe_load((FOLDER / "molecule.yml").read_text(encoding="utf-8"))["platforms"]}
CONTAINERS: dict[str, str] = {name: container or name for name, container in KNOWN["containers"].items()}
OUTSIDERS = sorted(PLATFORMS.keys() - CONTAINERS.values())
ADDRESSES: dict[str, str] = KNOWN["addresses"]

# ------------------------------------------------------------------ queues, and who takes tasks from them
QUEUES: dict[str, set[str]] = {name: set(queues) for name, queues in KNOWN["queues"].items()}
# With the one that each worker alone consumes
CONSUMED: dict[str, set[str]] = {name: set(queues) for name, queues in KNOWN["consumed"].items()}
SLOTS: dict[str, int] = {name: int(slots) for name, slots in KNOWN["slots"].items()}


def takers(queue: str) -> list[str]:
    """Return the workers of a queue, but for the host that joins."""
    return [name for name in WORKERS if queue in QUEUES[name]]


def room(names: Iterable[str]) -> int:
    """Return how many tasks these workers do at once: as many searchers need every one of them."""
    return sum(SLOTS[name] for name in names)


def cover() -> list[str]:
    """Return a few queues that together have every worker, the one of most workers first."""
    found: list[str] = []
    while left := set(WORKERS).difference(*map(takers, found)):
        found.append(max(ALL_QUEUES, key=lambda queue: len(left & {*takers(queue)})))
    return found


ALL_QUEUES = sorted({queue for name in WORKERS for queue in QUEUES[name]}, key=lambda queue: (queue != "default", queue))
COVER = cover()
SHARED = COVER[0]
# Those that not every worker takes tasks from
PARTIAL = [queue for queue in ALL_QUEUES if takers(queue) != WORKERS]
# Workers that may be away: others take what waits in the shared queue, and what no experiment places
REPLACEABLE = [name for name in takers(SHARED) if name != BUILDER and len(takers(SHARED)) > 1 and {*takers("default")} - {name}]
assert REPLACEABLE and PARTIAL and OUTSIDERS, "the scenario needs a queue of several workers, one that not all of them consume, and a host outside"

# ------------------------------------------------------------------ what is on them
NAME, DIR, CERTIFICATES = KNOWN["name"], KNOWN["dir"], KNOWN["certificates"]
REPORT = Path(os.environ.get("LAB_REPORT") or Path(KNOWN["reports"], "lab.json"))
STACK = KNOWN["systems"]["airflow"]
WORKER, REDIS, SCHEDULER = (f"{STACK['project']}-{service}-1" for service in ("airflow-worker", "redis", "airflow-scheduler"))
# Where credentials have to be: files that root alone can reach
AT_HOME = re.compile(rf"^{re.escape(DIR)}/(airflow_stack|environments|mlflow_server|model_server|workbench)/secrets/")
PORTS: dict[str, int] = KNOWN["ports"]
LOGS: int = KNOWN["logs"]
AIRFLOW, MLFLOW = (f"http://{KNOWN['local']}:{PORTS[name]}" for name in ("airflow", "mlflow"))

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
    """Run a playbook on the lab; with `more` the host that joins is in its inventory."""
    return run_tool(["ansible-playbook", *inventories(more), *arguments], MOLECULE_PROJECT_DIRECTORY=str(ROOT))


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return host -> its counts, from the end of what a playbook printed."""
    lines = re.findall(r"^(\S+)\s+: (ok=\d+ .*)$", output.rpartition("PLAY RECAP")[2], re.MULTILINE)
    return {host: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}


def unwell(output: str, changed: bool = True) -> list[str]:
    """Return the hosts of a recap on which something failed, or with ``changed=False`` was changed."""
    wrong = ("failed", "unreachable") if changed else ("failed", "unreachable", "changed")
    return [f"{host}: {counts}" for host, counts in recap(output).items() if any(counts[name] for name in wrong)]


# --- Hosts ------------------------------------------------------------------------------------------------------------


@cache
def reach(name: str) -> Host:
    """Return a host by its name in the inventory, or an outsider by its platform's."""
    host: Any = testinfra.get_host(f"docker://{CONTAINERS.get(name, name)}")
    return host


def names_of(name: str) -> set[str]:
    """Return the names that a task on this worker may say it ran on."""
    told = reach(name).run(f"docker exec {WORKER} sh -c 'hostname; hostname --fqdn'").stdout.split()
    return {name, ADDRESSES[name], *told}


def names_of_all(where: dict[str, set[str]], workers: Iterable[str]) -> set[str]:
    """Return the names of several workers together."""
    return set[str]().union(*(where[name] for name in workers))


def received(host: Host) -> int:
    """Return how many bytes came to a host over the interface by which it reaches the control host."""
    interface = host.check_output(f"ip -o route get {ADDRESSES[CONTROL]} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p'")
    return int(host.check_output(f"cat /sys/class/net/{interface}/statistics/rx_bytes"))


def layers() -> dict[str, int]:
    """Return digest -> bytes of each layer of the lab's image as the registry has it, the lowest first."""
    host, (image,) = reach(BUILDER), KNOWN["image"]
    server, _, path = f"{KNOWN['registry']}/{image.rpartition(':')[0]}".partition("/")
    digests = host.check_output(f"docker image inspect --format '{{{{join .RepoDigests \"\\n\"}}}}' {image}").splitlines()
    (digest,) = {one.partition("@")[2] for one in digests if one.startswith(f"{server}/{path}@")}
    kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    who = (KNOWN["users"]["registry"], SECRETS["vault_registry_password"])
    answer = ask(host, question("GET", f"https://{server}/v2/{path}/manifests/{digest}", user=who, headers={"Accept": kinds}))[0]
    assert answer.status == 200, answer
    return {one["digest"]: one["size"] for one in answer.data["layers"]}


def trusts(host: Host) -> bool:
    """Tell whether the programs of a host trust the lab's authority."""
    line = (AUTHORITY / "ca.pem").read_text(encoding="utf-8").splitlines()[2]
    return bool(host.run(f"grep -rqF {shlex.quote(line)} /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates").succeeded)


def docker(*arguments: str) -> str:
    """Use the engine that the hosts run in, to do to them what happens to machines."""
    done = run_tool(["docker", *arguments])
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def cut_off(name: str) -> Iterator[None]:
    """Take a host's network away, and give it back with the same address."""
    container = CONTAINERS[name]
    network, address = (PLATFORMS[container][key] for key in ("network", "address"))
    docker("network", "disconnect", network, container)
    try:
        yield
    finally:
        docker("network", "connect", "--ip", address, network, container)


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


def answering(host: Host, name: str, ports: Iterable[int], inside: str = "python3") -> set[int]:
    """Return those of the ports of the host with this name that accept a connection from `host`, or from where another Python of it runs."""
    wanted, found = sorted(ports), set[int]()
    for first in range(0, len(wanted), 2000):  # more do not fit on a command line
        given = [[ADDRESSES[name], port] for port in wanted[first : first + 2000]]
        found |= {port for _address, port in json.loads(python(host, PROBE, given, inside))}
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
        who = {"username": KNOWN["users"]["airflow"], "password": SECRETS["vault_airflow_admin_password"]}
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

    def search(self, name: str, queue: str, trials: int = 15, more: Iterable[str] = ()) -> str:
        """Start a search that needs every worker of a queue, and those that are there `more`, with so many trials for each searcher; return its id."""
        parallel = room([*takers(queue), *more])
        assert parallel <= KNOWN["pool"], "the pool `search` has to have room for as many tasks as all workers do at once, so that each of them is needed"
        return self.trigger(name, "wine_search", trials=trials * parallel, search__parallel=parallel, queue=queue)

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


def tried(host: Host, run_id: str) -> Counter[str]:
    """Return worker -> how many trials of a run's search it tried, as their tags in MLflow say, which the control host asks; "" has those that name none."""
    who = (KNOWN["users"]["mlflow"], SECRETS["vault_mlflow_admin_password"])

    def told(path: str, **body: Any) -> Any:
        answer = ask(host, question("POST", f"{MLFLOW}/api/2.0/mlflow/{path}", user=who, body=body))[0]
        assert answer.status == 200, answer
        return answer.data

    experiments = [one["experiment_id"] for one in told("experiments/search", max_results=1000)["experiments"]]

    def runs(kind: str, tag: str, value: str) -> list[dict[str, Any]]:
        query = f"tags.`lab.kind` = '{kind}' and tags.`{tag}` = '{value}'"
        found: list[dict[str, Any]] = told("runs/search", experiment_ids=experiments, filter=query, max_results=1000).get("runs", [])
        return found

    (whole,) = runs("experiment", "airflow.run_id", run_id)
    (search,) = runs("search", "mlflow.parentRunId", whole["info"]["run_id"])
    tags = [{tag["key"]: tag["value"] for tag in one["data"]["tags"]} for one in runs("trial", "mlflow.parentRunId", search["info"]["run_id"])]
    return Counter(one.get("lab.worker", "") for one in tags)


# --- Secrets ----------------------------------------------------------------------------------------------------------


def heads() -> dict[str, str]:
    """Return name -> the beginning of each credential of the vault that is a secret, by which it is known wherever it is, and the authority's key."""
    public = ("_user", "vault_ca_certificate")
    secrets = {name: value for name, value in SECRETS.items() if not name.endswith(public)}
    found = {name: match[0] if (match := re.match(r"canary7q-[\w-]{1,30}@?", value)) else value[:40] for name, value in secrets.items()}
    return {**found, "vault_ca_key": (AUTHORITY / "ca.key").read_text(encoding="utf-8").splitlines()[1]}


def holding(host: Host, names: Iterable[str], *places: str) -> list[str]:
    """Return the files below `places`, as shipped the whole disk, that hold one of the credentials with these names; in memory they are looked for nowhere."""
    patterns = "\n".join(sorted({form for name in names for form in forms(heads()[name])}))
    given = base64.b64encode(f"{patterns}\n".encode()).decode()
    without = " ".join(f"--exclude-dir={name}" for name in ("proc", "sys", "dev", "merged"))
    return str(host.run(f"printf %s {given} | base64 -d | grep -rlaF -f - {without} {' '.join(places or ('/', '/dev/shm'))} 2>/dev/null").stdout).splitlines()
