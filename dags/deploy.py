"""The DAG ``deploy``: puts an MLflow model where it is used."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param, task_group

from lab_deployment.operators import CheckOperator, DeploymentOperator, DeployOperator
from lab_deployment.targets import TARGETS, help_text

RUNS = os.environ.get("LAB_RUNS_DIR", "/opt/airflow/runs")
BY = "{{ dag.dag_id }}/{{ run_id }}"
KEY = "{{ run_id }}-{{ ti.map_index }}"

DOC = """
Takes a model out of MLflow and puts it in service, into an object store, or lets it score files. Started by hand or over the API with an address and a target,
or by every training whose experiment file says `deploy`.

1. `check` holds the address and the options against what there is: one sentence for each mistake, before anything runs.
2. `fetch` brings the model to the worker and checks it: it is loaded, and predicts its input example as its signature promises.
3. `deploy` stages the model at the target, compares the predictions there with the model's own, and only then puts it in service.
   When that fails, what was in service before still is.
4. `record` writes at the model in MLflow what was deployed where, when and by which run.

Going back to a former version is deploying it.
"""

with DAG(
    dag_id="deploy",
    description="Put an MLflow model in service, into an object store, or let it score files; proven by its own predictions",
    doc_md=DOC,
    tags=["lab", "deployment"],
    schedule=[Asset(name="trained_model", uri="x-lab://trained_model")],
    catchup=False,
    is_paused_upon_creation=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    params={
        "model_uri": Param(
            None,
            type=["null", "string"],
            title="Model",
            pattern=r"^\s*(models|runs|mlflow-artifacts):/.+$",
            description="Address of the model in MLflow: models:/wine/3, models:/wine@champion, models:/m-..., runs:/<run id>/model or mlflow-artifacts:/...",
        ),
        "target": Param(
            next(iter(TARGETS)),
            type="string",
            title="Target",
            enum=list(TARGETS),
            values_display={name: f"{name}: {target.summary}" for name, target in TARGETS.items()},
            description="Where the model goes.",
        ),
        "target_options": Param({}, type=["object", "null"], title="Options of the target", description_md=help_text()),
    },
):
    check = CheckOperator(task_id="check", execution_timeout=timedelta(minutes=5))

    @task_group
    def deployment(plan: Any) -> None:
        """One deployment of the run; there are several when several trainings ended since the last run."""
        title = "{{ task.request.plan.title }}"
        fetch = DeploymentOperator(
            task_id="fetch",
            command="fetch",
            request={"plan": plan, "runs_dir": RUNS, "key": KEY},
            map_index_template=title,
            execution_timeout=timedelta(hours=1),
        )
        deploy = DeployOperator(
            task_id="deploy",
            request={"plan": plan, "runs_dir": RUNS, "key": KEY, "by": BY},
            map_index_template=title,
            execution_timeout=timedelta(hours=12),
        )
        record = DeploymentOperator(
            task_id="record",
            command="record",
            request={"plan": plan, "deployed": deploy.output, "by": BY, "url": "{{ ti.log_url }}"},
            map_index_template=title,
            retries=3,
            execution_timeout=timedelta(minutes=10),
        )
        fetch >> deploy >> record

    deployment.expand(plan=check.output)
