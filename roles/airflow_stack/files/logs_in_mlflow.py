"""Keep the logs of tasks in MLflow's artifact store, to which they go when their task ends, so that they outlive the host they were written on.

Airflow reads this module as its logging configuration. Its own stores of logs want a cloud's provider in the image and a service beside the lab's. MLflow is
there, takes and gives files over HTTP, and every worker has a password for it.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import requests
from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG as LOGGING_CONFIG  # noqa: F401  # Airflow takes it from here
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.util import Retry

#: Where in the artifact store the logs are.
FOLDER = PurePosixPath("airflow/logs")

#: Seconds until a connection is there, and between two pieces of an answer.
PATIENCE = (5, 60)


class ArtifactStore:
    """Airflow's `RemoteLogIO`: the logs of tasks as files of MLflow's artifact store.

    Args:
        address: MLflow's. User and password are where MLflow's own client looks for them.
        written: Airflow's folder of logs on this host.
    """

    #: Processors of log lines, of which this store needs none.
    processors = ()

    def __init__(self, address: str, written: Path) -> None:
        self.artifacts = f"{address.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts"
        self.written = written

    @cached_property
    def session(self) -> requests.Session:
        """A session that asks again when MLflow is being restarted."""
        parser = configparser.ConfigParser()
        parser.read(Path.home() / ".mlflow" / "credentials", encoding="utf-8")
        session = requests.Session()
        # As bytes, since a password may have letters that requests would not encode.
        session.auth = HTTPBasicAuth(*(parser.get("mlflow", f"mlflow_tracking_{name}", fallback="").encode() for name in ("username", "password")))
        retry = Retry(total=4, backoff_factor=1, status_forcelist=(502, 503, 504), allowed_methods=None)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        return session

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Bring the log of a task that ended, or that was put off, to the store. Airflow writes what is raised into its own log, and the task's end stands.

        Args:
            path: The log, relative to Airflow's folder of logs.
            ti: The task instance.
        """
        place = self._place(path)
        log = (self.written / path).read_bytes()
        # A task that was put off goes on in a new file where it goes on on another host.
        earlier = self.session.get(place, timeout=PATIENCE)
        if earlier.status_code == requests.codes.ok and not log.startswith(earlier.content):
            log = earlier.content + log
        self.session.put(place, data=log, timeout=PATIENCE).raise_for_status()

    def stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Iterator[str]]]:
        """Read what the store has of the log of a try, the triggerer's part included.

        Args:
            relative_path: The log, relative to Airflow's folder of logs.
            ti: The task instance.

        Returns:
            What there is to say of where it was looked for, and the lines of each file.
        """
        log = FOLDER / relative_path
        try:
            listed = self.session.get(self.artifacts, params={"path": str(log.parent)}, timeout=PATIENCE)
            listed.raise_for_status()
            names = sorted(PurePosixPath(file["path"]).name for file in listed.json().get("files", []) if not file.get("is_dir"))
            places = [self._place(PurePosixPath(relative_path).parent / name) for name in names if name == log.name or name.startswith(f"{log.name}.")]
            return places or [f"MLflow has no log of this try, which comes there when the task ends: {log}"], [self._lines(place) for place in places]
        except requests.RequestException as error:
            return [f"MLflow, where the logs of ended tasks are, gives none: {error}"], []

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """The same as :meth:`stream`, for what reads a log at once."""
        said, files = self.stream(relative_path, ti)
        return said, ["\n".join(lines) for lines in files] or None

    def _place(self, path: os.PathLike[str] | str) -> str:
        return f"{self.artifacts}/{quote(str(FOLDER / path))}"

    def _lines(self, place: str) -> Iterator[str]:
        with self.session.get(place, stream=True, timeout=PATIENCE) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(chunk_size=2**16):
                yield line.decode("utf-8", "replace")


def _of_this_host() -> ArtifactStore | None:
    from airflow.configuration import conf

    address = os.environ.get("LAB_LOGS_STORE")
    return ArtifactStore(address, Path(conf.get_mandatory_value("logging", "base_log_folder"))) if address else None


REMOTE_TASK_LOG = _of_this_host()
