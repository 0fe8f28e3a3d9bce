"""Amazon Berkeley Objects in both shapes that occur, from folders and from tars, with weak labels and its license."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from whole import photo, shown

from curate.cli import app
from curate.collect.abo import Ask, import_abo
from curate.collect.outcome import Outcome
from curate.collect.value_map import read_value_map
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, TRUTH, WEAK_LABELS

LICENSE = "Amazon Berkeley Objects (c) by Amazon.com. Licensed under Creative Commons Attribution 4.0 (CC BY 4.0)."


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"language_tag": tag, "value": value} for tag, value in pairs]


def real(item: str, domain: str = "amazon.com", **more: Any) -> dict[str, Any]:
    """A listing as the files have it."""
    return {
        "brand": said(("en_US", "AmazonBasics")), "item_id": item, "domain_name": domain, "marketplace": "Amazon",
        "item_name": said(("de_DE", f"Hülle {item}"), ("en_US", f"Case {item}")), "model_year": [{"value": 2017}],
        "product_type": [{"value": "CELLULAR_PHONE_CASE"}], "country": "US", "main_image_id": f"{item}+m",
        "node": [{"node_id": 1, "node_name": "/Categorías/Fundas"}], **more,
    }  # fmt: skip


def readme(item: str, **more: Any) -> dict[str, Any]:
    """A listing as the README describes it."""
    return {**real(item), "product_type": "CELLULAR_PHONE_CASE", "node": {"node_id": 1, "path": "/Fundas"},
            "model_year": said(("en_US", "2017"))} | more  # fmt: skip


def lay_out(root: Path, *rows: dict[str, Any], images: tuple[str, ...] = ()) -> Path:
    """The folders that the tars unpack to; every picture that a listing names, and `images` besides."""
    named = [one for row in rows for one in (row.get("main_image_id"), *row.get("other_image_id", ())) if one]
    files = {name: f"{number:02x}/{number:08x}.jpg" for number, name in enumerate(dict.fromkeys((*named, *images)))}
    for number, path in enumerate(files.values()):
        for size, seed in (("small", number), ("original", 1000 + number)):
            place = root / "images" / size / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(photo(seed))
    table = "image_id,height,width,path\n" + "".join(f"{name},96,96,{path}\n" for name, path in files.items())
    (root / "images" / "metadata").mkdir(parents=True, exist_ok=True)
    (root / "images" / "metadata" / "images.csv.gz").write_bytes(gzip.compress(table.encode()))
    (root / "listings" / "metadata").mkdir(parents=True, exist_ok=True)
    for part in range(2):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[part::2])
        (root / "listings" / "metadata" / f"listings_{part:x}.json.gz").write_bytes(gzip.compress(lines.encode()))
    (root / "LICENSE-CC-BY-4.0.txt").write_text(LICENSE)
    return root


def take(workspace: Workspace, root: Path, **more: Any) -> Outcome:
    return import_abo(workspace, Ask(root, small=more.pop("small", True), **more))


def test_a_listing_is_known_by_item_and_domain_in_both_shapes(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        real("A"), real("A", "amazon.com.mx", country="MX", item_name=said(("en_US", "Case"), ("es_MX", "Funda"))),
        readme("B", other_image_id=["x-1", "x+2"]), real("C", product_type=[{"value": "CHAIR"}]),
        {"item_id": "D", "domain_name": "amazon.in"},
    ]  # fmt: skip
    root = lay_out(tmp_path / "abo", *rows)
    done = take(workspace, root, product_types=("CELLULAR_PHONE_CASE",))
    assert (done.counts.new, done.pictures, done.failed, done.notes) == (3, 4, [], [])
    listings = LISTINGS.read(workspace.table("listings")).set_index(["marketplace", "listing_id"])
    assert set(listings.index) == {("amazon.com", "A"), ("amazon.com.mx", "A"), ("amazon.com", "B")}
    at_home = listings.loc[("amazon.com.mx", "A")]
    assert (at_home["title"], at_home["language"], at_home["country"]) == ("Funda", "es-MX", "MX")
    assert listings["category"].to_dict()[("amazon.com", "A")] == "/Categorías/Fundas"
    assert listings["category"].to_dict()[("amazon.com", "B")] == "/Fundas"
    assert {one["model_year"] for one in listings["attributes"]} == {"2017"}
    assert set(listings["license"]) == {"CC BY 4.0"}
    assert (workspace.root / "licenses" / "abo" / "LICENSE-CC-BY-4.0.txt").read_text() == LICENSE
    assert {place for one, place, _ in shown(workspace) if one == "B"} == {0, 1, 2}
    assert take(workspace, root).counts.new == 2  # the other product types join; the one without pictures too
    assert (
        LISTINGS.read(workspace.table("listings")).set_index("listing_id")["dropped"]["D"]
        == "no usable picture in its row"
    )


def test_small_pictures_or_the_originals(workspace: Workspace, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "abo", real("A"))
    take(workspace, root)
    assert {image for *_, image in shown(workspace)} == {hashlib.sha256(photo(0)).hexdigest()}
    take(workspace, root, small=False)
    assert hashlib.sha256(photo(1000)).hexdigest() in {image for *_, image in shown(workspace)}
    assert set(APPEARANCES.read(workspace.table("appearances"))["url"]) >= {"images/original/00/00000000.jpg"}


def test_the_tars_are_read_where_they_lie(workspace: Workspace, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "abo", real("A"), readme("B"))
    tars = tmp_path / "tars"
    tars.mkdir()
    with tarfile.open(tars / "abo-listings.tar", "w") as tar:
        tar.add(root / "listings", "listings")
        tar.add(root / "LICENSE-CC-BY-4.0.txt", "listings/LICENSE-CC-BY-4.0.txt")
    with tarfile.open(tars / "abo-images-small.tar", "w") as tar:
        tar.add(root / "images" / "metadata", "images/metadata")
        tar.add(root / "images" / "small", "images/small")
    done = take(workspace, tars)
    assert (done.counts.new, done.pictures, done.failed, done.notes) == (2, 2, [], [])
    assert {image for *_, image in shown(workspace)} == {hashlib.sha256(photo(n)).hexdigest() for n in range(2)}


def test_weak_labels_keep_what_was_said_and_stay_apart_from_labels_and_truth(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "pattern.yaml").write_text("dots: [Polka  Dots, Lunares, 水玉]\nplain: [solid]\nno: [off]\n")
    color = [{"language_tag": "en_US", "value": "Midnight", "standardized_values": ["Blue"]}]
    rows = [
        real("A", pattern=said(("en_US", "polka dots"), ("es_MX", "LUNARES")), color=color), real("B", pattern=said(("ja_JP", "水玉"))),
        real("C", pattern=said(("en_US", "Marble"), ("de_DE", "Marmor"))), real("D", pattern=said(("en_US", "Marble"))),
    ]  # fmt: skip
    (tmp_path / "color.yaml").write_text("Blue: blue\n")
    maps = {name: read_value_map(tmp_path / f"{name}.yaml") for name in ("pattern", "color")}
    root = lay_out(tmp_path / "abo", *rows)
    done = take(workspace, root, maps=maps)
    assert done.notes == ["pattern: 3 values are in no class of the map: 'Marble' 2, 'Marmor' 1"]
    weak = WEAK_LABELS.read(workspace.table("weak_labels"))
    found = {(row.attribute, row.language, row.value, row.label) for row in weak.fillna("-").itertuples()}
    assert found == {
        ("pattern", "en-US", "polka dots", "dots"), ("pattern", "es-MX", "LUNARES", "dots"), ("pattern", "ja-JP", "水玉", "dots"),
        ("pattern", "en-US", "Marble", "-"), ("pattern", "de-DE", "Marmor", "-"), ("color", "en-US", "Midnight", "blue"),
    }  # fmt: skip
    assert len(weak) == 7
    assert set(weak["source"]) == {"abo"}
    take(workspace, root)
    assert len(WEAK_LABELS.read(workspace.table("weak_labels"))) == 7
    assert not workspace.of_task("apron", "truth").exists()
    assert not workspace.of_task("apron", "labels").exists()
    assert TRUTH.name != WEAK_LABELS.name


def test_missing_pictures_and_broken_rows_say_why(workspace: Workspace, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "abo", real("A", other_image_id=["gone"]), real("B"), real("C"))
    (root / "images" / "small" / "01" / "00000001.jpg").unlink()
    table = root / "images" / "metadata" / "images.csv.gz"
    kept = [line for line in gzip.decompress(table.read_bytes()).decode().splitlines() if not line.startswith("B+m")]
    table.write_bytes(gzip.compress("\n".join(kept).encode()))
    part = root / "listings" / "metadata" / "listings_1.json.gz"
    part.write_bytes(gzip.compress(gzip.decompress(part.read_bytes()) + b'{"item_id": "X"}\n{cut'))
    words = ["import", "abo", str(root), "--small", "-w", str(workspace.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    failures = FAILURES.read(workspace.table("failures")).set_index("url")["dropped"].to_dict()
    assert failures["images/small/01/00000001.jpg"] == "no such file"
    assert failures["abo#listings_1.json.gz:1/1"] == "picture B+m is not in images.csv"
    assert failures["abo#listings_1.json.gz:2"] == "no item_id or no domain_name"
    assert failures["abo#listings_1.json.gz:3"].startswith("no JSON (")
    assert {one for one, *_ in shown(workspace)} == {"A", "C"}


def test_what_is_not_the_data_set_gets_one_line(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such folder; expected the folder of Amazon Berkeley Objects"):
        take(workspace, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no images/metadata/images\.csv\.gz"):
        take(workspace, tmp_path / "empty")
    root = lay_out(tmp_path / "abo", real("A"))
    with pytest.raises(UserError, match="holds no listing of product type SHOES"):
        take(workspace, root, product_types=("SHOES",))
    part = root / "listings" / "metadata" / "listings_0.json.gz"
    part.write_bytes(part.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"listings_0\.json\.gz: is cut off after line \d; no table has changed"):
        take(workspace, root)
    assert not workspace.table("listings").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("dots: [a]\nplain: [A]\n", "is given two keys, dots and plain"), ("- a", "expected lines of"), ("a: {b: c}", "expected"),
     ("a: [", "cannot be read as YAML")],
)  # fmt: skip
def test_a_value_map_that_is_none_says_so(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_value_map(tmp_path / "map.yaml")
