"""The preflight's rules: each problem is found, named with its value and its place, and answered with what to write."""

from __future__ import annotations

import base64
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.mlops.lab.plugins.action import lab_preflight as judge
from ansible_collections.mlops.lab.plugins.modules import lab_host as measure

from tests.conftest import Run

FERNET = base64.urlsafe_b64encode(bytes(32)).decode()
SPECS = {
    "docker_engine": {
        "docker_engine_source": {"type": "str", "choices": ["auto", "distribution"]},
        "docker_engine_pool_size": {"type": "int"},
        "docker_engine_password_count": {"type": "int", "no_log": True},
    }
}


@pytest.fixture
def inventory(tmp_path: Path) -> judge.Inventory:
    """Return an inventory of a hosts file, two variable files and an encrypted one."""
    variables = tmp_path / "group_vars" / "all"
    variables.mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("lab_control:\n  hosts:\n    vm1:\n      lab_port: 1\n", encoding="utf-8")
    (variables / "a.yml").write_text('lab_port: 8080\ndocker_engine_sorce: auto\nuses: "{{ lab_name }}"\n', "utf-8")
    (variables / "shared.yml").write_text("# lab_port: 1\nlab_name: x\nlab_prot: 2\n", encoding="utf-8")
    (variables / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n", encoding="utf-8")
    return judge.Inventory([str(tmp_path)], command_line=["lab_forced"])


def sentence(problems: list[str], *words: str) -> str:
    """Return the one problem of the list, which has to contain the words."""
    assert len(problems) == 1, problems
    assert all(word in problems[0] for word in words), problems[0]
    return problems[0]


def test_the_place_is_the_one_that_wins(inventory: judge.Inventory) -> None:
    """A comment is no place, group_vars win over the hosts file, and -e over everything."""
    assert inventory.where("lab_port").endswith("group_vars/all/a.yml:1")
    assert inventory.where("lab_forced") == "with -e"
    assert inventory.where("nothing") == ""


def test_unknown_variables_get_a_guess(inventory: judge.Inventory) -> None:
    """A typing error is answered with the name that was meant."""
    problems = judge.unknown_names(["docker_engine_sorce", "docker_engine_source", "other_thing"], SPECS, inventory)
    sentence(problems, "docker_engine_sorce", "a.yml:2", "did you mean docker_engine_source?")


def test_lab_names_that_nobody_uses_are_reported(inventory: judge.Inventory) -> None:
    """lab_name is used by another line, lab_prot by none."""
    sentence(judge.unknown_names(["lab_name", "lab_prot"], SPECS, inventory), "lab_prot", "shared.yml:3")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("docker_engine_pool_size", "many", ["'many'", "a whole number"]),
        ("docker_engine_pool_size", True, ["'True'"]),
        ("docker_engine_source", "snap", ["'snap'", "auto, distribution"]),
    ],
)
def test_wrong_types_and_choices(inventory: judge.Inventory, name: str, value: Any, words: list[str]) -> None:
    """The found value is shown beside what may be written."""
    sentence(judge.wrong_values([name], SPECS, lambda _name: value, inventory), name, *words)


def test_a_secret_of_the_wrong_type_is_not_shown(inventory: judge.Inventory) -> None:
    """The sentence says that the value is wrong, not what it is."""
    found = judge.wrong_values(["docker_engine_password_count"], SPECS, lambda _name: "hunter2", inventory)
    assert "hunter2" not in sentence(found, "its value is not a whole number")


@pytest.mark.parametrize("value", ["12", 12, None])
def test_right_values_are_accepted(inventory: judge.Inventory, value: Any) -> None:
    """Numbers may be written as text, and null means the default."""
    assert judge.wrong_values(["docker_engine_pool_size"], SPECS, lambda _name: value, inventory) == []


def test_a_reference_to_an_undefined_lab_variable_is_reported(inventory: judge.Inventory) -> None:
    """What only facts can tell is not judged, a wrong lab_ name is."""

    def undefined(name: str) -> Any:
        raise AnsibleError(f"Error: '{'lab_porrt' if name.endswith('size') else 'ansible_facts'}' is undefined")

    names = ["docker_engine_pool_size", "docker_engine_source"]
    sentence(judge.wrong_values(names, SPECS, undefined, inventory), "docker_engine_pool_size", "lab_porrt")


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"lab_controll": ["a"]}, ["is missing", "did you mean it by lab_controll?"]),
        ({"lab_control": []}, ["has no host", "exactly 1"]),
        ({"lab_control": ["a", "b"]}, ["has 2 hosts (a, b)", "exactly 1"]),
    ],
)
def test_groups(groups: dict[str, list[str]], words: list[str]) -> None:
    """A group that is missing, empty or too large."""
    sentence(judge.group_problems([{"name": "lab_control", "min": 1, "max": 1}], groups, "hosts.yml"), *words)


