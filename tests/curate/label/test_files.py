"""Votes of any size, file to file: the same labels as in memory, whatever the shape of the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.label import count
from curate.label.aggregate import aggregate
from curate.label.files import aggregate_file
from schemas.tables import LABELS

KEYS = ["checks", "dots", "plain"]


def many_votes(images: int, seed: int = 0) -> pd.DataFrame:
    """Three votes a picture and some repeats, shuffled; a quarter of the votes says anything."""
    rng = np.random.default_rng(seed)
    image = np.r_[np.repeat(np.arange(images), 3), rng.integers(images, size=images // 5)]
    said = np.where(rng.random(len(image)) < 0.75, image % 3, rng.integers(4, size=len(image)))
    frame = pd.DataFrame(
        {
            "image_id": [f"{number:08d}" for number in image],
            "worker_id": [f"A{number}" for number in rng.integers(40, size=len(image))],
            "label": np.array([*KEYS, "cannot_see"])[said],
            "seconds": rng.random(len(image)),
        }
    )
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


def expected(votes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels, audit = aggregate(votes, classes=KEYS)
    return labels, audit.sort_values(["image_id", "worker_id", "label", "seconds"], ignore_index=True)


def same_as_in_memory(votes: pd.DataFrame, out: Path, audit: Path | None = None) -> None:
    labels, audited = expected(votes)
    found = LABELS.read(out)
    for name in ("image_id", "label", "n_votes", "n_agree", "dropped", "method"):
        assert found[name].fillna("-").tolist() == labels[name].fillna("-").tolist(), name
    probs = [
        (a is None and b is None) or np.allclose(a, b)
        for a, b in zip(found.label_probs, labels.label_probs, strict=True)
    ]
    assert all(probs)
    if audit:
        rows = pd.read_parquet(audit).sort_values(["image_id", "worker_id", "label", "seconds"], ignore_index=True)
        assert list(rows.columns) == [*votes.columns, "dropped"]
        # which of several equal votes of one worker is the duplicate is not told apart without times
        for name in ("image_id", "worker_id", "label", "seconds"):
            assert rows[name].tolist() == audited[name].tolist()
        assert rows.dropped.fillna("-").value_counts().to_dict() == audited.dropped.fillna("-").value_counts().to_dict()


@pytest.mark.parametrize("block", [7, 100, 10_000])
def test_a_file_gives_the_same_labels_however_the_rows_are_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    votes = many_votes(300)
    votes.to_parquet(tmp_path / "votes.parquet", row_group_size=50)
    monkeypatch.setattr(count, "BLOCK_ROWS", block)
    monkeypatch.setattr(count, "LEAST_ROWS", 1)
    out, audit = tmp_path / "labels.parquet", tmp_path / "audit.parquet"
    said = aggregate_file(tmp_path / "votes.parquet", out, audit)
    same_as_in_memory(votes, out, audit)
    assert "of 300 pictures labeled" in said[0]
    assert not [path for path in tmp_path.iterdir() if "spill" in path.name or "part" in path.name]


def test_a_folder_of_parts_of_different_types_is_one_table(tmp_path: Path) -> None:
    votes = many_votes(200)
    folder = tmp_path / "votes"
    (folder / "day=1").mkdir(parents=True)
    third = len(votes) // 3
    parts = [votes.iloc[:third], votes.iloc[third : 2 * third], votes.iloc[2 * third :]]
    pq.write_table(pa.Table.from_pandas(parts[0]), folder / "a.parquet")
    large = pa.Table.from_pandas(parts[1]).cast(
        pa.schema(
            [
                ("image_id", pa.large_string()),
                ("worker_id", pa.string()),
                ("label", pa.large_string()),
                ("seconds", pa.float64()),
            ]
        )
    )
    pq.write_table(large, folder / "day=1" / "b.parquet")
    parts[2].astype({"label": "category"}).to_parquet(folder / "c.parquet")
    aggregate_file(folder, tmp_path / "labels.parquet")
    same_as_in_memory(votes, tmp_path / "labels.parquet")


@pytest.mark.parametrize(("sign", "mark"), [(",", ""), (";", "\N{BYTE ORDER MARK}"), ("\t", "")])
def test_a_csv_as_any_program_writes_it(tmp_path: Path, sign: str, mark: str) -> None:
    votes = many_votes(60)
    path = tmp_path / "votes.csv"
    path.write_text(mark + votes.to_csv(index=False, sep=sign), encoding="utf-8")
    aggregate_file(path, tmp_path / "labels.parquet")
    same_as_in_memory(votes, tmp_path / "labels.parquet")


def test_whole_numbers_as_ids_are_ids(tmp_path: Path) -> None:
    votes = pd.DataFrame({"image_id": [1, 1, 1, 2], "worker_id": [7, 8, 9, 7], "label": ["a", "a", "b", "b"]})
    votes.to_parquet(tmp_path / "votes.parquet")
    aggregate_file(tmp_path / "votes.parquet", tmp_path / "labels.parquet")
    assert LABELS.read(tmp_path / "labels.parquet").label.fillna("-").tolist() == ["a", "-"]


def test_what_a_killed_run_left_is_cleared_and_nothing_half_written_stays(tmp_path: Path) -> None:
    """Killed while it writes: no labels; run again: labels, and no scratch folder of either run."""
    many_votes(60_000).to_parquet(tmp_path / "votes.parquet")
    code = (
        "import sys; from pathlib import Path; from curate.label import count, files\n"
        "count.BLOCK_ROWS = 2000\n"
        "real = count._count\n"
        "def counting(*a):\n print('counting', flush=True); return real(*a)\n"
        "count._count = counting\n"
        "files.aggregate_file(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    out = tmp_path / "labels.parquet"
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "votes.parquet"), str(out)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout
    assert run.stdout.readline() == "counting\n"
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    assert not out.exists()
    aggregate_file(tmp_path / "votes.parquet", out)
    assert len(LABELS.read(out)) == 60_000
    assert sorted(path.name for path in tmp_path.iterdir() if "spill" in path.name or path.suffix == ".part") == []
