"""Vectors of every kept picture by an image model: pictures that show the same things point the same way.

What is done is kept in parts beside the table and joined at the end, so a killed run loses half a minute and the table is
always whole. Values are rounded to the eleven bits of a half-precision number but stay float32 in the file: every reader
understands them, and they take little more room than halves would.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from curate.clean.check import read_some
from curate.clean.embed_model import Asked, Embedder, keep_loaded, loaded
from curate.embeddings import CURRENT, iter_vectors, open_embeddings
from curate.workspace import Workspace
from schemas.engine import POOL, Engine, cores, each
from schemas.errors import Interrupted, UserError
from schemas.files import whole
from schemas.picture import as_seen, open_picture
from schemas.progress import progress
from schemas.storage import is_remote, overlapped, threads_for
from schemas.tables import EMBEDDINGS

SAVE_EVERY = 30.0  # seconds; what a kill can cost
PART_ROWS = 4096  # and at most so many pictures
GROUP_ROWS = 8192  # rows of one Parquet row group: 42 MB of 1,280 numbers
SMALL_SET = 4_000  # below this many pictures, loading the model in every process takes longer than the work
CROP = 0.875  # share of the resized picture's short side that the model sees, as ImageNet models are tested


@dataclass
class Embedded:
    """What a run of `curate embed` did."""

    path: Path
    kept: int  # pictures that count
    done: int  # that have a vector now
    new: int  # of them made by this run
    failed: list[tuple[str, str]] = field(default_factory=list)  # path and reason

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.new} new vectors; {self.done} of {self.kept} pictures that count have one -> {self.path}"

    def failures(self, most: int = 10) -> str:
        """Which pictures could not be read, at most `most` of them by name."""
        named = "\n".join(f"  {path}: {why}" for path, why in self.failed[:most])
        more = f"\n  and {len(self.failed) - most} more" if len(self.failed) > most else ""
        return f"{len(self.failed)} pictures could not be read and have no vector:\n{named}{more}"


def embed_workspace(workspace: Workspace, embedder: Embedder, engine: Engine = POOL) -> Embedded:
    """Give every picture that counts and has none yet a vector of this model, and write EMBEDDINGS.

    Vectors of other models stay; this model becomes the one that readers mean. Vectors of pictures that do not count any more
    are left out. Pictures that cannot be read are listed, not fatal. Raises Interrupted on Ctrl-C, with what was done kept.
    The pool works in this process where there is a GPU or little to do.
    """
    pictures = read_some(workspace.table("pictures"))
    kept = pictures[pictures["dropped"].isna()].sort_values("image_id")
    if kept.empty:
        raise UserError(
            f"{workspace.table('pictures')}: none of {len(pictures)} pictures counts, so there is nothing to embed"
        )
    path = workspace.table("embeddings")
    parts = _Parts(workspace.root / "embeddings.parts", embedder.model_id)
    have = {image_id for file in [path, *parts.files()] for image_id in _ids(file, embedder.model_id)}
    todo = kept[~kept["image_id"].isin(have)]
    paths = [workspace.original(blob) for blob in todo["blob"]]
    failed: list[tuple[str, str]] = []
    try:
        with progress(len(kept), "pictures", done=len(kept) - len(todo)) as bar, parts:
            for at, vectors in _embed_over(paths, embedder, engine):
                good = [
                    (todo["image_id"].iloc[i], v) for i, v in zip(at, vectors, strict=True) if not isinstance(v, str)
                ]
                failed += [(todo["blob"].iloc[i], v) for i, v in zip(at, vectors, strict=True) if isinstance(v, str)]
                parts.add(good)
                bar.update(len(at))
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {parts.count} of {len(todo)} pictures; `curate embed` goes on from there"
        ) from None
    if todo.empty and not parts.files() and _is_newest(path, embedder.model_id) and have <= set(kept["image_id"]):
        return Embedded(path, len(kept), len(kept), 0)
    done = join(path, parts.files(), set(kept["image_id"]), embedder)
    parts.remove()
    return Embedded(path, len(kept), done, parts.count, failed)


def _embed_over(
    paths: Sequence[Path | str], embedder: Embedder, engine: Engine
) -> Iterator[tuple[list[int], list[np.ndarray | str]]]:
    """As `embed`, the batches in no order."""
    if engine == POOL and (embedder.device != "cpu" or len(paths) < SMALL_SET):
        yield from embed(paths, embedder)
        return
    size = embedder.batch
    jobs = [(keep_loaded(embedder), at, tuple(paths[at : at + size])) for at in range(0, len(paths), size)]
    yield from each(embed_batch_of_files, jobs, engine, small=0, batch=4)


def embed_batch_of_files(job: tuple[Asked, int, Sequence[Path | str]]) -> tuple[list[int], list[np.ndarray | str]]:
    """Batch in, batch out: the positions of the job's pictures, from its first one on, and for each a vector or why there is none."""
    asked, first, paths = job
    embedder = loaded(asked)
    read = list(overlapped(partial(_read, side=embedder.side), paths, threads_for(paths)))
    return list(range(first, first + len(paths))), _answers(read, embedder)


