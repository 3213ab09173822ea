"""The application: who may ask, what is served, and the way of a request to the version that answers it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .follower import Follower
from .page import PAGE_HEADERS, page
from .registry import ALIASES, Address
from .version import Refusal

#: paths of MLflow's scoring protocol
PROTOCOL = ("invocations", "ping", "health", "version")
HEALTH = "/health"


class Login(AuthenticationBackend):
    """Basic authentication of one user; the health check needs none."""

    def __init__(self, credentials: bytes) -> None:
        self._digest = hashlib.sha256(credentials).digest()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Let the one user in, in a time that says nothing of the password."""
        if conn.scope["path"] == HEALTH:
            return None
        scheme, _, encoded = conn.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            given = b""
        if not hmac.compare_digest(hashlib.sha256(given).digest(), self._digest) or scheme.lower() != "basic":
            raise AuthenticationError("user name and password are needed")
        return AuthCredentials(["authenticated"]), SimpleUser(given.partition(b":")[0].decode(errors="replace"))


def refuse(_conn: HTTPConnection, error: Exception) -> Response:
    """Ask for the password."""
    return JSONResponse({"error": f"{error}."}, 401, {"WWW-Authenticate": 'Basic realm="models", charset="UTF-8"'})


async def health(_request: Request) -> Response:
    """Say that the server runs, whatever the registry does."""
    return PlainTextResponse("OK")


def address(text: str) -> Address:
    """Return what ``<name>`` or ``<name>@<alias>`` of a path stands for."""
    name, at, alias = text.rpartition("@")
    return Address(name, alias) if at and alias in ALIASES else Address(text, ALIASES[0])


class Models:
    """Answers of the models.

    Args:
        follower: knows what is served.
        user: name of who may ask, for the page.
        mlflow: address of MLflow's pages; empty for no links.
    """

    def __init__(self, follower: Follower, user: str, mlflow: str) -> None:
        self._follower, self._user, self._mlflow = follower, user, mlflow

    async def served(self) -> dict[str, Any]:
        """Return what is served, and what keeps the rest from it."""
        versions = list(self._follower.versions())
        memory = dict(zip(versions, await asyncio.gather(*(version.memory() for version in versions)), strict=True))
        models = [
            {
                "name": name,
                "alias": alias,
                "version": slot.version.wanted.number if slot.version else None,
                "wanted": slot.wanted.number if slot.wanted else None,
                "making": slot.wanted in self._follower.making,
                "since": slot.since,
                "error": slot.error,
                "path": f"/models/{name}" if alias == ALIASES[0] else f"/models/{name}@{alias}",
                "run": slot.version.run if slot.version else None,
                "requests": slot.version.requests if slot.version else 0,
                "memory_bytes": memory.get(slot.version) if slot.version else None,
                "environment": slot.version.environment.key if slot.version and slot.version.environment else None,
                "python": slot.version.python if slot.version else None,
                "mlflow": slot.version.mlflow if slot.version else None,
            }
            for (name, alias), slot in sorted(self._follower.slots.items())
        ]
        return {"models": models, "registry": {"asked": self._follower.asked, "error": self._follower.registry_error}}

    async def list(self, request: Request) -> Response:
        """Answer GET /models: a page for who asks for HTML, JSON for programs."""
        served = await self.served()
        if "text/html" not in request.headers.get("Accept", ""):
            return JSONResponse(served, headers={"Vary": "Accept"})
        examples = {f"{name}@{alias}": slot.version.example for (name, alias), slot in self._follower.slots.items() if slot.version}
        return HTMLResponse(page(served, examples, str(request.base_url), self._user, self._mlflow), headers={"Vary": "Accept", **PAGE_HEADERS})

    async def ask(self, request: Request) -> Response:
        """Let the version that is in service at this moment answer, whatever changes meanwhile."""
        asked, path = request.path_params["model"], request.path_params["path"]
        slot = self._follower.slots.get(address(asked))
        if path not in PROTOCOL:
            return JSONResponse({"error": f"There is no {path}; a model has {', '.join(PROTOCOL)}."}, 404)
        if slot is None:
            name, alias = address(asked)
            return JSONResponse({"error": f"No version of {name} bears the alias {alias} in MLflow's registry."}, 404)
        version = slot.version
        if version is None:
            why = slot.error or "the version is being loaded"
            return JSONResponse({"error": f"No version of {asked} is in service: {why}."}, 503, {"Retry-After": "2"})
        headers = {"X-Model-Version": version.wanted.number}
        try:
            status, kind, content = await version.answer(request, path)
        except Refusal as refusal:
            return JSONResponse({"error": refusal.why}, 503, {**headers, "Retry-After": str(refusal.again)})
        return Response(content, status, headers, kind)


def make(follower: Follower, credentials: bytes, mlflow: str) -> Starlette:
    """Return the application.

    Args:
        follower: it runs as long as the application does.
        credentials: ``user:password`` of who may ask.
        mlflow: address of MLflow's pages for people, if there is one.
    """
    models = Models(follower, credentials.partition(b":")[0].decode(errors="replace"), mlflow)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(follower.run())
        yield
        following.cancel()

    return Starlette(
        routes=[
            Route(HEALTH, health),
            Route("/models", models.list),
            Route("/models/{model}/{path}", models.ask, methods=["GET", "POST"]),
        ],
        middleware=[Middleware(AuthenticationMiddleware, backend=Login(credentials), on_error=refuse)],
        lifespan=lifespan,
    )
