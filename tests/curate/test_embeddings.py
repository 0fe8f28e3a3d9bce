"""Vectors are read in blocks, in the order asked for, of one model only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.embeddings import CURRENT, iter_vectors, read_vectors
from schemas.errors import TableError, UserError
from schemas.tables import CLUSTERS, EMBEDDINGS


def write(path: Path, *rows: tuple[str, str, list[float]], current: str | None = None) -> Path:
    frame = EMBEDDINGS.frame({"image_id": image, "model_id": model, "vector": vector} for image, model, vector in rows)
    return EMBEDDINGS.write(frame, path, {CURRENT: current} if current else {})


def test_vectors_come_in_the_order_asked_for_and_a_missing_one_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", ("a", "m", [1, 0]), ("b", "m", [0, 1]), ("c", "m", [0.6, 0.8]))
    ids, vectors, model_id = read_vectors(path, ["c", "nobody", "a"])
    assert (ids, model_id, vectors.dtype) == (["c", "a"], "m", np.float32)
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [1, 0]])


def test_without_ids_all_come_in_the_order_of_the_file_whatever_the_block(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", *((f"{n:03}", "m", [n, 1.0]) for n in range(50)))
    ids, vectors, _ = read_vectors(path)
    assert ids == [f"{n:03}" for n in range(50)]
    assert vectors[:, 0].tolist() == list(range(50))
    assert [len(block) for block, _ in iter_vectors(path, "m", rows=20)] == [20, 20, 10]


def test_of_two_models_the_one_embedded_last_is_meant(tmp_path: Path) -> None:
    rows = ("a", "old", [1.0]), ("a", "new", [1.0, 0.0])
    path = write(tmp_path / "e.parquet", *rows, current="new")
    assert read_vectors(path)[1].shape == (1, 2)
    assert read_vectors(path, model_id="old")[1].shape == (1, 1)
    unclear = write(tmp_path / "unclear.parquet", *rows)
    with pytest.raises(UserError, match="several models and does not say which is meant: new, old"):
        read_vectors(unclear)


def test_a_model_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", ("a", "m", [1.0]))
    with pytest.raises(UserError, match="holds no vectors of other; models in it: m"):
        read_vectors(path, model_id="other")


def test_vectors_of_two_lengths_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", ("a", "m", [1.0, 0.0]), ("b", "m", [1.0]))
    with pytest.raises(UserError, match="different lengths"):
        read_vectors(path)


def test_another_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read_vectors(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        read_vectors(tmp_path / "text.parquet")
    CLUSTERS.write(CLUSTERS.empty(), tmp_path / "clusters.parquet")
    with pytest.raises(TableError, match="is a clusters table, not embeddings"):
        read_vectors(tmp_path / "clusters.parquet")
