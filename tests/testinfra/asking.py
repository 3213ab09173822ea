"""Ask a service of the lab over HTTP as its host does, which has Python and perhaps nothing else."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

AIRFLOW, MODELS = "http://127.0.0.1:8080", "http://127.0.0.1:8002"

# Standard input: a list of [method, url, headers, body in base64 or null]. Standard output: a list of [status, body in base64].
PROGRAM = r"""
import base64, json, sys, urllib.error, urllib.request
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
def ask(method, url, headers, body):
    request = urllib.request.Request(url, base64.b64decode(body) if body is not None else None, headers, method=method)
    try: answer = urllib.request.build_opener(Stay, urllib.request.ProxyHandler({})).open(request, timeout=60)
    except urllib.error.HTTPError as error: answer = error
    except OSError as error: return [0, base64.b64encode(str(error).encode()).decode()]
    return [answer.status, base64.b64encode(answer.read()).decode()]
print(json.dumps([ask(*question) for question in json.load(sys.stdin)]))
"""


@dataclass
class Answer:
    """Status (0 when nobody answered) and body of an answer."""

    status: int
    body: bytes

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def question(method: str, url: str, *, user: tuple[str, str] | None = None, body: Any = None, headers: dict[str, str] | None = None) -> list[Any]:
    """Return a question for `ask`: a body that is no bytes is sent as JSON, a user with basic authentication."""
    headers = dict(headers or {})
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    if body is not None and not isinstance(body, bytes):
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    return [method, url, headers, body if body is None else base64.b64encode(body).decode()]


def ask(host: Host, *questions: list[Any]) -> list[Answer]:
    """Ask all questions from the host, in one go."""
    output = host.check_output(f"printf %s {shlex.quote(json.dumps(questions))} | python3 -c {shlex.quote(PROGRAM)}")
    return [Answer(status, base64.b64decode(body)) for status, body in json.loads(output)]


def airflow_login(host: Host) -> dict[str, str]:
    """Return the header of somebody who logged in to Airflow."""
    user = json.loads(host.file("/opt/mlops-lab/airflow_stack/secrets/init.json").content_string)["users"][0]
    body = {"username": user["username"], "password": user["password"]}
    return {"Authorization": f"Bearer {ask(host, question('POST', f'{AIRFLOW}/auth/token', body=body))[0].data['access_token']}"}


def models_login(host: Host) -> tuple[str, str]:
    """Return name and password of who may ask models."""
    name, _, password = host.file("/opt/mlops-lab/model_server/secrets/credentials").content_string.strip().partition(":")
    return name, password
