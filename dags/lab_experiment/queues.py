"""On which queue of the workers the tasks of an experiment run; plain Python that Airflow's scheduler and api-server read as well."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lab_experiment import document

DEFAULT = "default"
"""The queue of what names none: Airflow's own default."""

HOST = "host."
"""How the queue begins that one worker alone consumes; the name of its host follows."""

TASKS = {"prepare": "queue", "search": "search.queue", "cross_validate": "cross_validation.queue", "train": "train.queue"}
"""Tasks of the DAG ``train`` that an experiment may place, and the key that places each; ``queue`` holds for those that have none of their own.

The steps are one task, ``prepare``. The tasks before it stay where they are: ``check`` tells that nobody consumes a queue.
"""


def of_task(task: str, conf: Mapping[str, Any], folder: Path) -> str:
    """The queue of a task; ``default`` where nobody consumes the one that is named, so that no task waits for ever: the task ``check`` refuses the run.

    Args:
        task: Name of a task of the DAG ``train``.
        conf: What the trigger set.
        folder: The folder of the experiments.

    Raises:
        Mistakes: The file cannot be read, or the trigger sets what it may not; ``check`` says so, too.
    """
    if task not in TASKS:
        return DEFAULT
    path = document.find(conf.get("experiment"), folder)
    named = _named(path, path.stat().st_mtime_ns, json.dumps(document.overrides(dict(conf))))
    queue = named.get(TASKS[task], named.get("queue", DEFAULT))
    known = consumed()
    return queue if known is None or queue in known else DEFAULT


@lru_cache(maxsize=8)  # a run asks for each of its tasks, a search for each searcher
def _named(path: Path, _changed: int, overrides: str) -> dict[str, str]:
    return document.queues(document.Source(path, json.loads(overrides)).content)


def consumed() -> list[str] | None:
    """The queues that the lab's workers consume, by the file that LAB_QUEUES_FILE names; None where there is none."""
    file = Path(os.environ.get("LAB_QUEUES_FILE", ""))
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def unconsumed(named: Mapping[str, str], by_run: bool = True) -> Iterator[tuple[str, str]]:
    """What is wrong with the queues of a document: key and sentence.

    Args:
        named: The document's ``queues``.
        by_run: Whether this Airflow lets a run choose its queues.
    """
    known = consumed()
    for key, queue in named.items():
        if not by_run and queue != DEFAULT:
            yield key, f"{key} has {queue!r}; allowed: {DEFAULT}, for this Airflow does not let a run choose its queue, as 3.3 does."
        elif known is not None and queue not in known:
            shown = [queue for queue in known if not queue.startswith(HOST)]
            shown += [f"{HOST}<name of a worker's host>"] if len(shown) < len(known) else []
            yield key, f"{key} has {queue!r}, which no worker consumes; allowed: {', '.join(shown)}, or others that lab_worker_queues gives to a worker."
