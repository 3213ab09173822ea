"""The commands that the tasks of the DAG ``train`` run after ``check``: ``prepare``, ``search``, ``cross_validate`` and ``train``.

They work on one MLflow run and share one folder, each in a process of its own, which keeps the books; what the package does it has done in another one
(:class:`lab_experiment.package.Package`). A step's result is kept in the folder, so that it is not done again for every task and every try. Celery workers on
several hosts share no disk: a host that does not have the results gets them through MLflow (:mod:`lab_experiment.handover`), or else does the steps again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_experiment import folders, handover, pages, storable, tracking
from lab_experiment.document import calls
from lab_experiment.failures import Failure
from lab_experiment.job import Answer, Job
from lab_experiment.scores import Scores


def prepare(job: Job) -> Answer:
    """Make the run in MLflow, or go on with the one of an earlier try, do the steps, and record the environment.

    Returns:
        As result a list with a part for each searcher, empty without a search; as value ``run`` what the later commands need.
    """
    if job.document["search"]:
        from lab_experiment import search  # here and below, because it imports Optuna, which a run without a search need not have

        search.check(job.document["search"], job.file)
        search.storage_of()  # a database that cannot be reached is found before the steps are done
    from lab_experiment import environment

    document, client = job.document, job.client
    about = job.package.ask("about", modules=sorted({call.partition(":")[0].partition(".")[0] for _, call, _ in calls(document)}))
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    file = {"lab.file": job.file, **({"lab.file_digest": job.file_digest} if job.file_digest else {})}
    parent = tracking.parent(client, document, digest, {**job.tags, **file, "lab.packages": about["packages"]})
    job.run = {"mlflow_run_id": parent.info.run_id, "experiment_id": parent.info.experiment_id}
    parts: list[dict[str, int]] = []
    with tracking.working_on(client, parent.info.run_id, job.tags):
        with tracking.failures("logging parameters to MLflow"):
            tracking.log(client, parent.info.run_id, params=tracking.parameters(document))
            client.log_dict(parent.info.run_id, dict(document), "experiment.json")
        with tracking.failures("recording the data"):
            environment.record_files(client, parent.info.run_id, document, job.folder.parent)
        print(f"[steps] done: {', '.join(job.package.ask('steps')) or 'none'}", flush=True)
        if given := handover.give(client, parent.info.run_id, job.folder):
            job.run["steps"] = given
        if document["search"]:
            job.run |= search.prepare(job)
            searchers = min(document["search"]["parallel"], document["search"]["trials"])
            parts = [{"searcher": number, "of": searchers} for number in range(1, searchers + 1)]
        with tracking.failures("recording the environment"):
            environment.record(client, parent.info.run_id, about, job.environment, file=job.file, file_digest=job.file_digest)
    return {"result": parts, "values": {"run": job.run}}


def search(job: Job) -> Answer:
    """Try parameters, beside the other searchers, until there are enough trials."""
    from lab_experiment import search as searching

    with tracking.working_on(job.client, job.run["mlflow_run_id"], {}), tracking.working_on(job.client, job.run["search_run_id"], {}):
        found = searching.work(job)
    return {"result": found, "title": found.pop("title")}


def cross_validate(job: Job) -> Answer:
    """Cross-validate the estimator with the best parameters of the search, if there was one."""
    from lab_experiment import pictures

    client, run_id = job.client, job.run["mlflow_run_id"]
    with tracking.working_on(client, run_id, {}):
        params = best(job)
        with tracking.failures("making a nested run"):
            nested = tracking.nested(client, job.run["experiment_id"], run_id, "cross_validation", "cross-validation")
        status = "FAILED"
        try:

            def on_fold(told: tuple[int, dict[str, float]]) -> None:
                number, scores = told
                with tracking.failures("logging a fold"):
                    fold = tracking.nested(client, job.run["experiment_id"], nested, "fold", f"fold {number}")
                    tracking.log(client, fold, metrics=scores, params=params, tags={"lab.fold": str(number)})
                    tracking.end(client, fold)
                    tracking.log(client, nested, series={name: {number: value} for name, value in scores.items()})

            scores = Scores(**job.package.ask("folds", on_fold, params=params))
            summary = summary_of(scores)
            with tracking.failures("logging the cross-validation"):
                tracking.log(client, nested, metrics=summary, params=params)
                tracking.log(client, run_id, metrics=summary)
                for picture in pictures.of_folds(scores, job.folder / folders.KEPT / "pictures"):
                    client.log_artifact(nested, str(picture), "plots")
                    client.log_artifact(run_id, str(picture), "plots")
            status = "FINISHED"
        finally:
            tracking.end(client, nested, status)
    shown = ", ".join(f"{name}={scores.mean[name]:.6g} (deviation {scores.deviation[name]:.3g})" for name in scores.scorers)
    print(f"[cross_validation] {len(scores.folds)} folds: {shown}", flush=True)
    return {"result": {"mlflow_run_id": nested, "folds": scores.folds, "mean": scores.mean, "deviation": scores.deviation}}


def summary_of(scores: Scores) -> dict[str, float]:
    """Mean and deviation of a cross-validation as metrics."""
    return {
        **{f"cv_{name}_mean": value for name, value in scores.mean.items()},
        **{f"cv_{name}_deviation": value for name, value in scores.deviation.items()},
    }


def best(job: Job) -> dict[str, Any]:
    """The best parameters of the search; empty without one. Completes what the search has to show in MLflow."""
    if not job.document["search"]:
        return {}
    from lab_experiment import search

    return search.settle(job)


def train(job: Job) -> Answer:
    """Fit the model with the best parameters, evaluate it, record it and register it.

    Returns:
        As result ``experiment``, ``mlflow_experiment``, ``mlflow_run_id``, ``params``, ``metrics`` (of the evaluation; without one see
        :meth:`Training.beforehand`), ``plots``, ``model_id``, ``model_uri``, ``deploy`` (None if the model is not to be deployed), ``example`` (see
        :func:`lab_experiment.tracking.serving_request`) and, when registered, ``registered_model``, ``version`` and ``champion`` (else None); as event what a
        deployment needs. ``model_uri`` is None if nothing was trained.
    """
    document, client, run_id = job.document, job.client, job.run["mlflow_run_id"]
    outcome: Answer = {
        "experiment": document["name"],
        "mlflow_experiment": document["track"]["experiment"],
        "mlflow_run_id": run_id,
        **dict.fromkeys(("model_id", "model_uri", "registered_model", "version", "champion", "example")),
    }
    with tracking.working_on(client, run_id, job.tags, last=True):
        params = best(job)
        outcome |= {"params": params, "metrics": {}, "plots": []}
        if params:
            with tracking.failures("logging the best parameters"):
                tracking.log(client, run_id, tags={f"lab.best.{name}": tracking.text(value) for name, value in params.items()})
        if document["train"] is not None:
            outcome |= Training(job, params).run()
        else:
            outcome["metrics"] = Training(job, params).beforehand()
    folders.remove(job.folder)
    if job.run.get("steps"):
        handover.drop(client, run_id)
    deploy = document["deploy"] if outcome["model_uri"] else None
    if deploy and deploy.get("when") == "champion" and not (outcome["champion"] or {}).get("promoted"):
        print(f"[deploy] {outcome['model_uri']} is not the champion, so it is not deployed; deploy.when: always deploys every model", flush=True)
        deploy = None
    outcome["deploy"] = deploy
    return {"result": outcome, "event": {"model_uri": outcome["model_uri"], "experiment": document["name"], "deploy": deploy}}


@dataclass
class Training:
    """The final fit and what is made of it."""

    job: Job

    params: Mapping[str, Any]
    """The best parameters of the search."""

    def run(self) -> Answer:
        """Fit, evaluate, record; then register. What an earlier try of this run recorded is not trained again."""
        job, run_id = self.job, self.job.run["mlflow_run_id"]
        with tracking.failures("looking for what an earlier try recorded"):
            trained = tracking.trained(job.client, run_id)
        if trained:
            print(f"[train] an earlier try of this run trained and recorded the model {trained['model_uri']}; it is not trained again", flush=True)
        else:
            trained = self.trained()
            with tracking.failures("recording that the training is done"):
                tracking.keep_trained(job.client, run_id, trained)
        names = storable.metric_names(trained["metrics"])
        outcome: Answer = {**trained, "metrics": {names[name]: value for name, value in trained["metrics"].items()} or self.beforehand()}
        if job.document["register"]:
            logged = tracking.Logged(trained["model_uri"], trained["model_id"])
            outcome |= self.register(job.document["register"], logged, trained["metrics"])
        print(f"[track] the model is {outcome['model_uri']}", flush=True)
        return outcome

    def trained(self) -> Answer:
        """Fit, evaluate and record: ``metrics`` under the names that the package gave them, ``plots``, ``model_id``, ``model_uri`` and ``example``.

        All that may be refused is looked at before the model is logged, so that no try leaves a second one.
        """
        from lab_experiment import environment

        job, client, run_id = self.job, self.job.client, self.job.run["mlflow_run_id"]
        train = job.document["train"]
        logged, metrics = self.fit()
        plots: list[str] = []
        measured = metrics
        if train["evaluate"]:
            evaluated = job.package.ask("evaluate")
            measured, plots = evaluated["metrics"], evaluated["plots"]
            metrics = measured if logged else {**measured, **metrics, **measured}  # the evaluation's come first, and count
        champion = (job.document["register"] or {}).get("champion")
        if champion and champion["metric"] not in measured:  # by which the present champion is measured, too
            raise Failure(f"register.champion.metric has {champion['metric']!r}; the evaluation gave {', '.join(sorted(measured)) or 'none'}", final=True)
        names = storable.metric_names(metrics)
        if metrics:
            print(f"[metrics] {', '.join(f'{name}={value:.6g}' for name, value in metrics.items())}", flush=True)
        for name, legal in names.items():
            if name != legal:
                print(f"[metrics] MLflow takes no metric named {storable.short(name)}; it is recorded as {legal!r}", flush=True)
        if lost := [name for name, value in metrics.items() if not math.isfinite(value)]:
            print(f"[metrics] {', '.join(lost)}: no finite number, so it is null in the result of this task", flush=True)
        files = job.folder / folders.KEPT / ("fetched" if logged else "model")
        if logged is None:
            logged = tracking.log_model(run_id, files, job.package.ask("save", folder=str(files))["flavor"])
        if metrics:
            tracking.log_metrics(client, run_id, {names[name]: value for name, value in metrics.items()}, logged.model_id)
        if not job.document["track"]["run_name"] and (known := metrics or self.beforehand()):
            shown = champion["metric"] if champion else next(iter(known))
            with tracking.failures("naming the run"):
                tracking.show_in_name(client, run_id, shown, known[shown])
        with tracking.failures("logging pictures to MLflow"):
            for plot in plots:
                client.log_artifact(run_id, plot, "plots")
        with tracking.failures("recording the data"):
            environment.record_data(client, run_id, job.package.ask("inputs"))
        return {
            "metrics": metrics,
            "plots": [f"plots/{Path(plot).name}" for plot in plots],
            "model_id": logged.model_id,
            "model_uri": logged.uri,
            "example": tracking.serving_request(files) if (job.document["deploy"] or {}).get("target") == "endpoint" else None,
        }

    def beforehand(self) -> dict[str, float]:
        """What a run without an evaluation has to show: the means of the cross-validation, or else the best of the search, as the run has them.

        It is shown and no more: a champion is judged by an evaluation alone.
        """
        document = self.job.document
        folds, search = document["cross_validation"] or {}, document["search"] or {}
        if (document["train"] or {}).get("evaluate") or not (folds or search):
            return {}
        with tracking.failures("looking for what was measured before the training"):
            logged = self.job.client.get_run(self.job.run["mlflow_run_id"]).data.metrics
        means = [f"cv_{name}_mean" for name in folds.get("scoring") or ("accuracy", "r2")]
        values = ["search_objective", *(f"search_objective_{number}" for number in range(len(search.get("direction", []))))]
        return {name: logged[name] for name in means if name in logged} or {name: logged[name] for name in values if name in logged}

    def fit(self) -> tuple[tracking.Logged | None, dict[str, float]]:
        """Train. Gives where the model is if the package logged it itself, and the metrics that the package then logged, or returned beside the model."""
        answer = self.job.package.ask("fit", params=self.params)
        where = answer.get("elsewhere", "")
        if where:
            print(f"[train] the package left MLflow's address as {where}; runs that it started there are not in the lab's MLflow", flush=True)
        away = (
            f"; it set MLflow's address to {where} (mlflow.set_tracking_uri or MLFLOW_TRACKING_URI), and what it logged there is not in the lab's MLflow: "
            "let it return the model, or leave the address as it is"
            if where
            else ""
        )
        if answer.get("address"):
            uri = str(answer["address"])
            try:
                self._load(uri)
            except Failure as failure:
                raise Failure(f"{failure}{away}", failure.final) from None
            return tracking.Logged(uri, _model_id(uri)), {}
        if answer.get("left_out"):
            with tracking.failures("recording what the model is kept without"):
                tracking.log(self.job.client, self.job.run["mlflow_run_id"], tags={"lab.left_out": answer["left_out"]})
        if answer["model"]:
            return None, answer.get("metrics", {})
        with tracking.failures("looking for a run that the package started"):
            for run in tracking.own_runs(self.job.client, self.job.run["mlflow_run_id"], "train"):
                logged = tracking.model_of(self.job.client, run)
                if logged:
                    print(f"[train] the package logged its model itself: {logged.uri} in the run {run.info.run_id}", flush=True)
                    self._load(logged.uri)
                    return logged, dict(run.data.metrics)
        raise Failure(
            f"train: the training returned {answer['returned']}; allowed is a model with {self.method} (put what has none into a class that has, or "
            "let train.predict name the method that it has), the path of a file it wrote that ends in .joblib, .pkl or .pickle, "
            f"the address of a model in MLflow, or a run of its own in MLflow that holds a model{away}",
            final=True,
        )

    @property
    def method(self) -> str:
        """See :attr:`lab_experiment.inside.Work.method`."""
        return str(self.job.document["train"].get("predict", "predict"))

    def _load(self, uri: str) -> None:
        if self.method != "predict":
            print(f"[train] {uri} answers as the package logged it, not by {self.method} of train.predict", flush=True)
        self.job.package.ask("load", folder=self._fetched(uri), uri=uri)

    def _fetched(self, uri: str) -> str:
        """The folder that a model was fetched to: the package's process need not find MLflow."""
        with tracking.failures(f"loading {uri}"):
            return tracking.fetch(uri, self.job.folder / folders.KEPT / "fetched")

    def register(self, settings: Mapping[str, Any], logged: tracking.Logged, metrics: Mapping[str, float]) -> Answer:
        """Register the model, last of all: what is registered is complete. Then see whether it is the new champion."""
        job = self.job
        name, run_id = settings["name"], job.run["mlflow_run_id"]
        address = pages.run(job.run["experiment_id"], run_id) or run_id
        words = [settings["description"], f"Trained by the experiment {job.document['name']}, DAG run {job.run_id}: {address}"]
        version = tracking.register(job.client, logged, name, "\n\n".join(filter(None, words)), {"lab.experiment": job.document["name"], "lab.run": run_id})
        outcome: Answer = {"model_uri": f"models:/{name}/{version}", "registered_model": name, "version": version}
        if settings.get("champion"):
            from lab_experiment import champion

            def measure(uri: str) -> dict[str, float]:
                return dict(job.package.ask("measure", folder=self._fetched(uri), uri=uri, params=self.params))

            with tracking.failures("comparing the model with the champion"):
                outcome["champion"] = champion.promote(job.client, name, version, settings["champion"], metrics, measure)
        return outcome


def _model_id(uri: str) -> str | None:
    return uri.removeprefix("models:/") if uri.startswith("models:/m-") else None


COMMANDS: dict[str, Callable[[Job], Answer]] = {"prepare": prepare, "search": search, "cross_validate": cross_validate, "train": train}
