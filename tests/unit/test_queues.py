"""On which queue the tasks of an experiment run, what is said of one that nobody consumes, and what Airflow makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.action import lab_preflight

from lab_experiment import __main__ as commands
from lab_experiment import document, queues
from lab_experiment.failures import Mistakes
from tests.conftest import ROOT
from tests.unit.plays import play

FILE = """\
queue: gpu
steps: [{name: s, call: "theirs:read"}]
train:
  call: theirs:train
  queue: big
"""
WORDS = "which no worker consumes; allowed: big, default, or others that lab_worker_queues gives to a worker."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment, in a lab whose workers consume the queues ``big`` and ``default``."""
    (tmp_path / "queues.json").write_text('["big", "default"]')
    monkeypatch.setenv("LAB_QUEUES_FILE", str(tmp_path / "queues.json"))
    (tmp_path / "mine.yml").write_text(FILE)
    return tmp_path


def placed(folder: Path, **conf: Any) -> dict[str, str]:
    """The queue of each task of a run."""
    return {task: queues.of_task(task, {"experiment": "mine", **conf}, folder) for task in ("environment", "check", *queues.TASKS)}


def test_the_file_names_the_queue_and_a_section_and_the_trigger_another_one(folder: Path) -> None:
    (folder / "queues.json").write_text('["big", "default", "gpu"]')
    lab = {"environment": "default", "check": "default"}
    assert placed(folder) == {**lab, "prepare": "gpu", "search": "gpu", "cross_validate": "gpu", "train": "big"}
    overrides = {"queue": "big", "train.queue": "default"}
    assert placed(folder, overrides=overrides) == {**lab, "prepare": "big", "search": "big", "cross_validate": "big", "train": "default"}
    assert placed(folder, overrides={"queue": None})["prepare"] == "default"
    assert document.read(folder / "mine.yml", overrides)["queues"] == overrides


def test_a_queue_that_nobody_consumes_gets_no_task_and_is_one_sentence(folder: Path) -> None:
    assert placed(folder)["prepare"] == "default" and placed(folder)["train"] == "big"
    package: Any = {"project": SimpleNamespace(ask=lambda *_, **__: [])}
    request: dict[str, Any] = {"experiment": "mine", "experiments_dir": str(folder)}
    for overrides, place in (({}, f"{folder}/mine.yml, line 1"), ({"queue": "gpu"}, document.OVERRIDES)):
        with pytest.raises(Mistakes) as caught:
            commands.check({**request, "params": json.dumps({"overrides": overrides})}, package)
        assert caught.value.sentences == [f"{place}: queue has 'gpu', {WORDS}"]
    (folder / "queues.json").unlink()
    assert commands.check(request, package)["result"]["document"]["queues"] == {"queue": "gpu", "train.queue": "big"}, (
        "where it is not known, it is not refused"
    )
    with pytest.raises(Mistakes, match=r"line 5: train\.queue has 'big'; allowed: default, for this Airflow does not let a run choose its queue"):
        commands.check({**request, "queues_by_run": False}, package)


def test_the_lab_the_preflight_and_the_dags_know_a_host_s_queue_by_the_same_beginning() -> None:
    wiring = (ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8")
    assert f"map('regex_replace', '^', '{queues.HOST}')" in wiring and queues.HOST == lab_preflight.HOST_QUEUE


def test_the_queue_of_a_host_is_one_as_any_and_a_sentence_does_not_list_them_all(folder: Path) -> None:
    (folder / "queues.json").write_text('["big", "default", "host.vm1", "host.vm2"]')
    assert placed(folder, overrides={"queue": "host.vm2"})["search"] == "host.vm2"
    ((_, words),) = queues.unconsumed({"queue": "host.vm3"})
    assert "allowed: big, default, host.<name of a worker's host>, or" in words


def test_an_experiment_that_is_not_right_is_left_to_the_check(folder: Path) -> None:
    with pytest.raises(Mistakes):
        placed(folder, experiment="../mine")
    (folder / "mine.yml").write_text("queue: [gpu]\ntrain: 7\n")
    assert set(placed(folder).values()) == {"default"}


@pytest.mark.parametrize(
    ("mine", "all_queues", "right"),
    [(["gpu"], ["default", "gpu"], True), (["gpu"], [], False), (["default", "g pu"], [], False), ("default", [], False), (["default", "default"], [], False)],
)
def test_the_role_stops_before_celery_reads_other_queues(tmp_path: Path, mine: Any, all_queues: list[str], right: bool) -> None:
    values = {"airflow_stack_worker_queues": mine, "airflow_stack_queues": all_queues, "airflow_stack_data": ""}
    done = play(tmp_path, [{"ansible.builtin.import_role": {"name": "mlops.lab.airflow_stack", "tasks_from": "check"}, "vars": values}])
    assert (done.returncode == 0) is right, done.output
    assert right or f"airflow_stack_worker_queues of localhost is {json.dumps(mine)}: write a list of names" in " ".join(done.output.split())
