# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.clock_offset`; its documentation is in plugins/modules/clock_offset.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.module_utils.lab_machine import clock_offset
from ansible_collections.mlops.lab.plugins.modules.clock_offset import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec


class ActionModule(ActionBase):
    """Ask the host for its time, between two looks at our own."""

    _supports_check_mode = True
    _requires_connection = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the offset in seconds. Raises :class:`AnsibleActionFail` where the host tells no time."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        before = time.time()
        told = on_host(self, "date +%s.%N")
        after = time.time()
        try:
            now = float(told["stdout"].strip())
        except ValueError as error:
            raise AnsibleActionFail(f"The host was asked for its time, and answered: {(told['stderr'] or told['stdout']).strip() or 'nothing'}") from error
        return {"changed": False, "offset": round(clock_offset(now, before, after) - args["reference"], 1)}
