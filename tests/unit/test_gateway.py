"""The gateway: what its files say, and a real nginx with them in front of services of which one is not there, one comes back elsewhere, and one upgrades."""

from __future__ import annotations

import base64
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from passlib.hash import sha512_crypt

from tests.conftest import ROOT
from tests.unit.conftest import unpacked
from tests.unit.plays import Done, play, play_on_each, wired
from tests.unit.rendering import CANARY, Case
from tests.unit.rendering import STACK as AIRFLOW_STACK

ROLE = ROOT / "roles/gateway"
PASSWORD = CANARY.replace("{{", "")  # which a play would take for an expression
PAGES: list[dict[str, Any]] = [
    {
        "name": "Airflow",
        "port": 8080,
        "upstream": "http://airflow-apiserver:8080",
        "probe": "/api/v2/version",
        "login": ["/auth/token", "/auth/login", "/auth/login/"],
    },
    {"name": "MLflow", "port": 5000, "upstream": "http://mlflow:5000", "probe": "/refused"},
    {"name": "Optuna's dashboard", "port": 8889, "upstream": "http://optuna-dashboard:8000", "path": "/dashboard"},
    {
        "name": "Image registry",
        "port": 5001,
        "upstream": "http://registry:5000",
        "link": False,
        "user": "lab",
        "password": PASSWORD,
        "headers": {"Docker-Distribution-Api-Version": "registry/2.0"},
    },
]
AIRFLOW, MLFLOW, OPTUNA, REGISTRY = range(10001, 10005)
LANDING, STATUS = 10000, 9000
VALUES: dict[str, Any] = {
    "gateway_bind_address": "192.0.2.7",
    "gateway_certificates_dir": "/opt/lab/certificates",
    "gateway_title": "a <lab>",
    "gateway_pages": PAGES,
    "__gateway_built": {"image": "mlops-lab/gateway:nginx-0123456789ab"},
}


def compose(**more: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(Case("x", "gateway", "compose.yml.j2", {**VALUES, **more}).render())["services"]["gateway"])


# -------------------------------------------------------------------- what the files say


def test_every_port_is_published_at_the_given_address_and_none_inside_needs_a_right() -> None:
    service = compose()
    inside = {"443": LANDING, "8080": AIRFLOW, "5000": MLFLOW, "8889": OPTUNA, "5001": REGISTRY}
    assert service["ports"] == [f"192.0.2.7:{port}:{number}" for port, number in inside.items()]
    config = Case("x", "gateway", "nginx.conf.j2", VALUES).render()
    assert [int(port) for port in re.findall(r"listen (\d+) ssl;", config)] == list(inside.values())
    assert "listen 1" not in re.sub(r"listen (\d+) ssl;", "", config)


def test_it_has_few_rights_and_no_secret_is_in_its_definition() -> None:
    service = compose()
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "50082:0" and all(volume.endswith(":ro") for volume in service["volumes"])
    texts = [Case("x", "gateway", name, VALUES).render() for name in ("compose.yml.j2", "nginx.conf.j2", "Dockerfile.j2", "index.html.j2")]
    assert not [text for text in texts if PASSWORD in text or "$6$" in text]


def test_a_gateway_without_pages_is_a_landing_page() -> None:
    assert compose(gateway_pages=[])["ports"] == ["192.0.2.7:443:10000"]


def test_the_landing_page_leads_to_what_has_a_page_and_names_nothing_of_elsewhere() -> None:
    page = Case("x", "gateway", "index.html.j2", VALUES).render()
    assert re.findall(r'data-here href="([^"]+)"', page) == ["https://192.0.2.7:8080/", "https://192.0.2.7:5000/", "https://192.0.2.7:8889/dashboard"]
    assert "<h1>a &lt;lab&gt;</h1>" in page and "Optuna&#39;s dashboard" in page and "registry" not in page
    assert re.findall(r'(?:src|href)="(?!https://192\.0\.2\.7)([^"]+)"', page) == ["/page.css", "/page.js", "/ca.pem"]
    assert "//" not in re.sub(r"^\s*//.*", "", (ROLE / "files/page.css").read_text() + (ROLE / "files/page.js").read_text(), flags=re.M)


# -------------------------------------------------------------------- the lab's wiring


