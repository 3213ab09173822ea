# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.lab_dag_run`; its documentation is in plugins/modules/lab_dag_run.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.lab_dag_run import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec

#: seconds without a new line after which the seconds waited are shown anyway
SILENCE = 20
#: seconds that an import error of a DAG must last: it may still be that of the file before
IMPORT_ERROR_LASTS = 30


class ActionModule(ActionBase):
    """Ask the module again and again, show what is new, and end with the result or with the reason."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return ``run_id``, ``state``, ``outcome``, ``problem`` and ``changed``; see the module's documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        parse_timeout, timeout = args.pop("parse_timeout"), args.pop("timeout")
        started = last_shown = phase_since = time.monotonic()
        changed, retry, run_id, waits_for = False, True, args["run_id"], ""
        seen: list[str] = []
        while True:
            module_args = {**args, "run_id": run_id, "retry": retry, "seen": seen}
            look = self._execute_module(module_name="mlops.lab.lab_dag_look", module_args=module_args, task_vars=task_vars or {})
            if look.get("failed") or "lines" not in look:
                look.pop("invocation", None)
                return {"problem": "", **look}
            now = time.monotonic()
            new = [line for line in look["lines"] if line not in seen]
            if not new and now - last_shown >= SILENCE:
                new = ["still waiting"]
            for line in new:
                self._display.display(f"  [{now - started:4.0f} s] {line}")
            last_shown = now if new else last_shown
            changed, seen, run_id = changed or look["changed"], look["lines"], look["run_id"]
            # A failed run is started again once, by the first look that finds it.
            retry = retry and not look["state"]
            if look["waits_for"] != waits_for:
                waits_for, phase_since = look["waits_for"], now
            problem = look["problem"] or self._too_late(look, now - started, now - phase_since, parse_timeout, timeout)
            if problem or look["state"] == "success" or self._task.check_mode:
                return {
                    "changed": changed,
                    "run_id": run_id,
                    "state": look["state"],
                    "problem": "" if self._task.check_mode else problem,
                    "outcome": look["outcome"],
                    "waits_for": look["waits_for"],
                }

    @staticmethod
    def _too_late(look: dict[str, Any], waited: float, in_phase: float, parse_timeout: int, timeout: int) -> str:
        """Return why there is no point in waiting longer, "" while there is one."""
        if "cannot be imported" in look["waits_for"] and in_phase > IMPORT_ERROR_LASTS:
            return f"{look['waits_for']}: correct the file and run this again."
        if look["waits_for"] and waited > parse_timeout:
            return f"Nothing could be trained within {parse_timeout} s: {look['waits_for']}."
        if waited > timeout:
            return f"Run {look['run_id']} was not done within {timeout} s: {'; '.join(look['lines'])}."
        return ""
