"""What the tests on a host have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

# `docker exec` ends with it when the process was not started. Of a container that has ended it says so, and that is for the tests to judge.
NOT_STARTED, RUNTIME, ENDED = 126, "OCI runtime exec failed", "stopped container"


@pytest.fixture(scope="session", autouse=True)
def engine_is_asked_once_more() -> Iterator[None]:
    """Ask again where the engine did not start a process in a container that runs: seen once in CI, and a warning says it each time."""
    run = Host.run

    def asked(host: Host, command: str, *args: str, **kwargs: Any) -> CommandResult:
        done: CommandResult = run(host, command, *args, **kwargs)
        if done.rc == NOT_STARTED and RUNTIME in done.stderr + done.stdout and ENDED not in done.stderr + done.stdout:
            warnings.warn(f"asked once more: {done.stderr.strip() or done.stdout.strip()}", stacklevel=2)
            done = run(host, command, *args, **kwargs)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "run", asked)
        yield