def embed(
    pictures: Sequence[Path | bytes | str], embedder: Embedder, threads: int = 0
) -> Iterator[tuple[list[int], list[np.ndarray | str]]]:
    """Vectors of pictures, a batch at a time: their positions, and for each a unit vector or why there is none.

    Threads decode ahead of the model, by at most four batches, so memory does not grow with the number of pictures.

    Args:
        pictures: places or bytes; a text that is no `s3://` place is why there is no picture, and comes back as it is.
        embedder: the model.
        threads: that decode; 0 = one a core, 16 at most.
    """
    size = embedder.batch
    readers = threads or max(min(16, cores()), threads_for(one for one in pictures if not isinstance(one, bytes)))
    with ThreadPoolExecutor(readers) as pool:
        jobs = ((at, pool.submit(_read, one, embedder.side)) for at, one in enumerate(pictures))
        ahead: deque[tuple[int, Future[np.ndarray | str]]] = deque(islice(jobs, 4 * size))
        while ahead:
            batch = [ahead.popleft() for _ in range(min(size, len(ahead)))]
            read = [future.result() for _, future in batch]
            ahead.extend(islice(jobs, len(batch)))
            yield [at for at, _ in batch], _answers(read, embedder)


def _answers(read: list[np.ndarray | str], embedder: Embedder) -> list[np.ndarray | str]:
    """For each decoded picture its vector; what says why there is none stays."""
    pixels = [found for found in read if not isinstance(found, str)]
    vectors = iter(embedder(np.stack(pixels)) if pixels else ())
    return [found if isinstance(found, str) else next(vectors) for found in read]


def _read(picture: Path | bytes | str, side: int) -> np.ndarray | str:
    """The middle square of the picture as uint8 [side, side, 3], or why it cannot be read."""
    if isinstance(picture, str) and not is_remote(picture):
        return picture
    try:
        with open_picture(picture) as image:
            return pixels(image, side)
    except FileNotFoundError:
        return "its file is missing"
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


def pixels(image: Any, side: int) -> np.ndarray:
    """What the model sees of an opened picture: short side resized to side / CROP, the middle square, uint8 [side, side, 3]."""
    from PIL import Image

    short = round(side / CROP)
    image.draft(None, (short, short))  # JPEG alone decodes smaller copies; never below this size
    seen = as_seen(image)
    scale = short / min(seen.size)
    size = (max(side, round(seen.width * scale)), max(side, round(seen.height * scale)))
    seen = seen.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(seen.crop((left, top, left + side, top + side)))


