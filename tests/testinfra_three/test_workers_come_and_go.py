"""Workers of a lab of three hosts are killed, cut off, lost, drained, added and removed; trainings end well all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from tests.testinfra_three import lab
from tests.testinfra_three.lab import CONTROL, LOGS, PORTS, REDIS, REPORT, WORKER, WORKER1, WORKER2, WORKER3, Airflow

PID = f"docker inspect --format '{{{{.State.Pid}}}}' {WORKER}"


def all_consume(control: Host, where: dict[str, set[str]], seconds: float) -> None:
    """Wait until every worker takes tasks."""
    lab.until(lambda: all(names & lab.consumers(control).keys() for names in where.values()), seconds, "every worker consumes")


@pytest.fixture(autouse=True)
def a_whole_lab(control: Host, where: dict[str, set[str]]) -> Iterator[None]:
    """Each test begins with both workers."""
    all_consume(control, where, 300)
    yield


def begin(airflow: Airflow, name: str, where: set[str], trials: int = 120) -> str:
    """Start a search, and return its id as soon as it is at work on a host with one of these names."""
    run_id = airflow.trigger(name, "wine_search", trials=trials, search__parallel=4)
    lab.until(lambda: airflow.searching(run_id, where), 300, f"{name} searches on {sorted(where)}", every=1)
    return run_id


def test_a_worker_that_is_killed_costs_a_try_and_no_run(airflow: Airflow, worker2: Host, where: dict[str, set[str]]) -> None:
    run_id = begin(airflow, "killed", where[WORKER2])
    before = worker2.check_output(PID)
    worker2.check_output(f"kill -9 {before}")
    tasks = airflow.finish(run_id)
    assert worker2.check_output(PID) not in (before, "0"), "Docker starts it again"
    assert max(task["try_number"] for task in tasks if task["task_id"] == "search") > 1


def test_every_worker_consumes_again_after_the_broker_was_restarted(airflow: Airflow, control: Host, where: dict[str, set[str]]) -> None:
    """Within a minute, and truly: four searchers need the room of both workers."""
    control.check_output(f"docker restart -t 5 {REDIS}")
    all_consume(control, where, 60)
    tasks = airflow.finish(airflow.trigger("restarted", "wine_search", trials=60, search__parallel=4), 400)
    hosts = {task["hostname"] for task in tasks if task["task_id"] == "search"}
    assert all(hosts & names for names in where.values()), hosts


def test_a_worker_s_host_that_is_lost_is_reported_and_its_work_taken_over(airflow: Airflow, worker2: Host, where: dict[str, set[str]]) -> None:
    """It loses its power in the middle of a search; what ended there before is still to be read, and when it is back it is part of the lab again."""
    earlier = airflow.trigger("earlier", "wine_search", trials=8, search__parallel=4)
    ended = [task for task in airflow.finish(earlier) if task["hostname"] in where[WORKER2] and task["state"] == "success"]
    run_id = begin(airflow, "lost", where[WORKER2])
    lab.docker("kill", WORKER2)
    try:
        done = lab.play("playbooks/verify.yml")
        assert done.returncode != 0 and WORKER2 in done.stdout, done.stdout[-3000:]
        logs = [airflow.log(earlier, task) for task in ended]
        assert logs and all(len(log) > 3 and not any("Could not read" in line for line in log) for log in logs), logs
        tasks = airflow.finish(run_id)
        last = [task for task in tasks if task["task_id"] == "train"]
        assert {task["hostname"] for task in last} <= where[WORKER1]
        assert {task["hostname"] for task in airflow.finish(airflow.trigger("alone", "wine")) if task["state"] == "success"} <= where[WORKER1]
    finally:
        lab.docker("start", WORKER2)
    lab.until(lambda: worker2.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 120, "it boots")
    lab.until(lambda: worker2.run(f"docker inspect --format '{{{{.State.Health.Status}}}}' {WORKER}").stdout.strip() == "healthy", 300, "its worker is healthy")


def test_a_run_goes_on_without_a_worker_s_host_that_is_off(control: Host, worker1: Host, worker2: Host, where: dict[str, set[str]]) -> None:
    """It says so first, does the others' part, has a verdict that names the host, and ends with an error; a run for that host alone does the rest."""
    gone = "/opt/mlops-lab/airflow_stack/compose.yml"
    lab.docker("kill", WORKER2)
    worker1.check_output(f"rm {gone}")
    try:
        done = lab.play("site.yml")
        report = json.loads(REPORT.read_text(encoding="utf-8"))
    finally:
        lab.docker("start", WORKER2)
    assert done.returncode != 0, done.stdout[-3000:]
    assert done.stdout.count(f"{WORKER2} is not reached: the run goes on without it, and ends with an error.") == 1, done.stdout[:3000]
    assert worker1.file(gone).exists, done.stdout[-3000:]
    failed = [check["name"] for check in report["checks"] if not check["ok"]]
    assert f"{WORKER2}: The host answers" in failed and not [name for name in failed if name.startswith((CONTROL, WORKER1))], failed
    assert len([name for name in failed if WORKER2 in name]) == 1, failed
    lab.until(lambda: worker2.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 120, "it boots")
    back = lab.play("site.yml", "--limit", WORKER2)
    assert back.returncode == 0, back.stdout[-3000:]
    all_consume(control, where, 300)


