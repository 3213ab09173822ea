"""Python environments beside the project's own: found by name, and made on this host by the environments' service (role ``environments``).

Nothing is installed here: the service has the index and its credential, and this process sees what it made. Those that the lab put into the image
(``airflow_image_environments``) are used from there, and the service is not asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_experiment.failures import Failure, Mistakes

PROJECT = "project"
"""The environment in the image, which counts where none is named."""


@dataclass(frozen=True)
class Environment:
    """An environment on this host."""

    name: str
    interpreter: str
    lock: str | None
    """The text that it was made from; None for a project's environment without a lock."""
    key: str = ""
    """What the service calls it, or would; empty for the project's."""


def project() -> Environment:
    """The environment that this process runs in."""
    lock = Path(sys.prefix) / "project.txt"
    return Environment(PROJECT, sys.executable, lock.read_text(encoding="utf-8") if lock.is_file() else None)


def provide(name: str, say: Callable[[str], None] = lambda line: None) -> Environment:
    """The environment of that name: the one in the image, or else made on this host if it is not there yet.

    Args:
        name: ``project``, or the name of a lock in the folder that LAB_ENVIRONMENT_LOCKS names.
        say: Is told what is installed, a line each.

    Raises:
        Mistakes: There is no such lock, or it is not the one of the requirements any more.
        Failure: It cannot be made.
    """
    if name == PROJECT:
        return project()
    folder = folder_of_locks()
    lock = folder / f"{name}.lock"
    if not lock.is_file():
        known = ", ".join([PROJECT, *sorted(path.stem for path in folder.glob("*.lock"))])
        way = f"The verbs run and start lock environments/{name}.in and bring it"
        raise Mistakes([f"environment has {name!r}, of which there is no lock here; allowed: {known}. {way}."])
    text = lock.read_text(encoding="utf-8")
    asked_for = header(text).get("asked", "")
    files = {f"{name}{ending}": [folder / f"{name}{ending}"] for ending in (".in", ".txt", ".toml")}
    for shown, paths in {**files, f"{name}/uv.lock": [folder / name / "pyproject.toml", folder / name / "uv.lock"]}.items():
        if not all(path.is_file() for path in paths):
            continue
        if not asked_for.startswith(hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:32]):
            raise Mistakes([f"environment has {name!r}, whose {shown} changed since {lock.name} was made of it; the verbs run and start lock it anew."])
    in_image = folder_in_image() / f"{name}.lock"
    if in_image.is_file() and in_image.read_text(encoding="utf-8") != text:
        raise Mistakes([f"environment has {name!r}, whose {lock.name} changed since the image was built; the verbs build and start bring the new one."])
    return of_lock(name, text, say)


def of_lock(name: str, text: str, say: Callable[[str], None] = lambda line: None) -> Environment:
    """The environment of a lock's text, whatever the lock of that name is by now.

    Args:
        name: Its name.
        text: The text.
        say: Is told what is installed, a line each.

    Raises:
        Mistakes: It can never be made here.
        Failure: It cannot be made now.
    """
    in_image = folder_in_image()
    lock = in_image / f"{name}.lock"
    if lock.is_file() and lock.read_text(encoding="utf-8") == text:  # chosen to be there, so that nothing is installed at run time
        key = os.readlink(in_image / name)
        return Environment(name, str(in_image / key / "bin" / "python"), text, key)
    key, interpreter = made(text, header(text).get("python", ""), say)
    return Environment(name, interpreter, text, key)


def folder_of_locks() -> Path:
    """Where the locks are, and what they were made of."""
    return Path(os.environ.get("LAB_ENVIRONMENT_LOCKS", "/opt/airflow/environments"))


def digest(text: str) -> str:
    """Of a lock's text, ``sha256:...``, as the tag ``lab.requirements`` of a run has it."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def folder_in_image() -> Path:
    """Where the image has environments: each under its key, with a link of its name, and its lock beside it."""
    return Path(os.environ.get("LAB_ENVIRONMENTS_IN_IMAGE", "/opt/environments-in-image"))


def header(lock: str) -> dict[str, str]:
    """What the comments at the head of a lock say: ``asked`` (digest of the requirements), ``python``, ``without`` (why the lab's own needs are not in it)."""
    return dict(re.findall(r"^# (asked|python|without): (.*)$", lock, re.MULTILINE))


def made(requirements: str, python: str, say: Callable[[str], None]) -> tuple[str, str]:
    """Have the service make an environment; gives its key and its interpreter.

    Args:
        requirements: Pins, ``name==version`` a line, with or without hashes.
        python: ``3.13``; empty for the one of the service.
        say: Is told what is installed, a line each.

    Raises:
        Mistakes: It can never be made here.
        Failure: It cannot be made now.
    """
    answer = asked({"do": "make", "requirements": requirements, "python": python}, say)["made"]
    return answer["key"], answer["interpreter"]


def asked(request: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """What the service answers to a request; ``roles/environments/files/environments_server.py`` says which there are.

    Args:
        request: ``do`` and what that takes.
        say: Is told what it does meanwhile, a line each.

    Raises:
        Mistakes: It can never be done here.
        Failure: It cannot be done now.
    """
    place = Path(os.environ.get("LAB_ENVIRONMENTS_DIR", "/opt/environments"), ".service", "socket")
    try:
        with socket.socket(socket.AF_UNIX) as service:
            service.connect(str(place))
            service.sendall(json.dumps(request).encode() + b"\n")
            with service.makefile(encoding="utf-8") as answers:
                for line in answers:
                    answer: dict[str, Any] = json.loads(line)
                    if "say" in answer:
                        say(answer["say"])
                    elif "mistake" in answer:
                        raise Mistakes([f"{answer['mistake']}."])
                    elif "failure" in answer:
                        raise Failure(answer["failure"])
                    else:
                        return answer
    except OSError as error:
        raise Failure(f"the environments' service of this host does not answer at {place} ({error.strerror or error})") from None
    raise Failure("the environments' service of this host ended before it was done; what is half made is made anew by the next try")
