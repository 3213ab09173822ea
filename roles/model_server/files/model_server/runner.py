"""Start models' processes for the front: ``python -m model_server.runner``. It has no secret, and neither has what it starts.

Each connection to the socket ``<LAB_MODELS_SOCKETS>/runner`` is one process. The front sends a line of JSON, and reads lines of JSON::

    {"interpreter": "/opt/environments/<key>/bin/python", "model": "/var/lib/models/version-x/model"}
        {"socket": ...}  then  {"ready": {...}}  or  {"error": "<sentence>"}  and at the end  {"ended": "by signal 9"}

A line ``memory`` is answered by ``{"memory": <bytes>}``. When the front closes the connection, the process is ended.

    LAB_MODELS_SOCKETS       folder of the sockets
    LAB_MODELS_ENVIRONMENT   a JSON object: what the models find in their environment besides PATH, HOME, LANG and MPLBACKEND
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

SOCKETS = Path(os.environ["LAB_MODELS_SOCKETS"])
WORKER = Path(__file__).with_name("worker.py")
MORE: dict[str, str] = json.loads(os.environ.get("LAB_MODELS_ENVIRONMENT") or "{}")


async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run a process as long as the front keeps the connection."""

    def say(**words: Any) -> None:
        writer.write(json.dumps(words).encode() + b"\n")

    request = json.loads(await reader.readline())
    place = SOCKETS / secrets.token_hex(6)  # never one that another model had
    home = tempfile.mkdtemp(prefix="model-")
    process = None
    try:
        process = await start(request["interpreter"], request["model"], place, home)
        say(socket=str(place))
        asking = asyncio.create_task(answer(reader, say, process.pid))
        ending = asyncio.create_task(follow(process, say))
        await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
    except OSError as error:
        say(error=f"{request['interpreter']} cannot be started: {error.strerror}")
    finally:
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        place.unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        writer.close()


async def start(interpreter: str, model: str, place: Path, home: str) -> asyncio.subprocess.Process:
    """Start a process with an environment that holds nothing of this one's."""
    place.unlink(missing_ok=True)
    path = f"{Path(interpreter).parent}:/usr/local/bin:/usr/bin:/bin"
    known = {"PATH": path, "HOME": home, "LANG": "C.UTF-8", "MPLBACKEND": "Agg", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return await asyncio.create_subprocess_exec(
        interpreter,
        "-I",  # neither variables nor the current folder say what is imported
        str(WORKER),
        model,
        str(place),
        env={**known, **MORE},
        cwd=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def follow(process: asyncio.subprocess.Process, say: Any) -> None:
    """Pass on what the process says of itself, and that it has ended."""
    assert process.stdout
    while line := await process.stdout.readline():
        say(**json.loads(line))
    code = await process.wait()
    say(ended=f"by signal {-code}" if code < 0 else f"with exit code {code}")


async def answer(reader: asyncio.StreamReader, say: Any, pid: int) -> None:
    """Answer the front's questions until it closes the connection."""
    while await reader.readline():
        say(memory=memory(pid))


def memory(pid: int) -> int | None:
    """Bytes of a process, with its part of what it shares with others."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return None


async def main() -> None:
    """Serve until the process is stopped, and take all models along then."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    SOCKETS.mkdir(parents=True, exist_ok=True)
    for left in SOCKETS.iterdir():
        left.unlink()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            await run(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            running.discard(task)

    os.umask(0o007)  # the front is in this one's group
    async with await asyncio.start_unix_server(serve, SOCKETS / "runner"):
        print("ready to run models", flush=True)
        await stopped.wait()
        for task in running:
            task.cancel()
        await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main())
