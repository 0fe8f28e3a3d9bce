"""project.db: what several commands of one workspace write at once, the crawl frontier, the HIT journal and the budget.

It belongs to the workspace and is never read by the crowd server, as crowd.db is never read from here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from curate.database import connect, migrate

_VERSION_1 = """
CREATE TABLE frontier (
    url TEXT PRIMARY KEY,
    kind TEXT NOT NULL,            -- page, product (a page that turned out to be one), picture
    host TEXT NOT NULL,            -- host and port: the unit of politeness
    depth INTEGER NOT NULL,        -- links from a start page; pages of one list count as one
    marketplace TEXT NOT NULL,     -- of a page: its host until more is known
    listing_id TEXT,               -- of a product, and of a picture the first listing that shows it
    state TEXT NOT NULL,           -- pending, done, failed
    dropped TEXT,                  -- why it failed
    later INTEGER NOT NULL DEFAULT 0,  -- of a failure: 1 = the next run tries again
    status INTEGER,                -- HTTP status
    tries INTEGER NOT NULL DEFAULT 0,
    final_url TEXT,
    image_id TEXT,                 -- of a picture: sha256 of its bytes
    blob TEXT,
    bytes INTEGER,
    data TEXT,                     -- of a product: its columns of LISTINGS, JSON
    first_seen_at TEXT NOT NULL,   -- UTC, ISO 8601
    fetched_at TEXT
);
CREATE INDEX frontier_state ON frontier (state, host, kind);
CREATE INDEX frontier_listing ON frontier (marketplace, listing_id) WHERE kind = 'product';
CREATE TABLE gallery (             -- which listing shows which picture address, at which place
    marketplace TEXT NOT NULL,
    listing_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    PRIMARY KEY (marketplace, listing_id, position)
);
CREATE TABLE hit_journal (         -- one row a HIT, written before the call that makes it
    token TEXT PRIMARY KEY,        -- UniqueRequestToken and RequesterAnnotation
    task TEXT NOT NULL,
    round INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL,           -- pending, created, expired
    hit_id TEXT UNIQUE,
    hit_type_id TEXT,
    images TEXT NOT NULL,          -- JSON list of {image_id, chosen_by}, in order
    reward_cents INTEGER NOT NULL,
    max_assignments INTEGER NOT NULL,
    question_version INTEGER NOT NULL,
    taxonomy_version INTEGER NOT NULL,
    collected_at TEXT,             -- when all its assignments had been read
    created_at TEXT
);
CREATE INDEX hit_journal_task ON hit_journal (task, endpoint, state);
CREATE TABLE qualification (       -- the entry test of a task at an endpoint
    task TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    qualification_type_id TEXT NOT NULL,
    questions INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (task, endpoint)
);
CREATE TABLE ledger (              -- every movement of money; the budget is the sum
    entry_id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    task TEXT NOT NULL,
    kind TEXT NOT NULL,            -- reserved, released, earned, bonus, fee, paid
    micro_usd INTEGER NOT NULL,    -- 1 USD = 1,000,000; a release is negative
    hit_id TEXT,
    assignment_id TEXT,
    worker_id TEXT,
    note TEXT
)
"""

_VERSION_2 = """
CREATE TABLE simulated_worker (    -- so that simulated people come back as themselves
    endpoint TEXT NOT NULL,
    name TEXT NOT NULL,            -- with the seed
    cookie TEXT NOT NULL,          -- of a simulated worker: it opens nothing that is worth keeping secret
    PRIMARY KEY (endpoint, name)
)
"""

_VERSION_3 = """
-- hash of the selection whose pictures the HIT asks; NULL = a random sample
ALTER TABLE hit_journal ADD COLUMN selection TEXT;
-- JSON list of workers who may not take the HIT; NULL = nobody
ALTER TABLE hit_journal ADD COLUMN kept_out TEXT
"""

_VERSION_4 = """
-- what the HIT is for: label, pilot (its votes do not count), tie-break
ALTER TABLE hit_journal ADD COLUMN purpose TEXT NOT NULL DEFAULT 'label';
-- why no more answers come: refused (the endpoint did not make it), stopped, expired, deleted; NULL = they may
ALTER TABLE hit_journal ADD COLUMN ended TEXT;
-- every assignment that was read, as the endpoint gave it, so that reading may stop anywhere
CREATE TABLE answer (
    assignment_id TEXT PRIMARY KEY,
    token TEXT NOT NULL,           -- of its HIT in hit_journal
    worker_id TEXT NOT NULL,
    status TEXT NOT NULL,          -- Submitted, Approved, Rejected
    accepted_at REAL,              -- seconds since 1970, UTC
    submitted_at REAL NOT NULL,
    xml TEXT NOT NULL
);
CREATE INDEX answer_token ON answer (token)
"""

_VERSION_5 = """
CREATE TABLE upload (              -- display copies that workers load from S3
    place TEXT NOT NULL,           -- s3://bucket/prefix
    image_id TEXT NOT NULL,
    key TEXT NOT NULL,             -- random, written before the copy is put there
    uploaded_at TEXT,              -- NULL = perhaps not there yet
    PRIMARY KEY (place, image_id)
)
"""

_VERSION_6 = """
-- state may also be stale: done, and to be asked for again by a conditional request (curate scrape --refresh)
ALTER TABLE frontier ADD COLUMN etag TEXT;
ALTER TABLE frontier ADD COLUMN last_modified TEXT
"""

_VERSION_7 = """
CREATE TABLE forgotten (           -- what must not come back (curate forget); nothing here can be read backwards
    kind TEXT NOT NULL,            -- image, listing, seller
    hash TEXT NOT NULL,            -- sha256 of the salt and the name
    forgotten_at TEXT NOT NULL,    -- UTC, ISO 8601
    forgotten_by TEXT NOT NULL,
    reason TEXT,
    rows INTEGER,                  -- of tables that went with the order
    PRIMARY KEY (kind, hash)
);
CREATE TABLE forgetting (          -- salt: of all hashes; plan: what a run has still to take away, JSON; gone when it is done
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
)
"""

MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7)


def open_project(path: Path) -> sqlite3.Connection:
    """Open a workspace's project.db, made or brought to the newest version as needed."""
    connection = connect(path)
    migrate(connection, MIGRATIONS, str(path))
    return connection
