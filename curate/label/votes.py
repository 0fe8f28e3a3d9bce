"""Votes from anywhere: our own table, or any Parquet or CSV file with image_id, worker_id and label."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from schemas.errors import TableError, UserError
from schemas.table import read_parquet
from schemas.tables import VOTES

NEEDED = ("image_id", "worker_id", "label")
MOST_CLASSES = 1000  # more different labels than this is a wrong column, not a question people were asked


def read_votes(path: Path, task: str | None = None) -> pd.DataFrame:
    """The votes of a file as they stand there, with ids and labels as text; other columns are kept.

    Raises UserError for a missing or damaged file, a missing column, no rows, a vote without worker or image, and for
    votes of several tasks when `task` does not say which.
    """
    path = Path(path)
    votes, kind = _read(path)
    missing = [name for name in NEEDED if name not in votes.columns]
    if missing:
        found = ", ".join(map(str, votes.columns[:8])) + (", …" if len(votes.columns) > 8 else "")
        what = f" It is a {kind} table; votes are expected." if kind not in ("", "votes") else ""
        raise TableError(f"{path}: missing columns {', '.join(missing)}; found {found or 'none'}.{what}")
    if len(votes) == 0:
        raise UserError(f"{path}: holds no votes. Collect some with `curate hits collect`.")
    votes = _one_task(votes, path, task)
    for name in ("image_id", "worker_id"):
        if gone := int(votes[name].isna().sum()):
            raise UserError(f"{path}: {name} is missing in {gone} of {len(votes)} votes; every vote needs one")
    return votes.assign(**{name: votes[name].astype("str") for name in NEEDED})


def classes_of(votes: pd.DataFrame, path: Path, given: str | None = None) -> list[str]:
    """The class list of loose votes: as given (`dots,plain`), else every label found, sorted.

    Raises UserError when a label is not in the given list, or when there are too many different ones to be classes.
    """
    found = sorted(votes["label"].dropna().unique())
    if given is None:
        if len(found) > MOST_CLASSES:
            raise UserError(
                f"{path}: {len(found)} different labels in {len(votes)} votes, for example {found[0]!r}; "
                f"at most {MOST_CLASSES} are classes. Is `label` the right column?"
            )
        return found
    classes = [key.strip() for key in given.split(",") if key.strip()]
    stray = [label for label in found if label not in set(classes)]
    if stray:
        count = int(votes["label"].isin(stray).sum())
        raise UserError(
            f"{path}: {count} votes have a label that --classes does not name, for example {stray[0]!r}; "
            f"add it, or leave --classes out"
        )
    return classes


def _read(path: Path) -> tuple[pd.DataFrame, str]:
    """The file's rows, and which table of ours it is ('' for anybody else's)."""
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _read_csv(path), ""
    table = read_parquet(path)
    kind = (table.schema.metadata or {}).get(b"consenso.table", b"").decode()
    return (VOTES.read(path) if kind == VOTES.name else table.to_pandas()), kind


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV with every value as text, so that a label `NA` stays a label; an empty cell is missing."""
    if not path.is_file():
        raise TableError(f"{path}: no such file.")
    try:
        return pd.read_csv(
            path, dtype="str", keep_default_na=False, na_values=[""], sep="\t" if path.suffix == ".tsv" else ","
        )
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: is empty; a first line with image_id,worker_id,label is expected") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0].strip()})") from error


def _one_task(votes: pd.DataFrame, path: Path, task: str | None) -> pd.DataFrame:
    if "task" not in votes.columns:
        return votes
    if task is not None:
        votes = votes[votes["task"] == task]
    names = sorted(votes["task"].dropna().unique())
    if len(names) != 1:
        found = ", ".join(names) if names else f"none of task {task!r}"
        raise UserError(f"{path}: votes of one task are expected, found {found}; say which with --task NAME")
    return votes
