"""The environment that a version demands: one of this image, or made by the environments' service of this host."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import NamedTuple

from .demands import Demands, in_image
from .errors import Unusable

logger = logging.getLogger(__name__)

#: seconds that making an environment may take
PATIENCE = 3600.0


class Environment(NamedTuple):
    """An environment of this host."""

    key: str
    interpreter: str


async def provide(demands: Demands, image: Path, folder: Path) -> Environment:
    """Find an environment in the image, or have it made, or marked as used when it is there already, which takes milliseconds.

    Args:
        demands: what is to be in it.
        image: folder of the environments in the image.
        folder: that of the service's environments.

    Raises:
        Unusable: it cannot be made.
    """
    if found := in_image(demands, image):
        return Environment(*found)
    request = {"do": "make", "requirements": demands.requirements, "python": demands.python}
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(folder / ".service" / "socket", limit=2**20)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                while line := await reader.readline():
                    answer = json.loads(line)
                    if "made" in answer:
                        return Environment(answer["made"]["key"], answer["made"]["interpreter"])
                    if "mistake" in answer:
                        raise Unusable(f"its environment cannot be made: {answer['mistake']}", hopeless=True)
                    if "failure" in answer:
                        raise Unusable(f"its environment cannot be made: {answer['failure']}")
                    logger.info("environments: %s", answer.get("say", ""))
            finally:
                writer.close()
    except TimeoutError:
        raise Unusable(f"its environment was not made within {PATIENCE:g} seconds") from None
    except OSError as error:
        raise Unusable(f"the environments' service does not answer: {error.strerror or error}") from None
    raise Unusable("the environments' service ended while it made its environment")
