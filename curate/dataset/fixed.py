"""A split that somebody gives, for example a published one: which pictures it names, and whether it can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.errors import UserError
from schemas.table import read_parquet

MEANS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "out": "out",
}  # fmt: skip


@dataclass(frozen=True)
class Fixed:
    """What a file gives: the split of each picture of ours that it names."""

    path: Path
    splits: dict[str, str]  # image_id to train, val, test or out
    unknown: tuple[str, ...]  # what it names that is no picture of ours

    def describe(self) -> str:
        """How much of the file found its picture, in one line."""
        counts = pd.Series(list(self.splits.values()), dtype="str").value_counts()
        said = ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test", "out") if name in counts)
        gone = f"; {len(self.unknown)} rows name no picture here, the first {self.unknown[0]}" if self.unknown else ""
        return f"given by {self.path}: {said}{gone}"


def read_fixed(path: Path, pictures: pd.DataFrame, appearances: pd.DataFrame) -> Fixed:
    """The split that a CSV or Parquet file gives, by image_id or by path, in any row order.

    A path is that of a folder import, as APPEARANCES has it, or the place of the bytes in PICTURES (`blob`). Repeated rows
    that agree count once. Raises UserError for a file that cannot be read, lacks a column, says anything but train, val,
    test or out, says two things about one picture, or names no picture of ours.
    """
    frame = _read(Path(path))
    by = next((name for name in ("image_id", "path") if name in frame.columns), None)
    if by is None or "split" not in frame.columns:
        found = ", ".join(map(str, frame.columns[:8])) or "none"
        raise UserError(f"{path}: needs columns image_id (or path) and split; found {found}")
    empty = frame[by].isna() | frame["split"].isna()
    if empty.any() or frame.empty:
        what = f"{by} or split is missing in {int(empty.sum())} of {len(frame)} rows" if len(frame) else "holds no rows"
        raise UserError(f"{path}: {what}; every row names a picture and its split")
    said = frame["split"].astype(str).str.strip().str.lower().map(MEANS)
    if said.isna().any():
        value = frame.loc[said.isna(), "split"].iloc[0]
        raise UserError(
            f"{path}: split {value!r} in {int(said.isna().sum())} rows; known are train, val, test and out "
            "(what has no label is unlabeled by itself)"
        )
    return _matched(Path(path), frame[by].astype(str), said, by, pictures, appearances)


def _matched(
    path: Path, named: pd.Series, said: pd.Series, by: str, pictures: pd.DataFrame, appearances: pd.DataFrame
) -> Fixed:
    """The rows of the file with their pictures; checks that they do not contradict each other."""
    pairs = _ids(pictures) if by == "image_id" else _paths(pictures, appearances)
    wanted = pd.DataFrame({"name": named.to_numpy(), "split": said.to_numpy()})
    found = wanted.merge(pairs, on="name")
    unknown = sorted(set(wanted["name"]) - set(found["name"]))
    if found.empty:
        raise UserError(f"{path}: none of its {len(named)} rows names a picture here, the first is {by} {unknown[0]!r}")
    found = found[["image_id", "split"]].drop_duplicates()
    twice = found[found["image_id"].duplicated(keep=False)].sort_values(["image_id", "split"])
    if len(twice):
        first = twice[twice["image_id"] == twice["image_id"].iloc[0]]["split"]
        n = twice["image_id"].nunique()
        raise UserError(
            f"{path}: says several things about {n} pictures, the first {twice['image_id'].iloc[0]}: {' and '.join(first)}"
        )
    return Fixed(path, dict(zip(found["image_id"], found["split"], strict=True)), tuple(unknown))


def _ids(pictures: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"name": pictures["image_id"], "image_id": pictures["image_id"]})


def _paths(pictures: pd.DataFrame, appearances: pd.DataFrame) -> pd.DataFrame:
    """Every path that a picture is known by."""
    local = appearances[appearances["marketplace"] == "local"]
    known = [
        pictures[["blob", "image_id"]].set_axis(["name", "image_id"], axis=1),
        local[["listing_id", "image_id"]].set_axis(["name", "image_id"], axis=1),
        local[["url", "image_id"]].set_axis(["name", "image_id"], axis=1),
    ]
    return pd.concat(known, ignore_index=True).dropna().drop_duplicates()


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return read_parquet(path).to_pandas()
    try:
        return pd.read_csv(path, dtype=str, sep="\t" if path.suffix.lower() == ".tsv" else ",")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from error


def check_fixed(fixed: Fixed, before: pd.DataFrame) -> None:
    """Raise UserError where a picture was decided otherwise before: what is decided stays."""
    was = before[before["image_id"].isin(fixed.splits)]
    side = was["side"].fillna(was["split"].where(was["split"].isin(["train", "val", "test"])))
    given = was["image_id"].map(fixed.splits)
    other = was.assign(side=side)[side.notna() & (given != "out") & (side != given)]
    if len(other):
        first = other.iloc[0]
        raise UserError(
            f"{fixed.path}: says {fixed.splits[first['image_id']]} of {first['image_id']}, which is {first['side']} since "
            f"{first['since']:%Y-%m-%d} ({len(other)} such pictures); what is decided stays. "
            "To cut anew, move splits.parquet away and run this again"
        )


def crossing_message(fixed: Fixed, crosses: pd.DataFrame, show: int = 5) -> str:
    """What is wrong with a given split that puts one group on several sides, and what can be done."""
    lines = []
    for group, rows in list(crosses.groupby("group_id"))[:show]:
        sides = ", ".join(f"{n} {side}" for side, n in rows["side"].value_counts().sort_index().items())
        lines.append(f"\n  group {str(group)[:12]}…: {sides}, e.g. {' and '.join(_one_of_each(rows))}")
    more = crosses["group_id"].nunique() - show
    tail = f"\n  and {more} more" if more > 0 else ""
    return (
        f"{fixed.path}: {crosses['group_id'].nunique()} groups cross its splits ({len(crosses)} pictures): near twins, equal "
        "pictures or pictures of one listing stand on several sides, so its test shows too good a figure. Mend it, or keep "
        f"it as it is with --allow-crossing{''.join(lines)}{tail}"
    )


def _one_of_each(rows: pd.DataFrame) -> list[str]:
    first = rows.drop_duplicates("side")
    return [f"{image_id[:12]}… ({side})" for image_id, side in zip(first["image_id"], first["side"], strict=True)]
