"""The split of a workspace: which tables it reads, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset.fixed import Fixed, check_fixed, crossing_message, read_fixed
from curate.dataset.split import FIXED_WAITS, Cut, crossing, split
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.interval import wilson
from schemas.tables import APPEARANCES, CLUSTERS, GOLD, LABELS, PICTURES, SPLITS
from schemas.task import Split, Task


@dataclass(frozen=True)
class Asked:
    """What a person asks of one `curate split` beside the task file."""

    seed: int | None = None
    balance: str | None = None
    fill_short: bool | None = None
    fixed: Path | None = None
    allow_crossing: bool = False

    def policy(self, task: Task) -> Split:
        """The task's policy with what was asked for."""
        more = {"balance": self.balance, "fill_short": self.fill_short, "seed": self.seed}
        return task.split.model_copy(update={key: value for key, value in more.items() if value is not None})


@dataclass(frozen=True)
class Decided:
    """A split of a workspace, nothing of it written yet."""

    cut: Cut
    policy: Split
    fixed: Fixed | None
    crosses: int  # groups that the given split puts on several sides
    seed: int | None  # as asked for

    def facts(self) -> dict[str, Any]:
        """What the manifest's info keeps: the policy, and what was given."""
        said: dict[str, Any] = {"split": self.policy.model_dump(mode="json"), "seed": self.policy.seed}
        if self.fixed:
            given = {"file": self.fixed.path.name, "pictures": len(self.fixed.splits), "crossing_groups": self.crosses}
            said["fixed"] = given
        return said


def split_workspace(workspace: Workspace, task: Task, asked: Asked = Asked()) -> Decided:
    """The split of a task from the workspace's tables; writes nothing.

    Raises UserError when there are no labels, or labels of another class list, and for a given split that cannot be read,
    contradicts what is decided, or puts one group on several sides (unless that is allowed).
    """
    name = task.task
    labels = _labels(workspace, task)
    pictures = PICTURES.read(workspace.table("pictures"))
    appearances = APPEARANCES.read_if_there(workspace.table("appearances"))
    before = SPLITS.read_if_there(workspace.of_task(name, "splits"))
    fixed = read_fixed(asked.fixed, pictures, appearances) if asked.fixed else None
    if fixed:
        check_fixed(fixed, before)
    policy = asked.policy(task)
    cut = split(
        pictures,
        labels,
        CLUSTERS.read_if_there(workspace.table("clusters")),
        appearances,
        before,
        policy=policy,
        classes=task.keys,
        task=name,
        now=now(),
        gold=GOLD.read_if_there(workspace.of_task(name, "gold"))["image_id"].tolist(),
        fixed=fixed.splits if fixed else None,
    )
    crosses = crossing(cut.rows, fixed.splits) if fixed else pd.DataFrame(columns=["group_id"])
    if fixed and len(crosses) and not asked.allow_crossing:
        raise UserError(crossing_message(fixed, crosses))
    return Decided(cut, policy, fixed, crosses["group_id"].nunique(), asked.seed)


def _labels(workspace: Workspace, task: Task) -> pd.DataFrame:
    """LABELS of the task; raises UserError when there is nothing to split, or a label of another class list."""
    path = workspace.of_task(task.task, "labels")
    labels = LABELS.read(path)
    given = labels["label"].dropna()
    if given.empty:
        raise UserError(f"{path}: none of {len(labels)} pictures has a label, so there is nothing to split")
    stray = given[~given.isin(task.keys)]
    if len(stray):
        raise UserError(
            f"{path}: label {stray.iloc[0]!r} is not a class of task {task.task} ({', '.join(task.keys)}); "
            "run `curate aggregate` again"
        )
    if given.nunique() == 1:
        raise UserError(
            f"{path}: all {len(given)} labels are {given.iloc[0]!r}; a classifier needs two classes, and a split is for good: "
            "label more pictures first"
        )
    return labels


def describe(decided: Decided) -> str:
    """What a person wants to know after `curate split`: the table by class, the shortfall, the groups, what moved."""
    cut = decided.cut
    lines = [*class_table(cut.classes), *_shortfall(decided)]
    if decided.fixed:
        lines.append(decided.fixed.describe())
        if decided.crosses:
            lines.append(f"{decided.crosses} groups cross the given split: its test shows too good a figure")
        waiting = int((cut.rows["split_reason"] == FIXED_WAITS).sum())
        if waiting:
            lines.append(f"{waiting} given pictures wait for a label; until then they are out")
    if cut.not_random:
        lines.append(
            f"{cut.not_random} labeled pictures were not chosen at random: they train, they are never tested on"
        )
    if cut.unknown:
        lines.append(
            f"{cut.unknown} labeled pictures do not say how they were chosen (imported labels): they only train"
        )
    if not cut.classes[["val", "test"]].to_numpy().any() and decided.policy.test and cut.not_random + cut.unknown:
        lines.append(
            "so val and test are empty: --fixed FILE takes a given split, --fill-short takes any labeled picture"
        )
    reasons = cut.rows.loc[cut.rows["split"] == "out", "split_reason"].value_counts()
    if len(reasons):
        lines.append("out: " + ", ".join(f"{n} {reason}" for reason, n in reasons.items()))
    lines.append(cut.groups.describe())
    if cut.moved:
        lines.append("decided before: " + "; ".join(f"{n} {what}" for what, n in cut.moved.items()))
    if decided.seed is not None and (cut.rows["seed"] != decided.seed).any():
        lines.append(
            f"seed {decided.seed} decided only what is new; to cut anew, move splits.parquet away and run this again"
        )
    return "\n".join(lines)


def _shortfall(decided: Decided) -> list[str]:
    """Which classes the test has too few of, and which were filled."""
    classes, lines = decided.cut.classes, []
    short = classes[(classes["short"] > 0) & (classes["labeled"] > 0)]
    if len(short):
        named = ", ".join(f"{key} {n}" for key, n in short["short"].items())
        wanted = "its share" if decided.policy.balance == "natural" else "an even count"
        lines.append(f"test is short of {wanted} by: {named} (a class gives at most its max_test_share)")
    rows = decided.cut.rows
    filled = rows.loc[rows["split_reason"] == "filled", "split"].value_counts()
    if len(filled):
        said = " and ".join(f"{n} {name}" for name, n in filled.sort_index().items())
        lines.append(f"{said} pictures were not chosen at random (filled on request): figures on them may mislead")
    return lines


def class_table(classes: pd.DataFrame) -> list[str]:
    """The counts by class as lines, with what so few test pictures can show: the interval of a model that is 80 % right."""
    names = ["class", "labeled", "train", "val", "test", "80 % right reads", ""]
    rows = [
        [
            str(key),
            *(str(row[name]) for name in ("labeled", "train", "val", "test")),
            _reads(int(row["test"])),
            row["note"],
        ]
        for key, row in classes.iterrows()
    ]
    total = classes[["labeled", "train", "val", "test"]].sum()
    rows.append(["all", *map(str, total), _reads(int(total["test"])), ""])
    wide = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]
    return [
        f"{row[0]:<{wide[0]}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(row[1:6], wide[1:6], strict=True))
        + (f"  {row[6]}" if row[6] else "")
        for row in [names, *rows]
    ]  # fmt: skip


def _reads(n: int) -> str:
    """The 95 % interval that n test pictures give when four of five are right."""
    if n == 0:
        return "-"
    low, high = wilson(round(0.8 * n), n)
    return f"{100 * low:.0f}–{100 * high:.0f} %"
