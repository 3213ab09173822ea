"""Let Airflow read the logs of workers on other hosts over TLS, of which it has no option: it writes http:// into the address.

The worker's end is in airflow_local_settings.py. Who answers is verified: its certificate has to be of an authority that the host trusts, and of that address.
"""

from __future__ import annotations

import os
from typing import Any

if os.environ.get("LAB_LOGS_TLS"):
    from airflow.utils.log import file_task_handler

    fetch = file_task_handler._fetch_logs_from_service

    def fetch_over_tls(url: str, log_relative_path: str) -> Any:
        """Ask a worker for a log."""
        return fetch(url.replace("http://", "https://", 1), log_relative_path)

    file_task_handler._fetch_logs_from_service = fetch_over_tls
