"""Finished labels come in once, and a changed one takes the place of the earlier one of its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.tables import GIVEN


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def labels(person: Any) -> dict[str, str]:
    return {f"{row.picture} {row.source}": row.label for row in person.given.itertuples()}


def test_labels_come_in_once_and_a_changed_one_replaces_its_own_source(
    person: Any, tmp_path: Path, places: dict[str, str]
) -> None:
    first = csv(
        tmp_path / "first.csv", "path,class", f"{places['e']},dots", f"{places['f']},Flores", f"{places['a']},plain"
    )
    said = person.imports("labels", first)
    assert "a plain table; labels of 3 pictures, 3 classes" in said
    assert "labels: 3 added" in said
    assert "next: curate aggregate (they stand where votes make no label)" in said
    assert "nothing new: every label is here already" in person.imports("labels", first)
    person.imports("labels", csv(tmp_path / "e.csv", "path,class", f"{places['e']},hearts"), "--source", "expert")
    said = person.imports(
        "labels", csv(tmp_path / "later.csv", "path,class", f"{places['e']},stars", f"{places['f']},floral")
    )
    assert "labels: 1 in place of an earlier one, 1 here already" in said
    assert labels(person) == {"e import": "stars", "e expert": "hearts", "f import": "floral", "a import": "plain"}
    given = person.given.set_index(["picture", "source"])["given_by"]
    assert given["e", "import"] == "later.csv"
    assert given["f", "import"] == "first.csv"


def test_expert_labels_say_who_and_that_they_win(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    table = pd.DataFrame({"image_id": [ids["a"], ids["b"]], "label": ["dots", "stars"], "note": ["sure", None]})
    table.to_parquet(tmp_path / "gold.parquet")
    said = person.imports(
        "labels", tmp_path / "gold.parquet", "--source", "expert", "--given-by", "Rosa", "--chosen-by", "random"
    )
    assert "next: curate aggregate (expert labels win over votes)" in said
    assert "tested on" not in said
    code, out, _ = person.type("aggregate")
    assert code == 0
    assert out.startswith("labels that no vote made: 2 from experts\n")
    given = person.given
    assert set(given["given_by"]) == {"Rosa"}
    assert set(given["chosen_by"]) == {"random"}
    assert given["note"].fillna("").tolist() == ["sure", ""]


def test_rows_without_a_label_are_counted(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    file = csv(tmp_path / "l.csv", "image_id,label", f"{ids['a']},dots", f"{ids['b']},", "gone.jpg,dots")
    said = person.imports("labels", file)
    assert "left out: 1 rows without a label" in said
    assert "left out: 1 on 1 pictures that are not in this workspace: gone.jpg" in said
    assert labels(person) == {"a import": "dots"}


def test_a_map_says_what_labels_are(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    file = csv(tmp_path / "l.csv", "image_id,label", f"{ids['a']},Topos", f"{ids['b']},n/a", f"{ids['c']},stars")
    mapping = csv(tmp_path / "map.csv", "old,new", "Topos,dots", "n/a,")
    person.imports("labels", file, "--map", str(mapping))
    assert labels(person) == {"a import": "dots", "c import": "stars"}
    mapping = csv(tmp_path / "map.yaml", "Topos: hearts", "n/a:")
    person.imports("labels", file, "--map", str(mapping))
    assert labels(person) == {"a import": "hearts", "c import": "stars"}


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (["image_id,label", "A,dots", "A,stars"], [], "1 pictures are given two labels, first aaaa"),
        (["image_id,label", "A,spots"], [], "1 of 1 labels are no class of task apron: 'spots' (1), nearest dots"),
        (["image_id,label", "A,dots"], ["--source", "boss"], "--source boss: is not known; it can be expert or import"),
        (["image_id,label", "gone.jpg,dots"], [], "none of its 1 pictures is in this workspace: first gone.jpg"),
        (["image_id,color", "A,#fff"], [], "missing columns label; found image_id, color"),
        (["image_id,label", "A,"], [], "is a plain table, and holds no labels"),
        (["image_id,label"], [], "holds no rows below its head"),
        (["image_id,label,created_at", "A,dots,01/02/2026"], [], "line 2: '01/02/2026' could be day or month first"),
        (["HITId,AssignmentId,WorkerId", "1,2,3"], [], "votes of workers; take them in with `curate import votes`"),
    ],
)
def test_a_wrong_file_gets_one_line(
    person: Any, tmp_path: Path, ids: dict[str, str], lines: list[str], options: list[str], said: str
) -> None:
    file = csv(tmp_path / "l.csv", *(line.replace("A,", f"{ids['a']},") for line in lines))
    assert said in person.refused("labels", file, *options)
    assert not person.shop.of_task("apron", "given").exists()


def test_given_labels_of_other_tasks_and_sources_stay(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    at = pd.Timestamp("2026-01-01T00:00:00Z")
    other = {
        "image_id": ids["a"],
        "task": "apron",
        "label": "plain",
        "source": "expert",
        "given_by": "Rosa",
        "given_at": at,
    }
    GIVEN.write(GIVEN.frame([other]), person.shop.of_task("apron", "given"))
    person.imports("labels", csv(tmp_path / "l.csv", "image_id,label", f"{ids['a']},dots"))
    assert labels(person) == {"a expert": "plain", "a import": "dots"}
