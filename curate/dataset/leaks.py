"""Pictures of the test that have a twin where the model learns: each must be found, and what is merely alike told apart.

Three nets bring up candidates: 64-bit hashes within a radius, hashes of the mirrored picture, and the nearest vectors, which
alone see crops and added borders. A candidate is a twin only if the pictures themselves agree (`curate/alignment.py`): similar
jeans on white are near in every net, and their seams do not fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.alignment import Fit, fits, same_pixels
from curate.embeddings import iter_vectors, model_of, read_vectors
from curate.neighbors import degenerate, distance256, near_between
from schemas.errors import UserError
from schemas.progress import progress
from schemas.storage import place_of
from schemas.tables import LEAKS

LEVEL = {"test": 0, "val": 1, "train": 2, "unlabeled": 2}  # a picture is compared with those of a higher level
BITS = 10  # of 64: candidates
SIMILARITY = 0.92  # of the default model: above it 1 in 100 clothing photos has a stranger
NEIGHBORS = {"test": 10, "val": 3}  # nearest vectors whose pictures are compared
WORTH = 0.5  # similarity below which they are not
VERIFY_BITS = 48  # of 256: near twins, if the pictures do not contradict
FITS = 0.60  # correlation of fine structure that makes a twin; among 371 hard strangers the best reached 0.49
CONTRADICTS = 0.30  # and below which near hashes are an accident; 19 of 20 copies turned by 2 degrees stay above
LOOK_BITS = 72  # of 256: hash candidates whose pictures are compared


@dataclass(frozen=True)
class Leaks:
    """What was found, and what was compared with what."""

    pairs: pd.DataFrame  # LEAKS
    counts: dict[str, int]  # pictures compared, by split
    unread: list[str]  # paths of pictures that have no hash: not compared by hashes
    unseen: int  # pictures without a vector, where vectors were used
    bits: int
    model_id: str | None

    @property
    def leaks(self) -> pd.DataFrame:
        """The pairs that must not be."""
        return self.pairs[self.pairs["leak"]]


def compared(rows: pd.DataFrame, where: Path | str) -> pd.DataFrame:
    """The manifest's rows of the four splits; rows that are out do not count. Raises UserError when there is no test."""
    if rows["split"].isna().all():
        raise UserError(f"{where}: was never split, so nothing can leak yet; run `curate split` first")
    if (twice := rows["image_id"].duplicated()).any():
        raise UserError(
            f"{where}: picture {rows.loc[twice, 'image_id'].iloc[0]} has two rows; a manifest holds each picture once"
        )
    kept = rows[rows["split"].isin(LEVEL) & rows["dropped"].isna()].reset_index(drop=True)
    found = ", ".join(f"{n} {name}" for name, n in rows["split"].value_counts().sort_index().items())
    if not kept["split"].isin(["test", "val"]).any():
        raise UserError(f"{where}: has no test or val pictures ({found}); nothing is held out, so nothing can leak")
    return kept


def find_leaks(
    rows: pd.DataFrame,
    hashes: pd.DataFrame,
    mirrored: pd.DataFrame,
    root: Path,
    vectors: Path | None = None,
    *,
    bits: int = BITS,
    similarity: float = SIMILARITY,
) -> Leaks:
    """Every pair of a test or val picture and one on a side below it that show the same photo, or look much alike.

    Args:
        rows: from `compared`.
        hashes: image_id, phash64, phash256 of the pictures that could be read.
        mirrored: the same of the mirrored test and val pictures.
        root: what picture paths start from.
        vectors: an EMBEDDINGS file; None = hashes alone, which see no crops and no added borders.
        bits: 64-bit hashes at most so far apart are candidates.
        similarity: vectors at least so similar are listed as look-alikes when the pictures are not the same.
    """
    level = rows["split"].map(LEVEL).to_numpy()
    code, turned = (_in_order(some, rows["image_id"]) for some in (hashes, mirrored))
    near = pd.concat([_by_hash(level, code, code, bits), _by_hash(level, turned, code, bits).assign(mirrored=True)])
    near = near.sort_values(["distance64", "mirrored"]).drop_duplicates(["i", "j"])
    model_id, unseen = None, 0
    if vectors is not None:
        model_id = model_of(vectors)
        near, unseen = _with_similarity(near, rows, level, vectors, model_id)
    else:
        near = near.assign(similarity=np.nan)
    near = near.sort_values(["i", "j"], ignore_index=True)
    looked = (near["distance256"] <= LOOK_BITS) | (near["similarity"] >= WORTH)
    paths = [place_of(root, path) for path in rows["path"]]
    pairs = _judge(near[looked].reset_index(drop=True), paths, similarity)
    return Leaks(
        pairs=_table(pairs, rows),
        counts={name: int((rows["split"] == name).sum()) for name in LEVEL},
        unread=rows.loc[code["phash64"].isna().to_numpy(), "path"].tolist(),
        unseen=unseen,
        bits=bits,
        model_id=model_id,
    )


