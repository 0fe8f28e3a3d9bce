"""The HIT journal in project.db: every HIT is written down before it is made, so that a killed command never asks twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from curate.database import transaction
from curate.workspace import now

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """A picture in a HIT, and why it is there."""

    image_id: str
    chosen_by: str  # random, uncertain, recheck, gold, …


@dataclass(frozen=True)
class Entry:
    """One HIT of the journal."""

    token: str
    task: str
    round: int
    endpoint: str
    state: str  # pending (written down, perhaps made), created
    images: tuple[Asked, ...]
    reward_cents: int
    max_assignments: int
    question_version: int
    taxonomy_version: int
    hit_id: str | None = None
    hit_type_id: str | None = None
    collected_at: datetime | None = None
    created_at: datetime | None = None
    selection: str | None = None  # hash of the selection that it asks; None = a random sample
    purpose: str = "label"  # label, pilot (its votes do not count), tie-break
    ended: str | None = None  # refused, stopped, expired, deleted; None = answers may still come
    kept_out: tuple[str, ...] = ()  # workers who may not take it, because they answered one of its pictures before

    @property
    def image_ids(self) -> list[str]:
        """Its pictures in order."""
        return [asked.image_id for asked in self.images]


def write_down(project: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Add HITs that are about to be made; call it inside a transaction."""
    project.executemany(
        "INSERT INTO hit_journal (token, task, round, endpoint, state, images, reward_cents, max_assignments, "
        "question_version, taxonomy_version, selection, kept_out, purpose) "
        "VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                e.token, e.task, e.round, e.endpoint,
                json.dumps([{"image_id": a.image_id, "chosen_by": a.chosen_by} for a in e.images]),
                e.reward_cents, e.max_assignments, e.question_version, e.taxonomy_version,
                e.selection, json.dumps(e.kept_out) if e.kept_out else None, e.purpose,
            )
            for e in entries
        ],
    )  # fmt: skip


def made(project: sqlite3.Connection, token: str, hit_id: str, hit_type_id: str) -> None:
    """Note that a HIT exists at the endpoint; call it inside a transaction."""
    project.execute(
        "UPDATE hit_journal SET state = 'created', hit_id = ?, hit_type_id = ?, created_at = ? WHERE token = ?",
        (hit_id, hit_type_id, now().isoformat(), token),
    )
    project.execute("UPDATE ledger SET hit_id = ? WHERE entry_id = ?", (hit_id, f"reserved:{token}"))


def ended(project: sqlite3.Connection, token: str, why: str) -> None:
    """Note that no more workers can take a HIT: refused, stopped, expired or deleted; call it inside a transaction."""
    project.execute("UPDATE hit_journal SET ended = ? WHERE token = ?", (why, token))


def widened(project: sqlite3.Connection, token: str, max_assignments: int) -> None:
    """Note how many workers a HIT may have by now; call it inside a transaction."""
    project.execute("UPDATE hit_journal SET max_assignments = ? WHERE token = ?", (max_assignments, token))


def keep_pilot(project: sqlite3.Connection, task: str) -> list[str]:
    """Let the pilot's HITs be HITs like all others, so that their votes count; returns the ids of those that exist."""
    with transaction(project):
        found = project.execute(
            "SELECT hit_id FROM hit_journal WHERE task = ? AND purpose = 'pilot'", (task,)
        ).fetchall()
        project.execute("UPDATE hit_journal SET purpose = 'label' WHERE task = ? AND purpose = 'pilot'", (task,))
    return [row["hit_id"] for row in found if row["hit_id"]]


def collected(project: sqlite3.Connection, tokens: Sequence[str]) -> None:
    """Note that all answers of these HITs have been read and judged, so that they need not be read again."""
    at = now().isoformat()
    project.executemany("UPDATE hit_journal SET collected_at = ? WHERE token = ?", [(at, token) for token in tokens])


def entries(
    project: sqlite3.Connection, task: str, endpoint: str | None = None, state: str | None = None
) -> list[Entry]:
    """HITs of a task in the order they were written down, at one endpoint or all, in one state or any."""
    return list(each(project, task, endpoint, state))


def each(
    project: sqlite3.Connection, task: str, endpoint: str | None = None, state: str | None = None
) -> Iterator[Entry]:
    """As `entries`, one after the other."""
    where, values = ["task = ?"], [task]
    for column, value in (("endpoint", endpoint), ("state", state)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    rows = project.execute(f"SELECT * FROM hit_journal WHERE {' AND '.join(where)} ORDER BY rowid", values)
    for row in rows:
        yield _entry(row)


def _entry(row: sqlite3.Row) -> Entry:
    facts = dict(row)
    facts["images"] = tuple(Asked(**asked) for asked in json.loads(facts["images"]))
    facts["kept_out"] = tuple(json.loads(facts["kept_out"] or "[]"))
    for name in ("collected_at", "created_at"):
        facts[name] = datetime.fromisoformat(facts[name]) if facts[name] else None
    return Entry(**facts)


def hit_rows(journal: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The HITs that exist, as rows of the HITS table: one per picture of each."""
    for entry in journal:
        for position, asked in enumerate(entry.images if entry.hit_id else ()):
            yield {
                "hit_id": entry.hit_id,
                "image_id": asked.image_id,
                "task": entry.task,
                "position": position,
                "round": entry.round,
                "purpose": entry.purpose,
                "chosen_by": asked.chosen_by,
                "reward_usd": entry.reward_cents / 100,
                "max_assignments": entry.max_assignments,
                "endpoint": entry.endpoint,
                "question_version": entry.question_version,
                "taxonomy_version": entry.taxonomy_version,
                "created_at": entry.created_at,
            }


def hits_table(journal: Iterable[Entry]) -> pd.DataFrame:
    """The HITs that exist, as the HITS table."""
    from schemas.tables import HITS

    return HITS.frame(hit_rows(journal))


def asked(journal: Sequence[Entry], chosen_by: str | None = None) -> set[str]:
    """Pictures that somebody is or was asked about, gold left out; or those chosen for one reason. A refused HIT asked nobody."""
    return {
        a.image_id
        for entry in journal
        if entry.ended != "refused"
        for a in entry.images
        if (a.chosen_by == chosen_by if chosen_by else a.chosen_by != "gold")
    }


def cookies(project: sqlite3.Connection, endpoint: str, seed: int) -> dict[str, str]:
    """By name, what simulated workers of this seed were given when they signed up at the endpoint."""
    rows = project.execute("SELECT name, cookie FROM simulated_worker WHERE endpoint = ?", (endpoint,))
    mine = f"{seed}:"
    return {row["name"].removeprefix(mine): row["cookie"] for row in rows if row["name"].startswith(mine)}


def keep_cookies(project: sqlite3.Connection, endpoint: str, seed: int, given: Mapping[str, str]) -> None:
    """Remember simulated workers, so that they come back as themselves."""
    with transaction(project):
        project.executemany(
            "INSERT OR REPLACE INTO simulated_worker (endpoint, name, cookie) VALUES (?, ?, ?)",
            [(endpoint, f"{seed}:{name}", cookie) for name, cookie in given.items()],
        )
