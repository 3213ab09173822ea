"""The operator that runs a command of ``lab_experiment`` in the project's interpreter."""
# mypy: disallow-subclassing-any=False
# (where Airflow is not installed, its classes are unknown to mypy)

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import structlog
from airflow.policies import task_instance_mutation_hook
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, BaseOperatorLink

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException, AirflowSkipException

PROJECT_PYTHON = os.environ.get("LAB_PROJECT_PYTHON", "/opt/project/bin/python")
RUNNER = Path(__file__).parent / "lab_experiment"
QUEUES_BY_RUN = "dag_run" in inspect.signature(task_instance_mutation_hook).parameters
"""Whether Airflow tells the hook that places tasks (``airflow_local_settings.py``) which run they are of; 3.1 does not, so that no run chooses its queues."""


def without_frames(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A processor of structlog: the sentence that an operator of the lab ends with is logged without the stack of Airflow and of that operator.

    It tells a user nothing. Any other exception keeps its stack.
    """
    error = sys.exc_info()[1] if event.get("exc_info") else None
    if isinstance(error, (AirflowFailException, RuntimeError)) and error.__traceback__:
        *_callers, (innermost, _line) = traceback.walk_tb(error.__traceback__)
        if innermost.f_globals.get("__name__") in ("lab_operators", "lab_deployment.operators"):
            event["exc_info"] = (type(error), error, None)
    return event


class Page(BaseOperatorLink):
    """A button of a task in Airflow: the address of what came of it, as the command told it. Airflow 3 keeps it as an XCom, so no plugin has to be loaded."""

    name = ""

    def __init__(self, name: str, page: str) -> None:
        self.name = name
        self.page = page

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address."""
        return f"lab_page_{self.page}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty, which shows no button, where there is none. Asked on the worker when the task has ended, also when it failed."""
        return str(operator.pages.get(self.page, ""))


class ProjectPythonOperator(BaseOperator):
    """Runs ``python lab_experiment <command>`` in the project's interpreter; its output is the task's log, its result the task's.

    A plain process, not ``ExternalPythonOperator``: that one copies the source of one function into a script and sends arguments and result through pickle
    between two Pythons, hands Airflow's own environment variables to the package's code, leaves the process running when the task is killed, and ends
    every failure with the traceback of its own script. Here JSON goes in and out, the process group dies with the task, and a failure is one sentence below the
    package's own traceback.

    Args:
        command: A command of ``lab_experiment``.
        request: What it is given, as JSON; templated.
        part: What of it this task is for, where it is mapped; given with the request.

    Besides its result a command may give ``values``, which become XComs of their own names, a ``title`` for the template of the map index (as
    ``lab_title``), an ``event``, which the assets of the task are told, and ``pages``, the addresses of the task's buttons.
    """

    runner: ClassVar[Path] = RUNNER
    """The package whose commands are run; a subclass may name another one."""

    template_fields: Sequence[str] = ("request",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    operator_extra_links = (Page("MLflow run", "run"), Page("Registered model", "model"))

    def __init__(self, *, command: str, request: dict[str, Any], part: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.request = request
        self.part = part
        self.pages: dict[str, str] = {}
        self._hook: SubprocessHook | None = None

    def pre_execute(self, context: Any) -> None:
        """Have the failure of this task logged as its sentence."""
        super().pre_execute(context)
        processors = structlog.get_config()["processors"]  # the list that is in use, not a copy: Airflow's loggers are there already
        if without_frames not in processors:
            processors.insert(0, without_frames)

    def execute(self, context: Any) -> Any:
        """Run the command.

        Raises:
            AirflowFailException: The experiment file is wrong, or the command failed in a way that trying again does not mend.
            AirflowSkipException: There is nothing to do.
            RuntimeError: The command failed.
        """
        if not os.access(PROJECT_PYTHON, os.X_OK):
            raise AirflowFailException(f"{PROJECT_PYTHON} is not there; LAB_PROJECT_PYTHON names the interpreter of the project's environment.")
        self._hook = SubprocessHook()
        with TemporaryDirectory(prefix="lab-") as folder:
            request, result = Path(folder, "request.json"), Path(folder, "result.json")
            request.write_text(json.dumps({**self.request, "part": self.part}), encoding="utf-8")
            try:
                done = self._hook.run_command(
                    [PROJECT_PYTHON, str(self.runner), self.command, str(request), str(result)],
                    env=_environment(),
                    cwd=folder,
                )
            finally:
                self._stop()
            answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
        self.pages = answer.get("pages", {})
        if "mistakes" in answer or "failure" in answer:
            words = "\n".join(answer.get("mistakes") or [answer["failure"]])
            self.log.error("%s", words)  # before Airflow's own traceback, in which nothing is of interest to who wrote the experiment
            raise (AirflowFailException if "mistakes" in answer or answer.get("final") else RuntimeError)(words)
        if "skip" in answer:
            raise AirflowSkipException(answer["skip"])
        if done.exit_code or "result" not in answer:
            raise RuntimeError(f"{self.runner.name} {self.command} ended with exit code {done.exit_code} and no result; the log above has its last words.")
        for key, value in answer.get("values", {}).items():
            context["ti"].xcom_push(key=key, value=value)
        if "title" in answer:
            context["lab_title"] = answer["title"]
        for asset in self.outlets if "event" in answer else []:
            context["outlet_events"][asset].extra = answer["event"]
        return answer["result"]

    def on_kill(self) -> None:
        """Take the process and its children along when the task is killed or times out."""
        self._stop()

    def _stop(self) -> None:
        process = self._hook.sub_process if self._hook else None
        if process is None or process.poll() is not None:
            return
        for number, seconds in (
            (signal.SIGTERM, 3),
            (signal.SIGKILL, 1),
        ):  # Airflow itself kills the task 5 s after its own signal
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(seconds)
                return


def _environment() -> dict[str, str]:
    """The worker's environment without Airflow's settings and Python's paths, which are not the package's business."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW__", "__AIRFLOW", "_AIRFLOW", "PYTHONPATH", "PYTHONHOME"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
