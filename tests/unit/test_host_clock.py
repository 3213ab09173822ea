"""The role host_clock: hosts that are this machine, each with programs that pretend to be `date`, `systemctl` and `chronyc`. No clock is set."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, run_tool

# What a host runs is started by a shell of its own, which knows whose clock is meant and finds these programs first.
SHELL = '#!/bin/sh\nCLOCK={host} PATH={programs}:$PATH\nexport CLOCK PATH\nexec /bin/sh "$@"\n'
PROGRAMS = {
    "date": '\nexec /bin/date --date "$(cat "$CLOCK/offset") seconds" "$@"',
    "systemctl": """
echo "systemctl $*" >>"$CLOCK/log"
case $1 in
  show) printf '%s\\n' LoadState=loaded ActiveState=active SubState=running ;;
  is-enabled) test -e "$CLOCK/enabled" ;;
  enable) touch "$CLOCK/enabled" ;;
  restart) if test -e "$CLOCK/refuses"; then echo "$2 is masked." >&2; exit 1; fi
           case $2 in systemd-timesyncd*) if test -e "$CLOCK/reaches"; then echo 0 >"$CLOCK/offset"; fi ;; esac ;;
esac""",
    "chronyc": """
echo "chronyc $*" >>"$CLOCK/log"
case $1 in
  waitsync) test -e "$CLOCK/reaches" ;;
  makestep) echo 0 >"$CLOCK/offset" ;;
esac""",
}
MAY, MAY_NOT = "CapEff:\t000001ffffffffff\n", "CapEff:\t00000000a80425fb\n"  # root, and root in a container of Docker


@dataclass
class Hosts:
    """Hosts with clocks; the first one's time is the one that counts."""

    folder: Path
    names: list[str]

    def add(self, name: str, offset: int, service: str = "", *files: str, may: str = MAY) -> None:
        """Add a host whose clock is so many seconds ahead, with a time service that reaches a server, or refuses to start, where there is such a file."""
        self.names.append(name)
        host = self.folder / name
        (host / "units").mkdir(parents=True)
        (host / "offset").write_text(f"{offset}\n", encoding="utf-8")
        (host / "status").write_text(f"Name:\tcat\n{may}", encoding="utf-8")
        for file in (*files, *([f"units/{service}.service"] if service else [])):
            (host / file).touch()
        self.program(host / "sh", SHELL.format(host=host, programs=self.folder))
        for program, text in PROGRAMS.items():
            self.program(self.folder / program, f"#!/bin/sh{text}\n")

    @staticmethod
    def program(path: Path, text: str) -> None:
        """Write a program."""
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, *options: str, **values: Any) -> str:
        """Run the role on all hosts with what provision assigns to it; return what was printed."""
        known = {name: {"place": str(self.folder / name), "ansible_shell_executable": str(self.folder / name / "sh")} for name in self.names}
        (self.folder / "hosts.json").write_text(json.dumps({"all": {"hosts": known}}), encoding="utf-8")
        wiring = yaml.safe_load((ROOT / "playbooks/group_vars/all/host_clock.yml").read_text(encoding="utf-8"))
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_remote_tmp": str(self.folder / "remote"),
            "preflight_max_clock_offset": "20",  # as with -e
            "lab_name": "lab",
            "host_clock_wait": 2,
            **wiring,
            **values,
            "host_clock_reference": self.names[0],
            "__host_clock_unit_dirs": ["{{ place }}/units"],
            "__host_clock_status_file": "{{ place }}/status",
            "__host_clock_synchronized": "{{ place }}/reaches",
            "__host_clock_files": {"chrony": "{{ place }}/etc/lab.sources", "systemd-timesyncd": "{{ place }}/etc/lab.conf"},
        }
        tasks = [
            {"ansible.builtin.set_fact": {"service_mgr": "systemd", "cacheable": True}},
            {"ansible.builtin.import_role": {"name": "mlops.lab.host_clock"}},
        ]
        play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
        (self.folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
        command: list[str | Path] = ["ansible-playbook", self.folder / "play.yml", "-i", self.folder / "hosts.json", "-e", json.dumps(variables), *options]
        return run_tool(command, ROOT, ANSIBLE_CALLBACK_FORMAT_PRETTY="false").stdout

    def offset(self, name: str) -> int:
        """Return what the host's clock shows now."""
        return int((self.folder / name / "offset").read_text(encoding="utf-8"))

    def log(self, name: str) -> list[str]:
        """Return what the host's programs were told to change."""
        path = self.folder / name / "log"
        return [line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r"systemctl (show|is-)", line)] if path.exists() else []


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    """Hosts with clocks, none yet."""
    return Hosts(tmp_path, [])


