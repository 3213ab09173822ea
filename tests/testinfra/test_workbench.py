"""The running workbench: who gets in, that a cell runs in the lab's environment and is logged in to MLflow, and that studies are only shown."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from testinfra.host import Host

from tests.conftest import ROOT
from tests.testinfra.asking import ask, question

JUPYTER, STUDIES = "http://127.0.0.1:8888", "http://127.0.0.1:8889"
CONTAINERS = {"mlops-lab-workbench-jupyter-1": "/run/secrets/token", "mlops-lab-workbench-optuna-dashboard-1": "/run/secrets/credentials"}
SECRETS = "/opt/mlops-lab/workbench/secrets"


@pytest.fixture(scope="module")
def user(host: Host) -> tuple[str, str]:
    """Name and password of who may log in."""
    name, _, password = host.file(f"{SECRETS}/credentials").content_string.strip().partition(":")
    return name, password


def cell(host: Host, kernel: str, code: str) -> dict[str, Any]:
    """Run a cell in a kernel; what came of it."""
    program = shlex.quote((ROOT / "tests/cell.py").read_text(encoding="utf-8"))
    words = " ".join(map(shlex.quote, ("http://127.0.0.1:8888", "/run/secrets/token", kernel, code)))
    container = next(iter(CONTAINERS))
    found: dict[str, Any] = json.loads(host.check_output(f"printf %s {program} | docker exec -i {container} /opt/workbench/bin/python - {words}"))
    return found


def test_only_who_has_the_password_gets_in(host: Host, user: tuple[str, str]) -> None:
    logins = [None, {"Authorization": "token wrong"}, {"Authorization": f"token {user[1]}"}]
    assert [answer.status for answer in ask(host, *(question("GET", f"{JUPYTER}/api/kernelspecs", headers=login) for login in logins))] == [403, 403, 200]
    users = [None, (user[0], "wrong"), ("nobody", user[1]), user]
    assert [answer.status for answer in ask(host, *(question("GET", f"{STUDIES}/api/studies", user=who) for who in users))] == [401, 401, 401, 200]


def test_a_cell_runs_in_the_lab_s_environment_and_is_logged_in_to_mlflow(host: Host) -> None:
    code = "import sys, mlflow; print(sys.executable, len(mlflow.search_experiments()) > 0)"
    done = cell(host, "project", code)
    assert (done["status"], done["text"]) == ("ok", "/opt/project/bin/python True\n"), done


def test_packages_of_one_s_own_come_through_the_environments_service(host: Host) -> None:
    write = "import pathlib; pathlib.Path('/opt/notebooks/kernels/of_the_tests.in').write_text('six\\n')"
    assert cell(host, "project", write)["status"] == "ok"
    done = cell(host, "own.of_the_tests", "import six, sys; print(sys.prefix)")
    assert done["status"] == "ok" and done["text"].startswith("/opt/environments/"), done


def test_a_notebook_runs_in_each_python_that_an_environment_may_have(host: Host) -> None:
    write = "import pathlib; pathlib.Path('/opt/notebooks/kernels/older.in').write_text('# python: 3.11\\nsix\\n')"
    assert cell(host, "project", write)["status"] == "ok"
    done = cell(host, "own.older", "import six, sys; print(sys.version_info[:2], sys.path[-1])")
    assert (done["status"], done["text"]) == ("ok", "(3, 11) /opt/kernel/3.11\n"), done


def test_a_notebook_writes_its_own_folder_alone_and_reaches_no_database(host: Host) -> None:
    for container, secret in CONTAINERS.items():
        for place in ("/", "/opt/workbench", "/opt/workbench/config", "/opt/kernel", "/opt/project", "/opt/environments", "/home/airflow", "/usr/local/bin"):
            assert host.run(f"docker exec {container} touch {place}/x").rc != 0, place
        assert host.check_output(f"docker exec {container} id -u") == "50000"
        assert "CapEff:\t0000000000000000" in host.check_output(f"docker exec {container} cat /proc/1/status")
        for other in {*CONTAINERS.values(), "/run/secrets/optuna_url"} - {secret, *(["/run/secrets/optuna_url"] if "optuna" in container else [])}:
            assert host.run(f"docker exec {container} test -e {other}").rc != 0, other
    jupyter = next(iter(CONTAINERS))
    for place in ("experiments", "environments"):
        assert host.run(f"docker exec {jupyter} touch /opt/notebooks/{place}/x").rc != 0, place
    assert host.run(f"docker exec {jupyter} test -e /opt/notebooks/experiments/wine_search.yml").rc == 0
    assert host.run(f"docker exec {jupyter} bash -c 'exec 3<>/dev/tcp/postgres/5432'").rc != 0


def test_studies_are_shown_and_nothing_of_them_can_be_changed(host: Host, user: tuple[str, str]) -> None:
    shown = ask(host, question("GET", f"{STUDIES}/api/studies", user=user))[0].data["study_summaries"]
    assert any(study["study_name"].startswith("wine_search/") for study in shown)
    changes = [("DELETE", f"/api/studies/{shown[0]['study_id']}"), ("POST", "/api/studies"), ("PUT", f"/api/studies/{shown[0]['study_id']}/note")]
    assert [one.status for one in ask(host, *(question(method, STUDIES + path, user=user, body={}) for method, path in changes))] == [405] * 3
    # Below the guard, Postgres itself refuses.
    program = (
        "import pathlib, sqlalchemy; from workbench import studies; import optuna.storages as s; made = []; make = s.RDBStorage.__init__; "
        "s.RDBStorage.__init__ = lambda self, *a, **k: (make(self, *a, **k), made.append(self))[0]; "
        "studies.dashboard(pathlib.Path('/run/secrets/optuna_url').read_text().strip()); "
        "print(made[0].engine.connect().execute(sqlalchemy.text('CREATE TABLE x (y int)')))"
    )
    done = host.run(f"docker exec mlops-lab-workbench-optuna-dashboard-1 /opt/workbench/bin/python -c {shlex.quote(program)}")
    assert done.rc != 0 and "read-only transaction" in done.stderr
