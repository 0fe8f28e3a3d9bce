"""How far people agree, and which classes they take for one another, as `curate agreement` counted it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from curate.report.gather import Collection
from curate.report.numbers import counted, percent


def agreement(data: Collection) -> dict[str, Any] | None:
    """Alpha and kappa overall, by class (the least agreed first) and by marketplace; None before `curate agreement`."""
    table = data.agreement
    if table.empty or table["alpha"].isna().all():
        return None
    known = table[table["alpha"].notna()]
    classes = known[known["scope"] == "class"].sort_values(["alpha", "name"])
    return {
        "all": _line(known[known["scope"] == "overall"].iloc[0]),
        "scopes": [("By class", [_line(row) for _, row in classes.iterrows()]),
                   ("By marketplace", [_line(row) for _, row in known[known["scope"] == "marketplace"].iterrows()])],
        "old": _votes_now(data) != int(known.loc[known["scope"] == "overall", "n_votes"].iloc[0]),
    }  # fmt: skip


def _line(row: pd.Series) -> dict[str, Any]:
    alpha = float(row["alpha"])
    return {
        "name": str(row["name"]), "images": int(row["n_images"]), "votes": int(row["n_votes"]), "alpha": f"{alpha:.2f}",
        "kappa": f"{row['kappa']:.2f}", "equal": percent(row["agreement"]), "bar": max(0.0, alpha),
        "low": alpha < 0.667,  # Krippendorff: below this draw no conclusions
    }  # fmt: skip


def _votes_now(data: Collection) -> int:
    """Votes that count on pictures with two or more of them: what AGREEMENT was counted from, if it is not older."""
    per_picture = counted(data).dropna(subset=["label"]).groupby("image_id").size()
    return int(per_picture[per_picture >= 2].sum())


def confused_pairs(data: Collection, most: int = 6, pictures: int = 4) -> list[dict[str, Any]]:
    """The pairs of classes that people confuse most, each with a few pictures where some said one and some the other.

    A pair seen on one picture is a slip rather than a likeness and is left out.
    """
    said = counted(data).groupby("image_id")["label"].agg(set)
    found = []
    for row in data.confusions[data.confusions["n_images"] >= 2].head(most).to_dict("records"):
        pair = {row["class_a"], row["class_b"]}
        shown = sorted(str(image_id) for image_id in said.index[[pair <= labels for labels in said]])
        found.append(
            {"a": row["class_a"], "b": row["class_b"], "n": int(row["n_images"]), "share_a": percent(row["share_a"]),
             "share_b": percent(row["share_b"]), "pictures": shown[:pictures]}
        )  # fmt: skip
    return found
