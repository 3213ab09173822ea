"""What is looked at before a backup or a restore: with a client of Docker that is the test's own, and the real tar for sizes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.modules import backup_info

from tests.unit.plays import play

AIRFLOW = {"Image": "churn/airflow:3.3.2-0a1b", "Env": ["LANG=C", "AIRFLOW_VERSION=3.3.2"]}
MLFLOW = {"Image": "127.0.0.1:5000/churn/mlflow:3.17.2-4c5d", "Env": None}
CLIENT = """\
#!/bin/sh
case "$1 $2" in
"version --format") echo 26.1.5 ;;
"ps --all") case "$*" in *=churn-airflow*) echo one ;; esac ;;
"inspect one") cat {folder}/containers ;;
"compose --project-directory={folder}") cat {folder}/databases ;;
"volume inspect") test "$5" = logs && echo {folder}/logs || {{ echo "no such volume" >&2; exit 1; }} ;;
*) exit 9 ;;
esac
"""


def container(service: str, config: dict[str, Any], status: str = "running", oneoff: str = "False") -> dict[str, Any]:
    """Return what Docker says of a container of the lab."""
    labels = {"com.docker.compose.project": "churn-airflow", "com.docker.compose.service": service, "com.docker.compose.oneoff": oneoff}
    return {"Config": {**config, "Labels": labels}, "State": {"Status": status}, "Image": f"sha256:{service}"}


class Lab:
    """A lab whose engine answers from files."""

    def __init__(self, folder: Path) -> None:
        """Begin with one that runs."""
        self.folder = folder
        self.containers = [container("airflow-scheduler", AIRFLOW), container("postgres", MLFLOW), container("airflow-init", AIRFLOW, oneoff="True")]
        self.databases: dict[str, Any] = {"airflow": {"bytes": 1000, "comment": "state"}, "optuna": {"bytes": 100, "comment": ""}, "other": {"bytes": 9}}
        (folder / "bin").mkdir()
        (folder / "bin/docker").write_text(CLIENT.format(folder=folder))
        (folder / "bin/docker").chmod(0o755)
        (folder / "logs/dag").mkdir(parents=True)
        (folder / "logs/dag/log").write_text("x" * 600)
        self.options: dict[str, Any] = {
            "projects": ["churn-airflow", "churn-index"],
            "needed": ["churn-airflow/postgres"],
            "databases": [{"name": name, "dir": str(folder), "admin": "airflow"} for name in ("airflow", "optuna")],
            "volumes": [{"name": "airflow_logs", "volume": "logs", "exclude": ["dag_processor"]}],
            "versions_of": {"airflow": "churn-airflow/airflow-scheduler", "mlflow": "churn-airflow/postgres", "index": "churn-index/devpi"},
            "dir": str(folder / "backups"),
        }

    def look(self) -> dict[str, Any]:
        """Run the module on it, in a play; returns its result."""
        (self.folder / "containers").write_text(json.dumps(self.containers))
        (self.folder / "databases").write_text(json.dumps({"version": "17.12 (Debian 17.12-1)", "databases": self.databases}))
        task = {"mlops.lab.backup_info": self.options, "register": "result"}
        done = play(self.folder, [task], PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        return {"msg": done.output} if done.returncode else done.result


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab that runs."""
    return Lab(tmp_path)


def test_all_that_a_backup_has_to_know_is_in_one_answer(lab: Lab) -> None:
    for name in ("20270102T030000Z", "20270101T030000Z", "20270103T030000Z.partial", "20270104T030000Z", "notes"):
        (lab.folder / "backups" / name).mkdir(parents=True)
        if name < "20270104":
            (lab.folder / "backups" / name / "manifest.json").write_text("{}")
    found = lab.look()
    assert found["complete"] == ["20270101T030000Z", "20270102T030000Z"] and found["partial"] == ["20270103T030000Z.partial"]
    assert found["versions"] == {"airflow": "3.3.2", "mlflow": "3.17.2", "index": "", "postgres": "17.12"}
    assert found["databases"] == {"airflow": {"bytes": 1000, "comment": "state"}, "optuna": {"bytes": 100, "comment": ""}}
    assert found["volumes"]["airflow_logs"]["path"] == f"{lab.folder}/logs"
    assert found["bytes"] == 1100 + found["volumes"]["airflow_logs"]["bytes"] and found["free"] > 0 < found["volumes_free"]
    assert found["images"] == {"churn/airflow:3.3.2-0a1b": "sha256:airflow-scheduler", MLFLOW["Image"]: "sha256:postgres"}
    assert re.fullmatch(r"\d{8}T\d{6}Z", found["now"]) and found["there"] and not found["missing"] and not found["engine"]


def test_a_directory_that_is_not_there_yet_has_no_backups_and_some_room(lab: Lab) -> None:
    lab.options["dir"] += "/below/that"
    found = lab.look()
    assert found["complete"] == found["partial"] == [] and found["free"] > 0


def test_what_does_not_run_is_named_and_nothing_more_is_asked(lab: Lab) -> None:
    lab.containers[1]["State"]["Status"] = "exited"
    lab.options["needed"] += ["churn-index/devpi"]
    found = lab.look()
    assert found["missing"] == ["churn-airflow/postgres", "churn-index/devpi"] and found["there"] and "databases" not in found


def test_a_run_of_compose_is_no_service(lab: Lab) -> None:
    lab.options["needed"] = ["churn-airflow/airflow-init"]
    assert lab.look()["missing"] == ["churn-airflow/airflow-init"]


def test_an_engine_that_does_not_answer_is_no_lab(lab: Lab) -> None:
    (lab.folder / "bin/docker").write_text("#!/bin/sh\necho 'no daemon at its socket' >&2; exit 1\n")
    found = lab.look()
    assert found["engine"] == "no daemon at its socket" and not found["there"] and found["missing"] == ["churn-airflow/postgres"]


def test_a_database_that_is_not_there_is_named(lab: Lab) -> None:
    del lab.databases["optuna"]
    assert f"Postgres of {lab.folder} has no database optuna." in lab.look()["msg"]


def test_a_volume_that_is_not_there_is_named(lab: Lab) -> None:
    lab.options["volumes"][0]["volume"] = "gone"
    assert "Docker does not say where volume gone is: no such volume" in lab.look()["msg"]


def test_the_size_is_what_tar_writes(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for size in (0, 1, 512, 513, 70_000):
        (tmp_path / f"a/{size}").write_bytes(b"x" * size)
    (tmp_path / "a/b/link").symlink_to("../1")
    os.link(tmp_path / "a/70000", tmp_path / "a/same")
    (tmp_path / ".former/a").mkdir(parents=True)
    (tmp_path / ".former/a/large").write_bytes(b"x" * 10**6)
    (tmp_path / "a/.former").write_bytes(b"x" * 1000)  # of that name, and elsewhere
    written = subprocess.run(
        ["tar", "--create", "--file", "/dev/null", "--totals", "--directory", tmp_path, "--anchored", "--exclude", "./.former", "."],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    by_tar = int(re.findall(r"Total bytes written: (\d+)", written.stderr)[0])
    # tar ends with two blocks and fills up its last record of twenty
    assert 0 <= by_tar - backup_info.packed(tmp_path, [".former"]) <= 22 * backup_info.BLOCK
