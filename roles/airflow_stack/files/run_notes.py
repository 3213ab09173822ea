"""A plugin of Airflow: a run of an experiment bears its name as its note, also when it was triggered from the form, over the REST API, or by a training.

The scheduler does it when the run starts. A task cannot: what a worker may ask the api-server for has no notes.
"""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


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


class RunNotes(AirflowPlugin):
    """Tells Airflow of it."""

    name = "run_notes"
    listeners = (Notes(),)
