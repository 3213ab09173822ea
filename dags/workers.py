"""The DAG ``workers``: a task on each worker of a lab of several hosts. There is none in a lab of one."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator

from lab_experiment.queues import HOST, consumed

DOC = """
Runs a task on each worker host, by the queue that its worker alone consumes. `make verify` runs it: a worker that takes tasks and cannot run them, because it
does not reach the api-server for example, is found here and not by somebody's training.
"""


class Name(BaseOperator):
    """Gives the name of the worker that it runs on."""

    def execute(self, context: Any) -> str:
        """Give it."""
        return socket.gethostname()


if hosts := [queue.removeprefix(HOST) for queue in consumed() or [] if queue.startswith(HOST)]:
    with DAG(
        dag_id="workers",
        description="Run a task on each worker",
        doc_md=DOC,
        tags=["lab"],
        schedule=None,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_tasks=len(hosts),  # the tasks of hosts that are off or busy take no other's place
        dagrun_timeout=timedelta(minutes=10),  # the task of a host that is off fails then; its worker refuses it when it is back
    ):
        for host in hosts:
            Name(task_id=host, queue=HOST + host, execution_timeout=timedelta(minutes=1))
