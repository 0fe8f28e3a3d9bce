"""A task in a few words, for the tests of selections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from curate.dataset.candidates import Rule, pool
from schemas.tables import (
    APPEARANCES,
    CLUSTERS,
    GOLD,
    HITS,
    LABELS,
    PICTURES,
    PREDICTIONS,
    SPLITS,
    VOTES,
)

CLASSES = ["dots", "plain", "stars"]
RULE = Rule(CLASSES)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def name(number: int) -> str:
    return f"{number:064x}"


def tables(count: int, **given: Any) -> dict[str, pd.DataFrame]:
    """All tables that a pool is made of: `count` pictures, each alone, nothing asked; replace any by name."""
    ids = [name(n) for n in range(count)]
    market = given.pop("market", lambda n: "north" if n % 3 else "south")
    made: dict[str, pd.DataFrame] = {
        "pictures": PICTURES.frame({"image_id": i, "blob": "b", "bytes": 1} for i in ids),
        "clusters": clusters(count),
        "appearances": APPEARANCES.frame(
            {
                "image_id": i,
                "marketplace": market(n),
                "listing_id": str(n),
                "position": 0,
                "first_seen_at": NOW,
            }
            for n, i in enumerate(ids)
        ),
        "labels": LABELS.empty(),
        "splits": SPLITS.empty(),
        "gold": GOLD.empty(),
        "hits": HITS.empty(),
        "votes": VOTES.empty(),
    }
    return made | given


def clusters(count: int, twins: dict[int, int] | None = None) -> pd.DataFrame:
    """Everybody alone, but for twins: {picture: its representative}."""
    of = {n: (twins or {}).get(n, n) for n in range(count)}
    return CLUSTERS.frame(
        {
            "image_id": name(n),
            "cluster_id": name(r),
            "representative": n == r,
            "kind": "single",
            "distance": 0,
        }
        for n, r in of.items()
    )


def labels(*said: tuple[int, str], source: str = "crowd") -> pd.DataFrame:
    """Labels as their votes made them: (picture, "dots dots plain")."""
    rows = []
    for number, words in said:
        votes = words.split()
        counts = [votes.count(key) for key in CLASSES]
        top, n = max(counts), len(votes)
        label = CLASSES[counts.index(top)] if top >= 2 and 2 * top > n else None
        why = None if label else "insufficient" if n < 3 else "no_agreement"
        share = [c / n for c in counts] if n else None
        row = {"image_id": name(number), "task": "apron", "label": label, "n_votes": n, "n_agree": top}
        rows.append(row | {"label_probs": share, "dropped": why, "source": source if label else None})
    return LABELS.frame(rows)


def hits(*asked: tuple[int, str], age: timedelta = WEEK * 2, want: int = 3, round_: int = 1) -> pd.DataFrame:
    """A HIT for each (picture, chosen_by), made so long ago."""
    return HITS.frame(
        {
            "hit_id": f"H{round_}-{number}", "image_id": name(number), "task": "apron", "position": 0, "round": round_,
            "chosen_by": why, "reward_usd": 0.1, "max_assignments": want, "endpoint": "e", "question_version": 1,
            "taxonomy_version": 1, "created_at": NOW - age,
        }
        for number, why in asked
    )  # fmt: skip


def votes(*said: tuple[int, str, str], round_: int = 1) -> pd.DataFrame:
    """(picture, worker, label): one assignment each."""
    return VOTES.frame(
        {
            "assignment_id": f"A{round_}-{number}-{worker}", "image_id": name(number), "task": "apron",
            "hit_id": f"H{round_}-{number}", "worker_id": worker, "round": round_, "endpoint": "e",
            "assignment_status": "Approved", "source": "crowd", "answer": label, "label": label, "submitted_at": NOW,
        }
        for number, worker, label in said
    )  # fmt: skip


def splits(**pictures: Sequence[int]) -> pd.DataFrame:
    """test=[1, 2], train=[3]: which pictures are where."""
    return SPLITS.frame(
        {
            "image_id": name(n),
            "task": "apron",
            "group_id": name(n),
            "split": split,
            "since": NOW,
            "seed": 0,
        }
        for split, numbers in pictures.items()
        for n in numbers
    )


def predictions(probs: dict[int, Sequence[float]], **columns: Any) -> pd.DataFrame:
    """What a model thinks of some pictures, in class order."""
    facts = {"task": "apron", "run": "probe", "manifest_id": "m1", "model_id": "x", "temperature": 1.0}
    return PREDICTIONS.frame(
        {
            "image_id": name(n),
            "predicted": CLASSES[int(np.argmax(p))],
            "probs": np.asarray(p, np.float32),
            **facts,
            **{key: value[n] if isinstance(value, dict) else value for key, value in columns.items()},
        }
        for n, p in probs.items()
    )


def random_probs(count: int, seed: int = 0) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return dict(enumerate(rng.dirichlet([0.5] * len(CLASSES), size=count)))


def candidates(made: dict[str, pd.DataFrame], pending: Sequence[int] = ()) -> pd.DataFrame:
    return pool(**made, lifetime_days=7, now=NOW, pending=[name(n) for n in pending])


def state(made: dict[str, pd.DataFrame], pending: Sequence[int] = ()) -> list[str]:
    return candidates(made, pending)["state"].tolist()
