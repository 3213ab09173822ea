"""Start a kernel in an environment of the lab: ``kernel.py <name> <connection file>``.

    project     the environment in the lab's image
    churn       the environment that environments/churn.lock describes
    own.churn   the packages in kernels/churn.in of the user's own folder, locked beside it

An environment is found and made as for a run of an experiment, by the same code (``lab_environments`` of the DAGs): the same lock, the same folder, the same
Python. It need not have ipykernel. What a kernel needs is in a folder of its own for each Python, which comes last on the path: what the environment has
counts, and it is left as it is.

An environment that cannot be had gives a kernel that says why in answer to every cell.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

sys.path.append(os.environ.get("LAB_DAGS", "/opt/airflow/dags"))

import lab_environments
from lab_experiment.failures import Failure, Mistakes

PROJECT = "/opt/project/bin/python"
KERNELS = "/opt/kernel"
"""What a kernel needs besides an environment: in a folder for each Python that the image has."""

PYTHON = re.compile(r"^#\s*python:\s*(3\.[0-9]+)\s*$", re.MULTILINE)
NAMES_PYTHON = re.compile(r"^#\s*python\s*(?:[:=].*|(?:[<>=~!]=?)?\s*3(?:\.\d+)*\s*)$", re.MULTILINE | re.IGNORECASE)
"""Comments that name the Python, as for the environments of the lab: plugins/action/lock_environments.py, which does not reach this container."""

PREPARE = "import sys; sys.path[:] = [p for p in sys.path if p] + ['{folder}/%d.%d' % sys.version_info[:2]]; "
TRY = PREPARE + "import ipykernel.kernelapp, ipykernel.ipkernel, zmq"
START = PREPARE + "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"


class Unusable(Exception):
    """Why there is no such environment; one sentence."""


def interpreter_of(name: str) -> str:
    """Return the interpreter of an environment, which is made now if it is not there yet.

    Raises:
        Unusable: it cannot be made.
    """
    if name == "project":
        return os.environ.get("LAB_PROJECT_PYTHON", PROJECT)
    try:
        if not name.startswith("own."):
            return lab_environments.provide(name, say).interpreter
        lock = own_lock(name.partition(".")[2])
        return lab_environments.made(lock, lab_environments.header(lock).get("python", ""), say)[1]
    except (Failure, Mistakes) as error:
        raise Unusable(str(error).rstrip(".")) from None


def own_lock(name: str) -> str:
    """Return the lock of a list of packages of the user's own, which is made now if the list changed."""
    folder = Path(os.environ.get("LAB_OWN_KERNELS", "/opt/notebooks/kernels"))
    file, lock = folder / f"{name}.in", folder / f"{name}.lock"
    try:
        wanted = file.read_text(encoding="utf-8")
        former = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        asked = f"# asked: {hashlib.sha256(wanted.encode()).hexdigest()[:32]}\n"
        if former.startswith(asked):
            return former
        python = PYTHON.search(wanted)
        if meant := next((one for one in NAMES_PYTHON.finditer(wanted) if not PYTHON.match(one[0])), None):
            raise Unusable(f"{file.name} has {meant[0].strip()!r}, which names no Python; write it as in `# python: 3.11`, or take the line out")
        request = {"do": "resolve", "requirements": wanted, "previous": former, "python": python[1] if python else ""}
        resolved = lab_environments.asked(request, say)["resolved"]
        text = f"{asked}# python: {resolved['python']}\n{resolved['lock']}"
        lock.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{error.filename}: {error.strerror}") from None
    return text


def say(line: str) -> None:
    """Write a line to the log of the container."""
    print(f"[kernel] {line}", file=sys.stderr, flush=True)


def refuse(sentence: str, connection: str) -> NoReturn:
    """Be a kernel that answers every cell with a sentence."""
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.kernelbase import Kernel

    class Refusing(Kernel):
        """Runs nothing."""

        implementation, implementation_version, banner = "lab", "1", sentence
        language_info: dict[str, Any] = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py"}  # noqa: RUF012

        def do_execute(self, code: str, silent: bool, *_more: Any, **_others: Any) -> dict[str, Any]:
            """Say why it runs nothing."""
            found = {"ename": "Unusable", "evalue": sentence, "traceback": [sentence]}
            if not silent:
                self.send_response(self.iopub_socket, "error", found)
            return {"status": "error", "execution_count": self.execution_count, **found}

    IPKernelApp.launch_instance(argv=["-f", connection], kernel_class=Refusing)
    sys.exit(0)


def main(name: str, connection: str) -> None:
    """Start the kernel in this process."""
    folder = os.environ.get("LAB_KERNELS", KERNELS)
    try:
        python = interpreter_of(name)
        # What the environment pins may be too old for the kernel: one import tells.
        tried = subprocess.run([python, "-c", TRY.format(folder=folder)], capture_output=True, text=True, check=False)
        if tried.returncode:
            why = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
            raise Unusable(f"its packages do not go with the kernel's ({why}); write ipykernel into its requirements, so that both are resolved together")
    except (Unusable, OSError) as error:
        sentence = f"The environment {name.removeprefix('own.')} cannot be used here: {error}."
        say(sentence)
        refuse(sentence, connection)
    home = os.path.dirname(os.path.dirname(python))
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    # What a package brings as a program is found, and what somebody installed into the home folder does not count.
    environment |= {"VIRTUAL_ENV": home, "PATH": f"{home}/bin:{os.environ.get('PATH', os.defpath)}", "PYTHONNOUSERSITE": "1"}
    os.execve(python, [python, "-c", START.format(folder=folder), "-f", connection], environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
