"""The workbench: Optuna's dashboard behind its guard on a real storage, the kernels that are offered and started, and a real JupyterLab."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from ansible_collections.mlops.lab.plugins.action import lock_environments

from tests.conftest import ROOT
from tests.unit.conftest import Mlflow, make_environment, uv
from tests.unit.plays import Done, play
from tests.unit.rendering import COMPOSE_FILES, DOCKERFILES, Case

ROLE = ROOT / "roles" / "workbench"
LOCK = ROLE / "files" / "requirements.txt"
LOGIN = ("admin", "a:password@of/the+lab")

STUDY = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(storage=sys.argv[1], study_name="wine_search/first")
study.optimize(lambda trial: trial.suggest_float("x", 0, 1) ** 2, n_trials=4)
"""


def loaded(name: str) -> ModuleType:
    """Import a module of the role that needs nothing but Python."""
    spec = importlib.util.spec_from_file_location(f"workbench_{name}", ROLE / "files" / "workbench" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kernel = loaded("kernel")
studies = loaded("studies")


@pytest.fixture(scope="session")
def workbench_python() -> Path:
    """The Python of the workbench's own environment."""
    return make_environment("workbench", lock=LOCK)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str | Path], url: str, log: Path, **environment: str) -> Iterator[None]:
    """A server, from its first answer on."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROLE / "files", env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                requests.get(url, timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its kernels
        process.wait()


# -------------------------------------------------------------------- Optuna's dashboard


@pytest.fixture(scope="module")
def dashboard(workbench_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """The guarded dashboard as the container runs it, on a database without tables; gives its address, the database's file and its address."""
    folder, port = tmp_path_factory.mktemp("studies"), free_port()
    storage = f"sqlite:///{folder}/studies.db"
    (folder / "credentials").write_text(":".join(LOGIN) + "\n")
    (folder / "optuna_url").write_text(storage)
    settings = {
        "LAB_CREDENTIALS_FILE": str(folder / "credentials"),
        "LAB_OPTUNA_STORAGE_FILE": str(folder / "optuna_url"),
        "LAB_STUDIES_HOST": "127.0.0.1",
        "LAB_STUDIES_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with running([workbench_python, "-m", "workbench.studies"], f"{url}/health", folder / "log", **settings):
        yield url, folder / "studies.db", storage


def test_studies_are_shown_to_who_knows_the_login_once_there_are_any(dashboard: tuple[str, Path, str], workbench_python: Path) -> None:
    url, _, storage = dashboard
    assert requests.get(f"{url}/health", timeout=30).text == "OK\n"
    early = requests.get(f"{url}/api/studies", auth=LOGIN, timeout=60)
    assert (early.status_code, early.text) == (200, "There is no study yet: the first experiment with a search makes one.\n")
    subprocess.run([workbench_python, "-c", STUDY, storage], check=True)
    shown = requests.get(f"{url}/api/studies", auth=LOGIN, timeout=60).json()["study_summaries"]
    assert [study["study_name"] for study in shown] == ["wine_search/first"]
    detail = requests.get(f"{url}/api/studies/{shown[0]['study_id']}", auth=LOGIN, timeout=60).json()
    assert len(detail["trials"]) == 4
    page = requests.get(url, auth=LOGIN, timeout=60)
    assert page.ok and page.url == f"{url}/dashboard" and "<html" in page.text
    script = re.search(r'src="(/static/[^"]+)"', page.text)
    assert script and requests.get(url + script[1], auth=LOGIN, timeout=60).ok


@pytest.mark.parametrize("login", [None, ("admin", "wrong"), ("", ""), ("admin", ""), ("nobody", LOGIN[1]), ("admin", LOGIN[1] + "x")])
def test_a_stranger_sees_nothing(dashboard: tuple[str, Path, str], login: tuple[str, str] | None) -> None:
    for path in ("/", "/dashboard", "/api/studies", "/api/meta", "/static/bundle.js", "/health/../api/studies", "/healthy"):
        answer = requests.get(dashboard[0] + path, auth=login, timeout=30)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer YWRtaW46eA==", "Basic w6Q=", "basic"])
def test_a_login_that_is_none_is_refused(dashboard: tuple[str, Path, str], header: str) -> None:
    assert requests.get(f"{dashboard[0]}/api/meta", headers={"Authorization": header}, timeout=30).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("DELETE", "/api/studies/1"),
        ("PUT", "/api/studies/1/note"),
        ("POST", "/api/trials/1/tell"),
        ("PATCH", "/api/studies/1"),
        ("POST", "/incompatible-rdb-schema"),
        ("OPTIONS", "/api/studies"),
    ],
)
def test_nothing_can_be_changed(dashboard: tuple[str, Path, str], method: str, path: str) -> None:
    url, database, _ = dashboard
    before = database.read_bytes() if database.exists() else b""
    answer = requests.request(method, url + path, auth=LOGIN, json={"study_name": "x", "directions": ["minimize"]}, timeout=30)
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD"
    # Bottle, below the guard, would take the method out of this header or this field.
    requests.get(url + path, auth=LOGIN, headers={"X-HTTP-Method-Override": method}, params={"_method": method}, timeout=30)
    assert (database.read_bytes() if database.exists() else b"") == before


