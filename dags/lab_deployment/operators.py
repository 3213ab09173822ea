"""The operators of the DAG ``deploy``: the only module here that needs Airflow to be imported."""
# mypy: disallow-subclassing-any=False
# (where Airflow is not installed, its classes are unknown to mypy)

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lab_operators import Page, ProjectPythonOperator

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException, AirflowSkipException

from lab_deployment import deploying, targets, workspace
from lab_deployment.target import checked
from lab_experiment import storable
from lab_experiment.failures import Failure, Mistakes

PARAMETERS = ("model_uri", "target", "target_options")
"""What a trigger may set."""


class DeploymentOperator(ProjectPythonOperator):
    """Runs a command of ``lab_deployment`` in the project's interpreter."""

    runner: ClassVar[Path] = Path(__file__).parent
    operator_extra_links = (Page("Registered model", "model"), Page("Deployment", "deployment"))


class CheckOperator(DeploymentOperator):
    """Checks what the run was asked for, by its parameters or by the trained models whose events started it; gives the plan of each deployment."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(command="check", request={}, **kwargs)

    def execute(self, context: Any) -> Any:
        """Check all.

        Raises:
            AirflowSkipException: The trained models are not to be deployed.
            AirflowFailException: Something is wrong.
        """
        events = [event for of_asset in (context.get("triggering_asset_events") or {}).values() for event in of_asset]
        wanted = _of_events([event.extra for event in events]) if events else [_of_parameters(context["params"])]
        if not wanted:
            names = ", ".join(dict.fromkeys(str(event.extra.get("experiment")) for event in events))
            raise AirflowSkipException(f"Nothing is to be deployed: the experiment file of {names} has no deploy, or trained no model.")
        sentences = [sentence for one in wanted for sentence in _of_airflow(one)]
        self.request = {"wanted": wanted}
        try:
            plans = super().execute(context)
        except AirflowFailException as error:
            raise AirflowFailException("\n".join([str(error), *sentences])) from None
        if sentences:
            raise AirflowFailException("\n".join(sentences))
        return plans


class DeployOperator(DeploymentOperator):
    """Deploys: in the project's interpreter, or in this process when the target needs Airflow's connections."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(command="deploy", **kwargs)
        self._deploys_here = False

    def execute(self, context: Any) -> Any:
        """Deploy.

        Raises:
            AirflowFailException: It cannot be done.
            RuntimeError: It failed.
        """
        plan = self.request["plan"]
        target = targets.find(plan["target"])
        if target.runs_in == "project":
            return super().execute(context)
        space = workspace.of(self.request)
        if space.fetched(plan) is None:  # this task may run on another worker than the one before
            self.command = "fetch"
            super().execute(context)
        self._deploys_here = True
        try:
            done = deploying.deploy(target, space.deployment(plan, self.request["by"]))
        except Mistakes as error:
            raise AirflowFailException(str(error)) from None
        except Failure as error:
            raise RuntimeError(str(error)) from None
        self._deploys_here = False
        space.remove()
        return done

    def on_kill(self) -> None:
        """End the deployment in an orderly way: Airflow calls this from a signal handler, so what is raised here is raised where the deployment is."""
        super().on_kill()
        if self._deploys_here:
            self._deploys_here = False
            raise Failure("the task was stopped")


def _of_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a trigger set. Airflow has what it was given among the parameters, also by names that the DAG does not know.

    Raises:
        AirflowFailException: There is such a name.
    """
    if unknown := sorted(parameters.keys() - PARAMETERS):
        raise AirflowFailException("\n".join(f"Trigger parameter {storable.short(name)} is unknown; allowed: {', '.join(PARAMETERS)}." for name in unknown))
    return {name: parameters[name] for name in PARAMETERS}


def _of_events(extras: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What trained models are to be deployed. Of several versions of one experiment that were trained since the last run the newest counts."""
    wanted: dict[str, dict[str, Any]] = {}
    for extra in extras:
        deploy = extra.get("deploy")
        if deploy and extra.get("model_uri"):
            one = {"model_uri": extra["model_uri"], "target": deploy["target"], "target_options": deploy.get("options") or {}}
            key = json.dumps([extra.get("experiment"), one["target"], one["target_options"]], sort_keys=True)
            if key in wanted:
                print(f"{wanted[key]['model_uri']} is passed over: {one['model_uri']} of the same experiment is newer.")
            wanted[key] = one
    return list(wanted.values())


def _of_airflow(wanted: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options of a target that needs Airflow; what is wrong with their kinds is told by the command."""
    try:
        target = targets.find(wanted["target"])
        options = checked(wanted["target_options"] or {}, target)
    except Mistakes:
        return []
    try:
        return target.check(options, {"uri": wanted["model_uri"]}) if target.runs_in == "airflow" else []
    except Mistakes as error:
        return error.sentences
    except Failure as error:
        raise RuntimeError(str(error)) from None
