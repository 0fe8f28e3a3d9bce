"""Collecting and judging while answers arrive, at a real server: killed where it hurts most, and followed live."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from curate.crowd import budget
from curate.crowd.collect import collect
from curate.crowd.requester import Requester
from schemas.tables import HITS, LABELS, LEDGER, VOTES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

KILLS = int(os.environ.get("CONSENSO_KILLS", "5"))  # random moments; 50 in a long run


@pytest.fixture
def requester(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Requester:
    """The shop's requester as somebody who uses boto3 directly."""
    for name, value in open_shop.keys.items():
        monkeypatch.setenv(name, value)
    return Requester(open_shop.url)


def votes_file(shop: Shop) -> bytes:
    return shop.workspace.of_task("apron", "votes").read_bytes()


def spent(shop: Shop) -> int:
    with closing(shop.workspace.project()) as project:
        return budget.spent(project, "apron")


def kinds(shop: Shop) -> dict[str, float]:
    ledger = LEDGER.read(shop.workspace.of_task("apron", "ledger"))
    return ledger.groupby("kind")["amount_usd"].sum().round(6).to_dict()  # type: ignore[no-any-return]


def answered(shop: Shop, images: int = 27) -> None:
    shop.curate("hits", "create", "--images", str(images), "--yes")
    shop.curate("crowd", "simulate", "--workers", "3")


def exact(shop: Shop, requester: Requester) -> None:
    """What is collected is exactly what the endpoint has: each assignment once, whole, with its status."""
    there = {
        a["AssignmentId"]: a["AssignmentStatus"]
        for hit in requester.hits()
        for a in requester.assignments(hit["HITId"])
    }
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert not votes.duplicated(["assignment_id", "image_id"]).any()
    assert dict(zip(votes["assignment_id"], votes["assignment_status"], strict=True)) == there
    asked = HITS.read(shop.workspace.of_task("apron", "hits")).groupby("hit_id")["image_id"].count()
    of_hit = votes.drop_duplicates("assignment_id")["hit_id"].map(asked)
    assert of_hit.sum() == len(votes)
    assert not list(shop.workspace.root.rglob("*.part"))
    assert spent(shop) == sum(s != "Rejected" for s in there.values()) * 10 * budget.CENT


@pytest.mark.parametrize(
    "point", ["collect-before-commit", "collect-after-commit", "votes-before-rename", "votes-renamed"]
)
def test_collecting_killed_at_any_point_and_run_again_has_every_answer_once(
    open_shop: Shop, requester: Requester, point: str
) -> None:
    shop = open_shop
    answered(shop)
    assert shop.start("hits", "collect", crash_at=point).wait(60) == 137
    shop.curate("hits", "collect")
    exact(shop, requester)
    before = votes_file(shop)
    shop.curate("hits", "collect")
    assert votes_file(shop) == before


@pytest.mark.parametrize(
    "point",
    [
        "after-judged",
        "after-judged:4",
        "review-before-commit",
        "review-after-commit",
        "votes-before-rename",
        "votes-renamed",
    ],
)
def test_review_killed_at_any_point_and_run_again_pays_each_answer_once(
    open_shop: Shop, requester: Requester, point: str
) -> None:
    shop = open_shop
    answered(shop)
    shop.curate("hits", "collect")
    assert shop.start("hits", "review", "--yes", crash_at=point).wait(60) == 137
    shop.curate("hits", "review", "--yes")
    shop.curate("hits", "collect")
    exact(shop, requester)
    assert kinds(shop) == {"reserved": 0.9, "released": -0.9, "earned": 0.9}


