"""The requester's commands against a real crowd server, in processes of their own, killed where it hurts most."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from curate.crowd import budget, journal
from curate.crowd.requester import Requester
from curate.crowd.simulate import Answerer, Simulated, draw_workers, write_workers
from schemas.question import extract
from schemas.tables import CONFUSIONS, HITS, LEDGER, TRUTH, VOTES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop


def hits_there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Annotations of the HITs that the server really has."""
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    return [hit["RequesterAnnotation"] for hit in Requester(shop.url).hits()]


def journal_of(shop: Shop) -> list[journal.Entry]:
    with closing(shop.workspace.project()) as project:
        return journal.entries(project, "apron")


def spent(shop: Shop) -> int:
    with closing(shop.workspace.project()) as project:
        return budget.spent(project, "apron")


def test_from_gold_to_judged_votes(open_shop: Shop) -> None:
    shop = open_shop
    assert "was there already" in shop.curate("qual", "create").stdout

    refused = shop.curate("hits", "create", "--images", "30", check=False)
    assert refused.returncode == 1
    assert "say --yes" in refused.stderr
    made = shop.curate("hits", "create", "--images", "30", "--yes").stdout
    assert "30 pictures (0 of 30 asked before) and 4 hidden gold in 4 HITs" in made
    assert "$1.20 at most" in made
    hits = HITS.read(shop.workspace.of_task("apron", "hits"))
    assert Counter(hits["chosen_by"]) == {"random": 30, "gold": 4}
    assert "nothing to make" in shop.curate("hits", "create", "--images", "30", "--yes").stdout

    told = shop.curate("crowd", "simulate", "--workers", "6", "--seed", "1").stdout
    assert "6 simulated workers: 4 passed the entry test, 2 failed it" in told
    assert "12 assignments, 102 answers" in told
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert len(votes) == 102
    assert set(votes["source"]) == {"simulated"}
    assert votes["worker_id"].str.startswith("ASIM").all()
    assert Counter(votes["dropped"].fillna("")) == {"": 90, "gold": 12}
    truth = votes["image_id"].map(shop.truth)
    assert (votes["label"] == truth).mean() > 0.8

    shop.curate("hits", "collect")
    assert VOTES.read(shop.workspace.of_task("apron", "votes")).equals(votes)
    assert "12 approved" in shop.curate("hits", "review", "--yes").stdout
    assert "nothing to judge" in shop.curate("hits", "review", "--yes").stdout
    assert spent(shop) == 12 * 10 * budget.CENT
    ledger = LEDGER.read(shop.workspace.of_task("apron", "ledger"))
    assert ledger.loc[ledger["kind"] == "earned", "amount_usd"].sum() == pytest.approx(1.20)
    assert "$1.20 earned, $0.00 reserved" in shop.curate("hits", "status").stdout


