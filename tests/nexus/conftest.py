"""What the tests of a real Nexus share: the server, an upstream that stands in for the public index, and the role applied to both."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_tool
from tests.nexus import server

PUBLIC = "sampleproject"
"""A project of the public index."""


HEAD = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {"ansible_python_interpreter": "/usr/bin/python3"}}


@dataclass
class Done:
    """What a play ended with."""

    returncode: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something; the play must have worked."""
        assert self.returncode == 0, self.output
        return int(self.output.rsplit("changed=", 1)[1].split()[0])

    @property
    def changes(self) -> int:
        """How many things in Nexus the role says that it changed, or would; the play must have worked."""
        said = self.output.count("- what: ")
        assert self.changed >= min(said, 1), self.output
        return said


@dataclass
class Lab:
    """A Nexus in which the role has declared everything, and what it declared."""

    nexus: server.Nexus
    upstream: server.Upstream
    folder: Path
    values: dict[str, Any]
    outputs: list[Done] = field(default_factory=list)

    @property
    def admin(self) -> tuple[str, str]:
        """User and password of the administrator."""
        return "admin", self.values["nexus_repositories_admin_password"]

    @property
    def reader(self) -> tuple[str, str]:
        """User and password of who installs."""
        return self.values["nexus_repositories_reader_user"], self.values["nexus_repositories_reader_password"]

    @property
    def publisher(self) -> tuple[str, str]:
        """User and password of who uploads."""
        return self.values["nexus_repositories_publisher_user"], self.values["nexus_repositories_publisher_password"]

    def run(self, *options: str, role: str = "nexus_repositories", **values: Any) -> Done:
        """Run a role against this Nexus; passwords go in a file, as they do from a vault."""
        file = self.folder / "values.json"
        file.write_text(json.dumps({**self.values, **values}), encoding="utf-8")
        book = self.folder / "play.json"
        book.write_text(json.dumps([{**HEAD, "tasks": [{"ansible.builtin.import_role": {"name": f"mlops.lab.{role}"}}]}]), encoding="utf-8")
        command: list[str | Path] = ["ansible-playbook", book, "-i", "localhost,", "-e", f"@{file}", *options]
        ran = run_tool(command, self.folder, ANSIBLE_CALLBACK_RESULT_FORMAT="json", ANSIBLE_PIPELINING="1")
        file.unlink()
        self.outputs.append(Done(ran.returncode, ran.stdout))
        return self.outputs[-1]

    def api(self, path: str) -> Any:
        """Ask the REST API, as the administrator."""
        answer = self.nexus.ask("GET", f"service/rest/v1/{path}", self.admin)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer.json()

    def put(self, path: str, body: dict[str, Any]) -> None:
        """Change something behind the role's back, as the administrator."""
        answer = self.nexus.ask("PUT", f"service/rest/v1/{path}", self.admin, json=body)
        assert answer.status_code in (200, 204), answer.text

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Add something of somebody else's, as the administrator."""
        answer = self.nexus.ask("POST", f"service/rest/v1/{path}", self.admin, json=body)
        assert answer.status_code in (200, 201, 204), answer.text


@pytest.fixture(scope="session")
def nexus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Nexus]:
    """A fresh Nexus, stopped at the end of the tests."""
    try:
        with server.run(tmp_path_factory.mktemp("nexus")) as running:
            yield running
    except server.NoNexusError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def lab(nexus: server.Nexus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """That Nexus after the role's first run, which replaced the first password, too."""
    folder = tmp_path_factory.mktemp("role")
    with server.upstream() as upstream:
        upstream.files[PUBLIC] = {path.name: path.read_bytes() for path in [server.wheel(folder, PUBLIC, "1.0", "public")]}
        users = {f"nexus_repositories_{name}_user": name for name in ("reader", "publisher")}
        # With what breaks an URL, a shell, JSON or a template that does not quote
        passwords = {f"nexus_repositories_{name}_password": f"canary-{secrets.token_hex(8)}-@/%41+&=?#$x'\"" for name in ("admin", "reader", "publisher")}
        values = {"nexus_repositories_url": nexus.url, "nexus_repositories_upstream_url": upstream.url, **users, **passwords}
        lab = Lab(nexus, upstream, folder, values)
        assert lab.run("-vvv", nexus_repositories_first_password=nexus.first_password).changes == 10
        yield lab


Ask = Callable[..., int]


@pytest.fixture
def ask(lab: Lab) -> Ask:
    """A function that gives the status of an answer: ``ask("reader", "GET", "repository/pypi-all/simple/x/")``."""

    def status(who: str, method: str, path: str, **more: Any) -> int:
        accounts = {"admin": lab.admin, "reader": lab.reader, "publisher": lab.publisher, "nobody": None, "wrong password": (lab.reader[0], "wrong")}
        return lab.nexus.ask(method, path, accounts[who], **more).status_code

    return status