def test_collecting_killed_at_random_moments_while_people_answer_ends_exact(
    open_shop: Shop, requester: Requester
) -> None:
    shop, chance = open_shop, random.Random(8)
    shop.curate("hits", "create", "--images", "45", "--yes")
    crowd = shop.start("crowd", "simulate", "--workers", "3", "--pace", "0.02")
    for number in range(KILLS):
        command = ["hits", "collect"] if number % 2 else ["hits", "collect", "--watch", "--every", "0.05"]
        collecting = shop.start(*command)
        time.sleep(chance.uniform(0.6, 2.5))  # the moment itself is what is drawn
        collecting.kill()
        collecting.wait()
    assert crowd.wait(120) == 0
    shop.curate("hits", "collect")
    exact(shop, requester)
    for _ in range(2):
        judging = shop.start("hits", "review", "--yes")
        time.sleep(chance.uniform(0.8, 2.0))
        judging.kill()
        judging.wait()
    shop.curate("hits", "review", "--yes")
    shop.curate("hits", "collect")
    exact(shop, requester)
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert set(votes["assignment_status"]) == {"Approved"}


def counted(requester: Requester) -> list[str]:
    calls: list[str] = []
    requester.client.meta.events.register("before-call.mturk.*", lambda model, **_: calls.append(model.name))
    return calls


def collected(shop: Shop, requester: Requester) -> Counter[str]:
    """The calls that one collection makes."""
    calls = counted(requester)
    with closing(shop.workspace.project()) as project:
        collect(project, requester, shop.workspace.task())
    return Counter(calls)


def test_only_hits_with_news_are_read(open_shop: Shop, requester: Requester) -> None:
    shop = open_shop
    task_file = shop.workspace.root / "tasks" / "apron.yaml"
    task_file.write_text(task_file.read_text().replace("pictures_per_hit: 10", "pictures_per_hit: 1"))
    shop.curate("hits", "create", "--images", "24", "--yes")
    assert collected(shop, requester) == {"ListHITs": 1}  # nobody has answered
    shop.curate("crowd", "simulate", "--workers", "1")
    hits = len(list(requester.hits()))
    assert collected(shop, requester) == {"ListHITs": 1, "ListAssignmentsForHIT": hits}
    assert collected(shop, requester) == {"ListHITs": 1}
    one = next(iter(requester.hits()))["HITId"]
    requester.approve(requester.assignments(one)[0]["AssignmentId"])  # by hand, elsewhere
    assert collected(shop, requester) == {"ListHITs": 1, "ListAssignmentsForHIT": 1}
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert set(votes.loc[votes["assignment_status"] == "Approved", "hit_id"]) == {one}
    assert kinds(shop)["earned"] == 0.1


def test_a_rejection_taken_back_elsewhere_is_seen_with_again(open_shop: Shop, requester: Requester) -> None:
    shop = open_shop
    answered(shop, 9)
    shop.curate("hits", "collect")
    (hit,) = requester.hits()
    ids = [a["AssignmentId"] for a in requester.assignments(hit["HITId"])]
    shop.curate("hits", "reject", ids[0], "--reason", "all the same", "--yes")
    shop.curate("hits", "approve", *ids[1:], "--yes")
    assert spent(shop) == 20 * budget.CENT
    shop.curate("hits", "collect")
    requester.approve(ids[0], override=True)
    assert "0 HITs read" in shop.curate("hits", "collect").stdout
    assert "0 new assignments, 1 changed" in shop.curate("hits", "collect", "--again").stdout
    exact(shop, requester)
    assert spent(shop) == 30 * budget.CENT


def test_a_rejection_says_why_and_can_be_taken_back(open_shop: Shop, requester: Requester) -> None:
    shop = open_shop
    answered(shop, 9)
    assert "curate hits collect" in shop.curate("hits", "approve", "NOBODY", "--yes", check=False).stderr
    shop.curate("hits", "collect")
    (hit,) = requester.hits()
    identity = requester.assignments(hit["HITId"])[0]["AssignmentId"]
    assert "reason" in shop.curate("hits", "reject", identity, "--reason", "  ", "--yes", check=False).stderr
    assert "1 rejected" in shop.curate("hits", "reject", identity, "--reason", "dots\nare dots", "--yes").stdout
    assert requester.assignment(identity)["RequesterFeedback"] == "dots are dots"
    assert "1 rejected" in shop.curate("hits", "approve", identity, "--yes").stdout  # judged already
    assert "1 approved" in shop.curate("hits", "approve", identity, "--override", "--yes").stdout
    assert kinds(shop) == {"reserved": 0.3, "released": -0.1, "earned": 0.1}


