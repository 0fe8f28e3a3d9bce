"""The split of a workspace: which tables it reads, and what a person is told about it."""

from __future__ import annotations

from curate.dataset.split import Cut, split
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, GOLD, LABELS, PICTURES, SPLITS
from schemas.task import Task


def split_workspace(workspace: Workspace, task: Task, seed: int | None = None) -> Cut:
    """The split of a task from the workspace's tables; writes nothing.

    Raises UserError when there are no labels, or labels of another class list.
    """
    name = task.task
    path = workspace.of_task(name, "labels")
    labels = LABELS.read(path)
    given = labels["label"].dropna()
    if given.empty:
        raise UserError(f"{path}: none of {len(labels)} pictures has a label, so there is nothing to split")
    stray = given[~given.isin(task.keys)]
    if len(stray):
        raise UserError(
            f"{path}: label {stray.iloc[0]!r} is not a class of task {name} ({', '.join(task.keys)}); "
            "run `curate aggregate` again"
        )
    return split(
        PICTURES.read(workspace.table("pictures")),
        labels,
        CLUSTERS.read_if_there(workspace.table("clusters")),
        APPEARANCES.read_if_there(workspace.table("appearances")),
        SPLITS.read_if_there(workspace.of_task(name, "splits")),
        policy=task.split,
        classes=task.keys,
        task=name,
        now=now(),
        gold=GOLD.read_if_there(workspace.of_task(name, "gold"))["image_id"].tolist(),
        seed=seed,
    )


def describe(cut: Cut, seed: int | None = None) -> str:
    """What a person wants to know after `curate split`: the table by class, the shortfall, the groups, what moved."""
    lines = [cut.classes.to_string()]
    short = cut.classes[(cut.classes["short"] > 0) & (cut.classes["labeled"] > 0)]
    if len(short):
        named = ", ".join(f"{key} {n}" for key, n in short["short"].items())
        lines.append(f"test is short of an even count by: {named} (a class gives at most its max_test_share)")
    if cut.not_random:
        lines.append(
            f"{cut.not_random} labeled pictures were not chosen at random: they train, they are never tested on"
        )
    reasons = cut.rows.loc[cut.rows["split"] == "out", "split_reason"].value_counts()
    if len(reasons):
        lines.append("out: " + ", ".join(f"{n} {reason}" for reason, n in reasons.items()))
    lines.append(cut.groups.describe())
    if cut.moved:
        lines.append("decided before: " + "; ".join(f"{n} {what}" for what, n in cut.moved.items()))
    if seed is not None and (cut.rows["seed"] != seed).any():
        lines.append(f"seed {seed} decided only what is new; to cut anew, move splits.parquet away and run this again")
    return "\n".join(lines)