def test_a_host_that_the_image_does_not_reach() -> None:
    """Only the host that builds the image has it."""
    wanted = [{"name": "lab_workers", "min": 1, "within": "lab_builder"}]
    groups = {"lab_builder": ["a"], "lab_workers": ["a", "b"]}
    sentence(judge.group_problems(wanted, groups, "hosts.yml"), "lab_workers has b", "not in lab_builder", "hosts.yml")
    assert judge.group_problems(wanted, {**groups, "lab_workers": ["a"]}, "hosts.yml") == []


def test_groups_that_fit() -> None:
    """Without an upper limit any number will do."""
    assert judge.group_problems([{"name": "lab_workers", "min": 1}], {"lab_workers": ["a", "b"]}, "hosts.yml") == []


@pytest.mark.parametrize(
    ("value", "kind", "fault"),
    [
        ("", "password", "is empty"),
        ("  ", "user", "is empty"),
        ("Change-Me", "password", "placeholder"),
        ("<your password>", "password", "placeholder"),
        ("the example's own", "password", "placeholder"),
        ("short", "password", "has 5 characters, it needs at least 12"),
        ("long enough it is\n", "password", "white space"),
        ("no key at all", "fernet", "is not a Fernet key"),
        (f"{FERNET},{FERNET[:-4]}", "fernet", "is not a Fernet key"),
    ],
)
def test_credentials_that_do_not_fit(value: str, kind: str, fault: str) -> None:
    """Each is refused, and the words never contain the value."""
    words = judge.credential_fault(value, kind, 12, ["change-me"], "the example's own")
    assert fault in words
    assert len(value) < 6 or value not in words


@pytest.mark.parametrize(
    ("value", "kind"),
    [("reader", "user"), ("correct horse battery", "password"), (FERNET, "fernet"), (f"{FERNET}, {FERNET}", "fernet")],
)
def test_credentials_that_fit(value: str, kind: str) -> None:
    """A user may keep the example's name; two Fernet keys are a rotation."""
    assert judge.credential_fault(value, kind, 12, ["change-me"], "reader") == ""


def test_missing_credentials_are_one_sentence(inventory: judge.Inventory) -> None:
    """All that are missing together, with the encrypted file and what to type; a near name gets a guess."""
    wanted = [{"name": "vault_one"}, {"name": "vault_two"}, {"name": "vault_redis_password"}]

    def value(_name: str) -> str:
        raise AssertionError("must not be asked for")

    found = judge.credential_problems(wanted, ["vault_redis_pasword"], value, [], {}, "run `make vault`.", inventory)
    assert len(found) == 2
    assert "2 credentials are not defined" in found[0]
    assert "vault.yml" in found[0]
    assert "(vault_one, vault_two): run `make vault`." in found[0]
    assert "did you mean it by vault_redis_pasword" in found[1]


def test_the_shipped_credentials_are_the_examples(root: Path) -> None:
    """The list in the inventory names exactly what the example offers, and refuses the example's passwords."""
    example_file = root / "inventories/lab/group_vars/all/vault.yml.example"
    example = judge.read_example(str(example_file))
    values = yaml.safe_load((root / "inventories/lab/group_vars/all/lab_check.yml").read_text(encoding="utf-8"))
    only_for_nexus = {"vault_nexus_admin_password"}  # of playbooks/nexus.yml, which asks for it itself; a lab needs none
    assert {c["name"] for c in values["lab_check_credentials"]} == set(example) - only_for_nexus
    for credential in values["lab_check_credentials"]:
        kind = credential.get("kind", "password")
        fault = judge.credential_fault(example[credential["name"]], kind, 1, [], example[credential["name"]])
        assert bool(fault) == (kind != "user"), credential


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"url": "nexus.example.com/simple/"}, ["is no URL"]),
        ({"url": "https://me:pw@nexus.example.com/repository/pypi/simple/"}, ["holds a user or a password"]),
        ({"url": "https://nexus.example.com/repository/pypi/"}, ["ends with /simple/"]),
        ({"ca_file": "/nonexistent"}, ["lab_ca_bundle", "cannot be read"]),
        ({"ca_file": __file__}, ["lab_ca_bundle", "no PEM certificate"]),
    ],
)
def test_index_urls(inventory: judge.Inventory, index: dict[str, str], words: list[str]) -> None:
    """What cannot work is found without asking the index."""
    assert "pw@" not in sentence(judge.index_url_problems(index, inventory), *words)


def test_clock() -> None:
    """Only what exceeds the time the measurement took counts as an offset."""
    assert judge.clock_offset(105.0, 100.0, 110.0) == 0.0
    assert judge.clock_offset(140.0, 100.0, 110.0) == 30.0
    assert judge.clock_offset(70.0, 100.0, 110.0) == -30.0
    assert judge.clock_problems(19.0, 20) == []
    sentence(judge.clock_problems(-30.0, 20), "30 s behind", "NTP")


