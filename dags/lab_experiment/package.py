"""The process that a package's code runs in, seen from the one that keeps the books.

This process, the keeper, talks to MLflow and Optuna, and imports no package: what one does to its own process (environment, working directory, addresses of
MLflow, filters of warnings, signals, threads, its end) it does to nobody else. The other process has no terminal and no arguments, and what it prints comes
through :mod:`lab_experiment.output`.
Between the two goes JSON, so that no object of a package ever comes here.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from lab_experiment.failures import Failure, Mistakes
from lab_experiment.output import Lines

FINISH = 5.0
"""Seconds that the process gets for ending in an orderly way (its exit handlers, its threads) once there is nothing more to do."""

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL; the task is killed 3 s after its own SIGTERM, and has yet to tell MLflow."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Pruned(Exception):
    """The package, or what was answered to its report, gave up a trial."""


class Package:
    """Starts the process when it is first needed, and again when it is gone."""

    def __init__(self, job: Callable[[], dict[str, Any]] = dict, interpreter: str = sys.executable) -> None:
        """Make it; ``job`` tells what a process that starts is given to work on, ``interpreter`` is the one of the experiment's environment."""
        self._job = job
        self._interpreter = interpreter
        self._process: subprocess.Popen[bytes] | None = None
        self._others: set[int] = set()
        self._told = ""
        self._at = ""
        self._lines = Lines(_print)

    def ask(self, operation: str, on_event: Callable[[Any], Any] | None = None, **arguments: Any) -> Any:
        """Have the process do something, and give what came of it.

        Args:
            operation: A method of :class:`lab_experiment.inside.Work`.
            on_event: Is told what the process tells meanwhile; what it returns is the answer to that. What it raises ends the process.
            arguments: What the method is given.

        Raises:
            Failure: It failed, or the process ended; one sentence.
            Mistakes: The experiment file is wrong.
            Pruned: A trial was given up.
        """
        if self._process is None:
            self._start()
        self._at = ""
        try:
            job = json.dumps(self._job())
            self._send({"do": operation, "with": arguments, "job": None if job == self._told else json.loads(job)})
            self._told = job
            while True:
                answer = self._next()
                if "at" in answer:
                    self._at = answer["at"]
                elif "event" in answer:
                    self._send({"reply": on_event(answer["event"]) if on_event else None})
                else:
                    break
        except EOFError:
            raise Failure(self._ended()) from None
        except BaseException:
            self._end(signal.SIGTERM)
            raise
        if "failure" in answer:
            raise Failure(answer["failure"], answer["final"])
        if "mistakes" in answer:
            raise Mistakes(answer["mistakes"])
        if answer.get("pruned"):
            raise Pruned
        return answer["result"]

    def close(self) -> None:
        """Have the process end, end what it left running, and say what that was."""
        if self._process is None:
            return
        threads: list[str] = []
        with suppress(EOFError):
            self._send({"do": "finish", "with": {}, "job": None})
            answer = self._next(FINISH)
            threads = answer.get("result") or []
        if not self._wait(FINISH / 2 if threads else FINISH):
            what = ", ".join(f"thread {name}" for name in threads) or f"exit handlers (atexit), which took more than {FINISH:.0f} s"
            print(f"[package] left running, and ended now: {what}", flush=True)
            self._process.kill()
        self._end(signal.SIGTERM, patience=1.0)

    def _start(self) -> None:
        if sys.platform == "linux":  # what the package's processes leave behind becomes a child of this one, and is found
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._told = ""
        self._others = set(_descendants())
        self._connection, theirs = Pipe()
        self._output, printed = os.pipe()
        os.set_blocking(self._output, False)
        program = [str(Path(__file__).parent), "inside", str(theirs.fileno()), str(os.getpid())]
        command = [self._interpreter, *(["-B"] if sys.dont_write_bytecode else []), *program]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, pass_fds=[theirs.fileno()], start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        os.close(printed)
        theirs.close()
        self._selector = DefaultSelector()
        self._selector.register(self._connection, EVENT_READ)
        self._selector.register(self._output, EVENT_READ)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            raise EOFError from None

    def _next(self, seconds: float = float("inf")) -> dict[str, Any]:
        """What the process says next; what it printed before is shown before.

        Raises:
            EOFError: It ended, or says nothing within so many seconds.
        """
        assert self._process
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ready = {key.fileobj for key, _ in self._selector.select(0.2)}
            gone = self._process.poll() is not None  # a child of its own may hold the connection open
            self._drain()
            if self._connection in ready or self._connection.poll():
                try:
                    answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
                except OSError:
                    raise EOFError from None
                self._drain()
                return answer
            if gone:
                break
        raise EOFError

    def _drain(self) -> None:
        """Show what there is of output; not more than the pipe holds at a time, since it may come without end."""
        for _ in range(16):
            try:
                piece = os.read(self._output, 2**16)
            except BlockingIOError:
                break
            if not piece:
                with suppress(KeyError):
                    self._selector.unregister(self._output)
                break
            self._lines.add(piece)
        self._lines.tick()

    def _wait(self, seconds: float) -> bool:
        """Wait for the process to end, and show what it prints; tells whether it did."""
        assert self._process
        with suppress(KeyError):
            self._selector.unregister(self._connection)  # closed at its other end it is always ready, and the wait would be a spin
        until = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < until:
            self._selector.select(0.05)
            self._drain()
        return self._process.poll() is not None

    def _ended(self) -> str:
        """How the process came to its end, in a sentence."""
        assert self._process
        gone = self._wait(1)
        code = self._process.returncode
        self._end(signal.SIGKILL)
        doer = self._at or "the package"
        if not gone:
            return f"{doer} closed the files of its process, those of the lab among them; a package closes only what it opened itself"
        if code >= 0:
            return f"{doer} ended its process with exit code {code} (os._exit or the like) instead of returning"
        name = signal.Signals(-code).name
        why = {
            "SIGKILL": "by itself, or by the system because there was no memory left",
            "SIGTERM": "which it, or somebody else, sent it",
        }.get(name, "as when a library crashes")
        return f"{doer} did not return: its process was ended by {name}, {why}"

    def _end(self, number: signal.Signals, patience: float = 0.1) -> None:
        """End the process if it has not ended, and all that it left; say what it left but for what ends by itself within ``patience`` seconds."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            if not self._wait(GRACE):
                process.kill()
                self._wait(GRACE)
        left: dict[int, str] = {}
        begun = time.monotonic()
        while (found := self._left()) and (waited := time.monotonic() - begun) < patience + 2 * GRACE:
            hard = number == signal.SIGKILL or waited > patience + GRACE / 2
            for pid in found if waited > patience else ():
                if hard or pid not in left:
                    left.setdefault(pid, _name(pid))
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
            self._drain()
            time.sleep(0.02)
        self._drain()
        self._lines.end()
        if left:
            print(f"[package] left running, and ended now: {', '.join(left.values())}", flush=True)
        self._selector.close()
        self._connection.close()
        os.close(self._output)
        self._process = None

    def _left(self) -> list[int]:
        """Processes that the package started and that still run; those that ended are reaped."""
        found = []
        for pid, state in _descendants(self._others).items():
            if self._process and pid == self._process.pid:
                continue
            if state == "Z":
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            else:
                found.append(pid)
        return found


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _descendants(without: set[int] | frozenset[int] = frozenset()) -> dict[int, str]:
    """The states of all processes below this one, by number; of none that is in ``without``, and of none below such a one."""
    children: dict[int, list[int]] = {}
    states: dict[int, str] = {}
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        states[pid] = state
    found: dict[int, str] = {}
    waiting = [os.getpid()]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid not in without]
        found |= {pid: states[pid] for pid in below}
        waiting += below
    return found


def _processes() -> Iterator[tuple[int, int, str]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
            yield int(entry.parent.name), int(parent), state


def _name(pid: int) -> str:
    """A process in words: its program and first argument, since others may be secret."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
        first = [word for word in words[1:] if word not in ("-B", "-E", "-I", "-s", "-u")][:1]
        shown = " ".join([Path(words[0]).name, *first])[:80].strip()
        return f"{shown or 'a process'} (process {pid})"
    return f"process {pid}"
