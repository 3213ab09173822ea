"""The role firewall, with real packets: machines are network namespaces of this one, whose own rules and interfaces are not touched."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, run_tool
from tests.unit.plays import play_on_each
from tests.unit.rendering import Case

# Listens at every address, says that it does, and answers nothing.
LISTEN = """
import selectors, socket, sys
looks = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    looks.register(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True), selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in looks.select():
        key.fileobj.accept()[0].close()
"""
# Connects from each source to each address and port, all at once, and says how each ended.
CONNECT = """
import concurrent.futures, json, socket, sys
def ended(one):
    source, address, port = one
    try:
        socket.create_connection((address, port), timeout=1.5, source_address=(source, 0)).close()
        return "open"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return str(error)
wanted = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
    print(json.dumps(list(pool.map(ended, wanted))))
"""
# As Docker publishes: 15432 of the host is 5432 of a container.
DOCKER = "table ip docker { chain prerouting { type nat hook prerouting priority dstnat; tcp dport 15432 fib daddr type local dnat to 172.30.0.2:5432; }; }"

WORKER, OTHER_WORKER, STRANGER = "10.9.0.5", "10.9.0.6", "10.9.0.9"
PORTS = [
    {"port": 5432, "what": "Postgres", "from": [WORKER]},
    {"port": 15432, "what": "Optuna's Postgres", "from": [WORKER, "10.9.0.0/29", "10.9.0.6/32"]},
    {"port": 6379, "what": "Redis", "from": [], "containers": True},
    {"port": 443, "what": "the landing page", "from": [STRANGER, "0.0.0.0/0"]},
]


def rules(ports: list[dict[str, Any]], **more: Any) -> str:
    """Return the file that the role writes for these ports."""
    return Case("ports", "firewall", "rules.nft.j2", {"firewall_host": "lab1", "firewall_ports": ports, **more}).render()


@dataclass
class Machine:
    """A network namespace, and a mount namespace, that lives as long as the process in it."""

    process: subprocess.Popen[str]

    def run(self, *command: str | Path, text: str = "", check: bool = True) -> str:
        """Run a command in here; returns what it printed."""
        enter = ["nsenter", f"--target={self.process.pid}", "--net", "--mount", *map(str, command)]
        done = subprocess.run(enter, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0 or not check, f"{command}\n{done.stderr}"
        return done.stdout

    def nft(self, commands: str) -> None:
        """Give nft commands or rules in here."""
        self.run("nft", "--file", "-", text=commands)

    def link(self, name: str, *addresses: str, to: Machine, peer: str, peers: tuple[str, ...], route: str = "") -> None:
        """Connect an interface of this machine with one of another; `route` is what the other reaches over it."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", str(to.process.pid))
        for machine, interface, own in ((self, name, addresses), (to, peer, peers)):
            for address in own:
                machine.run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
            machine.run("ip", "link", "set", interface, "up")
        if route:
            to.run("ip", "route", "add", route, "via", addresses[0].partition("/")[0])

    def connect(self, *wanted: tuple[str, str, int]) -> dict[tuple[str, str, int], str]:
        """Connect from sources of this machine to addresses and ports."""
        return dict(zip(wanted, json.loads(self.run(sys.executable, "-c", CONNECT, text=json.dumps(wanted))), strict=True))


