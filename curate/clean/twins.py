"""Which pictures are the same photo: near in 64 bits in some form, then verified; what is not certain is for a person.

A form is the picture whole, without its plain border, in a mirror, both, or its inner part (what a crop leaves). Near in 64 bits is a candidate and no more: among
clothing photos most such pairs are different garments. So each must agree in 256 bits or in its fine structure, and nothing
may contradict: not the color, not the seams, not the vectors where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.alignment import fits
from curate.clean.looks import DARKER, LOOK_ALGO, color_distance, is_gray
from curate.embeddings import read_vectors
from curate.neighbors import degenerate, distance256, near_pairs
from schemas.errors import UserError
from schemas.progress import progress
from schemas.storage import place_of
from schemas.tables import PAIRS

VERIFY_BITS = 48  # of 256: the finer hash agrees
CERTAIN_BITS = 24  # and so nearly that the seams need no look
LOOK_BITS = 72  # beyond this it refuses: 6 in 7 candidates among clothing photos, none of them a copy
FITS = 0.60  # correlation of fine structure that makes a twin whatever the finer hash says, as for leaks
AGREES = 0.40  # and what whole pictures need whose finer hash agrees; different T-shirts of one shape reach 0.32
CONTRADICTS = 0.30  # and below which the hashes agree by accident
COLORS = 5.0  # levels of chroma; a garment in two colors differs by more
VETO = 0.50  # cosine below which two vectors say that these are different things
ALGO = f"twins/1+{LOOK_ALGO}"  # pairs judged by other rules are judged anew

REFUSED = "refused"  # reason of a pair that neither the finer hash nor the details confirm: no person is asked

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


def forms_of(pictures: pd.DataFrame, looks: pd.DataFrame) -> Forms:
    """The forms of the pictures, in their order.

    Args:
        pictures: image_id, phash64, phash256.
        looks: LOOKS; raises UserError when a picture has none or one of other code.
    """
    mine = looks[looks["look_algo"] == LOOK_ALGO].set_index("image_id").reindex(pictures["image_id"])
    if bare := int(mine["look_algo"].isna().sum()):
        raise UserError(
            f"{bare} of {len(pictures)} pictures were checked by an older program; run `curate check` again"
        )
    owner, form, coarse, fine = [], [], [], []
    for number, name in enumerate(FORMS):
        source, prefix = (pictures, "phash") if name == "whole" else (mine, name)
        there = np.flatnonzero(source[f"{prefix}64"].notna())
        owner.append(there)
        form.append(np.full(len(there), number, np.int8))
        coarse.append(source[f"{prefix}64"].iloc[there].to_numpy(np.uint64))
        fine.append(_bytes(source[f"{prefix}256"].iloc[there], 32))
    return Forms(
        np.concatenate(owner), np.concatenate(form), np.concatenate(coarse), np.concatenate(fine),
        _bytes(mine["colors"], 128), _bytes(mine["inner_colors"], 128),
    )  # fmt: skip


def _bytes(values: pd.Series, width: int) -> np.ndarray:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)


def candidates(forms: Forms, bits: int) -> pd.DataFrame:
    """Pairs i < j of pictures that have a form each within `bits` of 64, once each, in the form in which they are nearest.

    Columns: i, j, how, distance64, distance256, color. Two mirrored or two inner forms are not compared: the whole pictures are.
    """
    usable = np.flatnonzero(~forms.empty)
    a, b, distance = near_pairs(forms.coarse[usable], bits)
    a, b = usable[a], usable[b]
    turned, inner = (forms.form == 2) | (forms.form == 3), forms.form == 4
    keep = (forms.owner[a] != forms.owner[b]) & ~(turned[a] & turned[b]) & ~(inner[a] & inner[b])
    a, b, distance = a[keep], b[keep], distance[keep]
    fine = distance256(forms.fine[a], forms.fine[b])
    trimmed, mirrored = (forms.form[a] % 2) | (forms.form[b] % 2), turned[a] | turned[b]
    cropped = inner[a] | inner[b]
    i, j = np.minimum(forms.owner[a], forms.owner[b]), np.maximum(forms.owner[a], forms.owner[b])
    order = np.lexsort((trimmed, mirrored, cropped, distance, fine, j, i))
    first = np.ones(len(order), bool)
    first[1:] = (i[order][1:] != i[order][:-1]) | (j[order][1:] != j[order][:-1])
    best = order[first]
    how = np.where(cropped[best], 4, trimmed[best] + 2 * mirrored[best])
    how[cropped[best] & mirrored[best]] = 2
    color = _color(forms, i[best], j[best], mirrored[best], cropped[best])
    return pd.DataFrame(
        {"i": i[best], "j": j[best], "how": np.array(FORMS)[how], "distance64": distance[best], "distance256": fine[best],
         "color": color}
    )  # fmt: skip


def _color(forms: Forms, i: np.ndarray, j: np.ndarray, mirrored: np.ndarray, cropped: np.ndarray) -> np.ndarray:
    """How far the colors of each pair are apart; of a crop, beside the inner part of the other one, whichever that is."""
    whole = color_distance(forms.colors[i], forms.colors[j], mirrored)
    parts = (
        color_distance(forms.inner_colors[i], forms.colors[j], mirrored),
        color_distance(forms.colors[i], forms.inner_colors[j], mirrored),
    )
    return np.where(cropped, np.minimum(whole, np.minimum(*parts)), whole)


def find_pairs(
    pictures: pd.DataFrame,
    looks: pd.DataFrame,
    root: Path,
    bits: int,
    vectors: Path | None = None,
    before: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, int]:
    """PAIRS: every candidate that the finer hash does not refuse, verified or with what speaks against it; how many were refused.

    Refused is what is far apart in 256 bits, or beyond VERIFY_BITS with details that do not fit either; the latter stay in the
    table, so that they are not compared again.

    Args:
        pictures: image_id, blob, phash64, phash256 of those that count.
        looks: LOOKS.
        root: what blob paths start from; a picture is opened only where its hashes leave a doubt.
        bits: 64-bit hashes at most so far apart are candidates.
        vectors: an EMBEDDINGS file whose last model may veto; None = none.
        before: PAIRS of the last run by the same rules: what was measured then is not measured again.
    """
    forms = forms_of(pictures, looks)
    near = candidates(forms, bits)
    refused = near["distance256"] > LOOK_BITS
    near = near[~refused].reset_index(drop=True)
    near = _named(near, pictures["image_id"].to_numpy(object))
    near["detail"] = _detail(near, [place_of(root, blob) for blob in pictures["blob"]], before)
    near["similarity"] = _similarity(near, vectors)
    gray = is_gray(forms.colors) if len(pictures) else np.zeros(0, bool)
    near["reason"] = _reasons(near, gray[near["i"]] != gray[near["j"]])
    near["verified"] = near["reason"].isna()
    return PAIRS.check(near[PAIRS.names]), int(refused.sum() + (near["reason"] == REFUSED).sum())


def _named(near: pd.DataFrame, ids: np.ndarray) -> pd.DataFrame:
    a, b = ids[near["i"]], ids[near["j"]]
    swap = a > b
    return near.assign(image_id_a=np.where(swap, b, a), image_id_b=np.where(swap, a, b))


def _detail(near: pd.DataFrame, paths: Sequence[Path | str], before: pd.DataFrame | None) -> np.ndarray:
    """How well the pictures of each pair fit, NaN where the hashes leave no doubt or a file cannot be read."""
    detail = np.full(len(near), np.nan)
    doubt = ((near["distance256"] > CERTAIN_BITS) | (near["how"] != "whole")).to_numpy()
    if before is not None and len(before):
        known = before.set_index(["image_id_a", "image_id_b"])["detail"]
        detail = known.reindex(pd.MultiIndex.from_frame(near[["image_id_a", "image_id_b"]])).to_numpy(float)
    todo = np.flatnonzero(doubt & np.isnan(detail))
    pairs = [(paths[i], paths[j]) for i, j in zip(near["i"].iloc[todo], near["j"].iloc[todo], strict=True)]
    with progress(len(pairs), "pairs compared") as bar:
        for at, found in fits(pairs):
            detail[todo[at]] = np.nan if found is None else found.detail
            bar.update()
    return detail


def _similarity(near: pd.DataFrame, vectors: Path | None) -> np.ndarray:
    """Cosine of each pair's vectors, NaN where one has none."""
    found = np.full(len(near), np.nan)
    if vectors is None or near.empty:
        return found
    wanted = sorted({*near["image_id_a"], *near["image_id_b"]})
    ids, unit, _ = read_vectors(vectors, wanted)
    if not ids:
        return found
    place = pd.Index(ids)
    a, b = place.get_indexer(pd.Index(near["image_id_a"])), place.get_indexer(pd.Index(near["image_id_b"]))
    both = (a >= 0) & (b >= 0)
    found[both] = (unit[a[both]] * unit[b[both]]).sum(axis=1)
    return found


def _reasons(near: pd.DataFrame, one_gray: np.ndarray) -> np.ndarray:
    """What speaks against each pair, None where nothing does; of several the heaviest, which stands last here."""
    detail, fine = near["detail"].to_numpy(), near["distance256"].to_numpy()
    color, similarity = near["color"].to_numpy(), near["similarity"].to_numpy()
    reasons = np.full(len(near), None, object)
    needed = np.select(
        [fine <= CERTAIN_BITS, (fine <= VERIFY_BITS) & (near["how"] == "whole").to_numpy()], [CONTRADICTS, AGREES], FITS
    )
    for doubt, words in (
        (one_gray & (color > COLORS * DARKER), "one is gray"),
        ((color > COLORS) & ~one_gray, "colors differ"),
        (similarity < VETO, "vectors differ"),
        ((fine > VERIFY_BITS) & ~(detail >= FITS), "finer hash differs"),
        ((detail < needed) & (fine <= VERIFY_BITS), "details differ"),
        ((detail < CONTRADICTS) & (fine > VERIFY_BITS), REFUSED),
    ):
        reasons[doubt] = words
    return reasons
