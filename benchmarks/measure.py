"""Measure one side of the benchmark, or the cost of a `docker compose up` that finds nothing to do. Runs on the lab's host, as root.

Usage: ``measure.py side SPEC NAME`` or ``measure.py no-op SPEC``. SPEC is a JSON file written by playbooks/bench.yml; the result is one JSON
document on standard output, and lines about the progress go to the file that the spec names, with the side's name added. Needs nothing but Python and the
Docker client.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

#: seconds between two probes while a side starts
POLL = 0.5
#: seconds between two looks at the memory
MEMORY_EVERY = 20.0
#: how often `true` is run in a container to learn what starting a process there costs the engine
CALIBRATION_RUNS = 20
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class Container(NamedTuple):
    """A container of the measured projects: where its accounting is found."""

    id: str
    pid: int
    name: str  # "<project>/<service>"


class Shares(NamedTuple):
    """CPU seconds used so far: by each container, by the engine's own processes, by children that the shims waited for, by everything."""

    containers: dict[str, float]
    engine: float
    children: float
    machine: float


def docker(*words: str, timeout: float = 60, env: dict[str, str] | None = None) -> str:
    """Run the Docker client and return its output; raises subprocess.CalledProcessError or subprocess.TimeoutExpired."""
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=timeout, env=env).stdout


def containers_of(projects: Iterable[str]) -> list[Container]:
    """Return the running containers of compose projects."""
    ids = [identity for project in projects for identity in docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}").split()]
    if not ids:
        return []
    label = '{{{{index .Config.Labels "com.docker.compose.{}"}}}}'
    template = "{{.Id}} {{.State.Pid}} " + label.format("project") + "/" + label.format("service")
    try:
        lines = docker("inspect", "--format", template, *ids).splitlines()
    except subprocess.CalledProcessError as error:  # one of them has just ended
        lines = error.stdout.splitlines()
    found = [Container(identity, int(pid), name) for identity, pid, name in (line.split() for line in lines if line)]
    return [container for container in found if container.pid > 0]


def cgroup_of(pid: int, controller: str) -> Path:
    """Return the directory of a process's control group: of the given controller in version 1, the one directory in version 2."""
    unified = None
    for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup") / controllers / path.lstrip("/")
        if not controllers:
            unified = Path("/sys/fs/cgroup") / path.lstrip("/")
    if unified is None:
        raise FileNotFoundError(f"process {pid} is in no control group")
    return unified


def cgroup_seconds(pid: int) -> float:
    """Return the CPU seconds that the control group of a process has used, processes that ended (health checks) included."""
    group = cgroup_of(pid, "cpuacct")
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6


def process_seconds(pid: int) -> tuple[float, float]:
    """Return the CPU seconds that a process used itself, and those of its children that ended."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own / TICKS, children / TICKS


def parent_of(pid: int) -> int:
    """Return the parent of a process: for the first process of a container, its shim."""
    return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def engine_processes() -> list[int]:
    """Return dockerd and containerd of this host, not those that run inside of containers."""
    here = os.readlink("/proc/self/ns/pid")
    found = []
    for entry in PROC.iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() in ("dockerd", "containerd") and os.readlink(entry / "ns/pid") == here:
                found.append(int(entry.name))
        except OSError:  # it has just ended
            continue
    return found


def machine_seconds() -> float:
    """Return the CPU seconds that the machine was busy: everything but idle and waiting for disks."""
    fields = [int(value) for value in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def shares(containers: list[Container]) -> Shares:
    """Read all accounts at once."""
    shims = [process_seconds(parent_of(container.pid)) for container in containers]
    engine = sum(process_seconds(pid)[0] for pid in engine_processes()) + sum(own for own, _ in shims)
    used = {container.name: cgroup_seconds(container.pid) for container in containers}
    return Shares(used, engine, sum(children for _, children in shims), machine_seconds())


def memory(containers: list[Container]) -> dict[str, float]:
    """Return the proportional set size of each container's processes in MiB: a page that n processes share counts 1/n for each."""
    sizes = {}
    for container in containers:
        kib = 0
        for pid in (cgroup_of(container.pid, "pids") / "cgroup.procs").read_text().split():
            try:
                rollup = (PROC / pid / "smaps_rollup").read_text()
            except OSError:  # a health check that has just ended
                continue
            kib += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        sizes[container.name] = kib / 1024
    return sizes


