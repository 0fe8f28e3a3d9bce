"""Votes that are no workspace's: from any table of votes to a table of labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from curate.label.aggregate import Rule, aggregate, summary
from curate.label.votes import classes_of, read_votes
from schemas.errors import UserError
from schemas.files import whole
from schemas.tables import LABELS


def aggregate_file(
    votes: Path,
    out: Path,
    audit: Path | None = None,
    classes: str | None = None,
    agree: int = 2,
    min_votes: int = 3,
    source: str | None = None,
    task: str | None = None,
) -> list[str]:
    """Label the images of one file of votes and write them to `out`; returns what to tell the person.

    Raises UserError, before anything is written, for what `read_votes` and `aggregate` refuse.
    """
    if out.resolve() == votes.resolve() or (audit and audit.resolve() in (votes.resolve(), out.resolve())):
        raise UserError(f"{out}: would replace its own input; name another file with --out or --audit")
    frame = read_votes(votes, task)
    rule = Rule(tuple(classes_of(frame, votes, classes)), agree, min_votes)
    labels, audited = aggregate(frame, classes=rule.classes, agree=agree, min_votes=min_votes, source=source)
    name = task or (str(frame["task"].iloc[0]) if "task" in frame.columns else votes.stem)
    chosen_by = pd.Series(None, index=labels.index, dtype="str")
    LABELS.write(labels.assign(task=name, chosen_by=chosen_by), out, rule.metadata())
    said = [*summary(labels, audited), f"labels -> {out}"]
    if audit is not None:
        _write_any(audited, audit)
        said.append(f"every vote and why it counted or not -> {audit}")
    return said


def _write_any(frame: pd.DataFrame, path: Path) -> None:
    """A frame of somebody's columns, as CSV or Parquet by the file's name."""
    with whole(path) as part:
        if path.suffix.lower() == ".csv":
            frame.to_csv(part, index=False)
        else:
            frame.to_parquet(part, index=False)
