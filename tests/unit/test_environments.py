"""Projects side by side, each in an environment of its own: made by the real service with uv, trained against a real MLflow server."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.util
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.action import lock_environments as lock_environments_action
from ansible_collections.mlops.lab.plugins.plugin_utils import environment_files

from tests.conftest import forms
from tests.projects import EXPERIMENT, PINS, wheel
from tests.unit.conftest import CA_BUNDLE, ROOT, serving_environments
from tests.unit.plays import Done, play
from tests.unit.test_training import Lab

NEEDS: list[str] = yaml.safe_load((ROOT / "roles" / "environments" / "defaults" / "main.yml").read_text())["environments_lab_requirements"]

# numpy 1 has no wheels for Python 3.13, which Debian 13's hosts run the tests with
PROJECTS = PINS if sys.version_info < (3, 13) else {**PINS, "anna": ["numpy==2.1.3", *PINS["anna"][1:]]}


def ask(folder: Path, **request: Any) -> list[dict[str, Any]]:
    """Ask the service; gives all its answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / ".service" / "socket"))
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile() as answers:
            return [json.loads(line) for line in answers]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the tests beside the public one: a folder of wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, pins in PROJECTS.items():
        wheel(folder, name, pins)
    return folder


@pytest.fixture(scope="module")
def uv_cache() -> str:
    """The cache that the tests share."""
    return os.environ.get("UV_CACHE_DIR") or subprocess.run(["uv", "cache", "dir"], text=True, capture_output=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def service(wheels: Path, uv_cache: str) -> Iterator[Path]:
    """The environments' service, with an index that has the wheels; gives its folder."""
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_FIND_LINKS=str(wheels), UV_CACHE_DIR=uv_cache) as folder:
        yield folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, service: Path) -> str:
    """A path on which `docker compose exec ... python <service> --ask` asks the service of this machine."""
    folder = tmp_path_factory.mktemp("bin")
    program = ROOT / "roles" / "environments" / "files" / "environments_server.py"
    (folder / "docker").write_text(f"#!/bin/sh\nLAB_ENVIRONMENTS_DIR={service} exec {sys.executable} {program} --ask\n")
    (folder / "docker").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The service's module, on a host whose image has Python 3.13 and 3.11."""
    spec = importlib.util.spec_from_file_location("environments_server", ROOT / "roles" / "environments" / "files" / "environments_server.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "pythons_here", lambda: ["3.13", "3.11"])
    return module


EVA = """
class Twice:
    def __init__(self, by): self.by = by
    def predict(self, x): return x * self.by

def double(x): return {'y': 2 * x}
def off(by): return (by - 2.0) ** 2
def train(y, by): return Twice(2)
def far(model): return {'far': float(abs(model.predict(21) - 42))}
"""
EVA_EXPERIMENT = """
environment: eva
steps: [{name: one, call: "lab_test_eva:double", with: {x: 21}}]
search:
  objective: {call: "lab_test_eva:off", with: {by: "{{ params.by }}"}}
  space: {by: {type: float, low: 1.0, high: 3.0}}
  direction: minimize
  trials: 2
  parallel: 1
train:
  call: "lab_test_eva:train"
  with: {y: "{{ steps.one.y }}", by: "{{ params.by }}"}
  evaluate: {call: "lab_test_eva:far", with: {model: "{{ model }}"}}
"""

Locks = Callable[..., Done]


@pytest.fixture(scope="module")
def lock_environments(engine: str) -> Locks:
    """The module of this name, run by Ansible; gives its result."""

    def lock(folder: Path, *options: str, **more: Any) -> Done:
        given = {"src": str(folder), "project_src": "/opt/x", "needs": NEEDS, **more}
        options_of = {name: value for name, value in given.items() if value is not None}
        with TemporaryDirectory() as own:
            return play(Path(own), [{"mlops.lab.lock_environments": options_of, "register": "result"}], *options, PATH=engine)

    return lock


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory, lock_environments: Locks) -> Path:
    """The folder of environments of a lab with three projects, locked."""
    folder = tmp_path_factory.mktemp("lab") / "environments"
    folder.mkdir()
    for name in PROJECTS:
        (folder / f"{name}.in").write_text(f"{name}==1.0\n")
    done = lock_environments(folder)
    assert sorted(done.result["locked"]) == sorted(PROJECTS), done.output
    return folder


@pytest.fixture
def lab(project_python: Path, mlflow_server: Any, tmp_path: Path) -> Lab:
    """A worker of that lab."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "optuna_url").write_text(f"sqlite:///{tmp_path}/optuna.db")
    for name in PROJECTS:
        (tmp_path / "experiments" / f"{name}.yml").write_text(EXPERIMENT.format(name=name))
    return Lab(project_python, mlflow_server, tmp_path)


@pytest.fixture
def settings(service: Path, locks: Path, tmp_path: Path) -> dict[str, str]:
    """What the worker's container is set up with."""
    return {"LAB_ENVIRONMENTS_DIR": str(service), "LAB_ENVIRONMENT_LOCKS": str(locks), "LAB_OPTUNA_STORAGE_FILE": str(tmp_path / "optuna_url")}


def experiment(lab: Lab, name: str, settings: dict[str, str], folder: Path | None = None) -> tuple[dict[str, Any], str]:
    """Run an experiment file as the DAG does; gives the answer of the last task that ran, and all that was printed."""
    mine = Lab(lab.python, lab.mlflow, folder or lab.folder)
    mine.folder.mkdir(exist_ok=True)
    asked = {"experiment": name, "experiments_dir": str(lab.folder / "experiments")}
    printed = ""
    answer: dict[str, Any] = {}
    for command in ("environment", "check"):
        code, answer, words = mine.do(command, asked, **settings)
        printed += words
        if code:
            return answer, printed
    request = {"checked": answer["result"], "runs_dir": str(mine.folder / "runs"), "run_id": f"{name}-1", "tags": {"airflow.run_id": f"{name}-1"}}
    _, answer, words = mine.chain(request, **settings)
    return answer, printed + words


