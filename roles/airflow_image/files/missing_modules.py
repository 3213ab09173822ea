"""Say which experiments name a module that this environment does not have, a line each.

Is run in an image, by the Python of the project's environment, with the experiment files on standard input, as JSON: name -> text. Modules are looked for and
not imported, so that no package's code runs. A file that cannot be read is left to `make experiment-check`, and one that names another environment is none of
this one's business.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml

PROJECT = "project"
ADVICE = "keep its package in airflow_image_requirements or airflow_image_custom_requirements, or give the experiment an environment of its own"


def calls(value: Any) -> Iterator[str]:
    """What is called, wherever it stands in an experiment file."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "call" and isinstance(item, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[\w.]+", item):
            yield item
        else:
            yield from calls(item)


def missing(experiments: dict[str, str]) -> Iterator[str]:
    """A sentence for each experiment and module that is not here."""
    for name, text in sorted(experiments.items()):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if not isinstance(document, dict) or document.get("environment", PROJECT) != PROJECT:
            continue
        modules = {call.partition(":")[0].partition(".")[0]: call for call in reversed(list(calls(document)))}
        for module, call in sorted(modules.items()):
            if importlib.util.find_spec(module) is None:
                yield f"{name} calls {call}, and no package of the project's environment has the module {module} any more: {ADVICE}."


if __name__ == "__main__":
    for line in missing(json.load(sys.stdin)):
        print(line)
