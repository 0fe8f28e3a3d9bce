"""The votes that count, as whole numbers: what every model of workers starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from curate.label.count import Block
from curate.label.rule import GOLD

BLOCK_CELLS = 1_000_000  # pictures times classes that are in hand at once
FLOAT64_CELLS = 2_000_000  # pictures times classes; above, single precision is enough and half as much


@dataclass(frozen=True)
class Coded:
    """One entry a vote, sorted by image; `image`, `worker` and `label` are places in lists of T, W and K things."""

    image: np.ndarray  # [V] int32
    worker: np.ndarray  # [V] int32
    label: np.ndarray  # [V] int32
    images: int  # T
    workers: int  # W
    classes: int  # K

    @property
    def votes(self) -> int:
        """V."""
        return len(self.image)

    def matrix(self) -> sparse.csr_matrix:
        """[T, W * K]: how often the worker gave that picture that label. float32 where the work is large."""
        kind = np.float32 if self.images * self.classes > FLOAT64_CELLS else np.float64
        ones = np.ones(self.votes, kind)
        columns = self.worker * np.int32(self.classes) + self.label
        return sparse.csr_matrix((ones, (self.image, columns)), (self.images, self.workers * self.classes))

    def counts(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """[stop - start, K]: votes for each class of the pictures from `start` to `stop`; all pictures when left out."""
        stop = self.images if stop is None else stop
        first, last = np.searchsorted(self.image, [start, stop])
        cells = (self.image[first:last].astype(np.int64) - start) * self.classes + self.label[first:last]
        return np.bincount(cells, minlength=(stop - start) * self.classes).reshape(stop - start, self.classes)


def blocks(matrix: sparse.csr_matrix, classes: int) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """The pictures in parts that are in hand at once, so that memory does not grow with them."""
    size = max(1, BLOCK_CELLS // max(1, classes))
    for start in range(0, matrix.shape[0], size):
        part = slice(start, min(start + size, matrix.shape[0]))
        yield part, matrix[part]


def coded(votes: pd.DataFrame, images: pd.Index, classes: Sequence[str]) -> tuple[Coded, pd.Index]:
    """The votes of a frame (image_id, worker_id, label), all of them counted; with the list of workers, sorted.

    `images` is the list of pictures; a vote on another picture or with a label that is no class is left out.
    """
    image = _places(votes["image_id"], images)
    label = _places(votes["label"], pd.Index(list(classes), dtype="str"))
    worker, workers = pd.factorize(votes["worker_id"], sort=True)
    rows = np.flatnonzero((image >= 0) & (label >= 0) & (worker >= 0))
    parts = _once(*(part[rows].astype(np.int32) for part in (image, worker, label)))
    return Coded(*parts, images=len(images), workers=len(workers), classes=len(classes)), pd.Index(workers)


def _once(image: np.ndarray, worker: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes sorted by picture, worker and label; each worker once a picture, and not at all where they said two things.

    The rule has seen to that already; gold may be met again.
    """
    if not len(image):
        return image, worker, label
    pair = image.astype(np.int64) * (int(worker.max()) + 1) + worker
    order = np.argsort(pair * (int(label.max()) + 1) + label)
    image, worker, label, pair = image[order], worker[order], label[order], pair[order]
    first = np.r_[True, pair[1:] != pair[:-1]]
    starts = np.flatnonzero(first)
    steady = np.minimum.reduceat(label, starts) == np.maximum.reduceat(label, starts)
    keep = starts[steady]
    return image[keep], worker[keep], label[keep]


def coded_blocks(
    parts: Iterable[Block], classes: Sequence[str], without: Sequence[str] = ()
) -> tuple[Coded, pd.Index, pa.Table]:
    """The votes of a stream of blocks that count or are on gold (audit of image_id, worker_id, label), the workers, the labels.

    No text of a vote is held longer than its block. `without` names columns of the labels that need not be held.
    """
    place: dict[str, int] = {}
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    labels = []
    keys = pa.array(list(classes), pa.string())
    done = 0
    for part in parts:
        why = part.audit["dropped"]
        used = part.audit.filter(pc.or_(pc.is_null(why), pc.fill_null(pc.equal(why, GOLD), False))).combine_chunks()
        image = pc.index_in(used["image_id"], part.labels["image_id"]).to_numpy() + done
        said = pc.index_in(used["label"], keys).to_numpy()
        who = pa.chunked_array([used["worker_id"]]) if isinstance(used["worker_id"], pa.Array) else used["worker_id"]
        who = who.combine_chunks().dictionary_encode()
        codes = np.array([place.setdefault(name, len(place)) for name in who.dictionary.to_pylist()], np.int32)
        columns.append((image.astype(np.int32), codes[who.indices.to_numpy()], said.astype(np.int32)))
        labels.append(part.labels.drop_columns(list(without)))
        done += part.labels.num_rows
    names = np.array(list(place), dtype=object)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    image, worker, label = (np.concatenate(column) for column in zip(*columns, strict=True))
    votes = Coded(*_once(image, rank[worker], label), images=done, workers=len(place), classes=len(classes))
    return votes, pd.Index(names[order]), pa.concat_tables(labels)


def _places(values: pd.Series, among: pd.Index) -> np.ndarray:
    """For each value its place in a list, -1 where it is missing or not there."""
    codes, unique = pd.factorize(values)
    return np.append(among.get_indexer(pd.Index(unique)), -1)[codes]