def test_after_its_power_came_back_a_host_is_as_closed_as_before(outsider: Host, worker2: Host) -> None:
    assert lab.answering(outsider, WORKER2, (lab.published(worker2) | {LOGS}) - {22}) == set()


def test_no_task_fails_when_its_worker_is_drained(airflow: Airflow, control: Host, worker1: Host, where: dict[str, set[str]]) -> None:
    """It takes nothing new, ends when its tasks have, and stays away until it is wanted again."""
    run_id = begin(airflow, "drained", where[WORKER1], trials=200)
    done = lab.play("playbooks/drain.yml", "--limit", WORKER1)
    assert done.returncode == 0, done.stdout[-3000:]
    state = worker1.check_output(f"docker inspect --format '{{{{.State.Running}}}} {{{{.State.ExitCode}}}}' {WORKER}")
    tasks = airflow.finish(run_id)
    alone = airflow.finish(airflow.trigger("meanwhile", "wine"))
    back = lab.play("playbooks/start.yml", "--limit", WORKER1)
    assert state == "false 0", "it was killed, or still runs"
    assert {task["try_number"] for task in tasks if task["state"] == "success"} == {1}
    assert {task["hostname"] for task in alone if task["state"] == "success"} <= where[WORKER2]
    assert back.returncode == 0, back.stdout[-3000:]
    all_consume(control, where, 120)


@pytest.fixture(scope="module")
def third(control: Host, worker1: Host, worker2: Host, worker3: Host) -> dict[str, str]:
    """Add a third worker, and return what the run said, and what it did to the other hosts."""
    started = "docker ps --no-trunc -q | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}' | sort"
    received = "cat /sys/class/net/eth0/statistics/rx_bytes"
    before = [host.check_output(started) for host in (control, worker1, worker2)]
    bytes_before = int(worker3.check_output(received))
    done = lab.play("site.yml", "--limit", WORKER3, more=True)
    after = [host.check_output(started) for host in (control, worker1, worker2)]
    touched = [old + "\n" + new for old, new in zip(before, after, strict=True) if old != new]
    return {
        "code": str(done.returncode),
        "output": done.stdout,
        "bytes": str(int(worker3.check_output(received)) - bytes_before),
        "touched": "\n".join(touched),
    }


def test_a_host_becomes_a_worker(third: dict[str, str], control: Host, worker3: Host) -> None:
    """By a run for it alone, which restarts nothing elsewhere; it has the image from the control host, once."""
    assert third["code"] == "0", third["output"][-3000:]
    assert set(lab.recap(third["output"])) - {"localhost"} == {WORKER3}
    assert third["touched"] == ""
    size = int(control.check_output("docker image inspect --format '{{.Size}}' $(docker inspect --format '{{.Image}}' " + lab.SCHEDULER + ")"))
    print(f"{int(third['bytes']) / 1e6:.0f} MB came to the new worker; the image has {size / 1e6:.0f} MB where it was built")
    assert int(third["bytes"]) < size + 1e9  # and the packages of Docker's engine
    names = lab.names_of(worker3, WORKER3)
    lab.until(lambda: names & lab.consumers(control).keys(), 120, "it consumes")


def test_a_second_run_for_it_changes_nothing(third: dict[str, str]) -> None:
    done = lab.play("site.yml", "--limit", WORKER3, more=True)
    assert done.returncode == 0 and lab.recap(done.stdout)[WORKER3]["changed"] == 0, done.stdout[-3000:]


def test_it_searches_beside_the_other_worker_of_its_queue_and_its_logs_are_read(
    third: dict[str, str], airflow: Airflow, worker3: Host, where: dict[str, set[str]]
) -> None:
    run_id = airflow.trigger("third", "wine_search", trials=60, search__parallel=4, queue="gpu")
    tasks = [task for task in airflow.finish(run_id) if task["task_id"] == "search"]
    names = lab.names_of(worker3, WORKER3)
    assert {task["hostname"] for task in tasks} & names and {task["hostname"] for task in tasks} & where[WORKER2]
    for task in tasks:
        assert any("[search] trial" in line for line in airflow.log(run_id, task)), task["hostname"]


def test_a_worker_that_is_removed_leaves_nothing_of_the_lab(third: dict[str, str], control: Host, worker3: Host) -> None:
    """Neither anything that runs nor a credential, a key, a rule or a certificate; and the lab does without it."""
    done = lab.play("playbooks/remove_worker.yml", "--limit", WORKER3, more=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert worker3.check_output("docker ps --all --quiet; docker volume ls --quiet; docker image ls --quiet 'mlops-lab/*'") == ""
    assert worker3.check_output("docker network ls --quiet --filter name=mlops-lab") == ""
    assert lab.holding(worker3, lab.heads()) == []
    assert worker3.run("ls -A /opt/mlops-lab").stdout == ""
    assert worker3.run("nft list tables 2>/dev/null | grep -i lab").stdout == ""
    # The company's certificates stay: the host may need them for itself.
    assert [lab.trusts(host) for host in (control, worker3)] == [True, False]

    done = lab.play("site.yml")  # with an inventory in which it is no more
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.unwell(done.stdout) == []
    assert lab.answering(worker3, CONTROL, (lab.published(control) | {*PORTS.values()}) - {22}) == set(), "the control host still lets it in"
