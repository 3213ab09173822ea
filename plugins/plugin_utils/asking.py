# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a shell command on a task's host, whatever reaches it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


def on_host(action: ActionBase, command: str, data: bytes | None = None) -> dict[str, Any]:
    """Run a shell command on the host with the task's privileges.

    SSH gives it no terminal, which Ansible asks for otherwise: a terminal ends each line with a carriage return, and puts the empty line that `sudo` writes
    after a password before all that the command says.

    Args:
        action: the action of the task.
        command: the command.
        data: its standard input.

    Returns:
        ``rc``, ``stdout`` and ``stderr``.
    """
    if action._connection.has_option("use_tty"):
        action._connection.set_option("use_tty", False)
    return dict(action._low_level_execute_command(command, sudoable=True, in_data=data))
