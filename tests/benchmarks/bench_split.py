"""`curate split` with its manifest on a collection of real size, beside scikit-learn's StratifiedGroupKFold. Run: make bench

310,000 pictures in listings of one to six, near twins, one stock photo of 3,000 sellers; 30,000 labels in 26 classes, three
of them rare (0.5, 0.15 and 0.05 %); 90,000 votes. Prints CPU seconds by step, peak memory, and the test's counts per class.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.dataset.manifest import rebuild_manifest
from curate.dataset.split_tables import split_workspace
from curate.workspace import Config, Workspace, create_workspace
from schemas.manifest import read_manifest
from schemas.tables import APPEARANCES, CLUSTERS, LABELS, PICTURES, SPLITS, VOTES
from schemas.task import parse_task

CLASSES = [f"class{number:02d}" for number in range(26)]
RARE = (0.005, 0.0015, 0.0005)  # shares of the three rarest classes
NOON = pd.Timestamp("2026-11-22 12:00", tz="UTC")


def ids(rng: np.random.Generator, n: int) -> np.ndarray:
    """So many 64-character ids."""
    digits = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    return np.array([row.tobytes().hex() for row in digits], dtype=object)


def collection(root: Path, pictures: int, labeled: int, seed: int = 0) -> Workspace:
    """A workspace with every table that the split reads."""
    rng = np.random.default_rng(seed)
    shop = create_workspace(root / "shop", Config(name="bench", contact="bench@example.org"))
    names = {"classes": [{"key": key, "name": {"en": key}} for key in CLASSES]}
    task = parse_task({"task": "bench", "question": {"en": "Which?"}, **names}, "bench")
    (shop.root / "tasks" / "bench.yaml").write_text(task.dump(), encoding="utf-8")
    image = ids(rng, pictures)
    PICTURES.write(
        pd.DataFrame(
            {
                "image_id": image, "blob": "blobs/" + pd.Series(image).str[:2] + "/" + image + ".jpg", "bytes": 90_000,
                "width_px": 900, "height_px": 900, "dropped": pd.Series(np.where(rng.random(pictures) < 0.02, "too small", None), dtype="str"),
            }
        ),
        shop.table("pictures"),
    )  # fmt: skip
    twin = np.arange(pictures)  # 8 % look like the picture before
    again = np.flatnonzero(rng.random(pictures) < 0.08)[1:]
    twin[again] = twin[again - 1]
    CLUSTERS.write(
        pd.DataFrame(
            {"image_id": image, "cluster_id": image[twin], "representative": twin == np.arange(pictures),
             "kind": np.where(twin == np.arange(pictures), "single", "verified"), "distance": 0}
        ),
        shop.table("clusters"),
    )  # fmt: skip
    listing = np.cumsum(rng.random(pictures) < 0.4)
    shared = rng.integers(pictures, size=pictures // 50)  # shown by another listing too
    sellers = rng.choice(listing.max(), 3_000, replace=False)  # and one stock photo by 3,000
    which = np.concatenate([np.arange(pictures), shared, np.zeros(3_000, int)])
    where = np.concatenate([listing, rng.integers(listing.max(), size=len(shared)), sellers])
    seen = pd.DataFrame({"image_id": image[which], "n": where, "position": np.arange(len(which))})
    seen = seen.drop_duplicates(["image_id", "n"])
    APPEARANCES.write(
        seen.assign(
            marketplace="m" + (seen["n"] % 7).astype("str"),
            listing_id="L" + seen["n"].astype("str"),
            first_seen_at=NOON,
        ).drop(columns="n"),
        shop.table("appearances"),
    )
    shares = np.r_[np.full(23, (1 - sum(RARE)) / 23), RARE]
    asked = rng.choice(np.flatnonzero(twin == np.arange(pictures)), labeled, replace=False)
    label = np.array(CLASSES)[rng.choice(26, labeled, p=shares)]
    probs = pd.Series(list((np.array(CLASSES) == label[:, None]).astype(float)), dtype=object)
    LABELS.write(
        pd.DataFrame(
            {"image_id": image[asked], "task": "bench", "label": label, "source": "crowd", "n_votes": 3, "n_agree": 3,
             "label_probs": probs, "chosen_by": np.where(rng.random(labeled) < 0.9, "random", "uncertain")}
        ),
        shop.of_task("bench", "labels"),
        {"consenso.classes": json.dumps(CLASSES)},
    )  # fmt: skip
    voted = np.repeat(np.arange(labeled), 3)
    VOTES.write(
        pd.DataFrame(
            {"assignment_id": [f"a{n}" for n in range(len(voted))], "image_id": image[asked[voted]], "task": "bench",
             "hit_id": "h", "worker_id": [f"A{n}" for n in rng.integers(500, size=len(voted))], "round": 1,
             "endpoint": "e", "assignment_status": "Approved", "source": "crowd", "label": label[voted],
             "submitted_at": NOON}
        ),
        shop.of_task("bench", "votes"),
    )  # fmt: skip
    return shop


@contextlib.contextmanager
def timed(what: str, spent: dict[str, float]) -> Iterator[None]:
    """CPU seconds of a block, printed."""
    began = time.process_time()
    yield
    spent[what] = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<42} {spent[what]:7.1f} CPU s   peak {peak:.2f} GB", flush=True)


def theirs(cut: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Test counts per class of StratifiedGroupKFold on the same groups: its first fold of ten."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows = cut.merge(labels[["image_id", "label"]], on="image_id")
    rows = rows[rows["label"].notna() & (rows["split"] != "out")]
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    _, test = next(folds.split(rows, rows["label"], rows["group_id"]))
    return rows["label"].iloc[test].value_counts().reindex(CLASSES, fill_value=0)


def main() -> None:
    """Print time, memory and balance of both."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=310_000)
    options.add_argument("--labeled", type=int, default=30_000)
    asked = options.parse_args()
    pa.set_cpu_count(1)
    import sklearn.model_selection  # noqa: F401 (its import is not counted)

    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        shop = collection(Path(folder), asked.pictures, asked.labeled)
        task = shop.task()
        with timed("curate split: read and decide", spent):
            cut = split_workspace(shop, task).cut
            SPLITS.write(cut.rows, shop.of_task("bench", "splits"))
        with timed("curate split: the manifest", spent):
            built = rebuild_manifest(shop, task, "curate split")
        with timed("read_manifest", spent):
            read_manifest(built.path)
        with timed("curate split again, nothing new", spent), contextlib.redirect_stderr(io.StringIO()):
            split_workspace(shop, task)
        with timed("StratifiedGroupKFold, labeled rows only", spent):
            peer = theirs(cut.rows, LABELS.read(shop.of_task("bench", "labels")))
        print(f"{built.path.stat().st_size / 1e6:.1f} MB of manifest; {cut.groups.describe()}")
        print(f"whole curate split {sum(list(spent.values())[:2]):.1f} CPU s")
    table = pd.DataFrame({"labeled": cut.classes["labeled"], "ours": cut.classes["test"], "theirs": peer})
    print(table.iloc[[0, 1, 22, 23, 24, 25]].to_string())
    print(f"test pictures: ours {table['ours'].sum()}, theirs {table['theirs'].sum()}")


if __name__ == "__main__":
    sys.exit(main())
