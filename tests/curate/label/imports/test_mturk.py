"""MTurk's batch results in the shapes that its requesters download."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

HEAD = [
    "HITId", "HITTypeId", "Title", "Description", "Keywords", "Reward", "CreationTime", "MaxAssignments",
    "RequesterAnnotation", "AssignmentDurationInSeconds", "AutoApprovalDelayInSeconds", "Expiration",
    "NumberOfSimilarHITs", "LifetimeInSeconds", "AssignmentId", "WorkerId", "AssignmentStatus", "AcceptTime",
    "SubmitTime", "AutoApprovalTime", "ApprovalTime", "RejectionTime", "RequesterFeedback", "WorkTimeInSeconds",
    "LifetimeApprovalRate", "Last30DaysApprovalRate", "Last7DaysApprovalRate",
]  # fmt: skip
TAIL = ["Approve", "Reject"]


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., Path]:
    """Writes a results file: a line an assignment, each given by the columns that matter."""

    def write(*lines: dict[str, str], name: str = "Batch_1_batch_results.csv") -> Path:
        extra = list(dict.fromkeys(key for line in lines for key in line if key not in (*HEAD, *TAIL)))
        usual = {
            "Title": 'Which pattern, "please"?', "Reward": "$0.05", "AssignmentStatus": "Approved", "WorkTimeInSeconds": "30",
            "SubmitTime": "Mon Jan 05 10:20:30 PST 2026", "LifetimeApprovalRate": "100% (3/3)", "HITId": "H1",
        }  # fmt: skip
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*HEAD, *extra, *TAIL], restval="", quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows({**usual, **line} for line in lines)
        return tmp_path / name

    return write


def one(assignment: str, worker: str, picture: str, label: str, **more: str) -> dict[str, str]:
    asked = {"AssignmentId": assignment, "WorkerId": worker, "Input.image_url": picture}
    return {**asked, "Answer.category.label": label, **more}


def test_a_picture_a_hit_gives_a_vote_an_assignment(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    file = batch(
        one("A1", "AWORKERONE0001", places["a"], "Dots"),
        one("A2", "AWORKERTWO0002", places["a"], "lunares", AssignmentStatus="Submitted"),
        one(
            "A3",
            "AWORKERONE0001",
            places["b"],
            "Xadrez",
            AssignmentStatus="Rejected",
            RejectionTime="Tue Jan 06 09:00:00 PST 2026",
        ),
    )
    said = person.imports("votes", file)
    assert "MTurk results; 3 votes of 2 workers on 2 pictures" in said
    assert "votes: 3 added (1 Submitted, 1 Approved, 1 Rejected)" in said
    votes = person.votes
    assert votes["label"].tolist() == ["dots", "dots", "checks"]
    assert votes["assignment_id"].tolist() == ["A1", "A2", "A3"]
    assert votes["assignment_status"].tolist() == ["Approved", "Submitted", "Rejected"]
    assert votes["hit_id"].unique().tolist() == ["H1"]
    assert set(votes["source"]) == {"imported"}
    assert votes["seconds"].tolist() == [30, 30, 30]
    assert set(votes["submitted_at"]) == {pd.Timestamp("2026-01-05T18:20:30Z")}


def test_no_worker_of_amazon_can_be_read_in_the_votes(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    person.imports("votes", batch(one("A1", "A2REALPERSON9", places["a"], "dots")))
    worker = person.votes["worker_id"][0]
    assert worker.startswith("A")
    assert len(worker) == 14
    assert worker != "A2REALPERSON9"
    assert b"A2REALPERSON9" not in person.shop.of_task("apron", "votes").read_bytes()


def test_a_second_time_nothing_is_added_and_a_new_judgment_is_taken_on(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    lines = [one(f"A{n}", "W", places[p], label) for n, (p, label) in enumerate([("a", "dots"), ("b", "stars")])]
    person.imports("votes", batch(*lines))
    before = person.contents()
    assert "nothing new: every vote is here already" in person.imports("votes", batch(*lines))
    del before[str(person.shop.root / "log.jsonl")]
    assert {path: data for path, data in person.contents().items() if not path.endswith("log.jsonl")} == before
    lines[1] |= {"AssignmentStatus": "Rejected"}
    assert "votes: 1 changed, 1 here already" in person.imports("votes", batch(*lines, name="later.csv"))
    assert person.votes["assignment_status"].tolist() == ["Approved", "Rejected"]
    assert person.votes["worker_id"].nunique() == 1


def test_several_pictures_a_hit_are_told_by_their_numbers(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    full = {f"Input.image_url_{n}": places[p] for n, p in enumerate("abc", start=1)}
    said = {"Answer.label_1": "dots", "Answer.label_2": "stars", "Answer.label_3": "plain", "Answer.comment_1": "dots"}
    short = {"Input.image_url_1": places["d"], "Answer.label_1": "hearts", "Answer.comment_1": "dots indeed"}
    file = batch(
        {"AssignmentId": "A1", "WorkerId": "W", **full, **said}, {"AssignmentId": "A2", "WorkerId": "W", **short}
    )
    person.imports("votes", file)
    assert person.said() == ["a dots", "b stars", "c plain", "d hearts"]
    assert person.votes["seconds"].tolist() == [10, 10, 10, 30]


def test_the_numbers_alone_may_name_the_answers(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    line = {"Input.url1": places["a"], "Input.url2": places["b"], "Answer.1": "dots", "Answer.2": "stars"}
    person.imports("votes", batch({"AssignmentId": "A1", "WorkerId": "W", **line}))
    assert person.said() == ["a dots", "b stars"]


def test_answers_called_by_image_id_are_those_of_our_own_question(
    person: Any, ids: dict[str, str], batch: Callable[..., Path]
) -> None:
    answers = {f"Answer.{ids['a']}": "dots", f"Answer.{ids['b']}": "cannot_see", f"Answer.seconds.{ids['a']}": "3.5"}
    person.imports("votes", batch({"AssignmentId": "A1", "WorkerId": "W", **answers}), "--one-class")
    votes = person.votes
    assert person.said() == ["a dots", "b -"]
    assert votes["dropped"].tolist() == [None, "cannot see the picture"] or votes["dropped"].isna().tolist() == [
        True,
        False,
    ]
    assert votes["seconds"].tolist() == [3.5, 15]


@pytest.mark.parametrize(
    "answer",
    [
        [{"category": {"label": "Dots"}}],
        [{"pattern": {"dots": {"on": True}, "stars": {"on": False}}}],
        [{"dots": {"on": True}, "stars": {"on": False}}],
        [{"pattern": "dots", "comments": "nice"}],
        [{"category": {"labels": ["Dots"]}}],
    ],
)
def test_crowd_form_json_in_task_answers(
    person: Any, places: dict[str, str], batch: Callable[..., Path], answer: list[Any]
) -> None:
    line = {"AssignmentId": "A1", "WorkerId": "W", "Input.image_url": places["a"]}
    person.imports("votes", batch({**line, "Answer.taskAnswers": json.dumps(answer)}))
    assert person.said() == ["a dots"]


def test_radio_buttons_flattened_into_columns(person: Any, places: dict[str, str], batch: Callable[..., Path]) -> None:
    line = {"AssignmentId": "A1", "WorkerId": "W", "Input.image_url": places["a"]}
    person.imports("votes", batch({**line, "Answer.dots.on": "true", "Answer.stars.on": "false"}))
    assert person.said() == ["a dots"]
    line = {"AssignmentId": "A2", "WorkerId": "W", "Input.image_url": places["b"]}
    person.imports(
        "votes", batch({**line, "Answer.pattern.dots": "false", "Answer.pattern.stars": "true"}, name="b.csv")
    )
    assert person.said() == ["a dots", "b stars"]


def test_what_a_file_leaves_open_is_asked_for(person: Any, places: dict[str, str], batch: Callable[..., Path]) -> None:
    line = {"AssignmentId": "A1", "WorkerId": "W", "Input.left": places["a"], "Input.right": places["b"]}
    file = batch({**line, "Answer.first": "dots", "Answer.second": "stars"})
    assert "which column is the picture? It has Input.left, Input.right; say --image-column" in person.refused(
        "votes", file
    )
    assert "which answer is the label?" in person.refused("votes", file, "--image-column", "left")
    assert "no such answer; found first, second" in person.refused(
        "votes", file, "--image-column", "left", "--label-column", "x"
    )
    person.imports("votes", file, "--image-column", "Input.left", "--label-column", "Answer.second")
    assert person.said() == ["a stars"]


def test_an_assignment_that_answers_a_picture_in_two_ways_keeps_both(
    person: Any, places: dict[str, str], batch: Callable[..., Path]
) -> None:
    twice = {"Input.image_url_1": places["a"], "Input.image_url_2": places["a"]}
    file = batch({"AssignmentId": "A1", "WorkerId": "W", **twice, "Answer.label_1": "dots", "Answer.label_2": "stars"})
    person.imports("votes", file)
    assert person.said() == ["a dots", "a stars"]
    assert person.votes["worker_id"].nunique() == 1
    assert "nothing new" in person.imports("votes", file)


def test_the_order_of_lines_does_not_matter(person: Any, places: dict[str, str], batch: Callable[..., Path]) -> None:
    lines = [one(f"A{n}", f"W{n % 2}", places["abc"[n % 3]], ["dots", "stars"][n % 2]) for n in range(6)]
    person.imports("votes", batch(*lines))
    before = person.shop.of_task("apron", "votes").read_bytes()
    assert "nothing new" in person.imports("votes", batch(*reversed(lines), name="b.csv"))
    assert person.shop.of_task("apron", "votes").read_bytes() == before
