"""What the desk knows of the answers. The label stage works it out; the command hands it over, so that stages stay apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from schemas.task import Task


@dataclass(frozen=True)
class Facts:
    """Tables of one task, as the commands would write them now."""

    votes: pd.DataFrame  # VOTES, each with the reason why it does not count
    labels: pd.DataFrame  # LABELS
    workers: pd.DataFrame  # WORKERS, the worst first
    alpha: float | None  # Krippendorff's, None before two people have answered one picture
    reasons: Mapping[str, str]  # worker_id to why a person excluded them


@dataclass(frozen=True)
class Said:
    """One vote on a picture."""

    worker_id: str
    answer: str | None  # class key, or what else was said
    seconds: float | None
    dropped: str | None  # why it does not count


def agreed(facts: Facts, task: Task) -> tuple[int, int]:
    """Of how many pictures the votes make a label, and how many have enough votes for one. An expert's word changes neither."""
    enough = facts.labels[facts.labels["n_votes"] >= _least(task)]
    return int((~_disputed(enough, task)).sum()), len(enough)


def disputes(facts: Facts, task: Task, final: bool = True) -> list[str]:
    """Pictures whose votes do not agree, most votes first; with `final` those that the policy asks nobody about any more.

    A picture stays in the list when an expert has decided it: an expert's label is not counted from votes.
    """
    least = max(_least(task), task.crowd.assignments.up_to) if final else _least(task)
    rows = facts.labels[(facts.labels["n_votes"] >= least) & (facts.labels["dropped"] != "gold")]
    rows = rows[_disputed(rows, task)].sort_values(["n_votes", "image_id"], ascending=[False, True])
    return [str(image_id) for image_id in rows["image_id"]]


def _least(task: Task) -> int:
    return max(task.crowd.assignments.first, task.crowd.agree)


def _disputed(labels: pd.DataFrame, task: Task) -> pd.Series:
    return (labels["n_agree"] < task.crowd.agree) | (2 * labels["n_agree"] <= labels["n_votes"])


def said(facts: Facts, image_ids: list[str]) -> dict[str, list[Said]]:
    """The votes on some pictures in the order in which they came in."""
    rows = facts.votes[facts.votes["image_id"].isin(set(image_ids))]
    found: dict[str, list[Said]] = {image_id: [] for image_id in image_ids}
    for row in records(rows):
        found[row["image_id"]].append(
            Said(row["worker_id"], row["label"] or row["answer"], row["seconds"], row["dropped"])
        )
    return found


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries, what is missing as None."""
    plain = rows.astype(object).where(rows.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
