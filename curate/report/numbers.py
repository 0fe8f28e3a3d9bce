"""The counts of a report: what came in, what was left out and why, what people said, how the data set is cut.

Every share stands beside the count it is a share of.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from curate.report.gather import Collection
from curate.savings import saved
from schemas.interval import wilson
from schemas.tables import SPLIT_NAMES

NO_LABEL = "no label"
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Tile:
    """One headline number."""

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One step of the way from listings to a data set: how many are left, and why the others are not."""

    name: str
    count: int
    note: str = ""
    left_out: list[tuple[str, int]] = field(default_factory=list)  # reason, rows
    of: int = 0  # what a full bar stands for; 0 = no bar


def percent(share: float, digits: int = 0) -> str:
    """A share as people read it."""
    return f"{100 * share:.{digits}f}{NBSP}%"


def share(right: int, n: int) -> str:
    """A share with its interval: 93.2 % (91.0–94.9)."""
    if n == 0:
        return "–"
    low, high = wilson(right, n)
    return f"{100 * right / n:.1f}{NBSP}% ({100 * low:.1f}–{100 * high:.1f})"


def reasons(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Why rows do not count, most frequent first; details after a colon or in brackets, and ids, are left out."""
    short = frame["dropped"].dropna().str.replace(r"[:(].*|( as)? [0-9a-f]{16,}.*", "", regex=True)
    return [(str(reason), int(n)) for reason, n in short.str.replace("_", " ").str.strip().value_counts().items()]


def asked(data: Collection) -> pd.DataFrame:
    """The labels of pictures that people were asked about; gold is known already."""
    return data.labels[~data.labels["image_id"].isin(data.gold["image_id"])]


def counted(data: Collection) -> pd.DataFrame:
    """The votes that made labels."""
    return data.votes[data.votes["dropped"].isna()]


def tiles(data: Collection) -> list[Tile]:
    """Headline numbers, only of what is there."""
    kept = int(data.pictures["dropped"].isna().sum())
    found = [
        Tile(f"{len(data.listings):,}", "listings", f"on {data.listings['marketplace'].nunique()} marketplaces"),
        Tile(f"{kept:,}", "pictures kept", f"of {len(data.pictures):,}"),
    ]
    if len(data.clusters):
        twins = int((~data.clusters["representative"]).sum())
        found.append(Tile(f"{data.clusters['cluster_id'].nunique():,}", "clusters", f"{twins:,} near twins"))
    if len(data.hits):
        asked_about = data.hits[data.hits["chosen_by"] != "gold"]["image_id"].nunique()
        found.append(Tile(f"{data.hits['hit_id'].nunique():,}", "HITs", f"asking about {asked_about:,} pictures"))
    if len(data.votes):
        found.append(Tile(f"{len(data.votes):,}", "votes", f"from {data.votes['worker_id'].nunique()} workers"))
    labels = asked(data)
    if len(labels):
        done = labels[labels["label"].notna()]
        found.append(Tile(percent(len(done) / len(labels)), "labeled", f"{len(done):,} of {len(labels):,} asked"))
        agreed = int((done["n_votes"] == done["n_agree"]).sum())
        if len(done):
            found.append(Tile(percent(agreed / len(done)), "unanimous", f"of {len(done):,} labels"))
    right, n = label_accuracy(data)
    if n:
        found.append(Tile(percent(right / n, 1), "labels right", f"{right:,} of {n:,} with known truth"))
    if data.money:
        spent = sum(data.money.get(kind, 0) for kind in ("earned", "bonus", "fee"))
        found.append(Tile(f"${spent:,.2f}", "spent", f"of ${data.task.crowd.budget_usd:,.2f}"))
    return found


def funnel(data: Collection) -> list[Step]:
    """The way of the data, each step with what it left out and why."""
    total = len(data.pictures)
    kept = data.pictures[data.pictures["dropped"].isna()]
    steps = [Step("Listings", len(data.listings), _markets(data), reasons(data.listings))]
    if len(data.failures):
        steps.append(Step("Addresses that failed", len(data.failures), "", reasons(data.failures)))
    steps.append(
        Step("Pictures", total, f"different files, shown {data.appearances['dropped'].isna().sum():,} times", of=total)
    )
    steps.append(Step("Kept", len(kept), "they open, are large enough, and are no copy", reasons(data.pictures), total))
    if len(data.clusters):
        shown = data.clusters[data.clusters["representative"]]
        twins = len(data.clusters) - len(shown)
        left_out = [("near twins of another", twins)] if twins else []
        steps.append(Step("One of each cluster", len(shown), "people are asked about these", left_out, total))
    labels = asked(data)
    if len(data.hits):
        pictures = data.hits[data.hits["chosen_by"] != "gold"]["image_id"].nunique()
        steps.append(Step("Asked about", pictures, f"in {data.hits['hit_id'].nunique():,} HITs", of=total))
    if len(data.votes):
        votes = counted(data)
        steps.append(Step("Votes that count", len(votes), f"of {len(data.votes):,}", reasons(data.votes)))
    if len(labels):
        done = int(labels["label"].notna().sum())
        rule = f"{data.task.crowd.agree} of {data.task.crowd.assignments.first} agree"
        steps.append(Step("Labeled", done, rule, reasons(labels[labels["label"].isna()]), total))
    if len(data.hits) and (less := saved(data.hits, data.task)):
        steps.append(Step("Answers saved", less.answers, less.line()))
    rows = data.manifest.rows if data.manifest is not None else None
    if rows is not None and rows["split"].notna().any():
        out = rows[rows["split"] == "out"]["split_reason"].value_counts()
        used = int(rows["split"].isin(["train", "val", "test"]).sum())
        left_out = [(str(reason), int(n)) for reason, n in out.items()]
        steps.append(Step("In train, val or test", used, "groups never cross", left_out, total))
    return steps


def _markets(data: Collection) -> str:
    counts = data.listings["marketplace"].value_counts()
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def markets(data: Collection) -> list[dict[str, Any]]:
    """Listings and pictures by marketplace; a picture that several show counts in each."""
    found = []
    for name, listings in data.listings.groupby("marketplace"):
        pictures = data.appearances[data.appearances["marketplace"] == name]
        first = listings.iloc[0]
        prices = listings["price"].dropna()
        currency = first["currency"] if isinstance(first["currency"], str) else ""
        price = f"{currency} {prices.median():,.0f}" if len(prices) else "–"
        language = ", ".join(sorted(listings["language"].dropna().unique())) or "–"
        found.append(
            {"name": name, "listings": len(listings), "pictures": pictures["image_id"].nunique(), "language": language, "price": price}
        )  # fmt: skip
    return found


def splits(data: Collection) -> dict[str, Any] | None:
    """Pictures by class and split, with totals; None before the first split."""
    if data.manifest is None or data.manifest.rows["split"].isna().all():
        return None
    rows = data.manifest.rows
    columns = [name for name in SPLIT_NAMES if (rows["split"] == name).any()]
    counts = rows.groupby([rows["label"].fillna(NO_LABEL), "split"]).size().to_dict()
    keys = data.classes + [NO_LABEL] * bool(rows["label"].isna().any())
    lines = [(key, [int(counts.get((key, column), 0)) for column in columns]) for key in keys]
    totals = [sum(values[i] for _, values in lines) for i in range(len(columns))]
    info = data.manifest.info
    return {
        "columns": columns, "rows": lines, "totals": totals, "manifest_id": data.manifest.manifest_id,
        "notes": [*_versions(info.get("versions", {})), *_not_random(info.get("counts", {}).get("not_random_in", {}))],
    }  # fmt: skip


def _versions(versions: dict[str, dict[str, int]]) -> list[str]:
    """A line for val and test where their pictures or labels changed after they were first decided."""
    lines = []
    for name, version in versions.items():
        changes = ", ".join(f"{n:,} {what}" for what, n in version.items() if what not in ("version", "pictures") and n)
        if version.get("version", 0) > 1:
            lines.append(
                f"{name} is version {version['version']}" + (f" ({changes} since the version before)" if changes else "")
                + ": figures compare within one version only."
            )  # fmt: skip
    return lines


def _not_random(filled: dict[str, int]) -> list[str]:
    """A line where short classes were filled with pictures that were not chosen at random."""
    if not filled:
        return []
    named = ", ".join(f"{where} {n:,}" for where, n in filled.items())
    return [
        f"Filled with pictures that were not chosen at random, on request: {named}. Their figures are not honest estimates."
    ]


def label_accuracy(data: Collection) -> tuple[int, int]:
    """How many labels that people made are right, of those whose truth is known."""
    both = _with_truth(data)
    return int((both["label"] == both["truth"]).sum()), len(both)


def _with_truth(data: Collection) -> pd.DataFrame:
    labels = asked(data)
    labels = labels[labels["label"].notna()]
    return labels.merge(data.truth[["image_id", "label"]].rename(columns={"label": "truth"}), on="image_id")


def people_confusion(data: Collection) -> dict[str, Any] | None:
    """What was drawn against what people said, as a confusion matrix; None where no truth is known."""
    both = _with_truth(data)
    if both.empty:
        return None
    right, n = label_accuracy(data)
    return {
        "matrix": confusion(both["truth"], both["label"], data.classes),
        "right": right,
        "n": n,
        "share": share(right, n),
    }


def confusion(truth: pd.Series, said: pd.Series, classes: list[str]) -> list[dict[str, Any]]:
    """Rows of a confusion matrix: the class, its count, and each cell with its share of the row."""
    counts = Counter(zip(truth, said, strict=True))
    found = []
    for key in classes:
        n = sum(counts[key, other] for other in classes)
        cells = [{"n": counts[key, c], "share": counts[key, c] / n if n else 0.0, "own": c == key} for c in classes]
        found.append({"label": key, "n": n, "cells": cells})
    return found


def workers(data: Collection) -> list[dict[str, Any]]:
    """One line a worker, under a pseudonym: votes, agreement with the labels, right answers on gold, pace, what looks wrong.

    Busiest first; where `curate workers` found something to look at, those with most of it before.
    """
    if data.votes.empty:
        return []
    votes = data.votes.merge(
        data.labels[["image_id", "label"]].rename(columns={"label": "agreed"}), how="left", on="image_id"
    )
    votes = votes.merge(data.gold[["image_id", "label"]].rename(columns={"label": "known"}), how="left", on="image_id")
    found: list[dict[str, Any]] = []
    records = {row["worker_id"]: row for row in data.workers.to_dict("records")}
    excluded = set(data.exclusions["worker_id"])
    for worker, own in votes.groupby("worker_id"):
        plain = own[own["dropped"].isna() & own["agreed"].notna()]
        gold = own[own["known"].notna() & own["label"].notna()]
        found.append(
            {
                "worker": str(worker),
                "votes": len(own),
                "agree": int((plain["label"] == plain["agreed"]).sum()),
                "agree_n": len(plain),
                "gold": int((gold["label"] == gold["known"]).sum()),
                "gold_n": len(gold),
                "seconds": float(own["seconds"].median()) if own["seconds"].notna().any() else None,
                "score": records.get(worker, {}).get("spammer_score"),
                "flags": list(records.get(worker, {}).get("flags", [])),
                "excluded": worker in excluded,
            }
        )
    found.sort(key=lambda line: (-line["votes"], line["worker"]))
    for number, line in enumerate(found, 1):  # the real id stays in VOTES
        line["worker"] = f"worker {number}"
    found.sort(key=lambda line: -len(line["flags"]))
    return found