def ended(output: str) -> dict[str, tuple[int, int]]:
    """Return how many tasks changed something on each host, and how many failed."""
    return {name: (int(changed), int(failed)) for name, changed, failed in re.findall(r"^(\w+) +: .* changed=(\d+) .* failed=(\d+)", output, re.M)}


def told(output: str) -> str:
    """Return what was printed on one line. A host that is asked slowly is certainly less than 90 s off."""
    return re.sub(r"\b8\d s", "90 s", " ".join(output.split()))


def test_clocks_that_differ_are_set_by_the_service_that_each_host_has(hosts: Hosts) -> None:
    """The control host's own may be the wrong one. A second run changes nothing, and asks for nothing but the time."""
    hosts.add("control", 300, "systemd-timesyncd", "reaches", "enabled")
    hosts.add("agreed", 290, "chrony", "reaches")
    hosts.add("right", 0, "ntpsec", "reaches")
    output = hosts.run(host_clock_servers=["ntp.example.org", "10.0.0.1"])
    assert ended(output) == {"control": (3, 0), "agreed": (4, 0), "right": (1, 0)}, output
    assert [hosts.offset(name) for name in hosts.names] == [0, 0, 0]
    assert hosts.log("control") == ["systemctl restart systemd-timesyncd"]
    assert hosts.log("agreed") == ["systemctl enable chrony", "systemctl restart chrony", "chronyc waitsync 1 0 0 2", "chronyc makestep"]
    assert hosts.log("right") == ["systemctl enable ntpsec", "systemctl restart ntpsec"]
    assert (hosts.folder / "control/etc/lab.conf").read_text(encoding="utf-8").endswith("[Time]\nNTP=ntp.example.org 10.0.0.1\n")
    assert (hosts.folder / "agreed/etc/lab.sources").read_text(encoding="utf-8").endswith("server ntp.example.org iburst\nserver 10.0.0.1 iburst\n")
    logs = [hosts.log(name) for name in hosts.names]
    again = hosts.run(host_clock_servers=["ntp.example.org", "10.0.0.1"])
    assert set(ended(again).values()) == {(0, 0)}, again
    assert [hosts.log(name) for name in hosts.names] == logs


def test_clocks_that_agree_are_asked_for_the_time_and_nothing_else(hosts: Hosts) -> None:
    """Whatever the control node's own clock says."""
    hosts.add("control", 400)
    hosts.add("worker1", 415)
    hosts.add("worker2", 385, may=MAY_NOT)
    output = hosts.run()
    assert ended(output) == {"control": (0, 0), "worker1": (0, 0), "worker2": (0, 0)}, output
    assert len(re.findall(r"^(?:ok|included).*", output, re.M)) == 3 + 3 + 1 + 2, output  # set_fact, the spec, the control host's time, each other's


@pytest.mark.deep
def test_a_clock_that_stays_wrong_is_one_sentence(hosts: Hosts) -> None:
    hosts.add("control", 0, "chrony", "reaches")
    hosts.add("lonely", -90, "chrony")
    hosts.add("masked", -90, "chrony", "refuses")
    hosts.add("contained", 90, "chrony", may=MAY_NOT)
    output = told(hosts.run())
    assert (
        "The clock of lonely is 90 s behind that of control, and at most 20 s are allowed. chrony was started there and has not set it: see that both hosts "
        "reach a time server (UDP port 123), name one that they reach in host_clock_servers, or set the clock by hand." in output
    ), output
    assert "The clock of masked is 90 s behind that of control, and at most 20 s are allowed. chrony does not start there (" in output, output
    assert "chrony is masked.): have it start, or set the clock by hand." in output, output
    assert (
        "The clock of contained is 90 s ahead of that of control, and at most 20 s are allowed. Nothing on contained may set it (no CAP_SYS_TIME, as in a "
        "container): set the clock of the machine that it runs on, or that of control." in output
    ), output
    assert output.count("failed=1") == 3 and hosts.log("contained") == [], output


def test_check_mode_says_what_would_be_done(hosts: Hosts) -> None:
    hosts.add("control", 0, "ntp")
    hosts.add("worker1", 90)
    hosts.add("worker2", -90, may=MAY_NOT)
    output = told(hosts.run("--check"))
    assert "control: ntp would be enabled and started again to set the clock." in output, output
    assert "worker1: 90 s ahead of that of control; chrony would be installed to set the clock." in output, output
    assert "worker2: 90 s behind that of control; nothing may set the clock here." in output, output
    assert re.findall(r" changed=(\d) ", output) == ["1", "1", "0"] and "failed=1" not in output and not any(hosts.log(name) for name in hosts.names), output


def test_a_host_that_tells_no_time_is_named(hosts: Hosts) -> None:
    hosts.add("control", 0)
    hosts.program(hosts.folder / "date", "#!/bin/sh\necho 'date: not today' >&2\nexit 1\n")
    assert "The host was asked for its time, and answered: date: not today" in " ".join(hosts.run().split())