STACK = ["parts", "bind_address", "port", "flower_port", "behind_proxy", "control_address", "worker_hostname", "certificates_dir"]
WIRING = [
    *("gateway_pages", "gateway_networks", "gateway_bind_address", "firewall_ports", "lab_pages", "lab_models_task_url", "verdict_cluster_address"),
    *(f"airflow_stack_{name}" for name in STACK),
]


@pytest.mark.parametrize("workbench", [False, True])
def test_one_host_with_a_gateway_publishes_its_pages_by_it_and_nothing_else(tmp_path: Path, workbench: bool) -> None:
    """No image registry, no database, no broker, no logs: nothing that only other hosts of the lab would ask."""
    found = wired(tmp_path, WIRING, "labhost", lab_gateway="true", lab_workbench=workbench, lab_allowed_networks=["10.1.0.0/16"])
    pages = {"443", "8080", "5000", "8002", "5555", "8081", *(["8888", "8889"] if workbench else [])}
    address = found["gateway_bind_address"]
    assert found["lab_pages"] == f"https://{address}" and address.startswith("10.0.0.")
    gateway = yaml.safe_load(Case("x", "gateway", "compose.yml.j2", {**VALUES, **{name: found[name] for name in WIRING[:3]}}).render())
    assert {port.rpartition(":")[0] for port in gateway["services"]["gateway"]["ports"]} == {f"{address}:{port}" for port in pages}
    assert set(gateway["networks"]) == {f"mlops-lab-{name}" for name in ("airflow", "mlflow", "models", "index", *(["workbench"] if workbench else []))}
    assert {port["port"]: port["from"] for port in found["firewall_ports"]}.keys() == set(map(int, pages))
    assert all(port["from"] == ["10.1.0.0/16", address] for port in found["firewall_ports"])
    values = {name: value for name, value in found.items() if name.startswith("airflow_stack_")}
    services = yaml.safe_load(Case("x", "airflow_stack", "compose.yml.j2", {**AIRFLOW_STACK, **values}).render())["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"airflow-apiserver": ["127.0.0.1:8080:8080"], "flower": ["127.0.0.1:5555:5555"]}
    assert services["airflow-apiserver"]["command"] == ["api-server", "--proxy-headers"]
    assert services["airflow-worker"]["hostname"] == "airflow-worker" and "/certificates" not in json.dumps(services)
    assert (found["lab_models_task_url"], found["verdict_cluster_address"]) == ("http://models:8000", "")


def test_one_host_without_a_gateway_is_as_ever_and_several_have_one(tmp_path: Path) -> None:
    names = ["lab_tls", "lab_pages", "airflow_stack_behind_proxy", "airflow_stack_control_address", "airflow_stack_certificates_dir", "lab_cluster_ports"]
    assert wired(tmp_path, names, "labhost") == dict(zip(names, [False, "http://127.0.0.1", False, "", "", []], strict=True))
    several = wired(tmp_path, names, "worker1")
    address = several.pop("airflow_stack_control_address")
    assert len(several.pop("lab_cluster_ports")) == 3
    assert several == {
        "lab_tls": True,
        "lab_pages": f"https://{address}",
        "airflow_stack_behind_proxy": True,
        "airflow_stack_certificates_dir": "/opt/mlops-lab/certificates",
    }


# -------------------------------------------------------------------- the role's own tasks


def certificate(folder: Path, name: str = "the lab's host") -> None:
    """Make a certificate of the loopback addresses that is its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder(names, names, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, content, mode in (("ca.pem", pem, 0o444), ("host.pem", pem, 0o444), ("host.key", written, 0o640)):
        (folder / file).unlink(missing_ok=True)
        (folder / file).write_bytes(content)
        (folder / file).chmod(mode)


def place(folder: Path, certificates: Path, *options: str, path: str = os.environ["PATH"], **more: Any) -> Done:
    """Run the role without building or starting anything, with a client of Docker that is found at `path`, and return what is placed."""
    for part in ("files", "templates"):  # where the last task, which is not the role's, looks for them
        if not (folder / part).is_symlink():
            (folder / part).symlink_to(ROLE / part)
    values = {**VALUES, "gateway_dir": str(folder / "gateway"), "gateway_certificates_dir": str(certificates), "gateway_project": "gateway-test", **more}
    values["__gateway_built"] = {"image": "mlops-lab/gateway:nginx-0123456789ab"}
    serve = yaml.safe_load((ROLE / "tasks/serve.yml").read_text(encoding="utf-8"))
    serve[0]["mlops.lab.compose_up"]["start"] = False
    placed = {name: f"{{{{ __gateway_{name} }}}}" for name in ("files", "secrets", "digest")}
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.import_role": {"name": "mlops.lab.gateway", "tasks_from": "check", "handlers_from": "main"}, "vars": values},
        *({**task, "vars": values} for task in serve),
        {"ansible.builtin.set_fact": {"result": placed}, "vars": values, "no_log": True},
    ]
    return play(folder, tasks, *options, PATH=path)


def test_pages_that_cannot_be_served_stop_the_run(tmp_path: Path) -> None:
    one = {"name": "A", "port": 8080, "upstream": "http://a:1"}
    wrong = {
        "one-name": [one, {**one, "name": "a", "port": 8081}],
        "the-port-of-the-landing-page": [{**one, "port": 443}],
        "a-name-that-breaks": [{**one, "name": 'A"'}],
        "a-path": [{**one, "upstream": "http://a:1/path"}],
        "a-user-with-a-colon": [{**one, "user": "a:b", "password": "x"}],
    }
    role = {"ansible.builtin.import_role": {"name": "mlops.lab.gateway", "tasks_from": "check"}, "check_mode": True}
    given = {**VALUES, "gateway_dir": str(tmp_path / "gateway"), "gateway_certificates_dir": str(tmp_path)}
    ended, shown = play_on_each(tmp_path, [role], {name: {**given, "ansible_connection": "local", "gateway_pages": pages} for name, pages in wrong.items()})
    for name, done in ended.items():
        assert done.returncode and "gateway_pages needs a name of its own" in done.output, (name, shown)


def test_a_host_without_a_certificate_is_told_so_and_check_mode_goes_on(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x", encoding="utf-8")
    assert place(tmp_path, tmp_path, "--check").returncode == 0
    done = place(tmp_path, tmp_path)
    assert done.returncode and f"{tmp_path} of localhost has no host.pem and no host.key" in " ".join(done.output.split())


def test_a_gateway_that_is_not_wanted_any_more_goes_with_its_files(tmp_path: Path) -> None:
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\necho " Container gateway-test-gateway-1  Removed" >&2\n', encoding="utf-8")
    docker.chmod(0o755)
    (tmp_path / "gateway/secrets").mkdir(parents=True)
    values = {"gateway_project": "gateway-test", "gateway_dir": str(tmp_path / "gateway")}
    role = {"ansible.builtin.import_role": {"name": "mlops.lab.gateway", "tasks_from": "absent"}, "vars": values}
    for check in (True, False):
        done = play(tmp_path, [role], *(["--check"] if check else []), PATH=f"{docker.parent}:{os.environ['PATH']}")
        assert done.returncode == 0, done.output
        assert (tmp_path / "gateway").exists() == check == (not (tmp_path / "told").exists())
    assert (tmp_path / "told").read_text(encoding="utf-8") == "compose --project-name gateway-test down --remove-orphans\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another group")
def test_a_second_run_changes_nothing_and_what_changed_is_told_to_nginx_once(tmp_path: Path) -> None:
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n', encoding="utf-8")
    docker.chmod(0o755)
    certificate(tmp_path)
    told, results = [], []
    for changed, other in ((2, False), (0, False), (2, True)):  # the files and the reload, or nothing
        if other:
            certificate(tmp_path)
        done = place(tmp_path, tmp_path, "--diff", path=f"{docker.parent}:{os.environ['PATH']}")
        assert done.returncode == 0, done.output
        assert PASSWORD not in done.output and "$6$" not in done.output
        results.append(done.result)
        told.append((tmp_path / "told").read_text(encoding="utf-8").count("-s reload"))
        found = re.search(r"changed=(\d+)", done.output)
        assert found and int(found[1]) == changed + 1, done.output  # the result is kept in a file
    assert told == [1, 1, 2]
    first, again, renewed = results
    assert first == again and first["digest"] != renewed["digest"] and first["secrets"] == renewed["secrets"]
    assert {name for name in first["files"] if first["files"][name] != renewed["files"][name]} == {"status.conf", "digest"}
    for name, mode in {"secrets/5001": 0o440, "secrets": 0o750, "nginx": 0o750, "nginx/nginx.conf": 0o640}.items():
        there = (tmp_path / "gateway" / name).stat()
        assert (there.st_mode & 0o777, there.st_gid) == (mode, 0), name


# -------------------------------------------------------------------- a real nginx


@pytest.fixture(scope="session")
def nginx() -> Path:
    """A folder with Debian's or Ubuntu's nginx, its Lua module and what they need: what the machine has itself is not in it."""
    return unpacked("libnginx-mod-http-lua")


class Names(socketserver.BaseRequestHandler):
    """Docker's name server: addresses of the names that are there, and that there is no other."""

    known: dict[str, str] = {}  # noqa: RUF012

    def handle(self) -> None:
        """Answer one question."""
        data, channel = self.request
        labels, place = [], 12
        while data[place]:
            labels.append(data[place + 1 : place + 1 + data[place]].decode())
            place += data[place] + 1
        question, address = data[12 : place + 5], self.known.get(".".join(labels))
        head = struct.pack(">HHHHHH", *struct.unpack(">H", data[:2]), 0x8180 if address else 0x8183, 1, int(bool(address)), 0, 0)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address) if address else b""
        channel.sendto(head + question + answer, self.client_address)


