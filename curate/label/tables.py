"""The labels of a workspace: which tables they come from, and what a person is told about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from curate.label.aggregate import aggregate_task, summary
from curate.label.count import Filters, label_source
from curate.label.methods import COMPARED_VOTES, Modeled, Wanted, compare, frame_coded, label_by
from curate.label.rule import Rule
from curate.label.spread import DUPLICATE, EXPERT, IMPORT, TWIN, copies, with_copies, with_given, with_twins
from curate.label.taxonomy import current_votes
from curate.label.votes import NEEDED, votes_of
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import CLUSTERS, EXCLUSIONS, GIVEN, GOLD, HITS, LABELS, PICTURES, VOTES
from schemas.task import Task


@dataclass(frozen=True)
class Aggregated:
    """LABELS and audited VOTES of a task, neither written yet."""

    labels: pd.DataFrame
    votes: pd.DataFrame
    rule: Rule
    said: list[str]
    model: Modeled | None = None  # the model of workers that made the labels


def rule_of(
    task: Task,
    agree: int | None = None,
    min_votes: int | None = None,
    first_k: int | None = None,
    kind: Literal["majority", "plurality"] = "majority",
) -> Rule:
    """The rule of a task: its own numbers where none are given. Two equal first answers of an adaptive round are enough."""
    wanted = agree or task.crowd.agree
    if kind == "majority":
        min_votes = min_votes or max(task.crowd.assignments.first, wanted)
    return Rule(tuple(task.keys), wanted, min_votes, first_k, kind)


def aggregate_workspace(
    workspace: Workspace,
    task: Task,
    rule: Rule,
    filters: Filters,
    inherit: bool = False,
    wanted: Wanted | None = None,
) -> Aggregated:
    """Labels of a task from the workspace's votes, given labels, exact copies and, with `inherit`, near twins.

    `wanted` is a model of workers that takes the place of the rule. Where there is gold, every method is held against it.

    Writes nothing. Raises UserError when there are neither votes nor given labels.
    """
    name = task.task

    def own(table: Any) -> pd.DataFrame:
        return table.read_if_there(workspace.of_task(name, table.name))

    given, gold, hits = own(GIVEN), own(GOLD), own(HITS)
    votes = own(VOTES) if len(given) else VOTES.read(workspace.of_task(name, "votes"))
    pictures = PICTURES.read_if_there(workspace.table("pictures"))
    _check_given(given, task)
    votes = current_votes(votes, hits, task)
    same = copies(pictures)
    excluded = own(EXCLUSIONS)
    filters = replace(filters, excluded=set(excluded.loc[excluded["task"] == name, "worker_id"]))
    if len(votes) or given.empty:
        labels, audit = aggregate_task(
            _as_one(votes, same), _as_one(hits, same), _as_one(gold, same), task=name, rule=rule, filters=filters
        )
        labels, told, model = _modeled(labels, audit, rule, wanted, _as_one(gold, same), filters.source)
        audit = audit.assign(image_id=votes["image_id"])
        labels = _chosen_by(labels, _as_one(votes, same))
    else:
        labels, audit, told, model = LABELS.empty(), votes, [], None
    said = [*summary(labels, audit, gold), *told] if len(votes) or given.empty else []
    labels = with_given(labels, given, task.keys, name)
    labels = with_copies(labels, same, name)
    torn = 0
    if inherit:
        labels, torn = with_twins(labels, CLUSTERS.read(workspace.table("clusters")), pictures, name)
    said += _others(labels, torn)
    votes = VOTES.check(audit[[c for c in audit.columns if c in VOTES.names]])
    return Aggregated(labels, votes, rule, said, model)


def _modeled(
    labels: pd.DataFrame,
    audit: pd.DataFrame,
    rule: Rule,
    wanted: Wanted | None,
    gold: pd.DataFrame,
    source: str | None,
) -> tuple[pd.DataFrame, list[str], Modeled | None]:
    """Labels by the model that is wanted, else as they are; how every method does on gold, as lines; the model."""
    known = dict(zip(gold["image_id"], gold["label"], strict=True))
    if wanted is None and (not known or int(audit["dropped"].isna().sum()) > COMPARED_VOTES):
        return labels, [], None
    table = LABELS.to_arrow(labels)
    votes, workers = frame_coded(labels, audit, rule)
    if wanted is None:
        return labels, compare(table, votes, rule, known), None
    said_by = label_source(votes_of(audit, (*NEEDED, "source")), source)
    made = label_by(wanted, table, votes, workers, rule, known, said_by)
    return LABELS.to_frame(made.labels), made.said, made


def _as_one(rows: pd.DataFrame, same: dict[str, str]) -> pd.DataFrame:
    """The rows as if every exact copy were the picture that stands for it."""
    if not same or not rows["image_id"].isin(list(same)).any():
        return rows
    return rows.assign(image_id=rows["image_id"].map(lambda image_id: same.get(image_id, image_id)))


def _chosen_by(labels: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Why pictures were asked about whose votes came from elsewhere and not from a HIT of ours."""
    said = votes[votes["chosen_by"].notna()].sort_values(["image_id", "chosen_by"]).drop_duplicates("image_id")
    if said.empty:
        return labels
    elsewhere = labels["image_id"].map(said.set_index("image_id")["chosen_by"])
    return labels.assign(chosen_by=labels["chosen_by"].fillna(elsewhere))


def _check_given(given: pd.DataFrame, task: Task) -> None:
    stray = given.loc[(given["task"] == task.task) & ~given["label"].isin(task.keys), "label"]
    if len(stray):
        raise UserError(
            f"given labels of task {task.task}: {stray.iloc[0]!r} is no class of it ({', '.join(task.keys)}); "
            "`curate task migrate` renames classes everywhere"
        )


def _others(labels: pd.DataFrame, torn: int) -> list[str]:
    """A line about labels that no vote made."""
    no_votes = (labels["source"] != IMPORT) | (labels["method"] == "given")  # imported votes are of this source, too
    counts = labels.loc[labels["label"].notna() & no_votes, "source"].value_counts()
    names = {
        EXPERT: "from experts",
        IMPORT: "imported",
        DUPLICATE: "shared by exact copies",
        TWIN: "taken from near twins",
    }
    parts = [f"{counts[source]:,} {said}" for source, said in names.items() if source in counts]
    lines = [f"labels that no vote made: {', '.join(parts)}"] if parts else []
    if torn:
        lines.append(f"{torn:,} clusters hold pictures of different labels; none of them passed a label on")
    return lines
