#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a running lab and at its backups, before one is made or brought back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Look at a lab that is to be backed up or restored
version_added: 0.2.0
description:
  - Looks at the lab's containers, asks its databases for sizes and versions, and looks at the volumes, the backups and the room that is left. Changes nothing.
  - What is asked of a Postgres goes over the socket in its container, which needs no password.
  - A service of O(needed) that does not run is a result, not a failure of the module; nothing more is asked then.
options:
  projects:
    description: Compose projects of the lab.
    type: list
    elements: str
    required: true
  needed:
    description: Services that have to run, as C(project/service).
    type: list
    elements: str
    default: []
  databases:
    description: Databases that are saved.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      dir: {description: Directory of the compose project that its Postgres is the service C(postgres) of., type: path, required: true}
      admin: {description: User of that Postgres who may see all databases., type: str, required: true}
  volumes:
    description: Volumes that are saved.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: What the backup calls it., type: str, required: true}
      volume: {description: What Docker calls it., type: str, required: true}
      exclude: {description: Paths in it that are left out., type: list, elements: str, default: []}
  versions_of:
    description: Services of which the version is asked, as name of a system to C(project/service).
    type: dict
    default: {}
  dir:
    description: Directory of the backups, which need not be there.
    type: path
    required: true
attributes:
  check_mode: {support: full, description: Changes nothing in any mode.}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Look at lab and backups
  mlops.lab.backup_info:
    projects: [mlops-lab-airflow]
    needed: [mlops-lab-airflow/postgres]
    databases: [{name: airflow, dir: /opt/mlops-lab/airflow_stack, admin: airflow}]
    volumes: [{name: airflow_logs, volume: mlops-lab-airflow_logs}]
    versions_of: {airflow: mlops-lab-airflow/airflow-scheduler}
    dir: /var/backups/mlops-lab
  register: __seen
"""

RETURN = r"""
engine:
  description: Why the Docker engine does not answer, empty where it does.
  returned: always
  type: str
there:
  description: Whether there is any container of the lab.
  returned: always
  type: bool
missing:
  description: Those of O(needed) that do not run.
  returned: always
  type: list
  elements: str
images:
  description: Image name -> id, of all containers of the lab.
  returned: when nothing is missing
  type: dict
versions:
  description: System -> version, of O(versions_of) and of C(postgres); empty where its image does not say one.
  returned: when nothing is missing
  type: dict
databases:
  description: Database -> its C(bytes) and the C(comment) on it, empty where there is none.
  returned: when nothing is missing
  type: dict
volumes:
  description: Name of a volume -> its C(path) on the host, and the C(bytes) of what is saved of it.
  returned: when nothing is missing
  type: dict
bytes:
  description: Size of databases and volumes, before they are packed.
  returned: when nothing is missing
  type: int
volumes_free:
  description: Bytes that are left beside the volumes, where they are fewest.
  returned: when nothing is missing
  type: int
now:
  description: The time in UTC, as backups are named by it.
  returned: when nothing is missing
  type: str
  sample: 20270101T030000Z
free:
  description: Bytes that are left where the backups are, or are to be.
  returned: when nothing is missing
  type: int
complete:
  description: Names of the backups that are complete, the oldest first.
  returned: when nothing is missing
  type: list
  elements: str
partial:
  description: Names of what interrupted backups left.
  returned: when nothing is missing
  type: list
  elements: str
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.lab.plugins.module_utils.engine import Unreachable, docker, server_version
from ansible_collections.mlops.lab.plugins.module_utils.lab_api import containers, service_of

#: bytes of a block of tar, which writes a header of one for each file and fills its content up to whole ones
BLOCK = 512
#: of each database: its size, and the comment on it
DATABASES = """\
SELECT json_build_object('version', current_setting('server_version'), 'databases', (SELECT json_object_agg(datname, json_build_object(
'bytes', pg_database_size(oid), 'comment', coalesce(shobj_description(oid, 'pg_database'), ''))) FROM pg_database WHERE datallowconn))
"""


