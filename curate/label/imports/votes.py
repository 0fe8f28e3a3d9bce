"""Votes of another tool become rows of VOTES, whole or not at all, and a second time not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from curate.label.imports.classes import Classes
from curate.label.imports.detect import CALLED, open_any, read_votes
from curate.label.imports.matching import check_workers, match, pictures_of, to_keys
from curate.label.imports.reading import STATUSES, Hints, Reading
from curate.label.imports.workers import pseudonyms
from curate.label.times import to_utc
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.question import CANNOT_SEE
from schemas.tables import VOTES
from schemas.task import Task

SOURCE = "imported"
INVALID, UNSEEN = "invalid label", "cannot see the picture"  # as the rule of aggregation calls them
_KEY = list(VOTES.key)
_WHAT_COUNTS = ["assignment_status", "answer", "label", "chosen_by"]  # a vote is changed when one of these is


@dataclass(frozen=True)
class Options:
    """What a person says about a file of votes besides its name."""

    form: str = "auto"
    hints: Hints = field(default_factory=Hints)
    map_file: Path | None = None
    unknown: str = "refuse"  # or keep: votes for what is no class come in without a label
    one_class: bool = False  # votes that all say the same are fine
    chosen_by: str | None = None  # why these pictures were asked about


@dataclass(frozen=True)
class Imported:
    """What an import of votes did."""

    added: int
    changed: int
    said: list[str]  # for the person, line by line


def import_votes(workspace: Workspace, task: Task, path: Path, options: Options) -> Imported:
    """Take the votes of a file or folder into the task's VOTES; call it with the workspace locked.

    Nothing is written unless every answer has a worker, a readable time and a known class and a picture is found. A vote
    that is there already stays as it is, or takes on the judgment or label that the file gives it now.
    """
    classes = Classes.of(task, options.map_file)
    if options.unknown not in ("refuse", "keep"):
        raise UserError(f"--unknown {options.unknown}: is not known; it can be refuse or keep")
    pictures = pictures_of(workspace)
    reading = _read(path, classes, options)
    check_workers(reading)
    to_keys(reading, classes, options.unknown == "keep")
    status = _statuses(reading)
    times, no_times = _times(reading)
    matched = match(reading, pictures)
    rows = matched.answers.assign(status=status, time=times)
    before = VOTES.read_if_there(workspace.of_task(task.task, "votes"))
    _check_one_class(rows, before, options, reading)
    _check_simulated(rows, reading)
    known = _workers_here(workspace)
    rows["worker_id"] = (
        rows["worker"].astype("str").map(pseudonyms(workspace.root, reading.tool, rows["worker"].astype("str"), known))
    )
    rows["assignment_id"] = _assignments(rows, reading.tool, no_times)
    votes, repeated = _without_repeats(rows)
    table = _table(votes, task, reading.tool, options.chosen_by)
    after, table, added, changed = merge(before, table)
    if added or changed:
        VOTES.write(after, workspace.of_task(task.task, "votes"))
    said = [
        _head(reading, votes),
        _tail(added, changed, table),
        *_left_out(reading, repeated, no_times, votes),
        *matched.said(),
    ]
    return Imported(added, changed, [*said, *_advice(after, table)])


def _read(path: Path, classes: Classes, options: Options) -> Reading:
    opened = open_any(path, options.form)
    hints = options.hints
    reading = read_votes(opened, replace(hints, task=classes.task.task, is_class=classes.knows))
    if reading.answers.empty:
        why = "; ".join(f"{count} {reason}" for reason, count in reading.skipped.most_common())
        raise UserError(f"{path}: is {CALLED[reading.tool]}, and holds no votes{f' ({why})' if why else ''}")
    return reading


def _statuses(reading: Reading) -> pd.Series:
    said = reading.answers["status"].fillna("Submitted").astype("str").str.capitalize()
    wrong = ~said.isin(STATUSES)
    if wrong.any():
        first = reading.answers[wrong].iloc[0]
        raise UserError(
            f"{reading.path}: {first['row']}: assignment status {first['status']!r} is not known; it can be {', '.join(STATUSES)}"
        )
    return said


def _times(reading: Reading) -> tuple[pd.Series, bool]:
    """When each answer came in, in UTC, and whether the file says nothing about it at all."""
    given = reading.answers["time"]
    none = given.isna()
    if none.all():
        return pd.Series(pd.Timestamp(now()), index=given.index), True
    if none.any():
        raise UserError(
            f"{reading.path}: the time is missing in {int(none.sum())} of {len(none)} answers "
            f"({reading.answers.loc[none, 'row'].iloc[0]} first); fill it in, or leave the column out"
        )
    return to_utc(given, reading.path, reading.answers["row"].tolist()), False


def _check_one_class(rows: pd.DataFrame, before: pd.DataFrame, options: Options, reading: Reading) -> None:
    """Refuse votes that all say the same: mostly the wrong column, and nothing can be learned from them."""
    said = rows["label"].dropna()
    others = set(before.loc[before["source"] == SOURCE, "label"].dropna()) - set(said)
    if not options.one_class and said.nunique() == 1 and rows["image_id"].nunique() > 1 and not others:
        raise UserError(
            f"{reading.path}: all {len(said)} votes say {said.iloc[0]}, one class only. Is it the right column "
            "(--label-column)? If so, say --one-class"
        )


def _check_simulated(rows: pd.DataFrame, reading: Reading) -> None:
    if rows["worker"].astype("str").str.fullmatch(r"ASIM[A-Z0-9]{13}").any():
        raise UserError(f"{reading.path}: holds votes of simulated workers; they never mix with real ones")


def _workers_here(workspace: Workspace) -> set[str]:
    """Every worker_id that the votes of this workspace hold, of any task."""
    paths = [workspace.of_task(task, "votes") for task in workspace.tasks()]
    return {
        worker for path in paths if path.exists() for worker in VOTES.read(path, ["worker_id"])["worker_id"].unique()
    }


def _assignments(rows: pd.DataFrame, tool: str, no_times: bool) -> pd.Series:
    """The tool's own assignment id, else one made of who said what about which picture, and when: the same each time."""
    made = []
    for own, worker, image_id, answer, time in zip(
        rows["assignment"], rows["worker_id"], rows["image_id"], rows["answer"], rows["time"], strict=True
    ):
        if isinstance(own, str) and own:
            made.append(own)
            continue
        moment = "" if no_times else time.isoformat()
        text = "\x1f".join((tool, worker, image_id, str(answer), moment))
        made.append(f"{tool}-{hashlib.sha256(text.encode()).hexdigest()[:24]}")
    return pd.Series(made, index=rows.index, dtype="str")


