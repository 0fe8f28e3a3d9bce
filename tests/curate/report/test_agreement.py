"""The report shows what `curate agreement` and `curate workers` wrote, and does without where they have not run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from curate.label.agreement import agreement, confusions
from curate.label.ballots import ballots
from curate.label.workers import worker_table
from curate.report.agreement import agreement as shown
from curate.report.agreement import confused_pairs
from curate.report.gather import gather
from curate.report.page import render
from curate.workspace import Workspace
from schemas.tables import AGREEMENT, APPEARANCES, CONFUSIONS, EXCLUSIONS, VOTES, WORKERS

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def measured(labeled: Workspace) -> Workspace:
    """The labeled shop after `curate agreement` and `curate workers`, with one worker flagged and excluded."""
    frame = VOTES.read(labeled.of_task("apron", "votes"))
    found = ballots(frame, labeled.task().keys)
    AGREEMENT.write(
        agreement(found, APPEARANCES.read(labeled.table("appearances"))), labeled.of_task("apron", "agreement")
    )
    CONFUSIONS.write(confusions(found), labeled.of_task("apron", "confusions"))
    workers = worker_table(found, frame, task="apron").sort_values("worker_id", ignore_index=True)
    workers["flags"] = [[], ["too fast: 0.2 s <b>"], []]
    WORKERS.write(workers, labeled.of_task("apron", "workers"))
    out = {"worker_id": "ASIMSECRET2", "task": "apron", "reason": "named", "decided_by": "me", "decided_at": MOMENT}
    EXCLUSIONS.write(EXCLUSIONS.frame([out]), labeled.of_task("apron", "exclusions"))
    return labeled


def test_agreement_stands_with_the_least_agreed_class_first(measured: Workspace) -> None:
    found = shown(gather(measured, measured.task()))
    assert found is not None
    assert (found["all"]["images"], found["old"]) == (8, False)
    (_, classes), (_, markets) = found["scopes"]
    assert [row["name"] for row in classes] == ["stars", "plain", "dots"]  # nobody said the others
    assert classes[0]["low"]
    assert classes[0]["bar"] == 0  # a bar has no length below zero
    assert [row["name"] for row in markets] == ["Feira", "Tianguis <b>"]


def test_a_pair_of_classes_comes_with_pictures_that_split_the_votes(measured: Workspace) -> None:
    (pair,) = confused_pairs(gather(measured, measured.task()))
    assert ({pair["a"], pair["b"]}, pair["n"], len(pair["pictures"])) == ({"plain", "dots"}, 2, 2)


def test_the_page_shows_agreement_and_flags_and_names_nobody(measured: Workspace) -> None:
    page = render(gather(measured, measured.task()), [], MOMENT)
    assert "Krippendorff’s alpha" in page
    assert "Classes taken for one another" in page
    assert "too fast: 0.2 s &lt;b&gt;" in page
    assert "excluded</span>" in page
    assert "SECRET" not in page
    assert "named" not in page  # a reason may tell more about a person than a report should
    assert "run <code>curate agreement</code> again" not in page


def test_the_flagged_stand_first(measured: Workspace) -> None:
    from curate.report.numbers import workers

    lines = workers(gather(measured, measured.task()))
    assert [(line["worker"], bool(line["flags"]), line["excluded"]) for line in lines] == [
        ("worker 2", True, False),
        ("worker 1", False, False),
        ("worker 3", False, True),
    ]


def test_agreement_older_than_the_votes_says_so(measured: Workspace) -> None:
    path = measured.of_task("apron", "votes")
    votes = VOTES.read(path)
    VOTES.write(votes[votes["worker_id"] != "ASIMSECRET2"], path)
    assert "run <code>curate agreement</code> again" in render(gather(measured, measured.task()), [], MOMENT)


def test_without_these_tables_the_page_has_no_word_of_them(labeled: Workspace) -> None:
    page = render(gather(labeled, labeled.task()), [], MOMENT)
    assert "People" in page
    for word in ("Krippendorff", "Spammer score", "Worth a look", "taken for one another"):
        assert word not in page
