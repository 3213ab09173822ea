"""A real Celery worker of Airflow and a real Flower, as the lab starts them, on a broker of files: what a forged message gets, and what Flower shows."""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import NEWEST
from tests.unit.authorities import authority, certify
from tests.unit.conftest import ROOT
from tests.unit.test_templates import stack

CONFIG = ROOT / "roles" / "airflow_stack" / "files"
TOKEN = "a-token-that-Airflow-signed"
SEND = """
import json, sys
from airflow.providers.celery.executors.celery_executor_utils import app
for name, args in json.load(sys.stdin):
    app.send_task(name, args=args, queue="default", ignore_result=False)
"""
# The server of a worker's logs, as a worker's fork runs it; what is imported first decides by the command line whether it is a worker.
SERVE_LOGS = """
import sys
port, sys.argv = int(sys.argv[1]), ["airflow", "celery", "worker"]
import airflow_local_settings
airflow_local_settings.RENEWAL = 1
from airflow.utils.serve_logs import serve_logs
serve_logs(port)
"""
# The api-server's question for a log: the answer's state and text, or the kind of error.
READ_LOG = """
import sys
sys.path.insert(0, sys.argv[1])
import logs_over_tls
from airflow.utils.log import file_task_handler
try:
    answer = file_task_handler._fetch_logs_from_service(sys.argv[2], sys.argv[3])
    print(answer.status_code, answer.text)
except Exception as error:
    print(type(error).__name__)
"""
STATES = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("SELECT status, traceback FROM celery_taskmeta ORDER BY id").fetchall()
print(json.dumps([row for row in rows if row[0] in ("SUCCESS", "FAILURE")]))
"""


def until(what: Any, seconds: float = 90) -> Any:
    """Return what a function returns as soon as that is true; else what it returned last."""
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.3)
    return found


@dataclass
class Cell:
    """Airflow's Celery with a broker and a result backend in a folder."""

    python: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its processes get, and nothing of this process but the path."""
        queue = str(self.folder / "queue")
        options = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"
        return {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:9/execution/",
            "AIRFLOW__CELERY__BROKER_URL": "filesystem://",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+sqlite:///{self.folder}/results.db",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            **{options + name: queue for name in ("DATA_FOLDER_IN", "DATA_FOLDER_OUT", "CONTROL_FOLDER")},
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start an `airflow` command; its output is in `<the last word>.log`."""
        with (self.folder / f"{words[1]}.log").open("wb") as log:
            return subprocess.Popen([self.python, "-m", "airflow", *words], env={**self.environment, **more}, stdout=log, stderr=subprocess.STDOUT)

    def run(self, code: str, *arguments: str, given: Any = None) -> str:
        """Run Python code beside Airflow; returns what it printed."""
        done = subprocess.run([self.python, "-c", code, *arguments], env=self.environment, input=json.dumps(given), text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(self, *messages: tuple[str, list[Any]]) -> None:
        """Write messages to the broker: name of a Celery task, its arguments."""
        self.run(SEND, given=messages)

    def ends(self, number: int) -> list[tuple[str, str]]:
        """Wait until so many messages came to an end; returns state and traceback of each."""

        def found() -> list[tuple[str, str]]:
            if not (self.folder / "results.db").exists():
                return []
            rows = [tuple(row) for row in json.loads(self.run(STATES, str(self.folder / "results.db")))]
            return rows if len(rows) >= number else []

        return list(until(found)) or pytest.fail((self.folder / "worker.log").read_text()[-3000:])


@pytest.fixture
def cell(airflow_python: Path, tmp_path: Path) -> Iterator[Cell]:
    """A folder with what role airflow_stack places; the test starts what it needs."""
    (tmp_path / "queue").mkdir()
    config = tmp_path / "airflow" / "config"
    config.mkdir(parents=True)
    for name in ("airflow_local_settings.py", "flowerconfig.py"):
        (config / name).write_text((CONFIG / name).read_text())
    yield Cell(airflow_python, tmp_path)


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def callback(file: Path, **more: Any) -> str:
    """A message that makes a file on the worker, without a token that anybody signed."""
    data = {"path": "subprocess.getoutput", "kwargs": {"cmd": f"touch {file}"}}
    message = {
        "type": "ExecuteCallback",
        "callback": {"id": str(uuid.uuid4()), "fetch_method": "import_path", "data": data},
        "token": TOKEN,
        "dag_rel_path": "",
        "bundle_info": {"name": "dags-folder"},
        "log_path": None,
    }
    return json.dumps({**message, **more})


def task() -> str:
    """A message as the scheduler sends it, but for the token."""
    instance = {"id": str(uuid.uuid4()), "task_id": "t", "dag_id": "d", "run_id": "r", "try_number": 1, "map_index": -1}
    more = {"dag_version_id": str(uuid.uuid4()), "pool_slots": 1, "queue": "default", "priority_weight": 1}
    message = {"ti": {**instance, **more}, "dag_rel_path": "d.py", "bundle_info": {"name": "dags-folder"}, "log_path": None}
    return json.dumps({"type": "ExecuteTask", "token": TOKEN, **message})


def test_a_worker_runs_tasks_and_nothing_else(cell: Cell, ended: list[Any]) -> None:
    ended.append(cell.start("celery", "worker", "--skip-serve-logs", LAB_WORKER_HEARTBEAT=str(cell.folder / "heartbeat")))
    made = cell.folder / "made"
    two_types = callback(made)[:-1] + ', "type": "ExecuteTask"}'
    types_swapped = '{"type": "ExecuteTask", ' + callback(made)[1:]
    forged: list[tuple[str, list[Any]]] = [
        ("execute_workload", [callback(made)]),
        ("execute_workload", [two_types]),
        ("execute_workload", [types_swapped]),
        # Celery's own tasks call others past their messages.
        ("celery.map", [{"task": "execute_workload"}, [callback(made)]]),
        ("celery.starmap", [{"task": "execute_workload"}, [[callback(made)]]]),
        ("execute_workload", ["{}"]),
        ("execute_workload", [7]),
    ]
    cell.send(*forged)
    ends = cell.ends(len(forged))
    assert {state for state, _ in ends} == {"FAILURE"}
    assert not made.exists()
    for _, trace in ends:
        assert "ValueError: a message was refused, since the lab's workers run tasks alone, and it is none" in trace
        assert TOKEN not in trace.replace(forged[3][1][1][0], "")
    cell.send(("execute_workload", [task()]))
    _, trace = cell.ends(len(forged) + 1)[-1]
    assert "refused, since" not in trace and "supervise" in trace, trace  # it went to Airflow, which asks the api-server, and there is none here


@pytest.mark.deep
@pytest.mark.parametrize("airflow_python", [NEWEST], indirect=True)
def test_without_the_narrowing_the_forged_message_runs(cell: Cell, ended: list[Any]) -> None:
    ended.append(cell.start("celery", "worker", "--skip-serve-logs"))
    cell.send(("execute_workload", [callback(cell.folder / "made")]))
    cell.ends(1)
    assert (cell.folder / "made").exists(), "this Airflow refuses callbacks itself: the narrowing in airflow_local_settings.py can go"


@pytest.mark.deep
def test_a_newer_airflow_judges_callbacks_itself(airflow_python: Path, tmp_path: Path) -> None:
    code = """
import sys, types
import airflow
airflow.__version__ = sys.argv[1]
sys.path.insert(0, sys.argv[2])
import airflow_local_settings
task = types.SimpleNamespace(run=print)
airflow_local_settings.take_tasks_only(types.SimpleNamespace(tasks={"execute_workload": task}))
print(task.run is print)
"""
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    for version, inert in (("3.4.0b2", "True"), ("3.10.1", "True"), ("3.3.9", "False")):
        done = subprocess.run([airflow_python, "-c", code, version, CONFIG], env=environment, text=True, capture_output=True, check=False)
        assert done.stdout.split()[-1:] == [inert], done.stderr


@pytest.mark.parametrize("airflow_python", [NEWEST], indirect=True)
def test_a_worker_that_cannot_be_narrowed_does_not_start(cell: Cell, ended: list[Any]) -> None:
    settings = cell.folder / "airflow" / "config" / "airflow_local_settings.py"
    settings.write_text(settings.read_text().replace('app.tasks["execute_workload"]', 'app.tasks["of another name"]'))
    ended.append(cell.start("celery", "worker", "--skip-serve-logs", LAB_WORKER_HEARTBEAT=str(cell.folder / "heartbeat")))
    assert ended[0].wait(90) != 0
    assert "the worker does not start, since it cannot be kept from running what is no task" in (cell.folder / "worker.log").read_text()


@pytest.mark.parametrize("airflow_python", [NEWEST], indirect=True)
def test_a_worker_that_consumes_no_more_is_unhealthy_and_ends(cell: Cell, ended: list[Any]) -> None:
    """As after a restart of Redis: its event loop, its heartbeats and its answers go on, and its consumer does not."""
    settings = cell.folder / "airflow" / "config" / "airflow_local_settings.py"
    deaf, beat = cell.folder / "deaf", cell.folder / "heartbeat"
    code = settings.read_text().replace("LOOK, PATIENCE = 20, 60", "LOOK, PATIENCE = 1, 6")
    settings.write_text(f"""{code}
    @heartbeat_sent.connect(weak=False)
    def lose(**_: Any) -> None:
        for one in consumption if Path({str(deaf)!r}).exists() else ():
            one.worker.consumer.task_consumer.cancel()
""")
    ended.append(cell.start("celery", "worker", "--skip-serve-logs", LAB_WORKER_HEARTBEAT=str(beat)))
    cell.send(("execute_workload", ["{}"]))
    cell.ends(1)
    deaf.touch()
    time.sleep(10)
    assert ended[0].poll() is None and time.time() - beat.stat().st_mtime < 5, "nothing waits: nobody can tell, and nobody is kept waiting"
    cell.send(("execute_workload", ["{}"]))
    assert ended[0].wait(60) == 0, "Docker starts it again, whatever its exit code"
    assert "The worker takes nothing from its queues, where messages wait" in (cell.folder / "worker.log").read_text()
    deaf.unlink()
    ended.append(cell.start("celery", "worker", "--skip-serve-logs", LAB_WORKER_HEARTBEAT=str(beat)))
    assert len(cell.ends(2)) == 2


def test_the_logs_of_a_worker_are_served_over_tls_alone_to_whom_signs_the_question(airflow_python: Path, tmp_path: Path) -> None:
    """By a server whose certificate the reader trusts, of the address that it asks; Airflow itself writes http:// into that address."""
    certify(tmp_path, "127.0.0.1")
    (tmp_path / "stranger.pem").write_text(authority("other").text)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a_task.log").write_text("what the task said")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(CONFIG),
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path / "logs"),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
    }

    def read(trusted: str, address: str = "127.0.0.1", **more: str) -> str:
        url = f"http://{address}:{port}/log/a_task.log"
        settings = {**environment, "LAB_LOGS_TLS": "true", "REQUESTS_CA_BUNDLE": str(tmp_path / trusted), **more}
        command = [str(airflow_python), "-c", READ_LOG, str(CONFIG), url, "a_task.log"]
        done = subprocess.run(command, env=settings, text=True, capture_output=True, check=False)
        return done.stdout.splitlines()[-1] if done.stdout else done.stderr

    with (tmp_path / "served").open("w") as log, socket.socket() as one:
        command = [str(airflow_python), "-c", SERVE_LOGS, str(port)]
        with subprocess.Popen(command, env={**environment, "LAB_LOGS_CERTIFICATES": str(tmp_path)}, stdout=log, stderr=log) as server:
            try:
                assert until(lambda: one.connect_ex(("127.0.0.1", port)) == 0), (tmp_path / "served").read_text()
                assert read("ca.pem") == "200 what the task said", (tmp_path / "served").read_text()
                assert read("ca.pem", AIRFLOW__API__SECRET_KEY="another") == '403 {"detail":"Forbidden"}'
                assert read("stranger.pem") == read("ca.pem", "localhost") == "SSLError"
                with pytest.raises(requests.ConnectionError):
                    requests.get(f"http://127.0.0.1:{port}/log/a_task.log", timeout=10)
                shown = ssl.get_server_certificate(("127.0.0.1", port))
                (tmp_path / "host.pem").write_text("half of one")
                assert until(lambda: "cannot be used yet" in (tmp_path / "served").read_text())
                assert ssl.get_server_certificate(("127.0.0.1", port)) == shown, "what cannot be used takes nobody's place"
                for kind in ("ec", "rsa", "ec"):  # a company may change its kind of key, too
                    certify(tmp_path, "127.0.0.1", days=99, kind=kind)
                    assert until(lambda: ssl.get_server_certificate(("127.0.0.1", port)) == (tmp_path / "host.pem").read_text()), "renewed while it runs"
                    assert read("ca.pem") == "200 what the task said"
            finally:
                server.terminate()