def _without_repeats(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Each answer once, with its last judgment; how many rows only said it again.

    Where one assignment answers a picture in two ways both stand, the second under `…/2`: aggregation calls that a
    self-conflict, and nobody chooses between them in silence.
    """
    key = ["assignment_id", "image_id"]
    judged = rows.assign(_judged=rows["status"].map(STATUSES.index)).sort_values([*key, "answer", "_judged", "row"])
    once = judged.drop_duplicates([*key, "worker_id", "answer"], keep="last").drop(columns="_judged")
    number = once.groupby(key).cumcount()
    once["assignment_id"] = once["assignment_id"].where(
        number == 0, once["assignment_id"] + "/" + (number + 1).astype("str")
    )
    return once, len(rows) - len(once)


def _table(rows: pd.DataFrame, task: Task, tool: str, chosen_by: str | None) -> pd.DataFrame:
    label = rows["label"]
    return VOTES.check(
        pd.DataFrame(
            {
                "assignment_id": rows["assignment_id"],
                "image_id": rows["image_id"],
                "task": task.task,
                "hit_id": rows["hit"].fillna(rows["assignment_id"]).astype("str"),
                "worker_id": rows["worker_id"],
                "round": 1,
                "endpoint": tool,
                "assignment_status": rows["status"],
                "source": SOURCE,
                "answer": rows["answer"],
                "label": label,
                "submitted_at": rows["time"],
                "seconds": rows["seconds"].astype("float64"),
                "chosen_by": chosen_by,
                "dropped": [
                    UNSEEN if answer == CANNOT_SEE else None if isinstance(key, str) else INVALID
                    for answer, key in zip(rows["answer"], label, strict=True)
                ],
            }
        )
    )


def merge(before: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int, int]:
    """The votes with new ones added and changed ones replaced, sorted; the new rows as they stand there; how many of each.

    A vote that is there and says the same stays untouched, whatever else the file says.
    """
    rows = rows.reset_index(drop=True)
    old = rows[_KEY].merge(before[[*_KEY, *_WHAT_COUNTS, "source"]], "left", _KEY)  # one row each: a key names one vote
    is_new = old["source"].isna()
    rows["chosen_by"] = rows["chosen_by"].fillna(old["chosen_by"])  # said once, it need not be said again
    differs = [(rows[name] != old[name]) & ~(rows[name].isna() & old[name].isna()) for name in _WHAT_COUNTS]
    changed = pd.concat(differs, axis=1).any(axis=1) & (
        old["source"] == SOURCE
    )  # a crowd's own votes are never touched
    replaced = pd.MultiIndex.from_frame(before[_KEY]).isin(pd.MultiIndex.from_frame(rows.loc[changed, _KEY]))
    parts = [part for part in (before[~replaced], rows[is_new | changed]) if len(part)]
    both = pd.concat([part.astype(object) for part in parts]) if len(parts) > 1 else parts[0] if parts else before
    after = VOTES.check(both.sort_values(["submitted_at", "assignment_id", "image_id"], ignore_index=True))
    return after, rows, int(is_new.sum()), int(changed.sum())


def _head(reading: Reading, votes: pd.DataFrame) -> str:
    return (
        f"{reading.path}: {CALLED[reading.tool]}; {len(votes)} votes of {votes['worker_id'].nunique()} workers on "
        f"{votes['image_id'].nunique()} pictures"
    )


def _tail(added: int, changed: int, table: pd.DataFrame) -> str:
    if not added and not changed:
        return "nothing new: every vote is here already"
    counts = table["assignment_status"].value_counts()
    judged = ", ".join(f"{counts[name]} {name}" for name in STATUSES if name in counts)
    here = len(table) - added - changed
    counted = ((added, "added"), (changed, "changed"), (here, "here already"))
    parts = ", ".join(f"{count} {what}" for count, what in counted if count)
    return f"votes: {parts} ({judged})"


def _left_out(reading: Reading, repeated: int, no_times: bool, votes: pd.DataFrame) -> list[str]:
    lines = [f"left out: {count} {why}" for why, count in reading.skipped.most_common()]
    if repeated:
        lines.append(f"left out: {repeated} rows that say again what another one says")
    nothing = int((votes["label"].isna() & votes["answer"].isna()).sum())
    unknown = int((votes["label"].isna() & votes["answer"].notna() & (votes["answer"] != CANNOT_SEE)).sum())
    if nothing:
        lines.append(f"{nothing} votes have no answer; they stay in the table as invalid label")
    if unknown:
        lines.append(f"{unknown} votes name no class, or several; they stay in the table as invalid label")
    if no_times:
        lines.append("the file says no times; these votes carry the time of this import")
    return lines


def _advice(after: pd.DataFrame, table: pd.DataFrame) -> Sequence[str]:
    lines = []
    if table["chosen_by"].isna().any():
        lines.append(
            "why these pictures were chosen is not known, so none of them will be tested on; if they were drawn at "
            "random, run this again with --chosen-by random"
        )
    mixed = after["source"].nunique() > 1
    lines.append(f"next: curate aggregate{f' --source {SOURCE}' if mixed else ''}")
    return lines
