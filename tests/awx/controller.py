"""A stand-in for AWX's REST API on the loopback: it keeps what it is given, and gives it back.

It knows no kind of object: every name below ``/api/v2/`` is a table whose rows can be made, found by their fields, changed and removed, and
every name below a row is a list of other rows. It adds what the modules of ``awx.awx`` need to find their way (ids, addresses, roles), hides
secrets as a controller does, and refuses what AWX refuses with the surveys and the types of credentials that are used here. It proves that
a second run finds what the first one wrote, and removal nothing. It says nothing about permissions, the order of deletions, or
the fields that a real controller fills in by itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Row = dict[str, Any]
TOKEN = "token-of-the-stand-in"
HIDDEN = "$encrypted$"
LAUNCHED = ("job_templates", "workflow_job_templates", "projects")
ROLES = ("admin_role", "execute_role", "read_role", "use_role", "member_role", "update_role")
BUILT_IN = {
    "Machine": ("ssh", ["password", "ssh_key_data", "ssh_key_unlock", "become_password"]),
    "Vault": ("vault", ["vault_password"]),
    "Source Control": ("scm", ["password", "ssh_key_data"]),
}
ANSWERS = {"text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int, "float": float}


def survey_error(survey: Row) -> str:
    """Return why AWX would refuse a survey, "" if it would not."""
    if not all(isinstance(survey.get(name), kind) for name, kind in (("name", str), ("description", str), ("spec", list))):
        return "name, description or spec is missing or of a wrong type"
    for question in survey["spec"]:
        for name in ("type", "question_name", "variable", "required"):
            if not isinstance(question.get(name), bool if name == "required" else str):
                return f"{name} of {question} is missing or of a wrong type"
        kind = ANSWERS.get(question["type"])
        if kind is None:
            return f"{question['type']} is no type"
        if question.get("default", "") != "" and type(question["default"]) is not kind:
            return f"default of {question['variable']} is no {kind.__name__}"
        if any(question.get(limit) is not None and type(question[limit]) is not int for limit in ("min", "max")):
            return f"limits of {question['variable']} are no integers"
        if question["type"].startswith("multi") and question.get("default", "") not in ["", *question.get("choices", [])]:
            return f"default of {question['variable']} is no choice"
    if len({question["variable"] for question in survey["spec"]}) < len(survey["spec"]):
        return "a variable is asked twice"
    return ""


@dataclass
class Controller:
    """The tables, the lists below rows, and all requests that changed something."""

    tables: dict[str, dict[int, Row]] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    surveys: dict[str, Row] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    url: str = ""
    last_id: int = 0
    unreachable: str = ""  # why no project can be updated; "" where it can

    def __post_init__(self) -> None:
        """Make what every controller has."""
        for name, (kind, secrets) in BUILT_IN.items():
            fields = [{"id": secret, "type": "string", "secret": True} for secret in secrets]
            self.make("credential_types", {"name": name, "kind": kind, "managed": True, "inputs": {"fields": fields}, "injectors": {}})

    def make(self, table: str, values: Row) -> Row:
        """Make a row with an id, an address and roles."""
        self.last_id += 1
        url = f"/api/v2/{table}/{self.last_id}/"
        roles = {name: {"id": self.last_id * 100 + number} for number, name in enumerate(ROLES)}
        row = {
            "type": table.rstrip("s"),
            "scm_revision": "0",
            **values,
            "id": self.last_id,
            "url": url,
            "related": {"survey_spec": f"{url}survey_spec/", "update": f"{url}update/"},
        }
        self.tables.setdefault(table, {})[self.last_id] = {**row, "summary_fields": {"object_roles": roles}}
        return self.tables[table][self.last_id]

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table; what can be launched is also in one table together."""
        names = LAUNCHED if table == "unified_job_templates" else (table,)
        return [row for name in names for row in self.tables.get(name, {}).values()]

    def named(self, table: str, name: str) -> Row:
        """Return the row of this name or identifier."""
        return next(row for row in self.rows(table) if name in (row.get("name"), row.get("identifier")))

    def listed(self, row: Row, name: str) -> list[Row]:
        """Return what is in a list below a row."""
        every = {found["id"]: found for table in self.tables.values() for found in table.values()}
        return [every[number] for number in self.lists.get(f"{row['url']}{name}/", []) if number in every]

    def shown(self, row: Row) -> Row:
        """Return a row as the controller shows it: without secrets."""
        kind = self.tables["credential_types"].get(row.get("credential_type", 0))
        if not kind:
            return row
        secret = {entry["id"] for entry in kind["inputs"]["fields"] if entry.get("secret")}
        return {**row, "inputs": {name: HIDDEN if name in secret else value for name, value in row.get("inputs", {}).items()}}

    def answer(self, method: str, path: str, query: Row, body: Row) -> tuple[int, Row | None]:
        """Answer one request with a status and a document."""
        parts = path.strip("/").split("/")[2:]
        if method != "GET":
            self.changes.append(f"{method} {path}")
        if len(parts) == 1:
            return self._table(method, parts[0], query, body)
        row = self.tables.get(parts[0], {}).get(int(parts[1])) if parts[0] != "roles" else {}
        if row is None:
            return 404, {"detail": "Not found."}
        if len(parts) == 2:
            return self._row(method, parts[0], row, body)
        if parts[2] == "survey_spec":
            return self._survey(method, path, body)
        if parts[2] == "update":
            return 202, self.update_project(row)
        if parts[2] == "events":
            return 200, {"count": 1, "next": None, "results": [{"event": "runner_on_failed", "event_data": {"res": {"msg": row["said"]}}}]}
        return self._list(method, path, body)

    def _table(self, method: str, table: str, query: Row, body: Row) -> tuple[int, Row | None]:
        if method == "POST":
            return 201, self.shown(self.make(table, body))
        found = [row for row in self.rows(table) if all(str(row.get(name)) == value for name, value in query.items() if name != "page_size")]
        return 200, {"count": len(found), "next": None, "results": [self.shown(row) for row in found]}

    def _row(self, method: str, table: str, row: Row, body: Row) -> tuple[int, Row | None]:
        if method == "DELETE":
            if table == "credential_types" and any(used.get("credential_type") == row["id"] for used in self.rows("credentials")):
                return 403, {"detail": "Credential types that are in use cannot be deleted"}
            self.remove(table, row)
            return 204, None
        if method == "PATCH":
            row.update(body)
        return 200, self.shown(row)

    def update_project(self, project: Row) -> Row:
        """Update a project at once; return the update, as the controller keeps it."""
        status = "failed" if self.unreachable else "successful"
        ended = {"status": status, "failed": bool(self.unreachable), "finished": "2027-01-01T00:00:00Z", "job_explanation": ""}
        update = self.make("project_updates", {**ended, "said": self.unreachable, "project": project["id"]})
        project["status"] = status
        project["summary_fields"]["last_job"] = {"id": update["id"], "status": status}
        return update

    def remove(self, table: str, row: Row) -> None:
        """Remove a row with what belongs to it alone."""
        del self.tables[table][row["id"]]
        owner = {
            "inventories": "inventory",
            "projects": "project",
            "workflow_job_templates": "workflow_job_template",
            "job_templates": "unified_job_template",
        }.get(table)
        for name, rows in list(self.tables.items()):
            if name in ("hosts", "groups", "project_updates", "workflow_job_template_nodes", "schedules"):
                for below in [below for below in rows.values() if owner and below.get(owner) == row["id"]]:
                    self.remove(name, below)

    def _survey(self, method: str, path: str, body: Row) -> tuple[int, Row | None]:
        if method == "POST":
            if error := survey_error(body):
                return 400, {"error": error}
            self.surveys[path] = body
        elif method == "DELETE":
            self.surveys.pop(path, None)
            return 200, {}
        return 200, self.surveys.get(path, {})

    def _list(self, method: str, path: str, body: Row) -> tuple[int, Row | None]:
        ids = self.lists.setdefault(path, [])
        if method == "GET":
            return 200, {"count": len(ids), "next": None, "results": [{"id": number} for number in ids]}
        if body.get("disassociate"):
            ids.remove(body["id"])
        else:
            ids.append(body["id"])
        return 204, None


@contextmanager
def serving() -> Iterator[Controller]:
    """Serve a new controller on a free port of the loopback."""
    controller = Controller()
    lock = threading.Lock()
    refusal: Row | None = {"detail": "Authentication credentials were not provided."}

    class Handler(BaseHTTPRequestHandler):
        """One request to the controller."""

        def reply(self) -> None:
            """Answer any method."""
            target = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}") if length else {}
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, document = 401, refusal
            else:
                with lock:
                    status, document = controller.answer(self.command, f"{target.path.rstrip('/')}/", dict(parse_qsl(target.query)), body)
            content = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = reply

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    controller.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