def _in_order(hashes: pd.DataFrame, image_ids: pd.Series) -> pd.DataFrame:
    """The hashes of these pictures, missing where there are none; nullable, as a float would lose digits of 64 bits."""
    return hashes.astype({"phash64": "UInt64"}).set_index("image_id").reindex(image_ids)


def _by_hash(level: np.ndarray, asked: pd.DataFrame, code: pd.DataFrame, bits: int) -> pd.DataFrame:
    """Pairs of positions whose 64-bit hashes are near, the first on a lower level, with both distances."""
    found = [pd.DataFrame({"i": [], "j": [], "distance64": []}, dtype="int64")]
    for here in (0, 1):
        queries, others = (_usable(frame, side) for frame, side in ((asked, level == here), (code, level > here)))
        a, b = (frame["phash64"].iloc[at].to_numpy(np.uint64) for frame, at in ((asked, queries), (code, others)))
        i, j, distance = near_between(a, b, bits)
        found.append(pd.DataFrame({"i": queries[i], "j": others[j], "distance64": distance}))
    pairs = pd.concat(found, ignore_index=True)
    fine = [
        np.frombuffer(b"".join(frame["phash256"].to_numpy()[pairs[at]]), np.uint8).reshape(-1, 32)
        for frame, at in ((asked, "i"), (code, "j"))
    ]
    return pairs.assign(distance256=distance256(*fine), mirrored=False)


def _usable(code: pd.DataFrame, side: np.ndarray) -> np.ndarray:
    """Positions on that side whose hash is there and says enough."""
    at = np.flatnonzero(side & code["phash64"].notna().to_numpy())
    return at[~degenerate(code["phash64"].iloc[at].to_numpy(np.uint64))]


def _with_similarity(
    near: pd.DataFrame, rows: pd.DataFrame, level: np.ndarray, path: Path, model_id: str
) -> tuple[pd.DataFrame, int]:
    """The hash candidates and the nearest by vectors, each with its similarity; how many pictures have no vector."""
    place = pd.Index(rows["image_id"])
    asked = rows["image_id"][level < 2].tolist()
    ids, queries, _ = read_vectors(path, asked, model_id)
    if not ids:
        raise UserError(
            f"{path}: holds no vector of any test or val picture of this manifest; run `curate embed` again"
        )
    at = place.get_indexer(pd.Index(ids))
    most = max(NEIGHBORS.values())
    best = np.full((len(ids), most), -1.0, np.float32)
    whose = np.full((len(ids), most), -1)
    wanted = near[near["i"].isin(at)]
    row_of = pd.Series(np.arange(len(ids)), index=at)
    known: list[pd.DataFrame] = []
    seen = 0
    for names, block in iter_vectors(path, model_id):
        j = place.get_indexer(pd.Index(names))
        block, j = block[j >= 0], j[j >= 0]
        seen += len(j)
        if len(j):
            _keep_nearest(queries, block, level[at], level[j], j, best, whose)
            known.append(_similarities(wanted, row_of, queries, block, j))
    near = near.merge(pd.concat(known) if known else _NO_SIMILARITY, on=["i", "j"], how="left")
    number = np.array([NEIGHBORS["test"], NEIGHBORS["val"]])[level[at]]
    taken = (whose >= 0) & (np.arange(most)[None, :] < number[:, None])
    q, k = np.nonzero(taken)
    nearest = pd.DataFrame({"i": at[q], "j": whose[q, k], "similarity": best[q, k].astype(float), "mirrored": False})
    both = pd.concat([near, nearest], ignore_index=True)
    return both.drop_duplicates(["i", "j"]), len(rows) - seen


_NO_SIMILARITY = pd.DataFrame({"i": [], "j": [], "similarity": []}).astype({"i": "int64", "j": "int64"})


