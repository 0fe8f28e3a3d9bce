"""What a person gets wrong gives one clear line, exit 1, and nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.workspace import Workspace
from schemas.tables import LABELS, VOTES

GOOD = "image_id,worker_id,label\na,w1,dots\na,w2,dots\na,w3,plain\nb,w1,plain\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def latin(path: Path) -> Path:
    path.write_bytes("image_id,worker_id,label\na,w,puño\n".encode("latin-1"))
    return path


def timed(path: Path, *times: str) -> Path:
    rows = [f"a,w{i},{'dots' if i else 'plain'},{time}" for i, time in enumerate(times)]
    return write(path, "\n".join(["image_id,worker_id,label,submitted_at", *rows, "b,w,dots,2026-01-05"]) + "\n")


def torn_in_the_middle(path: Path) -> Path:
    """A Parquet whose head and foot are whole and whose pages are not."""
    rng = np.random.default_rng(0)
    ids = [f"{number:032x}" for number in rng.integers(1 << 62, size=50_000)]
    pd.DataFrame({"image_id": ids, "worker_id": "w", "label": rng.choice(["dots", "plain"], 50_000)}).to_parquet(path)
    data = bytearray(path.read_bytes())
    data[1000:400_000] = bytes(399_000)
    path.write_bytes(data)
    return path


def cut_off(path: Path) -> Path:
    pd.DataFrame({"image_id": ["a"] * 999, "worker_id": "w", "label": "dots"}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def labels_table(path: Path) -> Path:
    return LABELS.write(LABELS.empty(), path)


def newer(path: Path) -> Path:
    """A table that a later program wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = VOTES.schema().with_metadata({"consenso.table": "votes", "consenso.version": "99"})
    pq.write_table(pa.Table.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema), path)
    return path


def many_labels(path: Path) -> Path:
    rows = "".join(f"i{n},w,label {n}\n" for n in range(1500))
    return write(path, "image_id,worker_id,label\n" + rows)


@pytest.mark.parametrize(
    ("name", "make", "options", "said"),
    [
        ("gone.csv", lambda path: path, [], "no such file"),
        ("gone.parquet", lambda path: path, [], "no such file"),
        ("empty.csv", lambda path: write(path, ""), [], "is empty"),
        ("head.csv", lambda path: write(path, "image_id,worker_id,label\n"), [], "holds no votes"),
        ("other.csv", lambda path: write(path, "a,b\n1,2\n"), [], "missing columns image_id, worker_id, label"),
        ("torn.csv", lambda path: write(path, GOOD + "x,y,z,too,many\n"), [], "cannot be read as CSV"),
        ("nobody.csv", lambda path: write(path, GOOD + "c,,dots\n"), [], "worker_id is missing in 1 of 5 votes"),
        ("noimage.csv", lambda path: write(path, GOOD + ",w1,dots\n" * 3), [], "image_id is missing in 3 of 7 votes"),
        ("classes.csv", lambda path: write(path, GOOD), ["--classes", "dots,stripes"], "for example 'plain'"),
        ("tasks.csv", lambda path: write(path, "task,image_id,worker_id,label\nt,a,w,x\nu,a,w,x\n"), [], "found t, u"),
        ("same.csv", lambda path: write(path, "image_id,worker_id,label\na,w,x\nb,w,x\n"), [], "every vote says 'x'"),
        ("twice.csv", lambda path: write(path, "image_id,label,worker_id,label\na,x,w,x\n"), [], "'label' stands in"),
        ("latin.csv", lambda path: latin(path), [], "not UTF-8"),
        ("when.csv", lambda path: timed(path, "yesterday"), [], "submitted_at yesterday is no time"),
        ("million.csv", many_labels, [], "1500 different labels in 1500 votes"),
        ("text.parquet", lambda path: write(path, "hello"), [], "cannot be read as Parquet"),
        ("cut.parquet", cut_off, [], "may be cut off"),
        ("torn.parquet", torn_in_the_middle, [], "may be cut off"),
        ("labels.parquet", labels_table, [], "It is a labels table; votes are expected"),
        ("newer.parquet", newer, [], "written as version 99"),
    ],
)
def test_bad_votes_give_one_clear_line(
    tmp_path: Path,
    curate: Callable[..., tuple[int, str, str]],
    name: str,
    make: Callable[[Path], Path],
    options: list[str],
    said: str,
) -> None:
    out = tmp_path / "out.parquet"
    code, stdout, stderr = curate("aggregate", make(tmp_path / name), "--out", out, *options)
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert said in stderr
    assert not list(tmp_path.glob("out*"))


def test_loose_votes_become_labels_and_an_audit(tmp_path: Path, curate: Callable[..., tuple[int, str, str]]) -> None:
    votes = write(tmp_path / "votes.csv", GOOD)
    out, audit = tmp_path / "labels.parquet", tmp_path / "audit.csv"
    code, stdout, _ = curate("aggregate", votes, "--out", out, "--audit", audit)
    assert code == 0
    assert "1 of 2 pictures labeled (50.0 %); 1 insufficient" in stdout
    assert LABELS.read(out).label.tolist()[0] == "dots"
    assert LABELS.metadata(out)["consenso.classes"] == '["dots", "plain"]'
    assert len(pd.read_csv(audit)) == 4


def test_a_label_named_na_is_a_label(tmp_path: Path, curate: Callable[..., tuple[int, str, str]]) -> None:
    votes = write(tmp_path / "votes.csv", "image_id,worker_id,label\n" + "".join(f"1,{w},NA\n" for w in "xyz"))
    assert curate("aggregate", votes, "--out", tmp_path / "labels.parquet", "--classes", "NA,plain")[0] == 0
    row = LABELS.read(tmp_path / "labels.parquet").iloc[0]
    assert (row.image_id, row.label) == ("1", "NA")


def test_votes_are_never_replaced_by_labels(tmp_path: Path, curate: Callable[..., tuple[int, str, str]]) -> None:
    votes = write(tmp_path / "votes.csv", GOOD)
    code, _, stderr = curate("aggregate", votes, "--out", votes)
    assert code == 1
    assert "would replace its own input" in stderr
    assert votes.read_text() == GOOD


@pytest.mark.parametrize(
    ("command", "said"),
    [("aggregate", "Make it with `curate hits collect`"), ("split", "Make it with `curate aggregate`")],
)
def test_a_step_taken_too_early_names_the_step_before(
    workspace: Workspace, curate: Callable[..., tuple[int, str, str]], command: str, said: str
) -> None:
    code, _, stderr = curate(command, "--workspace", workspace.root)
    assert code == 1
    assert said in stderr
    assert not workspace.manifest("apron").exists()
