# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.watch`; its documentation is in plugins/modules/watch.py."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.lab.plugins.modules.watch import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.watching import WatchingAction


class ActionModule(WatchingAction):
    """Run any module and show the changed lines of a status command until it is done."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the watched module; see the module documentation for arguments and result."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        module, module_args = args["module"], args["args"]
        if module == "ansible.builtin.shell":
            # The shell module is the command module with a flag; elsewhere an action plugin of Ansible's sets it.
            module = "ansible.legacy.command"
            module_args = {**module_args, "_raw_params": module_args["cmd"], "_uses_shell": True}
            del module_args["cmd"]
        progress = self.changed_lines(lambda: str(self.on_host(args["status"])["stdout"]))
        return self.watch(module, module_args, task_vars or {}, progress, args["every"], args["timeout"])
