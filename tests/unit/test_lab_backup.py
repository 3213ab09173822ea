"""The role lab_backup without a lab: its copy of a database in use, and what a restore refuses before it changes anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.filter.backup_problem import backup_problem, damage, newer_versions
from ansible_collections.mlops.lab.plugins.filter.hmac_sha256 import hmac_sha256

from tests.conftest import BIN, ROOT
from tests.unit import test_mlflow_server as store
from tests.unit.conftest import make_environment, unpacked
from tests.unit.plays import Done, play, play_on_each
from tests.unit.rendering import Case as RoleCase

gateway, place = store.gateway, store.place  # fixtures
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


def seal(made: Path) -> None:
    """Seal the manifest as the lab does: HMAC of its base64 form."""
    code = hmac.new(f"seal of a backup {KEY}".encode(), base64.b64encode((made / "manifest.json").read_bytes()), "sha256").hexdigest()
    (made / "manifest.hmac").write_text(f"{digest(f'backup {KEY}')} {code}\n")


def backup(folder: Path, **more: Any) -> Path:
    """Write a backup of two files, with `more` in its manifest."""
    made = folder / NAME
    made.mkdir()
    contents = {"airflow.dump": b"data", "optuna.dump": b"more"}
    for name, content in contents.items():
        (made / name).write_bytes(content)
    manifest = {
        "format": 2,
        "name": NAME,
        "collection_version": "0.1.0",
        "versions": VERSIONS,
        "fingerprints": {"airflow_fernet_key": digest(f"backup {KEY}"), "mlflow_admin_password": digest("as releases up to 0.2 wrote it")},
        "airflow_state": "",
        "bytes_unpacked": 1000,
        "files": [{"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in contents.items()],
    }
    (made / "manifest.json").write_text(json.dumps(manifest | more))
    seal(made)
    return made


MLFLOW = {"name": "mlflow", "project": "mlops-lab-mlflow", "dir": "/opt/mlops-lab/mlflow_server"}
#: what module backup_info would have found
SEEN = {"complete": [NAME], "versions": VERSIONS, "volumes_free": 10**6}
VALUES: dict[str, Any] = {
    "lab_backup_restore": NAME,
    "lab_backup_airflow_fernet_key": KEY,
    "lab_backup_mlflow_admin_password": PASSWORD,
    "lab_backup_systems": [MLFLOW],
    "lab_backup_mlflow_store": "",
    "lab_backup_url": "",
    "__lab_backup_copies": {},
    "__lab_backup_seen": SEEN,
}


def exchanged(made: Path) -> None:
    """Exchange two files."""
    (made / "airflow.dump").rename(made / "x")
    (made / "optuna.dump").rename(made / "airflow.dump")
    (made / "x").rename(made / "optuna.dump")


def elsewhere(made: Path) -> None:
    """Let a file be one of somebody else, with the right content for now."""
    (made / "airflow.dump").rename(made.parent / "theirs")
    (made / "airflow.dump").symlink_to(made.parent / "theirs")


def resummed(made: Path) -> None:
    """Change a file and write its new sum down, as somebody does who has no key."""
    (made / "optuna.dump").write_bytes(b"planted")
    text = (made / "manifest.json").read_text()
    (made / "manifest.json").write_text(text.replace(hashlib.sha256(b"more").hexdigest(), hashlib.sha256(b"planted").hexdigest()))


def resealed(made: Path) -> None:
    """Write a seal that is none of the lab's."""
    seal = made / "manifest.hmac"
    seal.write_text(seal.read_text()[:17] + "0" * 64)


@dataclass
class Case:
    """A backup and the lab that it is brought back to."""

    sentence: str = ""
    """What a restore says when it refuses it."""
    manifest: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    harm: Callable[[Path], Any] = field(default=lambda _: None)
    """What somebody does to it afterwards."""


