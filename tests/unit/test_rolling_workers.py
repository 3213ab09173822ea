"""Workers of several hosts that are replaced: some at a time, by the real task files and a Docker client that answers as the real one does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, run_tool
from tests.unit.plays import play

WIRING = yaml.safe_load((ROOT / "playbooks/group_vars/all/airflow_stack.yml").read_text(encoding="utf-8"))
# Whatever a host runs is started by a shell of its own, which knows whose engine is meant.
SHELL = '#!/bin/sh\nHOST={host} PATH={folder}:$PATH\nexport HOST PATH\nexec /bin/sh "$@"\n'
# The worker is a file with the hash of its definition. Its replacement takes a second, in which a log tells who begins and who ends.
DOCKER = """\
#!/bin/bash
test -e "$HOST/worker" && there=$(cat "$HOST/worker")
case "$*" in
  *" compose version"*) echo '{"version": "2.32.0"}' ;;
  *" version --format"*) echo '{"Client": {"Version": "28.0.0", "ApiVersion": "1.48"}, "Server": {"ApiVersion": "1.48"}}' ;;
  *" info "*) echo '{"ClientInfo": {"Plugins": [{"Name": "compose", "Version": "2.32.0"}]}}' ;;
  *"config --hash"*) echo "airflow-worker new" ;;
  ps*--format*) if test "$there"; then echo "airflow-worker $there 1"; fi ;;
  ps*) if test "$there"; then echo 1; fi ;;
  "inspect --format running="*) echo "running=$(cat "$HOST/image")" ;;
  "inspect --format"*) echo image id ;;
  "image inspect"*) echo id ;;
  *compose*" up "*)
    echo "begin ${HOST##*/}" >>"$HOST/../log"
    sleep 1
    echo "end ${HOST##*/}" >>"$HOST/../log"
    if test -e "$HOST/broken"; then echo "worker is unhealthy" >&2; exit 1; fi
    echo new >"$HOST/worker"
    echo " Container lab-airflow-worker-1  Recreated" >&2 ;;
  *compose*"--format json"*) echo '[]' ;;
esac
exit 0
"""


@dataclass
class Lab:
    """Hosts that are this machine, all but the first with a worker."""

    folder: Path
    names: list[str]

    def run(self, *options: str, **values: Any) -> str:
        """Start the stack on all of them; return what was printed."""
        for path, text in [
            (self.folder / "docker", DOCKER),
            *((self.folder / name / "sh", SHELL.format(host=self.folder / name, folder=self.folder)) for name in self.names),
        ]:
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        known = {name: {"ansible_shell_executable": str(self.folder / name / "sh"), "airflow_stack_dir": str(self.folder / name)} for name in self.names}
        (self.folder / "hosts.json").write_text(json.dumps({"all": {"hosts": known}}), encoding="utf-8")
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_remote_tmp": str(self.folder / "remote"),
            "ansible_async_dir": str(self.folder / "async"),
            "airflow_stack_project": "lab",
            "airflow_stack_image": "lab/airflow:3.3.2",
            "airflow_stack_worker_hosts": self.names[1:],
            "airflow_stack_worker_running": WIRING["airflow_stack_worker_running"],
            **values,
        }
        block = {
            "block": [
                {"ansible.builtin.include_role": {"name": "mlops.lab.airflow_stack", "tasks_from": "start"}},
                {"ansible.builtin.debug": {"msg": "started"}},
            ],
            "rescue": [{"ansible.builtin.fail": {"msg": "Stopped"}}],
        }
        book = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": [block]}
        (self.folder / "play.yml").write_text(json.dumps([book]), encoding="utf-8")
        command: list[str | Path] = [
            "ansible-playbook",
            self.folder / "play.yml",
            "-i",
            self.folder / "hosts.json",
            "--forks",
            "8",
            "-e",
            json.dumps(variables),
        ]
        return run_tool([*command, *options], ROOT, ANSIBLE_CALLBACK_FORMAT_PRETTY="false").stdout

    def replaced(self) -> list[str]:
        """Return what began and ended since the last look, in that order."""
        log = self.folder / "log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


def turns(output: str, lines: list[str]) -> list[set[str]]:
    """Return the hosts of each turn, after a look that each turn began when the one before it had ended."""
    parts = re.split(r"^TASK \[mlops\.lab\.airflow_stack : Start the stack and wait .*$", output, flags=re.M)[1:]
    found = [set(re.findall(r"^(?:ok|changed|fatal): \[(\w+)\]", part.partition("\nTASK [")[0], re.M)) for part in parts]
    rest = [line.split()[1] for line in lines]
    for hosts in found:
        own, rest = rest[: 2 * len(hosts)], rest[2 * len(hosts) :]
        assert not lines or set(own) <= hosts, (found, lines)
    return found


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab whose workers run, all of a former definition."""
    names = ["control", "w1", "w2", "w3", "w4", "w5"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "compose.yml").touch()
        (tmp_path / name / "worker").write_text("former\n", encoding="utf-8")
        (tmp_path / name / "image").write_text("lab/airflow:3.3.2\n", encoding="utf-8")
    return Lab(tmp_path, names)


