"""--dry-run shows and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from curate.cli import app
from curate.workspace import Workspace


def dry(workspace: Workspace, start: str, *more: str) -> list[str]:
    options = ["--dry-run", "--delay", "0", "--allow-private", "-w", str(workspace.root), *more]
    result = CliRunner().invoke(app, ["scrape", start, *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def files(workspace: Workspace) -> set[Path]:
    return set(workspace.root.rglob("*"))


def test_it_shows_the_fields_of_five_listings_and_writes_nothing(workspace: Workspace, site: Any) -> None:
    site.shop(12)
    site.page("/robots.txt")
    site.replies["/robots.txt"].body = f"User-agent: *\nDisallow: /p/1\nSitemap: {site.url}/s.xml\n".encode()
    before = files(workspace)
    said = dry(workspace, f"{site.url}/list/0")
    assert files(workspace) == before
    assert said[0] == f"{site.url}/robots.txt: 1 of 1 start pages allowed, 0 s between requests"
    assert said[1] == f"  sitemap: {site.url}/s.xml"
    assert [line for line in said if line.startswith("  listing_id")] == [
        f"  listing_id     S{n}" for n in (0, 2, 3, 4, 5)
    ]
    assert "  not kept: forbidden by robots.txt" in said
    assert "  price          199.5" in said
    assert f"    {site.url}/i/0-1.jpg" in said
    assert said[-1] == "dry run: 8 pages read, 5 listings; nothing was written"
    assert not any(path.startswith("/i/") for path in site.asked)


def test_it_says_why_nothing_would_come(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    site.page("/a", "<p>x</p>")
    site.page("/robots.txt", status=503)
    file = tmp_path / "urls.txt"
    file.write_text(f"{site.url}/a\n{site.url}/b\n")
    said = dry(workspace, str(file))
    reason = "robots.txt could not be read (HTTP 503), so nothing is allowed"
    assert said[:2] == [
        f"{site.url}/robots.txt: 0 of 2 start pages allowed, 0 s between requests",
        f"  not allowed: {reason}",
    ]
    assert said[-1] == "dry run: 2 pages read, 0 listings; nothing was written"
    assert site.asked == ["/robots.txt"]


def test_it_shows_what_a_site_reserves(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    site.page("/.well-known/tdmrep.json")
    site.replies["/.well-known/tdmrep.json"].body = b'[{"location": "/p/", "tdm-reservation": 1}]'
    said = dry(workspace, f"{site.url}/p/0")
    assert "  reserved by tdmrep.json, so not kept: 1 of 1 start pages" in said
    assert "  not kept: opted out (tdm-reservation: 1 (tdmrep.json))" in said
