"""Workers of a lab of several hosts are killed, cut off, lost, drained, added and removed; trainings end well all the same."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.testinfra_three import lab
from tests.testinfra_three.lab import (
    ADDRESSES,
    CONSUMED,
    CONTAINERS,
    CONTROL,
    COVER,
    HOSTS,
    JOINER,
    LOGS,
    PORTS,
    QUEUES,
    REDIS,
    REPORT,
    SHARED,
    WORKER,
    WORKERS,
    Airflow,
)

# Postgres is asked for TLS first, in its own protocol.
SHOWN = """
import json, socket, ssl, struct, sys
def shown(name, place):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(tuple(place), 10) as plain:
        if name == "postgres":
            plain.sendall(struct.pack("!ii", 8, 80877103))
            assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as secure:
            return ssl.DER_cert_to_PEM_cert(secure.getpeercert(True))
print(json.dumps({name: shown(name, place) for name, place in json.loads(sys.argv[1]).items()}))
"""
PID = f"docker inspect --format '{{{{.State.Pid}}}}' {WORKER}"
# Of the workers that others can do without: one that is killed and lost, and one that is drained
LOST, DRAINED = lab.REPLACEABLE[-1], lab.REPLACEABLE[0]


def all_consume(control: Host, where: dict[str, set[str]], seconds: float) -> None:
    """Wait until each of these workers takes tasks from its queues."""

    def look() -> bool:
        found = lab.consumers(control)
        return all(any(found.get(host) == CONSUMED[name] for host in names) for name, names in where.items())

    lab.until(look, seconds, "every worker consumes")


@pytest.fixture(scope="session")
def lost() -> Host:
    """The host of the worker that is killed and lost."""
    return lab.reach(LOST)


@pytest.fixture(autouse=True)
def a_whole_lab(control: Host, where: dict[str, set[str]]) -> Iterator[None]:
    """Each test begins with all workers."""
    all_consume(control, where, 300)
    yield


def begin(airflow: Airflow, name: str, where: set[str], trials: int = 30) -> str:
    """Start a search with so many trials for each searcher, and return its id as soon as it is at work on a host with one of these names."""
    run_id = airflow.search(name, SHARED, trials)
    lab.until(lambda: airflow.searching(run_id, where), 300, f"{name} searches on {sorted(where)}", every=1)
    return run_id


def test_a_worker_that_is_killed_costs_a_try_and_no_run(airflow: Airflow, lost: Host, where: dict[str, set[str]]) -> None:
    run_id = begin(airflow, "killed", where[LOST])
    before = lost.check_output(PID)
    lost.check_output(f"kill -9 {before}")
    tasks = airflow.finish(run_id)
    assert lost.check_output(PID) not in (before, "0"), "Docker starts it again"
    assert max(task["try_number"] for task in tasks if task["task_id"] == "search") > 1


def test_every_worker_consumes_again_after_the_broker_was_restarted(airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """Within a minute, and truly: a search that needs all of them finds them."""
    control.check_output(f"docker restart -t 5 {REDIS}")
    all_consume(control, where, 60)
    for queue in COVER:
        tasks = airflow.finish(airflow.search("restarted", queue), 400)
        hosts = {task["hostname"] for task in tasks if task["task_id"] == "search"}
        assert all(hosts & where[name] for name in lab.takers(queue)), hosts


def test_a_worker_whose_network_was_cut_costs_no_run_and_takes_tasks_again(airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """For two minutes in the middle of a search; within three more it consumes its queues, and truly: a search that needs all workers finds it."""
    run_id = begin(airflow, "cut", where[LOST], trials=60)
    with lab.cut_off(LOST):
        end = time.monotonic() + 120
        lab.until(lambda: not where[LOST] & lab.consumers(control).keys(), 60, "the worker is cut off")
        time.sleep(max(0, end - time.monotonic()))
    all_consume(control, where, 180)
    tasks = airflow.finish(run_id)
    assert max(task["try_number"] for task in tasks if task["task_id"] == "search") > 1, "it was at work when it was cut off"
    tasks = airflow.finish(airflow.search("mended", SHARED), 400)
    assert {task["hostname"] for task in tasks if task["task_id"] == "search"} & where[LOST]


def test_a_worker_s_host_that_is_lost_is_reported_and_its_work_taken_over(airflow: Airflow, lost: Host, where: dict[str, set[str]]) -> None:
    """It loses its power in the middle of a search; what ended there before is still to be read, and when it is back it is part of the lab again."""
    others = lab.names_of_all(where, set(WORKERS) - {LOST})
    earlier = airflow.search("earlier", SHARED, 2)
    ended = [task for task in airflow.finish(earlier) if task["hostname"] in where[LOST] and task["state"] == "success"]
    run_id = begin(airflow, "lost", where[LOST])
    lab.docker("kill", CONTAINERS[LOST])
    try:
        done = lab.play("playbooks/verify.yml")
        assert done.returncode != 0 and LOST in done.stdout, done.stdout[-3000:]
        logs = [airflow.log(earlier, task) for task in ended]
        assert logs and all(len(log) > 3 and not any("Could not read" in line for line in log) for log in logs), logs
        tasks = airflow.finish(run_id)
        last = [task for task in tasks if task["task_id"] == "train"]
        assert {task["hostname"] for task in last} <= others
        assert {task["hostname"] for task in airflow.finish(airflow.trigger("alone", "wine", queue=SHARED)) if task["state"] == "success"} <= others
    finally:
        lab.docker("start", CONTAINERS[LOST])
    lab.until(lambda: lost.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 120, "it boots")
    lab.until(lambda: lost.run(f"docker inspect --format '{{{{.State.Health.Status}}}}' {WORKER}").stdout.strip() == "healthy", 300, "its worker is healthy")


def test_a_run_goes_on_without_a_worker_s_host_that_is_off(control: Host, lost: Host, where: dict[str, set[str]]) -> None:
    """It says so first, does the others' part, has a verdict that names the host, and ends with an error; a run for that host alone does the rest."""
    gone = f"{lab.STACK['dir']}/compose.yml"
    other = lab.reach(next(name for name in WORKERS if name != LOST))
    lab.docker("kill", CONTAINERS[LOST])
    other.check_output(f"rm {gone}")
    try:
        done = lab.play("site.yml")
        report = json.loads(REPORT.read_text(encoding="utf-8"))
    finally:
        lab.docker("start", CONTAINERS[LOST])
    assert done.returncode != 0, done.stdout[-3000:]
    assert done.stdout.count(f"{LOST} is not reached: the run goes on without it, and ends with an error.") == 1, done.stdout[:3000]
    assert other.file(gone).exists, done.stdout[-3000:]
    failed = [check["name"] for check in report["checks"] if not check["ok"]]
    present = tuple(f"{name}: " for name in HOSTS if name != LOST)
    assert f"{LOST}: The host answers" in failed and not [name for name in failed if name.startswith(present)], failed
    assert len([name for name in failed if re.search(rf"(?<![\w-]){re.escape(LOST)}(?![\w-])", name)]) == 1, failed
    lab.until(lambda: lost.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 120, "it boots")
    back = lab.play("site.yml", "--limit", LOST)
    assert back.returncode == 0, back.stdout[-3000:]
    all_consume(control, where, 300)