@pytest.mark.deep  # tests/testinfra/test_three_projects.py has them on a lab, and in service
def test_three_projects_with_contradictory_pins_are_searched_trained_and_registered_side_by_side(lab: Lab, settings: dict[str, str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        done = dict(zip(PROJECTS, pool.map(lambda name: experiment(lab, name, settings, lab.folder / name), PROJECTS), strict=True))
    for name, (answer, printed) in done.items():
        result = answer.get("result")
        assert result and result["registered_model"] == name, (answer, printed)
        installed = {pin.partition("==")[0]: pin.partition("==")[2] for pin in PROJECTS[name]}
        for package, version in installed.items():
            assert f"'{package}': '{version or ''}" in printed, (name, package)
        assert "SECRETS []" in printed
        assert "+ numpy==" in printed, "the log of the task environment shows what is installed"
        tags = {tag["key"]: tag["value"] for tag in lab.mlflow.get("runs/get", run_id=result["mlflow_run_id"])["run"]["data"]["tags"]}
        assert tags["lab.environment"] == name and f"{name}==1.0" in tags["lab.packages"] and tags["lab.locked"] == "true"


def test_the_same_pins_are_the_same_environment_and_common_files_are_there_once() -> None:
    with TemporaryDirectory() as short, serving_environments(Path(short)) as folder:
        first = ask(folder, do="make", requirements="six==1.17.0\n")[-1]["made"]
        again = ask(folder, do="make", requirements="# a comment\nsix == 1.17.0\n")[-1]["made"]
        other = ask(folder, do="make", requirements="six==1.17.0\niniconfig==2.0.0\n")[-1]["made"]
        assert (again["key"], again["new"], other["new"]) == (first["key"], False, True)
        one, two = (next((folder / made["key"]).rglob("six.py")) for made in (first, other))
        assert one.samefile(two), "a hard link takes no disk"


class Counted(http.server.SimpleHTTPRequestHandler):
    """An index of one folder that keeps what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Keep the path."""
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Kept(Counted):
    """The same, whose pages may be kept."""

    asked: ClassVar[list[str]] = []

    def end_headers(self) -> None:
        """Say so."""
        if self.path.endswith("/"):
            self.send_header("Cache-Control", "max-age=600")
        super().end_headers()


class Guarded(Counted):
    """An index of one folder, for who has the password."""

    def do_GET(self) -> None:
        """Ask for the password first."""
        if self.headers.get("Authorization") != f"Basic {base64.b64encode(f'reader:{MARKER}'.encode()).decode()}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        super().do_GET()


MARKER = "canary7q-of-the-index"


def test_the_credential_of_the_index_is_in_no_environment_cache_lock_log_or_answer(tmp_path: Path) -> None:
    name, secret = "lab_test_guarded", tmp_path / "uv.toml"
    page = tmp_path / "index" / "simple" / "lab-test-guarded"
    page.mkdir(parents=True)
    made = wheel(page, name, [], "ONE = 1\n")
    (page / "index.html").write_text(f"<a href='{made.name}'>{made.name}</a>")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(tmp_path / "index"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        secret.write_text(f'[[index]]\nname = "lab"\nurl = "http://reader:{MARKER}@127.0.0.1:{server.server_address[1]}/simple/"\ndefault = true\n')
        with TemporaryDirectory() as short, serving_environments(Path(short), LAB_INDEX_CONFIG_FILE=str(secret)) as folder:
            answers = [
                *ask(folder, do="resolve", requirements=name),
                *ask(folder, do="make", requirements=f"{name}==1.0"),
                *ask(folder, do="make", requirements=f"{name}==9.0"),
                *ask(folder, do="make", requirements=f"{name} @ http://reader:{MARKER}@127.0.0.1/x.whl"),
            ]
            assert "resolved" in answers[0] and any("made" in answer for answer in answers) and "failure" in json.dumps(answers), answers
            assert not any(form in json.dumps(answers) for form in forms(MARKER)), answers
            assert any(form in secret.read_text() for form in forms(MARKER)), "the search finds what is there"
            held = [path for path in folder.rglob("*") if path.is_file() and any(form.encode() in path.read_bytes() for form in forms(MARKER))]
            assert held == []
        server.shutdown()


def test_what_another_environment_has_is_neither_asked_for_nor_compiled_again(tmp_path: Path) -> None:
    """Of a lock, which has hashes. What the cache has and the lock does not want is not taken."""
    lines = {}
    for name in ("lab_test_common", "lab_test_more"):
        page = tmp_path / "simple" / name.replace("_", "-")
        page.mkdir(parents=True)
        made = wheel(page, name, [], "ONE = 1\n")
        (page / "index.html").write_text(f"<a href='{made.name}'>{made.name}</a>")
        lines[name] = f"{name}==1.0 --hash=sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}\n"
    common, more = lines.values()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Counted, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_address[1]}/simple/"
        with TemporaryDirectory() as short, serving_environments(Path(short), UV_DEFAULT_INDEX=index, UV_CACHE_DIR=f"{short}/.uv") as folder:
            first = Path(ask(folder, do="make", requirements=common)[-1]["made"]["interpreter"]).parents[1]
            until = time.monotonic() + 60
            while not list(folder.glob(".uv/archive-v0/*/__pycache__/lab_test_common.*.pyc")) and time.monotonic() < until:
                time.sleep(0.1)
            Counted.asked.clear()
            second = Path(ask(folder, do="make", requirements=common + more)[-1]["made"]["interpreter"]).parents[1]
            assert Counted.asked and all("lab-test-more" in path or "lab_test_more" in path for path in Counted.asked)
            (one,), (two,) = (list(place.rglob("lab_test_common.*.pyc")) for place in (first, second))
            assert one.samefile(two)
            subprocess.run([second / "bin" / "python", "-c", "import lab_test_common, lab_test_more"], check=True)
            assert "failure" in ask(folder, do="make", requirements=re.sub("sha256:.*", f"sha256:{'0' * 64}", common) + more)[-1]
        server.shutdown()


def publish(folder: Path, name: str, version: str, *needs: str) -> None:
    """Write a wheel into an index that is a folder, and onto its page."""
    page = folder / "simple" / name.replace("_", "-")
    page.mkdir(parents=True, exist_ok=True)
    made = wheel(page, name, list(needs), "ONE = 1\n", version=version)
    with (page / "index.html").open("a", encoding="utf-8") as listed:
        listed.write(f"<a href='{made.name}'>{made.name}</a>")


def test_a_lock_asks_for_what_was_not_in_the_one_before_alone(tmp_path: Path) -> None:
    """Where the index lets an installer keep pages of public projects, as the lab's does. What was published meanwhile is found, on another host too."""
    publish(tmp_path, "lab_test_common", "1.0")
    publish(tmp_path, "lab_test_own", "1.0")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Kept, directory=str(tmp_path))) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_address[1]}/simple/"
        shorts = [stack.enter_context(TemporaryDirectory()) for _ in range(2)]
        one, other = (stack.enter_context(serving_environments(Path(short), UV_DEFAULT_INDEX=index, UV_CACHE_DIR=f"{short}/.uv")) for short in shorts)
        wanted = "lab_test_common\nlab_test_own==1.0\n"
        lock = ask(one, do="resolve", requirements=wanted)[-1]["resolved"]["lock"]
        assert "made" in ask(other, do="make", requirements=lock)[-1]

        publish(tmp_path, "lab_test_own", "2.0")
        Kept.asked.clear()
        lock = ask(one, do="resolve", requirements=wanted.replace("1.0", "2.0"), previous=lock)[-1]["resolved"]["lock"]
        assert "lab-test-own==2.0" in lock
        assert Kept.asked and all("lab-test-own" in path for path in Kept.asked), Kept.asked
        assert "made" in (answer := ask(other, do="make", requirements=lock)[-1]), answer

        publish(tmp_path, "lab_test_common", "2.0")
        publish(tmp_path, "lab_test_own", "3.0", "lab_test_common>=2.0")
        found = ask(one, do="resolve", requirements=wanted.replace("1.0", "3.0"), previous=lock)[-1]
        assert "lab-test-common==2.0" in found.get("resolved", {}).get("lock", ""), found
        server.shutdown()


