"""The DAG ``train``: runs an experiment file."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Param

from lab_experiment.document import NAME, experiments
from lab_operators import QUEUES_BY_RUN, ProjectPythonOperator

EXPERIMENTS = os.environ.get("LAB_EXPERIMENTS_DIR", "/opt/airflow/experiments")
RUNS = os.environ.get("LAB_RUNS_DIR", "/opt/airflow/runs")
POOL = os.environ.get("LAB_SEARCH_POOL", "search")

NAMES = experiments(Path(EXPERIMENTS))
# The form opens with an experiment that runs: the shipped one, where it is still there.
CHOSEN = {"default": "wine_search" if "wine_search" in NAMES else NAMES[0]} if NAMES else {}

DOC = """
Does what an experiment file says: `experiments/<name>.yml` names the callables of an installed package, their arguments, and where the result is
tracked and registered in MLflow. A new experiment is a new file, or other parameters of the trigger; this DAG is not edited.

1. `environment` makes the Python environment that the file names on this worker; its log shows what is installed. One that is there already costs nothing.
2. `check` reads the file, imports the callables and compares their arguments: one sentence for each mistake, before anything runs.
3. `prepare` makes the run in MLflow and does the steps.
4. `search` tries parameters, in as many mapped tasks side by side as `search.parallel` says, on whatever worker has room (pool `search`).
5. `cross_validate` cross-validates the estimator with the best parameters.
6. `train` fits the model with them, evaluates, records and registers it. It gives the address of the model as its result,
   and tells it the asset `trained_model`.

Sections that the file does not have are skipped. The callables run in the experiment's environment, on a Celery worker that consumes the queue that the file
names; `environment` and `check` run on `default`.
A task that is tried again goes on where it was: finished trials and steps are not done again.
"""

with DAG(
    dag_id="train",
    description="Search, cross-validate and train what an experiment file says, track it in MLflow, register the model",
    doc_md=DOC,
    tags=["lab", "training"],
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=15)},
    params={
        "experiment": Param(
            **CHOSEN,
            type="string",
            title="Experiment",
            pattern=f"^{NAME}$",
            examples=NAMES,
            description="Name of a file in the folder experiments, without .yml: "
            "it says what is searched, trained, on what, and under which name the model is registered.",
        ),
        "trials": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Trials",
            section="Instead of what the file says",
            description="How many trials the search has. Empty: as many as the file says.",
        ),
        "inputs": Param(
            {},
            type=["object", "null"],
            title="Inputs",
            section="Instead of what the file says",
            description_md='Values for the `inputs` of the file, by name: `{"test_share": 0.3}`. What is not given keeps the value in the file.',
        ),
        "overrides": Param(
            {},
            type=["object", "null"],
            title="Overrides",
            section="Instead of what the file says",
            description_md='Any other key of the file, by its path: `{"search.sampler": "random"}`, `{"steps.prepare.with.seed": 8}`. '
            'What the file does not have is added: `{"deploy.target": "endpoint"}`. Null takes a section out: `{"deploy": null}`.',
        ),
    },
):

    def asked(**more: Any) -> dict[str, Any]:
        """What every command after ``check`` is given."""
        return {
            "checked": check.output,
            "runs_dir": RUNS,
            "run_id": "{{ run_id }}",
            "tags": {
                "airflow.dag_id": "{{ dag.dag_id }}",
                "airflow.run_id": "{{ run_id }}",
                "airflow.try_number": "{{ ti.try_number }}",
                "airflow.log_url": "{{ ti.log_url }}",
            },
            **more,
        }

    asked_for = {"experiment": "{{ params.experiment }}", "params": "{{ params | tojson }}", "experiments_dir": EXPERIMENTS}
    environment = ProjectPythonOperator(
        task_id="environment",
        command="environment",
        request=asked_for,
        execution_timeout=timedelta(minutes=30),
    )
    check = ProjectPythonOperator(
        task_id="check",
        command="check",
        request={**asked_for, "queues_by_run": QUEUES_BY_RUN},
        execution_timeout=timedelta(minutes=30),
    )
    prepare = ProjectPythonOperator(
        task_id="prepare",
        command="prepare",
        request=asked(),
        execution_timeout=timedelta(hours=6),
    )
    prepared = asked(run=prepare.output["run"])
    # A searcher whose worker was killed is tried again, and finds what the others did meanwhile.
    search = ProjectPythonOperator.partial(
        task_id="search",
        command="search",
        request=prepared,
        pool=POOL,
        retries=5,
        map_index_template="{{ lab_title | default('searcher ' ~ (ti.map_index + 1)) }}",
        execution_timeout=timedelta(hours=24),
    ).expand(part=prepare.output)
    cross_validate = ProjectPythonOperator(
        task_id="cross_validate",
        command="cross_validate",
        request=prepared,
        trigger_rule="none_failed",
        execution_timeout=timedelta(hours=12),
    )
    train = ProjectPythonOperator(
        task_id="train",
        command="train",
        request=prepared,
        trigger_rule="none_failed",
        outlets=[Asset(name="trained_model", uri="x-lab://trained_model")],
        execution_timeout=timedelta(hours=12),
    )
    environment >> check
    prepare >> search >> cross_validate >> train
