"""Airflow imports this module at start.

Where tasks are made, it places those of an experiment on the queue that the experiment names. In a worker it lets the container's health check see whether
the worker consumes its queues, and refuses what is no task.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any

#: The first Airflow that asks for a token before it runs a callback.
CHECKS_CALLBACKS = (3, 4)

#: Seconds between looks into the queues, and for which a worker with room may leave what waits there.
LOOK, PATIENCE = 20, 60

#: Seconds between looks for a renewed certificate.
RENEWAL = 30


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Place a task of the DAG ``train`` on the queue that its run's experiment, or the trigger, names.

    An operator's `queue` is the same for all runs, for it is no template, and the scheduler reads the task instance's. Airflow calls this whenever it makes a
    task instance or clears one, in the api-server and in the scheduler, and both see the experiments. Before 3.3 it does not say of which run the instance is,
    and a query of our own would not see a run that is not committed yet: the task `check` refuses queues there.
    """
    if dag_run is None or task_instance.dag_id != "train":
        return
    try:
        from airflow.configuration import conf

        if (folder := conf.get_mandatory_value("core", "dags_folder")) not in sys.path:
            sys.path.append(folder)
        from lab_experiment import queues

        experiments = Path(os.environ.get("LAB_EXPERIMENTS_DIR", "/opt/airflow/experiments"))
        task_instance.queue = queues.of_task(task_instance.task_id, dag_run.conf or {}, experiments)
    except Exception as error:  # the scheduler goes on, and the task `check` of the run tells what is wrong
        logging.getLogger(__name__).warning("%s of run %s stays on the queue %s: %s", task_instance.task_id, dag_run.run_id, task_instance.queue, error)


def serve_logs_over_tls(certificates: Path) -> None:
    """Let the server of a worker's logs speak TLS, of which Airflow has no option. It is started by a fork of this process.

    A certificate that was renewed is taken up while it runs: the worker goes on with its tasks.

    Args:
        certificates: directory with the host's certificate and key.
    """
    import uvicorn

    certificate, key = certificates / "host.pem", certificates / "host.key"

    def run_with_tls(app: Any, *, workers: int | None = None, **options: Any) -> None:  # one process, as 3.3 has it
        config = uvicorn.Config(app, **options, ssl_certfile=str(certificate), ssl_keyfile=str(key), timeout_notify=RENEWAL)
        taken = certificate.read_bytes()

        async def take_renewed() -> None:
            """Take another certificate, if there is one. What cannot be used, since its key is not there yet for example, is tried again."""
            nonlocal taken
            try:
                if (now := certificate.read_bytes()) != taken:
                    fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    fresh.load_cert_chain(certificate, key)
                    # A context keeps a certificate for each kind of key: another kind would not take the former one's place.
                    config.ssl.sni_callback = lambda connection, _name, _context: setattr(connection, "context", fresh)
                    taken = now
            except OSError as error:
                logging.getLogger(__name__).warning("The renewed certificate of the worker's logs cannot be used yet: %s", error)

        config.callback_notify = take_renewed
        uvicorn.Server(config).run()

    uvicorn.run = run_with_tls


def take_tasks_only(app: Any) -> None:
    """Let a worker run what is a task of Airflow and nothing else.

    Before 3.4 a worker runs a message of the type ExecuteCallback, which names any function of any module and its arguments, without asking for a
    token (CVE-2026-68982): whoever can write to the broker runs programs. Nothing in the lab uses callbacks that run on workers. What Airflow gets
    is what was judged here, written anew, so that both cannot read one message in two ways.

    Args:
        app: the worker's Celery application, whose task `execute_workload` is narrowed.
    """
    from airflow import __version__
    from airflow.executors.workloads import ExecuteTask
    from packaging.version import Version
    from pydantic import TypeAdapter, ValidationError

    if Version(__version__).release[:2] >= CHECKS_CALLBACKS:
        return
    task, decoder = app.tasks["execute_workload"], TypeAdapter(ExecuteTask)
    execute = task.run

    def execute_task(input: str) -> None:
        """Run a task. Raises ValueError when the message is none."""
        try:
            workload = decoder.validate_json(input)
        except ValidationError as error:
            # Not what was sent, which may hold a token.
            found = error.errors(include_input=False, include_url=False, include_context=False)
            reasons = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'message'}: {one['msg']}" for one in found)
            raise ValueError(f"a message was refused, since the lab's workers run tasks alone, and it is none ({reasons})") from None
        execute(workload.model_dump_json())

    task.run = execute_task


class Consumption:
    """Whether a worker takes what waits in its queues.

    After a restart of Redis a worker may consume no more, and yet keep its event loop, its heartbeat and its answer to a ping (apache/airflow#63580,
    celery/celery#8030). What it cannot hide is that messages wait in its queues while it may take more and begins no task.
    """

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.looked, self.begun, self.waiting_since = time.monotonic(), 0, 0.0

    def goes_on(self) -> bool:
        """Look again, if it is time. Where it does not go on, the worker is told to end, which it does when its tasks have; Docker starts another."""
        from celery.worker import state

        if state.should_stop is not None:  # it takes nothing more, as it is told
            return not self.waiting_since
        now, begun = time.monotonic(), state.all_total_count[0]
        if begun != self.begun or not self.may_take(state):
            self.begun, self.waiting_since = begun, 0
        elif now - self.looked >= LOOK:
            self.looked = now
            self.waiting_since = (self.waiting_since or now) if self.messages_wait() else 0
        if not self.waiting_since or now - self.waiting_since < PATIENCE:
            return True
        logging.getLogger(__name__).error("The worker takes nothing from its queues, where messages wait: it ends when its tasks have, and is started again.")
        state.should_stop = os.EX_OK
        return False

    def may_take(self, state: Any) -> bool:
        """Whether the worker has room. With tasks of before a restart of Redis, which sends their messages again, Celery itself takes less for a while."""
        tasks = self.worker.consumer.task_consumer
        return not state.active_requests or tasks is None or bool(tasks.channel.qos.can_consume())

    def messages_wait(self) -> bool:
        """Whether there is anything in the queues. Asked over a connection of its own, since that of the consumer may be what is broken."""
        app = self.worker.app
        try:
            with app.connection_for_read(transport_options={"socket_timeout": 5, "socket_connect_timeout": 5}) as connection:
                return any(connection.default_channel._size(queue) for queue in app.amqp.queues.consume_from)
        except Exception:  # a broker that does not answer is another matter: Celery connects anew by itself
            return False


if (folder := os.environ.get("LAB_LOGS_CERTIFICATES")) and sys.argv[1:3] == ["celery", "worker"]:
    serve_logs_over_tls(Path(folder))

if heartbeat_file := os.environ.get("LAB_WORKER_HEARTBEAT"):
    from celery.signals import heartbeat_sent, worker_init

    heartbeat = Path(heartbeat_file)
    consumption: list[Consumption] = []

    @heartbeat_sent.connect(weak=False)
    def touch_heartbeat(**_: Any) -> None:
        """Record that the worker's event loop runs, and that the worker takes what waits for it."""
        if all(one.goes_on() for one in consumption):
            heartbeat.touch()

    @worker_init.connect(weak=False)
    def narrow(sender: Any, **_: Any) -> None:
        """Narrow the worker before it makes its processes; one that cannot be narrowed does not start, where Celery would log the error and go on."""
        try:
            take_tasks_only(sender.app)
        except Exception as error:
            sys.exit(f"the worker does not start, since it cannot be kept from running what is no task: {error!r}")
        consumption.append(Consumption(sender))