def test_after_its_power_came_back_a_host_is_as_closed_as_before(outsider: Host, lost: Host) -> None:
    assert lab.answering(outsider, LOST, (lab.published(lost) | {LOGS}) - {22}) == set()


def test_no_task_fails_when_its_worker_is_drained(airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """It takes nothing new, ends when its tasks have, and stays away until it is wanted again."""
    run_id = begin(airflow, "drained", where[DRAINED], trials=50)
    done = lab.play("playbooks/drain.yml", "--limit", DRAINED)
    assert done.returncode == 0, done.stdout[-3000:]
    state = lab.reach(DRAINED).check_output(f"docker inspect --format '{{{{.State.Running}}}} {{{{.State.ExitCode}}}}' {WORKER}")
    tasks = airflow.finish(run_id)
    alone = airflow.finish(airflow.trigger("meanwhile", "wine", queue=SHARED))
    back = lab.play("playbooks/start.yml", "--limit", DRAINED)
    assert state == "false 0", "it was killed, or still runs"
    assert {task["try_number"] for task in tasks if task["state"] == "success"} == {1}
    assert {task["hostname"] for task in alone if task["state"] == "success"} <= lab.names_of_all(where, set(WORKERS) - {DRAINED})
    assert back.returncode == 0, back.stdout[-3000:]
    all_consume(control, where, 120)


def test_no_task_fails_when_certificates_are_renewed(airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """Those of all hosts, in the middle of a search: nothing is started again, and databases, broker and the workers' logs show the new ones."""
    places = {name: (ADDRESSES[name], LOGS) for name in WORKERS} | {name: (ADDRESSES[CONTROL], PORTS[name]) for name in ("redis", "postgres")}

    def started() -> dict[str, str]:
        format = "docker ps --no-trunc -q | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}' | grep -e -airflow | sort"
        return {name: lab.reach(name).check_output(format) for name in (CONTROL, *WORKERS)}

    def shown() -> dict[str, str]:
        found: dict[str, str] = json.loads(control.check_output(f"python3 -c {shlex.quote(SHOWN)} {shlex.quote(json.dumps(places))}"))
        return found

    before, former = started(), shown()
    run_id = begin(airflow, "renewed", where[LOST], trials=50)
    for verb in ("provision", "start"):
        done = lab.play(f"playbooks/{verb}.yml", "-e", "certificates_renew_days=398")
        assert done.returncode == 0, done.stdout[-3000:]
    tasks = airflow.finish(run_id)
    assert {task["try_number"] for task in tasks if task["state"] == "success"} == {1}
    assert started() == before
    lab.until(lambda: not former.items() & shown().items(), 60, "all of them show another certificate")
    all_consume(control, where, 60)


@pytest.fixture(scope="module")
def joined(joiner: Host) -> dict[str, str]:
    """Add a worker, and return what the run said, and what it did to the other hosts."""
    started = "docker ps --no-trunc -q | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}' | sort"
    before = [lab.reach(name).check_output(started) for name in HOSTS]
    bytes_before = lab.received(joiner)
    done = lab.play("site.yml", "--limit", JOINER, more=True)
    after = [lab.reach(name).check_output(started) for name in HOSTS]
    touched = [old + "\n" + new for old, new in zip(before, after, strict=True) if old != new]
    return {
        "code": str(done.returncode),
        "output": done.stdout,
        "bytes": str(lab.received(joiner) - bytes_before),
        "touched": "\n".join(touched),
    }


def test_a_host_becomes_a_worker(joined: dict[str, str], control: Host, joiner: Host) -> None:
    """By a run for it alone, which restarts nothing elsewhere; the image came to it once, and less than that of packages of the system."""
    assert joined["code"] == "0", joined["output"][-3000:]
    assert set(lab.recap(joined["output"])) - {"localhost"} == {JOINER}
    assert joined["touched"] == ""
    size = sum(lab.layers().values())
    print(f"{int(joined['bytes']) / 1e6:.0f} MB came to the new worker; the image has {size / 1e6:.0f} MB in the registry")
    assert int(joined["bytes"]) < 2 * size
    all_consume(control, {JOINER: lab.names_of(JOINER)}, 120)


def test_a_second_run_for_it_changes_nothing(joined: dict[str, str]) -> None:
    done = lab.play("site.yml", "--limit", JOINER, more=True)
    assert done.returncode == 0 and lab.recap(done.stdout)[JOINER]["changed"] == 0, done.stdout[-3000:]


def test_a_host_that_has_what_is_below_the_lab_s_own_packages_pulls_next_to_nothing(
    joined: dict[str, str], joiner: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less than 3 % of the image: one more package of the lab's own makes another image, and what comes to a worker with the former one is counted there."""
    assert joined["code"] == "0"
    for lock in ("public.txt", "project.txt"):
        shutil.copy(Path(lab.KNOWN["locks"], lock), tmp_path)
    own = [line for line in (lab.FOLDER / "inventory/custom_requirements.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    changed = json.dumps({"airflow_image_custom_requirements": [*own, "iniconfig"], "airflow_image_lock_dir": str(tmp_path)})
    before = lab.layers()
    try:
        built = lab.play("playbooks/build.yml", "--limit", lab.BUILDER, "-e", changed)
        assert built.returncode == 0, built.stdout[-3000:]
        after = lab.layers()
        bytes_before = lab.received(joiner)
        pulled = lab.play("playbooks/build.yml", "--limit", JOINER, more=True)
        came = lab.received(joiner) - bytes_before
    finally:
        back = lab.play("playbooks/build.yml", more=True)
    assert pulled.returncode == 0, pulled.stdout[-3000:]
    assert back.returncode == 0 and lab.layers() == before, back.stdout[-3000:]
    new, size = sum(after[digest] for digest in after.keys() - before), sum(after.values())
    with capsys.disabled():
        print(f"\n{came / 1e6:.2f} MB of {size / 1e6:.0f} MB were pulled, {came / size:.2%}; the new layers have {new / 1e6:.2f} MB")
    assert 0 < new <= came < 0.03 * size, (new, came, size)


def test_it_searches_beside_the_others_of_its_queue_and_its_logs_are_read(joined: dict[str, str], airflow: Airflow, where: dict[str, set[str]]) -> None:
    queue = min(QUEUES[JOINER], key=lambda one: (not lab.takers(one), len(lab.takers(one))))  # one that nobody else has, if it has no other
    run_id = airflow.search("joined", queue, more=[JOINER])
    tasks = [task for task in airflow.finish(run_id) if task["task_id"] == "search"]
    hosts = {task["hostname"] for task in tasks}
    assert hosts & lab.names_of(JOINER) and all(hosts & where[name] for name in lab.takers(queue)), hosts
    for task in tasks:
        assert any("[search] trial" in line for line in airflow.log(run_id, task)), task["hostname"]


def test_a_worker_that_is_removed_leaves_nothing_of_the_lab(joined: dict[str, str], control: Host, joiner: Host) -> None:
    """Neither anything that runs nor a credential, a key, a rule or a certificate; and the lab does without it."""
    done = lab.play("playbooks/remove_worker.yml", "--limit", JOINER, more=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert joiner.check_output(f"docker ps --all --quiet; docker volume ls --quiet; docker image ls --quiet '{lab.NAME}/*'") == ""
    assert joiner.check_output(f"docker network ls --quiet --filter name={lab.NAME}") == ""
    assert lab.holding(joiner, lab.heads()) == []
    assert joiner.run(f"ls -A {lab.DIR}").stdout == ""
    assert joiner.run(f"nft list tables 2>/dev/null | grep -F {lab.KNOWN['firewall']}").stdout == ""
    # The company's certificates stay: the host may need them for itself.
    assert [lab.trusts(host) for host in (control, joiner)] == [True, False]

    done = lab.play("site.yml")  # with an inventory in which it is no more
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.unwell(done.stdout) == []
    assert lab.answering(joiner, CONTROL, (lab.published(control) | {*PORTS.values()}) - {22}) == set(), "the control host still lets it in"
