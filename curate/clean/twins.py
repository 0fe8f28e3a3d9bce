"""Which pictures are the same photo: near in 64 bits in some form, then verified; what is not certain is for a person.

Near in 64 bits is a candidate and no more: among clothing photos most such pairs are different garments. So each must agree in
256 bits or in its fine structure, and nothing may contradict: not the color, not the seams, not the vectors where there are
any.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from curate.alignment import fits
from curate.clean.forms import candidates, forms_of
from curate.clean.looks import DARKER, LOOK_ALGO, is_gray
from curate.embeddings import read_vectors
from curate.neighbors import CAP, Skipped
from schemas.progress import progress
from schemas.storage import place_of
from schemas.tables import PAIRS

VERIFY_BITS = 48  # of 256: the finer hash agrees
CERTAIN_BITS = 24  # and so nearly that the seams need no look
FITS = 0.60  # correlation of fine structure that makes a twin whatever the finer hash says, as for leaks
AGREES = 0.40  # and what whole pictures need whose finer hash agrees; different T-shirts of one shape reach 0.32
CONTRADICTS = 0.30  # and below which the hashes agree by accident
COLORS = 5.0  # levels of chroma; a garment in two colors differs by more
VETO = 0.50  # cosine below which two vectors say that these are different things
MOSTLY_NEW = 0.5  # share of new pictures from which it is quicker to look for all pairs
ALGO = f"twins/1+{LOOK_ALGO}"  # pairs judged by other rules are judged anew

REFUSED = "refused"  # reason of a pair that neither the finer hash nor the details confirm: no person is asked


def find_pairs(
    pictures: pd.DataFrame,
    looks: pd.DataFrame | Path,
    root: Path,
    bits: int,
    vectors: Path | None = None,
    before: pd.DataFrame | None = None,
    searched: Collection[str] = (),
    cap: int | None = CAP,
    skipped: list[Skipped] | None = None,
) -> tuple[pd.DataFrame, int]:
    """PAIRS: every candidate that the finer hash does not refuse, verified or with what speaks against it.

    Refused is what is far apart in 256 bits, or beyond VERIFY_BITS with details that do not fit either; the latter stay in the
    table, so that they are not compared again. How often that was comes second; a pair may be refused in several forms.

    Args:
        pictures: image_id, blob, phash64, phash256 of those that count.
        looks: LOOKS, or its file.
        root: what blob paths start from; a picture is opened only where its hashes leave a doubt.
        bits: 64-bit hashes at most so far apart are candidates.
        vectors: an EMBEDDINGS file whose last model may veto; None = none.
        before: PAIRS of the last run by the same rules: what was measured then is not measured again.
        searched: image_ids among which all pairs within `bits` stand in `before`; these are not looked for again.
        cap: hashes that more forms than this share are not compared, see `stream_pairs`.
        skipped: takes a row for everything that was too large to compare.
    """
    forms, ids = forms_of(pictures, looks), pictures["image_id"].to_numpy(object)
    known = set(searched) if before is not None else set()
    fresh = np.array([image_id not in known for image_id in ids], bool)
    if fresh.mean() > MOSTLY_NEW if len(fresh) else True:
        near, refused = candidates(forms, bits, None, cap, skipped)
    else:
        near, refused = candidates(forms, bits, fresh, cap, skipped)
        near = _with_old(near, before, pictures["image_id"], fresh)
    near = _named(near, ids)
    near["detail"] = _detail(near, root, pictures["blob"].to_numpy(object), before)
    near["similarity"] = _similarity(near, vectors)
    gray = is_gray(forms.colors) if len(pictures) else np.zeros(0, bool)
    near["reason"] = _reasons(near, gray[near["i"]] != gray[near["j"]])
    near["verified"] = near["reason"].isna()
    return PAIRS.check(near[PAIRS.names]), refused + int((near["reason"] == REFUSED).sum())


def _with_old(near: pd.DataFrame, before: pd.DataFrame | None, ids: pd.Series, fresh: np.ndarray) -> pd.DataFrame:
    """The candidates with the pairs of the last run whose pictures both count and are not fresh, by their positions."""
    assert before is not None
    place = pd.Index(ids)
    a, b = place.get_indexer(pd.Index(before["image_id_a"])), place.get_indexer(pd.Index(before["image_id_b"]))
    keep = (a >= 0) & (b >= 0) & ~fresh[a] & ~fresh[b]
    a, b = a[keep], b[keep]
    old = before.loc[keep, ["how", "distance64", "distance256", "color"]].assign(i=np.minimum(a, b), j=np.maximum(a, b))
    both = pd.concat([near, old], ignore_index=True) if len(old) and len(near) else (near if len(near) else old)
    return both.sort_values(["i", "j"], ignore_index=True)


def _named(near: pd.DataFrame, ids: np.ndarray) -> pd.DataFrame:
    a, b = ids[near["i"]], ids[near["j"]]
    swap = a > b
    return near.assign(image_id_a=np.where(swap, b, a), image_id_b=np.where(swap, a, b))


def _detail(near: pd.DataFrame, root: Path, blobs: np.ndarray, before: pd.DataFrame | None) -> np.ndarray:
    """How well the pictures of each pair fit, NaN where the hashes leave no doubt or a file cannot be read."""
    detail = np.full(len(near), np.nan)
    doubt = ((near["distance256"] > CERTAIN_BITS) | (near["how"] != "whole")).to_numpy()
    if before is not None and len(before):
        known = before.set_index(["image_id_a", "image_id_b"])["detail"]
        detail = np.array(known.reindex(pd.MultiIndex.from_frame(near[["image_id_a", "image_id_b"]])), float)
    todo = np.flatnonzero(doubt & np.isnan(detail))
    pairs = [
        (place_of(root, blobs[i]), place_of(root, blobs[j]))
        for i, j in zip(near["i"].iloc[todo], near["j"].iloc[todo], strict=True)
    ]
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
