"""Optuna's dashboard behind a login, for reading alone: it has neither a login nor a mode without buttons that delete.

``LAB_CREDENTIALS_FILE`` holds ``user:password``, and ``LAB_OPTUNA_STORAGE_FILE`` the address of the database. Whatever the page offers, only GET and HEAD get
through, and the database is told to refuse changes, too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Empty(Exception):
    """There is nothing to show yet; one sentence."""


class ReadOnly:
    """A WSGI application that lets through who knows the login, and only to read."""

    def __init__(self, login: str, opening: Callable[[], Wsgi]) -> None:
        """Guard an application.

        Args:
            login: ``user:password``.
            opening: Makes the application; called when somebody first wants it, and again as long as it fails.
        """
        if not all(login.partition(":")[::2]):
            raise ValueError("the login has to be user:password")
        self.login, self.opening = login.encode(), opening
        self.lock = threading.Lock()
        self.inner: Wsgi | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""

        def say(status: str, words: str, *headers: tuple[str, str]) -> Iterable[bytes]:
            body = f"{words}\n".encode()
            start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

        if environ.get("PATH_INFO") == "/health":
            return say("200 OK", "OK")
        if not self.knows(environ.get("HTTP_AUTHORIZATION", "")):
            return say("401 Unauthorized", "Log in with the workbench's user and password.", ("WWW-Authenticate", 'Basic realm="studies", charset="UTF-8"'))
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return say("405 Method Not Allowed", "Studies are only shown here; nothing can be changed.", ("Allow", "GET, HEAD"))
        try:
            with self.lock:
                self.inner = self.inner or self.opening()
        except Empty as error:
            return say("200 OK", str(error))
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            print(f"[studies] {type(error).__name__}: {first}", file=sys.stderr, flush=True)
            return say("503 Service Unavailable", f"No study can be shown, since the database cannot be read ({type(error).__name__}); try again.")
        return self.inner(environ, start_response)

    def knows(self, authorization: str) -> bool:
        """Tell whether a request names the login, in a time that says nothing about it."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self.login)


def dashboard(url: str) -> Wsgi:
    """Optuna's dashboard on a database that is there: no table is made, and Postgres refuses every change.

    Raises:
        Empty: no search has made the tables yet.
    """
    import optuna_dashboard
    import sqlalchemy
    from optuna.storages import RDBStorage

    readonly = {"connect_args": {"options": "-c default_transaction_read_only=on", "connect_timeout": 10}} if url.startswith("postgresql") else {}
    options: dict[str, Any] = {"pool_pre_ping": True, **readonly}
    engine = sqlalchemy.create_engine(url, **options)
    try:
        if not sqlalchemy.inspect(engine).has_table("version_info"):
            raise Empty("There is no study yet: the first experiment with a search makes one.")
    finally:
        engine.dispose()
    # The dashboard has a page of its own for tables of another Optuna.
    storage = RDBStorage(url, engine_kwargs=options, skip_compatibility_check=True, skip_table_creation=True)
    application: Wsgi = optuna_dashboard.wsgi(storage)
    return application


class Server(ThreadingMixIn, WSGIServer):
    """Serves every request in a thread of its own."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Writes no line for each request; a page asks every few seconds."""

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the process is told to stop."""
    login = Path(os.environ["LAB_CREDENTIALS_FILE"]).read_text(encoding="utf-8").strip()
    url = Path(os.environ["LAB_OPTUNA_STORAGE_FILE"]).read_text(encoding="utf-8").strip()
    host, port = os.environ.get("LAB_STUDIES_HOST", "0.0.0.0"), int(os.environ.get("LAB_STUDIES_PORT", "8000"))
    with make_server(host, port, ReadOnly(login, lambda: dashboard(url)), Server, Quiet) as server:
        print(f"studies at {host}:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
