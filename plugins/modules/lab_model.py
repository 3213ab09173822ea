#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load a registered model back in the project's environment of a worker, let it predict, and compare the service it is deployed to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_model
short_description: Load a registered model back, let it predict, and compare the service it is deployed to
version_added: 0.1.0
description:
  - Runs the project's Python in a running worker container. It gets the model from MLflow's registry as a user's code would, and
    lets it predict on the input example that was logged with it.
  - Where the worker knows a service for models (C(LAB_MODELS_URL)), sends it the same rows and compares version and predictions.
  - A model without an input example is loaded only, and fails the check where it is to be in service.
  - One of an environment without MLflow is not loaded; the check says why.
  - Changes nothing. A check that fails is a result in RV(checks), not a failure of the module.
options:
  uri:
    description: The model, C(models:/name/version). When empty, the check says that there is no model.
    type: str
    required: true
  project:
    description: Compose project of the worker.
    type: str
    required: true
  service:
    description: Compose service of the worker.
    type: str
    default: airflow-worker
  python:
    description: Interpreter of the project's environment in the container.
    type: str
    default: /opt/project/bin/python
  environment:
    description: The environment of the experiment, whose Python loads the model; C(project) is that of O(python).
    type: str
    default: project
  dags:
    description: The folder of the lab's DAGs in the container, with the module that finds an environment.
    type: str
    default: /opt/airflow/dags
  endpoint:
    description: Ask the service for models as well.
    type: bool
    default: false
  timeout:
    description: Seconds that loading and predicting may take.
    type: int
    default: 420
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Load the model back
  mlops.lab.lab_model:
    uri: models:/wine-cultivars/1
    project: mlops-lab-airflow
  register: __model
"""

RETURN = r"""
checks:
  description: The checks, with C(name), C(ok), C(detail) and C(seconds).
  returned: always
  type: list
  elements: dict
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import docker
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import containers, service_of
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Checks, Failed, counted

#: what finds an environment in the worker: its interpreter, and why MLflow is not in it, if so
ENVIRONMENT = """
import json, sys
sys.path.append(sys.argv[2])
import lab_environments
found = lab_environments.provide(sys.argv[1])
print(json.dumps([found.interpreter, lab_environments.header(found.lock or "").get("without", "")]))
"""

#: what loads the model in the worker; its last line is the result
SCRIPT = """
import base64, json, os, sys, time, urllib.parse, urllib.request
import mlflow.pyfunc
from mlflow.models import convert_input_example_to_serving_input
uri, endpoint = sys.argv[1], sys.argv[2] == "True"
def predict(uri):
    model = mlflow.pyfunc.load_model(uri)
    rows = model.input_example
    if rows is None:
        return [], []
    predictions = model.predict(rows)
    if hasattr(predictions, "values"):
        predictions = predictions.values.ravel()
    return rows, [str(value) for value in list(predictions)]
rows, predictions = predict(uri)
result = {"rows": len(rows), "predictions": predictions}
if endpoint and predictions:
    # Since then another version may have been deployed.
    name, version = uri.split("/")[1:]
    try:
        result["live"] = str(mlflow.MlflowClient().get_model_version_by_alias(name, "live").version)
    except Exception as error:
        result["problem"] = f"{name} is not deployed: no version of it has the alias live"
if result.get("live"):
    result["expected"] = predictions
    if result["live"] != version:
        rows, result["expected"] = predict(f"models:/{name}/{result['live']}")
    url = os.environ["LAB_MODELS_URL"].rstrip("/") + "/models/" + urllib.parse.quote(name, safe="") + "/invocations"
    with open(os.environ["LAB_MODELS_CREDENTIALS_FILE"], encoding="utf-8") as file:
        login = base64.b64encode(file.read().strip().encode()).decode()
    body = convert_input_example_to_serving_input(rows).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Authorization": "Basic " + login})
    until = time.monotonic() + 240  # a service that was just started makes the model's environment first
    while True:
        started = time.monotonic()
        try:
            with urllib.request.build_opener().open(request, timeout=30) as answer:
                served = json.load(answer)["predictions"]
                result |= {"version": answer.headers["X-Model-Version"], "served": [str(value) for value in served], "url": url}
        except urllib.error.HTTPError as error:
            if error.code == 503 and started < until:
                time.sleep(2)
                continue
            result["problem"] = f"{url}: {error}: {error.read(500).decode(errors='replace')}"
        except Exception as error:
            result["problem"] = f"{url}: {error}"
        break
    result["milliseconds"] = round(1000 * (time.monotonic() - started))
print(json.dumps(result), flush=True)
os._exit(0)  # threads of MLflow's client take most of a second to end
"""


