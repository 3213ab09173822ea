# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.write_locally`; its documentation is in plugins/modules/write_locally.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.write_locally import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.writing import write


class ActionModule(ActionBase):
    """Write files on the control node."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        mode, written = int(args["mode"], 8), list[str]()
        for name, text in args["files"].items():
            path, data = Path(name).expanduser(), str(text).removesuffix("\n").encode() + b"\n"
            try:
                there = path.exists() and path.read_bytes() == data and path.stat().st_mode & 0o7777 == mode
                if not there and not self._task.check_mode:
                    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    write(path, data, mode)
            except OSError as error:
                raise AnsibleActionFail(f"{path} cannot be written on the machine that runs Ansible: {error.strerror}.") from None  # Ansible would say it twice
            if not there:
                written.append(str(path))
        return {"changed": bool(written), "written": written}