def test_nothing_of_a_package_runs_where_the_credential_of_the_index_is(tmp_path: Path) -> None:
    """Not even the lines of its .pth file, which any start of its environment runs; the compiling of what was installed starts it."""
    made, ran = wheel(tmp_path, "lab_test_pth", [], "ONE = 1\n"), tmp_path / "ran"
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("lab_test_pth.pth", f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_FIND_LINKS=str(tmp_path), UV_OFFLINE="1") as folder:
        place = Path(ask(folder, do="make", requirements="lab_test_pth==1.0")[-1]["made"]["interpreter"])
        until = time.monotonic() + 60
        while not list(place.parents[1].rglob("lab_test_pth.*.pyc")) and time.monotonic() < until:
            time.sleep(0.1)
        assert list(place.parents[1].rglob("lab_test_pth.*.pyc")), "it is compiled"
        assert not ran.exists()
        subprocess.run([place, "-c", ""], check=True)
        assert ran.exists(), "the file would have told"


def test_two_who_want_the_same_environment_wait_for_one_installation(service: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(service, do="make", requirements="numpy==2.2.1\n")[-1]["made"], range(2)))
    assert sorted(answer["new"] for answer in answers) == [False, True]
    assert answers[0]["key"] == answers[1]["key"]


def test_what_a_kill_left_half_made_is_made_anew(uv_cache: str) -> None:
    with TemporaryDirectory() as short:
        with serving_environments(Path(short), UV_CACHE_DIR=uv_cache) as folder, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / ".service" / "socket"))
            client.sendall(json.dumps({"do": "make", "requirements": "scipy==1.14.1\nnumpy==2.2.1\n"}).encode() + b"\n")
            with client.makefile() as answers:
                assert "making" in json.loads(next(answers))["say"]
        assert not list(folder.glob("*/complete"))  # the service was killed in the middle
        (folder / ("0" * 24) / "bin").mkdir(parents=True)  # so was one of those that nobody asks for again
        with serving_environments(folder, UV_CACHE_DIR=uv_cache):
            assert not list(folder.glob("*/bin"))
            made = ask(folder, do="make", requirements="scipy==1.14.1\nnumpy==2.2.1\n")[-1]["made"]
            assert made["new"]
            subprocess.run([made["interpreter"], "-c", "import scipy.linalg"], check=True)


def test_a_wheel_that_cannot_be_installed_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """One that is broken, one whose content is another than the lock says, and one for another Python; a right one is made afterwards."""
    good, broken, old = (wheel(tmp_path, name, [], "ONE = 1\n") for name in ("lab_test_good", "lab_test_broken", "lab_test_old"))
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    old.rename(tmp_path / "lab_test_old-1.0-cp27-none-any.whl")
    wrong = f"lab_test_good==1.0 --hash=sha256:{'0' * 64}"
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_FIND_LINKS=str(tmp_path), UV_OFFLINE="1") as folder:
        for asked, words in (("lab_test_broken==1.0", "broken"), (wrong, "Hash mismatch"), ("lab_test_old==1.0", "no wheels with a matching Python")):
            failure = str(ask(folder, do="make", requirements=asked)[-1]["failure"])
            assert words in failure and "Traceback" not in failure, failure
            assert not list(folder.glob("*/complete")) and not list(folder.glob("*/bin")), "half made"
        right = f"lab_test_good==1.0 --hash=sha256:{hashlib.sha256(good.read_bytes()).hexdigest()}"
        assert ask(folder, do="make", requirements=right)[-1]["made"]["new"]


def test_a_package_without_a_wheel_is_named_with_how_to_get_one(tmp_path: Path) -> None:
    """As antlr4-python3-runtime, on which hydra and omegaconf depend."""
    with tarfile.open(tmp_path / "lab_test_source-1.0.tar.gz", "w:gz") as archive:
        said = b"Metadata-Version: 2.1\nName: lab-test-source\nVersion: 1.0\n"
        about = tarfile.TarInfo("lab_test_source-1.0/PKG-INFO")
        about.size = len(said)
        archive.addfile(about, io.BytesIO(said))
    wheel(tmp_path, "lab_test_needs", ["lab-test-source>=1,<2"])
    words = "; lab-test-source has no wheel, and nothing is built here: `pip wheel --no-deps lab-test-source==1.0` makes one elsewhere, and "
    words += "the verb publish brings that wheel into the index"
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_FIND_LINKS=str(tmp_path), UV_OFFLINE="1") as folder:
        for request in ({"do": "make", "requirements": "lab_test_source==1.0"}, {"do": "resolve", "requirements": "lab_test_needs"}):
            failure = str(ask(folder, **request)[-1]["failure"])
            assert failure.endswith(words) and failure.count(words) == 1, failure
        (tmp_path / "lab_test_source-1.1.tar.gz").write_bytes((tmp_path / "lab_test_source-1.0.tar.gz").read_bytes())
        several = str(ask(folder, do="resolve", requirements="lab_test_needs")[-1]["failure"])
        assert re.search(r"`pip wheel --no-deps 'lab-test-source>=1\S*<=1\.1'`|`pip wheel --no-deps lab-test-source`", several), several
        wheel(tmp_path, "lab_test_source", [])
        assert "lab-test-source==1.0" in ask(folder, do="resolve", requirements="lab_test_needs")[-1]["resolved"]["lock"]


