"""The role lab_backup without a lab: its copy of a database in use, and what a restore refuses before it changes anything."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.plays import Done, play

NAME = "20270101T030000Z"
KEY, PASSWORD = "a Fernet key", "a password of MLflow"
VERSIONS = {"airflow": "3.3.2", "mlflow": "3.17.2", "postgres": "17.12", "index": "6.20.3"}


def test_the_copy_of_an_index_in_use_is_whole(tmp_path: Path) -> None:
    """Somebody writes meanwhile and never finishes: the copy has what was finished, and nothing else."""
    store, copy = tmp_path / "store", tmp_path / "copy/store"
    store.mkdir()
    (store / ".event_serial").write_text("7")
    writer = sqlite3.connect(store / ".sqlite", isolation_level=None)
    writer.execute("CREATE TABLE kv (key TEXT PRIMARY KEY)")
    writer.execute("INSERT INTO kv VALUES ('finished')")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO kv VALUES ('not finished')")
    for _again in range(2):
        subprocess.run([sys.executable, ROOT / "roles/lab_backup/files/snapshot_index.py", store, copy], check=True)
        assert sqlite3.connect(copy / ".sqlite").execute("SELECT key FROM kv").fetchall() == [("finished",)]
        assert sorted(path.name for path in copy.iterdir()) == [".event_serial", ".sqlite"]
    writer.execute("COMMIT")


def digest(text: str) -> str:
    """Return a digest as the manifest has it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def backup(folder: Path, **more: Any) -> Path:
    """Write a backup of one file, with `more` in its manifest."""
    made = folder / NAME
    made.mkdir()
    (made / "airflow.dump").write_bytes(b"data")
    manifest = {
        "format": 1,
        "collection_version": "0.1.0",
        "versions": VERSIONS,
        "fingerprints": {"vault_airflow_fernet_key": digest(f"backup {KEY}"), "vault_mlflow_admin_password": digest(f"{KEY} {PASSWORD}")},
        "airflow_state": "",
        "bytes_unpacked": 1000,
        "files": [{"name": "airflow.dump", "bytes": 4, "sha256": hashlib.sha256(b"data").hexdigest()}],
    }
    (made / "manifest.json").write_text(json.dumps(manifest | more))
    return made


def check(folder: Path, **more: Any) -> Done:
    """Let the role check the backup for a lab as above, with `more` variables."""
    values: dict[str, Any] = {
        "lab_backup_dir": str(folder),
        "lab_backup_restore": NAME,
        "lab_backup_airflow_fernet_key": KEY,
        "lab_backup_mlflow_admin_password": PASSWORD,
        # What the lab would have answered
        "__lab_backup_complete": [NAME],
        "__lab_backup_versions": VERSIONS,
        "__lab_backup_volume_list": [{"name": "airflow_logs", "free": 10**6}],
    }
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.lab_backup", "tasks_from": "check"}}
    return play(folder, [role], "-e", json.dumps(values | more))


@pytest.mark.parametrize("chosen", [NAME, "latest"])
def test_a_backup_that_fits_is_taken(tmp_path: Path, chosen: str) -> None:
    backup(tmp_path)
    done = check(tmp_path, lab_backup_restore=chosen)
    assert done.returncode == 0, done.output


@pytest.mark.parametrize(
    ("manifest", "values", "sentence"),
    [
        ({}, {"__lab_backup_complete": []}, "There is no complete backup in"),
        (
            {},
            {"lab_backup_restore": ""},
            f"lab_backup_restore is empty: say which backup is to be brought back, with -e lab_backup_restore=latest or one of {NAME}.",
        ),
        ({}, {"lab_backup_restore": "../elsewhere"}, "There is no complete backup '../elsewhere' (lab_backup_restore)"),
        ({"format": 2, "collection_version": "9.0.0"}, {}, "has the format 2, which version 9.0.0 of the collection wrote"),
        ({"versions": VERSIONS | {"airflow": "3.4.0"}}, {}, "was made by newer versions than the lab's: airflow 3.4.0 (the lab has 3.3.2). Bring"),
        ({"versions": VERSIONS | {"postgres": "18.0"}}, {}, "postgres 18.0 (the lab has 17.12)"),
        ({}, {"lab_backup_airflow_fernet_key": "another"}, "was made with another vault_airflow_fernet_key and vault_mlflow_admin_password than the vault has"),
        ({}, {"lab_backup_mlflow_admin_password": "another"}, "was made with another vault_mlflow_admin_password than the vault has"),
        ({"bytes_unpacked": 10**7}, {}, "takes 9.54 MB beside the lab's data"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, manifest: dict[str, Any], values: dict[str, Any], sentence: str) -> None:
    backup(tmp_path, **manifest)
    done = check(tmp_path, **values)
    assert done.returncode != 0 and sentence in done.output, done.output
    assert KEY not in done.output and PASSWORD not in done.output


@pytest.mark.parametrize("older", [{"airflow": "3.1.8"}, {"postgres": "17.99"}, {"mlflow": ""}])
def test_older_versions_are_taken(tmp_path: Path, older: dict[str, str]) -> None:
    """So is another minor release of the same Postgres, and a lab whose MLflow does not say its version."""
    backup(tmp_path, versions=VERSIONS | {name: version for name, version in older.items() if version})
    done = check(tmp_path, __lab_backup_versions=VERSIONS | {name: version for name, version in older.items() if not version})
    assert done.returncode == 0, done.output


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    file = backup(tmp_path) / "airflow.dump"
    file.write_bytes(b"dato") if damage == "changed" else file.unlink()
    done = check(tmp_path)
    assert done.returncode != 0 and f"Backup {NAME} is damaged" in done.output and "airflow.dump: FAILED" in done.output, done.output
