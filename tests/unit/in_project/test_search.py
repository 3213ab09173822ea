"""A search as the tasks of the DAG do it, in one process: what is tried, what is counted, and what MLflow shows of it."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest

from lab_experiment import run, search, tracking
from lab_experiment.failures import Failure, Mistakes, Stopped
from lab_experiment.job import Job

X = {"x": {"type": "float", "low": 0.0, "high": 1.0, "step": None, "log": False, "when": {}}}

SPACE = {
    "kind": {"type": "categorical", "choices": ["a", "b"], "when": {}},
    "depth": {"type": "int", "low": 2, "high": 10, "step": 2, "log": False, "when": {"kind": ["a"]}},
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "step": None, "log": True, "when": {"kind": ["b"]}},
}

Make = Callable[..., Job]


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database for searches."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    (tmp_path / "url").write_text(f"{url}\n")
    monkeypatch.setenv("LAB_OPTUNA_STORAGE_FILE", str(tmp_path / "url"))
    return url


@pytest.fixture
def job(tmp_path: Path, write: Callable[..., None]) -> Iterator[Make]:
    """A function that makes the job of a search with an objective of this test's."""
    numbers = iter(range(100))
    made: list[Job] = []

    def make(
        objective: Callable[..., Any] | dict[str, Any] | str,
        run_id: str = "",
        others: dict[str, Any] | None = None,
        functions: dict[str, Callable[..., Any]] | None = None,
        **settings: Any,
    ) -> Job:
        functions = {"score": objective} if callable(objective) else functions
        if functions:
            write("theirs", **functions)
        space = settings.get("space", X)
        content = {
            "name": "searched",
            "inputs": {},
            "steps": [],
            "search": {
                "objective": {"call": "theirs:score", "with": {name: f"{{{{ params.{name} }}}}" for name in space}} if callable(objective) else objective,
                "space": space,
                "direction": ["minimize"],
                "sampler": {"name": "random", "options": {}},
                "pruner": {"name": "none", "options": {}},
                "trials": 4,
                "timeout": None,
                "parallel": 1,
                "seed": 1,
                "allowed_failures": 1,
                **settings,
            },
            "track": {"experiment": "searched", "run_name": "", "tags": {}},
            **dict.fromkeys(("cross_validation", "train", "register", "deploy")),
            **(others or {}),
        }
        name = run_id or f"run-{next(numbers)}-{time.time_ns()}"
        made.append(Job(content, "searched.yml", tmp_path / "runs" / name, name, {"airflow.run_id": name, "airflow.dag_id": "train"}))
        return made[-1]

    yield make
    for one in made:
        one.package.close()


def searched(job: Job, *numbers: int) -> list[Any]:
    """Prepare, let searchers search one after the other, and give the trials."""
    job.run = run.prepare(job)["values"]["run"]
    for number in numbers or (1,):
        job.number = number
        run.search(job)
    return trials_of(job)


def trials_of(job: Job) -> list[Any]:
    """The trials of a search."""
    return list(optuna.load_study(study_name=job.run["study"], storage=Path(os.environ["LAB_OPTUNA_STORAGE_FILE"]).read_text().strip()).trials)


def runs(job: Job, kind: str) -> list[Any]:
    """The runs of a kind in MLflow below that of a job."""
    found = mlflow.MlflowClient().search_runs([job.run["experiment_id"]], f"tags.`lab.kind` = '{kind}'", max_results=1000)
    above = {job.run["mlflow_run_id"]}
    while True:
        below = {
            one.info.run_id
            for one in mlflow.MlflowClient().search_runs([job.run["experiment_id"]], max_results=1000)
            if one.data.tags.get("mlflow.parentRunId") in above
        }
        if below <= above:
            return [one for one in found if one.info.run_id in above]
        above |= below


