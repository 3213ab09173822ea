"""The DAG ``train``: runs an experiment file."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from lab_experiment.document import NAME, experiments
from lab_operators import ProjectPythonOperator

EXPERIMENTS = os.environ.get("LAB_EXPERIMENTS_DIR", "/opt/airflow/experiments")
RUNS = os.environ.get("LAB_RUNS_DIR", "/opt/airflow/runs")

DOC = """
Trains what an experiment file says: `experiments/<name>.yml` names the callables of an installed package, their arguments, and where the result is
tracked and registered in MLflow. A new experiment is a new file; this DAG is not edited.

1. `check` reads the file, imports the callables and compares their arguments: one sentence for each mistake, before anything runs.
2. `run` runs the steps, the training and the evaluation, and records parameters, metrics, plots and the model in MLflow. It gives the address of the model as its result.

Both run in the project's Python environment on a Celery worker. `run` is one task on purpose: workers may be on several hosts that share no disk, so all that a run leaves in its
folder is made and used on one of them.
"""

with DAG(
    dag_id="train",
    description="Train what an experiment file says, track it in MLflow, register the model",
    doc_md=DOC,
    tags=["lab", "training"],
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    params={
        "experiment": Param(
            type="string",
            title="Experiment",
            pattern=f"^{NAME}$",
            examples=experiments(Path(EXPERIMENTS)),
            description="Name of a file in the folder experiments, without .yml: it says what is trained, on what, and under which name the model is registered.",
        ),
    },
):
    check = ProjectPythonOperator(
        task_id="check",
        command="check",
        request={"experiment": "{{ params.experiment }}", "experiments_dir": EXPERIMENTS},
        execution_timeout=timedelta(minutes=5),
    )
    ProjectPythonOperator(
        task_id="run",
        command="run",
        request={
            "checked": check.output,
            "runs_dir": RUNS,
            "run_id": "{{ run_id }}-try{{ ti.try_number }}",
            "tags": {
                "airflow.dag_id": "{{ dag.dag_id }}",
                "airflow.run_id": "{{ run_id }}",
                "airflow.try_number": "{{ ti.try_number }}",
                "airflow.log_url": "{{ ti.log_url }}",
            },
        },
        execution_timeout=timedelta(hours=12),
    )
