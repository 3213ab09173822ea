"""Role first_model, through Ansible at -vvv, in the lab that test_verdict.py serves."""
# ruff: noqa: F401, F811 (fixtures)

from __future__ import annotations

from typing import Any

from tests.unit.test_verdict import RUN, Control, Lab, control, failed_run, lab, url


def test_training_through_ansible(lab: Lab, control: Control) -> None:
    """The first run triggers, says how far it is, and waits; the second changes nothing."""
    path = f"/api/v2/dags/train/dagRuns/{RUN}"
    lab.answers["/api/v2/dags/train/dagRuns"] = lambda _method, _body: {"dag_run_id": RUN}
    looks: list[str] = []

    def state(_method: str, _body: Any) -> Any:
        if not any(method == "POST" for method, _path, _body in lab.asked):
            return 404, {}
        looks.append("")
        return {"state": "running" if len(looks) < 3 else "success"}

    lab.answers[path] = state
    code, output = control.play("first_model", "--check")
    assert (code, "would be triggered" in output) == (0, True), output
    code, output = control.play("first_model")
    assert (code, "changed=1" in output) == (0, True), output
    for words in (f"run {RUN}: queued", f"run {RUN}: running", "task run: success on worker1 in 3 s"):
        assert words in output
    code, output = control.play("first_model")
    assert (code, "changed=0" in output) == (0, True), output


def test_a_training_that_fails_through_ansible(lab: Lab, control: Control) -> None:
    """It is tried once more, and then the reason is the message."""
    failed_run(lab)
    lab.answers[f"/api/v2/dags/train/dagRuns/{RUN}"] = {"state": "failed"}
    code, output = control.play("first_model")
    assert code != 0
    assert "failed before and runs again" in output
    assert "Task run of DAG train failed on worker1" in output
