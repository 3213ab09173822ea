"""A lab on three hosts or more, as its users see it: trainings on all workers, their logs, and nothing for anybody outside."""

from __future__ import annotations

import json
import re
import shlex
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from testinfra.host import Host

from tests.testinfra_three import lab
from tests.testinfra_three.lab import ADDRESSES, CERTIFICATES, CONSUMED, CONTROL, COVER, HOSTS, LOGS, PARTIAL, PORTS, REPORT, WORKER, WORKERS, Airflow

TRIAL = re.compile(r"\[search\] trial \d+: .* -> ")
TRIALS = 15
"""For each searcher."""


def test_the_verdict_is_good() -> None:
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert report["ok"] is True


def test_each_worker_ran_a_task_for_the_verdict() -> None:
    (check,) = [check for check in json.loads(REPORT.read_text(encoding="utf-8"))["checks"] if check["name"] == "Each worker host runs tasks"]
    assert check["ok"] and sorted(check["detail"].split(", ")) == sorted(WORKERS), check


def test_the_verdict_says_of_each_host_how_it_is() -> None:
    found = {check["name"]: check["detail"] for check in json.loads(REPORT.read_text(encoding="utf-8"))["checks"]}
    wanted = {"The Docker engine answers", "Containers run", "Airflow runs on the lab's image", "The disk has room", "The certificate is valid"}
    for host in HOSTS:
        own = {name.removeprefix(f"{host}: ") for name in found if name.startswith(f"{host}: ")}
        assert wanted | ({"The clock agrees"} if host != CONTROL else set()) <= own, own
        assert re.fullmatch(r"valid until \d{4}-\d\d-\d\d, 39\d days", found[f"{host}: The certificate is valid"]), found
    assert len({found[f"{host}: Airflow runs on the lab's image"] for host in HOSTS}) == 1


