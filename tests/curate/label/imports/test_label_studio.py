"""Label Studio's exports: the full JSON, and what its own converter makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curate.database import connect

CONFIG = """<View><Image name="image" value="$image"/><Choices name="pattern" toName="image">
<Choice value="dots"/><Choice value="stars"/><Choice value="plain"/></Choices></View>"""


def choice(label: str | list[str], control: str = "pattern") -> dict[str, Any]:
    labels = [label] if isinstance(label, str) else label
    return {"id": "r1", "type": "choices", "from_name": control, "to_name": "image", "value": {"choices": labels}}


def annotation(number: int, by: Any, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {
        "id": number, "completed_by": by, "result": list(results), "was_cancelled": False, "ground_truth": False,
        "created_at": "2026-01-05T18:20:30.123456Z", "updated_at": "2026-02-01T00:00:00Z", "lead_time": 4.25, "result_count": 1,
    }  # fmt: skip
    return {**made, **more}


def task(number: int, picture: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    guess = {"model_version": "m1", "score": 0.9, "result": [choice("hearts")]}
    return {
        "id": number, "project": 83, "data": {"image": picture, "title": "Delantal"}, "annotations": list(annotations),
        "predictions": [guess], "created_at": "2026-01-01T00:00:00Z", **more,
    }  # fmt: skip


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def export(tmp_path: Path, places: dict[str, str]) -> Path:
    return write(
        tmp_path / "project-83.json",
        [
            task(
                1,
                places["a"],
                annotation(11, 7, choice("dots")),
                annotation(12, {"id": 8, "email": "ana@example.org"}, choice("stars")),
            ),
            task(2, places["b"], annotation(13, 7, choice("plain"))),
        ],
    )


def test_every_finished_annotation_is_a_vote_and_predictions_are_none(person: Any, export: Path) -> None:
    assert "a Label Studio export; 3 votes of 2 workers on 2 pictures" in person.imports("votes", export)
    assert person.said() == ["a dots", "a stars", "b plain"]
    votes = person.votes
    assert votes["seconds"].tolist() == [4.25] * 3
    assert set(votes["submitted_at"]) == {pd.Timestamp("2026-01-05T18:20:30.123456Z")}
    assert votes["worker_id"][0] == votes["worker_id"][2] != votes["worker_id"][1]
    assert "nothing new" in person.imports("votes", export)


@pytest.mark.parametrize(("form", "name"), [("JSON_MIN", "result.json"), ("CSV", "result.csv")])
def test_the_short_exports_that_its_own_converter_makes_are_the_same_votes(
    person: Any, export: Path, tmp_path: Path, form: str, name: str
) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter").Converter(CONFIG, str(tmp_path))
    converter.convert(str(export), str(tmp_path / "short"), form, is_dir=False)
    short = tmp_path / "short" / name
    person.imports("votes", short)
    assert person.said() == ["a dots", "a stars", "b plain"]
    before = person.votes
    assert "nothing new" in person.imports("votes", export)
    pd.testing.assert_frame_equal(person.votes, before)
    people = connect(person.shop.root / "people.db")
    assert {row["name"] for row in people.execute("SELECT name FROM imported_worker")} == {"7", "ana@example.org"}
    people.close()


def test_what_nobody_finished_is_left_out_with_its_reason(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    file = write(
        tmp_path / "ls.json",
        [
            task(1, places["a"], annotation(1, 7, choice("dots")), annotation(2, 8, was_cancelled=True)),
            task(2, places["b"], annotation(3, 7), annotation(4, 8, choice("stars"))),
            task(3, places["c"]),
        ],
    )
    said = person.imports("votes", file)
    assert "left out: 1 annotations that were skipped (was_cancelled)" in said
    assert "left out: 1 annotations without a choice" in said
    assert "left out: 1 tasks without annotations" in said
    assert person.said() == ["a dots", "b stars"]


def test_several_choices_at_once_are_no_label(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    both = annotation(1, 7, choice(["dots", "stars"]))
    file = write(tmp_path / "ls.json", [task(1, places["a"], both, annotation(2, 8, choice("stars")))])
    assert "1 votes name no class, or several" in person.imports("votes", file)
    assert person.said() == ["a -", "a stars"]
    assert person.votes["answer"].tolist() == ["dots|stars", "stars"]


def test_the_question_is_the_control_whose_choices_are_classes(
    person: Any, tmp_path: Path, places: dict[str, str]
) -> None:
    file = write(
        tmp_path / "ls.json",
        [
            task(
                1,
                places["a"],
                annotation(1, 7, choice("good", "quality"), choice("dots")),
                annotation(2, 8, choice("stars")),
            )
        ],
    )
    person.imports("votes", file)
    assert person.said() == ["a dots", "a stars"]
    assert "no such control; found pattern, quality" in person.refused("votes", file, "--label-column", "color")


@pytest.mark.parametrize(
    "picture",
    [
        "/data/local-files/?d=photos/kitchen/0001.jpg",
        "s3://bucket/photos/kitchen/0001.jpg",
        "https://bucket.s3.amazonaws.com/kitchen/0001.jpg?X-Amz-Signature=ab12&X-Amz-Expires=60",
    ],
)
def test_pictures_come_by_the_addresses_that_it_gives_them(person: Any, tmp_path: Path, picture: str) -> None:
    person.imports("votes", write(tmp_path / "ls.json", [task(1, picture, annotation(1, 7, choice("dots")))]))
    assert person.said() == ["e dots"]


def test_an_uploaded_file_is_found_without_what_was_put_before_its_name(person: Any, tmp_path: Path) -> None:
    upload = "/data/upload/83/9f3c1a2b-MX100-1.jpg"
    said = person.imports("votes", write(tmp_path / "ls.json", [task(1, upload, annotation(1, 7, choice("dots")))]))
    assert person.said() == ["a dots"]
    assert "1 pictures are told by their file name alone, e.g. /data/upload/83/9f3c1a2b-MX100-1.jpg" in said


def test_an_annotation_of_nobody_is_named(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    file = write(
        tmp_path / "ls.json",
        [task(5, places["a"], annotation(1, 7, choice("dots")), annotation(2, None, choice("stars")))],
    )
    assert "the worker is missing in 1 of 2 answers (task 5, annotation 2); fill it in" in person.refused("votes", file)


def test_a_file_cut_off_says_where(person: Any, export: Path) -> None:
    export.write_text(export.read_text()[:-40])
    assert "project-83.json: line 1: is not readable as JSON" in person.refused("votes", export)


def test_as_labels_one_annotation_a_picture_is_taken_and_two_that_differ_are_refused(
    person: Any, tmp_path: Path, export: Path, places: dict[str, str]
) -> None:
    said = person.refused("labels", export)
    assert "1 pictures are given two labels, first https://shop.example/pictures/mx/MX100-1.jpg: dots and stars" in said
    assert "Single votes come in with `curate import votes`" in said
    file = write(
        tmp_path / "gold.json",
        [task(1, places["a"], annotation(1, 7, choice("dots")), annotation(2, 8, choice("dots")))],
    )
    person.imports("labels", file, "--source", "expert", "--given-by", "Dr. Rosa")
    row = person.given.iloc[0]
    assert (row["picture"], row["label"], row["source"], row["given_by"]) == ("a", "dots", "expert", "Dr. Rosa")
    assert row["given_at"] == pd.Timestamp("2026-01-05T18:20:30.123456Z")