PORT = {"port": 8080, "what": "Airflow", "variable": "lab_port", "address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "project", "count"),
    [("0.0.0.0", "", 1), ("127.0.0.1", "other", 1), ("127.0.0.1", "ours", 0), ("192.0.2.7", "", 0), ("::", "", 1)],
)
def test_ports(inventory: judge.Inventory, address: str, project: str, count: int) -> None:
    """A port is taken by whoever is in the way; our own containers and other addresses are not."""
    taken = [{"port": 8080, "address": address, "owner": "nginx, pid 7", "project": project}]
    found = judge.port_problems([PORT], taken, ["ours"], inventory)
    assert len(found) == count
    assert all("nginx, pid 7" in text and "a.yml:1" in text and "8081" in text for text in found)


def test_a_port_wanted_twice(inventory: judge.Inventory) -> None:
    """Two services of the lab cannot have one port."""
    twice = [PORT, {"port": 8080, "what": "Flower", "variable": "lab_flower_port"}]
    sentence(judge.port_problems(twice, [], [], inventory), "Airflow", "Flower", "write different ports")


def host(**changes: Any) -> dict[str, Any]:
    """Return the measurements of a host that fits, with changes."""
    found = {
        "memory_mb": 3915,
        "cores": 2,
        "python": [3, 11, 2],
        "system": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"},
        "machine": "x86_64",
        "disks": [{"path": "/a", "device": 1, "free_gb": 11.0}, {"path": "/b", "device": 1, "free_gb": 11.0}],
        "lab_present": False,
    }
    return {**found, **changes}


LIMITS = {
    "limits": {"memory_mb": 3800, "cores": 2, "disk_gb": 10, "disk_running_gb": 2, "python": "3.9"},
    "systems": ["debian 12", "ubuntu 24.04"],
    "machines": ["x86_64"],
}


def test_a_host_that_fits() -> None:
    """A machine of 4 GB and 2 cores is enough, and a full disk is, where the lab already lies on it."""
    assert judge.host_problems(host(), LIMITS) == []
    full = [{"path": "/a", "device": 1, "free_gb": 3.0}]
    assert judge.host_problems(host(disks=full, lab_present=True), LIMITS) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_mb": 2950}, ["2950 MB", "3800 MB", "lab_check_min_memory_mb"]),
        ({"cores": 1}, ["are 1", "lab_check_min_cores"]),
        ({"disks": [{"path": "/a", "device": 1, "free_gb": 9.5}] * 2}, ["/a and /a", "9.5 GB", "lab_check_min_disk_gb"]),
        ({"python": [3, 8, 10]}, ["3.8.10", "3.9", "ansible_python_interpreter"]),
        ({"system": {"id": "debian", "version": "11", "name": "Bullseye"}}, ["debian 11", "debian 12, ubuntu 24.04"]),
        ({"machine": "riscv64"}, ["riscv64", "x86_64"]),
    ],
)
def test_a_host_that_does_not_fit(changes: dict[str, Any], words: list[str]) -> None:
    """One sentence per shortage; one file system is reported once."""
    sentence(judge.host_problems(host(**changes), LIMITS), *words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("HTTP 401", ["vault_nexus_user and vault_nexus_pass", "are wrong"]),
        ("HTTP 403", ["may not read"]),
        ("HTTP 404", ["repository's name is wrong"]),
        ("[Errno 111] Connection refused", ["Connection refused", "start it"]),
        ("[SSL: CERTIFICATE_VERIFY_FAILED]", ["lab_ca_bundle"]),
    ],
)
def test_what_the_index_answered(inventory: judge.Inventory, answer: str, words: list[str]) -> None:
    """Each answer has its own remedy."""
    index = {
        "url": "https://nexus.example.com/repository/pypi/simple/",
        "variable": "lab_index_url",
        "ca_variable": "lab_ca_bundle",
        "package": "pip",
        "user_variable": "vault_nexus_user",
        "password_variable": "vault_nexus_pass",
    }
    sentence(judge.index_problem(answer, index, inventory), "nexus.example.com", *words)
    assert judge.index_problem("", index, inventory) == []


def test_memory_is_the_smaller_of_machine_and_control_group() -> None:
    """A container that may use 3 GB is a machine of 3 GB."""
    assert measure.memory_mb("MemTotal:        4009000 kB\nMemFree: 1 kB\n", None) == 3915
    assert measure.memory_mb("MemTotal:        4009000 kB\n", 3 << 30) == 3072