@contextlib.contextmanager
def machine(*ports: int) -> Iterator[Machine]:
    """Make a machine that listens on some ports."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    for program in ("ip", "nft"):
        assert shutil.which(program), f"{program} is not there: make venv-test installs it"
    command = ["unshare", "--net", "--mount", sys.executable, "-c", LISTEN, *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            made = Machine(process)
            made.run("ip", "link", "set", "lo", "up")
            yield made
        finally:
            process.kill()


@dataclass
class Network:
    """A host with two of Docker's networks, the world before it, and a machine behind it that it is the router of."""

    host: Machine
    world: Machine
    container: Machine
    other_container: Machine
    behind: Machine
    ports: list[int] = field(default_factory=lambda: [443, 5432, 6379, 8080])


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """The machines, without any rule of the role yet."""
    with contextlib.ExitStack() as stack:
        host, world, container, other, behind = (stack.enter_context(machine(443, 5432, 6379, 8080)) for _ in range(5))
        host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        sources = ("10.9.0.2/24", *(f"{address}/24" for address in (WORKER, OTHER_WORKER, STRANGER)), "fd09::2/64")
        host.link("eth0", "10.9.0.1/24", "fd09::1/64", to=world, peer="eth0", peers=sources, route="10.0.0.0/8")
        world.run("ip", "route", "add", "172.30.0.0/24", "via", "10.9.0.1")
        host.link("br-0123456789ab", "172.30.0.1/24", to=container, peer="eth0", peers=("172.30.0.2/24",), route="default")
        host.link("br-lan", "10.11.0.1/24", to=behind, peer="eth1", peers=("10.11.0.2/24",))
        host.link("docker0", "172.31.0.1/24", "fd31::1/64", to=other, peer="eth0", peers=("172.31.0.2/24", "fd31::2/64"), route="default")
        host.link("eth1", "10.10.0.1/24", to=behind, peer="eth0", peers=("10.10.0.2/24",), route="10.9.0.0/24")
        host.nft(DOCKER)
        yield Network(host, world, container, other, behind)


def test_listed_ports_are_reached_by_their_sources_and_the_host_alone(network: Network) -> None:
    host, local, direct, routed = "10.9.0.1", "127.0.0.1", "172.30.0.2", "10.10.0.2"
    reach = [(source, host, port) for source in (WORKER, OTHER_WORKER, STRANGER) for port in (443, 5432, 15432, 6379, 8080)]
    six = [("fd09::2", "fd09::1", port) for port in (443, 5432, 8080)]
    elsewhere = [(STRANGER, direct, 5432), (WORKER, direct, 5432), (STRANGER, direct, 8080), (STRANGER, routed, 5432), (STRANGER, "10.11.0.2", 5432)]
    assert set(network.world.connect(*reach, *six, *elsewhere).values()) == {"open"}, "without the rules all is open"

    network.host.nft(rules(PORTS))
    found = network.world.connect(*reach, *six, *elsewhere)
    closed = {one for one, ended in found.items() if ended == "silence"}
    assert set(found.values()) == {"open", "silence"}
    assert closed == {
        *((source, host, 5432) for source in (OTHER_WORKER, STRANGER)),
        (STRANGER, host, 15432),  # published by Docker: what comes after its DNAT would see 5432 of a container
        *((source, host, 6379) for source in (WORKER, OTHER_WORKER, STRANGER)),
        ("fd09::2", "fd09::1", 5432),
        # Past the published port, whatever the container's own is
        *((source, direct, port) for source, port in ((STRANGER, 5432), (WORKER, 5432), (STRANGER, 8080))),
    }
    inside = {("172.31.0.2", address, port) for address in (host, "172.31.0.1") for port in (443, 5432, 15432, 6379, 8080)}
    inside |= {("fd31::2", "fd31::1", port) for port in (443, 5432, 6379)}
    of_containers = network.other_container.connect(*inside, ("172.31.0.2", direct, 5432))
    silent = {one for one, ended in of_containers.items() if ended == "silence"}
    assert silent == {one for one in inside if one[2] in (5432, 15432)}, "containers of the host are no sources"
    assert set(of_containers.values()) == {"open", "silence"}
    assert set(network.container.connect(("172.30.0.2", host, 6379), ("172.30.0.2", STRANGER, 5432)).values()) == {"open"}
    assert set(network.host.connect((local, local, 5432), (host, host, 6379), ("::1", "::1", 5432), (host, STRANGER, 6379)).values()) == {"open"}
    assert set(network.behind.connect((routed, STRANGER, 5432), (routed, "10.10.0.1", 8080)).values()) == {"open"}
    assert network.behind.connect((routed, "10.10.0.1", 5432)) == {(routed, "10.10.0.1", 5432): "silence"}


