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
import tempfile
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


def mistake(call: str) -> tuple[str, str]:
    """What of the call cannot be loaded here, and why; two empty strings when it can be."""
    module, _colon, path = call.partition(":")
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        return top, "no package there has this module"
    try:
        functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except BaseException as error:  # what a package raises, whatever it is
        return call, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "", ""


def mistakes(wanted: list[str]) -> list[tuple[str, str]]:
    """What of each of the calls cannot be loaded, in a process of its own; what comes behind one that ends it is not known, and not said."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:  # no pipe, which what a package starts might hold open
        child = os.fork()
        if not child:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            for call in wanted:
                signal.alarm(SECONDS)
                print(json.dumps(mistake(call)), file=lines, flush=True)
            os._exit(0)  # whatever a package would do at exit
        _pid, status = os.waitpid(child, 0)
        lines.seek(0)
        found = [(str(what), str(why)) for what, why in map(json.loads, lines)]
    if len(found) < len(wanted):
        late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        found.append((wanted[len(found)], f"importing it takes longer than {SECONDS} s" if late else "importing it ends the process"))
    return found


def unloadable(experiments: dict[str, str]) -> Iterator[str]:
    """A line for each call of each experiment that cannot be loaded here."""
    for name, text in sorted(experiments.items()):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if not isinstance(document, dict) or document.get("environment", PROJECT) != PROJECT:
            continue
        wanted = list(dict.fromkeys(calls(document)))
        for call, (what, why) in zip(wanted, mistakes(wanted), strict=False):
            if what:
                yield f"{name} {call}\t{name} calls {what}, which the project's environment cannot load any more ({why}): {ADVICE}."


if __name__ == "__main__":
    for line in unloadable(json.load(sys.stdin)):
        print(line)