def test_os_release() -> None:
    """Quotes are no part of the values, and Debian's testing has no version."""
    text = '# comment\nID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n'
    assert measure.os_release(text) == {"id": "ubuntu", "version": "24.04", "name": "Ubuntu 24.04 LTS"}
    assert measure.os_release("ID=debian\n")["version"] == ""


@pytest.mark.skipif(sys.byteorder == "big", reason="the sample was taken on a little-endian machine")
def test_listeners() -> None:
    """Listening sockets of both tables, and no established connection."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    table = (
        f"{head}   0: 0100007F:1F90 00000000:0000 0A {rest} 4711 1\n"
        f"   1: 0100007F:0050 0100007F:1234 01 {rest} 4712 1\n"
        f"   2: 00000000000000000000000000000000:15B3 {'0' * 32}:0000 0A {rest} 4713 1\n"
        f"   3: 0000000000000000FFFF00000100007F:1388 {'0' * 32}:0000 0A {rest} 4714 1\n"
    )
    assert measure.listeners(table) == [
        {"address": "127.0.0.1", "port": 8080, "inode": "4711"},
        {"address": "::", "port": 5555, "inode": "4713"},
        {"address": "127.0.0.1", "port": 5000, "inode": "4714"},
    ]


def test_containers() -> None:
    """Published ports of every kind, none of a port that is only exposed."""
    text = (
        "mlops-lab-airflow\tapi\trunning\t127.0.0.1:8080->8080/tcp, 9090/tcp\n"
        "\tother\trunning\t0.0.0.0:7000-7001->7000-7001/tcp, [::]:5000->5000/tcp\n"
        "x\tstopped\texited\t\n"
    )
    ours, other, stopped = measure.containers(text)
    assert ours["project"] == "mlops-lab-airflow"
    assert ours["ports"] == [{"address": "127.0.0.1", "port": 8080}]
    assert [(p["address"], p["port"]) for p in other["ports"]] == [("0.0.0.0", 7000), ("0.0.0.0", 7001), ("::", 5000)]
    assert stopped["ports"] == []


def test_disk_of_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    """The file system is the one of the nearest parent."""
    found = measure.disk(str(tmp_path / "not" / "there"))
    assert found["device"] == tmp_path.stat().st_dev
    assert found["free_gb"] >= 0


class Index(http.server.BaseHTTPRequestHandler):
    """An index that knows one user, and notes what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer 200 to the right password, 401 to any other."""
        self.asked.append(self.path)
        right = "Basic " + base64.b64encode(b"reader:right").decode()
        self.send_response(200 if self.headers.get("Authorization") == right else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    """Serve the index on a free port and return its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/repository/pypi-all/simple/"
    server.shutdown()
    server.server_close()


def test_the_index_is_asked_for_one_package_alone(index: str) -> None:
    """Right and wrong passwords, nobody there, and never the index's root."""
    assert measure.probe_index(index, "pip", "reader", "right", "") == ""
    assert measure.probe_index(index, "pip", "reader", "wrong", "") == "HTTP 401"
    assert set(Index.asked) == {"/repository/pypi-all/simple/pip/"}
    assert "refused" in measure.probe_index("http://127.0.0.1:9/simple/", "pip", "", "", "")


def test_everything_is_reported_at_once(tmp_path: Path, tool: Run) -> None:
    """On a host with nothing, in check mode too: all problems in one message, non-zero, and no password in it at -vvv."""
    variables = tmp_path / "group_vars"
    variables.mkdir()
    local = "ansible_connection: local, ansible_become: false, ansible_python_interpreter: /usr/bin/python3"
    (tmp_path / "hosts.yml").write_text(f"lab_control: {{hosts: {{vm1: {{{local}}}}}}}\n", encoding="utf-8")
    values = {
        "lab_check_min_memory_mb": 99999999,
        "lab_check_prots": [],
        "lab_check_credentials": [{"name": "vault_a"}, {"name": "vault_b"}, {"name": "vault_c"}],
        "vault_a": "hunter2",
        "vault_c": "a-good-long-password",
    }
    (variables / "all.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", tmp_path, "--check", "-vvv"])
    assert done.returncode != 0
    for words in (
        "to put right on vm1",
        "the lab needs 99999999 MB",
        "Group lab_builder is missing",
        "Group lab_workers is missing",
        "Credential vault_b is not defined",
        "Credential vault_a, set in",
        "did you mean lab_check_ports?",
    ):
        assert words in done.stdout, words
    for secret in ("hunter2", "a-good-long-password"):
        assert secret not in done.stdout


def test_an_inventory_without_hosts_is_an_error(tmp_path: Path, tool: Run) -> None:
    """Ansible alone would skip every play and call it a success."""
    (tmp_path / "hosts.yml").write_text("lab_control:\n  hosts:\n", encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", tmp_path])
    assert done.returncode != 0
    assert "There is no host in the inventory" in done.stdout
