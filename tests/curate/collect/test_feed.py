"""A catalogue comes in: its rows are listings, its pictures are fetched, and what cannot be used says why."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from whole import photo, shown

from curate.cli import app
from curate.collect.export import export_here
from curate.collect.feed import Ask, Fed, finish, import_feed, preview
from curate.collect.fetch import Manners
from curate.forget.plan import Order
from curate.forget.run import forget
from curate.status import describe
from curate.workspace import Workspace
from schemas.errors import Partial, UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)


def take(workspace: Workspace, source: Path | str, *mapped: str, **more: Any) -> Fed:
    return import_feed(workspace, Ask(str(source), more.pop("manners", MANNERS), mapped, **more), export_here)


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def goods(folder: Path, count: int) -> list[dict[str, Any]]:
    """Rows of a catalogue whose pictures lie beside it."""
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(photo(number))
    return [{"id": f"A{n}", "title": f"Delantal {n}", "image": f"{n}.jpg"} for n in range(count)]


def listings(workspace: Workspace) -> Any:
    return LISTINGS.read(workspace.table("listings")).set_index("listing_id")


def reasons(workspace: Workspace) -> dict[str, str]:
    rows = FAILURES.read(workspace.table("failures"))
    return dict(zip(rows["url"], rows["dropped"], strict=True))


def test_a_google_merchant_feed_needs_no_map(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    pictures = [site.picture(f"/{n}.jpg", n) for n in range(3)]
    row = {
        "id": "D-1", "title": "Delantal &amp; lunares", "link": "https://www.shop.example/d-1", "image_link": f"{site.url}/0.jpg",
        "additional_image_link": f"{site.url}/1.jpg,{site.url}/2.jpg", "price": "1,299.50 MXN", "brand": "Casa", "gtin": "750",
        "product_type": "Cocina > Delantales", "color": "rojo", "pattern": "lunares", "item_group_id": "G", "vendor": "Ana",
    }  # fmt: skip
    (tmp_path / "feed.tsv").write_text(as_csv([row], "\t"), encoding="utf-8")
    done = take(workspace, tmp_path / "feed.tsv", country="MX", license="own")
    assert (done.counts.new, done.pictures, done.reasons) == (1, 3, [])
    assert shown(workspace) == {("D-1", n, hashlib.sha256(data).hexdigest()) for n, data in enumerate(pictures)}
    listing = listings(workspace).loc["D-1"]
    names = ("marketplace", "title", "price_raw", "price", "currency", "category", "country", "license", "source")
    assert [listing[name] for name in names] == [
        "shop.example", "Delantal & lunares", "1,299.50 MXN", 1299.5, "MXN", "Cocina > Delantales", "MX", "own", "feed",
    ]  # fmt: skip
    assert listing["attributes"] == {
        "color": "rojo", "pattern": "lunares", "gtin": "750", "item_group_id": "G", "seller": "Ana"
    }  # fmt: skip
    assert site.agents == {MANNERS.user_agent}


def test_a_map_says_which_column_is_what_and_what_separates_pictures(workspace: Workspace, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number))
    rows = [{"ref": "A", "fotos": "0.jpg; 1.jpg", "Precio (MXN)": "199", "tela": "lino"}]
    (tmp_path / "feed.csv").write_text(as_csv(rows), encoding="utf-8")
    mapped = "listing_id=ref,image_urls=fotos(;),price=Precio (MXN),material=tela"
    assert take(workspace, tmp_path / "feed.csv", mapped, marketplace="mx").pictures == 2
    listing = listings(workspace).loc["A"]
    assert (listing["marketplace"], listing["price"], listing["attributes"]) == ("mx", 199.0, {"material": "lino"})


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_brings_the_same_also_gzipped(
    workspace: Workspace, tmp_path: Path, kind: str, packed: bool
) -> None:
    rows = [{**row, "price": "12.50", "currency": "EUR"} for row in goods(tmp_path, 3)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "feed.parquet")
    else:
        text = as_json(rows) if kind == "jsonl" else as_csv(rows, "\t" if kind == "tsv" else ",")
        (tmp_path / f"feed.{kind}").write_text(text, encoding="utf-8")
    path = tmp_path / f"feed.{kind}"
    if packed:
        path = tmp_path / f"feed.{kind}.gz"
        path.write_bytes(gzip.compress((tmp_path / f"feed.{kind}").read_bytes()))
    done = take(workspace, path)
    assert (done.counts.rows, done.counts.new, done.pictures) == (3, 3, 3)
    found = listings(workspace)
    assert found[["title", "price", "currency", "marketplace"]].to_numpy().tolist() == [
        [f"Delantal {n}", 12.5, "EUR", "feed"] for n in range(3)
    ]
    urls = APPEARANCES.read(workspace.table("appearances"))["url"]
    assert sorted(urls) == ["0.jpg", "1.jpg", "2.jpg"]  # relative to the feed: no path of this machine


def test_lists_and_objects_of_json_are_taken_as_they_are(workspace: Workspace, tmp_path: Path) -> None:
    goods(tmp_path, 3)
    row = {"id": 7, "images": ["0.jpg", {"src": "1.jpg"}, "0.jpg"], "price": {"amount": 1.299, "currencyCode": "KWD"},
           "tags": ["a", "b"]}  # fmt: skip
    (tmp_path / "feed.jsonl").write_text(as_json([row]))
    assert take(workspace, tmp_path / "feed.jsonl").pictures == 2
    listing = listings(workspace).loc["7"]
    assert (listing["price"], listing["currency"], listing["attributes"]) == (1.299, "KWD", {"tags": "a, b"})


def test_rows_of_one_shopify_product_are_one_listing(workspace: Workspace, tmp_path: Path) -> None:
    goods(tmp_path, 3)
    text = "Handle,Title,Vendor,Image Src,Image Position\na,Delantal,Ana,0.jpg,1\na,,,1.jpg,2\nb,Otro,Ana,2.jpg,1\na,,,2.jpg,3\n"
    (tmp_path / "feed.csv").write_text(text)
    done = take(workspace, tmp_path / "feed.csv")
    assert (done.counts.rows, done.counts.new, done.counts.joined, done.counts.bad) == (4, 2, 1, 1)
    assert {(one, place) for one, place, _ in shown(workspace)} == {("a", 0), ("a", 1), ("b", 0)}


def test_run_again_with_a_changed_feed_it_changes_what_has_changed(workspace: Workspace, tmp_path: Path) -> None:
    rows = goods(tmp_path, 4)
    path = tmp_path / "feed.csv"
    path.write_text(as_csv(rows[:3]))
    take(workspace, path)
    before = listings(workspace)
    first = APPEARANCES.read(workspace.table("appearances")).set_index(["listing_id", "image_id"])["first_seen_at"]
    PICTURES.write(PICTURES.read(workspace.table("pictures")).assign(format="JPEG"), workspace.table("pictures"))
    changed = [{**rows[0], "title": "Nuevo", "image": "3.jpg,0.jpg"}, rows[1], rows[3]]
    path.write_text(as_csv(changed))
    done = take(workspace, path, "image_urls=image(,)")
    counts = done.counts
    assert (counts.new, counts.changed, counts.same, done.vanished) == (1, 1, 1, 1)
    after = listings(workspace)
    assert after["title"].to_dict() == {"A0": "Nuevo", "A1": "Delantal 1", "A2": "Delantal 2", "A3": "Delantal 3"}
    assert after["first_seen_at"][before.index].equals(before["first_seen_at"])
    assert after["fetched_at"]["A1"] > before["fetched_at"]["A1"]
    assert after["fetched_at"]["A2"] == before["fetched_at"]["A2"]
    names = {hashlib.sha256(photo(n)).hexdigest(): n for n in range(4)}
    assert {(one, place, names[image]) for one, place, image in shown(workspace)} == {
        ("A0", 0, 3), ("A0", 1, 0), ("A1", 0, 1), ("A2", 0, 2), ("A3", 0, 3)
    }  # fmt: skip
    again = APPEARANCES.read(workspace.table("appearances")).set_index(["listing_id", "image_id"])["first_seen_at"]
    assert again[first.index].equals(first)
    assert PICTURES.read(workspace.table("pictures"))["format"].notna().sum() == 3
    assert take(workspace, path, "image_urls=image(,)").counts.same == 3


def test_a_picture_file_that_has_changed_is_read_again(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text(as_csv(goods(tmp_path, 1)))
    take(workspace, tmp_path / "feed.csv")
    (tmp_path / "0.jpg").write_bytes(photo(9) + b" ")
    take(workspace, tmp_path / "feed.csv")
    assert hashlib.sha256(photo(9) + b" ").hexdigest() in {image for *_, image in shown(workspace)}


def test_pictures_that_cannot_be_had_say_why_and_are_asked_for_again_with_refresh(
    workspace: Workspace, site: Any, tmp_path: Path
) -> None:
    good = photo(1)
    (tmp_path / "good.jpg").write_bytes(good)
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    rows = [
        {"id": "gone", "image": f"{site.url}/gone.jpg"}, {"id": "page", "image": "page.jpg"}, {"id": "none", "image": ""},
        {"id": "lost", "image": "lost.jpg"}, {"id": "long", "image": "https://x.example/" + "a" * 10_000},
        {"id": "odd", "image": "data:image/png;base64,AAAA"}, {"id": "good", "image": "good.jpg"},
    ]  # fmt: skip
    (tmp_path / "feed.jsonl").write_text(as_json(rows))
    done = take(workspace, tmp_path / "feed.jsonl")
    why = listings(workspace)["dropped"]
    assert why["good"] != why["good"]  # missing
    assert why["none"] == why["long"] == why["odd"] == "no usable picture in its row"
    assert why["gone"] == why["page"] == why["lost"] == "none of its pictures could be had"
    said = reasons(workspace)
    assert said["lost.jpg"] == "no such file"
    assert said["page.jpg"] == "not a picture (begins with b'<html>')"
    assert said[f"{site.url}/gone.jpg"] == "HTTP 404"
    assert "10,018 characters" in said["feed.jsonl#5/1"]
    assert "not fetched (data:" in said["feed.jsonl#6/1"]
    with pytest.raises(
        Partial, match=r"7 rows: 7 new listings; 1 pictures; 3 pictures failed: 1 .*; 2 picture addresses not"
    ):
        finish(done)
    site.picture("/gone.jpg", 5)
    assert take(workspace, tmp_path / "feed.jsonl").pictures == 1
    assert take(workspace, tmp_path / "feed.jsonl", refresh=True).pictures == 2


def test_the_same_row_twice_is_one_listing_and_another_with_its_id_says_so(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = goods(tmp_path, 2)
    (tmp_path / "feed.csv").write_text(as_csv([rows[0], rows[1], rows[0], {**rows[0], "title": "Otro"}]))
    done = take(workspace, tmp_path / "feed.csv")
    assert (done.counts.rows, done.counts.new, done.counts.repeated, done.counts.bad) == (4, 2, 1, 1)
    assert reasons(workspace) == {"feed.csv#5": "another listing (line 2) has the same id"}
    assert listings(workspace).loc["A0", "title"] == "Delantal 0"
    with pytest.raises(Partial, match=r"1 rows not taken: line 5: another listing \(line 2\) has the same id"):
        finish(done)
    (tmp_path / "feed.csv").write_text(as_csv(rows))
    take(workspace, tmp_path / "feed.csv")
    assert reasons(workspace) == {}  # what was put right is no failure any more


def test_what_was_forgotten_on_request_does_not_come_in_again(workspace: Workspace, tmp_path: Path, site: Any) -> None:
    rows = [{**row, "seller": seller} for row, seller in zip(goods(tmp_path, 3), ("Ana", "Luis", "Ana"), strict=True)]
    far = hashlib.sha256(site.picture("/i/far.jpg", 50)).hexdigest()
    rows.append({**rows[0], "id": "A9", "image": f"{site.url}/i/far.jpg"})
    feed = tmp_path / "feed.csv"
    feed.write_text(as_csv(rows))
    take(workspace, feed)
    order = Order(images=[far], listings=["feed/A0"], sellers=["Luis"])
    assert forget(workspace, order, lambda _: True, lambda _: None) is not None
    assert take(workspace, feed, refresh=True).counts.forgotten == 2
    assert set(listings(workspace).index) == {"A2", "A9"}
    assert far not in set(PICTURES.read(workspace.table("pictures"))["image_id"])
    assert site.asked.count("/i/far.jpg") >= 1


def test_status_counts_what_a_feed_brought_beside_what_a_crawl_did(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text(as_csv(goods(tmp_path, 3)))
    take(workspace, tmp_path / "feed.csv")
    said = describe(workspace)
    assert "listings  3 on 1 marketplaces" in said
    assert "crawl" not in said


def test_a_feed_on_the_web_is_fetched_and_its_relative_pictures_too(workspace: Workspace, site: Any) -> None:
    site.picture("/i/1.jpg", 1)
    site.serve("/f/feed.csv", b"id,image\nA,../i/1.jpg\n", "text/csv")
    assert take(workspace, f"{site.url}/f/feed.csv").pictures == 1
    with pytest.raises(UserError, match=r"/none\.csv: HTTP 404; fetch it yourself"):
        take(workspace, f"{site.url}/none.csv")


def test_the_manners_of_a_crawl_hold_for_pictures(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    site.picture("/no/1.jpg", 1)
    site.picture("/yes/1.jpg", 2)
    site.serve("/robots.txt", b"User-agent: *\nDisallow: /no/", "text/plain")
    rows = [{"id": "A", "image": f"{site.url}/no/1.jpg"}, {"id": "B", "image": f"{site.url}/yes/1.jpg"}]
    (tmp_path / "feed.csv").write_text(as_csv(rows))
    assert take(workspace, tmp_path / "feed.csv").pictures == 1
    assert reasons(workspace) == {f"{site.url}/no/1.jpg": "forbidden by robots.txt"}
    assert "/no/1.jpg" not in site.asked
    closed = Manners("tests@example.org", delay=0)
    (tmp_path / "feed.csv").write_text(as_csv([{"id": "C", "image": f"{site.url}/yes/2.jpg"}]))
    assert [why for why, _ in take(workspace, tmp_path / "feed.csv", manners=closed).reasons] == [
        "127.0.0.1 is a private address; --allow-private allows it"
    ]
    with pytest.raises(UserError, match="whom to write to"):
        take(workspace, tmp_path / "feed.csv", manners=Manners(""))


def test_pages_that_a_crawl_left_for_later_are_not_fetched_by_an_import(
    workspace: Workspace, site: Any, tmp_path: Path
) -> None:
    from curate.collect.plan import Plan
    from curate.collect.scrape import scrape

    site.shop(5)
    scrape(workspace, f"{site.url}/list/0", Plan(MANNERS, max_listings=1), export_here)
    asked = len(site.asked)
    (tmp_path / "feed.csv").write_text(as_csv(goods(tmp_path, 1)))
    take(workspace, tmp_path / "feed.csv")
    assert len(site.asked) == asked
    site.asked.clear()
    scrape(workspace, f"{site.url}/list/0", Plan(MANNERS, refresh=True), export_here)
    assert sorted(listings(workspace).index) == ["A0", "S0", "S1", "S2", "S3", "S4"]
    assert reasons(workspace) == {}


def test_a_dry_run_says_what_each_column_is_taken_for_and_writes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{**row, "sku": "x", "Tela": "lino"} for row in goods(tmp_path, 5)]
    (tmp_path / "feed.csv").write_text(as_csv(rows))
    lines = list(preview(Ask(str(tmp_path / "feed.csv"), MANNERS, ["image_urls=image(;)"])))
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:6]}
    assert told["id"] == "listing_id"
    assert told["image"] == "image_urls, many in a cell, separated by ';'"
    assert (told["sku"], told["Tela"]) == ("attribute sku", "attribute tela")
    assert [line for line in lines if line.startswith("line ")] == [f"line {n + 2}: feed A{n}" for n in range(3)]
    assert not (workspace.root / "project.db").exists()


def test_the_command_prints_one_line_and_ends_with_3_when_something_failed(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = goods(tmp_path, 2)
    (tmp_path / "feed.csv").write_text(as_csv(rows))
    words = ["import", "feed", str(tmp_path / "feed.csv"), "-w", str(workspace.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 rows: 2 new listings; 2 pictures -> ")
    (tmp_path / "1.jpg").unlink()
    environment = {**os.environ, "CURATE_WORKSPACE": str(workspace.root)}
    failed = subprocess.run(
        [sys.executable, "-m", "curate.cli", *words], capture_output=True, text=True, env=environment, timeout=60
    )
    assert failed.returncode == 3
    assert "1 pictures failed: 1 no such file" in failed.stderr


def test_a_full_disk_gets_one_line_and_the_same_command_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import curate.collect.files as module

    (tmp_path / "feed.csv").write_text(as_csv(goods(tmp_path, 6)))
    put, calls = module.put, itertools.count()

    def full(*given: Any) -> Any:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        return put(*given)

    monkeypatch.setattr(module, "put", full)
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device\); run the same command again"):
        take(workspace, tmp_path / "feed.csv")
    assert take(workspace, tmp_path / "feed.csv").pictures == 6
    assert len(shown(workspace)) == 6


def _moments(count: int) -> Iterator[int]:
    yield from (1 + 7 * number % 40 for number in range(count))


def test_killed_again_and_again_it_loses_and_doubles_nothing(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    rows = goods(tmp_path, 30)
    data = [site.picture(f"/w{n}.jpg", 100 + n) for n in range(30)]
    for number, row in enumerate(rows):
        row["image"] = f"{row['image']}|{site.url}/w{number}.jpg"
    (tmp_path / "feed.csv").write_text(as_csv(rows))
    words = [
        "import",
        "feed",
        str(tmp_path / "feed.csv"),
        "--map",
        "image_urls=image(|)",
        "--delay",
        "0",
        "--allow-private",
    ]
    command = [sys.executable, "-m", "curate.cli", *words, "-w", str(workspace.root)]
    died = 0
    for wanted in _moments(6):
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        goal = len(site.asked) + wanted
        while len(site.asked) < goal and running.poll() is None:
            time.sleep(0.001)
        running.kill()
        running.communicate()
        died += running.returncode == -signal.SIGKILL
    assert died >= 1
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    expected = {(f"A{n}", 0, hashlib.sha256(photo(n)).hexdigest()) for n in range(30)}
    expected |= {(f"A{n}", 1, hashlib.sha256(data[n]).hexdigest()) for n in range(30)}
    assert shown(workspace) == expected
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 60
    assert not list(workspace.blobs.rglob("*.part"))
