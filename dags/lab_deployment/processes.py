"""Commands run as processes of their own, whose output is the task's log and whose last words explain a failure."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lab_experiment.failures import Failure


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, explain: Callable[[Sequence[str]], str] | None = None) -> None:
    """Run a command, print what it prints, and take it along when this process is told to end.

    Args:
        command: The program and its arguments; nothing secret, since everybody on the host can read them.
        environment: Variables on top of this process's own.
        explain: Makes the message of a failure from the last lines; by default it is the very last one.

    Raises:
        Failure: It could not be started, or ended with another exit code than 0; the message tells why.
    """
    last: deque[str] = deque(maxlen=40)
    try:
        process = subprocess.Popen(
            command, env=clean({**os.environ, **(environment or {})}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Failure(f"{command[0]} could not be started: {error.strerror}") from None
    assert process.stdout
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.strip():
                last.append(line.strip())
        code = process.wait()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        raise Failure((explain(list(last)) if explain else last[-1]) if last else f"{Path(command[0]).name} ended with exit code {code} and said nothing")


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without Airflow's settings and Python's paths, which are not the business of a model's code."""
    kept = {name: value for name, value in environment.items() if not name.startswith(("AIRFLOW", "__AIRFLOW", "_AIRFLOW", "PYTHONPATH", "PYTHONHOME"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
