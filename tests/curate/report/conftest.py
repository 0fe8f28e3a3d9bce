"""A small shop by hand: twelve pictures on two marketplaces, three workers, two classes worth of votes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from curate.workspace import Workspace
from schemas.files import write_bytes
from schemas.manifest import write_manifest
from schemas.tables import (
    APPEARANCES,
    CLUSTERS,
    GOLD,
    HITS,
    LABELS,
    LISTINGS,
    MANIFEST,
    PICTURES,
    PREDICTIONS,
    TRUTH,
    VOTES,
)  # fmt: skip

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CLASSES = ["plain", "stripes", "checks", "dots", "floral", "zigzag", "stars", "hearts", "other"]


def color(number: int) -> bytes:
    """A small JPEG of one color."""
    buffer = io.BytesIO()
    Image.new("RGB", (90, 70), (number * 20 % 256, 90, 200 - number * 10)).save(buffer, "JPEG")
    return buffer.getvalue()


def image_id(number: int) -> str:
    return hashlib.sha256(color(number)).hexdigest()


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """Pictures 0 to 11 are in; 1 is a twin of 0, 11 is broken, 10 is gold; 2 to 9 were asked about."""
    pictures, appearances, listings = [], [], []
    for i in range(12):
        blob = f"blobs/{image_id(i)[:2]}/{image_id(i)}.jpg"
        write_bytes(workspace.root / blob, color(i) if i != 11 else b"\xff\xd8 cut")
        pictures.append({"image_id": image_id(i), "blob": blob, "bytes": 900, "format": "JPEG", "width_px": 90, "height_px": 70,
                         "dropped": "broken: truncated" if i == 11 else None})  # fmt: skip
        market = "Feira" if i % 2 else "Tianguis <b>"
        listings.append({"marketplace": market, "listing_id": str(i), "title": "x", "price": 10.0 + i, "currency": "BRL",
                         "language": "pt", "source": "json-ld", "first_seen_at": NOW, "fetched_at": NOW})  # fmt: skip
        appearances.append(
            {"image_id": image_id(i), "marketplace": market, "listing_id": str(i), "position": 0, "first_seen_at": NOW}
        )
    LISTINGS.write(LISTINGS.frame(listings), workspace.table("listings"))
    PICTURES.write(PICTURES.frame(pictures), workspace.table("pictures"))
    APPEARANCES.write(APPEARANCES.frame(appearances), workspace.table("appearances"))
    clusters = [
        {"image_id": image_id(i), "cluster_id": image_id(0 if i == 1 else i), "representative": i != 1,
         "kind": "verified" if i == 1 else "single", "distance": 2 if i == 1 else 0}
        for i in range(11)
    ]  # fmt: skip
    CLUSTERS.write(CLUSTERS.frame(clusters), workspace.table("clusters"))
    return workspace


@pytest.fixture
def labeled(shop: Workspace) -> Workspace:
    """The shop after three people answered: 2 to 7 agree, 8 is two against one, 9 has three opinions."""
    answers = {i: ["dots"] * 3 for i in range(2, 8)} | {
        8: ["plain", "plain", "dots"],
        9: ["plain", "dots", "stars"],
        10: ["stars"] * 3,
    }
    votes, hits, labels = [], [], []
    for i, said in answers.items():
        gold = i == 10
        hits.append({"hit_id": "H1", "image_id": image_id(i), "task": "apron", "position": i, "round": 1,
                     "chosen_by": "gold" if gold else "random", "reward_usd": 0.1, "max_assignments": 3, "endpoint": "http://x",
                     "question_version": 1, "taxonomy_version": 1, "created_at": NOW})  # fmt: skip
        for worker, label in enumerate(said):
            votes.append({"assignment_id": f"S{worker}", "image_id": image_id(i), "task": "apron", "hit_id": "H1",
                          "worker_id": f"ASIMSECRET{worker}", "round": 1, "endpoint": "http://x", "assignment_status": "Approved",
                          "source": "simulated", "answer": label, "label": label, "submitted_at": NOW + timedelta(minutes=worker),
                          "seconds": 2.5, "dropped": "gold" if gold else None})  # fmt: skip
        if not gold:
            best = max(set(said), key=said.count)
            agreed = said.count(best) >= 2
            labels.append({"image_id": image_id(i), "task": "apron", "label": best if agreed else None, "n_votes": 3,
                           "n_agree": said.count(best), "dropped": None if agreed else "no_agreement"})  # fmt: skip
    HITS.write(HITS.frame(hits), shop.of_task("apron", "hits"))
    VOTES.write(VOTES.frame(votes), shop.of_task("apron", "votes"))
    LABELS.write(LABELS.frame(labels), shop.of_task("apron", "labels"))
    gold = [{"image_id": image_id(10), "task": "apron", "label": "stars", "use": "hidden", "source": "expert"}]
    GOLD.write(GOLD.frame(gold), shop.of_task("apron", "gold"))
    truth = [{"image_id": image_id(i), "task": "apron", "label": "dots", "source": "drawn"} for i in range(11)]
    TRUTH.write(TRUTH.frame(truth), shop.of_task("apron", "truth"))
    rows = [
        {"image_id": image_id(i), "path": f"blobs/{image_id(i)[:2]}/{image_id(i)}.jpg", "label": "plain" if i == 8 else "dots",
         "split": "test" if i > 4 else "train"}
        for i in range(2, 9)
    ]  # fmt: skip
    write_manifest(MANIFEST.frame(rows), [shop.manifest("apron")], task="apron", classes=CLASSES)
    return shop


Predict = Callable[..., Path]


@pytest.fixture
def predict(tmp_path: Path) -> Predict:
    """Writes a predictions file: how many of n test pictures are right, by which method."""
    import json

    def write(
        method: str,
        right: int,
        n: int,
        *,
        fraction: float = 1.0,
        manifest_id: str = "m1",
        classes: Sequence[str] = CLASSES,
        **changes: object,
    ) -> Path:
        rows = []
        for i in range(n):
            label, said = "dots", "dots" if i < right else "plain"
            probs = [0.02] * len(classes)
            probs[list(classes).index(said)] = 1 - 0.02 * (len(classes) - 1)
            row = {"image_id": image_id(i), "run": method, "task": "apron", "manifest_id": manifest_id, "model_id": "w", "split": "test",
                   "label": label, "predicted": said, "probs": probs, "temperature": 1.0}  # fmt: skip
            rows.append(row | changes)
        path = tmp_path / f"{method}-{fraction}-{right}" / "predictions.parquet"
        record = {"method": method, "label_fraction": fraction, "seed": 0, "counts": {"labeled": 7, "unlabeled": 3},
                  "model": {"name": "tiny", "weights": "random"}, "wall_seconds": 90}  # fmt: skip
        meta = {"consenso.classes": json.dumps(list(classes)), "consenso.run": json.dumps(record)}
        return PREDICTIONS.write(PREDICTIONS.frame(rows), path, meta)

    return write