def test_a_database_that_cannot_be_read_is_said_without_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    tries = []

    def opening() -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no route\nto postgresql://optuna:secret@postgres")
        return lambda environ, start_response: start_response("200 OK", []) or [b"studies"]

    guard, said = studies.ReadOnly("a:b", opening), []
    ask = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": "Basic YTpi"}
    answers = [b"".join(guard(ask, lambda status, headers: said.append(status))).decode() for _ in range(3)]
    assert [status[:3] for status in said] == ["503", "200", "200"] and answers[1:] == ["studies"] * 2 and len(tries) == 2
    assert "cannot be read (OSError)" in answers[0] and "secret" not in answers[0] + capsys.readouterr().err


def test_a_login_without_a_password_is_no_login() -> None:
    for login in ("", "admin", "admin:", ":password"):
        with pytest.raises(ValueError, match="user:password"):
            studies.ReadOnly(login, lambda: lambda *_: [])


def test_postgres_itself_is_told_to_refuse_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    storages = ModuleType("optuna.storages")
    storages.RDBStorage = lambda url, **options: asked.update(options, url=url)  # type: ignore[attr-defined]
    page, alchemy = ModuleType("optuna_dashboard"), ModuleType("sqlalchemy")
    page.wsgi = lambda storage: storage  # type: ignore[attr-defined]
    alchemy.create_engine = lambda _url, **options: SimpleNamespace(dispose=list, options=options)  # type: ignore[attr-defined]
    alchemy.inspect = lambda engine: SimpleNamespace(has_table=lambda name: name == "version_info" and bool(engine.options))  # type: ignore[attr-defined]
    for name, module in {"optuna": ModuleType("optuna"), "optuna.storages": storages, "optuna_dashboard": page, "sqlalchemy": alchemy}.items():
        monkeypatch.setitem(sys.modules, name, module)
    studies.dashboard("postgresql+psycopg2://optuna:x@postgres/optuna")
    assert asked["engine_kwargs"]["connect_args"]["options"] == "-c default_transaction_read_only=on" and asked["skip_table_creation"] is True