def test_workers_are_replaced_some_after_the_others_and_then_nothing_is_done(lab: Lab) -> None:
    """At most half of five, whatever the control host without a worker does; a second run begins nothing."""
    output = lab.run()
    assert turns(output, lab.replaced()) == [{"control", "w1", "w2"}, {"w3", "w4"}, {"w5"}], output
    assert output.count("msg: started") == 6 and "failed=1" not in output
    again = lab.run()
    assert lab.replaced() == [] and again.count("msg: started") == 6, again


@pytest.mark.deep
def test_all_at_once_where_it_is_asked_for(lab: Lab) -> None:
    output = lab.run(airflow_stack_worker_serial="100%")
    assert turns(output, lab.replaced()) == [set(lab.names)], output


@pytest.mark.deep
def test_a_role_that_is_not_told_of_the_others_replaces_all_of_them_all_the_same(lab: Lab) -> None:
    output = lab.run(airflow_stack_worker_running={})
    assert turns(output, lab.replaced()) == [{"control", "w1", "w2"}, {"w3", "w4"}, {"w5"}], output


@pytest.mark.deep
def test_what_does_not_run_waits_for_no_turn(lab: Lab) -> None:
    """A first start is as fast as ever, and a worker that is added or was drained does not wait for the others."""
    for name in ("w3", "w5"):
        (lab.folder / name / "worker").unlink()
    output = lab.run()
    assert turns(output, lab.replaced()) == [{"control", "w1", "w2", "w3", "w5"}, {"w4"}], output
    for name in lab.names:
        (lab.folder / name / "worker").unlink()
    output = lab.run()
    assert turns(output, lab.replaced()) == [set(lab.names)], output


def test_no_worker_is_replaced_after_one_that_failed(lab: Lab) -> None:
    (lab.folder / "w3/broken").touch()
    output = lab.run()
    lines = lab.replaced()
    assert turns(output, lines)[:2] == [{"control", "w1", "w2"}, {"w3", "w4"}] and "begin w4" in lines and "begin w5" not in lines, output
    assert (lab.folder / "w5/worker").read_text(encoding="utf-8") == "former\n", "it goes on with tasks"
    assert output.count("msg: Stopped") == 6 and "msg: started" not in output


def test_workers_of_another_airflow_than_the_control_host_s_are_replaced_at_once(lab: Lab) -> None:
    output = lab.run(airflow_stack_image="lab/airflow:3.4.0")
    assert turns(output, lab.replaced()) == [set(lab.names)], output


def test_check_mode_replaces_nothing(lab: Lab) -> None:
    output = lab.run("--check")
    assert lab.replaced() == [] and len(re.findall(r"^\w+ +: .*changed=1 .*failed=0", output, re.M)) == 6, output


CASES = [
    (1, "50%", [0]),
    (2, "50%", [0, 1]),
    (3, "50%", [0, 1, 2]),
    (4, "50%", [0, 2]),
    (5, "50%", [0, 2, 4]),
    (5, "10%", [0, 1, 2, 3, 4]),
    (5, "100%", [0]),
    (5, "200%", [0]),
    (5, 3, [0, 3]),
    (5, "9", [0]),
    (0, "50%", [0]),
]


def test_how_many_turns_it_takes(tmp_path: Path) -> None:
    """A part is rounded down, and one at least."""
    known: list[dict[str, Any]] = [{"ansible.builtin.include_vars": str(ROOT / "roles/airflow_stack/vars/main.yml")}]
    tasks = [
        {
            "ansible.builtin.set_fact": {f"turns_{case}": "{{ __airflow_stack_turns }}"},
            "vars": {"airflow_stack_worker_hosts": [f"w{number}" for number in range(workers)], "airflow_stack_worker_serial": serial},
        }
        for case, (workers, serial, _turns) in enumerate(CASES)
    ]
    kept = {"ansible.builtin.set_fact": {"result": {str(case): f"{{{{ turns_{case} }}}}" for case in range(len(CASES))}}}
    done = play(tmp_path, [*known, *tasks, kept])
    assert list(done.result.values()) == [turns for _workers, _serial, turns in CASES], done.output


@pytest.mark.parametrize("serial", ["half", 0, "50 %", ""])
def test_a_serial_that_says_nothing_is_refused_before_anything_changes(tmp_path: Path, serial: Any) -> None:
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.airflow_stack", "tasks_from": "check"}}
    done = play(tmp_path, [role], "-e", json.dumps({"airflow_stack_worker_serial": serial}))
    words = f"airflow_stack_worker_serial is '{serial}': write how many workers are replaced at a time, a number (1) or a part of all (50%)."
    assert done.returncode != 0 and words in done.output, done.output


def test_the_control_host_s_worker_comes_first_and_one_that_is_off_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    groups = {"lab_control": ["vm2"], "lab_builder": ["vm2"], "lab_workers": ["vm1", "vm2", "vm3", "vm4"]}
    known: dict[str, Any] = {"lab": {"children": {group: {"hosts": {host: {} for host in hosts}} for group, hosts in groups.items()}}}
    (tmp_path / "hosts.json").write_text(json.dumps(known), encoding="utf-8")
    task = {"ansible.builtin.debug": {"msg": "{{ airflow_stack_worker_hosts | join(' ') }}, {{ airflow_stack_worker_serial }}"}}
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "vm4", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    done = run_tool(["ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "hosts.json", "-e", json.dumps({"lab_lost": ["vm3"], "lab_worker_serial": 1})])
    assert "msg: vm2 vm1 vm4, 1\n" in done.stdout, done.stdout
