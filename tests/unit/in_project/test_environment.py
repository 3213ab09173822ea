"""The environment of a run, as somebody finds it in MLflow afterwards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from sklearn.datasets import load_diabetes, load_wine

import lab_environments
from lab_environments import Environment
from lab_experiment import environment, inside
from lab_experiment.environment import Data
from lab_experiment.failures import Failure
from lab_experiment.job import Job

UNLOCKED = Environment("project", "", None)


def about(packages: str = "") -> dict[str, Any]:
    """What the package's process says of its environment."""
    return {**inside.Work(lambda _: None).about([]), "packages": packages}


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of the real server."""
    return mlflow.MlflowClient()


@pytest.fixture
def run_id(client: Any) -> str:
    """A run that is going on."""
    return str(client.create_run(mlflow.set_experiment("environments").experiment_id).info.run_id)


def text(client: Any, run_id: str, path: str, folder: Path) -> str:
    """The content of an artifact."""
    return Path(client.download_artifacts(run_id, path, str(folder))).read_text()


def test_a_run_says_in_what_it_was_made(client: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, facts = tmp_path / "project.txt", tmp_path / "lab.json"
    lock.write_text("numpy==2.1.3 \\\n    --hash=sha256:abc\n")
    facts.write_text(json.dumps({"image": "mlops-lab/airflow:3.3.2", "image_digest": "sha256:12", "git_revision": "abc123"}))
    monkeypatch.setenv("LAB_FACTS_FILE", str(facts))
    environment.record(client, run_id, about("wine-cultivars==1.0.0 extra==2"), Environment("churn", "", lock.read_text()))
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    tags = run.data.tags
    assert (tags["lab.image"], tags["lab.image_digest"]) == ("mlops-lab/airflow:3.3.2", "sha256:12")
    assert tags["lab.git_revision"] == tags["mlflow.source.git.commit"] == "abc123"
    assert tags["lab.packages"] == "wine-cultivars==1.0.0 extra==2"
    assert tags["lab.requirements"] == f"sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}"
    assert (tags["lab.locked"], tags["lab.environment"]) == ("true", "churn")
    assert text(client, run_id, "environment/requirements.txt", tmp_path) == lock.read_text()
    details = json.loads(text(client, run_id, "environment/environment.json", tmp_path))
    assert details["packages"] == ["wine-cultivars==1.0.0", "extra==2"]
    assert [line for line in details["installed"] if line.startswith("scikit-learn==")]


def test_a_run_keeps_the_lock_that_it_began_with(client: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of the file meanwhile: what is searched and what is trained run in the same versions."""
    monkeypatch.setenv("LAB_ENVIRONMENT_LOCKS", str(tmp_path))
    monkeypatch.setattr(lab_environments, "made", lambda text, python, say: ("key", f"the Python of {text}"))
    first, later, lock = "churn==1\n", "churn==2\n", tmp_path / "churn.lock"

    def job(run: dict[str, str]) -> Job:
        return Job({"environment": "churn"}, "churn.yml", tmp_path, "run", {}, run, lock=lab_environments.digest(first))

    lock.write_text(first)
    environment.record(client, run_id, about(), job({}).environment)
    lock.write_text(later)
    (tmp_path / "churn.in").write_text("churn==3\n")  # which is not locked at all
    assert job({"mlflow_run_id": run_id}).environment.interpreter == f"the Python of {first}"
    lock.unlink()
    assert job({"mlflow_run_id": run_id}).environment.lock == first
    with pytest.raises(Failure, match=r"churn\.lock changed between the tasks check and prepare: trigger the run again"):
        _ = job({}).environment


