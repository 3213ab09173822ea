"""One version of a model: downloaded, run in a process with its own environment, started again when that ends, and given back after its last request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient
from starlette.requests import Request

from .demands import Demands, Unclear, demanded
from .environments import Environment, provide
from .errors import Unusable, sentence, shortened
from .processes import Answer, Ended, Process, Room
from .registry import Wanted

logger = logging.getLogger(__name__)

#: seconds after which a process that ended is started again, for each end in a row; the last counts for all further ones
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
#: seconds of life after which an end is the first in a row
STEADY = 60.0


@dataclass(frozen=True)
class Settings:
    """How models are run."""

    downloads: Path
    sockets: Path
    environments: Path
    in_image: Path
    most: int
    load_seconds: float
    request_seconds: float
    keep_seconds: float


class Refusal(Exception):
    """There is no answer now.

    Args:
        why: one sentence.
        again: seconds after which asking again may help.
    """

    def __init__(self, why: str, again: int) -> None:
        super().__init__(why)
        self.why, self.again = why, again


class Version:
    """A version in service.

    Args:
        wanted: which one it is.
        folder: its files, and nothing else.
        model: MLflow's model directory in there.
        run: the run that made it, if one did.
        settings: how to run it.
        room: the place in memory that it shares with others.

    Raises:
        Unusable: it does not say what it demands.
    """

    def __init__(self, wanted: Wanted, folder: Path, model: Path, run: str | None, settings: Settings, room: Room) -> None:
        self.wanted, self.run = wanted, run
        try:
            self.demands: Demands = demanded(model)
        except Unclear as error:
            raise Unusable(str(error), hopeless=True) from None
        self.environment: Environment | None = None
        self.mlflow: str | None = None
        self.python: str | None = None
        self.example: str | None = None
        self.error: str | None = None
        """Why there is no process at the moment, when there should be one."""
        self.requests = 0
        self.used = time.monotonic()
        self.on_idle: Callable[[Version], None] | None = None
        """Called after the last request; set when nothing refers to the version any more."""
        self._folder, self._model, self._settings, self._room = folder, model, settings, room
        self._open = 0
        self._asked = 0.0
        self._process: Process | None = None
        self._starting: asyncio.Task[Process] | None = None
        self._ends = 0
        self._again = 0.0
        self._reviving = False
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request needs it."""
        return self._process is not None and not self._open

    @property
    def busy(self) -> bool:
        """Whether requests are being answered."""
        return self._open > 0

    async def answer(self, request: Request, path: str) -> Answer:
        """Answer a request for a path of MLflow's scoring protocol.

        Raises:
            Refusal: its process does not run, and cannot be started at once.
        """
        self.requests += 1
        self._open += 1
        self.used = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                if self._process is None and (self._reviving or time.monotonic() < self._again):
                    raise self._refusal()
                process = self._process or await self.start()
                method = "POST" if request.method == "POST" else "GET"
                return await process.ask(method, f"/{path}", await request.body(), request.headers.get("Content-Type", ""))
        except TimeoutError:  # MLflow's own words
            return Answer(504, "application/json", b"Request processing time exceeded limit")
        except Unusable as error:
            self._fail(error)
            raise self._refusal() from None
        except Ended:
            raise Refusal("The model's process ended while it answered; it is started again.", 1) from None
        finally:
            self._open -= 1
            if not self._open and self.on_idle:
                self.on_idle(self)

    def _refusal(self) -> Refusal:
        return Refusal(f"{self.error}.", max(1, math.ceil(self._again - time.monotonic())))

    async def start(self) -> Process:
        """Start its process, or wait until it is started.

        Raises:
            Unusable: it cannot be loaded, or fails on its own input example.
        """
        if self._starting is None:
            self._room.enter(self)
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def keep(self) -> None:
        """Have the environment kept; say in the log when that cannot be."""
        if self.environment and time.monotonic() - self._asked > self._settings.keep_seconds:
            try:
                await self.make_environment()
            except Unusable as error:
                logger.warning("%s version %s: %s", self.wanted.name, self.wanted.number, error)

    async def memory(self) -> int | None:
        """Bytes of memory; nothing when it is not in memory."""
        return await self._process.memory() if self._process else None

    def evict(self) -> None:
        """End its process; the next request starts it again."""
        logger.info("%s: version %s leaves memory until it is asked", self.wanted.name, self.wanted.number)
        self._end()

    def give_back(self) -> None:
        """Free memory and disk. Nobody may use the version afterwards."""
        if self._starting:
            self._starting.cancel()
        for task in self._watching:
            task.cancel()
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        self._room.leave(self)
        process, self._process = self._process, None
        if process:
            process.end()

    def _started(self, task: asyncio.Task[Process]) -> None:
        self._starting = None
        if task.cancelled() or task.exception():
            self._room.leave(self)
            return
        self._process, self.error = task.result(), None
        watching = asyncio.create_task(self._watch(self._process))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def _start(self) -> Process:
        environment = await self.make_environment()  # which takes milliseconds where it is there
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                process = await Process.start(self._settings.sockets, environment, self._model)
                try:
                    await self._warm_up(process)
                except BaseException:
                    process.end()
                    raise
        except TimeoutError:
            raise Unusable(f"it took longer than {self._settings.load_seconds:g} seconds") from None
        self.mlflow, self.python = process.mlflow, process.python
        return process

    async def make_environment(self) -> Environment:
        """Have its environment made, or kept.

        Raises:
            Unusable: it cannot be made, and there is none from before.
        """
        self._asked = time.monotonic()
        try:
            self.environment = await provide(self.demands, self._settings.in_image, self._settings.environments)
        except Unusable:
            if self.environment is None or not Path(self.environment.interpreter).exists():
                raise
        return self.environment

    async def _warm_up(self, process: Process) -> None:
        """Let it answer its own input example, if it has one."""
        try:
            example = await process.ask("GET", "/example")
            if example.status != 200:
                return
            self.example = example.content.decode()
            answer = await process.ask("POST", "/invocations", example.content, "application/json")
        except Ended:
            raise Unusable("its process ended while it answered its own input example") from None
        if answer.status != 200:
            said = answer.content.decode()
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = str(json.loads(said)["message"])
            raise Unusable(f"it does not answer its own input example (status {answer.status}): {shortened(said)}")

    async def _watch(self, process: Process) -> None:
        """Start another process when this one ends unasked."""
        how = await process.ended()
        if self._process is not process:
            return
        if time.monotonic() - process.since > STEADY:
            self._ends = 0
        self._reviving = True
        self._end()
        self._fail(f"the process of version {self.wanted.number} ended {how}; it is started again")
        while self._process is None:
            await asyncio.sleep(self._again - time.monotonic())
            try:
                await self.start()
            except Unusable as error:
                self._fail(error)
        self._reviving = False
        logger.info("%s: version %s answers again", self.wanted.name, self.wanted.number)

    def _fail(self, why: Unusable | str) -> None:
        """Remember why there is no process, and when to try again."""
        if self._ends == 0 or time.monotonic() >= self._again:  # several requests may fail by the same
            self._again = time.monotonic() + PAUSES[min(self._ends, len(PAUSES) - 1)]
            self._ends += 1
            self.error = why if isinstance(why, str) else f"version {self.wanted.number} cannot be started again: {why}"
            logger.error("%s: %s", self.wanted.name, self.error)


