"""Finished labels of another tool or an expert become rows of GIVEN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from curate.label.imports import label_studio
from curate.label.imports.answers import SEVERAL
from curate.label.imports.classes import Classes
from curate.label.imports.detect import CALLED, open_any, read_labels
from curate.label.imports.matching import Matched, match, pictures_of, stem, to_keys
from curate.label.imports.reading import Hints, Reading
from curate.label.times import to_utc
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.tables import GIVEN
from schemas.task import Task

SOURCES = ("expert", "import")
_KEY = list(GIVEN.key)


@dataclass(frozen=True)
class Options:
    """What a person says about a file of labels besides its name."""

    form: str = "auto"
    hints: Hints = field(default_factory=Hints)
    map_file: Path | None = None
    source: str = "import"
    given_by: str | None = None
    chosen_by: str | None = None


@dataclass(frozen=True)
class Imported:
    """What an import of labels did."""

    added: int
    changed: int
    said: list[str]


def import_labels(workspace: Workspace, task: Task, path: Path, options: Options) -> Imported:
    """Take the labels of a file into the task's GIVEN; call it with the workspace locked.

    A label that is there already stays; one that differs replaces the earlier one of the same source. Raises UserError, with
    nothing written, for an unknown class, two labels for one picture, or when no picture is found.
    """
    if options.source not in SOURCES:
        raise UserError(f"--source {options.source}: is not known; it can be {' or '.join(SOURCES)}")
    classes = Classes.of(task, options.map_file)
    pictures = pictures_of(workspace)
    hints = options.hints
    reading = read_labels(open_any(path, options.form), replace(hints, task=task.task, is_class=classes.knows))
    to_keys(reading, classes)
    empty = _drop_empty(reading)
    if reading.answers.empty:
        raise UserError(f"{path}: is {CALLED[reading.tool]}, and holds no labels")
    matched = match(reading, pictures)
    rows = _one_each(matched, reading)
    before = GIVEN.read_if_there(workspace.of_task(task.task, "given"))
    table = _table(rows, task, reading, options)
    after, table, added, changed = _merge(before, table)
    if added or changed:
        GIVEN.write(after, workspace.of_task(task.task, "given"))
    said = [_head(reading, table), _tail(added, changed, table), *_left_out(reading, empty), *matched.said()]
    return Imported(added, changed, [*said, *_advice(table, options)])


def _drop_empty(reading: Reading) -> int:
    """Leave out what names no class: an empty cell, a picture nobody could see, several classes at once."""
    none = reading.answers["label"].isna()
    reading.skipped["rows with several classes"] += int(
        reading.answers["answer"].astype("str").str.contains(SEVERAL, regex=False)[none].sum()
    )
    reading.answers = reading.answers[~none].reset_index(drop=True)
    return int(none.sum()) - reading.skipped["rows with several classes"]


def _one_each(matched: Matched, reading: Reading) -> pd.DataFrame:
    """One row a picture. Raises UserError when a picture is given two labels: that is votes, or a mistake."""
    rows = matched.answers
    said = rows.drop_duplicates(["image_id", "label"])
    twice = said["image_id"].duplicated(keep=False)
    if twice.any():
        first = said[twice].iloc[0]
        same = said[said["image_id"] == first["image_id"]]
        votes = " Single votes come in with `curate import votes`." if reading.tool == label_studio.TOOL else ""
        raise UserError(
            f"{reading.path}: {said.loc[twice, 'image_id'].nunique()} pictures are given two labels, first {first['picture']}: "
            f"{' and '.join(same['label'])} ({' and '.join(map(str, same['row']))}); keep one.{votes}"
        )
    return said


def _table(rows: pd.DataFrame, task: Task, reading: Reading, options: Options) -> pd.DataFrame:
    given_at = pd.Series(pd.Timestamp(now()), index=rows.index)
    if rows["time"].notna().any():
        given_at = to_utc(rows["time"], reading.path, rows["row"].tolist()).fillna(pd.Timestamp(now()))
    return GIVEN.check(
        pd.DataFrame(
            {
                "image_id": rows["image_id"],
                "task": task.task,
                "label": rows["label"],
                "source": options.source,
                "given_by": options.given_by or stem(reading.path),
                "given_at": given_at,
                "chosen_by": options.chosen_by,
                "note": rows["note"],
            }
        )
    )


def _merge(before: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int, int]:
    """The given labels with new ones added and changed ones replaced; the new rows as they stand there; how many of each."""
    key = pd.MultiIndex.from_frame(rows[_KEY])
    old = before.set_index(_KEY)[["label", "chosen_by"]].astype(object).reindex(key).reset_index(drop=True)
    is_new = ~key.isin(pd.MultiIndex.from_frame(before[_KEY]))
    rows = rows.reset_index(drop=True)
    rows["chosen_by"] = rows["chosen_by"].fillna(old["chosen_by"])  # said once, it need not be said again
    here = rows[["label", "chosen_by"]].astype(object)
    changed = ~is_new & ~((here == old) | (here.isna() & old.isna())).all(axis=1).to_numpy()
    replaced = pd.MultiIndex.from_frame(before[_KEY]).isin(key[changed])
    parts = [part.astype(object) for part in (before[~replaced], rows[is_new | changed]) if len(part)]
    both = pd.concat(parts, ignore_index=True) if parts else before
    return GIVEN.check(both.sort_values(_KEY, ignore_index=True)), rows, int(is_new.sum()), int(changed.sum())


def _head(reading: Reading, table: pd.DataFrame) -> str:
    return (
        f"{reading.path}: {CALLED[reading.tool]}; labels of {len(table)} pictures, {table['label'].nunique()} classes"
    )


def _tail(added: int, changed: int, table: pd.DataFrame) -> str:
    if not added and not changed:
        return "nothing new: every label is here already"
    here = len(table) - added - changed
    counted = ((added, "added"), (changed, "in place of an earlier one"), (here, "here already"))
    return "labels: " + ", ".join(f"{count} {what}" for count, what in counted if count)


def _left_out(reading: Reading, empty: int) -> list[str]:
    lines = [f"left out: {count} {why}" for why, count in reading.skipped.most_common() if count]
    if empty:
        lines.append(f"left out: {empty} rows without a label")
    machine = int(reading.answers["note"].astype("str").str.contains("by machine").sum())
    if machine:
        lines.append(f"{machine} labels were given by the tool's own model and no person (note: by machine)")
    return lines


def _advice(table: pd.DataFrame, options: Options) -> Sequence[str]:
    lines = []
    if table["chosen_by"].isna().any():
        lines.append(
            "why these pictures were chosen is not known, so none of them will be tested on; if they were drawn at "
            "random, run this again with --chosen-by random"
        )
    wins = "expert labels win over votes" if options.source == "expert" else "they stand where votes make no label"
    lines.append(f"next: curate aggregate ({wins})")
    return lines
