"""Run a few tasks through a real `ansible-playbook` on this machine, and see what a user would see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, run_tool

HEAD = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: /usr/bin/python3
    ansible_remote_tmp: {folder}/remote
    ansible_async_dir: {folder}/async
  tasks:
"""
KEEP = """
    - copy:
        content: "{{ result | default({}) | to_json }}"
        dest: FOLDER/result.json
      check_mode: false
      diff: false
      no_log: true
"""


@dataclass
class Done:
    """What a play ended with: its exit code, all that it printed, and what the tasks registered as `result`."""

    returncode: int
    output: str
    result: dict[str, Any]
    folder: Path

    def left(self) -> list[str]:
        """Return the files that the play left in the directories that Ansible itself uses on a host."""
        return sorted(str(path) for name in ("async", "remote") for path in (self.folder / name).rglob("*") if path.is_file())


def play(folder: Path, tasks: list[dict[str, Any]], *options: str, **more: str) -> Done:
    """Run `tasks` with `options` of ansible-playbook and `more` environment variables; the directory `folder` holds all that it needs."""
    book, kept = folder / "play.yml", folder / "result.json"
    kept.unlink(missing_ok=True)
    lines = "".join(f"    - {json.dumps(task)}\n" for task in tasks)
    book.write_text(HEAD.format(folder=folder) + lines + KEEP.replace("FOLDER", str(folder)), encoding="utf-8")
    done = run_tool(["ansible-playbook", book, "-i", "localhost,", *options], ROOT, **{"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **more})
    result = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    return Done(done.returncode, done.stdout, result, folder)


def play_on_each(folder: Path, tasks: list[dict[str, Any]], hosts: dict[str, dict[str, Any]]) -> tuple[dict[str, Done], str]:
    """Run the same tasks for several hosts, all of them this machine, each with variables of its own: cheaper than a run for each.

    Returns:
        What each host ended with, whose output is what was printed of it; and all that was printed.
    """
    book, inventory = folder / "play.yml", folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    lines = "".join(f"    - {json.dumps(task)}\n" for task in tasks)
    book.write_text(HEAD.format(folder=folder).replace("hosts: localhost", "hosts: all") + lines, encoding="utf-8")
    options = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false"}
    shown = run_tool(["ansible-playbook", book, "-i", inventory, "--forks", "4"], ROOT, **options).stdout
    ended = {}
    for host in hosts:
        recap = re.search(rf"^{host} +: .* unreachable=(\d+) +failed=(\d+)", shown, re.MULTILINE)
        assert recap, shown
        own = "\n".join(re.findall(rf"^\w+: \[{host}\].*", shown, re.MULTILINE))
        ended[host] = Done(int(recap[1]) + int(recap[2]), own, {}, folder)
    return ended, shown


def wired(folder: Path, names: Iterable[str], *workers: str, host: str = "labhost", **values: Any) -> dict[str, Any]:
    """Return what the collection's values are on a host of a lab with the control host `labhost` and these workers."""
    groups = {"lab_control": ["labhost"], "lab_builder": ["labhost"], "lab_workers": list(workers)}
    children = {group: {"hosts": {name: {"ansible_host": f"10.0.0.{5 + len(name) % 5}"} for name in hosts}} for group, hosts in groups.items()}
    (folder / "hosts.json").write_text(json.dumps({"lab": {"children": children}}), encoding="utf-8")
    place: list[str | Path] = ["-i", folder / "hosts.json", "--playbook-dir", ROOT / "playbooks", "-c", "local", "-e", json.dumps(values)]
    message = "msg={{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
    done = run_tool(["ansible", host, *place, "-m", "ansible.builtin.debug", "-a", message], ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert done.returncode == 0, done.stdout
    return dict(json.loads(done.stdout.partition("=>")[2])["msg"])
