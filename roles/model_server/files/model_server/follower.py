"""Follow the registry: what bears a served alias is loaded, put in service in place of the former version, and given back when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from . import registry
from .registry import ALIASES, Address, Wanted
from .version import Unusable, Version, load, sentence

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: seconds until a version that cannot be loaded is tried again; doubled each time up to the second
RETRY = (15.0, 600.0)
#: how often the process may end while it loads a version until that is left alone
DEATHS = 2


class Slot:
    """What is served at one address, and what is wanted there."""

    def __init__(self) -> None:
        self.version: Version | None = None
        self.since: str | None = None
        self.wanted: Wanted | None = None
        self.error: str | None = None
        self._tries = 0
        self._next = 0.0

    def want(self, wanted: Wanted) -> bool:
        """Take note of what is wanted; returns whether it has to be put in service now."""
        if wanted != self.wanted:
            self.wanted, self.error, self._tries, self._next = wanted, None, 0, 0.0
        return (self.version is None or self.version.wanted != wanted) and time.monotonic() >= self._next

    def fail(self, error: str) -> None:
        """Keep what is in service, and try again later."""
        self.error = error
        self._next = time.monotonic() + min(RETRY[0] * 2**self._tries, RETRY[1])
        self._tries += 1

    def put(self, version: Version) -> None:
        """Put a version in service."""
        self.version, self.error, self._tries = version, None, 0
        self.since = datetime.now(UTC).isoformat(timespec="seconds")


class Attempt:
    """Remembers over the end of the process which version was being loaded then, so that one that ends it does not do so for ever.

    Args:
        file: there while a version is being loaded.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._deaths: dict[Wanted, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            wanted, deaths = json.loads(file.read_text(encoding="utf-8"))
            self._deaths[Wanted(*wanted)] = deaths
        file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def at(self, wanted: Wanted) -> Iterator[None]:
        """Note that a version is being loaded.

        Raises:
            Unusable: the process has ended in that too often.
        """
        deaths = self._deaths.get(wanted, 0)
        if deaths >= DEATHS:
            raise Unusable(
                f"version {wanted.number} is not loaded: {deaths} times the server ended while it was, for want of memory perhaps; restart it to try again"
            )
        self._file.write_text(json.dumps([wanted, deaths + 1]), encoding="utf-8")
        try:
            yield
        finally:  # also when the server is stopped meanwhile
            self._file.unlink(missing_ok=True)


class Follower:
    """Keeps the versions in service equal to what the registry wants.

    Args:
        downloads: folder for the files of versions; what a former process left in it is removed.
        every: seconds between two questions to the registry.
        patience: seconds that loading a version may take.
    """

    def __init__(self, downloads: Path, every: float, patience: float) -> None:
        self.slots: dict[Address, Slot] = {}
        self.registry_error: str | None = None
        self.asked: str | None = None
        """When the registry answered last."""
        self._downloads = downloads
        self._every = every
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, "registry")
        self._attempt = Attempt(downloads / "loading.json")

    async def run(self) -> None:
        """Follow for ever."""
        for left in self._downloads.glob("version-*"):
            shutil.rmtree(left, ignore_errors=True)
        while True:
            tried = False
            try:
                wanted = await self._in_thread(registry.wanted)
            except Exception as error:
                self._note(sentence(error))
            else:
                self._note(None)
                tried = await self._follow(wanted)
            if not tried:  # loading took its time: ask at once
                await asyncio.sleep(self._every)

    def _note(self, error: str | None) -> None:
        if error and not self.registry_error:
            logger.error("the registry does not answer; what is in service stays: %s", error)
        if not error:
            self.asked = datetime.now(UTC).isoformat(timespec="seconds")
            if self.registry_error:
                logger.info("the registry answers again")
        self.registry_error = error

    async def _follow(self, wanted: dict[Address, Wanted]) -> bool:
        """Bring the slots to what is wanted; returns whether something was loaded."""
        for address in self.slots.keys() - wanted.keys():
            slot = self.slots.pop(address)
            logger.info("%s: alias %s is gone", *address)
            self._let_go(slot.version)
        tried = False
        for address, version in sorted(wanted.items(), key=lambda item: ALIASES.index(item[0].alias)):
            slot = self.slots.setdefault(address, Slot())
            if not slot.want(version):
                continue
            ready = next((other.version for other in self.slots.values() if other.version and other.version.wanted == version), None)
            if ready is None:
                tried = True
                try:
                    ready = await self._load(version)
                except Unusable as error:
                    slot.fail(str(error))
                    kept = f"version {slot.version.wanted.number} stays in service" if slot.version else "nothing is in service"
                    logger.error("%s@%s: %s; %s", *address, error, kept)
                    continue
            former = slot.version
            slot.put(ready)
            logger.info("%s@%s: version %s is in service", *address, version.number)
            self._let_go(former)
        return tried

    async def _load(self, wanted: Wanted) -> Version:
        with self._attempt.at(wanted):
            try:
                return await asyncio.wait_for(self._in_thread(load, wanted, self._downloads), self._patience)
            except TimeoutError:
                self._thread = ThreadPoolExecutor(1, "registry")  # the former thread cannot be ended, only left alone
                raise Unusable(f"version {wanted.number} cannot be loaded: it took longer than {self._patience:g} seconds") from None

    def _let_go(self, version: Version | None) -> None:
        """Give a version back after its last request, unless it is in service elsewhere."""
        if version is None or any(slot.version is version for slot in self.slots.values()):
            return
        if version.requests:
            version.on_idle = self._give_back
        else:
            self._give_back(version)

    def _give_back(self, version: Version) -> None:
        version.on_idle = None
        self._thread.submit(version.give_back)
        logger.info("%s: version %s has answered its last request", version.wanted.name, version.wanted.number)

    async def _in_thread(self, do: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)
