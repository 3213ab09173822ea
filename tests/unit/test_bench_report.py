"""The benchmark's second run is read from what Ansible really prints, plays for no host among it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import report
import yaml


def test_a_run_is_read_with_plays_that_are_for_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"connection": "local", "gather_facts": False, "vars": {"ansible_python_interpreter": sys.executable}}
    wait = {"name": "Wait", "ansible.builtin.command": "sleep 0.3", "changed_when": False}
    plays = [
        {"name": "Nobody", "hosts": "all:!all", **here, "tasks": [wait]},
        {"name": "Check", "hosts": "all", **here, "tasks": [wait]},
        {"name": "Change", "hosts": "all", **here, "tasks": [{"name": "Do", "ansible.builtin.command": "true"}]},
    ]
    (tmp_path / "site.yml").write_text(yaml.safe_dump(plays))
    for verb in report.CHECKS:
        (tmp_path / f"{verb}.yml").write_text(yaml.safe_dump([{"name": "Check"}]))
    monkeypatch.setattr(report, "SITE", str(tmp_path / "site.yml"))
    monkeypatch.setattr(report, "PLAYBOOKS", tmp_path)
    taken = report.run_site(["here,"])
    assert taken["changed"] == 1 and taken["tasks"] == 2
    assert taken["plays"]["Nobody"] == 0 and 0.3 <= taken["checks"] == taken["plays"]["Check"] < taken["seconds"]
