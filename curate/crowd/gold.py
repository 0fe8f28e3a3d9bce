"""Gold: pictures whose answer an expert gave. Some make the entry test, others are hidden among the questions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import UserError
from schemas.tables import GOLD

if TYPE_CHECKING:
    import pandas as pd

    from schemas.task import Task

USES = ("test", "hidden", "practice")
_COLUMNS = ("image_id", "label", "use", "explanation")


def read_gold(path: Path) -> pd.DataFrame:
    """The rows of a CSV or Parquet file with columns image_id, label and, if you like, use and explanation, all as text."""
    import pandas as pd

    from schemas.table import read_parquet

    path = Path(path)
    if path.suffix == ".parquet":
        frame = read_parquet(path).to_pandas().astype(object)
    else:
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such file. Gold is a CSV with columns image_id,label[,use,explanation]"
            ) from None
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: is not readable as CSV: {str(error).splitlines()[0]}") from error
    missing = [name for name in ("image_id", "label") if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:8])) or "nothing"
        raise UserError(
            f"{path}: missing columns {', '.join(missing)}; found {found}. Gold has image_id,label[,use,explanation]"
        )
    kept = {name: frame[name].astype(object) if name in frame else "" for name in _COLUMNS}
    return pd.DataFrame(kept, index=frame.index).fillna("").astype(str).apply(lambda column: column.str.strip())


def add_gold(rows: pd.DataFrame, there: pd.DataFrame, pictures: pd.DataFrame, task: Task, source: str) -> pd.DataFrame:
    """The GOLD table with these rows added; a picture that was gold before takes its new row.

    Rows without a `use` fill the entry test up to its number of questions, spread over the classes; the rest are hidden.
    Raises UserError with the first rows that cannot be gold, and changes nothing then.
    """
    import pandas as pd

    _check(rows, pictures, task, source)
    rows = rows.drop_duplicates("image_id")
    others = there[~((there["task"] == task.task) & there["image_id"].isin(rows["image_id"]))]
    used = int(((others["task"] == task.task) & (others["use"] == "test")).sum()) + int((rows["use"] == "test").sum())
    open_rows = rows[rows["use"] == ""]
    labels = dict(zip(open_rows["image_id"], open_rows["label"], strict=True))
    test = set(spread(labels, task.keys, max(0, task.crowd.test_questions - used)))
    uses = [
        use or ("test" if image_id in test else "hidden")
        for image_id, use in zip(rows["image_id"], rows["use"], strict=True)
    ]
    new = GOLD.frame(
        {
            "image_id": row.image_id,
            "task": task.task,
            "label": row.label,
            "use": use,
            "explanation": row.explanation or None,
            "source": source,
        }
        for row, use in zip(rows.itertuples(), uses, strict=True)
    )
    return GOLD.check(pd.concat([others, new]).sort_values(["task", "image_id"], ignore_index=True))


def apart(gold: pd.DataFrame, clusters: pd.DataFrame) -> dict[str, list[str]]:
    """The pictures of each use (test, practice, hidden), no use holding a picture that another use shows too.

    Near twins are one picture here: who practiced on one knows the other. A cluster serves the test first, then practice,
    then hidden gold; what another use has taken is left out.
    """
    cluster = dict(zip(clusters["image_id"], clusters["cluster_id"], strict=True))
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for use in ("test", "practice", "hidden"):
        mine = [i for i in gold.loc[gold["use"] == use, "image_id"] if cluster.get(i, i) not in taken]
        found[use] = mine
        taken |= {cluster.get(i, i) for i in mine}
    return found


def spread(labels: Mapping[str, str], classes: Sequence[str], count: int) -> list[str]:
    """Up to `count` of the pictures, one of each class in turn, in the order they came: rare classes get their place too."""
    by_class = [[image_id for image_id, label in labels.items() if label == key] for key in classes]
    turns = [image_id for turn in zip_longest(*by_class) for image_id in turn if image_id is not None]
    return turns[:count]


def _check(rows: pd.DataFrame, pictures: pd.DataFrame, task: Task, source: str) -> None:
    """Raise a UserError with one line for each of the first five rows that cannot be gold."""
    if rows.empty:
        raise UserError(f"{source}: holds no rows")
    dropped = dict(zip(pictures["image_id"], pictures["dropped"], strict=True))
    seen: dict[str, tuple[str, str]] = {}
    faults = []
    for number, row in enumerate(rows.itertuples(), start=2):  # line 1 of a CSV is its head
        fault = _fault(row, dropped, seen, task)
        if fault:
            faults.append(f"{source}: line {number}: {fault}")
        seen.setdefault(str(row.image_id), (str(row.label), str(row.use)))
    if faults:
        more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise UserError("\n  ".join(faults[:5]) + more)


def _fault(row: object, dropped: Mapping[str, object], seen: Mapping[str, tuple[str, str]], task: Task) -> str | None:
    """What is wrong with one row, or None."""
    image_id, label, use = (str(getattr(row, name)) for name in ("image_id", "label", "use"))
    if image_id not in dropped:
        return (
            f"picture {_short(image_id)!r} is not in this workspace; an image_id is the sha256 of the picture's bytes"
        )
    if isinstance(dropped[image_id], str):
        return f"picture {_short(image_id)} was dropped: {dropped[image_id]}"
    if label not in task.keys:
        near = difflib.get_close_matches(label, task.keys, 1)
        hint = f"did you mean {near[0]}?" if near else f"its classes: {', '.join(task.keys)}"
        return f"label {label!r} is not a class of {task.task}; {hint}"
    if use and use not in USES:
        return f"use {use!r} is not allowed; it can be {', '.join(USES)}, or empty"
    if image_id in seen and seen[image_id] != (label, use):
        return f"picture {_short(image_id)} came before as {' '.join(filter(None, seen[image_id]))}; one picture has one answer and one use"
    return None


def _short(image_id: str) -> str:
    return image_id if len(image_id) <= 16 else image_id[:12] + "…"