def test_what_is_there_needs_no_index(uv_cache: str) -> None:
    with TemporaryDirectory() as short:
        with serving_environments(Path(short), UV_CACHE_DIR=uv_cache) as folder:
            assert ask(folder, do="make", requirements="six==1.17.0\n")[-1]["made"]["new"]
        with serving_environments(folder, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple/", UV_CACHE_DIR=f"{short}/empty"):
            assert not ask(folder, do="make", requirements="six==1.17.0\n")[-1]["made"]["new"]
            assert "failure" in ask(folder, do="make", requirements="six==1.16.0\n")[-1]


@pytest.mark.parametrize("line", ["-r /etc/passwd", "--index-url http://x/", "x @ file:///run/secrets/uv.toml", "./x.whl", "-e .", "x==1 --find-links /"])
def test_only_packages_of_the_index_can_be_asked_for(service: Path, line: str) -> None:
    for request in ("make", "resolve"):
        assert "allowed: packages of the index, as name==version" in ask(service, do=request, requirements=line)[-1]["mistake"]


def test_a_python_that_is_not_there_is_a_sentence(service: Path) -> None:
    assert ask(service, do="make", requirements="six==1.17.0", python="3.4")[-1]["mistake"].startswith("Python 3.4 is not on this host, which has Python 3.")


@pytest.mark.parametrize(
    ("request_", "works", "python", "instead", "without"),
    [
        ({}, [("3.13", True), ("3.11", True)], "3.13", "", ""),
        ({}, [("3.11", True), ("3.13", False)], "3.11", "3.13 with needs", ""),
        ({}, [("3.13", False), ("3.11", False)], "3.13", "", "3.13 with needs"),
        ({}, [("3.11", False)], "3.11", "3.13 without", "3.13 with needs"),
        ({"needs": ""}, [("3.11", False)], "3.11", "3.13 without", ""),
        ({"python": "3.11"}, [("3.13", True), ("3.11", False)], "3.11", "", "3.11 with needs"),
        ({"requires_python": "<3.12"}, [("3.13", True), ("3.11", True)], "3.11", "", ""),
    ],
)
def test_an_environment_has_the_first_python_that_all_of_it_goes_with(
    request_: dict[str, str], works: list[tuple[str, bool]], python: str, instead: str, without: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(python: str, lines: list[str], previous: str) -> str:
        if (python, "six" in lines) not in works:
            raise server.Failure(f"{python} {'with needs' if 'six' in lines else 'without'}")
        return "lock"

    monkeypatch.setattr(server, "locked", locked)
    answer = server.resolve({"requirements": "numpy", "needs": "six", **request_}, print)["resolved"]
    assert answer == {"lock": "lock", "python": python, "instead": instead, "without": without}


def test_an_index_that_fails_for_a_moment_says_nothing_of_the_pins(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lock that was made without the lab's needs for such a reason would stay."""
    (tmp_path / "uv").write_text(
        "#!/bin/sh\n[ -e $0.once ] && { touch lock.txt; exit; }\ntouch $0.once\n"
        "echo 'error: Failed to fetch: `https://index.example.com/simple/six/`' >&2\n"
        "echo '  Caused by: HTTP status server error (503 Service Unavailable)' >&2\nexit 2\n"
    )
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(server.Unreached, match="503 Service Unavailable"):
        server.resolve({"requirements": "numpy", "needs": "six", "python": "3.13"}, print)


def test_where_no_python_will_do_the_reason_is_the_one_of_the_lab_s_own(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(python: str, lines: list[str], previous: str) -> str:
        raise server.Failure(f"{python} {len(lines)}")

    monkeypatch.setattr(server, "locked", locked)
    with pytest.raises(server.Failure, match=r"^3\.13 1$"):
        server.resolve({"requirements": "numpy", "needs": "six"}, print)
    for wanted, words in [
        ("<3", "requires-python is <3, and the lab has Python 3.13 and 3.11"),
        ("x", "requires-python has 'x'; allowed: versions, as in >=3.11"),
    ]:
        with pytest.raises(server.Mistake, match=re.escape(words)):
            server.resolve({"requirements": "numpy", "requires_python": wanted}, print)


def test_an_older_mlflow_is_not_mixed_with_the_labs_client(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases up to 2.15 do not depend on the client, so an installer takes both, the one over the other."""

    def locked(python: str, lines: list[str], previous: str) -> str:
        return "".join(f"{line} \\\n    --hash=sha256:1\n" for line in lines)

    monkeypatch.setattr(server, "locked", locked)
    said = "mlflow 2.14.3 and mlflow-skinny 3.4.0 write the same files"
    answer = server.resolve({"requirements": "mlflow==2.14.3", "needs": "mlflow-skinny==3.4.0"}, print)["resolved"]
    assert said in answer["without"] and "mlflow-skinny" not in answer["lock"] and answer["python"] == "3.13"
    assert not server.resolve({"requirements": "mlflow==3.4.0", "needs": "mlflow-skinny==3.4.0"}, print)["resolved"]["without"]
    with pytest.raises(server.Mistake, match=said):
        server.resolve({"requirements": "mlflow==2.14.3\nmlflow-skinny==3.4.0", "needs": "mlflow-skinny==3.4.0"}, print)


def test_requires_python_of_a_project_counts(lock_environments: Locks, tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('[project]\nname = "old"\nrequires-python = "<3.9"\ndependencies = ["six"]\n')
    (tmp_path / "new.toml").write_text('[project]\nname = "new"\nrequires-python = ">=3.9"\ndependencies = ["six"]\n')
    done = lock_environments(tmp_path, needs=[])
    assert done.result["locked"] == ["new"] and "requires-python is <3.9, and the lab has Python 3." in str(done.result["warnings"]), done.output
    assert f"# python: 3.{sys.version_info.minor}\n" in (tmp_path / "new.lock").read_text()


def test_a_pyproject_that_cannot_be_read_is_a_sentence(lock_environments: Locks, tmp_path: Path) -> None:
    for name, text in [("torn", "[project\n"), ("odd", "project = 3\n")]:
        project(tmp_path / name, f"lab-test-{name}", [], [])
        (tmp_path / name / "pyproject.toml").write_text(text)
    warnings = lock_environments(tmp_path, needs=[]).result["warnings"]
    assert [words for words in warnings if "cannot be resolved: " in words] == warnings and len(warnings) == 2, warnings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.poetry]\nname = 'odd'\n[tool.poetry.dependencies]\nsix = '^1.16'\n", " (those of Poetry are not read)"),
        ("[project]\nname = 'odd'\ndynamic = ['dependencies']\n", " (it is dynamic, which only a build of the project finds out)"),
        ("project = 3\n", ", for it has no section [project]"),
        ("tool = 3\n", ", for it has no section [project]"),
    ],
)
def test_dependencies_that_only_a_build_knows_are_a_sentence_of_that_environment(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(text)
    with pytest.raises(environment_files.Unfit) as refused:
        environment_files.entries_of("odd", [file])
    advice = "write one, or publish the project, and write <name>==<version> into odd.in instead."
    assert refused.value.sentences == [f"{file} has no list project.dependencies{words}; {advice}"]
    file.write_text("[project]\nname = 'odd'\ndynamic = ['version']\n[tool.poetry]\n")
    assert environment_files.entries_of("odd", [file]) == []


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("[build-system]\n[project]\nname = 'My.Churn'\nversion = '0.1.0'\ndependencies = ['six']\n", ["six", "My.Churn==0.1.0"]),
        ("[build-system]\n[project]\nname = 'churn'\nversion = '0.1.0'\n", ["churn==0.1.0"]),
        ("[project]\nname = 'churn'\nversion = '0.1.0'\ndependencies = ['six']\n", ["six"]),
        ("[build-system]\n[project]\nname = 'churn'\nversion = '0.1.0'\n[tool.uv]\npackage = false\n", []),
        ("[project]\nname = 'churn'\nversion = '0.1.0'\n[tool.uv]\npackage = true\n", ["churn==0.1.0"]),
        ("tool = 3\n[build-system]\n[project]\ndependencies = ['six']\n", ["six"]),
    ],
)
def test_a_pyproject_that_was_copied_is_an_environment_of_the_project_itself(tmp_path: Path, text: str, asked: list[str]) -> None:
    file = tmp_path / "churn.toml"
    file.write_text(text)
    assert [str(entry.requirement) for entry in environment_files.entries_of("churn", [file])] == asked


def test_a_pyproject_whose_project_has_a_dynamic_version_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[build-system]\n[project]\nname = 'churn'\ndynamic = ['version']\n")
    with pytest.raises(environment_files.Unfit) as refused:
        environment_files.entries_of("mine", [file])
    how = "write project.version into it, or publish the project, and write churn==<version> into mine.in instead"
    assert refused.value.sentences == [f"{file} does not say which version of churn itself belongs there; {how}."]


def test_unused_environments_are_removed_by_age_and_by_size(uv_cache: str) -> None:
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_CACHE_DIR=uv_cache, LAB_ENVIRONMENTS_DAYS="10", LAB_ENVIRONMENTS_GB="0") as folder:
        old, idle, used = (folder / ask(folder, do="make", requirements=f"six==1.{minor}.0")[-1]["made"]["key"] for minor in (15, 16, 17))
        now = time.time()
        os.utime(old, (now, now - 11 * 86400))
        os.utime(idle, (now, now - 3 * 86400))
        ask(folder, do="make", requirements="iniconfig==2.0.0")
        until = time.monotonic() + 60
        while (old.exists() or idle.exists()) and time.monotonic() < until:
            time.sleep(0.05)
        assert (old.exists(), idle.exists(), used.exists()) == (False, False, True)


@pytest.mark.parametrize(
    ("lock", "more"),
    [
        ("mlflow-skinny==2.20.4 \\\n", ["flask<4"]),
        ("flask==3.1.0 \\\nmlflow-skinny==2.19.0 \\\n", []),
        ("mlflow==2.20.4 \\\nmlflow-skinny==2.20.4 \\\n", []),
        ("mlflow-skinny==2.21.0 \\\n", []),
        ("mlflow-skinny==3.4.0 \\\n", []),
        ("six==1.17.0 \\\n", []),
    ],
)
def test_a_lock_has_what_its_client_needs_to_serve(server: Any, lock: str, more: list[str]) -> None:
    """A lab whose environments are in the image serves its models from there, without an index."""
    assert server.to_serve(lock) == more
    demands = (ROOT / "roles/model_server/files/model_server/demands.py").read_text(encoding="utf-8")
    assert f"WITHOUT_FLASK, WITH_PANDAS_3 = {server.WITHOUT_FLASK}, " in demands, "who makes the lock and who serves mean the same release"


def test_they_are_removed_once_a_day_and_never_while_a_task_may_use_them(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "FOLDER", tmp_path)
    monkeypatch.setattr(server, "uv", lambda *_: None)  # which prunes its cache
    monkeypatch.setenv("LAB_ENVIRONMENTS_DAYS", "0.5")
    now = time.time()
    for name, days in (("old", 3), ("used", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "complete").touch()
        os.utime(tmp_path / name, (now - days * 86400,) * 2)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        assert len(waited) or (tmp_path / "old").exists(), "nobody could ask for it yet"
        waited.append(seconds)
        if len(waited) == 3:
            raise InterruptedError

    monkeypatch.setattr(server, "time", SimpleNamespace(sleep=sleep, time=time.time))
    with pytest.raises(InterruptedError):
        server.daily()
    assert waited == [86400] * 3 and [path.name for path in tmp_path.iterdir() if path.name in ("old", "used")] == ["used"]


def test_removing_goes_on_the_next_day_whatever_happens_to_it(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def remove_unused(seconds: float, most: float) -> None:
        raise FileNotFoundError("somebody else removed it")

    monkeypatch.setattr(server, "remove_unused", remove_unused)
    server.tidy()
    assert not server.TIDYING.locked() and "(somebody else removed it); it is tried again within a day" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["# python: 3.11", "#python:3.11", "# Python packages of the team", "# python-dateutil is old", "# python 3.11 lacks six"])
def test_a_comment_that_names_the_python_or_is_about_something_else(line: str) -> None:
    found = lock_environments_action.python_of({"churn.in": f"six\n{line}\n", "uv.lock": "# python: x\n"})
    assert found == {"python": "3.11" if ":" in line else "", "requires_python": ""}


@pytest.mark.parametrize(
    "line", ["# python: 3.11.9", "# Python: 3.11", "# python 3.11", "# python: >=3.11", "# python: 3.11  # why", "# python==3.11", "# PYTHON = 3"]
)
def test_a_comment_that_names_the_python_otherwise_is_refused(line: str) -> None:
    with pytest.raises(environment_files.Unfit) as raised:
        lock_environments_action.python_of({"churn.in": f"six\n{line}\n"})
    assert raised.value.sentences == [f"churn.in, line 2, has {line!r}, which names no Python: write it as in `# python: 3.11`, or take the line out."]


def test_an_environment_whose_python_went_with_an_image_is_made_again(uv_cache: str) -> None:
    with TemporaryDirectory() as short, serving_environments(Path(short), UV_CACHE_DIR=uv_cache) as folder:
        made = ask(folder, do="make", requirements="six==1.17.0")[-1]["made"]
        assert made["new"] and not ask(folder, do="make", requirements="six==1.17.0")[-1]["made"]["new"]
        python = Path(made["interpreter"])
        python.unlink()
        python.symlink_to("/nowhere/python")
        assert ask(folder, do="make", requirements="six==1.17.0")[-1]["made"]["new"]
        assert subprocess.run([python, "-c", "import six"], check=False).returncode == 0


def test_files_in_the_cache_that_no_environment_shares_go_where_room_is_wanted(server: Any, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    for name, age in (("shared", 7200), ("alone", 7200), ("new", 60)):
        archive = tmp_path / "archive-v0" / name
        archive.mkdir(parents=True)
        (archive / f"{name}.py").write_text("")
        if name == "shared":
            (tmp_path / "used" / "shared.py").hardlink_to(archive / "shared.py")
        os.utime(archive, (time.time() - age,) * 2)
    server.remove_unshared(tmp_path / "archive-v0")
    assert sorted(path.name for path in (tmp_path / "archive-v0").iterdir()) == ["new", "shared"]


def test_one_project_removed_leaves_the_others_untouched(locks: Path, lock_environments: Locks, tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    folder.mkdir()
    for path in locks.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = {name: (folder / f"{name}.lock").read_bytes() for name in PROJECTS}
    assert lock_environments(folder).result["changed"] is False
    (folder / "ben.in").unlink()
    assert lock_environments(folder, "--check").result["removed"] == ["ben"] and (folder / "ben.lock").exists()
    assert lock_environments(folder).result["removed"] == ["ben"]
    assert sorted(path.name for path in folder.glob("*.lock")) == ["anna.lock", "carla.lock"]
    assert all((folder / f"{name}.lock").read_bytes() == before[name] for name in ("anna", "carla"))


def test_what_cannot_be_resolved_is_a_sentence_and_stops_nobody_else(lock_environments: Locks, tmp_path: Path) -> None:
    (tmp_path / "good.in").write_text("six==1.17.0\n")
    (tmp_path / "bad.in").write_text("six==1.17.0\nsix==1.16.0\n")
    (tmp_path / "worse.txt").write_text("--extra-index-url http://x/\n")
    (tmp_path / "project.in").write_text("six\n")
    done = lock_environments(tmp_path, needs=[])
    assert done.returncode == 0 and done.result["locked"] == ["good"], done.output
    words = " ".join(done.result["warnings"])
    for part in (
        "environment bad is left as it was",
        "bad.in cannot be resolved: Because you require six==1.16.0 and six==1.17.0",
        "worse.txt:1 (environment worse) has the option",
    ):
        assert part in words, words
    assert "project.in cannot be called so" in words
    done = lock_environments(tmp_path, needs=[], must=["bad", "nowhere"])
    assert done.returncode and "bad.in cannot be resolved" in done.output and "environment nowhere is not in" in done.output
    (tmp_path / "gone.lock").write_text((tmp_path / "good.lock").read_text())
    (tmp_path / "good.in").write_text("six==1.16.0\n")
    done = lock_environments(tmp_path, needs=[], must=["good"])
    assert (done.result["locked"], done.result["removed"], done.result.get("warnings")) == (["good"], [], None), "others are nobody's business here"


def test_pins_that_forbid_what_the_lab_needs_are_named_and_such_a_package_still_runs(
    lab: Lab, settings: dict[str, str], lock_environments: Locks, wheels: Path
) -> None:
    folder = lab.folder / "environments"
    folder.mkdir()
    wheel(wheels, "lab_test_eva", ["protobuf==3.6.1"], EVA)
    (folder / "eva.in").write_text("lab-test-eva\n")
    done = lock_environments(folder)
    words = "environment eva: what the lab needs does not go with its pins, so that its models are files that nobody can register or deploy"
    assert words in " ".join(done.result["warnings"]), done.result
    head = (folder / "eva.lock").read_text()
    assert "# without: " in head and "mlflow" not in head.partition("protobuf==")[2]
    own = {**settings, "LAB_ENVIRONMENT_LOCKS": str(folder)}
    (lab.folder / "experiments" / "eva.yml").write_text(EVA_EXPERIMENT)
    answer, printed = experiment(lab, "eva", own)
    result = answer.get("result")
    assert result and (result["metrics"], result["deploy"]) == ({"far": 0.0}, None), (answer, printed)
    run = lab.mlflow.get("runs/get", run_id=result["mlflow_run_id"])["run"]
    assert run["info"]["status"] == "FINISHED" and {metric["key"] for metric in run["data"]["metrics"]} >= {"far"}
    assert result["model_uri"] == f"runs:/{result['mlflow_run_id']}/model"
    files = lab.mlflow.get(f"artifacts/list?path=model&run_id={result['mlflow_run_id']}")["files"]
    assert [file["path"] for file in files] == ["model/model.pkl"] and "kept as a file of the run" in printed
    (lab.folder / "experiments" / "eva.yml").write_text(EVA_EXPERIMENT + "register: {name: eva}\n")
    answer, printed = experiment(lab, "eva", own)
    words = (
        "has no module 'mlflow', which writes a model that can be registered or deployed: the lab's own needs do not go with the pins of the environment eva ("
    )
    assert words in answer["mistakes"][0], (answer, printed)


def test_a_lock_that_is_not_there_or_stale_is_a_sentence(lab: Lab, settings: dict[str, str], locks: Path) -> None:
    for source in locks.glob("anna.*"):
        (lab.folder / source.name).write_bytes(source.read_bytes())
    own = {**settings, "LAB_ENVIRONMENT_LOCKS": str(lab.folder)}
    answer, _ = experiment(lab, "ben", own)
    assert answer["mistakes"] == [
        "environment has 'ben', of which there is no lock here; allowed: project, anna. The verbs run and start lock environments/ben.in and bring it."
    ]
    (lab.folder / "anna.in").write_text("anna==2.0\n")
    answer, _ = experiment(lab, "anna", own)
    assert answer["mistakes"] == ["environment has 'anna', whose anna.in changed since anna.lock was made of it; the verbs run and start lock it anew."]


def project(folder: Path, name: str, dependencies: list[str], packages: list[tuple[str, str, str, str]], python: str = ">=3.11", packaged: bool = True) -> Path:
    """Write ``pyproject.toml`` and ``uv.lock`` of a project as `uv lock` does: packages are name, version, source and hash of the wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    build = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n' if packaged else ""
    head = f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = "{python}"\n'
    (folder / "pyproject.toml").write_text(f"{head}dependencies = {json.dumps(dependencies)}\n{build}")
    needs = "".join(f'    {{ name = "{package}" }},\n' for package, *_ in packages)
    lock = f'version = 1\nrevision = 3\nrequires-python = "{python}"\n\n[[package]]\nname = "{name}"\nversion = "1.0"\n'
    lock += f'source = {{ {"editable" if packaged else "virtual"} = "." }}\ndependencies = [\n{needs}]\n'
    for package, version, source, digest in packages:
        lock += f'\n[[package]]\nname = "{package}"\nversion = "{version}"\nsource = {source}\n'
        if digest:
            lock += f'wheels = [{{ url = "http://index.example.com/{package.replace("-", "_")}-{version}-py3-none-any.whl", hash = "sha256:{digest}" }}]\n'
    (folder / "uv.lock").write_text(lock)
    return folder


SOMEWHERE = '{ registry = "http://index.example.com/simple" }'


def sha256(path: Path) -> str:
    """What `sha256sum` says of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_project_with_its_uv_lock_is_an_environment_of_its_versions_and_of_itself(
    lock_environments: Locks, service: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = wheel(wheels, "lab_test_part", [], "WHICH = 'old'\n")
    wheel(wheels, "lab_test_part", [], "WHICH = 'new'\n", version="2.0")
    wheel(wheels, "lab_test_whole", ["lab-test-part"], "import lab_test_part\n")
    pins = [("lab-test-part", "1.0", SOMEWHERE, sha256(old))]
    folder = project(tmp_path / "whole", "lab-test-whole", ["lab-test-part"], pins)
    done = lock_environments(tmp_path, needs=["six==1.17.0"])
    assert done.result["locked"] == ["whole"], done.output
    text = (tmp_path / "whole.lock").read_text()
    assert text.startswith("# Resolved by mlops.lab from whole/uv.lock;")
    assert f"lab-test-part==1.0 \\\n    --hash=sha256:{sha256(old)}\n" in text and "lab-test-whole==1.0" in text and "six==1.17.0" in text
    assert lock_environments(tmp_path, needs=["six==1.17.0"]).result["changed"] is False
    monkeypatch.setenv("LAB_ENVIRONMENT_LOCKS", str(tmp_path))
    monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(service))
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import lab_environments
    from lab_experiment.failures import Mistakes

    interpreter = lab_environments.provide("whole").interpreter
    assert subprocess.run([interpreter, "-c", "import lab_test_whole, lab_test_part as it; print(it.WHICH)"], capture_output=True, text=True).stdout == "old\n"
    (folder / "uv.lock").write_text((folder / "uv.lock").read_text() + "\n")
    with pytest.raises(Mistakes, match=r"environment has 'whole', whose whole/uv\.lock changed since whole\.lock was made of it"):
        lab_environments.provide("whole")


@pytest.mark.parametrize(
    ("source", "digest", "python", "words"),
    [
        ('{ editable = "../own" }', "", ">=3.11", "lab-test-own comes from ../own; publish it to the lab's index as a wheel"),
        ('{ directory = "libs/own" }', "", ">=3.11", "lab-test-own comes from ./libs/own; publish"),
        ('{ path = "lab_test_own-1.0-py3-none-any.whl" }', "", ">=3.11", "lab-test-own comes from ./lab_test_own-1.0-py3-none-any.whl; publish"),
        ('{ git = "https://git.example.com/own?rev=v1#0123456789012345678901234567890123456789" }', "", ">=3.11", "lab-test-own comes from git+https://git"),
        (
            '{ url = "https://me:hush@files.example.com/lab_test_own-1.0-py3-none-any.whl" }',
            "0" * 64,
            ">=3.11",
            "lab-test-own comes from https://files.example.com/lab_test_own-1.0-py3-none-any.whl;",
        ),
        (SOMEWHERE, "0" * 64, ">=3.11", "the lab's index has another lab-test-own 1.0 than the one that is locked"),
        (SOMEWHERE, "0" * 64, ">=3.8,<3.9", "requires-python is >=3.8,<3.9, and the lab has Python 3."),
    ],
)
def test_what_a_uv_lock_takes_from_elsewhere_is_named_with_its_file(
    lock_environments: Locks, wheels: Path, tmp_path: Path, source: str, digest: str, python: str, words: str
) -> None:
    wheel(wheels, "lab_test_own", [])
    folder = project(tmp_path / "mine", "lab-test-mine", ["lab-test-own"], [("lab-test-own", "1.0", source, digest)], python, packaged=False)
    if "path" in source:
        wheels_of = f'wheels = [{{ filename = "lab_test_own-1.0-py3-none-any.whl", hash = "sha256:{"0" * 64}" }}]\n'
        (folder / "uv.lock").write_text((folder / "uv.lock").read_text() + wheels_of)
    done = lock_environments(tmp_path, needs=[], must=["mine"])
    said = " ".join(done.output.split())
    assert done.returncode and f"mine/uv.lock cannot be resolved: {words}" in said and "hush" not in said, done.output


def test_a_project_whose_lock_does_not_say_its_version_is_told_so(lock_environments: Locks, tmp_path: Path) -> None:
    folder = project(tmp_path / "mine", "lab-test-mine", [], [])
    for file in ("pyproject.toml", "uv.lock"):
        (folder / file).write_text((folder / file).read_text().replace('version = "1.0"\n', 'dynamic = ["version"]\n' if file == "pyproject.toml" else ""))
    done = lock_environments(tmp_path, needs=[], must=["mine"])
    assert "it has no version of lab-test-mine itself; write project.version into pyproject.toml instead of a dynamic one" in " ".join(done.output.split())


def test_files_that_are_no_environment_are_named_and_nothing_of_theirs_is_removed(lock_environments: Locks, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "pyproject.toml").write_text("[project]\nname = 'half'\n")
    (tmp_path / "churn-0.1.0-py3-none-any.whl").write_bytes(b"")
    words = " ".join(lock_environments(tmp_path, needs=[]).result["warnings"])
    assert "uv.lock was not written by the lab" in words and (tmp_path / "uv.lock").exists(), words
    assert "half has no uv.lock; `uv lock` in the project writes it." in words
    assert "churn-0.1.0-py3-none-any.whl is a wheel; publish it to the lab's index, write churn==0.1.0 into churn.in beside it, and remove it here." in words


def test_an_environment_in_the_image_is_used_without_asking_the_service(
    lock_environments: Locks, service: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(wheels, "lab_test_baked", [], "ANSWER = 42\n")
    (tmp_path / "baked.in").write_text("lab-test-baked\n")
    lock_environments(tmp_path, needs=[])
    program = ROOT / "roles" / "environments" / "files" / "environments_server.py"
    image = tmp_path / "opt"
    image.mkdir()
    trusted = {"SSL_CERT_FILE": str(CA_BUNDLE)} if CA_BUNDLE.is_file() else {}
    settings = {**trusted, **os.environ, "LAB_ENVIRONMENTS_DIR": str(image), "UV_NO_CACHE": "1", "UV_FIND_LINKS": str(wheels)}

    def build(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(program), "--in-image", name, str(tmp_path / f"{name}.lock")]
        return subprocess.run(command, env=settings, text=True, capture_output=True)

    assert build("baked").returncode == 0
    key = ask(service, do="make", requirements=(tmp_path / "baked.lock").read_text())[-1]["made"]["key"]
    assert sorted(path.name for path in image.iterdir()) == sorted([key, "baked", "baked.lock"]), "the key is that of the service, and no cache is left"

    monkeypatch.setenv("LAB_ENVIRONMENT_LOCKS", str(tmp_path))
    monkeypatch.setenv("LAB_ENVIRONMENTS_IN_IMAGE", str(image))
    monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(tmp_path / "no service is here"))
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import lab_environments
    from lab_experiment.failures import Failure, Mistakes

    made = lab_environments.provide("baked")
    assert (made.key, made.interpreter) == (key, str(image / key / "bin" / "python"))
    subprocess.run([made.interpreter, "-c", "import lab_test_baked; assert lab_test_baked.ANSWER == 42"], check=True)
    (tmp_path / "other.lock").write_text("lab-test-baked==9.0\n")
    with pytest.raises(Failure, match="service of this host does not answer"):
        lab_environments.provide("other")
    (tmp_path / "baked.lock").write_text((tmp_path / "baked.lock").read_text() + "# locked again\n")
    with pytest.raises(Mistakes, match=r"whose baked\.lock changed since the image was built; the verbs build and start bring the new one"):
        lab_environments.provide("baked")
    failed = build("other")
    assert failed.returncode == 1 and failed.stdout.splitlines()[-1].startswith("the environment other cannot be made: ")


def test_a_model_that_was_logged_in_an_environment_of_the_image_is_scored_there_with_neither_index_nor_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, version in (("lab_test_baked", "1.0"), ("mlflow_skinny", "3.16.0"), ("pandas", "3.0.1")):
        wheel(tmp_path, name, [], "ANSWER = 42\n", version)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "baked.lock").write_text(f"# python: {python}\nlab-test-baked==1.0\nmlflow-skinny==3.16.0\npandas==3.0.1\n")
    (tmp_path / "image").mkdir()
    program = ROOT / "roles" / "environments" / "files" / "environments_server.py"
    (tmp_path / "uv.toml").write_text(f"no-index = true\nfind-links = [{json.dumps(str(tmp_path))}]\n")
    off = {**os.environ, "LAB_ENVIRONMENTS_DIR": str(tmp_path / "image"), "UV_NO_CACHE": "1", "UV_CONFIG_FILE": str(tmp_path / "uv.toml")}
    subprocess.run([sys.executable, str(program), "--in-image", "baked", str(tmp_path / "baked.lock")], env=off, check=True)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("mlflow_version: 3.16.0\n")
    (model / "python_env.yaml").write_text(f"python: {python}.1\n")
    (model / "requirements.txt").write_text("lab-test-baked==1.0\nmlflow-skinny==3.16.0\npandas==3.0.1\n")
    monkeypatch.setenv("LAB_ENVIRONMENTS_IN_IMAGE", str(tmp_path / "image"))
    monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(tmp_path / "no service is here"))
    from lab_deployment import environments
    from lab_experiment.failures import Failure

    interpreter = environments.of_model(model)
    subprocess.run([interpreter, "-c", "import lab_test_baked; assert lab_test_baked.ANSWER == 42"], check=True)
    assert f"Python {python}, in the image" in capsys.readouterr().out
    with pytest.raises(Failure, match="service of this host does not answer"):
        environments.of_model(model, also=["pyarrow"])


@pytest.mark.parametrize(
    ("python", "requirements", "here"),
    [
        ("", "packaging=={packaging}\nmlflow=={mlflow}\n", True),
        ("", "packaging==1.0\nmlflow=={mlflow}\n", False),
        ("", "packaging=={packaging}\nmlflow=={mlflow}\nno-such-booster==1.2\n", False),
        ("", "packaging>=1\nmlflow=={mlflow}\n", False),
        ("3.4", "packaging=={packaging}\nmlflow=={mlflow}\n", False),
        ("unclear", "", True),
    ],
)
def test_a_model_predicts_in_the_project_s_environment_where_that_has_the_very_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, requirements: str, here: bool
) -> None:
    """Any other one, such as of a booster that only its experiment's environment has, predicts in one of its own."""
    import lab_environments
    from lab_deployment import environments

    installed = {"packaging": metadata.version("packaging"), "mlflow": "3.17.2"}
    monkeypatch.setattr(environments, "distributions", lambda: [SimpleNamespace(name=name, version=version) for name, version in installed.items()])
    monkeypatch.setattr(lab_environments, "made", lambda *_: ("k1", "/opt/environments/k1/bin/python"))
    monkeypatch.setenv("LAB_ENVIRONMENTS_IN_IMAGE", str(tmp_path / "nothing"))
    (tmp_path / "MLmodel").write_text("mlflow_version: 3.17.2\n")
    (tmp_path / "requirements.txt").write_text(requirements.format(**installed))
    if python != "unclear":
        (tmp_path / "python_env.yaml").write_text(f"python: {python or '.'.join(map(str, sys.version_info[:2]))}.1\n")
    assert environments.of_model(tmp_path, or_this=True) == (sys.executable if here else "/opt/environments/k1/bin/python")
    if python != "unclear":
        assert environments.of_model(tmp_path) == "/opt/environments/k1/bin/python"


def test_environments_for_the_image_are_locked_or_named_before_it_is_built(lock_environments: Locks, tmp_path: Path) -> None:
    (tmp_path / "good.in").write_text("six==1.17.0\n")
    (tmp_path / "stale.in").write_text("six==1.17.0\n")
    lock_environments(tmp_path, needs=[])
    (tmp_path / "stale.in").write_text("six==1.16.0\n")
    (tmp_path / "new.in").write_text("six\n")
    frozen = {"frozen": True, "variable": "airflow_image_environments", "project_src": None, "remedy": "`make start` locks it"}
    assert lock_environments(tmp_path, must=["good"], **frozen).result["locks"] == {"good": (tmp_path / "good.lock").read_text()}
    done = lock_environments(tmp_path, must=["good", "stale", "new", "nowhere"], **frozen)
    assert done.returncode
    for words in (
        "3 to put right before the image is built",
        "stale, whose stale.lock was made from something else than what is there now: `make start` locks it.",
        "new, which is not locked yet: `make start` locks it.",
        f"nowhere, which is not in {tmp_path}: write nowhere.in there, or take the name out.",
    ):
        assert words in " ".join(done.output.replace("\\n", " ").split()), done.output
    assert not (tmp_path / "new.lock").exists()


def test_the_image_is_built_from_the_locks_and_the_script_of_the_service(lock_environments: Locks, tmp_path: Path) -> None:
    (tmp_path / "churn.in").write_text("six==1.17.0\n")
    lock_environments(tmp_path, needs=[])

    def files(names: list[str]) -> dict[str, str]:
        own = {"airflow_image_environments": names, "airflow_image_environments_folder": str(tmp_path)}
        values = json.dumps({**own, "role_path": str(ROOT / "roles" / "airflow_image")})  # which a task of the role has
        role = {"name": "mlops.lab.airflow_image", "tasks_from": "environments"}
        done = play(tmp_path, [{"import_role": role}, {"set_fact": {"result": "{{ __airflow_image_environment_files }}"}}], "-e", values)
        assert done.returncode == 0, done.output
        return done.result

    script = (ROOT / "roles" / "environments" / "files" / "environments_server.py").read_text()
    assert files(["churn"]) == {"churn.lock": (tmp_path / "churn.lock").read_text(), "environments_server.py": script}
    assert files([]) == {}