def test_containers_behind_an_interface_open_connections_to_what_stands_there_alone(network: Network) -> None:
    """And answer whoever asks them; what is not behind it goes where it wants."""
    source, host = "172.30.0.2", "10.9.0.1"
    asked = [(source, address, port) for address in (WORKER, OTHER_WORKER, STRANGER, host, "172.30.0.1", "172.31.0.2") for port in (443, 8080)]
    network.host.nft(rules(PORTS))
    assert set(network.container.connect(*asked).values()) == {"open"}, "without an entry all is open"

    to = [{"what": "the control host", "networks": [WORKER, "10.9.0.0/29"], "ports": [443]}, {"what": "the office", "networks": ["10.9.0.8/29"]}]
    network.host.nft(rules(PORTS, firewall_egress=[{"interface": "br-0123456789ab", "what": "tasks", "to": to}]))
    found = network.container.connect(*asked)
    reached = {(source, address, 443) for address in (WORKER, OTHER_WORKER, host)} | {(source, STRANGER, port) for port in (443, 8080)}
    assert {one for one, ended in found.items() if ended == "open"} == reached
    assert {ended for one, ended in found.items() if one not in reached} == {"[Errno 111] Connection refused"}, "refused at once"
    assert list(network.other_container.connect(("172.31.0.2", host, 8080)).values()) == ["open"]
    assert list(network.world.connect((WORKER, host, 15432)).values()) == ["open"], "it answers"

    network.host.nft(
        rules(
            [],
            firewall_egress=[
                {
                    "interface": "br-0123456789ab",
                    "what": "tasks",
                    "to": [{"what": "nobody", "networks": []}, {"what": "no port", "networks": [WORKER], "ports": []}],
                }
            ],
        )
    )
    assert set(network.container.connect(*asked).values()) == {"[Errno 111] Connection refused"}


def test_rules_replace_the_former_ones_in_one_piece(network: Network) -> None:
    asked = [(source, "10.9.0.1", 5432) for source in (WORKER, OTHER_WORKER)]
    network.host.nft(rules(PORTS))
    assert list(network.world.connect(*asked).values()) == ["open", "silence"]
    other = rules([{"port": 5432, "what": "Postgres", "from": [OTHER_WORKER, "172.31.0.0/24"]}])
    network.host.run("nft", "--file", "-", text=other.replace("counter drop", "counter fall"), check=False)
    assert list(network.world.connect(*asked).values()) == ["open", "silence"], "a file with an error loads nothing"
    network.host.nft(other)
    assert list(network.world.connect(*asked, (STRANGER, "10.9.0.1", 6379)).values()) == ["silence", "open", "open"]
    of_a_network = network.other_container.connect(("172.31.0.2", "10.9.0.1", 5432))
    assert list(of_a_network.values()) == ["open"], "a network of containers may be a source"
    assert "dnat to" in network.host.run("nft", "list", "ruleset"), "tables of others stay"


def test_an_interface_that_only_looks_like_docker_s_is_of_the_outside(network: Network) -> None:
    network.host.nft(rules(PORTS, firewall_outside=["br-0123456789ab"]))
    assert network.container.connect(("172.30.0.2", "172.30.0.1", 6379)) == {("172.30.0.2", "172.30.0.1", 6379): "silence"}
    assert network.other_container.connect(("172.31.0.2", "10.9.0.1", 6379)) == {("172.31.0.2", "10.9.0.1", 6379): "open"}
    assert network.world.connect((STRANGER, "172.30.0.2", 8080)) == {(STRANGER, "172.30.0.2", 8080): "open"}, "what is behind it is routed"


@pytest.mark.parametrize("ports", [[], PORTS[2:3], PORTS[3:]], ids=["no port", "nobody", "everybody"])
def test_any_list_of_ports_gives_rules_that_load(network: Network, ports: list[dict[str, Any]]) -> None:
    network.host.nft(rules(ports))
    reached = list(network.world.connect((STRANGER, "10.9.0.1", 443), (STRANGER, "10.9.0.1", 6379), ("fd09::2", "fd09::1", 443)).values())
    assert reached == ["open", "silence" if ports == PORTS[2:3] else "open", "open"]


