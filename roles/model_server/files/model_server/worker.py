"""One model in a process of its own: ``python -I worker.py <model directory> <socket>``, with the Python of the model's environment.

Answers MLflow's scoring protocol by HTTP/1.1 on a unix socket. MLflow's own function does the work, and no web framework is in between that could break it.
Writes to standard output that it is ready, or in one sentence why not. Python 3.9 or later, MLflow 2.19 to 3.17, and nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import socketserver
import sys
import traceback
import warnings
from http.client import responses

JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Model:
    """A loaded model."""

    def __init__(self, folder: str) -> None:
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        self._server, self._exception = scoring_server, MlflowException
        self._of_text = hasattr(scoring_server, "catch_mlflow_exception")  # up to 2.20, with Flask
        self._model = mlflow.pyfunc.load_model(folder)
        self._schema = self._model.metadata.get_input_schema()
        self._example = self._model.metadata.get_serving_input(folder)
        self.version = scoring_server.VERSION
        os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"  # as MLflow's own server does
        warnings.simplefilter("ignore")  # models repeat theirs for each request

    def answer(self, method: str, path: str, kind: str, body: bytes) -> tuple[int, str, str]:
        """Answer a request with status, content type and text, as MLflow's own server does."""
        wanted = "POST" if path == "/invocations" else "GET"
        if method != wanted:
            return 405, JSON, '{"detail":"Method Not Allowed"}'
        if path == "/invocations":
            return self._score(kind, body)
        if path == "/version":
            return 200, JSON, self.version
        if path == "/example" and self._example is not None:  # for the front alone
            return 200, JSON, self._example
        if path in ("/ping", "/health"):
            return 200, JSON, "\n"
        return 404, JSON, '{"detail":"Not Found"}'

    def _score(self, kind: str, body: bytes) -> tuple[int, str, str]:
        types = self._server.CONTENT_TYPES
        if kind.partition(";")[0].strip() not in types:  # 2.20 asks Flask for the type to say this
            return 415, TEXT, f"This predictor only supports the following content types: Types: {types}. Got '{kind}'."
        try:
            result = self._server.invocations(body.decode() if self._of_text else body, kind, self._model, self._schema)
        except self._exception as error:
            return error.get_http_status_code(), JSON, error.serialize_as_json()
        except UnicodeDecodeError as error:  # 500 with some versions of MLflow
            return (
                400,
                JSON,
                json.dumps({"error_code": "BAD_REQUEST", "message": f"Ensure that input is a valid UTF-8 encoded string. Error: '{error.reason}'"}),
            )
        return result.status, TEXT if result.mimetype == "text/plain" else result.mimetype, result.response


class Handler(socketserver.StreamRequestHandler):
    """One connection of the front, which is its only client, and asks again and again."""

    model: Model

    def handle(self) -> None:
        """Answer until the front closes it."""
        while line := self.rfile.readline():
            method, path, _ = line.decode().split(" ", 2)
            headers = {}
            while (header := self.rfile.readline().decode("latin-1").strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            try:
                status, kind, text = self.model.answer(method, path, headers.get("content-type", ""), body)
            except Exception as error:  # its text may hold what was asked
                print(f"failed at {path} with {type(error).__name__}", file=sys.stderr, flush=True)
                status, kind, text = 500, JSON, json.dumps({"error": f"The model failed with {type(error).__name__}."})
            content = text.encode()
            head = f"HTTP/1.1 {status} {responses.get(status, '')}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + content)
            except OSError:  # the front waits no longer
                return


class Server(socketserver.ThreadingUnixStreamServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Load the model, say so, and answer."""
    folder, address = sys.argv[1:]
    status = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a model prints is for the log
    try:
        Handler.model = Model(folder)
        os.umask(0o007)
        server = Server(address, Handler)
    except BaseException as error:  # a model may do anything, also end the process
        traceback.print_exc()
        text = " ".join(str(error).split())
        text = f"{text[:500]}..." if len(text) > 500 else text
        print(json.dumps({"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}), file=status, flush=True)
        os._exit(1)
    print(json.dumps({"ready": {"mlflow": Handler.model.version, "python": platform.python_version()}}), file=status, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
