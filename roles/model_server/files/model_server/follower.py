"""Follow the registry: what bears a served alias is loaded, put in service in place of the former version, and given back when it goes."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from . import registry
from .errors import Unusable, sentence
from .processes import Room
from .registry import ALIASES, Address, Wanted
from .version import Settings, Version, load

logger = logging.getLogger(__name__)

#: seconds until a version that cannot be loaded is tried again; doubled each time up to the second
RETRY = (15.0, 600.0)
#: versions that are loaded at a time
LOADS = 4


class Slot:
    """What is served at one address, and what is wanted there."""

    def __init__(self) -> None:
        self.version: Version | None = None
        self.since: str | None = None
        self.wanted: Wanted | None = None
        self._error: str | None = None
        self._tries = 0
        self._next = 0.0

    @property
    def error(self) -> str | None:
        """What keeps the wanted version away, or the one in service from answering."""
        return self._error or (self.version.error if self.version else None)

    def want(self, wanted: Wanted) -> bool:
        """Take note of what is wanted; returns whether it has to be put in service now."""
        if wanted != self.wanted:
            self.wanted, self._error, self._tries, self._next = wanted, None, 0, 0.0
        return (self.version is None or self.version.wanted != wanted) and time.monotonic() >= self._next

    def fail(self, error: Unusable) -> None:
        """Keep what is in service, and try again later."""
        self._error = str(error)
        self._next = time.monotonic() + (RETRY[1] if error.hopeless else min(RETRY[0] * 2**self._tries, RETRY[1]))
        self._tries += 1

    def put(self, version: Version) -> None:
        """Put a version in service."""
        self.version, self._error, self._tries = version, None, 0
        self.since = datetime.now(UTC).isoformat(timespec="seconds")


class Follower:
    """Keeps the versions in service equal to what the registry wants.

    Args:
        settings: how models are run; what a former process left among the downloads is removed.
        every: seconds between two questions to the registry.
    """

    def __init__(self, settings: Settings, every: float) -> None:
        self.slots: dict[Address, Slot] = {}
        self.registry_error: str | None = None
        self.asked: str | None = None
        """When the registry answered last."""
        self.making: set[Wanted] = set()
        """The versions whose environment is being made."""
        self._settings = settings
        self._every = every
        self._thread = ThreadPoolExecutor(1, "registry")
        self._room = Room(settings.most)
        self._loading: dict[Wanted, asyncio.Task[None]] = {}
        self._loads = asyncio.Semaphore(LOADS)
        self._keeping: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follow for ever."""
        for left in self._settings.downloads.glob("version-*"):
            shutil.rmtree(left, ignore_errors=True)
        while True:
            try:
                wanted = await asyncio.get_running_loop().run_in_executor(self._thread, registry.wanted)
            except Exception as error:
                self._note(sentence(error))
            else:
                self._note(None)
                self._follow(wanted)
            if self._keeping is None or self._keeping.done():
                self._keeping = asyncio.create_task(self._keep())
            await asyncio.sleep(self._every)

    def versions(self) -> set[Version]:
        """The versions in service."""
        return {slot.version for slot in self.slots.values() if slot.version}

    def _note(self, error: str | None) -> None:
        if error and not self.registry_error:
            logger.error("the registry does not answer; what is in service stays: %s", error)
        if not error:
            self.asked = datetime.now(UTC).isoformat(timespec="seconds")
            if self.registry_error:
                logger.info("the registry answers again")
        self.registry_error = error

    def _follow(self, wanted: dict[Address, Wanted]) -> None:
        """Bring the slots to what is wanted, as far as it is loaded, and have the rest loaded."""
        for address in self.slots.keys() - wanted.keys():
            slot = self.slots.pop(address)
            logger.info("%s: alias %s is gone", *address)
            self._let_go(slot.version)
        for version, loading in self._loading.items():
            if version not in wanted.values():
                loading.cancel()
        for address, version in sorted(wanted.items(), key=lambda item: ALIASES.index(item[0].alias)):
            slot = self.slots.setdefault(address, Slot())
            if not slot.want(version):
                continue
            ready = next((other for other in self.versions() if other.wanted == version), None)
            if ready:
                self._put(address, slot, ready)
            elif version not in self._loading:
                self._loading[version] = asyncio.create_task(self._load(version))

    async def _load(self, wanted: Wanted) -> None:
        """Load a version, and put it where it is still wanted then; the others are served, and loaded, meanwhile."""
        try:
            async with self._loads:
                version = await load(wanted, self._settings, self._room, self.making)
        except Unusable as error:
            for address, slot in self._wanting(wanted):
                slot.fail(error)
                kept = f"version {slot.version.wanted.number} stays in service" if slot.version else "nothing is in service"
                logger.error("%s@%s: %s; %s", *address, error, kept)
        else:
            for address, slot in self._wanting(wanted):
                self._put(address, slot, version)
            if version not in self.versions():
                version.give_back()
        finally:
            del self._loading[wanted]

    def _wanting(self, wanted: Wanted) -> list[tuple[Address, Slot]]:
        return [(address, slot) for address, slot in self.slots.items() if slot.wanted == wanted]

    def _put(self, address: Address, slot: Slot, version: Version) -> None:
        former = slot.version
        slot.put(version)
        logger.info("%s@%s: version %s is in service", *address, version.wanted.number)
        self._let_go(former)

    def _let_go(self, version: Version | None) -> None:
        """Give a version back after its last request, unless it is in service elsewhere."""
        if version is None or version in self.versions():
            return
        if version.busy:
            version.on_idle = self._give_back
        else:
            self._give_back(version)

    def _give_back(self, version: Version) -> None:
        version.on_idle = None
        version.give_back()
        logger.info("%s: version %s has answered its last request", version.wanted.name, version.wanted.number)

    async def _keep(self) -> None:
        """Have the environments of what is in service kept."""
        for version in self.versions():
            await version.keep()
