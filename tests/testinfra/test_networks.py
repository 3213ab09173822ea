"""What the containers of a lab that run code of others reach of it: each address of each of its containers is tried."""

from __future__ import annotations

import json
import shlex

import pytest
from testinfra.host import Host

LAB = "mlops-lab"
# Where each service listens, in the networks that it is in
PORTS = {
    "airflow/postgres": 5432,
    "airflow/redis": 6379,
    "airflow/airflow-apiserver": 8080,
    "airflow/airflow-scheduler": 8974,
    "airflow/airflow-triggerer": 8794,
    "airflow/flower": 5555,
    "airflow/airflow-worker": 8793,
    "mlflow/postgres": 5432,
    "mlflow/mlflow": 5000,
    "models/models": 8000,
    "index/nginx": 8080,
    "workbench/jupyter": 8888,
    "workbench/optuna-dashboard": 8000,
}
MLFLOW_PYTHON = "python"
TRY = """
import concurrent.futures, json, socket, sys
def answers(place):
    try:
        socket.create_connection(place[1:], 2).close()
        return place[0]
    except OSError:
        return None
with concurrent.futures.ThreadPoolExecutor(40) as pool:
    print(json.dumps(sorted({name for name in pool.map(answers, map(tuple, json.loads(sys.argv[1]))) if name})))
"""


@pytest.fixture(scope="module")
def places(host: Host) -> list[tuple[str, str, int]]:
    """Service, address and port of all that listens, in every network that it is in."""
    found = []
    for container in json.loads(host.check_output(f"docker ps -q --filter name=^{LAB}- | xargs docker inspect")):
        labels = container["Config"]["Labels"]
        service = f"{labels['com.docker.compose.project'].removeprefix(f'{LAB}-')}/{labels['com.docker.compose.service']}"
        if service in PORTS:
            found += [(service, network["IPAddress"], PORTS[service]) for network in container["NetworkSettings"]["Networks"].values()]
    assert {service for service, _address, _port in found} == PORTS.keys()
    return found


@pytest.mark.parametrize(
    "container, python, reached",
    [
        # All that the others must not reach does listen: who may reach it does.
        ("airflow-airflow-scheduler-1", "python", [name for name in PORTS if name.startswith("airflow/") and name != "airflow/airflow-worker"]),
        ("airflow-airflow-apiserver-1", "python", [name for name in PORTS if name.startswith("airflow/")]),
        ("mlflow-mlflow-1", MLFLOW_PYTHON, ["mlflow/postgres", "models/models", "airflow/airflow-worker", "workbench/jupyter", "workbench/optuna-dashboard"]),
        ("airflow-airflow-worker-1", "python", ["airflow/airflow-apiserver", "airflow/postgres", "airflow/redis", "mlflow/mlflow", "models/models"]),
        ("models-runner-1", "/opt/serve/bin/python", []),
        ("environments-environments-1", "python", ["index/nginx"]),
        ("workbench-jupyter-1", "/opt/workbench/bin/python", ["mlflow/mlflow", "models/models", "workbench/optuna-dashboard"]),
    ],
)
def test_who_runs_code_of_others_reaches_what_it_asks_and_nothing_else(
    host: Host, places: list[tuple[str, str, int]], container: str, python: str, reached: list[str]
) -> None:
    others = [place for place in places if not container.startswith(place[0].replace("/", "-"))]
    answered = json.loads(host.check_output(shlex.join(["docker", "exec", f"{LAB}-{container}", python, "-c", TRY, json.dumps(others)])))
    assert answered == sorted(set(reached) - {name for name in PORTS if container.startswith(name.replace("/", "-"))})
