"""Airflow imports this module at start; in a worker it lets the container's health check see the worker's heartbeat."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

if heartbeat_file := os.environ.get("LAB_WORKER_HEARTBEAT"):
    from celery.signals import heartbeat_sent

    heartbeat = Path(heartbeat_file)

    @heartbeat_sent.connect(weak=False)
    def touch_heartbeat(**_: Any) -> None:
        """Record that the worker's event loop sent its heartbeat to the broker."""
        heartbeat.touch()