@pytest.mark.parametrize(
    "point",
    ["before-journal", "after-journal", "before-call:2", "after-call", "after-call:3", "before-made", "after-made"],
)
def test_hits_create_killed_at_any_point_and_run_again_makes_each_hit_once(
    open_shop: Shop, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    assert shop.start("hits", "create", "--images", "27", "--yes", crash_at=point).wait(60) == 137
    shop.curate("hits", "create", "--images", "27", "--yes")
    there = hits_there(shop, monkeypatch)
    written = journal_of(shop)
    assert sorted(there) == sorted(entry.token for entry in written)
    assert len(there) == len(set(there)) == 3
    assert {entry.state for entry in written} == {"created"}
    assert len(journal.asked(written)) == 27
    assert spent(shop) == 3 * 3 * 10 * budget.CENT


def test_a_hit_whose_journal_was_lost_on_the_way_is_found_again(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    before = journal_of(shop)
    (shop.workspace.root / "project.db").unlink()
    for leftover in shop.workspace.root.glob("project.db-*"):
        leftover.unlink()
    shop.curate("qual", "create")
    shop.curate("hits", "create", "--images", "9", "--yes")
    assert [entry.hit_id for entry in journal_of(shop)] == [entry.hit_id for entry in before]
    assert len(hits_there(shop, monkeypatch)) == 1


def test_hits_carry_what_people_confuse_and_keep_their_names_when_that_changes(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    pair = {"class_a": "stripes", "class_b": "zigzag", "n_images": 9, "share_a": 0.2, "share_b": 0.5}
    found = shop.workspace.of_task("apron", "confusions")
    CONFUSIONS.write(CONFUSIONS.frame([pair]), found)
    shop.curate("hits", "create", "--images", "9", "--yes")
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    (hit,) = Requester(shop.url).hits()
    page = extract(ElementTree.fromstring(hit["Question"])[0].text or "")
    assert page is not None
    told = {choice.key: choice.confused_with for choice in page.choices if choice.confused_with}
    assert told == {"stripes": ["zigzag"], "zigzag": ["stripes"]}
    names = [entry.token for entry in journal_of(shop)]
    (shop.workspace.root / "project.db").unlink()
    found.unlink()
    shop.curate("qual", "create")
    shop.curate("hits", "create", "--images", "9", "--yes")
    assert [entry.token for entry in journal_of(shop)] == names


def test_review_killed_after_a_judgment_pays_nobody_twice(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    shop.curate("crowd", "simulate", "--workers", "3")
    shop.curate("hits", "collect")
    assert shop.start("hits", "review", "--yes", crash_at="after-judged:2").wait(60) == 137
    assert "3 approved" in shop.curate("hits", "review", "--yes").stdout
    ledger = LEDGER.read(shop.workspace.of_task("apron", "ledger"))
    assert Counter(ledger["kind"]) == {"reserved": 1, "released": 3, "earned": 3}
    assert spent(shop) == 30 * budget.CENT


def test_collecting_while_answers_arrive_ends_with_every_vote_once(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "45", "--yes")
    crowd = shop.start("crowd", "simulate", "--workers", "6", "--pace", "0.01")
    while crowd.poll() is None:
        shop.curate("hits", "collect")
    assert crowd.returncode == 0
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    counts = Counter(votes.loc[votes["dropped"].isna(), "image_id"])
    assert len(counts) == 45
    assert set(counts.values()) == {3}
    assert not votes.duplicated(["worker_id", "hit_id", "image_id"]).any()


def test_hits_create_without_an_entry_test_says_how_to_make_one(shop: Shop) -> None:
    shop.url = "http://127.0.0.1:1"
    shop.keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s"}
    done = shop.curate("hits", "create", "--images", "5", "--yes", check=False)
    assert done.returncode == 1
    assert "has no entry test at http://127.0.0.1:1. Make it with `curate qual create`" in done.stderr


def test_without_gold_or_clusters_the_next_command_is_named(shop: Shop) -> None:
    shop.url = "http://127.0.0.1:1"
    shop.keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s"}
    assert "curate gold import" in shop.curate("qual", "create", check=False).stderr
    shop.workspace.table("clusters").unlink()
    assert "curate dedup" in shop.curate("hits", "create", "--images", "5", check=False).stderr
    assert "curate hits create" in shop.curate("crowd", "simulate", check=False).stderr


def test_simulated_workers_come_back_as_themselves(open_shop: Shop) -> None:
    shop = open_shop
    for wanted in ("9", "18"):
        shop.curate("hits", "create", "--images", wanted, "--yes")
        shop.curate("crowd", "simulate", "--workers", "3")
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert votes["worker_id"].nunique() == 3


def test_the_same_seed_gives_the_same_votes(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    shop.curate("crowd", "simulate", "--workers", "3", "--seed", "4")
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    keys, answerer = shop.workspace.task().keys, Answerer(4, shop.truth)
    workers = draw_workers(keys, 3, 4)
    expected = Counter((i, answerer.answer(worker, i, keys)) for worker in workers for i in set(votes["image_id"]))
    assert Counter(zip(votes["image_id"], votes["label"], strict=True)) == expected


def test_an_expired_hit_gives_back_what_was_reserved_for_answers_that_never_came(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    shop.curate("crowd", "simulate", "--workers", "2")
    entry = journal_of(shop)[0]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shop.keys.items():
            patch.setenv(name, value)
        Requester(shop.url).client.update_expiration_for_hit(HITId=entry.hit_id, ExpireAt=0)
    task_file = shop.workspace.root / "tasks" / "apron.yaml"
    task_file.write_text(task_file.read_text().replace("lifetime_days: 7.0", "lifetime_days: 0.0000001"))
    for _ in range(2):
        shop.curate("hits", "collect")
        assert spent(shop) == 2 * 10 * budget.CENT
    shop.curate("hits", "review", "--yes")
    assert spent(shop) == 2 * 10 * budget.CENT


def test_a_simulation_killed_half_way_is_finished_by_the_same_people(open_shop: Shop) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "36", "--yes")
    simulation = shop.start("crowd", "simulate", "--workers", "3", "--pace", "0.02")
    while simulation.poll() is None:
        shop.curate("hits", "collect")
        if len(VOTES.read(shop.workspace.of_task("apron", "votes"))):
            simulation.kill()
            simulation.wait()
    shop.curate("crowd", "simulate", "--workers", "3")
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert votes["worker_id"].nunique() == 3
    assert set(Counter(votes.loc[votes["dropped"].isna(), "image_id"]).values()) == {3}


def test_a_given_error_model_is_what_the_workers_do(open_shop: Shop) -> None:
    shop = open_shop
    keys = shop.workspace.task().keys
    perfect = {key: {key: 1.0} for key in keys}
    people = [Simulated(name=f"sage {n}", kind="careful", seconds=1, confusion=perfect) for n in range(3)]
    write_workers(people, shop.workspace.root / "model.yaml")
    shop.curate("hits", "create", "--images", "9", "--yes")
    assert "3 passed" in shop.curate("crowd", "simulate", "--model", "model.yaml").stdout
    shop.curate("hits", "collect")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert (votes["label"] == votes["image_id"].map(shop.truth)).all()


def test_pictures_without_truth_are_guessed_and_counted(open_shop: Shop) -> None:
    shop = open_shop
    path = shop.workspace.of_task("apron", "truth")
    truth = TRUTH.read(path)
    TRUTH.write(truth[truth["image_id"].isin(shop.ids[:14])], path)  # gold alone
    shop.curate("hits", "create", "--images", "9", "--yes")
    assert "9 pictures have no known truth" in shop.curate("crowd", "simulate", "--workers", "3").stdout


def test_a_wrong_key_names_the_command_that_issues_a_right_one(open_shop: Shop) -> None:
    shop = open_shop
    shop.keys = {**shop.keys, "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = shop.curate("hits", "create", "--images", "9", "--yes", check=False)
    assert done.returncode == 1
    assert "does not accept this key" in done.stderr
    assert "curate crowd keys issue NAME" in done.stderr


def test_a_crowd_that_is_not_there_costs_nothing(shop: Shop) -> None:
    shop.url = "http://127.0.0.1:1"
    shop.keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s"}
    task_file = shop.workspace.root / "tasks" / "apron.yaml"
    task_file.write_text(task_file.read_text().replace("pass_mark: 70", "pass_mark: 0"))
    done = shop.curate("hits", "create", "--images", "9", "--yes", check=False)
    assert "no crowd answers there. Start one with `curate crowd serve`" in done.stderr
    assert (journal_of(shop), spent(shop)) == ([], 0)
