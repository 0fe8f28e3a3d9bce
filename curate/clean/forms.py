"""Every form in which pictures are compared, with its hashes, and which of them are near: the candidates for twins.

A form is the picture whole, without its plain border, in a mirror, both, or its inner part (what a crop leaves). Hashes are
held as arrays, about 460 bytes a picture, and pairs that the finer hash refuses are dropped while they stream by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from curate.clean.looks import LOOK_ALGO, color_distance
from curate.neighbors import CAP, NearIndex, Skipped, degenerate, distance256, stream_pairs
from schemas.errors import UserError
from schemas.tables import LOOKS

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_BITS = (
    72  # of 256: beyond this the finer hash refuses: 6 in 7 candidates among clothing photos, none of them a copy
)

FORMS = ("whole", "trimmed", "mirror", "trimmed_mirror", "inner")


@dataclass(frozen=True)
class Forms:
    """Hashes of every form of some pictures; a picture without a border has no trimmed ones."""

    owner: np.ndarray  # int64 [n]: position of the picture
    form: np.ndarray  # int8 [n]: index in FORMS
    coarse: np.ndarray  # uint64 [n]
    fine: np.ndarray  # uint8 [n, 32]
    colors: np.ndarray  # uint8 [pictures, 128]
    inner_colors: np.ndarray  # uint8 [pictures, 128]

    @property
    def empty(self) -> np.ndarray:
        """True for each hash that says too little to compare."""
        return degenerate(self.coarse)


def forms_of(pictures: pd.DataFrame, looks: pd.DataFrame | Path) -> Forms:
    """The forms of the pictures, in their order.

    Args:
        pictures: image_id, phash64, phash256.
        looks: LOOKS, or its file, which is read a piece at a time; raises UserError when a picture has none or one of other
            code.
    """
    place, count = pd.Index(pictures["image_id"]), len(pictures)
    coarse, fine = np.zeros((len(FORMS), count), np.uint64), np.zeros((len(FORMS), count, 32), np.uint8)
    there, looked = np.zeros((len(FORMS), count), bool), np.zeros(count, bool)
    colors = np.zeros((2, count, 128), np.uint8)
    there[0], coarse[0] = True, pictures["phash64"].to_numpy(np.uint64)
    fine[0] = np.frombuffer(b"".join(pictures["phash256"]), np.uint8).reshape(-1, 32)
    for piece in LOOKS.batches(looks) if isinstance(looks, Path) else [LOOKS.to_arrow(looks)]:
        at = place.get_indexer(pd.Index(piece["image_id"].to_pylist(), dtype=place.dtype))
        mine = np.flatnonzero((at >= 0) & (piece["look_algo"].to_numpy() == LOOK_ALGO))
        here, some = at[mine], piece.take(mine)
        looked[here] = True
        for number, name in enumerate(FORMS[1:], 1):
            values = some[f"{name}64"]
            there[number, here] = values.is_valid().to_numpy()
            coarse[number, here] = values.fill_null(0).to_numpy()
            fine[number, here] = _bytes(some[f"{name}256"], 32)
        colors[0, here], colors[1, here] = _bytes(some["colors"], 128), _bytes(some["inner_colors"], 128)
    if bare := int((~looked).sum()):
        raise UserError(f"{bare} of {count} pictures were checked by an older program; run `curate check` again")
    form, owner = np.nonzero(there)
    return Forms(owner, form.astype(np.int8), coarse[there], fine[there], colors[0], colors[1])


def _bytes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """uint8 [rows, width]; zeros where a value is missing."""
    import pyarrow as pa

    fixed = column.fill_null(bytes(width)).cast(pa.binary(width)).combine_chunks()
    whole = np.frombuffer(fixed.buffers()[1], np.uint8) if len(fixed) else np.zeros(0, np.uint8)
    return whole[fixed.offset * width : (fixed.offset + len(fixed)) * width].reshape(-1, width)


def candidates(
    forms: Forms,
    bits: int,
    fresh: np.ndarray | None = None,
    cap: int | None = CAP,
    skipped: list[Skipped] | None = None,
) -> tuple[pd.DataFrame, int]:
    """Pairs i < j of pictures that have a form each within `bits` of 64, once each, in the form in which they are nearest.

    Columns: i, j, how, distance64, distance256, color. Two mirrored or two inner forms are not compared: the whole pictures
    are. What is more than LOOK_BITS of 256 apart is not among them; how often that was comes second.

    Args:
        forms: of all pictures.
        bits: the largest distance.
        fresh: bool for each picture; only pairs with one of these are looked for, which costs only the fresh ones. None = all.
        cap: see `stream_pairs`.
        skipped: takes a row for everything that was too large to compare.
    """
    usable = np.flatnonzero(~forms.empty)
    turned, inner = (forms.form == 2) | (forms.form == 3), forms.form == 4
    refused, blocks = 0, []
    for a, b, distance in _meetings(forms, usable, bits, fresh, cap, [] if skipped is None else skipped):
        keep = (forms.owner[a] != forms.owner[b]) & ~(turned[a] & turned[b]) & ~(inner[a] & inner[b])
        a, b, distance = a[keep], b[keep], distance[keep]
        fine = distance256(forms.fine[a], forms.fine[b])
        near = fine <= LOOK_BITS
        refused += int((~near).sum())
        a, b, distance, fine = a[near], b[near], distance[near], fine[near]
        trimmed, mirrored, cropped = (
            (forms.form[a] % 2) | (forms.form[b] % 2),
            turned[a] | turned[b],
            inner[a] | inner[b],
        )
        i, j = np.minimum(forms.owner[a], forms.owner[b]), np.maximum(forms.owner[a], forms.owner[b])
        blocks.append(_nearest({"i": i, "j": j, "fine": fine, "distance": distance, "cropped": cropped, "mirrored": mirrored, "trimmed": trimmed}))  # fmt: skip
    best = _nearest({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}) if blocks else None
    return _as_frame(forms, best), refused


def _meetings(
    forms: Forms, usable: np.ndarray, bits: int, fresh: np.ndarray | None, cap: int | None, skipped: list[Skipped]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Near pairs of positions in `forms`, each once."""
    coarse = forms.coarse[usable]
    if fresh is None:
        for i, j, distance in stream_pairs(coarse, bits, cap, skipped):
            yield usable[i], usable[j], distance
        return
    new = fresh[forms.owner[usable]]
    asked = np.flatnonzero(new)
    index = NearIndex(coarse, bits, cap)
    skipped += index.skipped
    for query, j, distance in index.query(coarse[asked]):
        i = asked[query]
        once = ~new[j] | (i < j)  # two new ones meet from both sides, and each meets itself
        yield usable[i[once]], usable[j[once]], distance[once]


