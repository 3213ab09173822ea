"""Flower's configuration: it shows workers, queues and the states of tasks, changes nothing, and shows no argument of a task.

Flower's own switch (`read_only`, from 2.1) leaves its metrics open to everybody and the arguments, which hold tokens that Airflow signed, in its pages and its
API. So the pages are counted here, and what is not counted does not exist. Flower runs this file at its start; where a name in it is gone, it does not start.
"""

from typing import Any

from flower import app, events, inspector, urls
from flower.api.tasks import GetQueueLengths
from flower.api.workers import ListWorkers
from flower.views.broker import BrokerView
from flower.views.error import NotFoundErrorHandler
from flower.views.monitor import Healthcheck
from flower.views.tasks import TasksDataTable, TasksView, TaskView
from flower.views.workers import WorkersView, WorkerView
from tornado.web import StaticFileHandler, URLSpec

#: no buttons that end in nothing
read_only = True

SHOWN = {
    *(WorkersView, WorkerView, TaskView, TasksView, TasksDataTable, BrokerView, ListWorkers, GetQueueLengths),
    *(Healthcheck, StaticFileHandler, NotFoundErrorHandler),
}
HIDDEN = {"args", "kwargs", "result"}


def without_values(found: Any) -> Any:
    """Return what a worker told, with the arguments and results of its tasks hidden, however deep they are."""
    if isinstance(found, dict):
        return {name: "hidden" if name in HIDDEN else without_values(value) for name, value in found.items()}
    return [without_values(value) for value in found] if isinstance(found, list) else found


class EventsState(events.EventsState):
    """The events of tasks, from which the pages and their search are made."""

    def event(self, event: dict[str, Any]) -> None:
        """Take an event in, without values."""
        super().event(without_values(event))


class Inspector(inspector.Inspector):
    """What the workers answer when they are asked for their tasks."""

    def _on_update(self, workername: str, method: str, response: Any) -> None:
        super()._on_update(workername, method, without_values(response))


urls.handlers[:] = [rule for rule in urls.handlers if (rule.handler_class if isinstance(rule, URLSpec) else rule[1]) in SHOWN]
events.EventsState = EventsState
app.Inspector = Inspector