def test_a_rejection_is_taken_back_within_the_budget_only(open_shop: Shop, requester: Requester) -> None:
    shop = open_shop
    answered(shop, 9)
    shop.curate("hits", "collect")
    (hit,) = requester.hits()
    identity = requester.assignments(hit["HITId"])[0]["AssignmentId"]
    shop.curate("hits", "reject", identity, "--reason", "no", "--yes")
    task_file = shop.workspace.root / "tasks" / "apron.yaml"
    task_file.write_text(task_file.read_text().replace("budget_usd: 100.0", "budget_usd: 0.25"))
    done = shop.curate("hits", "approve", identity, "--override", "--yes", check=False)
    assert "this costs $0.10, the budget has $0.05 left of $0.25" in done.stderr
    assert requester.assignment(identity)["AssignmentStatus"] == "Rejected"


def watching(shop: Shop) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "curate.cli", "hits", "collect", "--watch", "--every", "0.1"]
    env = {**os.environ, **shop.environment()}
    return subprocess.Popen(
        words, cwd=shop.workspace.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_watching_tells_each_change_and_ends_when_everything_is_in(open_shop: Shop, requester: Requester) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "18", "--yes")
    follower = watching(shop)
    assert follower.stdout is not None
    assert "0 new assignments" in follower.stdout.readline()
    shop.curate("crowd", "simulate", "--workers", "3")
    said, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    *changes, last = said.splitlines()
    assert changes
    assert changes[-1].endswith("6 in all, 0 HITs open")
    assert last == "all answers are in; `curate hits review` judges them"
    exact(shop, requester)


def test_ctrl_c_ends_watching(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    follower = watching(shop)
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    _, told = follower.communicate(timeout=30)
    assert (follower.returncode, told) == (130, "stopped by Ctrl-C; run the same command again to go on\n")


def test_imported_votes_stay_when_answers_come_in(open_shop: Shop) -> None:
    shop = open_shop
    path = shop.workspace.of_task("apron", "votes")
    row = {
        "assignment_id": "I", "image_id": shop.ids[50], "task": "apron", "hit_id": "I", "worker_id": "I", "round": 1,
        "endpoint": "import", "assignment_status": "Approved", "source": "imported", "answer": "dots", "label": "dots",
        "submitted_at": "2031-01-01T00:00:00Z",
    }  # fmt: skip
    VOTES.write(VOTES.frame([row]), path)
    answered(shop, 9)
    shop.curate("hits", "collect")
    assert Counter(VOTES.read(path)["source"]) == {"simulated": 30, "imported": 1}


def test_votes_of_an_excluded_worker_say_so_and_their_pictures_can_be_asked_again(open_shop: Shop) -> None:
    shop = open_shop
    answered(shop, 9)
    shop.curate("hits", "collect")
    shop.curate("aggregate")
    worker = VOTES.read(shop.workspace.of_task("apron", "votes"))["worker_id"].iloc[0]
    shop.curate("workers", "exclude", worker, "--reason", "answers at random")
    shop.curate("aggregate")
    shop.curate("hits", "collect", "--again")
    shop.curate("aggregate")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    own = votes[(votes["worker_id"] == worker) & (votes["dropped"] != "gold")]
    assert set(own["dropped"]) == {"worker excluded"}
    labels = LABELS.read(shop.workspace.of_task("apron", "labels"))
    assert set(labels.loc[labels["dropped"] != "gold", "dropped"]) == {"insufficient"}