DAMAGED = f"Backup {NAME} is damaged, since .* "
CASES = {
    "fits": Case(),
    "latest": Case(values={"lab_backup_restore": "latest"}),
    # So is another minor release of the same Postgres, and a lab whose MLflow does not say its version.
    "older-airflow": Case(manifest={"versions": VERSIONS | {"airflow": "3.1.8"}}),
    "older-postgres": Case(manifest={"versions": VERSIONS | {"postgres": "17.99"}}),
    "silent-mlflow": Case(values={"__lab_backup_seen": SEEN | {"versions": VERSIONS | {"mlflow": ""}}}),
    "same-store": Case(manifest={"mlflow_store": "s3://lab/churn"}, values={"lab_backup_mlflow_store": "s3://lab/churn/"}),
    "no-mlflow": Case(
        manifest={"mlflow_store": "s3://lab/churn"},
        values={"lab_backup_systems": [], "__lab_backup_seen": SEEN | {"versions": {"airflow": "3.3.2"}}},
    ),
    "other-store": Case(
        "leaves MLflow's files in s3://lab/churn, and the lab has them in s3://other (lab_backup_mlflow_store): set",
        manifest={"mlflow_store": "s3://lab/churn"},
        values={"lab_backup_mlflow_store": "s3://other"},
    ),
    "in-the-store": Case(values={"lab_backup_url": "s3://backups/churn", "lab_backup_restore": "latest", "__lab_backup_copies": {"20260101T030000Z": "9"}}),
    "none": Case("There is no complete backup in", values={"__lab_backup_seen": SEEN | {"complete": []}}),
    "nothing-chosen": Case(
        f"lab_backup_restore is empty: say which backup is to be brought back, with -e lab_backup_restore=latest or one of {NAME}.",
        values={"lab_backup_restore": ""},
    ),
    "elsewhere": Case("There is no complete backup '../elsewhere' (lab_backup_restore)", values={"lab_backup_restore": "../elsewhere"}),
    "newer-format": Case("has the format 9, which version 9.0.0 of the collection wrote", manifest={"format": 9, "collection_version": "9.0.0"}),
    "newer-airflow": Case(
        "was made by newer versions than the lab's: airflow 3.4.0 (the lab has 3.3.2). Bring", manifest={"versions": VERSIONS | {"airflow": "3.4.0"}}
    ),
    "newer-postgres": Case("postgres 18.0 (the lab has 17.12)", manifest={"versions": VERSIONS | {"postgres": "18.0"}}),
    "other-key": Case("was made with another lab_backup_airflow_fernet_key than the vault has", values={"lab_backup_airflow_fernet_key": "another"}),
    "other-name": Case(f"Backup {NAME} is backup 20260101T030000Z under another name", manifest={"name": "20260101T030000Z"}),
    "too-large": Case("takes 9.54 MB beside the lab's data", manifest={"bytes_unpacked": 10**7}),
    "changed": Case(DAMAGED + "(airflow.dump: FAILED)", harm=lambda made: (made / "airflow.dump").write_bytes(b"dato")),
    "truncated": Case(DAMAGED + "(airflow.dump: FAILED)", harm=lambda made: (made / "airflow.dump").write_bytes(b"dat")),
    "gone": Case(DAMAGED + "(airflow.dump: FAILED open or read)", harm=lambda made: (made / "airflow.dump").unlink()),
    "added": Case(DAMAGED + "(mlflow.dump: is not of it)", harm=lambda made: (made / "mlflow.dump").write_bytes(b"x")),
    "directory-added": Case(DAMAGED + "(airflow_logs: is not of it)", harm=lambda made: (made / "airflow_logs").mkdir()),
    "exchanged": Case(DAMAGED + "(airflow.dump: FAILED, optuna.dump: FAILED)", harm=exchanged),
    "link": Case(DAMAGED + "(airflow.dump: is not of it)", harm=elsewhere),
    "manifest-anew": Case(f"Backup {NAME} was changed after it was made", harm=resummed),
    "manifest-no-text": Case(f"Backup {NAME} was changed after it was made", harm=lambda made: (made / "manifest.json").write_bytes(b"\xff{{ 1/0 }}")),
    "manifest-gone": Case(f"Backup {NAME} was changed after it was made", harm=lambda made: (made / "manifest.json").unlink()),
    "seal-gone": Case(f"Backup {NAME} has no seal (manifest.hmac)", harm=lambda made: (made / "manifest.hmac").unlink()),
    "seal-no-text": Case(f"Backup {NAME} has no seal (manifest.hmac)", harm=lambda made: (made / "manifest.hmac").write_bytes(b"\xff\xfe")),
    "other-seal": Case(f"Backup {NAME} was changed after it was made", harm=resealed),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What the role says of each case, all of them checked in one run."""
    folder, hosts = tmp_path_factory.mktemp("backups"), {}
    for name, case in CASES.items():
        (folder / name).mkdir()
        case.harm(backup(folder / name, **case.manifest))
        hosts[name] = {"case": VALUES | {"lab_backup_dir": str(folder / name)} | case.values}
    values = {name: f"{{{{ case.{name} }}}}" for name in [*VALUES, "lab_backup_dir"]}  # of a task, which win over the role's own
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.lab_backup", "tasks_from": "check"}, "vars": values}
    ended, shown = play_on_each(folder, [role], hosts)
    assert KEY not in shown and PASSWORD not in shown
    return ended


@pytest.mark.parametrize(
    ("versions", "newer"),
    [
        ({"airflow": "3.10.0", "postgres": "17.99"}, ["airflow 3.10.0 (the lab has 3.3.2)"]),  # as numbers, and the same Postgres
        ({"airflow": "3.3.2", "postgres": "18.0"}, ["postgres 18.0 (the lab has 17.12)"]),
        ({"airflow": "3.3.1", "mlflow": "9.9", "index": "6.0"}, []),  # the lab's MLflow says none, and it has no index
        ({"airflow": ""}, []),
    ],
)
def test_what_is_newer_in_a_backup_is_named(versions: dict[str, str], newer: list[str]) -> None:
    assert newer_versions(versions, {"airflow": "3.3.2", "postgres": "17.12", "mlflow": ""}) == newer


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["f/manifest.json", "f/manifest.hmac", "f/a.dump"], []),
        (["f/a.dump", "d/a.dump", "l/b/c", "a.dump: FAILED"], ["a.dump: FAILED", "a.dump: is not of it", "b/c: is not of it"]),
        ([], []),
    ],
)
def test_what_is_not_of_a_backup_or_differs_is_named(lines: list[str], wrong: list[str]) -> None:
    assert damage({"files": [{"name": "a.dump"}]}, lines) == wrong


LAB: dict[str, Any] = {
    "dir": "/backups",
    "place": "/backups on lab1",
    "complete": [NAME],
    "wanted": "latest",
    "chosen": NAME,
    "seal_key": KEY,
    "fingerprints": {"airflow_fernet_key": "0" * 16, "another_key": "1" * 16},
    "names": {"airflow_fernet_key": "vault_key", "another_key": "vault_password", "mlflow_store": "the_store"},
    "versions": VERSIONS,
    "mlflow_store": "",
    "free": 1000,
    "start_command": "start it",
    "backup_command": "save it",
}


@pytest.mark.parametrize(
    ("lab", "manifest", "compared", "words"),
    [
        ({}, {}, {}, ""),
        ({"complete": []}, {}, {}, "on lab1: make one with `save it`, or"),
        ({"fingerprints": {"airflow_fernet_key": "2" * 16}}, {}, {}, "another vault_key than the vault has, so the lab could not use it: put"),
        ({}, {"fingerprints": {"any": "0" * 16}}, {}, "another vault_password than the vault has"),
        ({}, {"fingerprints": {}}, {}, "another vault_key and vault_password than the vault has"),
        ({}, {"versions": {"airflow": "4"}}, {}, "airflow 4 (the lab has 3.3.2). Bring the lab to them with `start it` first"),
        ({}, {"format": 3, "versions": None}, {"rc": 1}, "has the format 3, which version 1 of"),  # whose other keys nobody here knows
        ({}, {}, {"rc": 1, "stderr": "broken pipe"}, "does not hold (broken pipe): copy it again"),
        (
            {},
            {"mlflow_store": "s3://a"},
            {},
            "leaves MLflow's files in s3://a, and the lab has them in a volume, since the_store is empty: set the_store to s3://a",
        ),
        ({"mlflow_store": "s3://a"}, {}, {}, "has MLflow's files, and the lab has them in s3://a (the_store), where a restore brings none: take the_store out"),
        ({"mlflow_store": "s3://a"}, {"mlflow_store": "s3://a"}, {}, ""),
        ({"mlflow_store": "s3://a"}, {"versions": {"airflow": "3.3.2"}}, {}, ""),  # it has nothing of MLflow
        ({}, {"bytes_unpacked": 1001}, {}, "takes 1001.00 Bytes beside the lab's data, and the disk of Docker's volumes has 1000.00 Bytes left"),
        ({"seal_key": "another"}, {"format": 9}, {}, "was changed after it was made"),
    ],
)
def test_the_first_thing_that_is_wrong_is_said(lab: dict[str, Any], manifest: dict[str, Any], compared: dict[str, Any], words: str) -> None:
    usual = {
        "format": 2,
        "name": NAME,
        "collection_version": "1",
        "versions": VERSIONS,
        "fingerprints": LAB["fingerprints"],
        "bytes_unpacked": 1000,
        "files": [],
    }
    text = base64.b64encode(json.dumps({**usual, **manifest}).encode()).decode()
    seal = base64.b64encode(f"{'0' * 16} {hmac_sha256(text, KEY)}\n".encode()).decode()
    sentence = backup_problem({**LAB, **lab}, text, seal, {"rc": 0, "stdout_lines": [], "stderr": "", **compared})
    assert words in sentence and bool(words) == bool(sentence)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.sentence])
def test_a_backup_that_fits_is_taken(checked: dict[str, Done], name: str) -> None:
    assert checked[name].returncode == 0, checked[name].output


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.sentence])
def test_what_does_not_fit_or_was_changed_is_refused_in_one_sentence(checked: dict[str, Done], name: str) -> None:
    done = checked[name]
    began, _, ended = CASES[name].sentence.partition(".*")
    assert done.returncode != 0 and began in done.output and ended in done.output, done.output
    assert len(re.findall("^fatal:", done.output, re.MULTILINE)) == 1
    assert KEY not in done.output and PASSWORD not in done.output


@dataclass
class Postgres:
    """A real server on a socket, of which `airflow` is the superuser, as in the lab."""

    bin: Path
    folder: Path
    user: str | None
    """Who runs it: a server of Postgres refuses root."""
    libraries: str
    """Where its libraries are, if not where the system has them."""

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one of its programs; returns what it printed."""
        where = {**os.environ, "PGHOST": str(self.folder), "LC_ALL": "C", "LD_LIBRARY_PATH": self.libraries}
        log = self.folder / "programs.log"  # a pipe would be held open by the server
        with log.open("wb") as output:
            done = subprocess.run([self.bin / name, *arguments], env=where, user=self.user, stdout=output, stderr=output, cwd="/", check=False)
        assert done.returncode == 0, log.read_text()
        return log.read_text()

    def sql(self, database: str, text: str, user: str = "airflow") -> str:
        """Run SQL as a user; returns what it printed."""
        return self.run("psql", "--no-psqlrc", "-qtAX", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", text).strip()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server that listens on no port."""
    user = None if os.geteuid() else "nobody"
    with tempfile.TemporaryDirectory(prefix="pg") as name:  # the path of a socket has to be short
        folder, root = Path(name), Path("/")
        if not (found := sorted(root.glob("usr/lib/postgresql/*/bin/postgres"))):
            # Where that user may read it, and without what would compile queries, which is the larger part
            root = shutil.copytree(unpacked("postgresql"), folder / "root", symlinks=True, ignore=shutil.ignore_patterns("libLLVM*", "doc", "locale", "man"))
            found = sorted(root.glob("usr/lib/postgresql/*/bin/postgres"))
        libraries = "" if root == Path("/") else os.pathsep.join(map(str, root.glob("usr/lib/*-linux-gnu*")))
        server = Postgres(found[-1].parent, folder, user, libraries)
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server.run("initdb", "-D", server.folder / "data", "-U", "airflow", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={server.folder} -c fsync=off"
        server.run("pg_ctl", "-D", server.folder / "data", "-l", server.folder / "log", "-o", options, "-w", "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", server.folder / "data", "-m", "immediate", "stop")


PLANTED = """
CREATE FUNCTION public.planted(x int) RETURNS bool LANGUAGE plpgsql AS $f$
BEGIN
    RESET ROLE;
    BEGIN
        EXECUTE 'COPY (SELECT current_user) TO PROGRAM ''cat >FOLDER/ran''';
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    RETURN true;
END $f$;
CREATE TABLE public.studies (id int CHECK (public.planted(id)));
INSERT INTO public.studies VALUES (7);
"""
DOCKER = """#!/bin/sh
while test "$1" != postgres; do shift; done
name=$2
shift 2
PGHOST={folder} LD_LIBRARY_PATH={libraries} exec {bin}/"$name" "$@"
"""


@pytest.mark.parametrize("name", ["optuna", "airflow"])
def test_a_dump_runs_as_nobody_who_may_do_anything(postgres: Postgres, tmp_path: Path, name: str) -> None:
    """What a dump contains runs when it is loaded: with the rights of a superuser it ran any program in the container."""
    if name != "airflow":
        postgres.sql("postgres", "CREATE ROLE optuna LOGIN")
    postgres.sql("postgres", f"CREATE DATABASE {name} OWNER {name}")
    postgres.sql(name, PLANTED.replace("FOLDER", str(postgres.folder)), name)
    made = tmp_path / NAME
    made.mkdir()
    postgres.run("pg_dump", "-U", name, "-d", name, "--format=custom", "-f", postgres.folder / "dump")
    shutil.copy(postgres.folder / "dump", made / f"{name}.dump")
    ran = postgres.folder / "ran"
    ran.unlink(missing_ok=True)
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(folder=postgres.folder, bin=postgres.bin, libraries=postgres.libraries))
    docker.chmod(0o755)
    values = {
        "lab_backup_dir": str(tmp_path),
        "lab_backup_restore": NAME,
        "lab_backup_airflow_fernet_key": KEY,
        "lab_backup_mlflow_admin_password": PASSWORD,
        "__lab_backup_seen": SEEN,
        "__lab_backup_loaded_databases": [{"name": name, "admin": "airflow", "dir": str(tmp_path)}],
        "__lab_backup_loaded_trees": [],
    }
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.lab_backup", "tasks_from": "load"}}
    owners = "SELECT tableowner FROM pg_tables WHERE tablename = 'studies' UNION ALL SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{}'"
    for _again in range(2):  # the second time over what an interrupted one left
        done = play(tmp_path, [role], "-e", json.dumps(values), PATH=f"{docker.parent}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}")
        assert done.returncode == 0, done.output
        assert not ran.exists(), f"it ran as {ran.read_text()}"
        assert postgres.sql(f"{name}_restored", "SELECT id FROM studies") == "7"
        assert postgres.sql(f"{name}_restored", owners.format(f"{name}_restored")).split() == [name, name]
        assert postgres.sql("postgres", f"SELECT count(*) FROM pg_roles WHERE rolname = '{name}_restored'") == "0"


# -------------------------------------------------------------------- copies in an object store


@pytest.mark.parametrize(
    ("url", "mlflow", "words"),
    [
        ("s3://backups/churn", "s3://lab/churn", ""),
        ("s3://lab/churn-backups", "s3://lab/churn", ""),
        ("s3://lab/churn/backups/", "s3://lab/churn", "where users of MLflow could read the backups"),
        ("s3://lab", "s3://lab/", "where users of MLflow could read the backups"),
        ("https://s3.example.com/lab", "s3://lab/churn", "write s3://bucket or s3://bucket/prefix"),
        ("s3://backups", "", "set lab_backup_mlflow_store, too"),
    ],
)
def test_backups_are_copied_where_mlflow_s_users_read_nothing(url: str, mlflow: str, words: str) -> None:
    case = RoleCase("", "lab_backup", "", {"lab_backup_url": url, "lab_backup_mlflow_store": mlflow, "lab_backup_systems": [MLFLOW]})
    said = case.value("__lab_backup_misplaced")
    assert (words in said and url in said) if words else said == ""


@pytest.mark.deep
def test_a_backup_goes_to_the_store_and_comes_back(place: store.Place, tmp_path: Path) -> None:
    """The engine's client is the test's own: it runs what is to run in MLflow's container, with MLflow's settings."""
    bucket = place.folder.parent / "backups"
    bucket.mkdir()
    (tmp_path / "bin").mkdir()
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in store.settings(tmp_path, place.values(), place.authority).items())
    client = f'#!/bin/sh\n{exports}while test "$1" != python; do shift; done; shift\nexec {make_environment("mlflow")} "$@"\n'
    (tmp_path / "bin/docker").write_text(client)
    (tmp_path / "bin/docker").chmod(0o755)

    def run(tasks: str, **values: Any) -> Done:
        given = {**VALUES, "lab_backup_dir": str(tmp_path / "backups"), "lab_backup_url": "s3://backups/churn", "lab_backup_mlflow_store": "s3://lab/churn"}
        del given["__lab_backup_copies"]
        given |= {"lab_backup_keep": 1, **values}
        role = {"ansible.builtin.include_role": {"name": "mlops.lab.lab_backup", "tasks_from": tasks}}
        show = {"ansible.builtin.debug": {"msg": "{{ __lab_backup_listed.stdout_lines | default([]) }}"}, "register": "result"}
        (tmp_path / "values.json").write_text(json.dumps(given))
        return play(tmp_path, [role, show], "-e", f"@{tmp_path}/values.json", PATH=f"{tmp_path}/bin:{BIN}:{os.environ['PATH']}")

    large = os.urandom(20 << 20)
    for name in ("20270101T030000Z", "20270102T030000Z"):
        made = backup(tmp_path, name=name)
        (made / "airflow.dump").write_bytes(large)
        target = tmp_path / "backups" / name
        target.parent.mkdir(exist_ok=True)
        made.rename(target)
        done = run("copy", __lab_backup_seen={"now": name})
        assert done.returncode == 0, done.output
        (bucket / "churn/20270102T010000Z").mkdir(exist_ok=True)
        (bucket / "churn/20270102T010000Z/airflow.dump").write_text("interrupted")
    assert [path.name for path in sorted((bucket / "churn").iterdir()) if any(path.iterdir())] == ["20270102T010000Z", "20270102T030000Z"]
    files = {path.name: path.read_bytes() for path in target.iterdir()}
    assert {path.name: path.read_bytes() for path in (bucket / "churn" / target.name).iterdir()} == files
    listed = run("copies", __lab_backup_writes=True)
    assert listed.result["msg"] == [f"20270102T030000Z {sum(map(len, files.values()))}"], listed.output

    shutil.rmtree(tmp_path / "backups")
    away = {"__lab_backup_copies": {target.name: str(10**6)}, "lab_backup_restore": "latest", "__lab_backup_seen": SEEN | {"complete": [], "free": 10**9}}
    done = run("fetch", **away)
    assert done.returncode == 0, done.output
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    assert target.stat().st_mode & 0o777 == 0o700 and not list(target.parent.glob("*.partial"))

    refused = run("copies", __lab_backup_writes=True, lab_backup_url="s3://not-there/churn")
    assert (
        refused.returncode != 0
        and "s3://not-there/churn (lab_backup_url) does not say which backups it has: An error occurred (NoSuchBucket)" in refused.output
    )
    (tmp_path / "object_store").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
    assert run("copies", lab_backup_restore=target.name, __lab_backup_seen=SEEN | {"complete": [target.name]}).returncode == 0, (
        "the one that is there needs no store"
    )
    latest = run("copies", lab_backup_restore="latest", __lab_backup_seen=SEEN | {"complete": [target.name]})
    assert latest.returncode != 0 and f"lab_backup_restore can name one that is on localhost: {target.name}." in latest.output, latest.output
    lost = run("copy", __lab_backup_seen={"now": target.name})
    assert lost.returncode != 0 and f"Backup {target.name} is complete in {tmp_path}/backups, and could not be copied to" in lost.output, lost.output
    assert place.secret not in done.output + lost.output + refused.output
