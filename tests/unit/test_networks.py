"""Which container of a host can reach which other, by the Docker networks of the definitions that the lab's wiring makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import rendering
from tests.unit.plays import wired
from tests.unit.rendering import Case

# Role -> values that its definition cannot be rendered without
ROLES: dict[str, dict[str, Any]] = {
    "package_index": rendering.PACKAGE_INDEX,
    "mlflow_server": rendering.MLFLOW,
    "environments": rendering.ENVIRONMENTS,
    "airflow_stack": rendering.STACK,
    "model_server": rendering.MODEL_SERVER,
    "workbench": rendering.WORKBENCH,
    "gateway": rendering.GATEWAY,
    "image_registry": rendering.IMAGE_REGISTRY,
}
WIRED: dict[str, list[str]] = {
    "package_index": ["name", "network"],
    "mlflow_server": ["project", "network", "other_networks"],
    "environments": ["project", "index_network"],
    "airflow_stack": [
        *("project", "parts", "network", "mlflow_network", "models_network", "share_in_mlflow", "behind_proxy", "control_address", "worker_hostname"),
        "workers_bridge",
        "certificates_dir",
    ],
    "model_server": ["project", "network", "mlflow_network", "other_networks"],
    "workbench": ["project", "network", "optuna_network"],
    "gateway": ["project", "networks"],
    "image_registry": ["project", "network"],
}
CONTROL = {"airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-init", "flower", "postgres", "redis"}


def seen(folder: Path, absent: set[str], *workers: str, host: str = "labhost", **values: Any) -> dict[str, set[str]]:
    """Return for each service of a host the services of the others that share a network with it; two Postgres count as one."""
    found = wired(folder, [f"{role}_{name}" for role, names in WIRED.items() for name in names], *workers, host=host, **values)
    members: dict[str, set[str]] = {}
    for role, needed in ROLES.items():
        if role in absent:
            continue
        own = {name: value for name, value in found.items() if name.startswith(f"{role}_")}
        project = yaml.safe_load(Case("x", role, "compose.yml.j2", {**needed, **own}).render())
        for service, definition in project["services"].items():
            for network in definition.get("networks", ["default"]):
                declared = (project.get("networks") or {}).get(network) or {}
                members.setdefault(declared.get("name", network) if declared.get("external") else f"{project['name']}_{network}", set()).add(service)
    services = set().union(*members.values())
    return {service: set().union(*(there for there in members.values() if service in there)) - {service} for service in services}


def test_on_one_host_what_runs_code_of_others_reaches_what_it_asks_and_nothing_else(tmp_path: Path) -> None:
    reached = seen(tmp_path, {"gateway", "workbench", "image_registry"}, "labhost")
    assert reached["airflow-worker"] == {"postgres", "redis", "airflow-apiserver", "mlflow", "models"}
    assert reached["runner"] == set()
    assert reached["environments"] == {"nginx"}
    assert reached["devpi"] == {"nginx"}
    assert reached["models"] == {"mlflow", "airflow-worker"}
    assert reached["mlflow"] == {"postgres", "models", "airflow-worker"}
    assert reached["airflow-scheduler"] == CONTROL - {"airflow-scheduler"}


def test_a_workbench_and_a_gateway_open_no_way_between_what_they_reach(tmp_path: Path) -> None:
    reached = seen(tmp_path, {"image_registry"}, "labhost", lab_gateway="true", lab_workbench=True, lab_allowed_networks=["10.1.0.0/16"])
    assert reached["airflow-worker"] == {"postgres", "redis", "airflow-apiserver", "mlflow", "models", "gateway"}
    assert reached["jupyter"] == {"mlflow", "models", "optuna-dashboard", "gateway"}
    assert reached["optuna-dashboard"] == {"postgres", "jupyter", "mlflow", "models", "gateway"}
    assert reached["runner"] == set()
    assert reached["environments"] == {"nginx", "gateway"}
    assert reached["gateway"] == {"airflow-apiserver", "flower", "mlflow", "models", "nginx", "jupyter", "optuna-dashboard", "environments", "airflow-worker"}


def test_with_several_hosts_the_control_services_send_their_logs_and_a_worker_s_host_has_no_other_service(tmp_path: Path) -> None:
    values: dict[str, Any] = {"lab_allowed_networks": ["10.1.0.0/16"]}
    reached = seen(tmp_path, {"workbench"}, "worker1", "worker2", **values)
    assert "airflow-worker" not in reached and reached["registry"] == {"gateway"}
    assert reached["airflow-apiserver"] - CONTROL == {"mlflow", "gateway", "models"}
    assert reached["airflow-triggerer"] - CONTROL == {"mlflow", "gateway", "models"}
    assert reached["airflow-scheduler"] == CONTROL - {"airflow-scheduler"}
    control = {"gateway", "workbench", "image_registry", "package_index", "mlflow_server", "model_server"}
    assert seen(tmp_path, control, "worker1", "worker2", host="worker1", **values) == {"airflow-worker": set(), "environments": set()}


def test_limited_tasks_have_a_network_of_a_known_interface_that_is_their_way_out(tmp_path: Path) -> None:
    """Docker takes the way of the network whose name comes first."""
    names = ["lab_workers_bridge", "firewall_egress", "lab_control_address", *(f"airflow_stack_{name}" for name in WIRED["airflow_stack"])]
    values: dict[str, Any] = {"lab_gateway": "true", "lab_egress_networks": ["10.1.0.0/16"], "lab_address": "10.0.0.4"}
    found = wired(tmp_path, names, "labhost", **values)
    bridge = found["lab_workers_bridge"]
    assert len(bridge) <= 15
    own = {name: value for name, value in found.items() if name.startswith("airflow_stack_")}
    project = yaml.safe_load(Case("x", "airflow_stack", "compose.yml.j2", {**rendering.STACK, **own}).render())
    limited, *others = project["services"]["airflow-worker"]["networks"]
    assert project["networks"][limited] == {"driver_opts": {"com.docker.network.bridge.name": bridge}}
    assert others and all(f"{project['name']}_{limited}" < name for name in others)
    assert "workers" not in project["networks"], "containers are made again only where the name of their network changes"
    (way,) = found["firewall_egress"]
    assert way["interface"] == bridge
    assert [(to["networks"], sorted(to.get("ports", []))) for to in way["to"]] == [(["10.0.0.4"], [443, 5000, 5555, 8002, 8080, 8081]), (["10.1.0.0/16"], [])]
    everywhere = wired(tmp_path, names, "labhost", lab_gateway="true", lab_address="10.0.0.4")
    assert (everywhere["firewall_egress"], everywhere["airflow_stack_workers_bridge"]) == ([], "")


@pytest.mark.parametrize("elsewhere", [{"lab_mlflow_url": "https://mlflow.example.com"}, {"lab_index_url": "https://nexus.example.com/simple/"}])
def test_what_is_elsewhere_has_no_network_here(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    absent = {"gateway", "workbench", "image_registry", "mlflow_server" if "lab_mlflow_url" in elsewhere else "package_index"}
    reached = seen(tmp_path, absent, "labhost", **elsewhere)
    assert reached["airflow-worker"] == {"postgres", "redis", "airflow-apiserver", "models"} | ({"mlflow"} if "lab_index_url" in elsewhere else set())
    assert reached["environments"] == ({"nginx"} if "lab_mlflow_url" in elsewhere else set())