def test_trials_are_runs_in_mlflow_with_parameters_values_and_times(job: Make) -> None:
    def score(kind: str, depth: int = 0, rate: float = 0.0) -> float:
        assert (depth in (2, 4, 6, 8, 10) and rate == 0) if kind == "a" else (1e-4 <= rate <= 1 and depth == 0)
        return depth + rate

    one = job(score, space=dict(reversed(SPACE.items())), trials=8)  # XComs do not keep the order of the file
    trials = searched(one)
    best = search.settle(one)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert best == min(trials, key=lambda trial: trial.value).params
    assert {tuple(trial.params) for trial in trials} == {("kind", "depth"), ("kind", "rate")}, (
        "a conditional parameter is there only where its condition is met"
    )
    found = {int(made.data.tags["lab.trial"]): made for made in runs(one, "trial")}
    assert sorted(found) == list(range(8))
    for trial in trials:
        made = found[trial.number]
        assert made.info.status == "FINISHED" and made.info.run_name == f"trial {trial.number}"
        assert made.data.metrics["objective"] == trial.value
        assert made.data.params == {name: str(value) for name, value in trial.params.items()}
        assert made.info.start_time == int(trial.datetime_start.timestamp() * 1000)
        assert made.data.tags["mlflow.parentRunId"] == one.run["search_run_id"]
        assert made.data.tags["lab.worker"] == socket.gethostname()
    [whole] = runs(one, "search")
    assert whole.info.status == "FINISHED"
    assert whole.data.metrics["trials_complete"] == 8
    pictures = {item.path for item in mlflow.MlflowClient().list_artifacts(one.run["search_run_id"], "plots")}
    assert any("history" in path for path in pictures), pictures
    assert search.settle(one) == best, "settling twice changes nothing"
    assert len(runs(one, "trial")) == 8


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "grid"])
def test_every_sampler_of_the_lab_searches(job: Make, sampler: str) -> None:
    space = {**X, "n": {"type": "int", "low": 1, "high": 3, "step": 1, "log": False, "when": {}}}
    space["x"] = {**X["x"], "step": 0.5}
    one = job(lambda x, n: x * n, space=space, sampler={"name": sampler, "options": {}}, trials=9, parallel=2)
    trials = searched(one, 1, 2)
    assert len(trials) == 9
    if sampler == "grid":
        assert {(trial.params["x"], trial.params["n"]) for trial in trials} == {(x, n) for x in (0.0, 0.5, 1.0) for n in (1, 2, 3)}


def test_an_option_that_a_sampler_or_pruner_does_not_take_is_one_sentence(job: Make) -> None:
    one = job(lambda x: x, sampler={"name": "cmaes", "options": {"sigma": 1}}, pruner={"name": "median", "options": {"n_startup_trials": -1}})
    with pytest.raises(Mistakes) as raised:
        run.prepare(one)
    first, second = raised.value.sentences
    assert first.startswith("searched.yml: search.sampler has the option 'sigma'; allowed for cmaes: x0, sigma0, ")
    assert second.startswith("searched.yml: search.pruner median was refused by Optuna: ")


