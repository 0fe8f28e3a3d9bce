from __future__ import annotations

from contextlib import closing

import pytest

from curate.crowd import budget
from curate.crowd.budget import CENT, Price
from curate.database import transaction
from curate.tasks import make_task
from curate.workspace import Workspace
from schemas.errors import UserError


@pytest.mark.parametrize(
    ("cents", "share", "fee"), [(10, 0, 0), (10, 0.2, 2), (1, 0.2, 1), (13, 0.2, 3), (12, 0.2, 2), (0, 0.2, 1)]
)
def test_a_fee_is_rounded_half_up_to_a_cent_and_is_a_cent_at_least(cents: int, share: float, fee: int) -> None:
    assert budget.price_of(cents, share) == Price(cents * CENT, fee * CENT)


def test_a_reward_must_be_whole_cents() -> None:
    task = make_task("apron")
    odd = task.model_copy(update={"crowd": task.crowd.model_copy(update={"reward_usd": 0.105})})
    with pytest.raises(UserError, match=r"crowd.reward_usd: 0.105 is not whole cents"):
        budget.price(odd)


@pytest.mark.parametrize(
    ("statuses", "spent"),
    [
        ([], 36),  # three reserved at 12 cents
        (["Submitted"], 36),
        (["Approved"], 36),  # what was reserved is now earned
        (["Rejected"], 24),
        (["Approved", "Approved"], 36),  # seen twice
        (["Rejected", "Approved"], 36),  # a rejection taken back
    ],
)
def test_a_judged_assignment_moves_money_once(workspace: Workspace, statuses: list[str], spent: int) -> None:
    task = make_task("apron")
    with closing(workspace.project()) as project:
        with transaction(project):
            budget.reserve(project, task, [("tok", 36 * CENT)])
        cost = budget.reserved_price(project, "tok", 10, 3)
        assert cost == Price(10 * CENT, 2 * CENT)
        for status in statuses:
            with transaction(project):
                budget.settle(project, "apron", status, cost, "A1", "H1", "W1")
        assert budget.spent(project, "apron") == spent * CENT
        assert budget.ledger(project, "apron")["amount_usd"].sum() == pytest.approx(spent / 100)


def test_the_budget_of_one_task_is_not_that_of_another(workspace: Workspace) -> None:
    task = make_task("apron")
    with closing(workspace.project()) as project:
        with transaction(project):
            budget.reserve(project, task, [("tok", 99 * 100 * CENT)])
        assert budget.left(project, task) == 100 * CENT
        assert budget.left(project, task.model_copy(update={"task": "vest"})) == 100 * 100 * CENT
