"""The processes that models run in, as the front sees them, and how many there may be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .environments import Environment
from .errors import Unusable

logger = logging.getLogger(__name__)

#: requests that a process answers at a time, as many as MLflow's own server does; others wait
AT_A_TIME = min(32, (os.cpu_count() or 1) + 4)
#: seconds that the runner may take to say what a process takes of memory
MEMORY_PATIENCE = 2.0


class Ended(Exception):
    """The process ended before it answered."""


class Answer(NamedTuple):
    """What a process answers."""

    status: int
    kind: str
    content: bytes


class Connections:
    """Connections to a process, used again and again: HTTP/1.1 as worker.py speaks it. A client library takes ten times as long for a request.

    Args:
        place: the process's socket.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._limit = asyncio.Semaphore(AT_A_TIME)

    async def ask(self, method: str, path: str, content: bytes, kind: str) -> Answer:
        """Ask, and wait for the answer.

        Raises:
            Ended: the process ended.
        """
        async with self._limit:
            try:
                reader, writer = self._free.pop() if self._free else await asyncio.open_unix_connection(self._place)
            except OSError as error:
                raise Ended from error
            try:
                head = f"{method} {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(head.encode("latin-1") + content)
                await writer.drain()
                line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                answer = Answer(int(line.split(" ")[1]), headers["Content-Type"], await reader.readexactly(int(headers["Content-Length"])))
            except (OSError, EOFError) as error:
                writer.close()
                raise Ended from error
            except BaseException:  # whoever asked waits no longer, and the answer may still come
                writer.close()
                raise
            self._free.append((reader, writer))
            return answer

    def close(self) -> None:
        """End them."""
        for _, writer in self._free:
            writer.close()


class Process:
    """A model in memory, ready to answer; a connection to the runner, which ends the process when that is closed.

    Args:
        place: its socket.
        ready: what it said when it was ready.
    """

    def __init__(self, place: str, ready: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.mlflow, self.python = str(ready["mlflow"]), str(ready["python"])
        self.since = time.monotonic()
        self._connections = Connections(place)
        self._writer = writer
        self._memory: asyncio.Future[int | None] | None = None
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def start(cls, sockets: Path, environment: Environment, model: Path) -> Process:
        """Have a model loaded.

        Raises:
            Unusable: it cannot be.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(sockets / "runner", limit=2**20)
        except OSError as error:
            raise Unusable(f"the runner of models does not answer: {error.strerror or error}") from None
        try:
            writer.write(json.dumps({"interpreter": environment.interpreter, "model": str(model)}).encode() + b"\n")
            place = ""
            while line := await reader.readline():
                said = json.loads(line)
                place = said.get("socket", place)
                if "ready" in said:
                    return cls(place, said["ready"], reader, writer)
                if "error" in said:
                    raise Unusable(said["error"])
                if "ended" in said:
                    raise Unusable(f"its process ended {said['ended']} while it was loaded, for want of memory perhaps")
            raise Unusable("the runner of models ended")
        except BaseException:
            writer.close()
            raise

    async def ask(self, method: str, path: str, content: bytes = b"", kind: str = "") -> Answer:
        """Let the model answer.

        Raises:
            Ended: the process ended.
        """
        return await self._connections.ask(method, path, content, kind)

    async def memory(self) -> int | None:
        """Bytes of memory that it takes; nothing when it does not run any more."""
        if self._memory is None:
            self._memory = asyncio.get_running_loop().create_future()
            self._writer.write(b"memory\n")
        try:
            return await asyncio.wait_for(asyncio.shield(self._memory), MEMORY_PATIENCE)
        except TimeoutError:
            return None

    async def ended(self) -> str:
        """Wait until it ends; returns how."""
        return await asyncio.shield(self._listening)

    def end(self) -> None:
        """End it."""
        self._writer.close()
        self._connections.close()

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        how = "with its runner"
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                said = json.loads(line)
                if "memory" in said and self._memory:
                    self._memory.set_result(said["memory"])
                    self._memory = None
                if "ended" in said:
                    how = str(said["ended"])
                    break
        if self._memory:
            self._memory.set_result(None)
        self._writer.close()
        return how


class Evictable(Protocol):
    """What may have a process."""

    used: float

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request needs it."""

    def evict(self) -> None:
        """End its process."""


class Room:
    """Bounds the models in memory.

    Args:
        most: how many there may be; 0 for no limit. When all of them are at work, one more is let in rather than a request lost.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: set[Evictable] = set()

    def enter(self, version: Evictable) -> None:
        """Let a version in, and the ones that were used least recently out."""
        while self._most and len(self._inside - {version}) >= self._most:
            idle = [other for other in self._inside - {version} if other.idle]
            if not idle:
                break
            min(idle, key=lambda other: other.used).evict()
        self._inside.add(version)

    def leave(self, version: Evictable) -> None:
        """A version is not in memory any more."""
        self._inside.discard(version)
