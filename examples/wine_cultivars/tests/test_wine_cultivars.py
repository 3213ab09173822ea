"""Tests of the project: they know nothing of the lab either."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from wine_cultivars import evaluate, make_model, prepare, read, train


def test_the_split_keeps_every_wine_and_the_shares_of_the_cultivars(tmp_path: Path) -> None:
    paths = prepare(tmp_path, test_share=0.25, seed=1)
    train_table, test_table = pd.read_csv(paths["train"]), pd.read_csv(paths["test"])
    assert (len(train_table), len(test_table)) == (133, 45)
    assert train_table.shape[1] == test_table.shape[1] == 14
    shares = [table["cultivar"].value_counts(normalize=True).sort_index() for table in (train_table, test_table)]
    assert (shares[0] - shares[1]).abs().max() < 0.02


def test_the_same_seed_gives_the_same_tables_and_another_seed_others(tmp_path: Path) -> None:
    texts = [Path(prepare(tmp_path / name, seed=seed)["train"]).read_text() for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_that_is_none_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        prepare(tmp_path, test_share=share)


def test_a_table_without_the_target_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv has no column 'cultivar'; its columns are a, b"):
        read(tmp_path / "other.csv")


def test_the_model_is_good_and_reproducible(tmp_path: Path) -> None:
    paths = prepare(tmp_path, seed=1)
    metrics = [evaluate(train(paths["train"], trees=100, seed=2), paths["test"], tmp_path / "plot.png") for _ in range(2)]
    assert metrics[0] == metrics[1]
    assert metrics[0]["accuracy"] > 0.9
    assert metrics[0]["log_loss"] < 0.5
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_model_predicts_names_from_measurements_alone(tmp_path: Path) -> None:
    paths = prepare(tmp_path, seed=1)
    measurements, _ = read(paths["test"])
    predicted = train(paths["train"], trees=10).predict(measurements.head(3))
    assert set(predicted) <= {"class_0", "class_1", "class_2"}


def test_models_of_both_kinds_are_good_and_another_kind_is_refused(tmp_path: Path) -> None:
    measurements, cultivars = read(prepare(tmp_path, seed=1)["train"])
    for kind in ("forest", "logistic"):
        model = make_model(kind, trees=20, cost=0.1).fit(measurements, cultivars)
        assert model.score(measurements, cultivars) > 0.9
    with pytest.raises(ValueError, match="it must be forest or logistic"):
        make_model("tree")