def load() -> float:
    """Return the machine's load of the last minute."""
    return os.getloadavg()[0]


class Web:
    """The interfaces of one side, asked without a proxy."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Remember the addresses and credentials of `spec`."""
        self.spec = spec
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, url: str, login: list[str] | None = None, body: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return status and decoded body; status 0 when nothing answers within five seconds. A body is posted as JSON."""
        headers = {"Content-Type": "application/json"}
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
        try:
            with self.opener.open(request, timeout=5) as answer:
                raw, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode(errors="replace")

    def component(self, name: str) -> bool:
        """Tell whether Airflow says that one of its components is healthy; the page itself is 200 in any case."""
        status, answer = self.get(self.spec["airflow_url"] + "/api/v2/monitor/health")
        return status == 200 and isinstance(answer, dict) and (answer.get(name) or {}).get("status") == "healthy"

    def login(self) -> bool:
        """Tell whether Airflow's administrator gets a token with the password."""
        user, password = self.spec["airflow_login"]
        status, answer = self.get(self.spec["airflow_url"] + "/auth/token", body={"username": user, "password": password})
        return status == 201 and bool(answer.get("access_token"))

    def mlflow(self) -> bool:
        """Tell whether MLflow lists its experiments, which it reads from its database."""
        status, answer = self.get(self.spec["mlflow_url"] + "/api/2.0/mlflow/experiments/search?max_results=1", self.spec["mlflow_login"])
        return status == 200 and bool(answer.get("experiments"))

    def flower(self) -> bool:
        """Tell whether Flower shows its page."""
        return self.get(self.spec["flower_url"] + "/", self.spec["flower_login"])[0] == 200


