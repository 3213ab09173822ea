"""What a worker asks over TLS, with its real clients and its own settings: whoever has another authority or another name is told nothing."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.authorities import authority, certify
from tests.unit.conftest import PROJECT, make_environment
from tests.unit.rendering import PARTS, STACK, Case
from tests.unit.test_templates import document

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"  # what a client of Postgres sends before TLS
BROKER = """
import sys
from airflow.providers.celery.executors.celery_executor_utils import app
app.connection_for_write(sys.argv[1]).ensure_connection(max_retries=1)
"""
EXECUTION = """
import sys
from airflow.sdk.api.client import Client
Client(base_url=sys.argv[1], token="a.b.c").get("/")
"""
DATABASE = "import sys, sqlalchemy; sqlalchemy.create_engine(sys.argv[1].removeprefix('db+')).connect()"
MLFLOW = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
INDEX = "import subprocess, sys; sys.exit(subprocess.run(['uv', 'pip', 'compile', '-', '--no-cache', '--index-url', sys.argv[1]]).returncode)"
# Client -> the environment that it is in (empty: the tests' own), and its program, whose argument is the address
CLIENTS = {
    "broker": ("airflow-3.3.2", BROKER),
    "execution API": ("airflow-3.3.2", EXECUTION),
    "result backend": ("project", DATABASE),
    "Optuna's database": ("project", DATABASE),
    "MLflow": ("project", MLFLOW),
    "package index": ("", INDEX),
}


@dataclass
class Listener:
    """A server of TLS at 127.0.0.1 that says nothing, and keeps what it is told."""

    folder: Path
    socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    heard: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.socket.getsockname()[1])

    def listen(self) -> None:
        """Take connections until it is closed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "host.pem", self.folder / "host.key")
        while True:
            try:
                one = self.socket.accept()[0]
            except OSError:
                return
            with one:
                one.settimeout(20)
                try:
                    if one.recv(8, socket.MSG_PEEK) == SSL_REQUEST:
                        one.recv(8)
                        one.sendall(b"S")
                    with context.wrap_socket(one, server_side=True) as secure:
                        self.heard += [said] if (said := secure.recv(4096)) else []
                except OSError:  # an SSLError is one: the client refused
                    continue


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """One whose certificate is for 127.0.0.1 alone."""
    certify(tmp_path, "127.0.0.1")
    (tmp_path / "other.pem").write_text(authority("other").text)
    made = Listener(tmp_path)
    thread = threading.Thread(target=made.listen, daemon=True)
    thread.start()
    yield made
    made.socket.shutdown(socket.SHUT_RDWR)
    made.socket.close()
    thread.join(20)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_speaks_with_who_has_the_right_name_and_authority_alone(listener: Listener, client: str) -> None:
    environment, program = CLIENTS[client]
    python = make_environment(environment, *([PROJECT] if environment == "project" else [])) if environment else Path("python3")

    def ask(name: str, trusted: str) -> str:
        """Have the client ask at a name, as the role sets it up on a worker's own host; returns what it printed."""
        ports = dict.fromkeys((f"airflow_stack_{port}" for port in ("port", "database_port", "broker_port")), listener.port)
        case = Case("", "airflow_stack", "compose.yml.j2", {**STACK, **PARTS["worker alone"], **ports, "airflow_stack_control_address": name})
        secrets, settings = case.value("__airflow_stack_secrets"), document(case)["services"]["airflow-worker"]["environment"]
        site = f"https://{name}:{listener.port}"
        address = {
            "broker": secrets["broker_url"],
            "execution API": settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"],
            "result backend": secrets["result_backend"],
            "Optuna's database": secrets["optuna_url"],
            "MLflow": site,
            "package index": f"{site}/simple/",
        }[client]
        certificates = str(listener.folder / trusted)
        trust = {key: settings[key] for key in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AIRFLOW__API__SSL_CA_FILE")}
        assert set(trust.values()) == {"/etc/ssl/certs/ca-certificates.crt", "/certificates/ca.pem"}
        once = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "1", "UV_HTTP_RETRIES": "0"}
        surroundings = {"PATH": os.environ["PATH"], "HOME": str(listener.folder), "PYTHONWARNINGS": "ignore", **dict.fromkeys(trust, certificates), **once}
        done = subprocess.run(
            [python, "-c", program, address.replace("/certificates/ca.pem", certificates)],
            env=surroundings, input="anything\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode != 0, "the listener answers nobody"
        return done.stdout

    shown = ask("127.0.0.1", "ca.pem")
    assert listener.heard, shown[-999:]
    listener.heard.clear()
    for name, trusted in (("localhost", "ca.pem"), ("127.0.0.1", "other.pem")):
        shown = ask(name, trusted)
        assert listener.heard == [] and "certificate" in shown.lower(), shown[-999:]