class Service(http.server.BaseHTTPRequestHandler):
    """A service behind the gateway: says what it was asked, takes what is sent, upgrades."""

    protocol_version = "HTTP/1.1"
    bodies: list[int] = []  # noqa: RUF012 # bytes of the upload that runs, as they come

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, code: int, text: str, **headers: str) -> None:
        """Send an answer."""
        body = text.encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer what was asked, or as the path says."""
        if self.headers["Upgrade"]:
            self.send_response(101)
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.send_header("Connection", self.headers["Connection"])
            self.end_headers()
            self.wfile.write(b"echo:" + self.connection.recv(100))
            self.close_connection = True
        elif self.path == "/move":
            self.answer(302, "", Location=f"http://{self.headers['Host']}/there?a=b", Set_Cookie="session=1; Path=/")
        elif self.path == "/framed":
            self.answer(200, "", X_Frame_Options="DENY", Referrer_Policy="no-referrer", Docker_Distribution_Api_Version="registry/2.1")
        elif self.path == "/refused":
            self.answer(401, "who?", WWW_Authenticate='Basic realm="x"', Set_Cookie="a=b")
        elif self.path == "/broken":
            self.answer(503, "not now")
        elif self.path == "/slow":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"first\n")
            time.sleep(3)
            self.wfile.write(b"last\n")
            self.close_connection = True
        else:
            self.answer(200, json.dumps({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}))

    def do_POST(self) -> None:
        """Take a body, of a given length or in chunks."""
        self.bodies.clear()
        if self.headers["Transfer-Encoding"] == "chunked":
            while length := int(self.rfile.readline(), 16):
                self.bodies.append(len(self.rfile.read(length)))
                self.rfile.readline()
            self.rfile.readline()
        else:
            self.bodies.append(len(self.rfile.read(int(self.headers["Content-Length"] or 0))))
        self.answer(200, str(sum(self.bodies)))


class Server(http.server.ThreadingHTTPServer):
    """The server of a service."""

    daemon_threads = True
    request_queue_size = 64


@dataclass
class Gateway:
    """A running gateway: where each of its ports is, and what is behind it."""

    folder: Path
    numbers: dict[int, int]
    process: subprocess.Popen[bytes]
    command: list[str]
    surroundings: dict[str, str]
    upstream: int
    refused: TextIO
    names: dict[str, str] = field(default_factory=lambda: Names.known)

    def context(self) -> ssl.SSLContext:
        """Return what trusts the gateway's certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "certificates/ca.pem"))

    def connection(self, port: int, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """Return a connection to a port, from an address."""
        return http.client.HTTPSConnection("127.0.0.1", self.numbers[port], timeout=20, context=self.context(), source_address=(source, 0))

    def ask(
        self, port: int, path: str = "/", method: str = "GET", body: str | None = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Return status, headers and text of an answer."""
        connection = self.connection(port, source)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        connection.close()
        return found

    def echo(self, port: int, path: str = "/", **headers: str) -> dict[str, Any]:
        """Return what the service behind a port was asked."""
        status, _, text = self.ask(port, path, **headers)
        assert status == 200, text
        return dict(json.loads(text))

    def log(self) -> str:
        """Return what nginx said."""
        return (self.folder / "log").read_text(encoding="utf-8")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serve(address: str, port: int = 0) -> Server:
    server = Server((address, port), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def as_in_the_container() -> dict[str, Any]:
    """Return how to start a process as a user who has nothing but group 0; who is not root stays who he is."""
    return {"user": 50082, "group": 0, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory that this user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as made:
        folder = Path(made)
        folder.chmod(0o770)
        for name in ("certificates", "nginx", "secrets", "tmp"):
            (folder / name).mkdir()
            (folder / name).chmod(0o770)
        yield folder


@pytest.fixture(scope="module")
def gateway(nginx: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """What the role places, at work."""
    certificate(folder / "certificates")
    service = serve("127.0.0.1")
    upstream = int(service.server_address[1])
    resolver = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Names)
    threading.Thread(target=resolver.serve_forever, daemon=True).start()
    Names.known = {"airflow-apiserver": "127.0.0.1", "mlflow": "127.0.0.1", "registry": "127.0.0.1"}

    numbers = {port: free_port() for port in (LANDING, AIRFLOW, MLFLOW, OPTUNA, REGISTRY, STATUS)}
    pages = [{**page, "upstream": f"{page['upstream'].rpartition(':')[0]}:{upstream}"} for page in PAGES]
    placed = place(tmp_path_factory.mktemp("play"), folder / "certificates", "--check", gateway_pages=pages)
    assert placed.returncode == 0, placed.output
    root = shutil.copytree(nginx, folder / "root", symlinks=True)

    def part(path: str) -> Path:
        return root / path if (root / path).exists() else Path("/", path)

    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))
    surroundings = {**os.environ, "LD_LIBRARY_PATH": libraries, "LUA_PATH": f"{root}/usr/share/lua/5.1/?.lua;;"}
    # Its places and its ports are others here, and names are known to another server, for a second.
    moved: list[tuple[str, Any]] = [
        (r"/usr/lib/nginx/modules", str(part("usr/lib/nginx/modules"))),
        (r"/etc/nginx/lab", f"{folder}/nginx"),
        (r"/etc/nginx/secrets", f"{folder}/secrets"),
        (r"(?<= )/certificates", f"{folder}/certificates"),
        (r"/tmp/(?=nginx|body|proxy|fastcgi|scgi|uwsgi)", f"{folder}/tmp/"),
        (r"127\.0\.0\.11 valid=10s", f"127.0.0.1:{resolver.server_address[1]} valid=1s"),
        (r"(?<=listen )(?=1\d{4} ssl)", "127.0.0.1:"),
        (rf"(?<![\d.])(?:{'|'.join(map(str, numbers))})(?!\d)", lambda found: str(numbers[int(found[0])])),
    ]
    for name, text in placed.result["files"].items():
        for pattern, new in moved if name.endswith(".conf") else []:
            text = re.sub(pattern, new, text)
        (folder / "nginx" / name).write_text(text, encoding="utf-8")
        (folder / "nginx" / name).chmod(0o640)
    for name, text in placed.result["secrets"].items():
        (folder / "secrets" / name).write_text(text, encoding="utf-8")
        (folder / "secrets" / name).chmod(0o440)
    command = [str(part("usr/sbin/nginx")), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx/nginx.conf")]
    read, write = os.pipe()
    os.fchown(write, as_in_the_container().get("user", -1), -1)  # as the engine does
    tested = subprocess.run([*command, "-t"], stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=surroundings, **as_in_the_container())
    assert tested.returncode == 0 and "[warn]" not in tested.stderr, tested.stderr
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stdout=write, stderr=log, env=surroundings, **as_in_the_container())
    os.close(write)
    gateway = Gateway(folder, numbers, process, command, surroundings, upstream, os.fdopen(read))
    try:
        for _ in range(100):
            if healthy(gateway):
                break
            time.sleep(0.1)
        yield gateway
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        service.shutdown()
        resolver.shutdown()


def test_a_service_sees_who_asks_and_by_which_name(gateway: Gateway) -> None:
    host = f"127.0.0.1:{gateway.numbers[AIRFLOW]}"
    claims = {"X_Forwarded_For": "192.0.2.66", "X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "http", "Forwarded": "for=192.0.2.66", "X_Real_IP": "a"}
    found = gateway.echo(AIRFLOW, "/dags/a%2Fb?c=%20d", Authorization="Bearer x", **claims)
    assert found["path"] == "/dags/a%2Fb?c=%20d"
    seen = found["headers"]
    assert (seen["host"], seen["x-forwarded-host"], seen["x-forwarded-proto"]) == (host, host, "https")
    assert (seen["x-forwarded-for"], seen["x-real-ip"], seen["authorization"]) == ("127.0.0.1", "127.0.0.1", "Bearer x")
    assert not {"forwarded", "x-forwarded-port", "x-forwarded-prefix", "upgrade"} & seen.keys()


def test_plain_http_is_led_to_https(gateway: Gateway) -> None:
    for port in (LANDING, AIRFLOW, REGISTRY):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.numbers[port], timeout=20)
        connection.request("GET", "/a/path?b=c")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (301, f"https://127.0.0.1:{gateway.numbers[port]}/a/path?b=c")
        connection.close()


def test_old_tls_is_refused(gateway: Gateway) -> None:
    context = gateway.context()
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", gateway.numbers[AIRFLOW])) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        assert secure.version() == "TLSv1.2" and secure.cipher()[0].startswith("ECDHE")  # type: ignore[index]
    config = (gateway.folder / "nginx/nginx.conf").read_text(encoding="utf-8")
    assert re.findall(r"ssl_protocols (.*);", config) == ["TLSv1.2 TLSv1.3"]


def test_answers_have_the_headers_that_a_service_forgot_and_none_twice(gateway: Gateway) -> None:
    _, headers, _ = gateway.ask(AIRFLOW)
    assert (headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]) == ("nosniff", "SAMEORIGIN", "same-origin")
    assert headers["server"] == "nginx" and "strict-transport-security" not in headers
    _, headers, _ = gateway.ask(AIRFLOW, "/framed")
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")


def test_a_redirect_stays_with_tls_and_its_port_and_cookies_are_sent_by_tls_alone(gateway: Gateway) -> None:
    status, headers, _ = gateway.ask(AIRFLOW, "/move")
    assert (status, headers["location"]) == (302, f"https://127.0.0.1:{gateway.numbers[AIRFLOW]}/there?a=b")
    assert "secure" in headers["set-cookie"].lower()


def test_logins_are_limited_for_each_address_and_nothing_else_is(gateway: Gateway) -> None:
    def login(path: str, source: str) -> int:
        return gateway.ask(AIRFLOW, path, "POST", "{}", source=source)[0]

    paths = ["/auth/token", "/auth/login/", "/auth//token", "/auth/%74oken", "/auth/login", "/auth/token?a=b"]
    assert [login(path, "127.0.0.21") for path in paths] == [200] * 6
    status, headers, text = gateway.ask(AIRFLOW, "/auth/token", "POST", "{}", source="127.0.0.21")
    assert (status, text, headers["retry-after"]) == (429, "Too many logins from this address: try again in a minute.\n", "60")
    assert login("/auth/token", "127.0.0.22") == 200
    assert [login("/api/v2/dags", "127.0.0.21") for _ in range(20)] == [200] * 20
    assert [gateway.ask(AIRFLOW, "/auth/login", source="127.0.0.21")[0] for _ in range(20)] == [200] * 20
    assert [gateway.ask(MLFLOW, "/auth/token", "POST", "", source="127.0.0.21")[0] for _ in range(20)] == [200] * 20


def test_wrong_passwords_are_limited_for_each_address_and_right_ones_are_not(gateway: Gateway) -> None:
    """MLflow, the models, the index ask with each request; `/refused` is refused by the service itself, the registry by the gateway."""
    tried = {"Authorization": "Basic " + base64.b64encode(b"admin:guess").decode()}
    right = {"Authorization": "Basic " + base64.b64encode(f"lab:{PASSWORD}".encode()).decode()}
    assert {gateway.ask(MLFLOW, source="127.0.0.31", **tried)[0] for _ in range(30)} == {200}
    assert {gateway.ask(MLFLOW, "/refused", source="127.0.0.31")[0] for _ in range(30)} == {401}, "without a password, as a browser asks first"
    assert {gateway.ask(MLFLOW, "/refused", source="127.0.0.31", Authorization="Bearer old")[0] for _ in range(30)} == {401}, "a token that has expired"
    assert {gateway.ask(REGISTRY, "/v2/", source="127.0.0.31", **right)[0] for _ in range(30)} == {200}
    assert {gateway.ask(MLFLOW, "/refused", source="127.0.0.31", **tried)[0] for _ in range(10)} == {401}
    assert {gateway.ask(REGISTRY, "/v2/", source="127.0.0.31", **tried)[0] for _ in range(10)} == {401}
    status, headers, text = gateway.ask(OPTUNA, source="127.0.0.31", **right)
    assert (status, text, headers["retry-after"]) == (429, "Too many logins from this address: try again in a minute.\n", "60")
    assert gateway.ask(REGISTRY, "/v2/", source="127.0.0.31", **right)[0] == 429
    assert gateway.ask(AIRFLOW, "/execution/heartbeat", source="127.0.0.31", Authorization="Bearer token")[0] == 200, "a worker's tasks go on"
    assert gateway.ask(REGISTRY, "/v2/", source="127.0.0.32", **right)[0] == 200


def test_a_page_that_the_gateway_guards(gateway: Gateway) -> None:
    def as_user(user: str, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    for credentials in ({}, as_user("lab", "wrong"), as_user("other", PASSWORD)):
        status, headers, _ = gateway.ask(REGISTRY, "/v2/", **credentials)
        assert (status, headers["www-authenticate"], headers["docker-distribution-api-version"]) == (401, 'Basic realm="Image registry"', "registry/2.0")
    assert "authorization" not in gateway.echo(REGISTRY, "/v2/", **as_user("lab", PASSWORD))["headers"]
    _, headers, _ = gateway.ask(REGISTRY, "/framed", **as_user("lab", PASSWORD))
    assert headers["docker-distribution-api-version"] == "registry/2.1"
    secret = (gateway.folder / "secrets/5001").read_text(encoding="utf-8")
    assert secret.startswith("lab:$6$") and sha512_crypt.verify(PASSWORD, secret.strip().partition(":")[2])
    assert [path.name for path in (gateway.folder / "secrets").iterdir()] == ["5001"]


def test_an_upload_is_passed_on_while_it_comes_and_none_is_too_big(gateway: Gateway) -> None:
    connection = gateway.connection(AIRFLOW)
    connection.putrequest("POST", "/upload")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    part = b"x" * 2**20
    for number in range(64):
        connection.send(b"%x\r\n%b\r\n" % (len(part), part))
        if number == 3:
            until = time.monotonic() + 10
            while sum(Service.bodies) < 2**20 and time.monotonic() < until:
                time.sleep(0.02)
            assert sum(Service.bodies) >= 2**20, "the service has nothing of it before its end"
    connection.send(b"0\r\n\r\n")
    assert (answer := connection.getresponse()).status == 200 and int(answer.read()) == 64 * 2**20
    assert not [path for path in (gateway.folder / "tmp").rglob("*") if path.is_file() and path.name != "nginx.pid"]


def test_an_answer_is_passed_on_while_it_comes(gateway: Gateway) -> None:
    connection = gateway.connection(AIRFLOW)
    connection.request("GET", "/slow")
    began = time.monotonic()
    answer = connection.getresponse()
    assert answer.readline() == b"first\n" and time.monotonic() - began < 2
    assert answer.read() == b"last\n"


def test_a_websocket_is_passed_through(gateway: Gateway) -> None:
    with (
        socket.create_connection(("127.0.0.1", gateway.numbers[MLFLOW]), 20) as plain,
        gateway.context().wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(b"GET /api/kernels HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        head = line.recv(1000)
        assert head.startswith(b"HTTP/1.1 101") and b"websocket" in head
        line.sendall(b"ping")
        assert line.recv(100) == b"echo:ping"


def test_a_service_that_is_not_there_is_said_to_be_down_and_found_when_it_comes_and_when_it_moves(gateway: Gateway) -> None:
    status, _, text = gateway.ask(OPTUNA)
    assert (status, text) == (502, "Optuna's dashboard does not answer. It may be starting, or stopped.\n")
    gateway.names["optuna-dashboard"] = "127.0.0.1"
    assert answers(gateway, OPTUNA, "/", 200)
    gateway.names["optuna-dashboard"] = "127.0.0.3"
    assert answers(gateway, OPTUNA, "/", 502)
    moved = serve("127.0.0.3", gateway.upstream)
    assert answers(gateway, OPTUNA, "/", 200)
    moved.shutdown()
    moved.server_close()
    del gateway.names["optuna-dashboard"]


def answers(gateway: Gateway, port: int, path: str, status: int) -> bool:
    """Say whether an answer has a status soon: each of nginx's processes knows an address for a while."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        if gateway.ask(port, path)[0] == status:
            return True
        time.sleep(0.2)
    return False


def test_a_service_s_own_errors_are_its_own(gateway: Gateway) -> None:
    status, _, text = gateway.ask(AIRFLOW, "/broken")
    assert (status, text) == (503, "not now")


def test_the_landing_page_and_its_parts_and_nothing_else(gateway: Gateway) -> None:
    for path, kind in {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript", "/ca.pem": "application/x-pem-file"}.items():
        status, headers, text = gateway.ask(LANDING, path)
        assert status == 200 and headers["content-type"].startswith(kind) and text
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "BEGIN CERTIFICATE" in text and "PRIVATE" not in text
    for path in (
        "/nginx.conf",
        "/status.conf",
        "/digest",
        "/host.key",
        "/secrets/5001",
        "/../secrets/5001",
        "/%2e%2e/certificates/host.key",
        "/ca.pem/../host.key",
    ):
        assert gateway.ask(LANDING, path)[0] in (400, 404), path


def test_the_landing_page_says_what_is_up_and_hands_nothing_of_the_reader_or_the_service_on(gateway: Gateway) -> None:
    status, headers, text = gateway.ask(LANDING, "/status/airflow", Authorization="Bearer x", Cookie="a=b", X_Own="y")
    seen = json.loads(text)
    assert status == 200 and seen["path"] == "/api/v2/version" and not {"authorization", "cookie", "x-own"} & seen["headers"].keys()
    status, headers, _ = gateway.ask(LANDING, "/status/mlflow")
    assert status == 401 and not {"www-authenticate", "set-cookie"} & headers.keys()
    assert gateway.ask(LANDING, "/status/image-registry")[0] == 200
    assert answers(gateway, LANDING, "/status/optuna-s-dashboard", 502)
    assert gateway.ask(LANDING, "/status/airflow", "POST", "x")[0] == 403
    assert gateway.ask(LANDING, "/status/other")[0] == 404


def test_what_was_refused_is_in_the_log_with_its_address_and_without_its_query(gateway: Gateway) -> None:
    wrong = "Basic " + base64.b64encode(b"lab:guess").decode()
    gateway.ask(REGISTRY, "/v2/logged?token=hidden", source="127.0.0.31", Authorization=wrong)
    gateway.ask(REGISTRY, "/v2/unasked", source="127.0.0.31")
    while "/v2/logged" not in (line := gateway.refused.readline()):
        assert line
    assert line == f"127.0.0.31 port {gateway.numbers[REGISTRY]} 401 GET /v2/logged\n"


def healthy(gateway: Gateway) -> bool:
    """Run the healthcheck of the compose file."""
    words = [part.replace("$$", "$") for part in compose()["healthcheck"]["test"][1:]]
    script = words[2].replace(f"/{STATUS} ", f"/{gateway.numbers[STATUS]} ").replace("/etc/nginx/lab", str(gateway.folder / "nginx"))
    return subprocess.run([*words[:2], script], capture_output=True, check=False).returncode == 0


def test_it_is_healthy_while_it_runs_with_what_is_there_and_a_reload_brings_a_new_certificate(gateway: Gateway) -> None:
    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", gateway.numbers[AIRFLOW])).strip()

    folder = gateway.folder
    before = served()
    assert healthy(gateway) and before == (folder / "certificates/host.pem").read_text(encoding="utf-8").strip()
    certificate(folder / "certificates")
    for name in ("status.conf", "digest"):
        text = (folder / "nginx" / name).read_text(encoding="utf-8")
        (folder / "nginx" / name).write_text(re.sub(r"[0-9a-f]{32}", "f" * 32, text), encoding="utf-8")
    assert not healthy(gateway) and served() == before
    subprocess.run([*gateway.command, "-s", "reload"], env=gateway.surroundings, check=True, **as_in_the_container())
    # The former processes take connections until they have heard of it, so one good answer is not the last word.
    renewed, good, until = (folder / "certificates/host.pem").read_text(encoding="utf-8").strip(), 0, time.monotonic() + 30
    while good < 10 and time.monotonic() < until:
        good = good + 1 if healthy(gateway) and served() == renewed else 0
    assert good == 10, gateway.log()
    assert gateway.ask(AIRFLOW)[0] == 200


def test_nothing_was_wrong_meanwhile(gateway: Gateway) -> None:
    assert not re.findall(r"\[(?:alert|emerg|crit)\].*", gateway.log())
