# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.lab_dag_run`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: lab_dag_run
short_description: Train the first model over Airflow's REST API and wait for it
version_added: 0.1.0
description:
  - Waits until Airflow answers and knows the DAG, triggers the run with the experiment as its configuration, and waits for it.
  - Shows the states of the tasks as they change, how many trials a search has and the best value so far, and at the latest every 20 seconds the seconds waited.
  - The run's id is made of O(first_run), O(experiment) and the image that Airflow runs on. A run with this id that
    succeeded is left as it is, one that failed is cleared and runs again.
  - Ends with the reason in RV(problem) instead of failing, so that the task can hide its arguments and another can show the reason.
  - Runs as an action plugin on the control node, which runs M(mlops.lab.lab_dag_look) on the host again and again.
  - In check mode nothing is triggered or waited for.
options:
  url:
    description: Address of Airflow, as the host reaches it.
    type: str
    required: true
  user:
    description: User of Airflow.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  dag:
    description: The DAG.
    type: str
    default: train
  experiment:
    description: The value of the DAG's parameter C(experiment).
    type: str
    required: true
  then:
    description:
      - DAG that the end of this run sets going by its asset, to be waited for as well; empty for none.
      - With O(result_of) only when that result has C(deploy).
    type: str
    default: ""
  first_run:
    description: Beginning of the run's id.
    type: str
    default: first-model
  run_id:
    description: Id of the run, where it is not to be the one run of this experiment on this image, which is never made twice.
    type: str
    default: ""
  only_follow:
    description: Only follow the run O(run_id). Nothing is triggered, cleared or tried again, and a run that is not there is a problem.
    type: bool
    default: false
  follow_again:
    description:
      - Command that follows the run again. Ansible prints it last when it is interrupted (Ctrl-C). C(RUN_ID) in it stands for the run's id.
      - Empty for nothing.
    type: str
    default: ""
  conf:
    description: Other parameters of the DAG, C(trials) for example.
    type: dict
    default: {}
  result_of:
    description: Task whose result is wanted; empty for none.
    type: str
    default: ""
  project:
    description: Compose project of Airflow, to find the image it runs on.
    type: str
    default: mlops-lab-airflow
  parse_timeout:
    description: Seconds to wait until Airflow answers and knows the DAG.
    type: int
    default: 180
  timeout:
    description: Seconds to wait for the run.
    type: int
    default: 1200
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Train the first model
  mlops.lab.lab_dag_run:
    url: http://127.0.0.1:8080
    user: admin
    password: "{{ vault_airflow_admin_password }}"
    experiment: wine
  register: __run
"""

RETURN = r"""
run_id:
  description: Id of the run.
  returned: always
  type: str
state:
  description: State of the run as Airflow says it, empty where there is none.
  returned: always
  type: str
outcome:
  description: What the task O(result_of) ended with; empty until the run has succeeded.
  returned: always
  type: dict
tracked:
  description: With O(result_of) and a run that has ended, C(mlflow_run_id) and C(experiment_id) of its run in MLflow, as far as they are known.
  returned: always
  type: dict
problem:
  description: Why there is no successful run, in one sentence and the last lines of the log; empty when there is one.
  returned: always
  type: str
"""
