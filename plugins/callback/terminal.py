# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what a run changes, how far it is, and its result last."""

from __future__ import annotations

DOCUMENTATION = r"""
name: terminal
type: stdout
short_description: Print what a run changes, how far it is, and its result last
version_added: 0.2.0
description:
  - Prints each play with its number and its seconds, and the tasks that changed something, failed or have something to say.
    Tasks that were skipped or found nothing to do are printed with C(-v).
  - Prints each line at once, also into a file or a pipe, as on a build server.
  - Tells templates on the control node how long the run took so far. The environment variable C(MLOPS_LAB_TIMES) is JSON with C(began), in seconds since
    the epoch, and C(plays), a list of the names and seconds of those that ended.
  - Ends with what the run stored as C(lab_result) with M(ansible.builtin.set_stats), or, when it failed, with where, on which hosts and why.
author:
  - The mlops.lab authors (@mlops-lab)
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
requirements:
  - C(stdout_callback = mlops.lab.terminal) in C(ansible.cfg)
"""

import json
import os
import sys
import time
from typing import Any

from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default

REASON_LINES = 8  # of a reason are shown again at the end


class CallbackModule(Default):
    """Ansible's own output, less of it, with numbers and seconds of the plays."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "mlops.lab.terminal"

    def __init__(self) -> None:
        super().__init__()
        self._plays = self._play_number = 0
        self._conditional: list[bool] = []
        self._waiting = self._play_name = ""
        self._play_runs = False
        self._reasons: dict[str, tuple[str, str]] = {}
        self._began = self._play_began = time.monotonic()
        self._times: dict[str, Any] = {"began": int(time.time()), "plays": []}
        # Ansible leaves it to Python when a line is printed, and Python collects them where the output is no terminal.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Read the options; without -v, tasks that did nothing are not shown."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        if not self._display.verbosity:
            self.set_option("display_ok_hosts", False)
            self.set_option("display_skipped_hosts", False)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Count the plays. One whose hosts are an expression counts when it turns out to have some."""
        super().v2_playbook_on_start(playbook)
        self._conditional = ["{{" in str(play.hosts) for play in playbook.get_plays()]
        self._plays = self._conditional.count(False)
        self._tell_times()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Say which play begins, and how long the one before it took."""
        self._end_play()
        self._play = play
        mode = " (check mode: nothing is changed)" if play.check_mode and self.get_option("check_mode_markers") else ""
        self._waiting = f"{play.get_name().strip()}{mode}"
        if not (self._conditional and self._conditional.pop(0)):
            self._begin_play()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Leave out a play that this lab has no hosts for."""
        if not self._waiting:
            super().v2_playbook_on_no_hosts_matched()
        self._waiting = ""

    def v2_playbook_on_task_start(self, task: Any, is_conditional: Any) -> None:
        """Say which play begins, if that was not sure before its first task."""
        if self._waiting:
            self._plays += 1
            self._begin_play()
        super().v2_playbook_on_task_start(task, is_conditional)

    def _begin_play(self) -> None:
        """Print the play's number and name."""
        self._play_number += 1
        self._play_began = time.monotonic()
        self._play_runs = True
        self._play_name = self._waiting
        self._display.display(f"\n[{self._play_number}/{self._plays}] {self._waiting}", color="bright blue")
        self._waiting = ""

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Leave out which file a task read."""
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print what a task changed or says; its warnings in any case."""
        if not self._print_words(result):
            super().v2_runner_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Print what a task changed or says for one item of its loop."""
        if not self._print_words(result):
            super().v2_runner_item_on_ok(result)

    def _print_words(self, result: Any) -> bool:
        """Print the words or warnings of a task that changed nothing; return whether there is no more to print."""
        found = result.result
        if isinstance(result.task, TaskInclude):
            return not self._display.verbosity
        if self._display.verbosity or found.get("changed") or "results" in found:
            return False
        if result.task.action in ("ansible.builtin.debug", "debug") and isinstance(found.get("msg"), str):
            self._display.display(found["msg"].rstrip())
        else:
            self._handle_warnings_and_exception(result)
        return True

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print a failure, and keep why."""
        if not ignore_errors:
            self._keep(result)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Print a failure of one item, and keep why: of the whole loop Ansible says no more than that one failed."""
        self._keep(result)
        super().v2_runner_item_on_failed(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print that a host is not reached, and keep why."""
        self._keep(result)
        super().v2_runner_on_unreachable(result)

    def _keep(self, result: Any) -> None:
        """Keep why a host failed, before Ansible takes from the result what it prints; what comes later, when a play cleans and stops, says more."""
        if "censored" in result.result:
            why = f"{result.task.get_name()}: the reason is above, if it may be shown; this task handles credentials"
        elif "results" not in result.result:
            why = reason(result.result)
        else:
            return  # its items said why
        self._reasons[result.host.get_name()] = (f"[{self._play_number}/{self._plays}] {self._play_name}", why)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the recap, and the result after it: that of the lab, or what failed."""
        self._end_play()
        super().v2_playbook_on_stats(stats)
        took = spoken(time.monotonic() - self._began)
        result = stats.custom.get("_run", {}).get("lab_result")
        if failed := sorted(host for found in (stats.failures, stats.dark) for host, times in found.items() if times):
            told: dict[tuple[str, str], list[str]] = {}
            for host in failed:
                told.setdefault(self._reasons.get(host, ("", "no reason was given")), []).append(host)
            words = "\n".join(f"{', '.join(hosts)}, in {place}: {why}" for (place, why), hosts in told.items())
            self._display.display(f"The run failed after {took}.\n{words}\n", color="red")
        elif result:
            self._display.display(f"{result.rstrip()}\nThe run took {took}.\n")

    def _end_play(self) -> None:
        """Print the seconds of the play that runs."""
        if self._play_runs:
            self._play_runs = False
            seconds = time.monotonic() - self._play_began
            self._display.display(f"  {seconds:.1f} s", color="dark gray")
            self._times["plays"].append([self._play_name, round(seconds, 1)])
            self._tell_times()

    def _tell_times(self) -> None:
        """Tell the times to the processes that run tasks, each of which is forked from this one."""
        os.environ["MLOPS_LAB_TIMES"] = json.dumps(self._times)


def reason(found: dict[str, Any]) -> str:
    """Return why a task failed, from its result: its message, or what a command printed, and no more than the first lines of it."""
    said = [str(found.get(key) or "").strip() for key in ("msg", "stderr", "stdout")]
    lines = next((text for text in said if text and text != "non-zero return code"), "no reason was given").splitlines()
    return "\n".join([*lines[:REASON_LINES], *(["..."] if len(lines) > REASON_LINES else [])])


def spoken(seconds: float) -> str:
    """Return a time in words: 38 s, 4 min 52 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
