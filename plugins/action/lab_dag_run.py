# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.lab_dag_run`; its documentation is in plugins/modules/lab_dag_run.py."""

from __future__ import annotations

import atexit
import mmap
import os
import shlex
import signal
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.mlops.lab.plugins.modules.lab_dag_run import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec

#: seconds without a new line after which the seconds waited are shown anyway
SILENCE = 20
#: seconds that an import error of a DAG must last: it may still be that of the file before
IMPORT_ERROR_LASTS = 30
#: what stands for the run's id in the option ``follow_again``
RUN_ID = "RUN_ID"


class LastWords:
    """What Ansible prints last when it ends while the action is at work.

    At Ctrl-C Ansible ends the process that runs the action at once, prints that it was interrupted, and exits. So the action says beforehand what is to be
    printed, in memory that it shares with the process that it was forked from: that one has loaded this plugin to look at its class, and prints at its exit.
    """

    SIZE = 4096

    def __init__(self) -> None:
        """Share the memory with all processes that are forked from this one."""
        self._memory = mmap.mmap(-1, self.SIZE)
        self._process = os.getpid()
        atexit.register(self.print)

    def set(self, words: str) -> None:
        """Have this printed; nothing if it is empty."""
        self._memory[:] = words.encode()[: self.SIZE].ljust(self.SIZE, b"\0")

    def print(self) -> None:
        """Print it, in the process that loaded the plugin."""
        words = self._memory[:].rstrip(b"\0").decode(errors="ignore")
        if words and os.getpid() == self._process:
            Display().display(words)


LAST_WORDS = LastWords()


class ActionModule(ActionBase):
    """Ask the module again and again, show what is new, and end with the result or with the reason."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return ``run_id``, ``state``, ``outcome``, ``tracked``, ``problem`` and ``changed``; see the module's documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        try:
            return self._follow(args, task_vars or {})
        finally:  # not when this process is ended from outside
            LAST_WORDS.set("")

    def _follow(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is a result."""
        parse_timeout, timeout, again = args.pop("parse_timeout"), args.pop("timeout"), args.pop("follow_again")
        started = last_shown = last_answer = phase_since = time.monotonic()
        changed, retry, run_id, waits_for = False, not args["only_follow"], args["run_id"], ""
        seen: list[str] = []
        progress: dict[str, Any] = {}
        state = ""
        if again and not args["only_follow"]:
            LAST_WORDS.set(f"Interrupted before it was known whether the run had begun: {again.replace(RUN_ID, shlex.quote(run_id))} says so, and follows it.")
        while True:
            module_args = {**args, "run_id": run_id, "retry": retry, "seen": seen, "progress": progress}
            look = self._execute_module(module_name="mlops.lab.lab_dag_look", module_args=module_args, task_vars=task_vars)
            if look.get("failed") or "lines" not in look:
                look.pop("invocation", None)
                return {"problem": "", **look}
            now = time.monotonic()
            state = look["state"] or state
            if state and again:
                LAST_WORDS.set(f"The run goes on: {again.replace(RUN_ID, shlex.quote(look['run_id']))} follows it again.")
            new = [line for line in look["lines"] if line not in seen]
            if not new and now - last_shown >= SILENCE:
                new = ["still waiting"]
            for line in new:
                self._show(f"  [{now - started:4.0f} s] {line}")
            last_shown = now if new else last_shown
            changed, seen, run_id, progress = changed or look["changed"], look["lines"], look["run_id"], look["progress"]
            # A failed run is started again once, by the first look that finds it.
            retry = retry and not look["state"]
            if look["waits_for"] != waits_for:
                waits_for, phase_since = look["waits_for"], now
            last_answer = last_answer if waits_for else now
            problem = look["problem"] or self._too_late(look, state, now - started, now - last_answer, now - phase_since, parse_timeout, timeout)
            if problem or look["state"] == "success" or self._task.check_mode:
                return {
                    "changed": changed,
                    "run_id": run_id,
                    "state": state,
                    "problem": "" if self._task.check_mode else problem,
                    "outcome": look["outcome"],
                    "tracked": look["tracked"],
                    "waits_for": look["waits_for"],
                }

    def _show(self, line: str) -> None:
        """Print a line. Ctrl-C waits meanwhile: ended while it writes to Ansible's queue, this process leaves that locked, and Ansible waits for it forever."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._display.display(line)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @staticmethod
    def _too_late(look: dict[str, Any], state: str, waited: float, unheard: float, in_phase: float, parse_timeout: int, timeout: int) -> str:
        """Return why there is no point in waiting longer, "" while there is one."""
        if "cannot be imported" in look["waits_for"] and in_phase > IMPORT_ERROR_LASTS:
            return f"{look['waits_for']}: correct the file and run this again."
        if look["waits_for"] and unheard > parse_timeout:
            what = f"Nothing was heard of run {look['run_id']} for" if state else "Nothing could be trained within"
            return f"{what} {parse_timeout} s: {look['waits_for']}."
        if waited > timeout:
            return f"Run {look['run_id']} was not done within {timeout} s: {'; '.join(look['lines'])}."
        return ""
