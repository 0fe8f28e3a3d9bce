"""What asking a third person only where two differ has saved, from the HITs that were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from schemas.task import Task


@dataclass(frozen=True)
class Saved:
    """Against asking `up_to` people about every picture."""

    first: int
    up_to: int
    pictures: int  # asked by the policy
    again: int  # of them, needed more than the first answers
    answers: int
    usd: float  # in rewards

    def line(self) -> str:
        """As a person reads it."""
        return (
            f"{self.again} of {self.pictures} pictures needed more than {self.first} answers: "
            f"{self.answers} answers and ${self.usd:,.2f} in rewards fewer than asking {self.up_to} people about each"
        )


def saved(hits: pd.DataFrame, task: Task) -> Saved | None:
    """What the policy of the task saved so far; None where everybody is asked at once, or nobody was.

    Answers are counted by picture, hidden gold left out; rewards by HIT, hidden gold included. Pilots are not counted.
    """
    policy = task.crowd.assignments
    mine = hits[hits["purpose"] != "pilot"]
    rows = mine[mine["chosen_by"] != "gold"]
    first = rows[(rows["purpose"] == "label") & (rows["max_assignments"] < policy.up_to)]
    if policy.up_to == policy.first or first.empty:
        return None
    ties = rows[(rows["purpose"] == "tie-break") & rows["image_id"].isin(first["image_id"])]
    asked = int(first["max_assignments"].sum() + ties["max_assignments"].sum())
    one = mine.drop_duplicates("hit_id").set_index("hit_id")
    early, late = one.loc[first["hit_id"].unique()], one.loc[ties["hit_id"].unique()]
    usd = ((policy.up_to - early["max_assignments"]) * early["reward_usd"]).sum()
    usd -= (late["max_assignments"] * late["reward_usd"]).sum()
    return Saved(
        policy.first,
        policy.up_to,
        first["image_id"].nunique(),
        ties["image_id"].nunique(),
        len(first) * policy.up_to - asked,
        float(usd),
    )