@pytest.mark.deep
def test_flower_shows_workers_and_states_and_nothing_else(cell: Cell, ended: list[Any]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(12)
    command = stack("one host")["services"]["flower"]["command"]
    words = [word.replace("/opt/airflow", str(cell.folder / "airflow")) for word in command]
    address = ("--hostname", "127.0.0.1", "--port", str(port))
    ended.append(cell.start(*words, *address, AIRFLOW__CELERY__FLOWER_BASIC_AUTH=f"admin:{password}"))
    ended.append(cell.start("celery", "worker", "--skip-serve-logs", LAB_WORKER_HEARTBEAT=str(cell.folder / "heartbeat")))

    def ask(path: str, method: str = "GET", user: bool = True, **more: Any) -> requests.Response | None:
        login = ("admin", password) if user else None
        try:
            return requests.request(method, f"http://127.0.0.1:{port}{path}", auth=login, timeout=30, **more)
        except requests.ConnectionError:
            return None

    assert until(lambda: ask("/healthcheck", user=False)), (cell.folder / "celery.log").read_text()[-3000:]
    workers = until(lambda: (answer := ask("/api/workers?refresh=1")) and answer.ok and answer.json())
    assert workers, "Flower sees no worker"
    cell.send(("execute_workload", [task()]), ("execute_workload", [callback(cell.folder / "made")]))
    cell.ends(2)
    table = "/tasks/datatable?draw=1&start=0&length=10&search[value]={}&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"

    def rows(search: str = "") -> list[dict[str, Any]]:
        answer = ask(table.format(search))
        return list(answer.json()["data"]) if answer is not None and answer.ok else []

    assert until(lambda: len(rows()) == 2), "Flower shows no tasks"
    assert {row["args"] for row in rows()} == {"hidden"}
    assert all(row["state"] and row["worker"] for row in rows())
    assert rows("args:" + TOKEN[:4]) == []
    name = next(iter(workers))
    for page in ("/", "/workers", "/tasks", f"/worker/{name}", f"/task/{rows()[0]['uuid']}", "/api/workers?refresh=1"):
        shown = until(lambda page=page: (answer := ask(page)) and answer.ok and answer)  # the worker may be too busy to tell Flower at once
        assert shown, page
        assert TOKEN not in shown.text, page
        stranger = ask(page, user=False)
        assert stranger is not None and stranger.status_code == 401, page
    closed = {
        *(("POST", f"/api/task/{verb}/execute_workload") for verb in ("send-task", "async-apply", "apply", "revoke", "timeout", "rate-limit", "abort")),
        *(("POST", f"/api/worker/{verb}/{name}") for verb in ("shutdown", "pool/restart", "pool/grow", "queue/add-consumer")),
        *(("GET", path) for path in ("/metrics", "/api/tasks", "/api/task/types", f"/api/task/info/{rows()[0]['uuid']}", "/login")),
    }
    for method, path in sorted(closed):
        for user in (True, False):
            answer = ask(path, method, user, json={"args": [callback(cell.folder / "made")]} if method == "POST" else None)
            assert answer is not None and answer.status_code in (401, 403, 404), f"{method} {path}: {answer.status_code if answer is not None else ''}"
    assert len(rows()) == 2 and ended[1].poll() is None
