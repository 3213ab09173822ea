"""Every verb of the lab for real, as jobs of AWX one after the other; then a shell finds nothing to change, and removes the lab.

Not collected by `make test`: it builds a lab of its own name beside the one that may run. `pytest tests/awx/whole_lab.py`, as root on a machine
with a Docker engine or none, takes eleven minutes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.conftest import Checkout, copy_project
from tests.awx.controller import serving
from tests.awx.jobs import launch, prepare
from tests.awx.test_jobs import assert_clean, free_ports
from tests.conftest import ROOT, VERBS, run_tool


@pytest.fixture(scope="module")
def lab(make_checkout: Callable[..., Checkout], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A lab with names, ports and directories of its own; removed at the end."""
    place = tmp_path_factory.mktemp("host")
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
    names = [name for name in shared if name.endswith("_port")]
    values: dict[str, Any] = {
        "lab_name": "awx-lab",
        "lab_dir": "/opt/awx-lab",
        "lab_staging_dir": "/dev/shm/awx-lab",
        "ansible_remote_tmp": str(place / "remote"),
        "ansible_async_dir": str(place / "async"),
        **dict(zip(names, free_ports(len(names)), strict=True)),
    }
    lab = make_checkout(values)
    yield lab
    shell(lab, "playbooks/destroy.yml")


def shell(lab: Checkout, playbook: str) -> str:
    """Run a playbook as a person would; returns what it printed."""
    done = run_tool(["ansible-playbook", playbook, "-i", "inventories/lab"], lab.path, ANSIBLE_COLLECTIONS_PATH=str(lab.path / "collections"))
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def test_from_a_bare_machine_to_a_verdict_in_jobs(lab: Checkout, tmp_path: Path) -> None:
    with serving() as controller:
        declared = lab.apply(controller)
        assert declared.returncode == 0, declared.stdout
        for verb in VERBS:
            done = launch(prepare(controller, verb, copy_project, tmp_path / verb), timeout=3600)
            assert done.returncode == 0, done.output[-8000:]
            assert_clean(done, lab)
    verdict = json.loads((tmp_path / "verify/artifacts/1/reports/lab.json").read_text(encoding="utf-8"))
    assert verdict["ok"], verdict
    # The same inventory in a shell, with the lock that the job brought back: the same image, the same files, nothing to do.
    shutil.copytree(tmp_path / "build/artifacts/1/locks", lab.path / "inventories/lab/locks")
    again = shell(lab, "site.yml")
    recap = re.findall(r"changed=(\d+)", again.rpartition("PLAY RECAP")[2])
    assert recap and set(recap) == {"0"}, again
    assert json.loads((lab.path / "inventories/lab/reports/lab.json").read_text(encoding="utf-8"))["image"] == verdict["image"]
