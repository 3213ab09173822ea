# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.place_files`; its documentation is in plugins/modules/place_files.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.place_files import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.placing import Directory, placing, shown, split_listing


class ActionModule(ActionBase):
    """Make a directory of the host hold exactly the given files."""

    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Place the files; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            argument_spec(DOCUMENTATION),
            mutually_exclusive=[("src", "files")],
            required_one_of=[("src", "files")],
        )
        directory = Directory.of(args["dest"], args)
        listing = on_host(self, directory.listing())["stdout"]
        differences = [directory.difference(part) for part in split_listing(listing)]
        result = shown(differences)
        if not result["changed"] or self._task.check_mode:
            return result
        command, data = placing(differences)
        outcome = on_host(self, command, data)
        if outcome["rc"] != 0:
            raise AnsibleActionFail(f"The files could not be placed in {args['dest']}: {outcome['stderr'].strip()}")
        return result