# -------------------------------------------------------------------- kernels


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebooks' folder of a lab with two environments, and lists of packages of the user's own."""
    for name in ("environments", "kernels"):
        (tmp_path / name).mkdir()
    (tmp_path / "environments" / "churn.in").write_text("numpy\n")
    asked = hashlib.sha256(b"numpy\n").hexdigest()[:32]
    for name in ("churn.lock", "Fraud-2.lock", "not a name.lock"):
        (tmp_path / "environments" / name).write_text(f"# asked: {asked}/0\n# python: 3.13\nnumpy==2.3.5\n")
    (tmp_path / "kernels" / "try.in").write_text("numpy\n")
    monkeypatch.setenv("LAB_ENVIRONMENT_LOCKS", str(tmp_path / "environments"))
    monkeypatch.setenv("LAB_OWN_KERNELS", str(tmp_path / "kernels"))
    return tmp_path


def test_every_environment_is_a_kernel_and_so_is_a_list_of_one_s_own(notebooks: Path, workbench_python: Path) -> None:
    program = "import json; from workbench.kernelspecs import LabKernels; print(json.dumps(LabKernels().get_all_specs()))"

    def offered() -> dict[str, Any]:
        done = subprocess.run([workbench_python, "-c", program], cwd=ROLE / "files", text=True, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    specs = offered()
    assert {name: one["spec"]["display_name"] for name, one in specs.items()} == {
        "project": "project (the lab's image)",
        "churn": "churn",
        "Fraud-2": "Fraud-2",
        "own.try": "try (yours)",
    }
    argv = specs["churn"]["spec"]["argv"]
    assert argv == [str(workbench_python), "-I", str(ROLE / "files/workbench/kernel.py"), "churn", "{connection_file}"]
    (notebooks / "environments" / "churn.lock").unlink()
    assert "churn" not in offered(), "without a restart"


@contextmanager
def service(folder: Path, *answers: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """An environments' service with answers that are set, one client each; gives what it was asked."""
    asked: list[dict[str, Any]] = []
    (folder / ".service").mkdir(parents=True, exist_ok=True)
    place = folder / ".service" / "socket"
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()

        def serve() -> None:
            for answer in answers:
                client, _ = server.accept()
                with client, client.makefile("rw") as stream:
                    asked.append(json.loads(stream.readline()))
                    for line in ({"say": "installing"}, answer) if answer else ():
                        stream.write(json.dumps(line) + "\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        thread.join(10)


MADE = {"made": {"key": "k", "interpreter": "/opt/environments/k/bin/python", "new": True, "seconds": 1.0}}


@pytest.fixture
def environments(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environments' service is looked for."""
    folder = tmp_path_factory.mktemp("e")
    monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(folder))
    return folder


def test_an_environment_is_made_from_the_lock_that_its_runs_use(notebooks: Path, environments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(environments, MADE) as asked:
        assert kernel.interpreter_of("churn") == MADE["made"]["interpreter"]
    assert asked == [{"do": "make", "requirements": (notebooks / "environments/churn.lock").read_text(), "python": "3.13"}]
    assert "[kernel] installing" in capsys.readouterr().err
    assert kernel.interpreter_of("project") == "/opt/project/bin/python"


def test_an_environment_in_the_image_is_used_from_there_as_in_a_run(notebooks: Path, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No service is asked; a lock that changed since is said, as a run says it."""
    image, lock = notebooks / "in-image", notebooks / "environments" / "churn.lock"
    (image / "key").mkdir(parents=True)
    (image / "churn").symlink_to("key")
    (image / "churn.lock").write_text(lock.read_text())
    monkeypatch.setenv("LAB_ENVIRONMENTS_IN_IMAGE", str(image))
    assert kernel.interpreter_of("churn") == f"{image}/key/bin/python"
    lock.write_text(lock.read_text() + "scipy==1.17.0\n")
    with pytest.raises(kernel.Unusable, match="changed since the image was built"):
        kernel.interpreter_of("churn")
    assert not (environments / ".service").exists()


def test_a_list_of_one_s_own_is_locked_beside_it_when_it_changed(notebooks: Path, environments: Path) -> None:
    file, lock = notebooks / "kernels/try.in", notebooks / "kernels/try.lock"
    resolved = {"resolved": {"lock": "numpy==2.3.5 --hash=sha256:1\n", "python": "3.13", "without": ""}}
    with service(environments, resolved, MADE, MADE) as asked:
        kernel.interpreter_of("own.try")
        kernel.interpreter_of("own.try")
    assert [one["do"] for one in asked] == ["resolve", "make", "make"] and asked[1] == asked[2] and asked[1]["python"] == "3.13"
    former = lock.read_text()
    assert "numpy==2.3.5" in former
    file.write_text("# python: 3.11\nnumpy\nscipy\n")
    with service(environments, resolved, MADE) as asked:
        kernel.interpreter_of("own.try")
    assert asked[0]["previous"] == former and asked[0]["python"] == "3.11"
    with service(environments, {"failure": "there is no solution."}), pytest.raises(kernel.Unusable, match="no solution"):
        file.write_text("numpy==0\n")
        kernel.interpreter_of("own.try")
    assert "scipy" not in lock.read_text() and lock.exists()


@pytest.mark.usefixtures("environments")
def test_a_comment_that_names_the_python_otherwise_is_refused_as_for_the_labs_own_environments(notebooks: Path) -> None:
    assert (kernel.PYTHON, kernel.NAMES_PYTHON) == (lock_environments.PYTHON, lock_environments.NAMES_PYTHON)
    (notebooks / "kernels/try.in").write_text("numpy\n# python: 3.11.9\n")
    with pytest.raises(kernel.Unusable, match=re.escape("try.in has '# python: 3.11.9', which names no Python; write it as in `# python: 3.11`")):
        kernel.interpreter_of("own.try")


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("churn", {"mistake": "Python 3.9 is not on this host."}, "Python 3.9 is not on this host"),
        ("churn", {}, "ended before it was done; what is half made is made anew by the next try"),
        ("gone", None, "environment has 'gone', of which there is no lock here; allowed: project, Fraud-2, churn"),
        ("own.gone", None, "gone.in: No such file or directory"),
    ],
)
@pytest.mark.usefixtures("notebooks")
def test_why_there_is_no_kernel_is_one_sentence(environments: Path, name: str, answer: dict[str, Any] | None, words: str) -> None:
    with service(environments, *([] if answer is None else [answer])), pytest.raises(kernel.Unusable, match=re.escape(words)):
        kernel.interpreter_of(name)


@pytest.mark.usefixtures("notebooks", "environments")
def test_a_service_that_is_away_is_named() -> None:
    with pytest.raises(kernel.Unusable, match="the environments' service of this host does not answer"):
        kernel.interpreter_of("churn")


# -------------------------------------------------------------------- JupyterLab


Cell = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def kernel_folder(workbench_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a kernel needs besides an environment, as the Dockerfile installs it for each Python."""
    version = subprocess.check_output([workbench_python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True).strip()
    folder = tmp_path_factory.mktemp("kernel") / version
    pins = re.findall(r"^(?:ipykernel|ipywidgets)==[^ ;]+", LOCK.read_text(), re.MULTILINE)
    assert len(pins) == 2
    uv("pip", "install", "--quiet", "--require-hashes", "--python", workbench_python, "--target", folder, "--constraint", LOCK, *pins)
    return folder


@pytest.fixture(scope="module")
def lab(
    workbench_python: Path,
    kernel_folder: Path,
    environments_service: Path,
    project_python: Path,
    mlflow_server: Mlflow,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Path, Path, Cell]]:
    """A real JupyterLab; gives its address, the notebooks' folder, its log, and a function that runs a cell in a kernel."""
    home, port = mlflow_server.home, free_port()
    log, token = tmp_path_factory.mktemp("jupyter") / "log", home / "token"
    token.write_text(LOGIN[1])
    for name in ("environments", "kernels", "experiments"):
        (home / name).mkdir()
    settings = {
        "HOME": str(home),
        "LAB_NOTEBOOKS": str(home),
        "LAB_TOKEN_FILE": str(token),
        "LAB_WORKBENCH_HOST": "127.0.0.1",
        "LAB_WORKBENCH_PORT": str(port),
        "LAB_ENVIRONMENT_LOCKS": str(home / "environments"),
        "LAB_OWN_KERNELS": str(home / "kernels"),
        "LAB_ENVIRONMENTS_DIR": str(environments_service),
        "LAB_KERNELS": str(kernel_folder.parent),
        "LAB_DAGS": str(ROOT / "dags"),
        "LAB_PROJECT_PYTHON": str(project_python),
        "JUPYTER_RUNTIME_DIR": str(log.parent / "runtime"),
        "JUPYTER_CONFIG_DIR": str(log.parent / "config"),
        "MLFLOW_TRACKING_URI": mlflow_server.uri,
    }
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [workbench_python, "-m", "jupyterlab", f"--config={ROLE}/files/workbench/jupyter_config.py", "--allow-root"]

    def cell(name: str, code: str) -> dict[str, Any]:
        done = subprocess.run([workbench_python, ROOT / "tests/cell.py", url, token, name, code], text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr + log.read_text()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with running(command, f"{url}/api", log, **settings):
        yield url, home, log, cell


Lab = tuple[str, Path, Path, Cell]


@pytest.mark.deep
def test_jupyterlab_asks_for_the_password_and_shows_it_nowhere(lab: Lab) -> None:
    url, _, log, _ = lab
    for login in ({}, {"Authorization": "token wrong"}, {"Authorization": "token "}):
        assert {requests.get(url + path, headers=login, timeout=60).status_code for path in ("/api/kernelspecs", "/api/contents")} == {403}
        assert "/login" in requests.get(f"{url}/lab", headers=login, timeout=60).url
    known = {"Authorization": f"token {LOGIN[1]}"}
    assert requests.get(f"{url}/api/kernelspecs", headers=known, timeout=60).json()["default"] == "project"
    assert "JupyterLab" in requests.get(f"{url}/lab", headers=known, timeout=60).text
    assert LOGIN[1] not in log.read_text()
    assert not (log.parent / "config").exists(), "nothing has to be written there, where nothing can be in the container"


@pytest.mark.deep
def test_a_notebook_is_logged_in_to_mlflow(lab: Lab, mlflow_server: Mlflow, project_python: Path) -> None:
    quiet = lab[3]("project", "import sys, mlflow; print(sys.executable, len(mlflow.search_experiments()) > 0)")
    assert (quiet["status"], quiet["text"]) == ("ok", f"{project_python} True\n"), "no library warns of what a notebook lacks"
    code = "import sys, mlflow; mlflow.set_experiment('from a notebook')\nwith mlflow.start_run(): mlflow.log_metric('one', 1)\nprint(sys.executable)"
    done = lab[3]("project", code)
    assert (done["status"], done["error"]) == ("ok", "") and str(project_python) in done["text"]
    assert mlflow_server.get("experiments/get-by-name", experiment_name="from a notebook")["experiment"]["lifecycle_stage"] == "active"


@pytest.mark.deep
def test_a_cell_runs_in_the_environment_of_its_kernel(lab: Lab, environments_service: Path, kernel_folder: Path) -> None:
    _, home, _, cell = lab
    (home / "environments" / "small.lock").write_text("six==1.16.0\n")
    (home / "kernels" / "try.in").write_text("six==1.17.0\n")
    code = "import six, sys; print(six.__version__, sys.prefix, sys.path[-1])"
    lines = {name: cell(name, code)["text"].split() for name in ("small", "own.try")}
    assert [line[0] for line in lines.values()] == ["1.16.0", "1.17.0"]
    assert all(Path(line[1]).parent == environments_service and line[2] == str(kernel_folder) for line in lines.values())
    found = cell("small", "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import ipykernel'], capture_output=True).returncode)")
    assert found["text"] == "1\n", "what a kernel needs is in the kernel alone"


@pytest.mark.deep
def test_an_environment_that_cannot_be_had_says_so_in_the_notebook(lab: Lab) -> None:
    (lab[1] / "environments" / "broken.lock").write_text("six==0.0.1.dev0\n")
    (lab[1] / "environments" / "old.lock").write_text("traitlets==4.3.3\n")
    broken, old = lab[3]("broken", "1"), lab[3]("old", "1")
    assert broken["status"] == "error" and broken["error"].startswith("The environment broken cannot be used here: ") and "six" in broken["error"]
    assert "its packages do not go with the kernel's" in old["error"] and old["error"].endswith("so that both are resolved together.")


# -------------------------------------------------------------------- what is rendered


def project(**values: Any) -> dict[str, Any]:
    """Return the compose file."""
    base = next(case for case in COMPOSE_FILES if case.role == "workbench")
    found: dict[str, Any] = yaml.safe_load(Case("", base.role, base.template, {**base.values, **values}).render())
    return found


def test_no_service_has_rights_or_more_to_write_on_than_it_needs() -> None:
    services = project()["services"]
    writable = {"jupyter": ["notebooks:/opt/notebooks"], "optuna-dashboard": []}
    assert services.keys() == writable.keys()
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"] and one["read_only"] is True and one["user"] == "50000:0" and one["security_opt"] == ["no-new-privileges:true"]
        assert [volume for volume in one.get("volumes", []) if not volume.endswith(":ro")] == writable[name]


def test_notebooks_reach_no_database_and_the_dashboard_nothing_else() -> None:
    found = project(workbench_optuna_network="lab-b-airflow_studies")
    jupyter, dashboard = found["services"]["jupyter"], found["services"]["optuna-dashboard"]
    assert (jupyter["networks"], dashboard["networks"]) == (["mlops-lab-workbench"], ["mlops-lab-workbench", "studies"])
    assert found["networks"]["studies"] == {"external": True, "name": "lab-b-airflow_studies"}
    assert jupyter["secrets"] == ["token", {"source": "mlflow_credentials", "target": "/opt/notebooks/.mlflow/credentials"}]
    assert dashboard["secrets"] == ["credentials", "optuna_url"]


def test_both_are_published_where_they_are_meant_to_be() -> None:
    found = project(workbench_bind_address="10.0.0.5", workbench_port=80, workbench_studies_port=81)["services"]
    assert [one["ports"] for one in found.values()] == [["10.0.0.5:80:8888"], ["10.0.0.5:81:8000"]]


def test_the_image_holds_every_file_and_none_can_be_changed_by_who_runs_it() -> None:
    context = yaml.safe_load((ROLE / "tasks" / "build.yml").read_text())[0]["mlops.lab.image_build"]["files"]
    assert context.keys() - {"requirements.txt"} == {path.name for path in (ROLE / "files" / "workbench").glob("*.py")}
    before, _, after = next(case for case in DOCKERFILES if case.role == "workbench").render().partition("USER 50000:0")
    assert "COPY" in before and "COPY" not in after and "--chown" not in before and "ENTRYPOINT" in after


REQUIRED = {f"workbench_{name}": "x" for name in ("index_url", "index_user", "index_password", "password", "mlflow_password", "optuna_password")}


def workbench(folder: Path, containers: str = "", *arguments: str, **values: Any) -> tuple[Done, list[str]]:
    """Run the role on this machine with an engine that is none; gives what came of it, and what the engine was asked to do."""
    program, log = folder / "bin" / "docker", folder / "docker.log"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\ntest "$1" != ps || printf "{containers}"\n')
    program.chmod(0o755)
    task = {
        "ansible.builtin.include_role": {"name": "mlops.lab.workbench", "apply": {"environment": {"PATH": f"{program.parent}:/usr/bin:/bin"}}},
        "vars": {**REQUIRED, "workbench_dir": str(folder / "workbench"), **values},
    }
    done = play(folder, [task], *arguments)
    return done, log.read_text().splitlines() if log.exists() else []


def test_an_empty_password_stops_before_anything_is_built(tmp_path: Path) -> None:
    done, asked = workbench(tmp_path, workbench_password="")
    assert done.returncode != 0 and not asked and not (tmp_path / "workbench").exists()
    assert "workbench_password is empty, and JupyterLab would let everybody in" in done.output
    config = (ROLE / "files" / "workbench" / "jupyter_config.py").read_text()
    assert "if not token:" in config


@pytest.mark.parametrize("containers", ["", "one\\ntwo\\n"])
def test_what_is_turned_off_goes_but_for_the_notebooks(tmp_path: Path, containers: str) -> None:
    secret = tmp_path / "workbench" / "secrets" / "token"
    secret.parent.mkdir(parents=True)
    secret.touch()
    done, asked = workbench(tmp_path, containers, workbench_enabled="false")  # as -e writes it
    assert done.returncode == 0, done.output
    assert asked[1:] == (["compose --project-name mlops-lab-workbench down --remove-orphans"] if containers else []), "volumes stay"
    assert not secret.parents[1].exists()
