"""Parts of role model_server: runner and worker with every kind of supported MLflow client, over their sockets; what a model demands; the page."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

FILES = ROOT / "roles" / "model_server" / "files"
sys.path.append(str(FILES))
from model_server.demands import demanded  # noqa: E402 (the path above comes first; these need nothing but Python and packaging)
from model_server.environments import provide  # noqa: E402
from model_server.errors import Unusable  # noqa: E402
from model_server.page import page  # noqa: E402

# Saves a model as the MLflow of this interpreter does; arguments: folder, MLflow's requirement.
SAVE = r"""
import cloudpickle, sys, warnings
import mlflow.pyfunc, pandas
warnings.simplefilter("ignore")

class Times(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if model_input["x"].min() < 0:
            raise ValueError("below 0")
        return [float(x) * 10 for x in model_input["x"]]

rows = pandas.DataFrame({"x": [1.0, 2.0]})
needs = [sys.argv[2], f"cloudpickle=={cloudpickle.__version__}"]
signature = mlflow.models.infer_signature(rows, [1.0])
mlflow.pyfunc.save_model(sys.argv[1], python_model=Times(), signature=signature, input_example=rows, pip_requirements=needs)
"""


def lines(folder: Path, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask a service of JSON lines."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder))
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile() as answers:
            for line in answers:
                yield json.loads(line)


def environment(service: Path, python: str, requirements: str) -> str:
    """Return the interpreter of an environment, made if need be."""
    *_, last = lines(service / ".service" / "socket", {"do": "make", "requirements": requirements, "python": python})
    assert "made" in last, last
    return str(last["made"]["interpreter"])


@pytest.fixture(scope="module")
def runner() -> Iterator[Path]:
    """The folder of a runner's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sockets-"))
    process = subprocess.Popen([sys.executable, "-m", "model_server.runner"], cwd=FILES, env={"PATH": os.environ["PATH"], "LAB_MODELS_SOCKETS": str(folder)})
    until = time.monotonic() + 30
    while not (folder / "runner").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    yield folder
    process.terminate()
    assert process.wait(20) == 0


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
        """Return status and body."""
        self.putrequest(method, path, skip_host=True)
        self.putheader("Content-Type", kind)
        self.putheader("Content-Length", str(len(body or b"")))
        self.endheaders(body or b"")
        answer = self.getresponse()
        return answer.status, answer.read().decode()


# 3.0 to 3.10 do not start with the Starlette of today when they serve by themselves: "'FastAPI' object has no attribute 'route'".
VERSIONS = ["3.10.0", *(pytest.param(version, marks=pytest.mark.deep) for version in ("2.19.0", "2.20.4", "2.22.0", "3.0.0", "3.5.0", "3.17.2"))]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_of_every_supported_client_answers_as_mlflow_does(version: str, environments_service: Path, runner: Path, tmp_path: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    mine = environment(environments_service, python, f"mlflow-skinny=={version}\npandas<3\nscipy\n")
    saving = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": f"file://{tmp_path}/runs"}
    done = subprocess.run([mine, "-c", SAVE, tmp_path / "model", f"mlflow-skinny=={version}"], env=saving, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    demands = demanded(tmp_path / "model")
    said = lines(runner / "runner", {"interpreter": environment(environments_service, demands.python, demands.requirements), "model": str(tmp_path / "model")})
    place = next(said)["socket"]
    ready = next(said)
    assert ready == {"ready": {"mlflow": version, "python": ready["ready"]["python"]}} and ready["ready"]["python"].startswith(f"{python}.")
    model = Connection(place)
    assert model.ask("GET", "/ping") == model.ask("GET", "/health") == (200, "\n") and model.ask("GET", "/version") == (200, version)
    assert (model.ask("POST", "/ping")[0], model.ask("GET", "/invocations")[0], model.ask("GET", "/other")[0]) == (405, 405, 404)
    for body, kind in [
        (b'{"dataframe_split": {"columns": ["x"], "data": [[2.0]]}}', "application/json"),
        (b'{"inputs": {"x": [2.0]}}', "application/json; charset=utf-8"),
        (b"x\n2.0\n", "text/csv"),
        (model.ask("GET", "/example")[1].replace("1.0", "2.0").encode(), "application/json"),
    ]:
        status, text = model.ask("POST", "/invocations", body, kind)
        assert status == 200 and json.loads(text)["predictions"][0] == 20.0, (text, kind)
    for body in (b'{"dataframe_split": {"columns": ["y"], "data": [[1]]}}', b"nonsense", b"[1]", b'{"inputs": {"x": [-1.0]}}'):
        status, text = model.ask("POST", "/invocations", body)
        assert status == 400 and json.loads(text)["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE"), (body, text)
    assert "below 0" in json.loads(text)["stack_trace"]
    assert model.ask("POST", "/invocations", b"\xff\xfe", "text/csv")[0] == model.ask("POST", "/invocations", b"\xff\xfe")[0] == 400
    for kind in ("text/secret", "application/json; charset=latin-1", "application/json; pretty=1", ""):
        assert model.ask("POST", "/invocations", b"{}", kind)[0] == 415, kind
    assert model.ask("GET", "/version") == (200, version), "the connection is not usable any more"
    said.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 20
    while Path(place).exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_cannot_be_started_is_said(runner: Path) -> None:
    assert list(lines(runner / "runner", {"interpreter": "/nowhere/python", "model": "/nowhere"})) == [
        {"error": "/nowhere/python cannot be started: No such file or directory"}
    ]  # fmt: skip
    socket_said, error, *rest = lines(runner / "runner", {"interpreter": sys.executable, "model": "/nowhere"})
    assert socket_said["socket"] and error == {"error": "ModuleNotFoundError: No module named 'mlflow'"}
    assert rest == [{"ended": "with exit code 1"}]


def test_the_page_shows_whatever_a_name_holds_as_text() -> None:
    slot = {
        "name": "<b>'\"&",
        "alias": "candidate",
        "version": "1",
        "wanted": "<2>",
        "making": True,
        "since": "now",
        "error": "<script>",
        "path": "/models/<b>'\"&@candidate",
        "run": "<i>",
        "requests": 1,
        "memory_bytes": None,
        "environment": "<e>",
        "python": "3",
        "mlflow": "3",
    }
    text = page(
        {"models": [slot], "registry": {"asked": None, "error": "<u>"}}, {"<b>'\"&@candidate": '{"</pre>": "\'"}'}, "http://<host>/", "<me>", "http://m/'\""
    )
    assert not re.search(r"<(b|i|e|u|me|2|script|host)>", text) and text.count("<pre>") == text.count("</pre>") == 1 and "http://m/'\"" not in text
    assert "&lt;2&gt;, whose environment is being made" in text


@pytest.mark.parametrize(
    ("requirements", "added"),
    [
        ("numpy==1.0\n", ["mlflow-skinny==3.1.4", "pandas<3"]),
        ("mlflow==2.20.1\n", []),
        ("mlflow-skinny==3.0.0\npandas\n", []),
        ("mlflow-skinny==3.16.0\n", ["pandas"]),
        ("mlflow-skinny\n", ["pandas"]),
        ("mlflow-skinny==2.20.4\npandas\n", ["flask<4"]),
        ("mlflow_skinny>=2,<3\npandas\nFlask==3.0\n", []),
    ],
)
def test_a_model_demands_what_it_was_logged_with(tmp_path: Path, requirements: str, added: list[str]) -> None:
    (tmp_path / "requirements.txt").write_text(f"# made by MLflow\n{requirements}")
    (tmp_path / "python_env.yaml").write_text("python: 3.13.1\nbuild_dependencies:\n- pip\n")
    (tmp_path / "MLmodel").write_text("mlflow_version: 3.1.4\n")
    demands = demanded(tmp_path)
    assert (demands.python, demands.requirements.splitlines()) == ("3.13", [*requirements.splitlines(), *added])


def test_a_model_is_served_in_the_environment_of_the_image_that_it_was_logged_in_and_no_service_is_asked(tmp_path: Path) -> None:
    image, nobody = tmp_path / "image", tmp_path / "no service is here"
    image.mkdir()
    (image / "churn").symlink_to("key")
    lock = (
        "# Resolved by mlops.lab\n# python: 3.13\nchurn==1.0 \\\n    --hash=sha256:1\n    # via -r\nmlflow-skinny==3.16.0\npandas==3.0.1\nscikit-learn==1.8.0\n"
    )
    (image / "churn.lock").write_text(lock)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("mlflow_version: 3.16.0\n")
    (model / "python_env.yaml").write_text("python: 3.13.1\n")

    def served(requirements: str, also: str = "") -> str:
        (model / "requirements.txt").write_text(requirements)
        return asyncio.run(provide(demanded(model).and_also(also.split()), image, nobody)).interpreter

    assert served("Churn==1.0\nmlflow_skinny==3.16\nscikit_learn==1.8.0\npandas==3.0.1\n") == f"{image}/key/bin/python"
    assert served("churn==1.0\n") == f"{image}/key/bin/python", "what the lab adds is there"
    for other in ("churn==1.1\n", "churn\n", "churn>=1.0\n", "churn==1.*\n", "churn==1.0; python_version < '3'\n", "churn==1.0\nxgboost==3.0.0\n"):
        with pytest.raises(Unusable, match="the environments' service does not answer"):
            served(other)
    with pytest.raises(Unusable, match="does not answer"):
        served("churn==1.0\n", also="pyarrow")
    (model / "python_env.yaml").write_text("python: 3.12.1\n")
    with pytest.raises(Unusable, match="does not answer"):
        served("churn==1.0\n")