async def load(wanted: Wanted, settings: Settings, room: Room, making: set[Wanted]) -> Version:
    """Download a version, have its environment made, start it, and let it answer its input example. Serving goes on meanwhile.

    Args:
        wanted: which one it is.
        settings: how to run it.
        room: the place in memory that it shares with others.
        making: has the version in it while its environment is made.

    Raises:
        Unusable: it cannot be had, cannot be loaded, or fails on its own input example.
    """
    folder = Path(tempfile.mkdtemp(prefix="version-", dir=settings.downloads))
    folder.chmod(0o755)  # the models' user reads it
    version = None
    try:
        async with asyncio.timeout(settings.load_seconds):
            model, run = await asyncio.to_thread(_download, wanted, folder)
        version = Version(wanted, folder, model, run, settings, room)
        making.add(wanted)
        await version.make_environment()
        making.discard(wanted)
        await version.start()
    except BaseException as error:
        if version:
            version.give_back()
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, TimeoutError):
            error = Unusable(f"its download took longer than {settings.load_seconds:g} seconds")
        if isinstance(error, Unusable):
            raise Unusable(f"version {wanted.number} cannot be loaded: {error}", error.hopeless) from None
        if isinstance(error, Exception):
            logger.debug("version %s of %s cannot be loaded", wanted.number, wanted.name, exc_info=True)
            raise Unusable(f"version {wanted.number} cannot be loaded: {sentence(error)}") from error
        raise
    finally:
        making.discard(wanted)
    return version


def _download(wanted: Wanted, folder: Path) -> tuple[Path, str | None]:
    """Fetch a version's files; returns the model directory, and the run that made it."""
    import mlflow.artifacts

    run = None
    with contextlib.suppress(Exception):  # it can be served without
        run = MlflowClient().get_model_version(wanted.name, wanted.number).run_id or None
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{wanted.name}/{wanted.number}", dst_path=str(folder))), run