def _keep_nearest(
    queries: np.ndarray,
    block: np.ndarray,
    level_q: np.ndarray,
    level_o: np.ndarray,
    j: np.ndarray,
    best: np.ndarray,
    whose: np.ndarray,
) -> None:
    """Put the nearest of the block into `best` (similarity, falling) and `whose` (position), in place."""
    k = best.shape[1]
    for start in range(0, len(queries), 1024):  # 1,024 x 8,192 similarities: 34 MB
        rows = slice(start, start + 1024)
        found = queries[rows] @ block.T
        found[level_o[None, :] <= level_q[rows, None]] = -1
        top = np.argpartition(-found, min(k, found.shape[1]) - 1, axis=1)[:, :k]
        values = np.concatenate([best[rows], np.take_along_axis(found, top, 1)], axis=1)
        names = np.concatenate([whose[rows], np.where(np.take_along_axis(found, top, 1) > -1, j[top], -1)], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        best[rows], whose[rows] = np.take_along_axis(values, order, 1), np.take_along_axis(names, order, 1)


def _similarities(
    wanted: pd.DataFrame, row_of: pd.Series, queries: np.ndarray, block: np.ndarray, j: np.ndarray
) -> pd.DataFrame:
    """The similarity of the wanted pairs whose second picture is in the block."""
    here = wanted[wanted["j"].isin(j)]
    column = pd.Series(np.arange(len(j)), index=j)
    a, b = queries[row_of[here["i"]].to_numpy()], block[column[here["j"]].to_numpy()]
    return pd.DataFrame(
        {"i": here["i"].to_numpy(), "j": here["j"].to_numpy(), "similarity": (a * b).sum(1).astype(float)}
    )


def _judge(near: pd.DataFrame, paths: list[Path | str], similarity: float) -> pd.DataFrame:
    """The pairs that are something, with their kind: by how the pictures fit, or by their hashes where they cannot be read."""
    found: list[Fit | None] = [None] * len(near)
    pairs = [(paths[i], paths[j]) for i, j in zip(near["i"], near["j"], strict=True)]
    with progress(len(pairs), "pairs compared") as bar:
        for at, one in fits(pairs):
            found[at] = one
            bar.update()
    detail = np.array([np.nan if one is None else one.detail for one in found], float)
    mirrored = np.array(
        [bool(old) if one is None else one.mirrored for one, old in zip(found, near["mirrored"], strict=True)], bool
    )
    hashed = (near["distance256"] <= VERIFY_BITS).to_numpy(bool)
    twin = (detail >= FITS) | (hashed & ~(detail < CONTRADICTS))
    kind = np.where(
        twin, "near twin", np.where(hashed | (near["similarity"] >= similarity).to_numpy(bool), "look-alike", "")
    ).astype(object)
    for at in map(int, np.flatnonzero(twin & (near["distance64"] <= 4).to_numpy(bool) & ~mirrored)):
        if same_pixels(*pairs[at]):
            kind[at] = "same pixels"
    judged = near.assign(detail=detail, kind=kind, mirrored=mirrored & twin)
    return judged[judged["kind"] != ""]


def _table(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The pairs as LEAKS: leaks first, then twins of val pictures, then look-alikes; the most alike first."""
    one, other = (rows.iloc[pairs[at].to_numpy(int)].reset_index(drop=True) for at in ("i", "j"))
    pairs = pairs.reset_index(drop=True)
    table = pd.DataFrame({"image_id": one["image_id"], "other_id": other["image_id"]})
    table = table.assign(
        split=one["split"], other_split=other["split"], kind=pairs["kind"], mirrored=pairs["mirrored"].astype(bool)
    )
    table["leak"] = (table["kind"] != "look-alike") & (table["split"] == "test")
    for name in ("distance64", "distance256", "detail", "similarity"):
        table[name] = pairs[name].astype(float).round(4)
    for name in ("distance64", "distance256"):
        table[name] = table[name].astype("Int32")
    for name in ("label", "path"):
        table[name], table[f"other_{name}"] = one[name], other[name]
    table["same_group"] = (one["group_id"] == other["group_id"]).fillna(False).astype(bool)
    rank = table["kind"].map({"same pixels": 0, "near twin": 1, "look-alike": 2})
    alike = -table["detail"].fillna(0) - table["similarity"].fillna(0)
    order = pd.DataFrame({"a": ~table["leak"], "b": rank, "c": alike, "d": table["image_id"], "e": table["other_id"]})
    return LEAKS.check(table.loc[order.sort_values(list("abcde")).index].reset_index(drop=True))


def describe(found: Leaks, most: int = 20) -> str:
    """What a person wants to know: what was compared, the pairs, the counts."""
    n = found.counts
    against = f"{n['train']} train and {n['unlabeled']} unlabeled pictures"
    by = f"hashes within {found.bits} of 64 bits" + (f" and vectors of {found.model_id}" if found.model_id else "")
    lines = [f"compared {n['test']} test and {n['val']} val pictures with {against}, and test with val, by {by}"]
    firm = found.pairs[found.pairs["kind"] != "look-alike"]
    lines += [_line(row) for row in firm.head(most).to_dict("records")]
    if len(firm) > most:
        lines.append(f"… and {len(firm) - most} more pairs (--out FILE has all)")
    lines.append(_counts(found))
    if found.model_id is None:
        lines.append("no vectors: crops and added borders were not looked for; `curate embed` makes vectors")
    elif found.unseen:
        lines.append(f"{found.unseen} pictures have no vector and were compared by hashes alone; run `curate embed`")
    return "\n".join(lines)


def _line(row: dict) -> str:
    """A pair as one line."""
    measures = (
        ("bits", None if pd.isna(row["distance64"]) else f"{row['distance64']}/64 {row['distance256']}/256"),
        ("detail", None if pd.isna(row["detail"]) else f"{row['detail']:.2f}"),
        ("similarity", None if pd.isna(row["similarity"]) else f"{row['similarity']:.2f}"),
    )
    said = ", ".join(f"{name} {value}" for name, value in measures if value)
    kind = row["kind"] + (", mirrored" if row["mirrored"] else "")
    labels = [row[name] if isinstance(row[name], str) else "no label" for name in ("label", "other_label")]
    group = "; same group" if row["same_group"] else ""
    return (
        f"{'LEAK' if row['leak'] else 'twin'}  {row['split']} {_short(row['path'])} ({labels[0]}) = "
        f"{row['other_split']} {_short(row['other_path'])} ({labels[1]}): {kind}; {said}{group}"
    )


def _short(path: str) -> str:
    """A path as a person tells it apart: its name, of a blob the first twelve digits."""
    name = Path(path)
    return f"{name.stem[:12]}…" if len(name.stem) == 64 else path


def _counts(found: Leaks) -> str:
    """How many leaks there are, by kind and side; how many other pairs."""
    leaks = found.leaks
    sides = Counter(leaks["other_split"])
    kinds = Counter(leaks["kind"])
    where = ", ".join(f"{count} in {side}" for side, count in sorted(sides.items()))
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    firm = found.pairs["kind"] != "look-alike"
    val = int((firm & (found.pairs["split"] == "val")).sum())
    said = ["no test picture has a twin elsewhere"]
    if len(leaks):
        count = leaks["image_id"].nunique()
        said = [f"{_plural(count, 'test picture')} leak{'s' if count == 1 else ''} ({what}; {where})"]
    if val:
        said.append(f"{_plural(val, 'twin')} of val pictures")
    if (~firm).any():
        said.append(f"{_plural(int((~firm).sum()), 'look-alike')} for a person to judge")
    return "; ".join(said)


def _plural(count: int, what: str) -> str:
    """The count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def as_json(found: Leaks) -> dict:
    """The same for a program."""
    rows = found.pairs.astype(object).where(found.pairs.notna(), None).to_dict("records")
    return {
        "clean": found.leaks.empty, "leaks": len(found.leaks), "compared": found.counts, "bits": found.bits,
        "model_id": found.model_id, "not_readable": found.unread, "without_vector": found.unseen, "pairs": list(_plain(rows)),
    }  # fmt: skip


def facts(found: Leaks) -> dict:
    """What the page says of how it was compared."""
    return {"counts": found.counts, "bits": found.bits, "model_id": found.model_id, "unread": len(found.unread)}


def _plain(rows: Iterable[dict]) -> Iterable[dict]:
    for row in rows:
        yield {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}


def usual_vectors(root: Path) -> Path | None:
    """The workspace's EMBEDDINGS, where there are any."""
    path = root / "embeddings.parquet"
    return path if path.exists() else None


def unread(found: Leaks, most: int = 10) -> str:
    """Which pictures could not be read: nothing is proven of them."""
    named = ", ".join(found.unread[:most]) + (
        f" and {len(found.unread) - most} more" if len(found.unread) > most else ""
    )
    return f"{_plural(len(found.unread), 'picture')} could not be read, so nothing is proven of them: {named}"


def advice(manifest: Path, root: Path, out: Path | None) -> str:
    """What mends the leaks that were found: where the workspace is, its clusters; elsewhere the rows themselves."""
    if not (root / "workspace.yaml").exists():
        return (
            "to mend them: this manifest is away from its workspace; mend it there, or leave the pictures under `other_id` "
            "out of what you train on" + ("" if out else " (--out FILE writes the table)")
        )
    table = out or "leaks.parquet"
    first = "" if out else f"`curate leaks {manifest} --out {table}`, then "
    return (
        f"to mend them: {first}`curate dedup --same {table}` joins each pair in one cluster, and `curate split` then takes the "
        "copies out of train, val and unlabeled; a pair that is no twin: delete its row of the table first"
    )
