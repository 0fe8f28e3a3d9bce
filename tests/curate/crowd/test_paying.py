"""Bonuses, blocks and payouts: money moves once, and every sum is the ledger's."""

from __future__ import annotations

import csv
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.crowd import budget
from curate.crowd.bonus import cents_of
from curate.crowd.budget import CENT, Price
from curate.crowd.payout import dues, exact, export, mark, owed, read_batch
from curate.crowd.requester import Requester
from curate.database import transaction
from curate.project import open_project
from curate.tasks import make_task
from schemas.errors import UserError
from schemas.tables import LEDGER, VOTES
from schemas.task import Task

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop


@pytest.fixture
def requester(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Requester:
    """The shop's requester as somebody who uses boto3 directly, three simulated workers' answers being collected."""
    for name, value in open_shop.keys.items():
        monkeypatch.setenv(name, value)
    open_shop.curate("hits", "create", "--images", "9", "--yes")
    open_shop.curate("crowd", "simulate", "--workers", "3")
    open_shop.curate("hits", "collect")
    return Requester(open_shop.url)


def people(shop: Shop) -> list[str]:
    return sorted(set(VOTES.read(shop.workspace.of_task("apron", "votes"))["worker_id"]))


def paid(requester: Requester) -> list[tuple[str, str, str]]:
    """All bonuses that the endpoint has paid."""
    found = [
        bonus
        for hit in requester.hits()
        for assignment in requester.assignments(hit["HITId"])
        for bonus in requester.bonuses(assignment["AssignmentId"])
    ]
    return sorted((bonus["WorkerId"], bonus["BonusAmount"], bonus["Reason"]) for bonus in found)


def ledger(shop: Shop) -> dict[str, float]:
    rows = LEDGER.read(shop.workspace.of_task("apron", "ledger"))
    return rows.groupby("kind")["amount_usd"].sum().round(6).to_dict()  # type: ignore[no-any-return]


def test_a_bonus_is_paid_once_however_often_it_is_asked_for(open_shop: Shop, requester: Requester) -> None:
    shop, worker = open_shop, people(open_shop)[0]
    words = ["pay", "bonus", worker, "--usd", "1.50", "--reason", "careful work", "--yes"]
    assert "1 bonuses paid" in shop.curate(*words).stdout
    assert "0 bonuses, $0.00 with fees; 1 were paid before" in shop.curate(*words).stdout
    shop.curate("pay", "bonus", worker, "--usd", "1.50", "--reason", "again", "--yes")
    assert paid(requester) == [(worker, "1.50", "again"), (worker, "1.50", "careful work")]
    assert ledger(shop) == {"reserved": 0.3 + 3, "released": -3.0, "bonus": 3.0}


@pytest.mark.parametrize("point", ["bonus-reserved", "bonus-sent", "bonus-sent:2", "bonus-noted"])
def test_bonuses_of_a_file_killed_at_any_point_are_paid_once(open_shop: Shop, requester: Requester, point: str) -> None:
    shop = open_shop
    rows = "".join(f'{worker},0.{n}5,"thanks, {n}"\n' for n, worker in enumerate(people(shop), start=1))
    (shop.workspace.root / "bonuses.csv").write_text(f"worker_id,usd,reason\n{rows}")
    words = ["pay", "bonus", "--from", "bonuses.csv", "--yes"]
    assert shop.start(*words, crash_at=point).wait(60) == 137
    shop.curate(*words)
    assert [(amount, reason) for _, amount, reason in paid(requester)] == [
        ("0.15", "thanks, 1"), ("0.25", "thanks, 2"), ("0.35", "thanks, 3"),
    ]  # fmt: skip
    assert ledger(shop) == {"reserved": 1.05, "released": -0.75, "bonus": 0.75}


def test_a_bonus_beyond_the_budget_is_not_paid_and_one_that_could_not_be_asked_for_waits(
    open_shop: Shop, requester: Requester
) -> None:
    shop, worker = open_shop, people(open_shop)[0]
    done = shop.curate("pay", "bonus", worker, "--usd", "99.71", "--reason", "x", "--yes", check=False)
    assert "this costs $99.71, the budget has $99.70 left" in done.stderr
    words = ["pay", "bonus", worker, "--usd", "1", "--reason", "x", "--yes"]
    right, shop.keys = shop.keys, {**shop.keys, "AWS_SECRET_ACCESS_KEY": "wrong"}
    assert "does not accept this key" in shop.curate(*words, check=False).stderr
    assert ledger(shop) == {"reserved": 1.3}
    assert paid(requester) == []
    shop.keys = right
    shop.curate(*words)
    assert ledger(shop) == {"reserved": 1.3, "released": -1.0, "bonus": 1.0}
    assert paid(requester) == [(worker, "1.00", "x")]


def test_a_bonus_that_the_endpoint_refuses_costs_nothing(open_shop: Shop, requester: Requester) -> None:
    shop, worker = open_shop, people(open_shop)[0]
    with (
        closing(shop.workspace.project()) as opened,
        transaction(opened),
    ):  # an assignment that the endpoint does not know
        opened.execute("UPDATE answer SET assignment_id = 'S' WHERE worker_id = ?", (worker,))
    words = ["pay", "bonus", worker, "--usd", "1", "--reason", "x", "--yes"]
    for tries in (1, 2):
        done = shop.curate(*words, check=False)
        assert "refused SendBonus" in done.stderr
        assert ledger(shop) == {"reserved": 0.3 + tries, "released": -tries}
    assert paid(requester) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker_id,usd\nA,1\n", "missing columns reason"),
        ("worker_id,usd,reason\nA,1,x\n", "line 2: worker A: no answer of theirs"),
        ("worker_id,usd,reason\n{0},0.005,x\n", "line 2: --usd must be dollars with two decimals at most"),
        ("worker_id,usd,reason\n{0},1,\n", "line 2: --reason is empty"),
        ("worker_id,usd,reason\n{0},1,x\n{0},1.00,x\n", "lines 2 and 3 are the same bonus"),
        ("worker_id,usd,reason,assignment_id\n{0},1,x,S\n", "line 2: assignment S is none of worker"),
    ],
)
def test_a_file_of_bonuses_that_is_wrong_pays_nothing(
    open_shop: Shop, requester: Requester, text: str, said: str
) -> None:
    shop = open_shop
    (shop.workspace.root / "bonuses.csv").write_text(text.replace("{0}", people(shop)[0]))
    done = shop.curate("pay", "bonus", "--from", "bonuses.csv", "--yes", check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert paid(requester) == []


@pytest.mark.parametrize("usd", ["", "0", "-1", "1.005", "nan", "inf", "a lot", "1e9"])
def test_what_is_no_amount_is_refused(usd: str) -> None:
    with pytest.raises(UserError, match="--usd must be dollars"):
        cents_of(usd)


def test_a_blocked_worker_is_listed_at_the_endpoint_until_unblocked(open_shop: Shop, requester: Requester) -> None:
    shop, worker = open_shop, people(open_shop)[0]
    shop.curate("workers", "block", worker, "--reason", "random answers")
    blocks = requester.client.list_worker_blocks()["WorkerBlocks"]
    assert [(block["WorkerId"], block["Reason"]) for block in blocks] == [(worker, "random answers")]
    shop.curate("workers", "unblock", worker, "--reason", "talked to them")
    assert requester.client.list_worker_blocks()["WorkerBlocks"] == []
    assert "refused CreateWorkerBlock" in shop.curate("workers", "block", "A0", "--reason", "x", check=False).stderr


def test_a_payout_is_the_same_until_something_is_earned_and_is_settled_once(
    open_shop: Shop, requester: Requester
) -> None:
    shop = open_shop
    assert "nobody is owed anything" in shop.curate("pay", "export", "a.csv", "--simulated", check=False).stderr
    shop.curate("hits", "review", "--yes")
    first = shop.curate("pay", "export", "a.csv", "--simulated").stdout
    assert "3 workers, $0.30" in first
    shop.curate("pay", "export", "b.csv", "--simulated")
    root = shop.workspace.root
    assert (root / "a.csv").read_bytes() == (root / "b.csv").read_bytes()
    lines = (root / "a.csv").read_text().splitlines()
    (root / "part.csv").write_text("\n".join(lines[:2]) + "\n")  # two of them were not paid
    told = shop.curate("pay", "mark", "part.csv", "--tell").stdout
    assert "1 workers marked as paid, $0.10" in told
    assert "1 workers told" in told
    batch = lines[1].split(",")[0]
    assert "2 workers marked as paid, $0.20; 1 were marked before" in shop.curate("pay", "mark", batch).stdout
    assert "0 workers marked as paid, $0.00; 3 were marked before" in shop.curate("pay", "mark", "a.csv").stdout
    assert ledger(shop)["paid"] == 0.3
    assert shop.curate("pay", "owed", "--simulated").stdout.splitlines()[-1].split()[-1] == "$0.00"
    shop.curate("pay", "bonus", people(shop)[0], "--usd", "2", "--reason", "x", "--yes")
    shop.curate("pay", "export", "c.csv", "--simulated")
    assert [row["amount_usd"] for row in csv.DictReader((root / "c.csv").open())] == ["2.00"]


@pytest.mark.parametrize("point", ["payout-kept", "payout-before-commit", "payout-after-commit"])
def test_a_payout_killed_at_any_point_and_run_again_is_settled_once(
    open_shop: Shop, requester: Requester, point: str
) -> None:
    shop = open_shop
    shop.curate("hits", "review", "--yes")
    export_words = ["pay", "export", "a.csv", "--simulated"]
    if point == "payout-kept":
        assert shop.start(*export_words, crash_at=point).wait(60) == 137
    assert "3 workers, $0.30" in shop.curate(*export_words).stdout
    if point != "payout-kept":
        assert shop.start("pay", "mark", "a.csv", crash_at=point).wait(60) == 137
    assert "workers marked as paid" in shop.curate("pay", "mark", "a.csv").stdout
    assert ledger(shop)["paid"] == 0.3
    assert shop.curate("pay", "owed", "--simulated").stdout.splitlines()[-1].split()[-1] == "$0.00"
    assert len(list((shop.workspace.root / "payouts").iterdir())) == 1


def test_twelve_workers_from_first_answer_to_payout(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve simulated workers, one of them a spammer who got in, go through everything; every sum is the ledger's."""
    shop = open_shop
    task_file = shop.workspace.root / "tasks" / "apron.yaml"
    text = task_file.read_text().replace("pictures_per_hit: 10", "pictures_per_hit: 5")
    task_file.write_text(text.replace("pass_mark: 70", "pass_mark: 0").replace("fee_share: 0.0", "fee_share: 0.2"))
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    requester = Requester(shop.url)
    shop.curate("hits", "create", "--images", "44", "--yes")
    shop.curate("crowd", "simulate", "--workers", "12", "--seed", "3")
    shop.curate("hits", "collect")
    dry = shop.curate("hits", "review", "--seconds-below", "0.8", "--dry-run").stdout
    verdicts = {
        words[0]: words[-1] for line in dry.splitlines() if (words := line.split()) and words[0].startswith("ASIM")
    }
    rejected = [worker for worker, verdict in verdicts.items() if verdict == "reject"]
    assert len(rejected) == 1, dry
    assert {a["AssignmentStatus"] for a in answers_there(requester)} == {"Submitted"}

    shop.curate("hits", "review", "--seconds-below", "0.8", "--reason", "Please look closely.", "--yes")
    for answer in answers_there(requester):
        wanted = "Rejected" if answer["WorkerId"] in rejected else "Approved"
        assert answer["AssignmentStatus"] == wanted
        if wanted == "Rejected":
            assert answer["RequesterFeedback"].endswith("0.8 are needed to look at one. Please look closely.")
    shop.curate("workers", "block", rejected[0], "--reason", "random answers")
    best = next(worker for worker in people(shop) if worker not in rejected)
    shop.curate("pay", "bonus", best, "--usd", "0.50", "--reason", "the most careful", "--yes")
    shop.curate("pay", "export", "out.csv", "--simulated")
    shop.curate("pay", "mark", "out.csv", "--tell")

    good = sum(a["AssignmentStatus"] == "Approved" for a in answers_there(requester))
    found = ledger(shop)
    assert found["earned"] == pytest.approx(0.1 * good)
    assert found["fee"] == pytest.approx(0.02 * good + 0.1)
    assert found["paid"] == pytest.approx(found["earned"] + found["bonus"])
    assert found["reserved"] + found["released"] == pytest.approx(0)
    with closing(shop.workspace.project()) as opened:
        assert owed(dues(opened, simulated=True)) == {}
        assert budget.spent(opened, "apron") == (12 * good + 60) * CENT
    shop.curate("aggregate")
    votes = VOTES.read(shop.workspace.of_task("apron", "votes"))
    assert set(votes.loc[votes["worker_id"].isin(rejected) & (votes["dropped"] != "gold"), "dropped"]) == {"rejected"}


def answers_there(requester: Requester) -> list[dict[str, Any]]:
    """All answers as the endpoint has them."""
    return [answer for hit in requester.hits() for answer in requester.assignments(hit["HITId"])]


# The rules of the ledger, without a server


@pytest.fixture
def project(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_project(tmp_path / "project.db")) as opened:
        yield opened


def earn(project: sqlite3.Connection, worker: str, cents: int, name: str, task: str = "apron") -> None:
    with transaction(project):
        budget.enter(project, f"earned:{name}", task, "earned", cents * CENT, worker_id=worker)


def test_overlapping_batches_never_pay_anybody_twice(project: sqlite3.Connection, tmp_path: Path) -> None:
    earn(project, "A", 100, "1")
    one, amounts = export(tmp_path, tmp_path / "one.csv", dues(project))
    earn(project, "A", 50, "2", task="vest")
    two, more = export(tmp_path, tmp_path / "two.csv", dues(project))
    assert one != two
    mark(project, one, amounts)
    with pytest.raises(UserError, match=r"pays A \$1.50, they are owed \$0.50 by now"):
        mark(project, two, more)
    assert owed(dues(project)) == {"A": 50 * CENT}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("1.00", "10.00"), "pays A 10.00, batch .* says 1.00"),
        (lambda text: text.replace("A,", "B,"), "pays B 1.00, batch .* says nothing"),
        (lambda text: text + text.splitlines()[1] + "\n", "pays worker A twice"),
        (lambda text: text.replace("1.00", "much"), "amount_usd of A is no amount"),
        (lambda text: "x" + text[text.index(","):], "is no payout"),
        (lambda text: text.splitlines()[0] + "\n" + "f00,A,1.00\n", "batch f00 was not exported from this workspace"),
    ],
)  # fmt: skip
def test_a_payout_file_that_was_changed_is_refused(
    project: sqlite3.Connection, tmp_path: Path, change: object, said: str
) -> None:
    earn(project, "A", 100, "1")
    file = tmp_path / "one.csv"
    export(tmp_path, file, dues(project))
    file.write_text(change(file.read_text()))  # type: ignore[operator]
    with pytest.raises(UserError, match=said):
        read_batch(tmp_path, str(file))