def worker_of(present: list[dict[str, Any]], service: str) -> str:
    """Return the name of a running container of the service."""
    names = [c["Name"].lstrip("/") for c in present if service_of(c) == service and c["State"]["Status"] == "running"]
    if not names:
        raise Failed(f"no container of service {service} runs here")
    return str(sorted(names)[0])


class Model:
    """A registered model, loaded back by one process in a worker."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params
        self.result: dict[str, Any] = {}
        self.comparable = True

    def predicts(self) -> str:
        """Load the model and let it predict; return what it said."""
        uri, python, environment = self.params["uri"], self.params["python"], self.params["environment"]
        if not uri:
            raise Failed("there is no registered model to load")
        worker = worker_of(containers([self.params["project"]]), self.params["service"])
        if environment != "project":
            python, without = self.answer_of(worker, python, ENVIRONMENT, environment, self.params["dags"])
            if without:
                self.comparable = False
                return f"not loaded back: the environment {environment} is without MLflow ({without})"
        result = self.result = self.answer_of(worker, python, SCRIPT, uri, str(self.params["endpoint"]))
        if not result["rows"]:
            if self.params["endpoint"]:
                raise Failed(f"{uri} has no input example, without which nothing is deployed")
            self.comparable = False
            return f"{uri} loads in {worker}; it has no input example to predict from"
        if not result["predictions"] or len(result["predictions"]) != result["rows"]:
            raise Failed(f"{counted(len(result['predictions']), 'prediction')} for {counted(result['rows'], 'row')}")
        return f"{uri} in {worker}: {', '.join(result['predictions'][:5])} for {counted(result['rows'], 'row')}"

    def answer_of(self, worker: str, python: str, script: str, *arguments: str) -> Any:
        """Run a script in the worker, and return what it said last."""
        done = docker("exec", "--interactive", worker, python, "-", *arguments, stdin=script, timeout=self.params["timeout"])
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise Failed(f"{python} in {worker}: {reason}")
        return json.loads(lines[-1])

    def is_served(self) -> str:
        """Compare what the service answered to the same rows."""
        result = self.result
        if not result:
            raise Failed("the model could not be loaded, so there is nothing to compare")
        if "problem" in result:
            raise Failed(result["problem"])
        if result["version"] != result["live"]:
            raise Failed(f"{result['url']} serves version {result['version']}, the alias live is at {result['live']}")
        if result["served"] != result["expected"]:
            raise Failed(f"{result['url']} answers {', '.join(result['served'][:5])}, the model itself {', '.join(result['expected'][:5])}")
        return f"{result['url']} answers with version {result['live']} as the model itself, in {result['milliseconds']} ms"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "required": True},
            "project": {"type": "str", "required": True},
            "service": {"type": "str", "default": "airflow-worker"},
            "python": {"type": "str", "default": "/opt/project/bin/python"},
            "environment": {"type": "str", "default": "project"},
            "dags": {"type": "str", "default": "/opt/airflow/dags"},
            "endpoint": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 420},
        },
        supports_check_mode=True,
    )
    checks = Checks()
    model = Model(module.params)
    checks.run("The model loads back and predicts", model.predicts)
    if module.params["endpoint"] and model.comparable:
        checks.run("It is deployed, and the service answers as the model does", model.is_served)
    module.exit_json(changed=False, checks=checks.found)


if __name__ == "__main__":
    main()
