"""What is derived from a map of systems has the parts of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.mlops.lab.plugins.filter.parts import parts

from tests.unit.plays import play

SYSTEMS: dict[str, dict[str, Any]] = {
    "mlflow": {"dir": "/opt/mlflow", "pages": [{"name": "MLflow"}], "backup": {"version": "mlflow"}},
    "gateway": {"dir": "/opt/gateway"},
    "workbench": {"dir": "/opt/workbench", "pages": [{"name": "JupyterLab", "dir": "its own"}, {"name": "Studies"}], "backup": {}},
}


def test_a_part_has_what_it_gets_of_its_system() -> None:
    assert parts(SYSTEMS, "pages") == [{"name": "MLflow"}, {"name": "JupyterLab", "dir": "its own"}, {"name": "Studies"}]
    assert [page["dir"] for page in parts(SYSTEMS, "pages", ["dir"])] == ["/opt/mlflow", "its own", "/opt/workbench"]


def test_a_part_that_is_one_says_its_system_s_name_even_where_it_is_empty() -> None:
    assert parts(SYSTEMS, "backup", ["name", "dir"]) == [
        {"name": "mlflow", "dir": "/opt/mlflow", "version": "mlflow"},
        {"name": "workbench", "dir": "/opt/workbench"},
    ]


def test_systems_may_be_a_list() -> None:
    systems: list[dict[str, Any]] = [{"name": "airflow", "databases": [{"admin": "airflow"}]}, {"name": "models"}]
    assert parts(systems, "databases", ["name"]) == [{"name": "airflow", "admin": "airflow"}]
    assert parts([], "databases") == []


def test_a_credential_becomes_its_password_where_there_is_one() -> None:
    pages = [{"opened": {"path": "/", "credential": "vault_one"}}, {"opened": {"credential": "vault_two"}}]
    assert parts(pages, "opened", [], {"vault_one": "secret", "vault_two": ""}) == [{"path": "/", "password": "secret"}, {}]
    assert parts(pages, "opened")[1] == {"credential": "vault_two"}
    assert pages[0]["opened"] == {"path": "/", "credential": "vault_one"}, "what it is given stays"


def test_what_is_not_asked_for_need_not_be_there(tmp_path: Path) -> None:
    """The map of a lab names secrets of systems that are off, which no vault has."""
    systems = {"toy": {"dir": "{{ lab_dir }}/toy", "key": "{{ vault_not_there }}", "pages": [{"port": "{{ 7000 + 7 }}"}]}}
    show = {"ansible.builtin.debug": {"msg": "{{ systems | mlops.lab.parts('pages', ['dir']) }}"}, "vars": {"lab_dir": "/opt/lab", "systems": systems}}
    done = play(tmp_path, [{**show, "register": "result"}])
    assert done.result["msg"] == [{"dir": "/opt/lab/toy", "port": 7007}], done.output
