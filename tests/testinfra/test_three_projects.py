"""Three projects whose exact pins contradict each other, at the same time, by what their people type: published, searched, trained, registered, served, scored.

On a lab of this machine: LAB_INVENTORY=inventories/lab pytest --hosts=local:// tests/testinfra/test_three_projects.py
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.conftest import ROOT, run_tool
from tests.projects import EXPERIMENT, PINS, wheel
from tests.testinfra.asking import AIRFLOW, MODELS, airflow_login, ask, models_login, question

INVENTORY = os.environ.get("LAB_INVENTORY", "molecule/inventory")
DEPLOYED = EXPERIMENT + "deploy: {{target: endpoint, when: always}}\n"
PYTHONS = {"anna": "3.11.", "ben": "3.13.", "carla": "3.13."}
ROWS = [[0.5, -1.0, 2.0], [1.0, 0.0, 0.0]]


def play(home: Path, name: str, *arguments: str) -> str:
    """Run a playbook for the lab of a folder on the test host, which has to succeed; returns what it printed."""
    command = ["ansible-playbook", "-i", INVENTORY, f"playbooks/{name}.yml", "-e", f"lab_home={home}", *arguments]
    done = run_tool(command, MOLECULE_PROJECT_DIRECTORY=str(ROOT))
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def at_once(work: Any) -> dict[str, Any]:
    """What the same work gives for each project, done for all of them at the same time."""
    with ThreadPoolExecutor(len(PINS)) as pool:
        return dict(zip(PINS, pool.map(work, PINS), strict=True))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the lab, with three projects more: their wheels in its index, an experiment and an environment of each, and a file to score."""
    folder = shutil.copytree(ROOT / INVENTORY, tmp_path_factory.mktemp("lab") / "lab")
    for part in ("environments", "data"):
        (folder / part).mkdir(exist_ok=True)
    wheels = [str(wheel(folder.parent, name, pins)) for name, pins in PINS.items()]
    for name in PINS:
        (folder / "environments" / f"{name}.in").write_text(f"{name}==1.0\n")
        (folder / "experiments" / f"{name}.yml").write_text(DEPLOYED.format(name=name))
    (folder / "data" / "rows.csv").write_text("a,b,c\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS))
    play(folder, "publish", "-e", json.dumps({"package_index_publish": wheels}))
    return folder


@pytest.fixture(scope="module")
def said(home: Path) -> dict[str, str]:
    """What `make run` printed for each of them."""
    return at_once(lambda name: play(home, "run", "-e", f"experiment={name}"))


def served(host: Host) -> dict[str, dict[str, Any]]:
    """The models of the three that are served, as the service itself describes them."""
    return {slot["name"]: slot for slot in ask(host, question("GET", f"{MODELS}/models", user=models_login(host)))[0].data["models"] if slot["name"] in PINS}


def predict(host: Host, name: str) -> list[float]:
    """What a served model makes of the rows."""
    body = {"dataframe_split": {"columns": ["a", "b", "c"], "data": ROWS}}
    answer = ask(host, question("POST", f"{MODELS}/models/{name}/invocations", user=models_login(host), body=body))[0]
    assert answer.status == 200, answer.body
    found: list[float] = answer.data["predictions"]
    return found


def score(host: Host, name: str) -> dict[str, Any]:
    """Let the live model of a project score the file, in a run of the DAG `deploy`; gives its report, with the predictions."""
    folder, login = f"{name}-{time.time_ns()}", airflow_login(host)
    options = {"input": "/opt/data/rows.csv", "output": f"/opt/output/{folder}"}
    conf = {"model_uri": f"models:/{name}@live", "target": "batch", "target_options": options}
    runs = f"{AIRFLOW}/api/v2/dags/deploy/dagRuns"
    begun = ask(host, question("POST", runs, headers=login, body={"dag_run_id": folder, "logical_date": None, "conf": conf}))[0]
    assert begun.status in (200, 201), begun.body
    until, state = time.monotonic() + 600, ""
    while state not in ("success", "failed") and time.monotonic() < until:
        time.sleep(2)
        state = ask(host, question("GET", f"{runs}/{folder}", headers=login))[0].data["state"]
    assert state == "success", (name, state)
    written = f"/opt/mlops-lab/airflow_stack/output/{folder}"
    rows = csv.DictReader(io.StringIO(host.file(f"{written}/rows.csv").content_string))
    return {**json.loads(host.file(f"{written}/report.json").content_string), "predictions": [float(row["prediction"]) for row in rows]}


def test_each_is_served_by_the_versions_that_trained_it(host: Host, said: dict[str, str]) -> None:
    models = served(host)
    assert models.keys() == PINS.keys()
    for name, (_, mlflow, _) in PINS.items():
        assert models[name]["error"] is None and models[name]["mlflow"] == mlflow.partition("==")[2], models[name]
        assert models[name]["python"].startswith(PYTHONS[name])
        assert f"models:/{name}/" in said[name] and "curl " in said[name]


def test_all_answer_and_score_at_the_same_time_and_say_the_same(host: Host, said: dict[str, str]) -> None:
    assert said.keys() == PINS.keys()
    answers, reports = at_once(lambda name: predict(host, name)), at_once(lambda name: score(host, name))
    for name, (_, mlflow, _) in PINS.items():
        assert answers[name] == pytest.approx([4.5, 1.0], abs=0.5), "the data is a + 2 b + 3 c"
        assert reports[name]["predictions"] == pytest.approx(answers[name])
        assert (reports[name]["mlflow"], reports[name]["failures"]) == (mlflow.partition("==")[2], 0) and reports[name]["python"].startswith(PYTHONS[name])


@pytest.mark.deep  # an image more: two and a half minutes; tests/unit/test_environments.py makes one in such a folder without an index
def test_an_environment_in_the_image_is_whole_without_network(host: Host, home: Path, said: dict[str, str]) -> None:
    """In an image beside the lab's, so that nothing of the lab is replaced."""
    assert "models:/ben/" in said["ben"]
    name = "mlops-lab/in-image"
    play(home, "build", "-e", json.dumps({"lab_environments_in_image": ["ben"], "airflow_image_repository": name}))
    tags = host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' " + name).split()
    try:
        code = "import ben, numpy, mlflow; ben.make(0.5); print(ben.__file__, numpy.__version__, mlflow.__version__)"
        script = f"/opt/environments-in-image/ben/bin/python -c '{code}'"
        said_there = host.check_output(f"docker run --rm --network=none --pull=never {tags[0]} bash -c {shlex.quote(script)}").splitlines()
        assert re.fullmatch(r"/opt/environments-in-image/\w+/lib/python3\.13/site-packages/ben\.py 2\.3\.5 3\.4\.0", said_there[-1]), said_there
    finally:
        host.run("docker image rm " + " ".join(tags))


def test_one_that_is_removed_leaves_the_others_and_its_own_model_untouched(host: Host, home: Path, said: dict[str, str]) -> None:
    others = ("anna", "carla")
    before, answers = served(host), {name: predict(host, name) for name in others}
    for file in ("environments/anna.in", "environments/anna.lock", "experiments/anna.yml"):
        (home / file).unlink()
    again = play(home, "run", "-e", "experiment=ben")
    assert said.keys() == PINS.keys() and "models:/ben/" in again
    after = served(host)
    assert int(after["ben"]["version"]) > int(before["ben"]["version"])
    assert {name: after[name]["version"] for name in others} == {name: before[name]["version"] for name in others}
    assert {name: predict(host, name) for name in others} == answers
