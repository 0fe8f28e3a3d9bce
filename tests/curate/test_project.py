"""project.db of an older program opens, with everything in it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from curate.database import connect, migrate, transaction
from curate.project import MIGRATIONS, open_project


def test_a_frontier_of_version_5_goes_on_and_asks_by_no_condition(tmp_path: Path) -> None:
    path = tmp_path / "project.db"
    with closing(connect(path)) as old:
        migrate(old, MIGRATIONS[:5], "project.db")
        with transaction(old):
            old.execute(
                "INSERT INTO frontier (url, kind, host, depth, marketplace, state, first_seen_at)"
                " VALUES ('https://a.example/', 'page', 'a.example', 0, 'a.example', 'done', '2026-11-01')"
            )
    with closing(open_project(path)) as new:
        row = new.execute("SELECT url, state, etag, last_modified FROM frontier").fetchone()
        assert tuple(row) == ("https://a.example/", "done", None, None)
