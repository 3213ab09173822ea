#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Load a registered model back in the project's environment of a worker, and let it predict."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_model
short_description: Load a registered model back and let it predict
version_added: 0.1.0
description:
  - Runs the project's Python in a running worker container. It gets the model from MLflow's registry as a user's code would, and
    lets it predict on the input example that was logged with it.
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
  timeout:
    description: Seconds that loading and predicting may take.
    type: int
    default: 120
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
  description: The check, with C(name), C(ok), C(detail) and C(seconds).
  returned: always
  type: list
  elements: dict
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import containers, docker, service_of
from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Checks, Failed, counted

#: what runs in the worker; its last line is the result
SCRIPT = """
import json, sys
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = model.input_example
if rows is None:
    sys.exit("The model has no input example.")
predictions = model.predict(rows)
if hasattr(predictions, "values"):
    predictions = predictions.values.ravel()
print(json.dumps({"rows": len(rows), "predictions": [str(value) for value in list(predictions)]}))
"""


def worker_of(present: list[dict[str, Any]], service: str) -> str:
    """Return the name of a running container of the service."""
    names = [c["Name"].lstrip("/") for c in present if service_of(c) == service and c["State"]["Status"] == "running"]
    if not names:
        raise Failed(f"no container of service {service} runs here")
    return str(sorted(names)[0])


def predict(uri: str, project: str, service: str, python: str, timeout: int) -> str:
    """Load the model and let it predict; return what it said."""
    if not uri:
        raise Failed("there is no registered model to load")
    worker = worker_of(containers([project]), service)
    done = docker("exec", "--interactive", worker, python, "-", uri, stdin=SCRIPT, timeout=timeout)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Failed(f"{python} in {worker}: {reason}")
    result = json.loads(lines[-1])
    if not result["predictions"] or len(result["predictions"]) != result["rows"]:
        raise Failed(f"{counted(len(result['predictions']), 'prediction')} for {counted(result['rows'], 'row')}")
    return f"{uri} in {worker}: {', '.join(result['predictions'][:5])} for {counted(result['rows'], 'row')}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "required": True},
            "project": {"type": "str", "required": True},
            "service": {"type": "str", "default": "airflow-worker"},
            "python": {"type": "str", "default": "/opt/project/bin/python"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    checks = Checks()
    checks.run("The model loads back and predicts", lambda: predict(**module.params))
    module.exit_json(changed=False, checks=checks.found)


if __name__ == "__main__":
    main()
