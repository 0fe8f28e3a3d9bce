from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.probe import Probed, probe
from schemas.errors import UserError
from schemas.folds import fold_of
from schemas.tables import MANIFEST

CLASSES = ["dots", "plain", "stars"]


def shop(count: int = 90, seed: int = 0, **columns: list[Any]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Labeled train pictures of three classes in turn, each class around a direction of its own."""
    rng = np.random.default_rng(seed)
    ids = [f"{number:064x}" for number in range(count)]
    label = [CLASSES[number % 3] for number in range(count)]
    rows = pd.DataFrame({"image_id": ids, "path": "p", "label": label, "split": "train", **columns})
    x = np.eye(8)[[CLASSES.index(key) for key in label]] + rng.normal(0, 0.3, (count, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return MANIFEST.check(rows), dict(zip(ids, x.astype(np.float32), strict=True))


def told(rows: pd.DataFrame, vectors: dict[str, np.ndarray], **wish: Any) -> Probed:
    def blocks() -> Iterator[tuple[list[str], np.ndarray]]:
        ids = list(vectors)
        for start in range(0, len(ids), 32):
            some = ids[start : start + 32]
            yield some, np.stack([vectors[i] for i in some])

    facts = {"classes": CLASSES, "task": "apron", "manifest_id": "m1", "embedding_id": "e1", **wish}
    return probe(rows, blocks, **facts)


def test_every_labeled_train_picture_is_predicted_by_a_model_that_was_not_taught_it() -> None:
    rows, vectors = shop()
    rows.loc[0, "label"] = "stars"  # it looks like dots
    found = told(rows, vectors).rows
    assert set(found["fold"]) == {0, 1, 2, 3, 4}
    assert found.loc[0, "predicted"] == "dots"
    assert found.loc[0, "label"] == "stars"
    assert np.stack(found["probs"].to_list()).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (found["predicted"] == found["label"])[1:].mean() > 0.9


def test_unlabeled_val_and_test_pictures_have_no_fold_and_teach_nobody() -> None:
    rows, vectors = shop(split=["test", "val", "unlabeled", *["train"] * 87])
    rows.loc[2, "label"] = None
    found = told(rows, vectors).rows
    assert found.loc[:2, "fold"].isna().all()
    assert found.loc[3:, "fold"].notna().all()
    rows.loc[:1, "label"] = "stars"  # other labels of what teaches nobody change nothing
    again = told(rows, vectors).rows
    assert all(np.array_equal(a, b) for a, b in zip(found["probs"], again["probs"], strict=True))


def test_dropped_and_out_pictures_are_not_predicted_and_missing_vectors_are_counted() -> None:
    rows, vectors = shop(split=["out", *["train"] * 89], dropped=[None, "too small", *[None] * 88])
    del vectors[rows.loc[2, "image_id"]]
    found = told(rows, vectors)
    assert sorted(found.rows["image_id"]) == sorted(rows["image_id"][3:])
    assert found.without_vector == 1
    assert "1 pictures have no vector: run `curate embed` again" in found.lines()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 5), shuffle=st.integers(0, 99))
def test_row_order_of_manifest_and_vectors_does_not_matter(seed: int, shuffle: int) -> None:
    rows, vectors = shop(45)
    mixed = dict(sorted(vectors.items(), key=lambda item: sha256(f"{item[0]} {shuffle}".encode()).digest()))
    one, two = told(rows, vectors, seed=seed), told(rows.sample(frac=1, random_state=shuffle), mixed, seed=seed)
    pd.testing.assert_frame_equal(one.rows, two.rows)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 30), min_size=20, max_size=60), clusters=st.integers(1, 20), seed=st.integers(0, 3)
)
def test_groups_and_clusters_never_cross_folds_and_every_fold_is_used(
    groups: list[int], clusters: int, seed: int
) -> None:
    count = len(groups)
    rows, _ = shop(count, group_id=[f"g{g}" for g in groups])
    # clusters tie neighbors together, also across groups; a missing one ties nothing
    cluster = [f"c{n // 2}" if n // 2 < clusters else None for n in range(count)]
    rows = rows.assign(cluster_id=pd.Series(cluster, dtype="str"))
    fold = pd.Series(fold_of(rows, 3, seed))
    for name in ("group_id", "cluster_id"):
        assert fold.groupby(rows[name]).nunique().max() == 1
    assert fold.between(0, 2).all()


def test_a_class_of_one_group_is_not_predicted_out_of_fold() -> None:
    rows, vectors = shop(31, group_id=["all stars" if n % 3 == 2 else f"g{n}" for n in range(31)])
    found = told(rows, vectors)
    assert found.alone == ["stars"], "whoever would predict them never saw one"
    assert "stars" not in set(found.rows["label"])
    assert "not predicted out of fold, too few groups of pictures: stars" in found.lines()


def test_a_probe_that_knows_nothing_says_so() -> None:
    rows, vectors = shop(60)
    rng = np.random.default_rng(1)
    noise = {i: rng.normal(size=8).astype(np.float32) for i in vectors}
    rows["label"] = ["dots"] * 50 + ["plain"] * 10
    assert any("no better than always saying the largest class" in line for line in told(rows, noise).lines())


def test_without_a_split_every_labeled_picture_teaches() -> None:
    rows, vectors = shop(30)
    rows["split"] = pd.Series(None, index=rows.index, dtype="str")
    assert told(rows, vectors).taught == 30


@pytest.mark.parametrize(
    ("change", "wish", "said"),
    [
        ({"label": [None] * 30}, {}, "none of 30 pictures is a labeled train picture with a vector"),
        ({"label": ["dots"] * 30}, {}, "all 30 labeled train pictures are of one class"),
        ({"group_id": ["one"] * 15 + ["two"] * 15}, {}, "make 2 groups, too few for 5 folds"),
        ({}, {"folds": 1}, "--folds must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_line(
    change: dict[str, list[Any]], wish: dict[str, int], said: str
) -> None:
    rows, vectors = shop(30, **change)
    with pytest.raises(UserError, match=said):
        told(rows, vectors, **wish)