def test_an_environment_that_cannot_be_had_ends_the_run_in_mlflow_with_the_reason(
    client: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a worker that has not made it yet, while its service or the index is away."""
    monkeypatch.setenv("LAB_ENVIRONMENT_LOCKS", str(tmp_path))
    monkeypatch.setenv("LAB_ENVIRONMENTS_DIR", str(tmp_path / "nowhere"))
    (tmp_path / "churn.lock").write_text("churn==1\n")
    lock = lab_environments.digest("churn==1\n")
    with pytest.raises(Failure) as raised:
        Job({"environment": "churn"}, "churn.yml", tmp_path, "run", {}, {"mlflow_run_id": run_id}, lock=lock).begun()
    found = client.get_run(run_id)
    assert (found.info.status, found.data.tags["lab.failure"]) == ("FAILED", str(raised.value))


def test_a_file_that_is_not_the_one_of_the_commit_is_dirty(client: Any, run_id: str, tmp_path: Path) -> None:
    """And the file is kept as it is, with a digest that `sha256sum` confirms."""
    file, facts = tmp_path / "mine.yml", tmp_path / "lab.json"
    file.write_bytes(b"steps: []\r\n")
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    for experiments, revision in (({"mine.yml": digest}, "abc123"), ({"mine.yml": "sha256:other"}, "abc123-dirty"), ({}, "abc123-dirty"), (None, "abc123")):
        facts.write_text(json.dumps({"git_revision": "abc123"} | ({} if experiments is None else {"experiments": experiments})))
        tags = environment.record(client, run_id, about(), UNLOCKED, facts=facts, file=str(file), file_digest=digest)
        assert tags["lab.git_revision"] == tags["mlflow.source.git.commit"] == revision, experiments
    assert Path(client.download_artifacts(run_id, "environment/mine.yml", str(tmp_path))).read_bytes() == file.read_bytes()


def test_without_lock_and_facts_it_lists_what_is_installed(client: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_FACTS_FILE", raising=False)
    tags = environment.record(client, run_id, about(), UNLOCKED)
    assert tags["lab.locked"] == "false" and "lab.image" not in tags
    assert "numpy==" in text(client, run_id, "environment/requirements.txt", tmp_path)


def test_data_is_found_with_its_digest_and_its_source(
    client: Any, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = load_wine(return_X_y=True, as_frame=True)
    table = tmp_path / "train.csv"
    x.to_csv(table, index=False)
    data = [
        Data("prepare.train", str(table), "training", "wine_cultivars:prepare"),
        Data("frame", (x, y), "training", "s3://bucket/wine.csv"),
        Data("array", load_diabetes(return_X_y=True), "evaluation", "theirs:read"),
        Data("frame_and_list", (x, list(y)), "training", "theirs:read"),
        Data("model", object(), "training", "theirs:make"),
        Data("words", str(tmp_path / "missing.csv"), "training", "theirs:make"),
    ]
    environment.record_data(client, run_id, environment.inputs_of(data))
    found = {entry.dataset.name: entry for entry in client.get_run(run_id).inputs.dataset_inputs}
    assert set(found) == {"prepare.train", "frame", "array", "frame_and_list"}
    assert found["prepare.train"].dataset.digest == hashlib.sha256(table.read_bytes()).hexdigest()[:16]
    assert "wine_cultivars:prepare" in found["prepare.train"].dataset.source
    assert [tag.value for tag in found["array"].tags if tag.key == "mlflow.data.context"] == ["evaluation"]
    assert "s3://bucket/wine.csv" in found["frame"].dataset.source
    assert "target" in found["frame"].dataset.schema and "alcohol" in found["frame"].dataset.schema
    assert json.loads(found["frame"].dataset.profile)["num_rows"] == 178
    monkeypatch.setattr(environment, "LARGE", 100)
    environment.record_data(client, run_id, environment.inputs_of([Data("large", str(table), "training", "s3://bucket/large.csv")]))
    [large] = [entry.dataset for entry in client.get_run(run_id).inputs.dataset_inputs if entry.dataset.name == "large"]
    assert (large.digest, large.source_type) == (found["prepare.train"].dataset.digest, "s3")
    out = capsys.readouterr().out
    assert "[environment] model is not recorded as a data set (TypeError: a object is neither a frame nor an array)" in out
    assert "[environment] words is not recorded as a data set (FileNotFoundError" in out


def test_files_that_an_experiment_names_are_data_sets_of_its_run(client: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "orders.parquet").write_bytes(b"PAR1")
    (tmp_path / "data" / "images" / "1.png").write_bytes(b"PNG")
    given = {"inputs": {"orders": f"{tmp_path}/data/orders.parquet", "images": f"{tmp_path}/data/images", "all": f"{tmp_path}/data/*/*.png"}, "steps": []}
    environment.record_files(client, run_id, {**given, **dict.fromkeys(("search", "cross_validation", "train"))}, tmp_path)
    found = {one.dataset.name: one for one in client.get_run(run_id).inputs.dataset_inputs}
    sha256 = hashlib.sha256(b"PAR1").hexdigest()
    orders = found["orders.parquet"]
    assert orders.dataset.digest == sha256[:16] and f"{tmp_path}/data/orders.parquet" in orders.dataset.source
    assert json.loads(orders.dataset.profile) == {"sha256": sha256, "bytes": 4, "files": 1}
    assert [tag.value for tag in orders.tags] == ["inputs.orders"]
    assert json.loads(found["images"].dataset.profile)["files"] == json.loads(found["*/*.png"].dataset.profile)["files"] == 1
