"""Pilot, votes where they are needed, and the end of HITs, against a real crowd server."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd import budget, journal
from curate.crowd.adaptive import needed, undecided
from curate.crowd.requester import Requester
from curate.crowd.simulate import Simulated, write_workers
from schemas.question import extract
from schemas.tables import CLUSTERS, EXCLUSIONS, GOLD, HITS, LABELS, LEDGER, VOTES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

CENTS = 10 * budget.CENT  # the reward of the task


def entries(shop: Shop) -> list[journal.Entry]:
    with closing(shop.workspace.project()) as project:
        return journal.entries(project, "apron")


def spent(shop: Shop) -> int:
    with closing(shop.workspace.project()) as project:
        return budget.spent(project, "apron")


def votes(shop: Shop) -> Any:
    return VOTES.read(shop.workspace.of_task("apron", "votes"))


def set_task(shop: Shop, *changes: tuple[str, str]) -> None:
    path = shop.workspace.root / "tasks" / "apron.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text, text
        text = text.replace(old, new)
    path.write_text(text)


def requester(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Requester:
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    return Requester(shop.url)


def people(shop: Shop, name: str, wrong: int) -> str:
    """An error model of three workers of whom `wrong` always say the next class; the test is made easy for them."""
    keys = shop.workspace.task().keys
    right = {key: {key: 1.0} for key in keys}
    other = {key: {keys[(place + 1) % len(keys)]: 1.0} for place, key in enumerate(keys)}
    crowd = [
        Simulated(name=f"{name} {n}", kind="careful", seconds=1, confusion=other if n < wrong else right)
        for n in range(3)
    ]
    write_workers(crowd, shop.workspace.root / f"{name}.yaml")
    return f"{name}.yaml"


ADAPTIVE = ("assignments:\n    first: 3\n    up_to: 3", "assignments:\n    first: 2\n    up_to: 3")
OPEN_DOOR = ("pass_mark: 70", "pass_mark: 0")


# -- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "first", "up_to", "more"),
    [
        ({}, 2, 3, 2), ({"a": 1}, 2, 3, 1), ({"a": 2}, 2, 3, 0), ({"a": 1, "b": 1}, 2, 3, 1), ({"a": 1, "b": 1}, 2, 2, 0),
        ({"a": 1, "b": 1, "c": 1}, 2, 3, 0), ({"a": 1, "b": 1, "c": 1}, 2, 4, 0), ({"a": 1, "b": 1, "c": 1}, 2, 5, 2),
        ({"a": 2, "b": 2}, 3, 5, 1), ({"a": 2}, 3, 3, 1), ({"a": 3}, 3, 3, 0),
    ],
)  # fmt: skip
def test_a_picture_lacks_as_few_answers_as_could_make_its_label(
    counts: dict[str, int], first: int, up_to: int, more: int
) -> None:
    assert needed(counts, first, up_to, 2) == more


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 4)), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3)
)
def test_never_more_than_allowed_and_never_for_a_label_that_is_there(
    counts: dict[str, int], first: int, extra: int, agree: int
) -> None:
    total, up_to = sum(counts.values()), first + extra
    more = needed(counts, first, up_to, agree)
    assert more >= max(0, first - total)
    assert total + more <= max(up_to, total)
    if total >= first and not undecided(counts, agree):
        assert more == 0


def test_two_are_asked_and_a_third_only_where_they_differ(open_shop: Shop) -> None:
    shop = open_shop
    set_task(shop, ADAPTIVE, OPEN_DOOR)
    planned = shop.curate("hits", "create", "--images", "27", "--yes").stdout
    assert "with tie-breaks $0.70 expected (25% of pictures stay open after 2 answers, assumed" in planned
    assert "$0.90 at most" in planned
    assert "nothing to make" in shop.curate("hits", "create", "--yes").stdout, "no answer has come yet"
    shop.curate("crowd", "simulate", "--model", people(shop, "split", 1))
    assert "nothing to make" in shop.curate("hits", "create", "--yes").stdout, (
        "answers that were not read may be enough"
    )
    shop.curate("hits", "collect")
    shop.curate("aggregate")
    labels = LABELS.read(shop.workspace.of_task("apron", "labels"))
    asked = labels[labels["dropped"].fillna("") != "gold"]
    open_ids = set(asked.loc[asked["label"].isna(), "image_id"])
    assert 0 < len(open_ids) <= 27
    assert (asked.loc[asked["label"].notna(), "n_votes"] == 2).all()
    assert set(asked.loc[asked["label"].isna(), "dropped"]) == {"insufficient"}

    assert shop.start("hits", "create", "--yes", crash_at="after-call").wait(60) == 137
    shop.curate("hits", "create", "--yes")
    assert "nothing to make" in shop.curate("hits", "create", "--yes").stdout, "tie-breaks are open"
    ties = [entry for entry in entries(shop) if entry.purpose == "tie-break"]
    assert journal.asked(ties) == open_ids
    assert {entry.max_assignments for entry in ties} == {1}
    assert sum(len(journal.asked([entry])) for entry in ties) == len(open_ids), "each once"
    answered = votes(shop).groupby("image_id")["worker_id"].agg(set).to_dict()
    for entry in ties:
        for image_id in journal.asked([entry]):
            assert answered[image_id] <= set(entry.kept_out)
    hits = HITS.read(shop.workspace.of_task("apron", "hits"))
    assert set(hits["purpose"]) == {"label", "tie-break"}

    shop.curate("crowd", "simulate", "--model", people(shop, "fresh", 0), "--seed", "9")
    shop.curate("hits", "collect")
    shop.curate("aggregate")
    labels = LABELS.read(shop.workspace.of_task("apron", "labels"))
    done = labels[labels["image_id"].isin(open_ids)]
    assert (done["label"] == done["image_id"].map(shop.truth)).all()
    assert set(done["n_votes"]) == {3}
    assert "nothing to make" in shop.curate("hits", "create", "--yes").stdout
    told = shop.curate("hits", "status").stdout
    saved = 27 - len(open_ids)
    assert f"{len(open_ids)} of 27 pictures needed more than 2 answers: {saved} answers" in told


def test_answers_of_excluded_workers_are_asked_again_and_a_fourth_and_fifth_on_request(open_shop: Shop) -> None:
    shop = open_shop
    set_task(shop, OPEN_DOOR)
    shop.curate("hits", "create", "--images", "9", "--yes")
    shop.curate("crowd", "simulate", "--model", people(shop, "plain", 0))
    shop.curate("hits", "collect")
    assert "nothing to make" in shop.curate("hits", "create", "--yes").stdout
    worker = votes(shop)["worker_id"].iloc[0]
    EXCLUSIONS.write(
        EXCLUSIONS.frame(
            [
                {
                    "worker_id": worker,
                    "task": "apron",
                    "reason": "guessed",
                    "decided_by": "me",
                    "decided_at": datetime.now(UTC),
                }
            ]
        ),
        shop.workspace.of_task("apron", "exclusions"),
    )
    told = shop.curate("hits", "create", "--yes").stdout
    assert "9 pictures (9 random)" in told
    again = [entry for entry in entries(shop) if entry.purpose == "tie-break"]
    assert {entry.max_assignments for entry in again} == {1}
    assert all(worker in entry.kept_out for entry in again)
    refused = shop.curate("hits", "create", "--up-to", "2", "--yes", check=False).stderr
    assert "--up-to must be from 3 (crowd.assignments.first) to 9, got 2" in refused


def test_a_labeled_picture_is_bought_again_only_when_asked_to(open_shop: Shop) -> None:
    shop = open_shop
    set_task(shop, OPEN_DOOR)
    shop.curate("hits", "create", "--images", "46", "--yes")
    shop.curate("crowd", "simulate", "--model", people(shop, "plain", 0))
    shop.curate("hits", "collect")
    shop.curate("aggregate")
    assert "nothing to make" in shop.curate("hits", "create", "--images", "46", "--yes").stdout
    made = shop.curate("hits", "create", "--images", "5", "--again", "--yes").stdout
    assert "5 pictures (5 again)" in made
    assert "nothing to make: 5 labeled" in shop.curate("hits", "create", "--images", "5", "--again", "--yes").stdout


# -- the pilot --------------------------------------------------------------------------------------------------------


def test_a_pilots_votes_do_not_count_until_they_are_kept(open_shop: Shop) -> None:
    shop = open_shop
    assert "no answers of a pilot" in shop.curate("hits", "pilot", "--report", check=False).stderr
    shop.curate("hits", "pilot", "--images", "18", "--yes")
    assert "nothing to make" in shop.curate("hits", "pilot", "--images", "18", "--yes").stdout
    assert {entry.purpose for entry in entries(shop)} == {"pilot"}
    shop.curate("crowd", "simulate", "--workers", "6", "--seed", "1")
    shop.curate("hits", "collect")
    found = votes(shop)
    assert set(found["dropped"].fillna("")) == {"pilot", "gold"}

    shop.curate("aggregate")
    labels = LABELS.read(shop.workspace.of_task("apron", "labels"))
    assert labels["label"].isna().all()
    assert set(votes(shop)["dropped"].fillna("")) == {"pilot", "gold"}, "the audit keeps the reason"

    told = shop.curate("hits", "pilot", "--report").stdout
    assert "simulated workers on 18 pictures" in told
    for word in ("alpha", "gold", "pay", "an hour needs", "cannot see", "full round    $1.80 for 46 pictures"):
        assert word in told, told

    shop.curate("hits", "create", "--images", "20", "--yes")
    counted = [entry for entry in entries(shop) if entry.purpose == "label"]
    assert len(journal.asked(counted)) == 20, "the pilot's pictures are free for the round that counts"
    assert len({entry.token for entry in entries(shop)}) == len(entries(shop))

    assert "54 votes of the pilot count from now on" in shop.curate("hits", "pilot", "--keep").stdout
    assert "pilot" not in set(votes(shop)["dropped"])
    shop.curate("hits", "collect", "--again")
    assert "pilot" not in set(votes(shop)["dropped"])
    shop.curate("aggregate")
    assert LABELS.read(shop.workspace.of_task("apron", "labels"))["label"].notna().sum() >= 15


def test_a_reward_under_the_least_pay_an_hour_is_said_before_it_costs_anything(open_shop: Shop) -> None:
    shop = open_shop
    set_task(shop, ("seconds_per_picture: 5.0", "seconds_per_picture: 20.0"))
    told = shop.curate("hits", "create", "--images", "9", check=False).stdout
    assert "WARNING: this pays $1.80 an hour at 20.0 s a picture" in told
    assert "$0.34 a HIT would pay it" in told


# -- gold -------------------------------------------------------------------------------------------------------------


def test_hidden_gold_stands_in_no_more_hits_than_allowed_over_all_rounds(open_shop: Shop) -> None:
    shop = open_shop
    set_task(shop, ("gold_exposure: 10", "gold_exposure: 1"))
    first = shop.curate("hits", "create", "--images", "27", "--yes").stdout
    assert "3 hidden gold in 3 HITs" in first
    second = shop.curate("hits", "create", "--images", "46", "--yes").stdout
    assert "1 more hidden gold pictures are needed (`curate gold import`)" in second
    shown = Counter(a.image_id for entry in entries(shop) for a in entry.images if a.chosen_by == "gold")
    assert set(shown.values()) == {1}
    assert len(shown) == 4


def test_no_near_twin_of_a_test_picture_is_hidden_or_practiced_on(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    rows = GOLD.read(shop.workspace.of_task("apron", "gold"))
    hidden, test = (rows.loc[rows["use"] == use, "image_id"].tolist() for use in ("hidden", "test"))
    lines = "".join(f"{i},{shop.truth[i]},practice,Look at the hem {n}\n" for n, i in enumerate(shop.ids[20:22]))
    (shop.workspace.root / "practice.csv").write_text("image_id,label,use,explanation\n" + lines)
    shop.curate("gold", "import", "practice.csv")
    clusters = CLUSTERS.read(shop.workspace.table("clusters"))
    twin = {hidden[0]: test[0], shop.ids[20]: test[1]}
    clusters["cluster_id"] = clusters["image_id"].map(lambda i: twin.get(i, i))
    CLUSTERS.write(
        clusters.assign(representative=~clusters["image_id"].isin(list(twin))), shop.workspace.table("clusters")
    )
    shop.curate("hits", "create", "--images", "40", "--yes")
    shown = {a.image_id for entry in entries(shop) for a in entry.images}
    assert hidden[0] not in shown
    assert hidden[1] in shown
    question = next(requester(shop, monkeypatch).hits())["Question"]
    page = extract(question)
    assert page is not None
    assert [(p.image_id, p.label, p.explanation) for p in page.practice] == [
        (shop.ids[21], shop.truth[shop.ids[21]], "Look at the hem 1")
    ]


# -- made or refused --------------------------------------------------------------------------------------------------


def test_a_hit_that_is_refused_for_good_is_over_and_its_pictures_are_free(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    real = Requester.create_hit
    calls: list[str] = []

    def with_a_bad_lifetime(self: Requester, token: str, hit_type: str, question: str, most: int, life: int) -> str:
        calls.append(token)
        return real(self, token, hit_type, question, most, 10 if len(calls) == 1 else life)  # 10 s: the server refuses

    with monkeypatch.context() as patch:
        patch.setattr(Requester, "create_hit", with_a_bad_lifetime)
        told = shop.curate("hits", "create", "--images", "27", "--yes").stdout
    assert "1 HITs were refused and are not made" in told
    assert "LifetimeInSeconds: 10 is not between" in told
    assert Counter((entry.state, entry.ended) for entry in entries(shop)) == {
        ("created", None): 2,
        ("pending", "refused"): 1,
    }
    assert spent(shop) == 2 * 3 * CENTS
    again = shop.curate("hits", "create", "--images", "27", "--yes").stdout
    assert "9 pictures (18 of 27 asked before)" in again
    assert spent(shop) == 3 * 3 * CENTS
    assert len(journal.asked(entries(shop))) == 27
    assert len(list(requester(shop, monkeypatch).hits())) == 3


def test_a_hit_whose_token_is_forgotten_is_found_by_its_annotation(
    open_shop: Shop, crowd: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    assert shop.start("hits", "create", "--images", "27", "--yes", crash_at="before-made").wait(60) == 137
    with closing(sqlite3.connect(crowd[1].removeprefix("sqlite:///"), timeout=30)) as store, store:
        store.execute("DELETE FROM request_token" if _has(store, "request_token") else "DELETE FROM tokens")
    shop.curate("hits", "create", "--images", "27", "--yes")
    there = [hit["RequesterAnnotation"] for hit in requester(shop, monkeypatch).hits()]
    assert sorted(there) == sorted(entry.token for entry in entries(shop))
    assert len(set(there)) == 3


def _has(store: sqlite3.Connection, table: str) -> bool:
    return store.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["", "after-expired", "after-stopped", "after-expired:2"])
def test_stop_ends_hits_keeps_answers_and_gives_back_what_can_never_come(open_shop: Shop, point: str) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "27", "--yes")
    shop.curate("crowd", "simulate", "--workers", "2", "--seed", "1")
    shop.curate("hits", "collect")
    came = votes(shop)["assignment_id"].nunique()
    assert 0 < came < 9
    refused = shop.curate("hits", "stop", check=False)
    assert "say --yes" in refused.stderr
    assert spent(shop) == 9 * CENTS
    if point:
        assert shop.start("hits", "stop", "--yes", crash_at=point).wait(60) == 137
    shop.curate("hits", "stop", "--yes")
    assert spent(shop) == came * CENTS
    assert {entry.ended for entry in entries(shop)} == {"stopped"}
    assert "nothing to stop" in shop.curate("hits", "stop", "--yes").stdout
    shop.curate("hits", "collect")
    assert votes(shop)["assignment_id"].nunique() == came
    assert "not judged" in shop.curate("hits", "delete", "--yes", check=False).stdout
    shop.curate("hits", "review", "--yes")
    shop.curate("hits", "collect")
    assert spent(shop) == came * CENTS
    assert "27 pictures (27 random)" in shop.curate("hits", "create", "--yes").stdout, "what is short is asked again"


@pytest.mark.parametrize("point", ["", "after-deleted"])
def test_delete_takes_judged_hits_only_and_says_why(
    open_shop: Shop, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "18", "--yes")
    refused = shop.curate("hits", "delete", "--yes", check=False)
    assert refused.returncode == 1
    assert "answers may still come; `curate hits stop` ends it" in refused.stdout
    shop.curate("crowd", "simulate", "--workers", "6", "--seed", "1")
    shop.curate("hits", "collect")
    shop.curate("hits", "review", "--yes")
    assert "have not all been read" in shop.curate("hits", "delete", "--yes", check=False).stdout
    shop.curate("hits", "collect")
    if point:
        assert shop.start("hits", "delete", "--yes", crash_at=point).wait(60) == 137
    shop.curate("hits", "delete", "--yes")
    assert list(requester(shop, monkeypatch).hits()) == []
    assert {entry.ended for entry in entries(shop)} == {"deleted"}
    assert "nothing to delete" in shop.curate("hits", "delete", "--yes").stdout
    assert votes(shop)["assignment_id"].nunique() == 6


@pytest.mark.parametrize("point", ["", "after-reserved", "after-widened", "after-extended"])
def test_extend_asks_more_people_for_longer_and_pays_once(
    open_shop: Shop, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    words = ("hits", "extend", "--hours", "400", "--assignments", "5", "--yes")
    shop.curate("hits", "create", "--images", "18", "--yes")
    if point:
        assert shop.start(*words, crash_at=point).wait(60) == 137
    shop.curate(*words)
    assert "nothing to extend" in shop.curate("hits", "extend", "--assignments", "5", "--yes").stdout
    there = list(requester(shop, monkeypatch).hits())
    assert [hit["MaxAssignments"] for hit in there] == [5, 5]
    assert all(hit["Expiration"] > datetime.now(UTC) + timedelta(hours=399) for hit in there)
    assert spent(shop) == 2 * 5 * CENTS
    ten = shop.curate("hits", "extend", "--assignments", "10", "--yes", check=False).stderr
    assert "a HIT made for fewer than 10 can never have 10 or more" in ten
    shop.curate("crowd", "simulate", "--workers", "12", "--seed", "1")
    shop.curate("hits", "collect")
    shop.curate("hits", "review", "--yes")
    ledger = LEDGER.read(shop.workspace.of_task("apron", "ledger"))
    assert ledger.loc[ledger["kind"] == "earned", "amount_usd"].tolist() == [0.1] * 10
    assert spent(shop) == 10 * CENTS