def test_a_dry_run_finds_every_host_as_it_is_wanted() -> None:
    done = lab.play("site.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(lab.recap(done.stdout)) - {"localhost"} == set(HOSTS)
    assert lab.unwell(done.stdout, changed=False) == []


def test_each_worker_takes_tasks_from_its_own_queues(control: Host, where: dict[str, set[str]]) -> None:
    found = {name: next((queues for host, queues in lab.consumers(control).items() if host in where[name]), set()) for name in where}
    assert found == {name: CONSUMED[name] for name in WORKERS}


@dataclass
class Search:
    """A search on all workers of a queue, looked at while it ran and afterwards."""

    run_id: str
    workers: list[str]
    searchers: int
    live: dict[str, list[str]] = field(default_factory=dict)
    """Worker -> the log of one of its searchers while that one was at work, as soon as it had a trial in it."""
    tasks: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module", params=COVER)
def search(request: pytest.FixtureRequest, airflow: Airflow, where: dict[str, set[str]]) -> Search:
    """Search with as many processes as all workers of a queue have room for; look at the logs meanwhile. Every worker is of one of the queues."""
    workers = lab.takers(request.param)
    found = Search(airflow.search("all", request.param, TRIALS), workers, lab.room(workers))
    until = time.monotonic() + 900
    while len(found.live) < len(workers) and airflow.state(found.run_id) in ("queued", "running") and time.monotonic() < until:
        for name in set(workers) - found.live.keys():
            for task in airflow.searching(found.run_id, where[name])[:1]:
                lines = airflow.log(found.run_id, task)
                # Still at work after its log was asked for, so that this was no finished log
                if any(map(TRIAL.search, lines)) and airflow.searching(found.run_id, where[name]):
                    found.live[name] = lines
        time.sleep(1)
    found.tasks = airflow.finish(found.run_id)
    return found


def test_a_search_runs_on_every_worker_of_its_queue(search: Search, airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """Each of them finishes trials of it, together as many as were wanted; MLflow says of each trial who tried it, as the logs do."""
    searchers = [task for task in search.tasks if task["task_id"] == "search"]
    assert len(searchers) == search.searchers
    done = dict.fromkeys(search.workers, 0)
    for task in searchers:
        (worker,) = (name for name in search.workers if task["hostname"] in where[name])
        done[worker] += sum(1 for line in airflow.log(search.run_id, task) if TRIAL.search(line))
    assert all(done.values()) and sum(done.values()) >= TRIALS * search.searchers, done
    tagged = lab.tried(control, search.run_id)
    assert {name: sum(tagged[host] for host in where[name]) for name in search.workers} == done, tagged


def test_steps_are_done_on_one_host_and_their_results_taken_to_the_others(search: Search, airflow: Airflow, where: dict[str, set[str]]) -> None:
    (prepare,) = (task for task in search.tasks if task["task_id"] == "prepare")
    elsewhere = {task["hostname"]: task for task in search.tasks if task["task_id"] == "search" and task["hostname"] != prepare["hostname"]}
    assert bool(elsewhere) == (len(search.workers) > 1), elsewhere
    for task in elsewhere.values():
        logs = [line for one in search.tasks if one["hostname"] == task["hostname"] and one["task_id"] == "search" for line in airflow.log(search.run_id, one)]
        assert any("[steps] their results came from the host that did them" in line for line in logs)
        assert not any("[steps." in line for line in logs), "a step was done again"


def test_a_running_task_s_log_is_read_as_it_grows(search: Search) -> None:
    for name in search.workers:
        assert any(map(TRIAL.search, search.live.get(name, []))), f"nothing of {name} while it searched"


def test_a_finished_task_s_log_is_read_whichever_host_ran_it(search: Search, airflow: Airflow, where: dict[str, set[str]]) -> None:
    for name in search.workers:
        tasks = [task for task in search.tasks if task["state"] == "success" and task["hostname"] in where[name]]
        assert tasks, name
        for task in tasks:
            lines = airflow.log(search.run_id, task)
            assert len(lines) > 1 and not [line for line in lines if re.search(r"Could not read|CERTIFICATE_VERIFY|Failed to fetch log", line)], lines[-10:]


@pytest.mark.parametrize("queue", PARTIAL)
def test_an_experiment_runs_on_the_hosts_of_its_queue_alone(airflow: Airflow, where: dict[str, set[str]], queue: str) -> None:
    tasks = airflow.finish(airflow.trigger("placed", "wine", queue=queue))
    own = lab.names_of_all(where, lab.takers(queue))
    elsewhere = [(task["task_id"], task["hostname"]) for task in tasks if task["state"] == "success" and task["hostname"] not in own]
    assert {task for task, _host in elsewhere} <= {"environment", "check"}, elsewhere  # which run on default
    assert {task["queue"] for task in tasks if task["task_id"] == "train"} == {queue}


# --- Who reaches what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTS)
def test_an_outsider_reaches_nothing(outsider: Host, name: str) -> None:
    """Not one port that anything listens on, but for SSH, which is the machine's and not the lab's."""
    listening = lab.published(lab.reach(name))
    assert listening >= ({PORTS["airflow"], PORTS["redis"]} if name == CONTROL else {LOGS}), "the probe would find nothing anywhere"
    assert lab.answering(outsider, name, ({*listening, *PORTS.values(), LOGS} | set(range(1, 10000))) - {22}) == set()


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_reaches_the_stated_ports_of_the_control_host_alone(control: Host, name: str) -> None:
    found = lab.answering(lab.reach(name), CONTROL, (lab.published(control) | {*PORTS.values()} | set(range(1, 10000))) - {22})
    needed = {PORTS[what] for what in ("airflow", "mlflow", "models", "index", "registry", "postgres", "redis")}
    assert needed <= found <= {*PORTS.values()}, found


def test_containers_of_the_control_host_do_not_reach_it_by_its_address(control: Host) -> None:
    """They have networks of their own for what they need, so what breaks out of one of them finds no other service at the host."""
    listening = lab.published(control) | {*PORTS.values()}
    assert lab.answering(control, CONTROL, listening) >= {PORTS["redis"], PORTS["postgres"]}, "the probe would find nothing anywhere"
    inside = f"docker exec --interactive {lab.SCHEDULER} python"
    assert json.loads(lab.python(control, lab.PROBE, [["redis", 6379]], inside)), "it reaches what it needs by another way"
    assert lab.answering(control, CONTROL, listening, inside) <= {22, LOGS}


@pytest.mark.parametrize("name", WORKERS)
def test_the_logs_of_a_worker_are_for_the_control_host(control: Host, name: str) -> None:
    ports = (lab.published(lab.reach(name)) | {LOGS}) - {22}
    assert lab.answering(control, name, ports) == {LOGS}
    for other in set(WORKERS) - {name}:
        assert lab.answering(lab.reach(other), name, ports) == set(), other


def test_tasks_open_connections_to_what_they_are_let_to_alone(control: Host, airflow: Airflow) -> None:
    """Of the lab the ports of the control host; a host outside where it is listed. Trainings run so, and their logs are read."""
    outsider, inside = lab.reach(lab.OUTSIDERS[0]), f"docker exec --interactive {WORKER} python"
    outside = lab.PLATFORMS[lab.OUTSIDERS[0]]["address"]
    other = next(name for name in WORKERS if name != WORKERS[0])
    places = [[outside, 8111], [ADDRESSES[CONTROL], 8111], [ADDRESSES[other], 8111]]
    listening = [outsider, control, lab.reach(other)]

    def start(networks: list[str]) -> None:
        for verb in ("provision", "start"):
            done = lab.play(f"playbooks/{verb}.yml", "-e", json.dumps({"lab_egress_networks": networks}))
            assert done.returncode == 0, done.stdout[-3000:]

    def reached(name: str) -> list[list[Any]]:
        found: list[list[Any]] = json.loads(lab.python(lab.reach(name), lab.PROBE, places, inside))
        return found

    try:
        for host in listening:
            host.check_output("setsid python3 -m http.server 8111 >/dev/null 2>&1 &")
        lab.until(lambda: reached(WORKERS[0]) == places, 30, "as shipped tasks reach everything that lets them in")
        start([])
        assert [reached(name) for name in WORKERS] == [[]] * len(WORKERS)
        needed = {PORTS[what] for what in ("airflow", "mlflow", "models", "index", "postgres", "redis")}
        asked = lab.published(control) | {*PORTS.values()} | set(range(1, 10000))
        assert needed <= lab.answering(lab.reach(WORKERS[0]), CONTROL, asked, inside) <= {*PORTS.values()} - {PORTS["registry"]}
        for queue in COVER:
            assert airflow.finish(airflow.trigger("limited", "wine", queue=queue))
        start([f"{outside}/32"])
        assert [reached(name) for name in WORKERS] == [[[outside, 8111]]] * len(WORKERS)
    finally:
        for host in listening:
            host.run("pkill -f 'http.server 8111'")
        start(["0.0.0.0/0"])


@pytest.mark.parametrize("name", ["page", "airflow", "mlflow", "flower", "models", "index", "registry"])
def test_without_tls_the_gateway_tells_nothing(worker: Host, name: str) -> None:
    said = f"GET / HTTP/1.1\r\nHost: {ADDRESSES[CONTROL]}\r\nConnection: close\r\n\r\n".encode()
    heard = lab.speak(worker, PORTS[name], said)
    status = re.match(rb"HTTP/1\.[01] (\d+)", heard)
    assert status is None or int(status[1]) >= 300, heard[:300]
    assert b"csrf" not in heard and b"<script" not in heard, heard[:300]


def test_without_tls_the_broker_tells_nothing(worker: Host) -> None:
    """Neither that it is there nor that it wants a password."""
    heard = lab.speak(worker, PORTS["redis"], b"PING\r\n")
    assert not heard.startswith((b"+", b"-")), heard


def test_without_tls_the_database_asks_for_no_password(worker: Host) -> None:
    """What a client says first when it wants no TLS is answered with an error, before it could say anything that is secret."""
    words = b"\0\3\0\0" + b"user\0celery\0database\0celery\0\0"
    heard = lab.speak(worker, PORTS["postgres"], (len(words) + 4).to_bytes(4, "big") + words)
    assert heard[:1] in (b"", b"E") and (not heard or b"no encryption" in heard), heard


@pytest.fixture(scope="module")
def stranger(worker: Host) -> str:
    """The certificate of an authority that is not the lab's, as text."""
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout /dev/null -subj '/CN=a lab of three' -days 2 2>/dev/null"
    return str(worker.check_output(f"{made} -addext keyUsage=critical,keyCertSign,cRLSign"))


@pytest.mark.parametrize("name", ["page", "airflow", "mlflow", "flower", "models", "index", "registry"])
def test_the_gateway_shows_a_certificate_of_the_lab_s_authority(worker: Host, stranger: str, name: str) -> None:
    """Who trusts the lab's authority and asks for the control host is let in; who trusts another one of the same name, or asks for another host, is not."""
    address = ADDRESSES[CONTROL]
    check = f"openssl s_client -connect {address}:{PORTS[name]} -verify_ip {address} -verify_return_error -no-CApath -no-CAstore -CAfile"
    assert worker.run(f"{check} {CERTIFICATES}/ca.pem </dev/null").rc == 0
    another = worker.run(f"{check} {CERTIFICATES}/ca.pem -verify_ip {ADDRESSES[WORKERS[-1]]} </dev/null")
    assert another.rc != 0 and "IP address mismatch" in another.stdout + another.stderr, another
    refused = worker.run(
        f"printf %s {shlex.quote(stranger)} >/run/stranger.pem; {check} /run/stranger.pem </dev/null; code=$?; rm /run/stranger.pem; exit $code"
    )
    assert refused.rc != 0 and "verify error" in refused.stdout + refused.stderr, refused


# Runs in a worker with Airflow's own Python. Standard input: address, ports of Redis and of HTTP services, and an authority that is not the lab's.
# An alias leads to the address, and is no name of the certificate: the address as one number; libpq takes that for the address, so it is told both.
CLIENTS = r"""
import ipaddress, json, os, re, socket, ssl, sys, tempfile
import requests, sqlalchemy
given = json.load(sys.stdin)
address, alias = given["address"], str(int(ipaddress.ip_address(given["address"])))
other = tempfile.NamedTemporaryFile("w", suffix=".pem")
other.write(given["authority"])
other.flush()
found = {}
own = ssl.create_default_context()
for name, host, context in (("own", address, own), ("other", address, ssl.create_default_context(cafile=other.name)), ("alias", alias, own)):
    try:
        with context.wrap_socket(socket.create_connection((host, given["redis"]), 10), server_hostname=host) as one:
            one.sendall(b"PING\r\n")
            found[f"redis {name}"] = one.recv(100).decode()
    except ssl.SSLCertVerificationError:
        found[f"redis {name}"] = "refused"
url = sqlalchemy.make_url(open("/run/secrets/optuna_url").read().strip())
found["postgres url"] = [url.host, url.query.get("sslmode") or os.environ.get("PGSSLMODE")]
others = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": other.name})
for name, changed in (("own", url), ("other", others), ("alias", url.set(host="lab.invalid").update_query_dict({"hostaddr": address}))):
    try:
        sqlalchemy.create_engine(changed).connect().close()
        found[f"postgres {name}"] = "open"
    except sqlalchemy.exc.OperationalError as error:
        found[f"postgres {name}"] = "refused" if re.search("certificate verify failed|does not match host name", str(error)) else str(error)
for name, host, authority in (("own", address, True), ("other", address, other.name), ("alias", alias, True)):
    for service, port in given["http"].items():
        try:
            requests.get(f"https://{host}:{port}/", verify=authority, timeout=20, allow_redirects=False)
            found[f"{service} {name}"] = "open"
        except requests.exceptions.SSLError:
            found[f"{service} {name}"] = "refused"
broker = open("/run/secrets/broker_url").read().strip()
found["broker url"] = [broker.partition(":")[0], address in broker, bool(re.search("(?i)cert_reqs=(cert_)?(none|optional)", broker))]
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_s_clients_know_who_answers_at_the_control_host(stranger: str, name: str) -> None:
    """As they are configured they verify who is there; with another authority, or by another name of the host, they do not connect."""
    services = {service: PORTS[service] for service in ("airflow", "mlflow", "index", "models")}  # the execution API is Airflow's
    given = {"address": ADDRESSES[CONTROL], "redis": PORTS["redis"], "http": services, "authority": stranger}
    found = json.loads(lab.python(lab.reach(name), CLIENTS, given, f"docker exec --interactive {WORKER} python"))
    assert found.pop("redis own").startswith("-NOAUTH")
    assert found == {
        "redis other": "refused",
        "redis alias": "refused",
        "postgres url": [ADDRESSES[CONTROL], "verify-full"],
        "postgres own": "open",
        "postgres other": "refused",
        "postgres alias": "refused",
        **{f"{service} own": "open" for service in services},
        **{f"{service} {wrong}": "refused" for service in services for wrong in ("other", "alias")},
        "broker url": ["rediss", True, False],
    }
