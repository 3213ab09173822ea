# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.read_requirements`; its documentation is in plugins/modules/read_requirements.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.action.lab_preflight import Inventory, read_requirements, stop
from ansible_collections.mlops.lab.plugins.modules.read_requirements import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils import requirement_sources as sources
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec


class ActionModule(ActionBase):
    """Read and judge requirements on the control node."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the requirements; see the module documentation."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        inventory = Inventory.of_task(self._loader, task_vars)
        found, problems = read_requirements(args, inventory, task_vars)
        if problems:
            return stop(len(problems), "before anything is built", problems)
        project = [entry for variable in (*args["own"], *args["project"]) for entry in found[variable]]
        return {
            "changed": False,
            "lines": {variable: [str(entry.requirement) for entry in entries] for variable, entries in found.items()},
            "asked": sources.asked_for(project),
            "preferences": {name: sources.preferred(str(lock), project) for name, lock in args["locks"].items()},
        }
