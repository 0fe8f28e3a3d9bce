"""From a manifest to rows: which of them a run uses, where their pictures are, and in which order they come."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.pack import Pack, is_pack, open_pack
from schemas.storage import is_remote


@dataclass(frozen=True)
class Chosen:
    """The rows of a manifest that one run uses, each a frame with image_id, path, label."""

    classes: list[str]
    labeled: pd.DataFrame  # train rows within the label fraction
    pool: pd.DataFrame  # unlabeled rows, then train rows whose label the fraction leaves out (their label is hidden)
    val: pd.DataFrame
    test: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """Rows of each part."""
        parts = {"labeled": self.labeled, "unlabeled": self.pool, "val": self.val, "test": self.test}
        return {name: len(rows) for name, rows in parts.items()}

    def without(self, image_ids: Iterable[str]) -> Chosen:
        """The same choice without some pictures."""
        gone = set(image_ids)
        parts = (rows[~rows.image_id.isin(gone)] for rows in (self.labeled, self.pool, self.val, self.test))
        return Chosen(self.classes, *parts)


def choose(
    manifest: Manifest, label_fraction: float = 1.0, unlabeled: str | None = None, base: int | None = None
) -> Chosen:
    """The rows a run uses: `label_fraction` of the train labels by label_rank, the rest of them joins the unlabeled pool.

    Fractions nest: 25 % lies inside 50 %. `unlabeled` keeps a prefix of the pool in unlabeled_rank order, as a count
    ("2000") or a share ("50%"); it never counts the train rows that lost their label to the fraction. With `base` a share is
    one of that many pictures, so that "300%" means three times as many in every manifest.
    """
    if not 0 < label_fraction <= 1:
        raise UserError(f"--label-fraction must be above 0 and at most 1, got {label_fraction:g}")
    rows = manifest.rows[manifest.rows["dropped"].isna()]
    if rows["split"].isna().all():
        raise UserError(f"{manifest.path}: has no splits yet; run `curate split` first")
    of = {split: rows[rows["split"] == split] for split in ("train", "val", "test", "unlabeled")}
    for split in ("train", "val", "test"):
        if of[split].empty:
            raise UserError(
                f"{manifest.path}: no picture is in {split}; label more pictures, then `curate aggregate` and `curate split`"
            )
    train = of["train"].sort_values("label_rank", kind="stable")
    kept = train["label_rank"].fillna(0) < label_fraction
    pool = _prefix(of["unlabeled"].sort_values("unlabeled_rank", kind="stable"), unlabeled, base)
    hidden = train[~kept].assign(label=None)
    columns = ["image_id", "path", "label"]
    chosen = Chosen(
        manifest.classes,
        train[kept][columns],
        pd.concat([pool[columns].astype(object), hidden[columns].astype(object)]),
        of["val"][columns],
        of["test"][columns],
    )
    return _checked(chosen, manifest)


def _prefix(pool: pd.DataFrame, wanted: str | None, base: int | None) -> pd.DataFrame:
    """The first rows of the pool: all, a count, or a share written with %, of the whole pool or of `base` pictures."""
    if base is not None and not (wanted and wanted.endswith("%")):
        raise UserError(f"--unlabeled-base {base}: says what a share is a share of; add one, like --unlabeled 300%")
    if wanted is None:
        return pool
    try:
        number = float(wanted.removesuffix("%"))
        count = int((len(pool) if base is None else base) * number / 100) if wanted.endswith("%") else int(wanted)
    except (ValueError, OverflowError):
        raise UserError(f"--unlabeled {wanted}: write a count like 2000 or a share like 50%") from None
    if not 0 <= count <= len(pool):
        asked = f"is {count} pictures, " if wanted.endswith("%") else ""
        raise UserError(f"--unlabeled {wanted}: {asked}the manifest has {len(pool)} unlabeled pictures")
    return pool.head(count)


def _checked(chosen: Chosen, manifest: Manifest) -> Chosen:
    """The choice itself when a classifier can learn from it."""
    if chosen.labeled.empty:
        raise UserError(
            f"{manifest.path}: the label fraction leaves no labeled picture; choose a larger --label-fraction"
        )
    found = chosen.labeled["label"].unique()
    if len(found) < 2:
        raise UserError(f"{manifest.path}: all labeled pictures are {found[0]!r}; training needs two classes or more")
    missing = [name for name in chosen.classes if name not in set(found)]
    if missing:
        print(f"warning: no labeled train picture of {', '.join(missing)}: never predicted", file=sys.stderr)
    return chosen


def class_numbers(rows: pd.DataFrame, classes: Sequence[str]) -> torch.Tensor:
    """The labels of the rows as positions in the class list."""
    position = {name: index for index, name in enumerate(classes)}
    return torch.tensor([position[label] for label in rows["label"]], dtype=torch.long)


def picture_source(manifest: Manifest, asked: Path | None = None) -> Path | Pack:
    """Where a run reads its pictures: the pack or folder that is asked for, else the pack beside the manifest, else the files.

    Raises UserError for a pack that is unfinished or incomplete: `asked` names another one, or the folder of the originals.
    """
    if asked is not None and not asked.exists():
        raise UserError(
            f"--pictures {asked}: no such folder; name a pack, or the folder that the manifest's paths start from"
        )
    if asked is None:
        beside = manifest.path.parent
        return open_pack(beside) if is_pack(beside) else manifest.root
    return open_pack(asked) if asked.is_file() or is_pack(asked) else asked


def check_source(source: Path | Pack, manifest: Manifest, image_ids: Sequence[str], side_px: int) -> str:
    """What a person should know of the pictures, in a line. Raises UserError when a pack lacks some of them."""
    if not isinstance(source, Pack):
        remote = next((path for path in manifest.rows["path"] if is_remote(path)), None)
        return f"originals in {remote.rpartition('/blobs/')[0] or remote}" if remote else f"files under {source}"
    missing = source.missing(image_ids)
    other = source.sums.get(source.manifest.name) != hashlib.sha256(manifest.path.read_bytes()).hexdigest()
    if missing:
        why = " (it was made for another build of the manifest)" if other else ""
        raise UserError(
            f"{source.folder}: {len(missing)} of the {len(image_ids)} pictures that this run needs are not in the pack{why}; "
            "run `curate pack` again, or name the folder of the originals with --pictures DIR"
        )
    said = source.describe()
    if other:
        said += "; made for another build of the manifest, but it has every picture of this run"
    if side_px > source.format.side_px:
        said += f"; this run wants {side_px} px and enlarges them: `curate pack --side {side_px}` gives sharper ones"
    return said


class Shuffled:
    """Batches of row numbers without end: every row once before any comes again, a new order each time.

    Batch `step` is a function of the seed and the step alone, so a resumed run goes on exactly where it stopped. A set
    smaller than the batch gives the whole set.
    """

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self._seed = n, min(batch_size, n), seed
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> np.ndarray:
        """The row numbers of one batch."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.concatenate(
            [self._order(e)[places[places // self.n == e] % self.n] for e in np.unique(places // self.n)]
        )

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = np.random.default_rng((self._seed, epoch)).permutation(self.n)
        return self._orders[epoch]
