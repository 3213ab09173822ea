"""The order of a deployment: stage, prove, release, confirm; and withdraw when anything of it fails."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from lab_deployment.target import Deployment, Target


def deploy(target: type[Target], deployment: Deployment) -> dict[str, Any]:
    """Deploy a model.

    Returns:
        ``where``, ``when``, ``seconds``, ``digest``, ``name`` and ``version`` when the target registered the model, and ``page``: the address for people,
        empty when there is none.

    Raises:
        Mistakes, Failure: It is not deployed, and what was in service before still is.
    """
    begun = time.monotonic()
    at_work = target(deployment)
    say = deployment.say
    try:
        say(f"stage {deployment.model.title} for {target.name}")
        at_work.stage()
        deployment.prove(at_work.predict())
        say("proven: its predictions equal the model's own")
        where = at_work.release()
        at_work.confirm()
        say(f"in service: {where}")
    except BaseException as error:
        say(f"withdraw: {type(error).__name__}: {error}")
        try:
            at_work.withdraw()
        except Exception as second:  # the first failure is the one to be told
            say(f"withdrawing failed too: {type(second).__name__}: {second}")
        raise
    return {
        "where": where,
        "when": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(time.monotonic() - begun, 2),
        "digest": deployment.model.digest,
        "name": at_work.model.name,
        "version": at_work.model.version,
        "page": at_work.page,
    }