def worker_ready(worker: Container | None) -> bool:
    """Tell whether the worker said that it takes tasks. Celery writes this once its consumer runs; asking it would start an interpreter."""
    if worker is None:
        return False
    logs = subprocess.run(["docker", "logs", worker.id], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
    return any("celery@" in line and " ready." in line for line in logs.splitlines())


class Side:
    """One side of the benchmark: its compose projects from nothing to usable, then idle, then gone."""

    def __init__(self, spec: dict[str, Any], name: str) -> None:
        """Read the part of `spec` that is about this side."""
        self.spec: dict[str, Any] = spec["sides"][name]
        self.name, self.common = name, spec
        self.projects: list[str] = list(self.spec["up"])
        self.env = {**os.environ, **self.spec.get("environment", {})}
        self.web = Web(self.spec)
        self.started = 0.0

    def say(self, words: str) -> None:
        """Write a line about the progress."""
        with open(f"{self.common['progress']}-{self.name}", "a", encoding="utf-8") as file:
            file.write(f"{words}\n")

    def remove(self) -> None:
        """Remove the projects with their volumes, by their names."""
        for project in self.projects:
            docker("compose", "--project-name", project, "down", "--volumes", "--remove-orphans", "--timeout", "20", timeout=300)

    def start(self, errors: list[str]) -> list[threading.Thread]:
        """Start all projects at once, each in a thread of its own; what goes wrong is put into `errors`."""

        def run(command: str) -> None:
            done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, env=self.env, timeout=self.common["up_timeout"])
            if done.returncode != 0:
                errors.append(f"{command}: {done.stderr.strip()[-1500:]}")

        threads = [threading.Thread(target=run, args=(command,), daemon=True) for command in self.spec["up"].values()]
        for thread in threads:
            thread.start()
        return threads

    def up(self) -> dict[str, Any]:
        """Start the side on fresh volumes and wait until it can be used.

        Returns:
            `seconds` until everything was true at least once, `steps` with the seconds for each, and `cpu_seconds` that each container used.

        Raises:
            RuntimeError: a command failed, or it took longer than the spec allows.
        """
        steps: dict[str, Callable[[], bool]] = {
            **{f"airflow {name}": partial(self.web.component, name) for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")},
            "worker takes tasks": lambda: worker_ready(next((one for one in running if one.name.endswith("/airflow-worker")), None)),
            "airflow login": self.web.login,
            "flower": self.web.flower,
            "mlflow": self.web.mlflow,
        }
        done: dict[str, float] = {}
        used: dict[str, float] = {}
        errors: list[str] = []
        busy = machine_seconds()
        begun = time.monotonic()
        self.start(errors)
        while len(done) < len(steps):
            time.sleep(POLL)
            running = containers_of(self.projects)
            for container in running:
                try:
                    used[container.name] = cgroup_seconds(container.pid)
                except OSError:  # it has just ended
                    continue
            for name, true in steps.items():
                # Airflow is asked to check a password only once it runs.
                if name in done or (name == "airflow login" and "airflow metadatabase" not in done):
                    continue
                if true():
                    done[name] = round(time.monotonic() - begun, 1)
                    self.say(f"{name} after {done[name]:.1f} s")
            if errors:
                raise RuntimeError(errors[0])
            if time.monotonic() - begun > self.common["up_timeout"]:
                raise RuntimeError(f"not usable after {self.common['up_timeout']} s; missing: {', '.join(steps.keys() - done.keys())}")
        return {
            "seconds": max(done.values()),
            "steps": done,
            "cpu_seconds": {name: round(seconds, 1) for name, seconds in sorted(used.items())},
            "machine_cpu_seconds": round(machine_seconds() - busy, 1),
        }

    def confirm(self) -> None:
        """Ask the worker through Celery itself whether it consumes from its queue; raises RuntimeError if not."""
        worker = next(one for one in containers_of(self.projects) if one.name.endswith("/airflow-worker"))
        words = ["celery", "--app", "airflow.providers.celery.executors.celery_executor.app", "inspect", "--timeout", "20", "active_queues"]
        done = subprocess.run(["docker", "exec", worker.id, *words], check=False, capture_output=True, text=True, timeout=120)
        if done.returncode != 0 or "default" not in done.stdout:
            raise RuntimeError(f"the worker does not consume: {(done.stdout + done.stderr)[-1000:]}")

    def idle(self) -> dict[str, Any]:
        """Let the side settle, then measure CPU and memory while nothing is asked of it."""
        self.say(f"usable; settles for {self.common['settle_seconds']} s")
        time.sleep(self.common["settle_seconds"])
        containers = containers_of(self.projects)
        watcher = subprocess.Popen(
            ["docker", "events", "--filter", "type=container", "--filter", "event=exec_start", "--format", "{{.Actor.ID}}"], stdout=subprocess.PIPE, text=True
        )
        self.say(f"idle for {self.common['idle_seconds']} s, {len(containers)} containers")
        sizes: list[dict[str, float]] = []
        try:
            before, begun = shares(containers), time.monotonic()
            while (left := begun + self.common["idle_seconds"] - time.monotonic()) > 0:
                time.sleep(min(MEMORY_EVERY, left))
                sizes.append(memory(containers))
            after, seconds = shares(containers), time.monotonic() - begun
        finally:
            watcher.terminate()
        probes = [identity for identity in watcher.communicate(timeout=10)[0].split() if identity in {one.id for one in containers}]
        if {one.id for one in containers_of(self.projects)} != {one.id for one in containers}:
            raise RuntimeError("a container ended or started while the side was idle")
        cores = {name: (after.containers[name] - before.containers[name]) / seconds for name in before.containers}
        starting = self.cost_of_a_process(containers) * len(probes) / seconds
        engine = (after.engine - before.engine) / seconds + starting
        sums = [sum(size.values()) for size in sizes]
        middle = sizes[sums.index(statistics.median_low(sums))]
        return {
            "seconds": round(seconds, 1),
            "cores": round(sum(cores.values()), 4),
            "cores_by_container": {name: round(value, 4) for name, value in sorted(cores.items())},
            "engine_cores": round(engine, 4),
            "health_checks": len(probes),
            "other_cores": round((after.machine - before.machine) / seconds - sum(cores.values()) - engine, 3),
            "load": round(load(), 2),
            "memory_mib": round(sum(middle.values()), 1),
            "memory_mib_by_container": {name: round(value, 1) for name, value in sorted(middle.items())},
            "memory_mib_all": [round(value, 1) for value in sums],
        }

    def cost_of_a_process(self, containers: list[Container]) -> float:
        """Return the CPU seconds that starting a process in a container costs outside of the container (runc, before it enters).

        A health check that ended is accounted for in its container's control group. runc, which started it, is a child of the shim; but so
        is the health check itself, and a shim has one sum for both. So the difference is measured on processes that do nothing.
        """
        quiet = next(one for one in containers if one.name.endswith("/redis"))
        before = shares([quiet])
        begun = time.monotonic()
        for _ in range(CALIBRATION_RUNS):
            docker("exec", quiet.id, "true")
        after, seconds = shares([quiet]), time.monotonic() - begun
        time.sleep(10)
        rest = shares([quiet])
        background = (rest.containers[quiet.name] - after.containers[quiet.name]) / 10 * seconds
        inside = after.containers[quiet.name] - before.containers[quiet.name] - background
        return max(0.0, after.children - before.children - inside) / CALIBRATION_RUNS

    def measure(self) -> dict[str, Any]:
        """Measure this side; it is removed afterwards, however that ends."""
        self.remove()
        try:
            self.say("starts")
            result: dict[str, Any] = {"load_before": round(load(), 2), "commands": list(self.spec["up"].values()), "up": self.up()}
            self.confirm()
            result["idle"] = self.idle()
            result["images"] = {image: int(docker("image", "inspect", "--format", "{{.Size}}", image)) for image in self.spec["images"]}
            return result
        finally:
            self.say("removed")
            self.remove()


def machine() -> dict[str, Any]:
    """Describe the machine."""
    memory_kib = int((PROC / "meminfo").read_text().split()[1])
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {
        "cores": os.cpu_count(),
        "memory_mib": memory_kib // 1024,
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": os.uname().release,
        "cgroups": "version 1" if Path("/sys/fs/cgroup/cpuacct").exists() else "version 2",
        "engine": docker("version", "--format", "{{.Server.Version}}").strip(),
        "compose": docker("compose", "version", "--short").strip(),
        "other_containers": len(docker("ps", "-q").split()),
    }


def no_op(spec: dict[str, Any]) -> dict[str, Any]:
    """Time `docker compose up -d --wait` in each project of the running lab, three times."""
    commands = [f"docker compose --project-directory {directory} up -d --wait" for directory in spec["lab_directories"]]
    before = docker("ps", "-q", "--no-trunc")
    runs = []
    for _ in range(3):
        begun = time.monotonic()
        for command in commands:
            subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=300)
        runs.append(round(time.monotonic() - begun, 2))
    if docker("ps", "-q", "--no-trunc") != before:
        raise RuntimeError("the by-hand run was no no-op: containers changed")
    return {"seconds": statistics.median(runs), "runs": runs, "commands": commands, "load": round(load(), 2)}


def main(words: list[str]) -> int:
    """Run one part; returns the exit code."""
    spec = json.loads(Path(words[1]).read_text(encoding="utf-8"))
    try:
        result = no_op(spec) if words[0] == "no-op" else Side(spec, words[2]).measure()
        print(json.dumps({**result, "machine": machine()}))
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))}: {str(error.stderr).strip()[-1500:]}", file=sys.stderr)
        return 1
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
