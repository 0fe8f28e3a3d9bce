"""Known classes come in from a file: they go to TRUTH, which only scoring and simulated workers may read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.collect.folder import check_classes
from schemas.errors import TableError, UserError
from schemas.table import read_parquet
from schemas.tables import TRUTH


@dataclass(frozen=True)
class Truth:
    """Rows for TRUTH, and how many rows of the file could not be used."""

    rows: pd.DataFrame
    unknown: int  # pictures that are not in this workspace
    empty: int  # rows without a label


def read_truth(path: Path, task: str, classes: list[str], pictures: pd.Series) -> Truth:
    """Read image_id and label from a CSV or Parquet file. Raises UserError for a class that the task does not know.

    Args:
        pictures: the image_ids of the workspace; rows of other pictures are counted and left out.
    """
    given = _read(Path(path))
    missing = [name for name in ("image_id", "label") if name not in given.columns]
    if missing:
        raise UserError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(map(str, given.columns[:8]))}")
    given = given[["image_id", "label"]].astype(object)
    empty = given["label"].isna() | given["label"].eq("")
    given = given[~empty].drop_duplicates()
    check_classes(sorted(map(str, given["label"].unique())), classes, str(path), task)
    twice = given["image_id"][given["image_id"].duplicated()]
    if len(twice):
        said = " and ".join(given.loc[given["image_id"].eq(twice.iloc[0]), "label"])
        raise UserError(f"{path}: image {twice.iloc[0]} is given two labels, {said}; keep one")
    known = given[given["image_id"].isin(set(pictures))]
    rows = known.assign(task=task, source=f"file {Path(path).name}")
    return Truth(TRUTH.check(rows[TRUTH.names]), len(given) - len(known), int(empty.sum()))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() in (".parquet", ".pq"):
        return read_parquet(path).to_pandas()
    try:
        return pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected a CSV or Parquet with the columns image_id and label"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise TableError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from error
