"""Small collections for tests: pictures with labels, listings, clusters, written in one line each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from curate.dataset.split import Cut, split
from schemas.tables import APPEARANCES, CLUSTERS, LABELS, PICTURES, SPLITS
from schemas.task import Split

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLES = int(os.environ.get("CONSENSO_EXAMPLES", "15"))  # of each property; a nightly run may ask for hundreds
CLASSES = ["checks", "dots", "plain"]


def image(n: int) -> str:
    """The image_id of the n-th picture."""
    return hashlib.sha256(f"picture {n}".encode()).hexdigest()


@dataclass
class Picture:
    """One picture of a world; a listing or cluster of None is its own."""

    label: str | None = "dots"
    listings: tuple[object, ...] = ()
    cluster: object = None
    chosen_by: str | None = "random"
    dropped: bool = False


@dataclass
class World:
    """Pictures by number, as the tables that `split` reads."""

    pictures: dict[int, Picture] = field(default_factory=dict)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """PICTURES, LABELS, CLUSTERS, APPEARANCES."""
        some = self.pictures.items()
        pictures = [
            {"image_id": image(n), "blob": f"blobs/{n}.jpg", "bytes": 1, "dropped": "too small" if p.dropped else None}
            for n, p in some
        ]
        labels = [
            {"image_id": image(n), "task": "t", "label": p.label, "source": "crowd", "n_votes": 3, "n_agree": 3,
             "chosen_by": p.chosen_by, "dropped": None if p.label else "no_agreement"}
            for n, p in some
        ]  # fmt: skip
        clusters = [
            {"image_id": image(n), "cluster_id": f"c{n if p.cluster is None else p.cluster}", "representative": True,
             "kind": "single", "distance": 0}
            for n, p in some
        ]  # fmt: skip
        appearances = [
            {"image_id": image(n), "marketplace": "m", "listing_id": str(listing), "position": n, "first_seen_at": NOON}
            for n, p in some
            for listing in p.listings
        ]
        return PICTURES.frame(pictures), LABELS.frame(labels), CLUSTERS.frame(clusters), APPEARANCES.frame(appearances)

    def split(
        self,
        before: pd.DataFrame | None = None,
        classes: list[str] = CLASSES,
        gold: Collection[str] = (),
        seed: int | None = None,
        fixed: Mapping[str, str] | None = None,
        **policy: Any,
    ) -> Cut:
        """The split of this world."""
        pictures, labels, clusters, appearances = self.tables()
        return split(
            pictures, labels, clusters, appearances, SPLITS.empty() if before is None else before,
            policy=Split(**policy), classes=classes, task="t", now=NOON, gold=gold, seed=seed, fixed=fixed,
        )  # fmt: skip

    def more(self, other: World) -> World:
        """This world with the pictures of another one added."""
        start = max(self.pictures, default=-1) + 1
        return World({**self.pictures, **{start + n: picture for n, picture in other.pictures.items()}})


def of_sizes(**sizes: int) -> World:
    """So many single pictures per class: `of_sizes(dots=20, plain=5)`."""
    labels = [label for label, n in sizes.items() for _ in range(n)]
    return World(dict(enumerate(Picture(label) for label in labels)))


_picture = st.builds(
    Picture,
    label=st.sampled_from([*CLASSES, *CLASSES, None]),
    listings=st.lists(st.integers(0, 25), max_size=2, unique=True).map(tuple),
    cluster=st.one_of(st.none(), st.none(), st.integers(0, 15)),
    chosen_by=st.sampled_from(["random", "random", "random", "uncertain"]),
    dropped=st.sampled_from([False] * 9 + [True]),
)
worlds = st.lists(_picture, min_size=1, max_size=40).map(lambda some: World(dict(enumerate(some))))
singles = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=80).map(
    lambda labels: World({n: Picture(label) for n, label in enumerate(labels)})
)
policies = st.fixed_dictionaries(
    {
        "test": st.sampled_from([0.0, 0.1, 0.3]),
        "val": st.sampled_from([0.0, 0.1, 0.3]),
        "balance": st.sampled_from(["capped", "strict", "natural"]),
        "max_test_share": st.sampled_from([0.1, 0.3, 0.5]),
    }
)
