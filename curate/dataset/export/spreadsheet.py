"""CSV: one row a picture, flat, as pandas and a spreadsheet both read it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset.export.choose import Chosen
from curate.dataset.export.place import Exported, Facts, Place, export
from schemas.tables import MANIFEST

NAME = "pictures.csv"
# a spreadsheet runs a cell that begins so as a formula, and titles and ids come from other people's pages
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_csv(chosen: Chosen, out: Path, *, workers: bool = False) -> Exported:
    """Write `out/pictures.csv`: the manifest's columns, `class` (number in class order), `share_<class>`, no nested ones.

    UTF-8 with the mark by which Excel knows it. Missing is empty. With `workers` the votes are JSON in a column `votes`.
    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """

    def make(place: Place) -> Facts:
        rows = flat(chosen, workers)
        rows.to_csv(place.part / NAME, index=False, encoding="utf-8-sig", lineterminator="\r\n")
        return {"said": [f'read it: pandas.read_csv("{{out}}/{NAME}")']}

    return export(chosen, out, "csv", {"workers": workers}, make)


def flat(chosen: Chosen, workers: bool) -> pd.DataFrame:
    """The chosen rows without nested columns."""
    rows = chosen.rows
    names = [name for name in MANIFEST.names if name not in ("marketplaces", "label_probs", "votes", "dropped")]
    table = rows[names].copy()
    for name in table.select_dtypes(include=["str", "object"]):
        risky = table[name].fillna("").astype(str).str.startswith(FORMULA)
        table[name] = table[name].mask(risky, "'" + table[name].astype(object).fillna("").astype(str))
    numbers = {key: number for number, key in enumerate(chosen.classes)}
    table.insert(names.index("label") + 1, "class", rows["label"].map(numbers).astype("Int64"))
    table["marketplaces"] = [_joined(value) for value in rows["marketplaces"]]
    shares = [value if value is not None and len(value) == len(numbers) else None for value in rows["label_probs"]]
    for key, number in numbers.items():
        table[f"share_{key}"] = [None if value is None else round(float(value[number]), 6) for value in shares]
    if workers:
        table["votes"] = [_votes(value) for value in rows["votes"]]
    return table


def _joined(values: Iterable[str] | None) -> str | None:
    """Several names in one cell."""
    return None if values is None or isinstance(values, float) else "; ".join(values)


def _votes(votes: Any) -> str | None:
    return None if votes is None else json.dumps([dict(vote) for vote in votes], ensure_ascii=False)
