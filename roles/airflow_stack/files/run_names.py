"""A plugin of Airflow: a run of an experiment bears its name, however it was triggered: in its id, and as its note.

The scheduler writes the note when the run starts. A task cannot: what a worker may ask the api-server for has no notes.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""How an experiment may be called (``lab_experiment.document``)."""


class Notes:
    """Hears of runs that start."""

    @hookimpl
    def on_dag_run_running(self, dag_run: Any) -> None:
        """Note the experiment at a run that has no note. Airflow logs what goes wrong, and the savepoint keeps it from the scheduler's own transaction."""
        from airflow.models.dagrun import DagRunNote
        from sqlalchemy.dialects.postgresql import insert
        from sqlalchemy.orm import object_session

        named = [(dag_run.conf or {}).get("experiment"), *(event.extra.get("experiment") for event in dag_run.consumed_asset_events)]
        experiments = sorted({name for name in named if isinstance(name, str)})
        if experiments:
            words = f"Experiment{'s' if experiments[1:] else ''} {', '.join(experiments)}"
            note = {"dag_run_id": dag_run.id, "content": words[:1000]}  # as many characters as a note may have
            connection = object_session(dag_run).connection()
            with connection.begin_nested():
                connection.execute(insert(DagRunNote.__table__).values(note).on_conflict_do_nothing())


class Ids:
    """Stands before the api-server. Who triggers a run of an experiment and gives it no id gets one that names it, as ``make run`` makes them.

    Airflow makes an id from the time alone, in a timetable that does not see the configuration.
    """

    def __init__(self, app: Any) -> None:
        """Take what answers the requests, an ASGI application."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/dagRuns"):
            await self.app(scope, receive, send)
            return
        from starlette.requests import Request

        body = named(await Request(scope, receive).body())
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def read_again() -> Any:
            return messages.pop() if messages else await receive()

        others = [(key, value) for key, value in scope["headers"] if key != b"content-length"]
        await self.app({**scope, "headers": [*others, (b"content-length", b"%d" % len(body))]}, read_again, send)


def named(body: bytes) -> bytes:
    """Return what triggers a run, with an id where it has none and names an experiment; anything else as it is."""
    try:
        trigger = json.loads(body)
        experiment = trigger["conf"]["experiment"]
        if trigger.get("dag_run_id") or not NAME.fullmatch(experiment):
            return body
    except (ValueError, LookupError, TypeError, AttributeError):  # Airflow says what is wrong with it
        return body
    now = datetime.now(UTC)
    return json.dumps({**trigger, "dag_run_id": f"{experiment}-{now:%Y-%m-%dT%H-%M-%S}.{now.microsecond // 1000:03}"}).encode()


class RunNames(AirflowPlugin):
    """Tells Airflow of both."""

    name = "run_names"
    listeners = (Notes(),)
    fastapi_root_middlewares = ({"middleware": Ids, "args": [], "kwargs": {}, "name": "Ids of runs that name their experiment"},)
