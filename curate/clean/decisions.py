"""What people decided about pairs of pictures: the same photo, or different ones. Each decision is on disk before it counts."""

from __future__ import annotations

import getpass
from pathlib import Path

import pandas as pd

from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.tables import DECISIONS, LEAKS, PICTURES

WORDS = ("same", "different")
KEYS = ["image_id_a", "image_id_b"]


def put(path: Path, pair: tuple[str, str], decision: str, by: str) -> None:
    """Write a decision about a pair into DECISIONS; an earlier one about it is replaced. On disk when this returns."""
    if decision not in WORDS:
        raise UserError(f"{decision!r} is no decision; it can be {' or '.join(WORDS)}")
    a, b = sorted(pair)
    row = {"image_id_a": a, "image_id_b": b, "decision": decision, "decided_by": by, "decided_at": now()}
    others = _without(DECISIONS.read_if_there(path), (a, b))
    DECISIONS.write(pd.concat([others, DECISIONS.frame([row])], ignore_index=True), path)


def take_back(path: Path, by: str) -> tuple[str, str] | None:
    """Forget the newest decision of a person; returns its pair, None where they have none."""
    rows = DECISIONS.read_if_there(path)
    own = rows[rows["decided_by"] == by].sort_values("decided_at")
    if own.empty:
        return None
    pair = str(own["image_id_a"].iloc[-1]), str(own["image_id_b"].iloc[-1])
    DECISIONS.write(_without(rows, pair), path)
    return pair


def _without(rows: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return rows[~(rows["image_id_a"].eq(pair[0]) & rows["image_id_b"].eq(pair[1]))]


def decide_same(workspace: Workspace, leaks: Path) -> int:
    """Write the twins of a LEAKS table (its look-alikes are not) into DECISIONS as `same`; returns how many are new.

    Raises UserError when a picture of a pair is not in this workspace. What was decided before stays.
    """
    found = LEAKS.read(leaks)
    twins = found[found["kind"] != "look-alike"]
    ids = set(PICTURES.read(workspace.table("pictures"))["image_id"])
    stray = twins[~twins["image_id"].isin(ids) | ~twins["other_id"].isin(ids)]
    if len(stray):
        raise UserError(
            f"{leaks}: {len(stray)} of {len(twins)} pairs are not of this workspace, such as {stray['path'].iloc[0]}"
        )
    path = workspace.table("decisions")
    before = DECISIONS.read_if_there(path)
    pairs = twins[["image_id", "other_id"]]
    rows = pd.DataFrame(
        {
            "image_id_a": pairs.min(axis=1),
            "image_id_b": pairs.max(axis=1),
            "decision": "same",
            "decided_by": f"{getpass.getuser()}, {leaks.name}",
            "decided_at": now(),
        }
    )
    every = pd.concat([before, DECISIONS.check(rows)], ignore_index=True) if len(rows) else before
    every = every.drop_duplicates(KEYS)
    DECISIONS.write(every, path)
    return len(every) - len(before)


def forget(path: Path, pair: tuple[str, str]) -> None:
    """Write DECISIONS without the decision about a pair."""
    DECISIONS.write(_without(DECISIONS.read_if_there(path), pair), path)