def by_service(found: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return ``project/service`` -> what Docker says of its container; what ran once, as ``docker compose run`` starts it, is left out."""
    labelled = [(one["Config"].get("Labels") or {}, one) for one in found]
    return {
        f"{labels.get('com.docker.compose.project', '')}/{service_of(one)}": one
        for labels, one in labelled
        if labels.get("com.docker.compose.oneoff", "False") == "False"
    }


def version_of(container: Mapping[str, Any] | None) -> str:
    """Return the version of what runs in a container: what Airflow's image says in its environment, or the first part of the tag; else an empty string."""
    if container is None:
        return ""
    said = [word.partition("=")[2] for word in container["Config"].get("Env") or [] if word.startswith("AIRFLOW_VERSION=")]
    tagged = re.search(r":(\d[^:/]*)-[^-:/]*$", str(container["Config"]["Image"]))
    return said[0] if said else tagged[1] if tagged else ""


def ask_postgres(folder: str, admin: str, wanted: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the version of the Postgres of a compose project, and of some of its databases the size and the comment on it.

    Raises:
        Unreachable: it does not answer, or has not all of them.
    """
    asked = docker("compose", f"--project-directory={folder}", "exec", "-T", "postgres", "psql", f"--username={admin}", "--dbname=postgres", "-tAc", DATABASES)
    if asked.returncode:
        raise Unreachable(f"Postgres of {folder} does not answer: {asked.stderr.strip()[-500:]}")
    answer = json.loads(asked.stdout)
    if lacking := [name for name in wanted if name not in answer["databases"]]:
        raise Unreachable(f"Postgres of {folder} has no database {', '.join(lacking)}.")
    return answer["version"].split()[0], {name: answer["databases"][name] for name in wanted}


def volume_path(volume: str) -> Path:
    """Return where Docker keeps a volume.

    Raises:
        Unreachable: there is no such volume.
    """
    asked = docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume)
    if asked.returncode:
        raise Unreachable(f"Docker does not say where volume {volume} is: {asked.stderr.strip()}")
    return Path(asked.stdout.strip())


def packed(top: Path, exclude: Iterable[str]) -> int:
    """Return the bytes that tar writes for a directory without some paths of it. Files come and go meanwhile."""
    left_out = {top / path for path in exclude}
    total, linked = 0, set()
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if Path(folder, name) not in left_out]
        for name in [*folders, *files]:
            path = Path(folder, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            total += BLOCK
            if path not in left_out and stat.S_ISREG(status.st_mode) and status.st_ino not in linked:
                total += -(-status.st_size // BLOCK) * BLOCK
                linked.add(status.st_ino)
    return total


def free_at(path: Path) -> int:
    """Return the bytes that are left where a path is, or is to be."""
    while not path.is_dir():
        path = path.parent
    system = os.statvfs(path)
    return system.f_bavail * system.f_frsize


def backups(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the complete backups, the oldest first, and of what interrupted ones left."""
    names = sorted(path.name for path in folder.glob("[0-9]*T[0-9]*Z*")) if folder.is_dir() else []
    complete = [name for name in names if name.endswith("Z") and (folder / name / "manifest.json").exists()]
    return complete, [name for name in names if name.endswith("Z.partial")]


def look(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found; options and keys as documented above.

    Raises:
        Unreachable: a part of the lab that runs does not answer.
    """
    try:
        server_version()
        services = by_service(containers(wanted["projects"]))
    except Unreachable as error:
        return {"engine": str(error), "there": False, "missing": wanted["needed"]}
    missing = [name for name in wanted["needed"] if services.get(name, {"State": {}})["State"].get("Status") != "running"]
    found: dict[str, Any] = {"engine": "", "there": bool(services), "missing": missing}
    if missing:
        return found
    servers: dict[tuple[str, str], list[str]] = {}
    for one in wanted["databases"]:
        servers.setdefault((one["dir"], one["admin"]), []).append(one["name"])
    asked = [ask_postgres(*server, names) for server, names in servers.items()]
    databases = {name: database for _version, answer in asked for name, database in answer.items()}
    paths = {one["name"]: volume_path(one["volume"]) for one in wanted["volumes"]}
    volumes = {one["name"]: {"path": str(paths[one["name"]]), "bytes": packed(paths[one["name"]], one["exclude"])} for one in wanted["volumes"]}
    complete, partial = backups(Path(wanted["dir"]))
    versions = {name: version_of(services.get(service)) for name, service in wanted["versions_of"].items()}
    if asked:
        versions["postgres"] = asked[0][0]
    return {
        **found,
        "images": {one["Config"]["Image"]: one["Image"] for one in services.values()},
        "versions": versions,
        "databases": databases,
        "volumes": volumes,
        "bytes": sum(one["bytes"] for one in [*databases.values(), *volumes.values()]),
        "volumes_free": min((free_at(path) for path in paths.values()), default=0),
        "now": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        "free": free_at(Path(wanted["dir"])),
        "complete": complete,
        "partial": partial,
    }


def main() -> None:
    """Run the module."""
    database = {"name": {"type": "str", "required": True}, "dir": {"type": "path", "required": True}, "admin": {"type": "str", "required": True}}
    volume = {
        "name": {"type": "str", "required": True},
        "volume": {"type": "str", "required": True},
        "exclude": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "list", "elements": "str", "required": True},
            "needed": {"type": "list", "elements": "str", "default": []},
            "databases": {"type": "list", "elements": "dict", "default": [], "options": database},
            "volumes": {"type": "list", "elements": "dict", "default": [], "options": volume},
            "versions_of": {"type": "dict", "default": {}},
            "dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **look(module.params))
    except Unreachable as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
