"""A lab that runs, as its users reach it: the addresses from its verdict (``reports/lab.json``), the passwords from the vault, and its REST APIs."""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / os.environ.get("LAB", "inventories/lab")
"""The lab's folder, which `make` names."""
EVERY = 0.5
"""Seconds between two looks at a run."""


@dataclass
class Lab:
    """A running lab."""

    airflow: str
    mlflow: str
    users: dict[str, str]
    """User names by system, ``Airflow`` and ``MLflow``."""
    passwords: dict[str, str]
    token: str = ""

    @classmethod
    def of(cls, report: Path, vault: Path) -> Lab:
        """Read where the lab is and what opens it.

        Raises:
            SystemExit: There is no lab, or the vault cannot be opened; one sentence.
        """
        if not report.is_file():
            raise SystemExit(f"There is no {report}: run `make lab` first, which ends by writing it.")
        told = json.loads(report.read_text(encoding="utf-8"))
        password = vault.parents[2] / ".vault_password"  # in the lab's folder
        command = [
            str(Path(sys.executable).with_name("ansible-vault")),
            "view",
            *(["--vault-password-file", str(password)] if password.exists() else []),
            str(vault),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{vault} cannot be opened: {done.stderr.strip().splitlines()[-1]}")
        secrets = yaml.safe_load(done.stdout)
        passwords = {"Airflow": secrets["vault_airflow_admin_password"], "MLflow": secrets["vault_mlflow_admin_password"]}
        return cls(told["urls"]["Airflow"], told["urls"]["MLflow"], told["users"], passwords)

    def ask_airflow(self, path: str, body: Any = None, method: str = "") -> Any:
        """Ask Airflow's REST API, ``path`` from ``/api/v2/`` on."""
        if not self.token:
            login = {"username": self.users["Airflow"], "password": self.passwords["Airflow"]}
            self.token = _ask(f"{self.airflow}/auth/token", {}, login)["access_token"]
        return _ask(f"{self.airflow}/api/v2/{path}", {"Authorization": f"Bearer {self.token}"}, body, method)

    def ask_mlflow(self, path: str, body: Any = None) -> Any:
        """Ask MLflow's REST API, ``path`` from ``/api/2.0/mlflow/`` on."""
        login = base64.b64encode(f"{self.users['MLflow']}:{self.passwords['MLflow']}".encode()).decode()
        return _ask(f"{self.mlflow}/api/2.0/mlflow/{path}", {"Authorization": f"Basic {login}"}, body)

    def trigger(self, conf: dict[str, Any], dag: str = "train") -> str:
        """Trigger a DAG; returns the run's id."""
        return str(self.ask_airflow(f"dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def finished(self, run_id: str, dag: str = "train", seconds: float = 1800, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
        """Wait for a run; returns its task instances.

        Raises:
            SystemExit: It failed, or did not end in time; one sentence.
        """
        run = f"dags/{dag}/dagRuns/{urllib.parse.quote(run_id, safe='')}"
        until = time.monotonic() + seconds
        while (state := self.ask_airflow(run)["state"]) not in ("success", "failed"):
            if time.monotonic() > until:
                raise SystemExit(f"The run {run_id} of {dag} is {state} after {seconds:.0f} s.")
            time.sleep(EVERY)
        tasks: list[dict[str, Any]] = self.ask_airflow(f"{run}/taskInstances?limit=100")["task_instances"]
        if state == "failed":
            failed = ", ".join(task["task_id"] for task in tasks if task["state"] == "failed")
            raise SystemExit(f"The run {run_id} of {dag} failed in {failed}: its log is in Airflow, {self.airflow}/dags/{dag}/runs/{run_id}")
        say(f"{run_id} succeeded")
        return tasks

    def runs(self, experiment: str, query: str) -> list[dict[str, Any]]:
        """The runs of an MLflow experiment that a query finds, up to 5000; tags, metrics and parameters as mappings in ``data``."""
        found = self.ask_mlflow(f"experiments/get-by-name?experiment_name={urllib.parse.quote(experiment)}")["experiment"]["experiment_id"]
        return self._runs([found], query)

    def _runs(self, experiment_ids: list[str], query: str) -> list[dict[str, Any]]:
        runs = self.ask_mlflow("runs/search", {"experiment_ids": experiment_ids, "filter": query, "max_results": 5000}).get("runs", [])
        for run in runs:
            run["data"] = {key: {item["key"]: item["value"] for item in run["data"].get(key, [])} for key in ("tags", "metrics", "params")}
        return list(runs)

    def run_of(self, dag_run_id: str) -> dict[str, Any]:
        """The MLflow run of a DAG run, in whatever experiment."""
        experiments = self.ask_mlflow("experiments/search", {"max_results": 1000})["experiments"]
        return self._runs([each["experiment_id"] for each in experiments], f"tags.`airflow.run_id` = '{dag_run_id}'")[0]


def make(*words: str) -> None:
    """Type a command of the Makefile for this lab.

    Raises:
        SystemExit: It failed; its last lines.
    """
    # ARGS of a make above are for what it started, and would be Ansible's here.
    done = subprocess.run(["make", *words, f"LAB={LAB}", "ARGS="], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"make {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which lab is meant."""
    parser.add_argument("--report", type=Path, default=LAB / "reports" / "lab.json", help="what the verdict of the lab wrote (%(default)s)")
    parser.add_argument("--vault", type=Path, default=LAB / "group_vars/lab/vault.yml", help="where its passwords are (%(default)s)")


def _ask(address: str, headers: dict[str, str], body: Any = None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {**headers, "Content-Type": "application/json"}, method=method or ("POST" if data else "GET"))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{address.partition('?')[0]} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from None
    except OSError as error:
        raise SystemExit(f"{address.partition('?')[0]} cannot be reached ({error}): does the lab run? `make lab` starts it.") from None
