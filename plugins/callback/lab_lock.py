# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the lab's lock back before Ansible ends: a container that ends with it would end the process that keeps the lock, too."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lab_lock
type: aggregate
short_description: Give the lab's lock back before Ansible ends
version_added: 0.1.0
description:
  - At the end of a run, waits until the lock of M(mlops.lab.lab_lock) is released, for five seconds at most.
  - Without it the lock is released too, a moment after Ansible ended. In a job of AWX there is no such moment, because the job's container ends with it,
    and the next job would wait 30 seconds until the lock ran out.
author:
  - The mlops.lab authors (@mlops-lab)
requirements:
  - C(callbacks_enabled = mlops.lab.lab_lock) in C(ansible.cfg), as the checkout has it
"""

import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.mlops.lab.plugins.plugin_utils.locking import SUFFIX, Mark, is_alive


class CallbackModule(CallbackBase):
    """Waits for the keepers of this run's locks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "mlops.lab.lab_lock"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Take the marks away, which the keepers watch, and wait for them to end."""
        deadline = time.monotonic() + 5
        for mark in Path(constants.DEFAULT_LOCAL_TMP).glob(f"*{SUFFIX}"):
            keeper = Mark.read(mark).keeper
            mark.unlink()
            while keeper and is_alive(keeper) and time.monotonic() < deadline:
                time.sleep(0.02)
