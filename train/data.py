"""From a manifest to batches: which rows a run uses, and their pictures decoded once into memory."""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import torch
from PIL import Image, UnidentifiedImageError

from schemas.engine import cores
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.pack import Pack, is_pack, open_pack
from schemas.picture import as_seen, open_picture, reuse_memory
from schemas.progress import progress
from schemas.storage import is_remote, place_of, threads_for
from train.augment import Batch

AHEAD = 256  # pictures being decoded or waiting for their turn
MEMORY_LIMIT = 8 * 2**30  # bytes of decoded pictures kept in memory; more goes to a scratch file that the system pages


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


class Pictures:
    """Pictures decoded once, upright, RGB, short side `side_px`, aspect kept; any batch of them is a copy away."""

    def __init__(self, pixels: np.ndarray, starts: np.ndarray, sizes: np.ndarray, index: dict[str, int]) -> None:
        self._pixels, self._starts, self._sizes, self._index = pixels, starts, sizes, index

    def __len__(self) -> int:
        return len(self._sizes)

    def positions(self, image_ids: Iterable[str]) -> np.ndarray:
        """Where pictures stand in here."""
        return np.array([self._index[image_id] for image_id in image_ids], dtype=np.int64)

    def batch(self, positions: np.ndarray) -> Batch:
        """The pictures at these positions in one padded block."""
        sizes = self._sizes[positions]
        height, width = sizes.max(axis=0)
        block = np.zeros((len(positions), height, width, 3), dtype=np.uint8)
        for row, (position, (h, w)) in enumerate(zip(positions, sizes, strict=True)):
            start = self._starts[position]
            block[row, :h, :w] = self._pixels[start : start + h * w * 3].reshape(h, w, 3)
        return Batch(torch.from_numpy(block).permute(0, 3, 1, 2), torch.from_numpy(sizes.astype(np.int64)))


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


def load_pictures(rows: pd.DataFrame, source: Path | Pack, side_px: int) -> tuple[Pictures, dict[str, str]]:
    """The pictures of the rows, and why some could not be read (image_id to reason): they are skipped, never fatal.

    `source` is a pack, or the folder that the rows' paths start from.

    Raises UserError when half of them or more are unreadable: then the folder is wrong, not the pictures.
    """
    paths = dict(zip(rows["image_id"], rows["path"], strict=True))
    failed: dict[str, str] = {}
    index: dict[str, int] = {}
    sizes: list[tuple[int, int]] = []
    store = _Store()
    bar = progress(len(paths), "reading pictures", " pictures")
    reuse_memory()
    with ThreadPoolExecutor(max(cores(), threads_for(paths.values()))) as pool:
        for image_id, result in _in_order(pool, _raw(paths, source), side_px):
            bar.update()
            if isinstance(result, str):
                failed[image_id] = result
                continue
            index[image_id] = len(sizes)
            sizes.append((result.shape[0], result.shape[1]))
            store.add(result)
    bar.close()
    if failed:
        first = next(iter(failed))
        if 2 * len(failed) >= len(paths):
            where = f"{first[:12]}… of {source.folder}" if isinstance(source, Pack) else place_of(source, paths[first])
            raise UserError(
                f"{len(failed)} of {len(paths)} pictures cannot be read, the first is {where} ({failed[first]}). "
                "Where are they? Name the folder that the manifest's paths start from, or a pack, with --pictures DIR"
            )
        print(f"warning: {len(failed)} pictures cannot be read and are skipped; run.json lists them", file=sys.stderr)
    size_array = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    lengths = size_array.prod(axis=1) * 3
    return Pictures(store.pixels(), np.cumsum(lengths) - lengths, size_array, index), failed


def _raw(paths: Mapping[str, str], source: Path | Pack) -> Iterator[tuple[str, Path | bytes | str | _Missing]]:
    """Each picture as a place or as bytes, or why it is not there."""
    if isinstance(source, Pack):
        for image_id, jpeg, dropped in source.read(paths):
            yield image_id, jpeg if jpeg is not None else _Missing(dropped or "no picture")
        return
    for image_id, path in paths.items():
        yield image_id, place_of(source, path)


def _in_order(
    pool: ThreadPoolExecutor, raw: Iterator[tuple[str, Path | bytes | str | _Missing]], side_px: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    """The pictures decoded, in order; only some hundred are under way at a time, so a large pack is never held whole."""
    waiting: deque[tuple[str, Future[np.ndarray | str]]] = deque()
    for image_id, given in raw:
        waiting.append((image_id, pool.submit(decode, given, side_px)))
        if len(waiting) >= AHEAD:
            first, decoded = waiting.popleft()
            yield first, decoded.result()
    for first, decoded in waiting:
        yield first, decoded.result()


@dataclass(frozen=True)
class _Missing:
    """Why a picture is not there."""

    why: str


class _Store:
    """Bytes one after another, in memory up to MEMORY_LIMIT, beyond it in a nameless scratch file."""

    def __init__(self) -> None:
        self._memory = io.BytesIO()
        self._file: IO[bytes] | None = None

    def add(self, pixels: np.ndarray) -> None:
        """Put a picture behind the last one."""
        if self._file is None and self._memory.tell() + pixels.nbytes > MEMORY_LIMIT:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (the array below lives on it)
            self._file.write(self._memory.getbuffer())
            self._memory = io.BytesIO()
        (self._file or self._memory).write(pixels.tobytes())

    def pixels(self) -> np.ndarray:
        """All of them as one flat array, without a copy."""
        if self._file is None:
            return np.frombuffer(self._memory.getbuffer(), dtype=np.uint8)
        self._file.flush()
        return np.memmap(self._file, dtype=np.uint8, mode="r")


def decode(given: Path | bytes | str | _Missing, side_px: int) -> np.ndarray | str:
    """One picture as [height, width, 3] uint8, or why it cannot be read (as given, for a picture that is not there)."""
    if isinstance(given, _Missing):
        return given.why
    try:
        with open_picture(given) as opened:
            opened.draft("RGB", (2 * side_px, 2 * side_px))  # JPEG: decode at a fraction where that is enough
            image = as_seen(opened)
            scale = side_px / min(image.size)
            width, height = (max(side_px, round(length * scale)) for length in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
            limit = 2 * side_px  # a banner keeps its middle, so that one odd picture cannot swell every batch
            left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
            image = image.crop((left, top, min(width, left + limit), min(height, top + limit)))
            return np.asarray(image)
    except FileNotFoundError:
        return "no such file"
    except UnidentifiedImageError:  # its own words name an object in memory
        return "no picture of a known format"
    except (OSError, ValueError, SyntaxError) as error:
        return " ".join(str(error).split()) or type(error).__name__


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
