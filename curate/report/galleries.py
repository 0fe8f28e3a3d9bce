"""Pictures to look at: examples of each class, clusters side by side, pictures that people did not agree about."""

from __future__ import annotations

import base64
import io
from collections import Counter
from typing import Any

from PIL import Image

from curate.report.gather import Collection
from curate.report.numbers import asked, counted
from schemas.picture import as_seen, open_picture
from schemas.question import say

THUMB_PX = 150


class Thumbs:
    """Small copies of pictures as data: addresses, so that the page needs nothing beside it; each is made once."""

    def __init__(self, data: Collection) -> None:
        self.workspace = data.workspace
        self.blobs = dict(zip(data.pictures["image_id"], data.pictures["blob"], strict=True))
        self.made: dict[str, str] = {}

    def __call__(self, image_id: str) -> str:
        """The picture's small copy, or an empty string where it cannot be opened."""
        if image_id not in self.made:
            self.made[image_id] = self._make(image_id)
        return self.made[image_id]

    def _make(self, image_id: str) -> str:
        if image_id not in self.blobs:
            return ""
        try:
            with open_picture(self.workspace.original(self.blobs[image_id])) as original:
                original.draft("RGB", (2 * THUMB_PX, 2 * THUMB_PX))
                seen = as_seen(original)
        except (OSError, ValueError, SyntaxError):
            return ""
        seen.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        seen.save(buffer, "WEBP", quality=70, method=4)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def examples(data: Collection, seed: int = 0, count: int = 8) -> list[dict[str, Any]]:
    """For each class its name, definition, count, and some of its pictures: those all voters agree on first."""
    labels = data.labels[data.labels["label"].notna()]
    if labels.empty:
        return []
    mixed = labels.sort_values("image_id").sample(frac=1, random_state=seed)
    mixed = mixed.assign(sure=mixed["n_agree"] / mixed["n_votes"].clip(lower=1)).sort_values(
        "sure", ascending=False, kind="stable"
    )
    found = []
    for one in data.task.classes:
        own = mixed[mixed["label"] == one.key]
        found.append(
            {
                "key": one.key,
                "name": say(one.name, "en"),
                "definition": say(one.definition, "en"),
                "count": len(own),
                "pictures": list(own["image_id"].head(count)),
            }
        )
    return found


def newest_pictures(data: Collection, seed: int = 0, count: int = 24) -> list[str]:
    """Some kept pictures, for a workspace that has no labels yet."""
    kept = data.pictures[data.pictures["dropped"].isna()].sort_values("image_id")
    return list(kept.sample(min(count, len(kept)), random_state=seed)["image_id"])


def clusters(data: Collection, count: int = 12, members: int = 5) -> list[dict[str, Any]]:
    """The largest clusters of near twins, the representative first, each picture with its distance and marketplaces."""
    sizes = data.clusters["cluster_id"].value_counts()
    chosen = sizes[sizes > 1].sort_index().sort_values(ascending=False, kind="stable").head(count)
    where = data.appearances.groupby("image_id")["marketplace"].unique()
    found = []
    for cluster_id, size in chosen.items():
        own = data.clusters[data.clusters["cluster_id"] == cluster_id].sort_values(
            ["representative", "distance", "image_id"], ascending=[False, True, True]
        )
        pictures = [
            {
                "image_id": row.image_id,
                "kind": "asked about" if row.representative else f"{row.distance} bits",
                "markets": ", ".join(sorted(where.get(row.image_id, []))),
            }
            for row in own.head(members).itertuples()
        ]
        found.append({"size": int(size), "more": max(0, int(size) - members), "pictures": pictures})
    return found


def disagreements(data: Collection, count: int = 24) -> list[dict[str, Any]]:
    """Pictures whose votes differ: those without a label first, then wrong labels (where truth is known), then the rest."""
    votes = counted(data)
    truth = dict(zip(data.truth["image_id"], data.truth["label"], strict=True))
    by_picture = votes.groupby("image_id")["label"].apply(list)
    rows = []
    labels = asked(data)
    for image_id, label in zip(labels["image_id"], labels["label"].astype(object), strict=True):
        label = label if isinstance(label, str) else None  # pandas has NaN where a label is missing
        said = by_picture.get(image_id, [])
        known = truth.get(image_id)
        wrong = label is not None and known is not None and label != known
        if len(set(said)) < 2 and not wrong:
            continue
        rank = 0 if label is None else 1 if wrong else 2
        tally = Counter(said).most_common()
        rows.append(
            {"image_id": image_id, "label": label, "votes": tally, "truth": known, "wrong": wrong, "rank": rank}
        )
    rows.sort(key=lambda line: (line["rank"], str(line["image_id"])))
    return _of_each_rank(rows, count)


def _of_each_rank(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` rows, a third of each rank as far as there are."""
    ranks = [[row for row in rows if row["rank"] == rank] for rank in range(3)]
    taken = [group[: count // 3] for group in ranks]
    free = count - sum(map(len, taken))
    for i, group in enumerate(ranks):
        more = group[len(taken[i]) : len(taken[i]) + free]
        taken[i] = taken[i] + more
        free -= len(more)
    return [row for group in taken for row in group]
