"""What `destroy` and `remove_worker` remove of a host's directories: those that the lab's roles made, and nothing that somebody put beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.plays import Done, play

REMOVAL = yaml.safe_load((ROOT / "playbooks/tasks/remove_lab.yml").read_text(encoding="utf-8"))[0]
SHARED = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
NAMES = ("lab_systems", "lab_projects", "lab_directories", "lab_volumes", "lab_networks", "lab_bench_projects", "lab_bench_dir")
SYSTEMS = {name: SHARED[name] for name in NAMES}
for role in ("certificates", "firewall"):
    SYSTEMS[f"{role}_dir"] = yaml.safe_load((ROOT / f"playbooks/group_vars/all/{role}.yml").read_text(encoding="utf-8"))[f"{role}_dir"]
REFUSAL = next(task for task in REMOVAL["block"] if task["name"] == "Refuse to remove a directory of the system")


# As the real client: the format of `image ls` has a digest only where it was asked for, and a pattern's * reaches no further than a /.
DOCKER = """\
#!/bin/sh
echo "$*" >>"$0.log"
case $* in
  "image ls "*reference=none/*) echo none/airflow:3 ;;
  "image ls "*--digests*) printf '%s\\n' registry:5001/none/airflow@sha256:01 nexus.example.org/repository/docker/none/airflow:3 none/airflow:3 \\
    nexus.example.org/another-none/airflow:3 nexus.example.org/none/of/others:3 'nexus.example.org/none/airflow@<none>' debian:trixie ;;
esac
"""


def destroy(folder: Path, lab_dir: Path, staging: Path, engine: str = "missing") -> Done:
    """Look and remove as the playbook does, on a host without an engine or with that of the script `docker` in this folder."""
    steps = [{"ansible.builtin.include_tasks": str(ROOT / f"playbooks/tasks/{verb}_leftovers.yml"), "vars": REMOVAL["vars"]} for verb in ("find", "remove")]
    values = SYSTEMS | {
        "lab_name": "none",
        "lab_dir": str(lab_dir),
        "lab_staging_dir": str(staging),
        "__lab_engine": {"state": engine},
    }
    return play(folder, steps, "-e", json.dumps(values), PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("strangers", [[], ["notes.txt", ".env", "other/data"]])
def test_what_somebody_else_put_into_the_labs_directory_stays(tmp_path: Path, strangers: list[str]) -> None:
    lab, staging = tmp_path / "opt/lab", tmp_path / "shm/lab"
    ours = ("airflow_stack/compose.yml", "bench/a", "package_index/secrets/x", "certificates/host.key")
    for file in (*(lab / name for name in ours), staging / "0123456789ab/secrets/y"):
        file.parent.mkdir(parents=True)
        file.touch()
    for name in strangers:
        (lab / name).parent.mkdir(exist_ok=True)
        (lab / name).touch()
    done = destroy(tmp_path, lab, staging)
    assert done.returncode == 0, done.output
    assert not staging.exists()
    assert sorted(path.relative_to(lab).as_posix() for path in lab.rglob("*") if path.is_file()) == sorted(strangers)
    assert lab.exists() == bool(strangers)


def test_an_image_of_any_registry_goes_and_one_without_a_tag_by_its_digest(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER, encoding="utf-8")
    docker.chmod(0o755)
    done = destroy(tmp_path, tmp_path / "opt/lab", tmp_path / "shm/lab", "answers")
    assert done.returncode == 0, done.output
    calls = (tmp_path / "docker.log").read_text(encoding="utf-8").splitlines()
    assert any(call.startswith("network ls") and "|none-mlflow|" in call and "|none-workbench" in call for call in calls), "\n".join(calls)
    assert [call for call in calls if call.startswith("image rm")] == [
        "image rm none/airflow:3 registry:5001/none/airflow@sha256:01 nexus.example.org/repository/docker/none/airflow:3"
    ]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"lab_dir": "/opt"}, "lab_dir is '/opt', which others use, too: name a directory of the lab alone, for example /opt/mlops-lab."),
        ({"lab_dir": "/var/lib/"}, "lab_dir is '/var/lib/', which others use"),
        ({"lab_staging_dir": "/tmp"}, "lab_staging_dir is '/tmp', which others use, too: name a directory of the lab alone, for example /dev/shm/mlops-lab."),
        ({"lab_staging_dir": "/dev/shm"}, "lab_staging_dir is '/dev/shm', which others use"),
        ({}, ""),
    ],
)
def test_a_directory_that_others_use_is_refused(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    done = play(tmp_path, [REFUSAL], "-e", json.dumps({"lab_dir": "/opt/mlops-lab", "lab_staging_dir": "/dev/shm/mlops-lab", **more}))
    assert (done.returncode != 0, sentence in done.output) == (bool(sentence), True), done.output