def test_a_generator_reports_as_it_goes_and_is_pruned(job: Make, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    ended.write_text("")

    def score(x: float) -> Any:
        try:
            for step in range(4):
                yield x + (10 if len(ended.read_text()) >= 2 else 0) - step
        finally:
            ended.write_text(ended.read_text() + "x")

    one = job(score, pruner={"name": "median", "options": {"n_startup_trials": 2}}, trials=4)
    trials = searched(one)
    search.settle(one)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    assert trials[0].value == pytest.approx(trials[0].params["x"] - 3), "the last value counts"
    assert ended.read_text() == "xxxx", "a pruned generator is closed"
    made = {found.data.tags["lab.trial"]: found for found in runs(one, "trial")}
    history = mlflow.MlflowClient().get_metric_history(made["0"].info.run_id, "intermediate")
    assert [point.step for point in history] == [0, 1, 2, 3]
    assert made["3"].data.tags["lab.state"] == "PRUNED"


def test_several_objectives_end_with_the_balanced_one(job: Make) -> None:
    one = job(lambda x: [x, (1 - x) ** 2], direction=["minimize", "minimize"], trials=12)
    searched(one)
    assert 0.2 < search.settle(one)["x"] < 0.6
    assert {"objective_0", "objective_1"} <= set(runs(one, "trial")[0].data.metrics)


def test_a_seed_gives_the_same_trials_whoever_searches(job: Make) -> None:
    alone = searched(job(lambda x: x, trials=6, parallel=1))
    together = job(lambda x: x, trials=6, parallel=2)
    together.run = run.prepare(together)["values"]["run"]
    first, second = search.Searcher(together), search.Searcher(together)
    with search.Heartbeat(first.storage, first.study.study_name) as heart, tracking.Writer() as writer:
        for searcher in (first, second, second, first, second, first):
            searcher.writer = writer
            searcher._try(searcher._claim(heart))
            heart.of(None)
    assert [trial.params for trial in trials_of(together)] == [trial.params for trial in alone]
    assert len({trial.params["x"] for trial in alone}) == 6


def test_failing_trials_are_counted_and_too_many_end_the_search_for_good(job: Make, capsys: pytest.CaptureFixture[str]) -> None:
    def score(x: float) -> float:
        raise OSError("the disk of theirs is full")

    one = job(score, trials=6)
    with pytest.raises(Failure) as raised:
        searched(one)
    words = "search: 2 trials failed, search.allowed_failures is 1; the last one: search.objective: theirs:score(x=0."
    assert str(raised.value).startswith(words) and str(raised.value).endswith("raised OSError: the disk of theirs is full")
    assert getattr(raised.value, "final", False)
    assert "in score\n" in capsys.readouterr().out
    made = {found.data.tags["lab.trial"]: found for found in runs(one, "trial")}
    assert {found.info.status for found in made.values()} == {"FAILED"}
    parent = mlflow.get_run(one.run["mlflow_run_id"])
    assert (parent.info.status, parent.data.tags["lab.failure"]) == ("FAILED", str(raised.value))

    mended = job(lambda x: x, run_id=one.run_id, trials=6)
    trials = searched(mended)
    assert mended.run["mlflow_run_id"] == one.run["mlflow_run_id"], "a retry goes on with the run that is there"
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL", *["COMPLETE"] * 4]
    assert mlflow.get_run(one.run["mlflow_run_id"]).info.status == "RUNNING"


def test_a_wrong_value_names_the_callable(job: Make) -> None:
    with pytest.raises(Failure, match=r"search\.objective: theirs:score returned 'good'; allowed is a number"):
        searched(job(lambda x: "good", allowed_failures=0))


def test_what_a_package_logs_may_be_the_objective(job: Make) -> None:
    def fit(x: float) -> None:
        import mlflow

        with mlflow.start_run():
            for step in range(3):
                mlflow.log_metric("auc", x - 2 + step, step=step)
            with mlflow.start_run(nested=True):
                mlflow.log_metric("auc", -1.0)

    one = job({"call": "theirs:score", "with": {"x": "{{ params.x }}"}, "metric": "auc"}, direction=["maximize"], functions={"score": fit}, parallel=2)
    trials = searched(one, 1, 2)
    assert [trial.value for trial in trials] == [pytest.approx(trial.params["x"]) for trial in trials], "the last value of the trial's own run counts"
    assert len(trials) == 4 and search.settle(one)["x"] == max(trial.params["x"] for trial in trials)
    own = [made for made in runs(one, "package") if made.data.tags["mlflow.parentRunId"] == one.run["search_run_id"]]
    assert sorted(made.data.tags["lab.trial"] for made in own) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("metric", ["auc", "scores.auc"])
def test_what_a_training_returns_beside_its_model_may_be_the_objective(job: Make, metric: str) -> None:
    def fit(x: float) -> Any:
        return object(), {"scores": {"auc": x, "loss": -x}}

    objective = {"call": "theirs:score", "with": {"x": "{{ params.x }}"}, "metric": metric}
    one = job(objective, direction=["maximize"], functions={"score": fit})
    trials = searched(one)
    assert [trial.value for trial in trials] == [trial.params["x"] for trial in trials] and not runs(one, "package")


@pytest.mark.parametrize("metric", ["score", "seen", "logged"])
def test_each_trial_may_be_a_training_that_is_judged_as_the_final_one_is(job: Make, metric: str) -> None:
    """By what the evaluation returns, what the training returns beside its model, and what either logs."""

    class Model:
        def __init__(self, value: float) -> None:
            self.value = value

        def predict(self, rows: Any) -> Any:
            return [self.value] * len(rows)

    def fit(x: float) -> Any:
        return Model(x), {"seen": 3 * x}

    def judge(model: Any, factor: int) -> dict[str, float]:
        import mlflow

        mlflow.log_metric("logged", 4 * model.value)
        return {"score": factor * model.predict([1])[0]}

    train: dict[str, Any] = {
        "call": "theirs:fit",
        "with": {"x": "{{ params.x }}"},
        "input_example": None,
        "predict": "predict",
        "evaluate": {"call": "theirs:judge", "with": {"model": "{{ model }}", "factor": 2}, "plots": [], "data": None, "scoring": []},
    }
    one = job({"call": None, "with": {}, "metric": metric}, others={"train": train}, functions={"fit": fit, "judge": judge}, direction=["maximize"])
    factor = {"score": 2, "seen": 3, "logged": 4}[metric]
    trials = searched(one)
    assert [trial.value for trial in trials] == [pytest.approx(factor * trial.params["x"]) for trial in trials] and len(trials) == 4
    own = [made for made in runs(one, "package") if made.data.tags["mlflow.parentRunId"] == one.run["search_run_id"]]
    assert sorted(made.data.tags["lab.trial"] for made in own) == ["0", "1", "2", "3"], "what a trial logs is the trial's"


def test_no_trial_sees_what_another_made_of_the_results_of_steps(job: Make) -> None:
    """As the final training does not; and what the evaluation says of a name counts before what the training does."""

    class Model:
        seen = 0

        def fit(self, table: dict[str, float], x: float) -> Any:
            self.seen += 1
            return self, {"auc": table.pop("best") + x}

        def predict(self, rows: Any) -> Any:
            return rows

    def judge(model: Any, x: float) -> dict[str, Any]:
        return {"test": {"auc": model.seen + x}}

    steps: list[dict[str, Any]] = [{"name": name, "call": f"theirs:{name}", "with": {}, "after": []} for name in ("model", "table")]
    train: dict[str, Any] = {
        "call": "theirs:fit",
        "with": {"self": "{{ steps.model }}", "table": "{{ steps.table }}", "x": "{{ params.x }}"},
        "input_example": None,
        "predict": "predict",
        "evaluate": {"call": "theirs:judge", "with": {"model": "{{ model }}", "x": "{{ params.x }}"}, "plots": [], "data": None, "scoring": []},
    }
    functions = {"model": Model, "table": lambda: {"best": 9.0}, "fit": Model.fit, "judge": judge}
    trials = searched(job({"call": None, "with": {}, "metric": "auc"}, others={"train": train, "steps": steps}, functions=functions, direction=["maximize"]))
    assert [trial.value for trial in trials] == [pytest.approx(1 + trial.params["x"]) for trial in trials] and len(trials) == 4


def test_a_trial_that_trains_nothing_and_a_metric_that_is_not_there_are_sentences(job: Make) -> None:
    evaluate: dict[str, Any] = {"call": "theirs:judge", "with": {"model": "{{ model }}"}, "plots": [], "data": None, "scoring": []}
    train = {"call": "theirs:fit", "with": {"x": "{{ params.x }}"}, "input_example": None, "predict": "predict", "evaluate": evaluate}
    said = {}
    for name, fit in (("nothing", lambda x: None), ("another", lambda x: {"loss": x})):
        wanted = {"train": {**train, **({"evaluate": None} if name == "another" else {})}}
        functions = {"fit": fit, "judge": lambda model: 1.0}
        one = job({"call": None, "with": {}, "metric": "auc"}, others=wanted, functions=functions, trials=1, allowed_failures=1)
        said[name] = searched(one)[0].user_attrs["failure"]
    assert said["nothing"] == "search.objective: theirs:fit returned None; allowed is a model, to be evaluated"
    assert said["another"].startswith("search.objective: the training logged no metric 'auc' in MLflow; it started no run there")


def test_a_training_whose_numbers_have_names_is_told_to_name_one(job: Make) -> None:
    with pytest.raises(Failure, match=r"allowed is a number, or with search\.objective\.metric the name of one of auc, loss"):
        searched(job(lambda x: (object(), {"auc": x, "loss": 1}), allowed_failures=0))


def test_a_trial_that_logs_no_value_says_what_it_logged(job: Make, tmp_path: Path) -> None:
    def fit(how: str) -> Any:
        import mlflow

        if how == "open":  # and left open: the next trial has a run of its own
            mlflow.log_metric("auc", 0.5)
        elif how == "other":
            mlflow.log_metrics({"loss": 1, "accuracy": 0.5})
        elif how == "nan":
            mlflow.log_metric("auc", math.nan)
        elif how == "away":
            mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/o.db")
            mlflow.set_experiment("own")
            mlflow.log_metric("auc", 1)
        elif how == "returned":
            return {"loss": 1.0, "f1": 2}
        return None

    hows = {
        "open": None,
        "other": "logged no metric 'auc' in MLflow; it logged accuracy, loss",
        "silent": "logged no metric 'auc' in MLflow; it started no run there",
        "returned": "logged no metric 'auc' in MLflow; it started no run there, and returned loss, f1",
        "nan": "logged 'auc' as nan; allowed is a number",
        "away": f"logged no metric 'auc' in MLflow; it started no run there, for it set MLflow's address to sqlite:///{tmp_path}/o.db, which is not the lab's",
    }
    settings = {"space": {"how": {"type": "categorical", "choices": list(hows), "when": {}}}, "sampler": {"name": "grid", "options": {}}, "seed": None}
    objective = {"call": "theirs:score", "with": {"how": "{{ params.how }}"}, "metric": "auc"}
    trials = searched(job(objective, functions={"score": fit}, trials=6, allowed_failures=6, **settings))
    assert trials[0].value == 0.5
    said = {trial.params["how"]: trial.user_attrs.get("failure") for trial in trials}
    assert said == {how: words and f"search.objective: theirs:score {words}" for how, words in hows.items()}


def test_the_time_budget_ends_a_search(job: Make) -> None:
    def score(x: float) -> float:
        time.sleep(0.4)
        return x

    assert 2 <= len(searched(job(score, trials=100, timeout=1.0))) <= 4


def test_a_search_that_is_done_is_not_done_again_and_a_greater_one_goes_on(job: Make, tmp_path: Path) -> None:
    called = tmp_path / "called"

    def score(x: float) -> float:
        with called.open("a") as file:
            file.write("x")
        return x

    one = job(score)
    searched(one)
    assert len(searched(job(score, run_id=one.run_id), 1, 2)) == len(called.read_text()) == 4
    assert len(searched(job(score, run_id=one.run_id, trials=6))) == len(called.read_text()) == 6
    assert len(searched(job(score, run_id=one.run_id, space={"x": {**X["x"], "high": 2.0}}))) == 4, "another space is another study"


def test_a_trial_whose_searcher_is_gone_is_tried_again(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "GRACE", 1)
    monkeypatch.setattr(search, "HEARTBEAT", 1)
    one = job(lambda x: x, trials=3)
    one.run = run.prepare(one)["values"]["run"]
    gone = search.Searcher(one)
    for beats in (True, False):  # killed in the middle of a trial, and before its first heartbeat
        trial = gone.study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if beats:
            search.Heartbeat(gone.storage, gone.study.study_name).first(trial.number)
    time.sleep(2.1)
    run.search(one)
    trials = trials_of(one)
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL", *["COMPLETE"] * 3]
    assert search.lost_numbers(trials) == {0, 1}
    assert {trial.params["x"] for trial in trials[:2]} < {trial.params["x"] for trial in trials[2:]}, "the same parameters are tried again"
    search.settle(one)
    assert {found.data.tags["lab.trial"] for found in runs(one, "trial") if "lab.worker" in found.data.tags} == {"2", "3", "4"}, "who lost one is not known"
    assert {found.data.tags["lab.trial"]: found.info.status for found in runs(one, "trial")} == {
        "0": "KILLED",
        "1": "KILLED",
        "2": "FINISHED",
        "3": "FINISHED",
        "4": "FINISHED",
    }


def test_a_searcher_that_is_told_to_end_leaves_its_trial_to_the_others_at_once(job: Make) -> None:
    def score(x: float) -> float:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
        return x

    def stop(*_: object) -> None:
        raise Stopped(143)

    one = job(score, trials=2)
    former = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            searched(one)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert mlflow.get_run(one.run["mlflow_run_id"]).info.status == "KILLED"
    first, *others = searched(job(lambda x: x, run_id=one.run_id, trials=2))
    assert [first.state.name, *(trial.state.name for trial in others)] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert others[0].params == first.params


@pytest.mark.parametrize("code", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit(2)"])
def test_an_objective_that_ends_its_process_is_a_failed_trial_and_the_search_goes_on(job: Make, site: Path, code: str) -> None:
    one = job(lambda x: x, trials=3)
    mark = site / "mark"
    source = "import os, pathlib, sys\ndef score(x):\n"
    source += f"    if not os.path.exists({str(mark)!r}):\n        pathlib.Path({str(mark)!r}).touch(); {code}\n    return x\n"
    (site / "theirs.py").write_text(source)
    trials = searched(one)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "theirs:score" in trials[0].user_attrs["failure"] and "lost" not in trials[0].user_attrs["failure"]
    assert "retry_history" not in trials[-1].system_attrs
    one.package.close()


def test_folds_are_intermediate_values_and_runs(job: Make, write: Callable[..., None]) -> None:
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    write("learning", make=lambda depth: DecisionTreeClassifier(max_depth=depth, random_state=0), read=lambda: load_iris(return_X_y=True))
    folds = {
        "estimator": {"call": "learning:make", "with": {"depth": "{{ params.depth }}"}},
        "data": {"call": "learning:read", "with": {}},
        "splitter": {"name": "auto", "options": {"n_splits": 3, "shuffle": True, "random_state": 0}},
        "scoring": ["accuracy", "f1_macro"],
    }
    depth = {"depth": {"type": "int", "low": 1, "high": 3, "step": 1, "log": False, "when": {}}}
    train: dict[str, Any] = {"call": None, "with": {}, "input_example": None, "evaluate": None}
    one = job("cross_validation", space=depth, trials=2, direction=["maximize"], others={"cross_validation": folds, "train": train})
    trials = searched(one)
    assert list(trials[0].intermediate_values) == [0, 1, 2]
    validated = run.cross_validate(one)["result"]
    outcome = run.train(one)["result"]
    assert len(validated["folds"]) == 3
    assert outcome["model_uri"] and outcome["params"] == validated_params(one)
    assert len(runs(one, "fold")) == 3 * 2 + 3
    parent = mlflow.get_run(one.run["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["cv_accuracy_mean"] == pytest.approx(validated["mean"]["accuracy"])
    assert json.loads(parent.data.params["search.space.depth"])["high"] == 3
    assert not one.folder.exists()


def validated_params(job: Job) -> dict[str, Any]:
    """The best parameters that the run names in its tags."""
    tags = mlflow.get_run(job.run["mlflow_run_id"]).data.tags
    return {key.removeprefix("lab.best."): json.loads(value) for key, value in tags.items() if key.startswith("lab.best.")}
