"""Say which experiments call what this environment cannot load, a line each: what it is, a tab, and the sentence.

Is run in an image, by the Python of the project's environment, with the experiment files on standard input, as JSON: name -> text. What an experiment calls is
imported in a process of its own, since an import may end the process, and nothing that a package prints reaches the lines. A file that cannot be read is left
to `make experiment-check`, and one that names another environment is none of this one's business.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import yaml

PROJECT = "project"
ADVICE = "put back what airflow_image_requirements and airflow_image_custom_requirements had of it, or give the experiment an environment of its own"
SECONDS = 60  # that an import may take


def calls(value: Any) -> Iterator[str]:
    """What is called, wherever it stands in an experiment file."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "call" and isinstance(item, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[\w.]+", item):
            yield item
        else:
            yield from calls(item)


def mistake(call: str) -> str:
    """Why the call cannot be loaded here; an empty string when it can."""
    module, _colon, path = call.partition(":")
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        return f"no package there has the module {top}"
    try:
        functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except BaseException as error:  # what a package raises, whatever it is
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def mistakes(wanted: list[str]) -> list[str]:
    """Why each of the calls cannot be loaded, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        signal.alarm(SECONDS)
        for call in wanted:
            os.write(writing, json.dumps(mistake(call)).encode() + b"\n")
        os._exit(0)  # whatever a package would do at exit
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    _pid, status = os.waitpid(child, 0)
    if len(found) < len(wanted):
        late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        found.append(f"importing it takes longer than {SECONDS} s" if late else "importing it ends the process")
    return found  # what comes behind the end of the process is not known, and not said


def unloadable(experiments: dict[str, str]) -> Iterator[str]:
    """A line for each reason why an experiment cannot be loaded here, with the first call that it stops."""
    for name, text in sorted(experiments.items()):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if not isinstance(document, dict) or document.get("environment", PROJECT) != PROJECT:
            continue
        wanted = list(dict.fromkeys(calls(document)))
        told = {""}
        for call, reason in zip(wanted, mistakes(wanted), strict=False):
            if reason not in told:
                yield f"{name} {call}\t{name} calls {call}, which the project's environment cannot load any more ({reason}): {ADVICE}."
            told.add(reason)


if __name__ == "__main__":
    for line in unloadable(json.load(sys.stdin)):
        print(line)
