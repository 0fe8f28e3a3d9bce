"""Counts votes of any size: DuckDB sorts them by picture and worker, spilling to disk, and the rule walks over the sorted rows.

Sorted, all votes on a picture stand together: what repeats is a neighbor, a picture is a run, and a block of whole pictures is
counted at once. So memory depends on the block and not on the votes, and labels and audit come out in image_id order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.label.rule import (
    CHANGED,
    EXCLUDED,
    GOLD,
    INVALID,
    NO_LABEL,
    OTHER_SOURCE,
    PILOT,
    REASONS,
    REJECTED,
    UNQUALIFIED,
    UNSEEN,
    UNSEEN_BY,
    WRONG_ENDPOINT,
    Rule,
    decide,
    mark_late,
    mark_repeats,
)
from curate.label.votes import Votes, literal, quoted, reading
from schemas.errors import UserError
from schemas.question import CANNOT_SEE

BLOCK_ROWS = 250_000  # votes counted at once
BLOCK_CELLS = 8_000_000  # pictures times classes counted at once
LEAST_ROWS = 1000  # a block is no smaller, however many classes there are
SANDBOX = "sandbox"  # in the name of an endpoint where nothing counts
_LABEL_SOURCE = {"imported": "import"}  # LABELS says `import` where VOTES say `imported`
_ASKED, _GOLD_ASKED = 255, 254  # stand for a picture that was asked about, so that it has a row without any vote


@dataclass(frozen=True)
class Filters:
    """Which votes may count at all, besides the rule."""

    source: str | None = None  # crowd, simulated or imported; None = the only one there is
    endpoint: str | None = None  # None = all, but a sandbox never counts beside another
    keep_rejected: bool = False
    gold: Collection[str] = ()  # image_ids whose answer is known
    excluded: Collection[str] = ()  # worker_ids that a person excluded
    images: Collection[str] = ()  # further pictures that were asked about
    honored: Sequence[str] = field(
        default=(GOLD, PILOT, UNQUALIFIED)
    )  # reasons in `dropped` that stay; others are found anew


@dataclass(frozen=True)
class Block:
    """Labels and audited votes of some pictures."""

    labels: pa.Table  # image_id, label, source, n_votes, n_agree, label_probs, method, dropped
    audit: pa.Table  # the asked columns of each vote, dropped


def count(
    votes: Votes,
    rule: Rule,
    filters: Filters,
    columns: Sequence[str] = (),
    step: Callable[[int], object] = lambda _: None,
) -> Iterator[Block]:
    """Labels and audit in image_id order, block by block.

    Args:
        columns: of the votes, which go into the audit.
        step: told how many votes have been counted since it was told last.
    Raises UserError for votes of several sources that `filters.source` does not tell apart, and for a vote without a worker
    or an image, before the block in which that is found.
    """
    source = one_source(votes, filters.source)
    query = _sorted(votes, rule, filters, source, columns)
    with reading(votes.where):
        reader = votes.connection.sql(query).to_arrow_reader(BLOCK_ROWS)
    for rows in _whole_pictures(votes, reader, rule):
        block = _count(rows, rule, source, columns)
        step(block.audit.num_rows)
        yield block


def label_source(votes: Votes, wanted: str | None) -> str:
    """The source of the votes that count, as LABELS say it."""
    source = one_source(votes, wanted)
    return _LABEL_SOURCE.get(source, source)


def one_source(votes: Votes, wanted: str | None) -> str:
    """The one source whose votes count; 'crowd' where the votes do not say."""
    found = votes.few("source")
    if not found:
        return wanted or "crowd"
    if wanted is not None and wanted not in found:
        raise UserError(f"no votes of source {wanted!r}; found {', '.join(found)}")
    if wanted is None and len(found) > 1:
        counts = ", ".join(f"{n} {name}" for name, n in found.items())
        raise UserError(
            f"votes of several sources ({counts}) are never mixed; say which with --source {' or '.join(found)}"
        )
    return wanted or next(iter(found))


def _sorted(votes: Votes, rule: Rule, filters: Filters, source: str, columns: Sequence[str]) -> str:
    """SQL for all votes with the place of their class and of their reason, sorted by picture, worker and time."""
    run = votes.connection
    for name, ids in (("gold", filters.gold), ("excluded", filters.excluded), ("asked", filters.images)):
        run.register(name, pa.table({"id": pa.array(sorted(ids), pa.string())}))
    keys = ", ".join(map(literal, rule.classes))
    run.execute(f"CREATE OR REPLACE TYPE class AS ENUM ({keys})")
    code = "enum_code(try_cast(label AS class))::SMALLINT"
    needed = dict.fromkeys(("image_id", "worker_id", *columns))
    order = [name for name in ("submitted_at", "assignment_id") if votes.has(name)]
    if rule.first_k and "submitted_at" not in order:
        raise UserError(f"{votes.where}: --first-k needs the column submitted_at, to know which answers were first")
    needed |= dict.fromkeys(order)
    shown = ", ".join(map(quoted, needed))
    why = _why(votes, filters, source)
    query = f"SELECT {shown}, {code} AS _code, ({why})::UTINYINT AS _why FROM votes"
    for name, mark in (("asked", _ASKED), ("gold", _GOLD_ASKED)):
        query += f" UNION ALL BY NAME SELECT id AS image_id, {mark}::UTINYINT AS _why FROM {name}"
    keys = ", ".join(f"{name} NULLS FIRST" for name in ("image_id", "worker_id", *order))
    return f"SELECT {shown}, _code, _why FROM ({query}) ORDER BY {keys}"


def _why(votes: Votes, filters: Filters, source: str) -> str:
    """SQL for the place in REASONS, from 1, of the first reason that is true for a vote; 0 where it may count."""
    cases: dict[str, list[str]] = {reason: [] for reason in REASONS}
    if votes.has("source"):
        cases[OTHER_SOURCE].append(f"source <> {literal(source)}")
    if endpoints := _wrong_endpoints(votes, filters.endpoint):
        cases[WRONG_ENDPOINT].append(f"endpoint IN ({', '.join(map(literal, endpoints))})")
    if votes.has("assignment_status") and not filters.keep_rejected:
        cases[REJECTED].append("assignment_status = 'Rejected'")
    if votes.has("qualified"):
        cases[UNQUALIFIED].append("NOT qualified::BOOLEAN")
    if filters.excluded:
        cases[EXCLUDED].append("worker_id IN (SELECT id FROM excluded)")
    cases[UNSEEN].append(f"label = {literal(CANNOT_SEE)}")
    if votes.has("answer"):
        cases[UNSEEN].append(f"answer = {literal(CANNOT_SEE)}")
    if votes.has("class_changed"):
        cases[CHANGED].append("class_changed")
    if votes.has("dropped"):
        for reason in (*filters.honored, UNSEEN):
            cases[reason].append(f"dropped = {literal(reason)}")
    cases[INVALID].append("try_cast(label AS class) IS NULL")
    if filters.gold:
        cases[GOLD].append("image_id IN (SELECT id FROM gold)")
    whens = [f"WHEN {' OR '.join(tests)} THEN {place}" for place, tests in enumerate(cases.values(), start=1) if tests]
    return f"CASE {' '.join(whens)} ELSE 0 END"


def _wrong_endpoints(votes: Votes, wanted: str | None) -> list[str]:
    """The endpoints whose votes do not count."""
    found = list(votes.few("endpoint"))
    if wanted is not None:
        if wanted not in found:
            raise UserError(f"no votes of endpoint {wanted!r}; found {', '.join(found) or 'none'}")
        return [name for name in found if name != wanted]
    tried = [name for name in found if SANDBOX in name]
    return tried if len(tried) < len(found) else []


def _whole_pictures(votes: Votes, reader: pa.RecordBatchReader, rule: Rule) -> Iterator[pa.Table]:
    """Sorted rows in blocks that end where a picture ends."""
    most = max(LEAST_ROWS, min(BLOCK_ROWS, BLOCK_CELLS // max(1, len(rule.classes))))
    waiting: list[pa.RecordBatch] = []
    size = 0
    while True:
        with reading(votes.where):
            batch = next(reader, None)
        if batch is None:
            break
        _check_complete(votes, batch, reader)
        for start in range(0, batch.num_rows, most):
            part = batch.slice(start, most)
            waiting.append(part)
            size += part.num_rows
            if size >= most and (cut := _last_start(part)) is not None:
                yield pa.Table.from_batches([*waiting[:-1], part.slice(0, cut)]).combine_chunks()
                waiting = [part.slice(cut)]
                size = part.num_rows - cut
    if size:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _last_start(batch: pa.RecordBatch) -> int | None:
    """Where the last picture of a batch begins; None when no picture begins inside it."""
    ids = batch.column("image_id")
    last = pc.index(ids, ids[-1]).as_py()
    return last or None


def _check_complete(votes: Votes, rows: pa.RecordBatch, reader: pa.RecordBatchReader) -> None:
    """A vote without an image or a worker belongs to nobody."""
    real = pc.less(rows.column("_why"), _GOLD_ASKED)
    for name in ("image_id", "worker_id"):
        column = rows.column(name)
        if column.null_count and pc.any(pc.and_(real, pc.is_null(column))).as_py():
            reader.close()  # a connection answers one question at a time
            gone = votes.one(f"SELECT count(*) FROM votes WHERE {name} IS NULL")
            raise UserError(f"{votes.where}: {name} is missing in {gone} of {votes.rows} votes; every vote needs one")


def _count(rows: pa.Table, rule: Rule, source: str, columns: Sequence[str]) -> Block:
    """The rule on a block of whole pictures, sorted by picture, worker and time."""
    ids = _chunk(rows, "image_id")
    first = np.r_[True, pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)]
    picture = np.cumsum(first) - 1
    worker = _codes(_chunk(rows, "worker_id"))
    label = _chunk(rows, "_code").fill_null(-1).to_numpy()
    why = _chunk(rows, "_why").to_numpy().copy()
    vote = why < _GOLD_ASKED
    mark_repeats(picture, worker, label, why)
    if rule.first_k:
        mark_late(picture, _in_time(rows), why, rule.first_k)
    n, k = int(picture[-1]) + 1, len(rule.classes)
    counted = why == 0
    counts = np.bincount(picture[counted] * k + label[counted], minlength=n * k).reshape(n, k)
    winner, votes, top, reason = decide(counts, rule)
    changed = np.zeros(n, bool)
    changed[picture[why == REASONS.index(CHANGED) + 1]] = True
    known = np.zeros(n, bool)
    known[picture[(why == REASONS.index(GOLD) + 1) | (why == _GOLD_ASKED)]] = True
    reason = np.where((reason > 0) & changed, NO_LABEL.index("insufficient (class changed)"), reason)
    unseen = _unseen_by(picture, worker, why, n) >= UNSEEN_BY
    reason = np.where((reason > 0) & unseen, NO_LABEL.index(UNSEEN), reason)
    reason = np.where((reason > 0) & known, NO_LABEL.index(GOLD), reason)
    labels = pa.table(
        {
            "image_id": ids.filter(pa.array(first)),
            "label": pa.array([*rule.classes, None], pa.string()).take(pa.array(winner)),
            "source": pa.array([_LABEL_SOURCE.get(source, source), None], pa.string()).take(
                pa.array((winner == k).astype(np.int8))
            ),
            "n_votes": votes.astype(np.int32),
            "n_agree": top.astype(np.int32),
            "label_probs": shares(counts, votes),
            "method": pa.array([rule.kind, None], pa.string()).take(pa.array((winner == k).astype(np.int8))),
            "dropped": pa.array(NO_LABEL, pa.string()).take(pa.array(reason)),
        }
    )
    said = pa.array([None, *REASONS], pa.string()).take(pa.array(why[vote]))
    audit = rows.select(list(dict.fromkeys(columns))).filter(pa.array(vote))
    return Block(labels, audit.append_column("dropped", said) if "dropped" not in columns else _replaced(audit, said))


def _unseen_by(picture: np.ndarray, worker: np.ndarray, why: np.ndarray, n: int) -> np.ndarray:
    """How many people could not see each of n pictures; rows are sorted by picture, then worker."""
    rows = np.flatnonzero(why == REASONS.index(UNSEEN) + 1)
    picture, worker = picture[rows], worker[rows]
    first = np.ones(len(rows), bool)
    first[1:] = (picture[1:] != picture[:-1]) | (worker[1:] != worker[:-1])
    return np.bincount(picture[first], minlength=n)


def _replaced(audit: pa.Table, said: pa.Array) -> pa.Table:
    return audit.set_column(audit.column_names.index("dropped"), "dropped", said)


def shares(counts: np.ndarray, votes: np.ndarray) -> pa.ListArray:
    """The share of each class [n, K] as lists, missing where there is no vote."""
    n, k = counts.shape
    values = (counts / np.maximum(votes, 1)[:, None]).ravel()
    return pa.ListArray.from_arrays(
        pa.array(np.arange(n + 1, dtype=np.int32) * k), pa.array(values), mask=pa.array(votes == 0)
    )


def _chunk(rows: pa.Table, name: str) -> pa.Array:
    column = rows[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _codes(values: pa.Array) -> np.ndarray:
    """A number for each different text."""
    return values.dictionary_encode().indices.fill_null(-1).to_numpy()


def _in_time(rows: pa.Table) -> np.ndarray:
    """The place of each vote in time: submitted_at, then assignment_id, then worker_id."""
    keys = ["worker_id", *(["assignment_id"] if "assignment_id" in rows.column_names else []), "submitted_at"]
    order = np.lexsort([pd.factorize(rows[name].to_pandas(), sort=True)[0] for name in keys])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place
