"""One version of a model: loaded and warmed, answering by MLflow's own scoring application, and given back after its last request."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import mlflow.artifacts
import mlflow.pyfunc
from mlflow.pyfunc import scoring_server
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .registry import Wanted

logger = logging.getLogger(__name__)

#: what an application may know of the server that it is mounted in
SCOPE = ("type", "asgi", "http_version", "server", "client", "scheme", "method", "query_string", "headers")
#: characters of an error that are shown
SHOWN = 500


class Unusable(Exception):
    """A version cannot be served; the text says why in one sentence."""


def sentence(error: BaseException) -> str:
    """Return an exception in one line."""
    text = " ".join(str(error).split())
    if len(text) > SHOWN:
        text = f"{text[:SHOWN]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Version:
    """A version in service.

    Args:
        wanted: which one it is.
        model: the model as MLflow loaded it.
        app: MLflow's scoring application with the model in it.
        folder: where its files are; a model may read them as long as it is served.
    """

    def __init__(self, wanted: Wanted, model: mlflow.pyfunc.PyFuncModel, app: ASGIApp, folder: Path) -> None:
        self.wanted = wanted
        self.requests = 0
        self.on_idle: Callable[[Version], None] | None = None
        """Called after the last request; set when nothing refers to the version any more."""
        self._model = model
        self._app = app
        self._folder = folder

    async def answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a path of MLflow's scoring protocol, and say which version did."""
        started = False

        async def send_with_version(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Model-Version"] = self.wanted.number
            await send(message)

        inner: dict[str, Any] = {key: scope[key] for key in SCOPE if key in scope}
        self.requests += 1
        try:
            await self._app({**inner, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send_with_version)
        except Exception as error:  # what the application itself did not turn into an answer; its text may hold what was asked
            logger.error("%s version %s failed at %s with %s", self.wanted.name, self.wanted.number, path, type(error).__name__)
            if not started:
                failure = JSONResponse({"error": f"The model failed with {type(error).__name__}."}, 500)
                await failure(scope, receive, send_with_version)
        finally:
            self.requests -= 1
            if not self.requests and self.on_idle:
                self.on_idle(self)

    def give_back(self) -> None:
        """Free memory and disk. Nobody may use the version afterwards."""
        vars(self._model).clear()  # FastAPI keeps functions that it has seen, and these keep the object
        del self._model, self._app
        sys.path[:] = [entry for entry in sys.path if not Path(entry).is_relative_to(self._folder)]
        shutil.rmtree(self._folder, ignore_errors=True)
        gc.collect()  # an application refers to itself
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system


def load(wanted: Wanted, downloads: Path) -> Version:
    """Download a version, load it, and let it answer its input example. Takes seconds; serving goes on meanwhile.

    Raises:
        Unusable: it cannot be had, cannot be loaded, or fails on its own input example.
    """
    folder = Path(tempfile.mkdtemp(prefix="version-", dir=downloads))
    try:
        version = Version(wanted, *_model_and_application(wanted, folder, downloads), folder)
    except BaseException as error:  # a model may do anything, also end the process
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Unusable):
            raise
        logger.debug("version %s of %s cannot be loaded", wanted.number, wanted.name, exc_info=True)
        raise Unusable(f"version {wanted.number} cannot be loaded: {sentence(error)}") from error
    return version


def _model_and_application(wanted: Wanted, folder: Path, downloads: Path) -> tuple[mlflow.pyfunc.PyFuncModel, ASGIApp]:
    path = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{wanted.name}/{wanted.number}", dst_path=str(folder))
    # Code that other versions brought must not be taken for this one's; they keep what they imported.
    for name, module in list(sys.modules.items()):
        if (file := getattr(module, "__file__", None)) and Path(file).is_relative_to(downloads):
            del sys.modules[name]
    model = mlflow.pyfunc.load_model(path)
    app = scoring_server.init(model)
    if hasattr(app, "wsgi_app"):  # Flask, up to MLflow 2.20
        from a2wsgi import WSGIMiddleware

        app = WSGIMiddleware(app)
    example = model.metadata.get_serving_input(path)
    if example is not None:
        asyncio.run(_warm_up(wanted, app, example))
    return model, app


async def _warm_up(wanted: Wanted, app: ASGIApp, example: str) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://warm-up", timeout=None) as client:
        answer = await client.post("/invocations", content=example, headers={"Content-Type": "application/json"})
    if answer.status_code != 200:
        try:
            said = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            said = answer.text
        said = " ".join(str(said).split())[:SHOWN]
        raise Unusable(f"version {wanted.number} does not answer its own input example (status {answer.status_code}): {said}")
