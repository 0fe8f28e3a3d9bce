"""Pictures come in when their storage is S3: whole, once, several requests at a time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from photos import as_bytes, photo
from whole import assert_whole

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.folder import import_folder
from curate.collect.plan import Plan
from curate.collect.scrape import scrape
from curate.workspace import Workspace, open_workspace, write_config
from schemas.errors import UserError
from schemas.storage import read_place
from schemas.tables import PICTURES

PLAN = Plan(Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5))
KILLS = 4


@pytest.fixture
def in_s3(workspace: Workspace, s3: str) -> Workspace:
    write_config(workspace.root, workspace.config.model_copy(update={"storage": f"{s3}/shop"}))
    return open_workspace(workspace.root)


def test_a_crawl_brings_every_picture_to_s3(in_s3: Workspace, site: Any) -> None:
    site.shop(12)
    scrape(in_s3, f"{site.url}/list/0", PLAN, export_here)
    assert_whole(in_s3, site)
    assert not [path for path in in_s3.blobs.rglob("*") if path.is_file()]


def test_a_crawl_to_s3_that_is_killed_loses_and_doubles_nothing(in_s3: Workspace, site: Any) -> None:
    rng = random.Random(7)
    command = [sys.executable, "-m", "curate.cli", "scrape", f"{site.url}/list/0", "--delay", "0", "--allow-private",
               "-w", str(in_s3.root), "--refresh"]  # fmt: skip
    died = 0
    for round in range(KILLS):
        site.shop(20 + 5 * round)
        goal = len(site.asked) + rng.randint(10, 60)
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(site.asked) < goal and running.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))  # into the middle of uploads, too
        running.kill()
        running.communicate()
        died += running.returncode == -signal.SIGKILL
    assert died >= KILLS / 2
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert_whole(in_s3, site)


def test_an_s3_that_ends_in_the_middle_is_one_line_and_the_crawl_goes_on_later(
    in_s3: Workspace, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.shop(3)
    there = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"s3://shop-originals/shop/blobs/.*does not answer"):
        scrape(in_s3, f"{site.url}/list/0", PLAN, export_here)
    monkeypatch.setenv("AWS_ENDPOINT_URL", there)
    scrape(in_s3, f"{site.url}/list/0", PLAN, export_here)
    assert_whole(in_s3, site)


def test_a_crawl_keeps_several_pictures_at_once(in_s3: Workspace, site: Any, slow_s3: Any) -> None:
    site.shop(10)
    scrape(in_s3, f"{site.url}/list/0", replace(PLAN), export_here)
    assert slow_s3.most >= 4
    assert len(PICTURES.read(in_s3.table("pictures"))) == 20
    assert slow_s3.requests / 20 == 3, "one to see whether it is there, one to put it there, one to check it"


def test_an_import_keeps_several_pictures_at_once(in_s3: Workspace, slow_s3: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(as_bytes(photo(number)))
    import_folder(in_s3, tmp_path / "in")
    assert slow_s3.most >= 4
    pictures = PICTURES.read(in_s3.table("pictures"))
    assert {read_place(in_s3.original(blob)) for blob in pictures["blob"]} == {
        as_bytes(photo(number)) for number in range(20)
    }
