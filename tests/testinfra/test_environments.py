"""The running service of environments: packages without wheels for the lab's Python get the older one, in every container that uses them."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from tests.conftest import ROOT

SERVICE = "mlops-lab-environments-environments-1"
WORKER = "mlops-lab-airflow-airflow-worker-1"
RUNNER = "mlops-lab-models-runner-1"
PINS = "numpy==1.26.4\nscikit-learn==1.5.2\n"
NEEDS: list[str] = yaml.safe_load((ROOT / "roles" / "environments" / "defaults" / "main.yml").read_text())["environments_lab_requirements"]


def ask(host: Host, **request: Any) -> dict[str, Any]:
    """The last answer of the service."""
    words = shlex.quote(json.dumps(request))
    said = host.check_output(f"printf '%s\\n' {words} | docker exec -i {SERVICE} python /opt/service/environments_server.py --ask")
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


@pytest.mark.deep  # one of the three projects (test_three_projects.py) has such packages, too
def test_packages_of_an_older_python_get_one_and_run_where_they_are_used(host: Host) -> None:
    answer = ask(host, do="resolve", requirements=PINS, needs="\n".join(NEEDS))
    resolved = answer["resolved"]
    assert (resolved["python"], resolved["without"]) == ("3.11", ""), answer
    made = ask(host, do="make", requirements=resolved["lock"], python=resolved["python"])["made"]
    program = "import sys, numpy, sklearn; sys.path.append('/opt/airflow/dags'); print(sys.version[:4], numpy.__version__, sklearn.__version__)"
    for container, more in ((WORKER, "; import lab_experiment.inside, mlflow"), (RUNNER, "; import mlflow")):
        said = host.check_output(f"docker exec {container} {made['interpreter']} -B -c {shlex.quote(program + more)}")
        assert said == "3.11 1.26.4 1.5.2", container
