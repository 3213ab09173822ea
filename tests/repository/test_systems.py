"""The map of the lab's systems (lab_systems), from which everything else is derived: it is true, and nothing beside it repeats it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import IMAGE_SERVICES

from tests.conftest import ROOT, Run
from tests.unit.rendering import COMPOSE_FILES

SHARED = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
SYSTEMS: dict[str, dict[str, Any]] = SHARED["lab_systems"]
ASKED = (
    *("lab_systems", "lab_projects", "lab_directories", "lab_volumes", "sensitive_files_compose_files", "preflight_ports", "lab_backup_systems"),
    *("lab_backup_others", "workbench_enabled", "verdict_pages", "verdict_urls", "preflight_credentials"),
)
CREDENTIALS = {f"vault_{name}": "a-password-of-the-lab" for name in ("airflow_admin_password", "workbench_password")}


@pytest.fixture(scope="module")
def values(tool: Run) -> Any:
    """Return a function that says what the names in ASKED are in the shipped lab, with other values of variables."""

    def ask(**more: str) -> dict[str, Any]:
        message = "{{ {" + ", ".join(f"'{name}': {name}" for name in ASKED) + "} }}"
        where = ["-i", "localhost,", "--playbook-dir", ROOT / "playbooks", "-e", json.dumps(CREDENTIALS | more), "-c", "local"]
        done = tool(["ansible", "localhost", *where, "-m", "ansible.builtin.debug", "-a", f"msg={message}"], ANSIBLE_CALLBACK_RESULT_FORMAT="json")
        assert done.returncode == 0, done.stdout
        found: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])["msg"]
        return found

    return ask


def test_every_role_with_a_compose_file_is_a_system() -> None:
    assert {system["role"] for system in SYSTEMS.values()} == {path.parents[1].name for path in ROOT.glob("roles/*/templates/compose.yml.j2")}


@pytest.mark.parametrize("name", SYSTEMS)
def test_services_and_volumes_are_those_of_the_compose_files(values: Any, name: str) -> None:
    """In all parts of a system together."""
    system = values()["lab_systems"][name]
    files = [yaml.safe_load(case.render()) for case in COMPOSE_FILES if case.role == system["role"]]
    assert {file["name"] for file in files} == {system["project"]}
    assert {service for file in files for service in file["services"]} == set(system["services"])
    volumes = {
        (more or {}).get("name", f"{file['name']}_{volume}")
        for file in files
        for volume, more in file.get("volumes", {}).items()
        if not (more or {}).get("external")
    }  # another system's
    saved = [tree["volume"] for tree in system.get("backup", {}).get("trees", [])]
    assert sorted(volumes) == sorted([*saved, *system["volumes"]])
    databases = system.get("backup", {}).get("databases", [])
    assert (f"{system['project']}_postgres" in system["volumes"]) == bool(databases), "a backup saves the databases of every Postgres"
    assert system["dir"] == f"/opt/mlops-lab/{system['role']}"


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_wired_from_the_map_alone(name: str) -> None:
    system = SYSTEMS[name]
    wiring = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "playbooks/group_vars/all").glob("*.yml")}
    assert f"lab_systems.{name}.project" in wiring[system["role"]] and f"lab_systems.{name}.dir" in wiring[system["role"]]
    for place, text in wiring.items():
        assert place == "shared" or (system["project"] not in text and system["dir"] not in text), place
    for port in [*system["ports"], *system.get("cluster_ports", [])]:
        assert port["variable"] in SHARED and port["port"] == f"{{{{ {port['variable']} }}}}"
        assert port["group"] in system["hosts"]
    for play in Path(ROOT / "playbooks").glob("*.yml"):
        assert f"lab_name }}}}-{name}" not in play.read_text(encoding="utf-8"), play.name


def test_what_is_derived_has_every_system(values: Any) -> None:
    found = values()
    assert found["lab_projects"] == [f"mlops-lab-{name}" for name in SYSTEMS]
    assert found["lab_directories"] == [f"/opt/mlops-lab/{system['role']}" for system in SYSTEMS.values()]
    assert found["sensitive_files_compose_files"] == [f"{place}/compose.yml" for place in found["lab_directories"]]
    optional = {port["variable"] for name in ("workbench", "registry", "gateway") for port in SYSTEMS[name]["ports"]}
    optional |= {port["variable"] for port in SYSTEMS["airflow"]["cluster_ports"]}
    assert {port["variable"] for port in found["preflight_ports"]} == {name for name in SHARED if name.endswith("_port")} - optional


def test_every_published_page_is_one_of_the_gateway_and_its_container_is_in_its_system_s_network() -> None:
    places = []
    for name, system in SYSTEMS.items():
        pages = system.get("pages", [])
        places += [page["place"] for page in pages]
        ports = {port["port"] for port in system["ports"]} if name != "gateway" else set()
        assert ports == {page["port"] for page in pages}, name
        for page in pages:
            service = page["gateway"]["upstream"].split("/")[2].partition(":")[0]
            assert "network" in system and (service in system["services"] or page["gateway"]["upstream"] == system.get("inside")), page["name"]
            assert page["gateway"].get("credential", "vault_").startswith("vault_") and "password" not in page["gateway"], "the map has no secret"
    assert len(places) == len(set(places))


def test_what_plugins_say_of_airflow_s_services_is_true() -> None:
    """A plugin reads no map: what differs would be found by nobody."""
    assert {*IMAGE_SERVICES} <= {*SYSTEMS["airflow"]["services"]}


def test_with_a_gateway_every_page_needs_its_port_at_the_host_s_address_too(values: Any) -> None:
    ports = values(lab_gateway="true", lab_address="10.0.0.5", lab_control_address="10.0.0.5")["preflight_ports"]
    both = {(port["variable"], port["address"]) for port in ports}
    pages = {port["variable"] for port in ports} - {"lab_gateway_port"}
    assert both == {("lab_gateway_port", "10.0.0.5")} | {(page, address) for page in pages for address in ("10.0.0.5", "127.0.0.1")}
    assert len(ports) == len(both) and "lab_models_port" in pages


def test_what_is_there_already_is_not_the_lab_s_own(values: Any) -> None:
    found = values(lab_index_url="https://nexus.example.com/simple/", lab_mlflow_url="https://mlflow.example.com")
    asked = {port["variable"] for port in found["preflight_ports"]}
    assert not asked & {"lab_index_port", "lab_mlflow_port"} and {"lab_airflow_port", "lab_flower_port", "lab_models_port"} <= asked
    assert {one["name"] for one in found["lab_backup_systems"]} & {"index", "mlflow", "airflow", "models"} == {"airflow", "models"}
    assert found["lab_backup_others"] == ["MLflow", "the package index"]
    assert len(found["lab_projects"]) == len(SYSTEMS), "what an earlier setting started can still be stopped"


def test_the_workbench_runs_when_it_is_asked_for_and_can_be_removed_in_any_case(values: Any) -> None:
    off, on = values(), values(lab_workbench="true")  # as -e writes it
    ports = {port["variable"] for port in SYSTEMS["workbench"]["ports"]}
    assert ports & {port["variable"] for port in off["preflight_ports"]} == set() and ports <= {port["variable"] for port in on["preflight_ports"]}
    assert (off["workbench_enabled"], on["workbench_enabled"]) == (False, "true")
    assert ["workbench" in [one["name"] for one in found["lab_backup_systems"]] for found in (off, on)] == [False, True]
    assert off["lab_backup_others"] == [], "what is off is nobody else's"
    assert [page["name"] for page in on["verdict_pages"] if page not in off["verdict_pages"]] == ["JupyterLab", "Optuna's dashboard"]
    assert "JupyterLab" not in [page["name"] for page in off["verdict_pages"]]
    assert on["verdict_urls"].keys() - off["verdict_urls"].keys() == {"Workbench", "Studies"}
    assert {one["name"]: one["needed"] for one in off["preflight_credentials"] if "needed" in one}["vault_workbench_password"] is False
    for found in (off, on):
        assert "mlops-lab-workbench" in found["lab_projects"] and "mlops-lab-workbench_notebooks" in found["lab_volumes"]


def test_a_backup_saves_the_data_of_every_system(values: Any) -> None:
    found = values(lab_workbench="true")
    saved = {one["name"]: one for one in found["lab_backup_systems"]}
    assert list(saved) == [name for name, system in SYSTEMS.items() if "backup" in system], "in the order of their start"
    for name, one in saved.items():
        assert one == {"name": name, "project": f"mlops-lab-{name}", "dir": found["lab_systems"][name]["dir"], **found["lab_systems"][name]["backup"]}