def _nearest(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of every pair i, j the row in which it is nearest, sorted by pair."""
    order = np.lexsort([rows[name] for name in ("trimmed", "mirrored", "cropped", "distance", "fine", "j", "i")])
    i, j = rows["i"][order], rows["j"][order]
    first = np.ones(len(order), bool)
    first[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    return {name: values[order[first]] for name, values in rows.items()}


def _as_frame(forms: Forms, best: dict[str, np.ndarray] | None) -> pd.DataFrame:
    """The columns that `candidates` gives."""
    if best is None:
        none: dict[str, Any] = {name: np.empty(0, np.int64) for name in ("i", "j", "distance64", "distance256")}
        return pd.DataFrame({**none, "how": pd.Series(dtype=object), "color": np.empty(0)})
    mirrored, cropped = best["mirrored"], best["cropped"]
    how = np.where(cropped, 4, best["trimmed"] + 2 * mirrored)
    how[cropped & mirrored] = 2
    return pd.DataFrame(
        {"i": best["i"], "j": best["j"], "how": np.array(FORMS, object)[how], "distance64": best["distance"],
         "distance256": best["fine"], "color": _color(forms, best["i"], best["j"], mirrored, cropped)}
    )  # fmt: skip


def _color(forms: Forms, i: np.ndarray, j: np.ndarray, mirrored: np.ndarray, cropped: np.ndarray) -> np.ndarray:
    """How far the colors of each pair are apart; of a crop, beside the inner part of the other one, whichever that is."""
    whole = color_distance(forms.colors[i], forms.colors[j], mirrored)
    parts = (
        color_distance(forms.inner_colors[i], forms.colors[j], mirrored),
        color_distance(forms.colors[i], forms.inner_colors[j], mirrored),
    )
    return np.where(cropped, np.minimum(whole, np.minimum(*parts)), whole)