class _Parts:
    """Vectors that are not in the table yet: small files, each written whole, of one model."""

    def __init__(self, folder: Path, model_id: str) -> None:
        self.home = folder
        self.folder = (
            folder
            / f"{re.sub('[^A-Za-z0-9]+', '-', model_id)[:40]}-{hashlib.sha256(model_id.encode()).hexdigest()[:8]}"
        )
        self.model_id = model_id
        self.count = 0
        self._rows: list[tuple[str, np.ndarray]] = []
        self._saved = time.monotonic()

    def files(self) -> list[Path]:
        """What earlier runs and this one left."""
        return sorted(self.folder.glob("*.parquet"))

    def add(self, rows: Iterable[tuple[str, np.ndarray]]) -> None:
        """Keep these vectors; now and then they go to disk."""
        self._rows += rows
        if len(self._rows) >= PART_ROWS or (self._rows and time.monotonic() - self._saved > SAVE_EVERY):
            self._save()

    def _save(self) -> None:
        if not self._rows:
            return
        ids, vectors = zip(*self._rows, strict=True)
        with _Writer(self.folder / f"{len(self.files()):06d}-{ids[0][:16]}.parquet", self.model_id) as writer:
            writer.add(ids, self.model_id, np.stack(vectors))
        self.count += len(ids)
        self._rows, self._saved = [], time.monotonic()

    def remove(self) -> None:
        """Forget the parts of this model: they are in the table."""
        rmtree(self.folder, ignore_errors=True)
        if self.home.exists() and not any(self.home.iterdir()):
            self.home.rmdir()

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()  # also on Ctrl-C


class _Writer:
    """An EMBEDDINGS file written a row group at a time, whole or not at all."""

    def __init__(self, path: Path, model_id: str, facts: dict[str, str] | None = None) -> None:
        self._whole = whole(path)
        self._schema = EMBEDDINGS.schema({CURRENT: model_id, **(facts or {})})
        self._waiting: list[Any] = []
        self.count = 0

    def __enter__(self) -> _Writer:
        import pyarrow.parquet as pq

        # numbers whose last bits are zero pack well when their bytes are sorted by place: half the size
        self._file = pq.ParquetWriter(
            self._whole.__enter__(), self._schema, compression="zstd", use_dictionary=["model_id"],
            column_encoding={"vector.list.element": "BYTE_STREAM_SPLIT"},
        )  # fmt: skip
        return self

    def add(self, ids: Sequence[str], model_id: str, vectors: np.ndarray) -> None:
        """Rows of one model: image_ids and vectors float32 [n, d]."""
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        width = vectors.shape[1]
        column = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, width), pa.int32()), flat)
        arrays = [pa.array(list(ids), pa.string()), pa.array([model_id] * len(ids), pa.string()), column]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self.count += len(ids)
        if sum(table.num_rows for table in self._waiting) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting))
        self._waiting = []

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._file.close()
            self._whole.__exit__(*error)


def join(path: Path, parts: Sequence[Path], kept: set[str], embedder: Embedder) -> int:
    """Write the table anew from itself and the parts, a block at a time; returns how many vectors the model has in it.

    Of this model each kept picture comes once; of other models what is there stays, as far as its picture is kept.
    """
    facts = {"consenso.license": embedder.license, "consenso.weights": embedder.source}
    model_id, done = embedder.model_id, set[str]()
    with _Writer(path, model_id, facts) as writer:
        for file in [path, *parts]:
            for other in sorted(_models(file)):
                for ids, vectors in iter_vectors(file, other, GROUP_ROWS):
                    seen = done if other == model_id else ()
                    take = [at for at, image_id in enumerate(ids) if image_id in kept and image_id not in seen]
                    if take:
                        writer.add([ids[at] for at in take], other, vectors[take])
                    if other == model_id:
                        done.update(ids[at] for at in take)
    return len(done)


def _models(path: Path) -> set[str]:
    """The models that have vectors in a file; none where there is no file."""
    return set(open_embeddings(path).read(["model_id"])["model_id"].unique().to_pylist()) if path.exists() else set()


def _ids(path: Path, model_id: str) -> list[str]:
    """Pictures that have a vector of that model in a file."""
    import pyarrow.compute as pc

    if not path.exists():
        return []
    table = open_embeddings(path).read(["image_id", "model_id"])
    return table.filter(pc.equal(table["model_id"], model_id))["image_id"].to_pylist()


def _is_newest(path: Path, model_id: str) -> bool:
    """True when readers of the table mean this model already."""
    return path.exists() and EMBEDDINGS.metadata(path).get(CURRENT) == model_id
