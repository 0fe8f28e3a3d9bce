"""Pictures of a bucket come in: class folders become TRUTH, many are read at once, a killed import goes on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from curate.collect.blobs import sweep
from curate.collect.export import export_here
from curate.collect.files import ENDINGS, MOST_BYTES, can_go_on, read_files
from curate.collect.folder import SPLIT_FOLDERS, check_classes
from curate.collect.intake import Entry, Intake, Picture
from curate.collect.known import Known, write_truth
from curate.collect.outcome import Outcome, outcome_of
from curate.forgotten import Forgotten
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.progress import progress
from schemas.s3 import SCHEME, bucket_and_key, clear_errors, client
from schemas.storage import read_place

THREADS = 16  # objects read at once


@dataclass(frozen=True)
class Found:
    """What a bucket holds below a prefix, noted in a table of the database that ends with the import."""

    pictures: int
    others: int  # objects that are no pictures by their name
    folders: list[str]  # names of the folders that hold pictures, below the prefix


def import_bucket(
    workspace: Workspace, where: str, task: str | None = None, truth: bool = True, marketplace: str | None = None
) -> Outcome:
    """Take in the pictures below `s3://bucket/prefix`: each is a listing of its own, called by its key.

    The name of the folder that holds a picture is its known class, if the workspace has a task and `truth` is true; a folder
    that the task does not know is refused before anything is read.
    """
    if not where.startswith(SCHEME):
        raise UserError(f"{where}: should look like s3://bucket/prefix; `curate import folder` takes a folder")
    bucket, prefix = bucket_and_key(where)
    source = f"{SCHEME}{bucket}/{prefix}".rstrip("/")
    with can_go_on(workspace.storage), contextlib.closing(workspace.project()) as db:
        found = _look(db, bucket, prefix)
        if not found.pictures:
            raise UserError(f"{source}: holds no pictures ({', '.join(sorted(ENDINGS))} are taken)")
        asked = workspace.task(task) if (found.folders and truth) or task else None
        classes = asked.keys if asked and truth and found.folders else None
        if asked and classes:
            hint = ". --no-truth takes the pictures without known classes"
            check_classes(found.folders, classes, source, asked.task, hint)
        sweep(workspace.storage)
        intake = Intake(db, source, Forgotten.of(workspace))
        intake.take_all(_entries(db, bucket, prefix, marketplace or bucket, set(classes or ())))
        read_files(intake, workspace.storage, read_place, THREADS)
        export_here(workspace)
        known = write_truth(workspace, intake, asked.task, source) if asked and classes else Known()
        return outcome_of(intake, known, found.others, intake.gone())


def _look(db: sqlite3.Connection, bucket: str, prefix: str) -> Found:
    """Every object below a prefix, in a temporary table: a million of them take no memory."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS object (key TEXT PRIMARY KEY, etag TEXT, bytes INTEGER, folder TEXT)")
    db.execute("DELETE FROM temp.object")
    others = 0
    with progress(None, "objects") as bar:
        for page in _pages(bucket, prefix):
            rows = []
            for item in page:
                key = PurePosixPath(item["Key"])
                hidden = any(part.startswith(".") for part in PurePosixPath(item["Key"].removeprefix(prefix)).parts)
                if key.suffix.lower() in ENDINGS and not hidden:
                    rows.append((item["Key"], item["ETag"].strip('"'), item["Size"], _folder(item["Key"], prefix)))
                elif not item["Key"].endswith("/"):
                    others += 1
            db.execute("BEGIN")
            db.executemany("INSERT OR REPLACE INTO temp.object VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
            bar.update(len(page))
    count = db.execute("SELECT count(*) FROM temp.object").fetchone()[0]
    names = db.execute("SELECT DISTINCT folder FROM temp.object WHERE folder IS NOT NULL ORDER BY folder")
    return Found(count, others, [row["folder"] for row in names])


def _folder(key: str, prefix: str) -> str | None:
    """The class folder of an object; none when it lies at the prefix itself, or in `train` and the like."""
    parts = key.removeprefix(prefix).strip("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-2] not in SPLIT_FOLDERS else None


def _pages(bucket: str, prefix: str) -> Iterator[list[dict]]:
    """Objects below a prefix, as S3 lists them; `photos` is not `photos2`."""
    below = f"{prefix}/" if prefix else ""
    with clear_errors(f"{SCHEME}{bucket}/{prefix}", "ListObjectsV2"):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below):
            yield page.get("Contents", [])


def _entries(db: sqlite3.Connection, bucket: str, prefix: str, marketplace: str, classes: set[str]) -> Iterator[Entry]:
    last = ""
    query = "SELECT key, etag, bytes, folder FROM temp.object WHERE key > ? ORDER BY key LIMIT 1000"
    line = 0
    while rows := db.execute(query, (last,)).fetchall():
        for row in rows:
            line += 1
            label = row["folder"] if row["folder"] in classes else None
            picture = Picture(f"{SCHEME}{bucket}/{row['key']}", row["etag"], label=label)
            fits = row["bytes"] <= MOST_BYTES
            fault = () if fits else (f"{row['key']} is larger than {MOST_BYTES / 1e6:g} MB",)
            yield Entry(marketplace, row["key"], {"source": "s3"}, (picture,) if fits else (), line, fault)
        last = rows[-1]["key"]
