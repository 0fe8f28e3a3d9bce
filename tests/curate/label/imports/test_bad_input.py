"""What is wrong with a file of votes is said in one line, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.tables import LABELS, VOTES

HEAD = "image_id,worker_id,label,submitted_at"
DAY = "2026-01-05T10:20:30Z"
A, B = "a" * 64, "b" * 64
GOOD = [HEAD, f"{A},w,dots,{DAY}", f"{B},v,stars,{DAY}"]


def lines(*more: str, start: list[str] = GOOD) -> Callable[[Path], None]:
    return lambda path: path.write_text("\n".join([*start, *more, ""]), encoding="utf-8") and None


def raw(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def cut_off(path: Path) -> None:
    pd.DataFrame({"image_id": [A] * 999, "worker_id": "w", "label": "dots"}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])


def newer(path: Path) -> None:
    schema = VOTES.schema().with_metadata({"consenso.table": "votes", "consenso.version": "99"})
    pq.write_table(pa.Table.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema), path)


def simulated(path: Path) -> None:
    row = {
        "assignment_id": "1", "image_id": A, "task": "apron", "hit_id": "h", "worker_id": "ASIM0123456789ABC", "round": 1,
        "endpoint": "e", "assignment_status": "Approved", "source": "simulated", "label": "dots", "submitted_at": DAY,
    }  # fmt: skip
    VOTES.write(VOTES.frame([row, {**row, "assignment_id": "2", "image_id": B, "label": "stars"}]), path)


def many_classes(path: Path) -> None:
    frame = pd.DataFrame({"image_id": A, "worker_id": "w", "label": [f"row {n}" for n in range(1_000_000)]})
    frame.to_parquet(path)


CASES: list[tuple[str, Callable[[Path], None], list[str], str]] = [
    ("gone.csv", lambda path: None, [], "gone.csv: no such file"),
    ("gone.parquet", lambda path: None, [], "gone.parquet: no such file"),
    ("empty.csv", raw(b""), [], "empty.csv: is empty"),
    ("blank.csv", raw(b"\xef\xbb\xbf \r\n"), [], "blank.csv: is empty"),
    ("empty.json", raw(b"[]"), [], "holds an empty list"),
    ("head.csv", lines(start=[HEAD]), [], "holds no rows below its head"),
    ("unknown.csv", lines(f"{A},x,spots,{DAY}", f"{B},x,spots,{DAY}", f"{A},x,flroal,{DAY}"), [],
     "3 of 5 labels are no class of task apron: 'spots' (2), nearest dots; 'flroal' (1), nearest floral. Its classes: plain"),
    ("map.csv", lines(f"{A},x,spots,{DAY}"), [], "Say what they are with --map FILE (lines of old,new)"),
    ("million.parquet", many_classes, [], "1000000 different labels, for example 'row 0'; at most 1000 are classes"),
    ("nobody.csv", lines(f"{A},,dots,{DAY}", "", f"{B}, ,dots,{DAY}"), [], "the worker is missing in 2 of 4 answers (line 4, line 6)"),
    ("quoted.csv", lines(f'{A},w,"dots",{DAY}', f'{A},x,"dots\n",{DAY}', f"{A},,dots,{DAY}"), [], "the worker is missing in 1 of 5 answers (line 7)"),
    ("none.csv", lines(f"{A},,dots,{DAY}", start=[HEAD]), [], "the worker is missing in 1 of 1 answers"),
    ("column.csv", lines(start=["image_id,label", f"{A},dots"]), [], "missing columns worker_id; found image_id, label; votes say who gave them"),
    ("other.csv", lines(start=["x,y", "1,2"]), [], "missing columns image_id, worker_id, label; found x, y; name the columns"),
    ("named.csv", lines(), ["--label-column", "klass"], "--label-column klass: no such column; found image_id"),
    ("times.csv", lines(f"{A},x,dots,05/01/2026 10:00"), [], "times.csv: line 4: '05/01/2026 10:00' could be day or month first"),
    ("zone.csv", lines(f"{A},x,dots,Mon Jan 05 10:20:30 BRT 2026"), [], "has a zone 'BRT' that is not known here"),
    ("notime.csv", lines(f"{A},x,dots,"), [], "the time is missing in 1 of 3 answers (line 4 first)"),
    ("nopicture.csv", lines(f",x,dots,{DAY}"), [], "the picture is missing in 1 of 3 answers (line 4)"),
    ("elsewhere.csv", lines(f"img/1.jpg,x,dots,{DAY}", start=[HEAD]), [], "none of its 1 pictures is in this workspace: first img/1.jpg, while here is e.g. https://shop"),
    ("oneclass.csv", lines(f"{A},w,dots,{DAY}", f"{B},v,dots,{DAY}", start=[HEAD]), [], "all 2 votes say dots, one class only"),
    ("status.csv", lines(start=[f"{HEAD},assignment_status", f"{A},w,dots,{DAY},Lost"]), [], "line 2: assignment status 'Lost' is not known; it can be Submitted"),
    ("torn.csv", lines("x,y,z,1,2,3"), [], "cannot be read as CSV: line 4 has 6 values, the first line names 4 columns"),
    ("long.csv", lines(start=["image_id,worker_id,label", f"{A},w,dots,extra", f"{B},w,stars,extra"]), [], "line 2 has 4 values, the first line names 3"),
    ("twice.csv", lines(start=["image_id,worker_id,label,label", f"{A},w,dots,stars"]), [], "column 'label' stands there twice"),
    ("latin.csv", raw("image_id;worker_id;label\r\na;josé;Lunares\r\n".encode("cp1252")), [], "line 2: is not UTF-8 (byte 0xe9); save it as CSV UTF-8, or convert it with `iconv"),
    ("cut.parquet", cut_off, [], "it may be cut off"),
    ("text.parquet", raw(b"hello"), [], "cannot be read as Parquet"),
    ("newer.parquet", newer, [], "written as version 99 of votes"),
    ("labels.parquet", lambda path: LABELS.write(LABELS.empty(), path) and None, [], "labels.parquet: holds no rows"),
    ("simulated.parquet", simulated, [], "holds simulated votes; they never mix with real ones"),
    ("simulated.csv", lines(f"{A},ASIM0123456789ABC,dots,{DAY}"), [], "holds votes of simulated workers"),
    ("book.xlsx", raw(b"PK\x03\x04rest"), [], "is a workbook or a zip archive; save it as CSV UTF-8"),
    ("odd.json", lines(start=[json.dumps({"rows": [1, 2]})]), [], "is JSON of no tool that is known here"),
    ("cut.json", raw(b'[{"id": 1, "data": {"image": "x"'), [], "line 1: is not readable as JSON"),
    ("good.csv", lines(), ["--format", "mturk"], "missing columns HITId, AssignmentId, WorkerId"),
    ("good.csv", lines(), ["--format", "label-studio"], "is a plain table, not a Label Studio export; leave --format out"),
    ("good.csv", lines(), ["--format", "xml"], "--format xml: is not known; it can be auto, mturk, label-studio"),
    ("good.csv", lines(), ["--unknown", "drop"], "--unknown drop: is not known; it can be refuse or keep"),
    ("good.csv", lines(), ["--map", "none.csv"], "none.csv: no such file"),
    ("good.csv", lines(), ["--task", "shirt"], "no task 'shirt'; tasks here: apron"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "options", "said"), CASES, ids=[f"{c[0]}{' '.join(c[2])}" for c in CASES])
def test_one_line_and_nothing_written(
    person: Any, tmp_path: Path, name: str, make: Callable[[Path], None], options: list[str], said: str
) -> None:
    make(tmp_path / name)
    assert said in person.refused("votes", tmp_path / name, *options)
    assert not person.shop.of_task("apron", "votes").exists()
    assert not (person.shop.root / "people.db").exists()


def test_votes_that_are_there_survive_a_wrong_file(person: Any, tmp_path: Path) -> None:
    lines()(tmp_path / "good.csv")
    person.imports("votes", tmp_path / "good.csv")
    lines(f"{A},x,spots,{DAY}")(tmp_path / "wrong.csv")
    person.refused("votes", tmp_path / "wrong.csv")
    assert person.said() == ["a dots", "b stars"]


def test_unknown_labels_may_be_kept_as_votes_that_do_not_count(person: Any, tmp_path: Path) -> None:
    lines(f"{A},x,spots,{DAY}", f"{A},y,,{DAY}")(tmp_path / "v.csv")
    said = person.imports("votes", tmp_path / "v.csv", "--unknown", "keep")
    assert "1 votes name no class, or several; they stay in the table as invalid label" in said
    assert "1 votes have no answer; they stay in the table as invalid label" in said
    assert person.said() == ["a -", "a -", "a dots", "b stars"]
    code, out, _ = person.type("aggregate")
    assert code == 0
    assert "2 of 4 votes counted; 2 invalid label" in out


def test_one_class_is_fine_when_a_person_says_so_or_others_are_there(person: Any, tmp_path: Path) -> None:
    lines(f"{A},w,dots,{DAY}", f"{B},v,dots,{DAY}", start=[HEAD])(tmp_path / "v.csv")
    person.imports("votes", tmp_path / "v.csv", "--one-class")
    assert person.said() == ["a dots", "b dots"]
    lines(f"{A},w,stars,{DAY}", f"{B},v,stars,{DAY}", start=[HEAD])(tmp_path / "w.csv")
    person.imports("votes", tmp_path / "w.csv")
    assert len(person.votes) == 4


def test_a_wrong_map_names_what_it_should_hold(person: Any, tmp_path: Path) -> None:
    lines(f"{A},x,spots,{DAY}")(tmp_path / "v.csv")
    for name, text, said in [
        ("m.csv", "old,new\nspots,dotz\n", "'spots' becomes 'dotz', which is no class of task apron"),
        ("m.csv", "spots\n", "line 1: 'spots' is not old,new"),
        ("m.csv", "spots,dots\nspots,stars\n", "line 2: 'spots' is mapped twice, to dots and stars"),
        ("m.yaml", "- spots\n", "expected lines like `Polka dots: dots`"),
        ("m.yaml", "a: [", "is not readable as YAML"),
    ]:
        (tmp_path / name).write_text(text)
        assert said in person.refused("votes", tmp_path / "v.csv", "--map", str(tmp_path / name))


def test_a_workspace_without_pictures_says_what_comes_first(person: Any, tmp_path: Path) -> None:
    lines()(tmp_path / "v.csv")
    person.shop.table("pictures").unlink()
    assert "pictures.parquet: no such file" in person.refused("votes", tmp_path / "v.csv")
