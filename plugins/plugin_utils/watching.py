# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module asynchronously and show what happens on the host meanwhile."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host

#: seconds without a new line after which the seconds waited are shown anyway
SILENCE = 20

#: Ends the guard of a job that is done, which would see that up to five seconds later only, and removes what it would: the module that was
#: unpacked beside it; then the job's last result.
CLEAN_UP = r"""
for process in $(grep -lsaw '{job}' /proc/[0-9]*/cmdline); do
  unpacked=$(tr '\0' '\n' <"$process" | sed -n 's,/[^/]*async_wrapper\.py$,,p')
  number=${{process%/cmdline}}
  kill "${{number#/proc/}}"
  case $unpacked in */ansible-tmp-*) rm -rf "$unpacked" ;; esac
done 2>/dev/null
rm -f {directory}/{job}.*
"""


class WatchingAction(ActionBase):
    """Base of the actions that show progress while a module runs on the host."""

    _supports_async = False
    _supports_check_mode = True

    def watch(
        self,
        module: str,
        module_args: dict[str, Any],
        task_vars: dict[str, Any],
        progress: Callable[[], list[str]],
        every: float,
        timeout: int,
    ) -> dict[str, Any]:
        """Run `module` asynchronously and return its result.

        The arguments must hold no secret: an asynchronous module is copied to the host's disk with its arguments.

        Args:
            module: name of the module to run.
            module_args: its arguments, JSON-serialisable.
            task_vars: the task's variables.
            progress: asked every `every` seconds for the lines to show.
            every: seconds between two looks at the host.
            timeout: seconds after which the module is given up.

        Returns:
            The module's result, with `failed` and a `msg` when it took longer than `timeout`.
        """
        if self._task.check_mode:
            # Ansible refuses asynchronous modules in check mode; what is predicted is predicted quickly.
            return dict(self._execute_module(module_name=module, module_args=module_args, task_vars=task_vars))
        self._task.async_val = timeout
        try:
            job = self._execute_module(module_name=module, module_args=module_args, task_vars=task_vars, wrap_async=True)
        finally:
            # Else the task executor would poll the finished job again.
            self._task.async_val = 0
        if "ansible_job_id" not in job:
            return dict(job)
        result = self._follow(job["ansible_job_id"], module, task_vars, progress, every, timeout)
        self.on_host(CLEAN_UP.format(job=self._pattern(job["ansible_job_id"]), directory=shlex.quote(os.path.dirname(job["results_file"]))))
        return result

    def _follow(self, job: str, module: str, task_vars: dict[str, Any], progress: Callable[[], list[str]], every: float, timeout: int) -> dict[str, Any]:
        """Show what happens on the host until the job is done; returns what `watch` returns."""
        status_args = {"jid": job, "mode": "status", "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async")}
        too_long = {"failed": True, "msg": f"{module} was not done after {timeout} s."}
        missed = 0
        started = last_shown = time.monotonic()
        while True:
            # What has nothing to do is done within a second and shows nothing.
            early = time.monotonic() - started < 2
            time.sleep(0.25 if early else every)
            now = time.monotonic()
            lines = [] if early else progress()
            if not lines and now - last_shown >= SILENCE:
                lines = ["still running"]
            for line in lines:
                self._display.display(f"  [{now - started:4.0f} s] {line}")
            if lines:
                last_shown = now
            status = self._execute_module(module_name="ansible.legacy.async_status", module_args=status_args, task_vars=task_vars)
            if status.get("finished"):
                for key in ("ansible_job_id", "results_file", "started", "finished"):
                    status.pop(key, None)
                return dict(status) if status.get("msg") != "Timeout exceeded" else too_long
            # The job's guard on the host looks every five seconds, kills the job and writes its last result: what is removed before, stays.
            if now - started > timeout + 15:
                return too_long
            missed = 0 if early or self._is_alive(job) else missed + 1
            if missed == 3:
                return {"failed": True, "msg": f"{module} was killed on the host before it was done."}

    @staticmethod
    def changed_lines(status: Callable[[], str]) -> Callable[[], list[str]]:
        """Return a function for `watch` that gives the lines of `status` that were not in it the last time."""
        seen: set[str] = set()

        def new_lines() -> list[str]:
            lines = status().splitlines()
            new = [line for line in lines if line.strip() and line not in seen]
            seen.clear()
            seen.update(lines)
            return new

        return new_lines

    def _is_alive(self, job: str) -> bool:
        """Return whether a process of the job is there; a guard that was killed writes no result, however long one waits."""
        return bool(self.on_host(f"grep -qsa '{self._pattern(job)}' /proc/[0-9]*/cmdline")["rc"] == 0)

    @staticmethod
    def _pattern(job: str) -> str:
        """Return a pattern, for grep and for the shell, of what the names of the job's files and arguments begin with; it does not match itself."""
        return f"[{job[0]}]{job[1:].split('.')[0]}"

    def on_host(self, command: str, data: bytes | None = None) -> dict[str, Any]:
        """Run a shell command on the host with the task's privileges and return rc, stdout and stderr."""
        return on_host(self, command, data)