@pytest.fixture
def bare() -> Iterator[Machine]:
    """A machine without rules and without systemd."""
    with machine() as made:
        made.run("mount", "-t", "tmpfs", "none", "/run")
        made.run("mount", "-t", "tmpfs", "none", "/etc/systemd/system")
        yield made


def converge(on: Machine, folder: Path, *options: str, tasks: str = "main", delegated: bool = False, more: dict[str, str] | None = None, **values: Any) -> str:
    """Run the role on a machine; `delegated`, by the play of another host. Returns what was printed."""
    role: dict[str, Any] = {"name": "Filter", "ansible.builtin.import_role": {"name": "mlops.lab.firewall", "tasks_from": tasks}}
    if delegated:
        role |= {"run_once": True, "delegate_to": "control", "vars": {"firewall_host": "control"}}
    play = {"hosts": "worker3" if delegated else "control", "gather_facts": False, "tasks": [role]}
    inventory = {"all": {"hosts": {"control": {}, "worker3": {}}, "vars": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}}
    (folder / "play.yml").write_text(json.dumps([play]))
    (folder / "hosts.json").write_text(json.dumps(inventory))
    given = {"firewall_ports": PORTS, "firewall_dir": str(folder / "firewall"), "ansible_remote_tmp": str(folder / "remote")} | values
    enter = ["nsenter", f"--target={on.process.pid}", "--net", "--mount", "env", f"--chdir={ROOT}"]
    command = ["ansible-playbook", folder / "play.yml", "-i", folder / "hosts.json", "-e", json.dumps(given), *options]
    return run_tool([*enter, *map(str, command)], ROOT, **(more or {})).stdout


def changed(output: str) -> int:
    """Return how many changes a run reports that went well."""
    recap = re.search(r"changed=(\d+) +unreachable=0 +failed=0", output)
    assert recap, output
    return int(recap[1])


def test_the_role_loads_the_rules_and_again_when_somebody_changed_them(bare: Machine, tmp_path: Path) -> None:
    """By the play of another host, as when a worker is added."""
    shown = converge(bare, tmp_path, "--check", "--diff", delegated=True)
    assert changed(shown) and not (tmp_path / "firewall").exists() and bare.run("nft", "list", "ruleset") == ""
    shown = converge(bare, tmp_path, delegated=True)
    assert changed(shown) == 3 and "[worker3 -> control" in shown, shown
    assert "published port of control." in (tmp_path / "firewall/rules.nft").read_text()
    loaded = bare.run("nft", "--stateless", "list", "ruleset")
    assert 'comment "Postgres"' in loaded
    assert changed(converge(bare, tmp_path, delegated=True)) == 0

    bare.nft("flush ruleset")
    assert changed(converge(bare, tmp_path, delegated=True)) == 1
    assert bare.run("nft", "--stateless", "list", "ruleset") == loaded
    bare.nft(f"add element inet mlops_lab from_5432 {{ {STRANGER} }}")
    spoiled = bare.run("nft", "--stateless", "list", "ruleset")
    assert changed(converge(bare, tmp_path, "--check", delegated=True)) == 1
    assert bare.run("nft", "--stateless", "list", "ruleset") == spoiled != loaded


def test_absent_removes_all_of_it_and_nothing_of_others(bare: Machine, tmp_path: Path) -> None:
    bare.nft(DOCKER)
    others = bare.run("nft", "list", "ruleset")
    assert changed(converge(bare, tmp_path)) == 3
    assert changed(converge(bare, tmp_path, "--check", tasks="absent")) and (tmp_path / "firewall").exists()
    assert changed(converge(bare, tmp_path, tasks="absent")) == 2
    assert bare.run("nft", "list", "ruleset") == others and not (tmp_path / "firewall").exists()
    assert changed(converge(bare, tmp_path, tasks="absent")) == 0


# As much of systemd as the module asks for; what it is told is kept.
SYSTEMCTL = """#!/bin/sh
cd /run/systemd || exit 1
case "$1" in
    show) printf 'LoadState=loaded\\nActiveState=%s\\n' "$(cat active 2>/dev/null || echo inactive)"; exit ;;
    is-enabled) test -e enabled; exit ;;
    enable) touch enabled ;;
    disable) rm enabled ;;
    start) echo active >active ;;
    stop) rm active; nft delete table inet mlops_lab ;;
esac
echo "$@" >>told
"""