@pytest.mark.parametrize(
    ("micro", "said"), [(1_500_000, "1.50"), (100, "0.0001"), (1_234_567, "1.234567"), (0, "0.00")]
)
def test_amounts_are_written_exactly(micro: int, said: str) -> None:
    assert exact(micro) == said


_moves = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.integers(1, 3), st.integers(1, 60)),
        st.tuples(st.just("judge"), st.integers(0, 30), st.sampled_from(["Submitted", "Approved", "Rejected"])),
        st.tuples(st.just("end"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("pay"), st.integers(0, 3), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(_moves, st.sampled_from([0.0, 0.2]))
def test_whatever_happens_the_budget_holds_and_nobody_is_overpaid(
    moves: list[tuple[str, int, object]], fee_share: float
) -> None:
    task = five_dollars()
    with tempfile.TemporaryDirectory() as folder, closing(open_project(Path(folder) / "project.db")) as project:
        world = World(project, Path(folder), fee_share)
        for kind, number, detail in moves:
            world.do(task, kind, number, detail)
            by_kind = budget.by_kind(project, "apron")
            outstanding = by_kind.get("reserved", 0) + by_kind.get("released", 0)
            assert outstanding == world.outstanding() >= 0
            assert budget.left(project, task) >= 0
            assert all(due.owed >= 0 for due in dues(project))
            assert budget.spent(project, "apron") == sum(n for k, n in by_kind.items() if k != "paid")


def five_dollars() -> Task:
    """A task that may cost five dollars."""
    task = make_task("apron")
    return task.model_copy(update={"crowd": task.crowd.model_copy(update={"budget_usd": 5.0})})


class World:
    """HITs of a few answers each, judged, ended and paid in any order; what is outstanding is counted by hand."""

    def __init__(self, project: sqlite3.Connection, folder: Path, fee_share: float) -> None:
        self.project, self.folder, self.fee_share = project, folder, fee_share
        self.hits: list[tuple[Price, list[str | None]]] = []  # the status of each place; None = no answer yet
        self.ended: set[int] = set()

    def outstanding(self) -> int:
        """What is set aside for answers that may come, and for those that nobody has judged."""
        return sum(
            price.total * sum(place == "Submitted" or (place is None and number not in self.ended) for place in places)
            for number, (price, places) in enumerate(self.hits)
        )

    def do(self, task: Task, kind: str, number: int, detail: object) -> None:
        """One move; what cannot be done is left out."""
        if kind == "create":
            price = budget.price_of(int(str(detail)), self.fee_share)
            try:
                with transaction(self.project):
                    budget.reserve(self.project, task, [(f"t{len(self.hits)}", number * price.total)])
            except UserError:
                return
            self.hits.append((price, [None] * number))
        elif kind == "judge" and self.hits:
            self.judge(number % len(self.hits), number % 3, str(detail))
        elif kind == "end" and self.hits:
            self.end(number % len(self.hits))
        elif kind == "pay" and owed(dues(self.project)):
            batch, amounts = export(self.folder, self.folder / "out.csv", dues(self.project))
            for _ in range(2):
                mark(self.project, batch, amounts)

    def judge(self, hit: int, place: int, status: str) -> None:
        price, places = self.hits[hit]
        if place >= len(places) or places[place] == "Approved" or (places[place] is None and hit in self.ended):
            return
        if places[place] == "Rejected" and (
            status != "Approved" or budget.left(self.project, five_dollars()) < price.total
        ):
            return
        places[place] = status
        with transaction(self.project):
            budget.settle(self.project, "apron", status, price, f"a{hit}.{place}", f"h{hit}", f"W{place}")

    def end(self, hit: int) -> None:
        price, places = self.hits[hit]
        if hit in self.ended:
            return
        self.ended.add(hit)
        with transaction(self.project):
            rest = -price.total * places.count(None)
            budget.enter(self.project, f"released:t{hit}", "apron", "released", rest)