@pytest.mark.deep
def test_with_systemd_a_unit_loads_the_rules_when_the_host_starts(bare: Machine, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    systemd = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    unit = "mlops-lab-firewall.service"
    bare.run("mkdir", "--parents", "/run/systemd/system")
    assert changed(converge(bare, tmp_path, more=systemd)) == 5
    assert bare.run("cat", "/run/systemd/told").splitlines() == ["daemon-reload", f"enable {unit}", f"start {unit}"]
    assert f"\nExecStart=/usr/sbin/nft --file {tmp_path}/firewall/rules.nft\n" in bare.run("cat", f"/etc/systemd/system/{unit}")
    assert changed(converge(bare, tmp_path, more=systemd)) == 0
    bare.run("rm", "/run/systemd/told")
    assert changed(converge(bare, tmp_path, tasks="absent", more=systemd))
    told = bare.run("cat", "/run/systemd/told").splitlines()
    assert sorted(told[:-1]) == [f"disable {unit}", f"stop {unit}"] and told[-1] == "daemon-reload"
    assert bare.run("ls", "/etc/systemd/system") == "" and bare.run("nft", "list", "ruleset") == "" and not (tmp_path / "firewall").exists()


def egress(interface: str, networks: list[str], ports: list[int] | None = None) -> dict[str, Any]:
    """Return an entry of firewall_egress."""
    return {"interface": interface, "what": "tasks", "to": [{"what": "the office", "networks": networks} | ({"ports": ports} if ports else {})]}


WRONG: dict[str, dict[str, Any]] = {
    "name": {"firewall_ports": [PORTS[0], {"port": 6379, "what": "Redis", "from": [WORKER, "worker3"]}]},
    "network": {"firewall_ports": [{"port": 6379, "what": "Redis", "from": ["10.0.0.0/33"]}], "firewall_sources_in": "hosts.yml"},
    "address": {"firewall_ports": [{"port": 6379, "what": "Redis", "from": ["10.0.0.256"]}]},
    "six": {"firewall_ports": [{"port": 6379, "what": "Redis", "from": ["fd09::2"]}]},
    "port": {"firewall_ports": [{"port": 65536, "what": "Redis", "from": []}]},
    "zero": {"firewall_ports": [{"port": "0", "what": "Redis", "from": []}]},
    "twice": {"firewall_ports": [PORTS[0], {"port": "5432", "what": "Redis", "from": []}]},
    "comment": {"firewall_ports": [{"port": 6379, "what": 'the "broker"', "from": []}]},
    "interface": {"firewall_ports": PORTS, "firewall_outside": ["br-*"]},
    "table": {"firewall_ports": PORTS, "firewall_name": "3-labs"},
    "way": {"firewall_ports": PORTS, "firewall_egress": [egress("br-tasks", ["s3.example.com"])]},
    "way's port": {"firewall_ports": PORTS, "firewall_egress": [egress("br-tasks", [WORKER], [443, 0])]},
    "way's interface": {"firewall_ports": PORTS, "firewall_egress": [egress("br-the-tasks-of-all", [WORKER])]},
    "right": {
        "firewall_egress": [egress("br-tasks", [WORKER], [443])],
        "firewall_ports": [*PORTS, {"port": "65535", "what": "x" * 60, "from": ["255.255.255.255", "0.0.0.1/1"]}],
        "firewall_outside": ["br-lan"],
    },
}


def test_input_that_cannot_be_right_is_one_sentence(tmp_path: Path) -> None:
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.firewall", "tasks_from": "check"}}
    ended, shown = play_on_each(tmp_path, [role], {name: {"ansible_connection": "local", **values} for name, values in WRONG.items()})
    strange = "from where Redis shall be reached, is no IPv4 address and no network as 10.0.0.0/24 is one: write such a one into"
    sentences = {
        "name": f'"worker3", {strange} firewall_ports.',
        "network": f'"10.0.0.0/33", {strange} hosts.yml.',
        "address": '"10.0.0.256", from where Redis',
        "six": '"fd09::2", from where Redis',
        "port": "65536 in firewall_ports is no port: write a number from 1 to 65535.",
        "zero": '"0" in firewall_ports is no port',
        "twice": "port 5432 is in firewall_ports 2 times: write it once.",
        "comment": "in firewall_ports can be no comment: write up to 60 characters in one line, without a double quote.",
        "interface": '"br-*" in firewall_outside is the name of no interface',
        "way": '"s3.example.com", which tasks shall reach, is no IPv4 address and no network as 10.0.0.0/24 is one: write such a one into firewall_egress.',
        "way's port": "0 in firewall_egress is no port",
        "way's interface": '"br-the-tasks-of-all" in firewall_egress is the name of no interface',
        "table": 'firewall_name is "3-labs": write a letter, then letters, digits and _.',
    }
    for name, sentence in sentences.items():
        said = ended[name].output.replace('\\"', '"')
        assert ended[name].returncode and f"{name}: " in said and sentence in said, shown
    assert not ended["right"].returncode, shown


def test_a_default_route_that_looks_like_docker_s_is_refused_before_anything_is_let_in(bare: Machine, tmp_path: Path) -> None:
    bare.run("ip", "link", "add", "br-lan", "type", "bridge")
    bare.run("ip", "address", "add", "10.9.0.1/24", "dev", "br-lan")
    bare.run("ip", "link", "set", "br-lan", "up")
    bare.run("ip", "route", "add", "default", "via", "10.9.0.2")
    shown = " ".join(converge(bare, tmp_path, tasks="check").split())
    assert "control: the default route goes over br-lan" in shown and "write 'firewall_outside: [\"br-lan\"]'" in shown.replace("\\", ""), shown
    assert changed(converge(bare, tmp_path, tasks="check", firewall_outside=["br-lan"])) == 0


def test_a_lab_of_several_hosts_lets_in_whom_it_has_to(tmp_path: Path) -> None:
    """The wiring, of each host and of the control host in a play of another."""
    hosts = {name: {"lab_address": f"10.0.0.{number}"} for number, name in enumerate(("control", "worker1", "worker2", "builder"), 1)}
    children: dict[str, Any] = {"lab_control": {"control": {}}, "lab_builder": {"builder": {}}, "lab_workers": {"worker1": {}, "worker2": {}}}
    inventory = {"all": {"hosts": hosts, "children": {group: {"hosts": members} for group, members in children.items()}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    ports = {"lab_gateway_port": 443, "lab_registry_port": 5001, "lab_database_port": 5432, "lab_broker_port": 6379, "lab_logs_port": 8793}
    values = {**ports, "lab_name": "3-labs", "lab_hosts": list(hosts), "lab_control_address": "10.0.0.1", "lab_allowed_networks": ["10.1.0.0/16"]}

    def asked(*where: str, **more: Any) -> dict[str, dict[int, list[str]]]:
        place: list[str | Path] = ["-i", tmp_path / "hosts.json", "--playbook-dir", ROOT / "playbooks", "-c", "local", "-e", json.dumps(values | more)]
        message = "msg={{ {'ports': firewall_ports, 'name': firewall_name, 'host': inventory_hostname} | to_json }}"
        shown = run_tool(["ansible", ",".join(where), *place, "-m", "ansible.builtin.debug", "-a", message], ANSIBLE_CALLBACK_RESULT_FORMAT="json").stdout
        found = [json.loads(json.loads(f'"{text}"')) for text in re.findall(r'"msg": "(.*)"$', shown, re.M)]
        assert {one["name"] for one in found} == {"lab_3_labs"}, shown
        assert all(port.keys() - {"containers"} == {"port", "what", "from"} for one in found for port in one["ports"]), shown
        containers = {(one["host"], port["port"]) for one in found for port in one["ports"] if port.get("containers")}
        assert containers == {("control", 8793)} & {(one["host"], port["port"]) for one in found for port in one["ports"]}, shown
        assert all(len({port["port"] for port in one["ports"]}) == len(one["ports"]) for one in found), shown
        return {one["host"]: {port["port"]: port["from"] for port in one["ports"]} for one in found}

    airflow = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    lab = [*airflow, "10.0.0.4"]  # with the builder, which has no part of Airflow
    control = {port: ["10.1.0.0/16", *lab] for port in (8081, 5000, 8080, 5555, 8002, 443)} | {5001: lab} | dict.fromkeys((5432, 6379), airflow)
    assert asked("all") == {"control": control, "worker1": {8793: ["10.0.0.1"]}, "worker2": {8793: ["10.0.0.1"]}, "builder": {}}
    assert asked("worker2", firewall_host="control") == {"worker2": control}
    everywhere: dict[str, Any] = {"lab_workers": {"control": {}, "worker1": {}, "worker2": {}}}
    inventory["all"]["children"] |= {group: {"hosts": members} for group, members in everywhere.items()}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    assert asked("control")["control"] == control | {8793: ["10.0.0.1"]}, "whose log a container of the control host reads"
    more = asked("control", lab_workbench=True, lab_index_url="https://nexus.example.com/simple/")["control"]
    assert more.keys() - control.keys() == {8888, 8889, 8793} and control.keys() - more.keys() == {8081}


def test_the_control_host_keeps_its_own_interfaces_in_the_play_of_another(tmp_path: Path) -> None:
    """A run for one worker delegates the role to it, when a worker is added and when one is removed."""
    inventory = {
        "lab_control": {"hosts": {"control": {"firewall_outside": ["br-lan"]}}},
        "lab_workers": {"hosts": {"worker": {"firewall_outside": ["br-dmz"]}}},
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": inventory}}))
    tasks = [{"ansible.builtin.debug": {"msg": "{{ firewall_outside }} of {{ firewall_host }}"}} for _ in range(2)]
    for task, verb in zip(tasks, ("provision", "remove_worker"), strict=True):
        plays = yaml.safe_load((ROOT / f"playbooks/{verb}.yml").read_text())
        blocks = [step for play in plays for task in play.get("tasks", []) for step in task.get("block", [])]
        (delegated,) = (step for step in blocks if "delegate_to" in step.get("ansible.builtin.include_role", {}).get("apply", {}))
        task["vars"] = {name: value for name, value in delegated["vars"].items() if name.startswith("firewall_")}
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "worker", "gather_facts": False, "tasks": tasks}]))
    shown = run_tool(["ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "hosts.json"], ROOT, ANSIBLE_CALLBACK_RESULT_FORMAT="json").stdout
    assert re.findall(r'"msg": "(.*)"', shown) == ["['br-lan'] of control"] * 2, shown


def test_a_host_that_leaves_the_lab_is_let_in_no_more(tmp_path: Path) -> None:
    """By the lab's own wiring; the one that stays is let in as before."""
    hosts = {"control": "192.0.2.1", "worker2": "192.0.2.2", "worker3": "192.0.2.3"}
    known = {name: {"ansible_host": address, "ansible_connection": "local"} for name, address in hosts.items()}
    groups = {"lab_control": ["control"], "lab_builder": ["control"], "lab_workers": ["worker2", "worker3"]}
    lab = {"children": {group: {"hosts": {name: known[name] for name in names}} for group, names in groups.items()}}
    (tmp_path / "hosts.json").write_text(json.dumps({"lab": lab}))
    sources = {}
    for leaving in (list[str](), ["worker3"]):
        where: list[str | Path] = ["-i", tmp_path / "hosts.json", "--playbook-dir", ROOT / "playbooks", "-e", json.dumps({"lab_leaving": leaving})]
        shown = run_tool(
            ["ansible", "control", *where, "-m", "ansible.builtin.debug", "-a", "var=firewall_ports"], ANSIBLE_CALLBACK_RESULT_FORMAT="json"
        ).stdout
        ports = json.loads(shown.partition("=>")[2])["firewall_ports"]
        sources[len(leaving)] = {port["what"]: set(port["from"]) for port in ports}
    assert all("192.0.2.3" in peers for peers in sources[0].values()) and len(sources[0]) > 5
    assert sources[1] == {what: peers - {"192.0.2.3"} for what, peers in sources[0].items()}
