"""The whole story, small: a shop is scraped, a person and simulated workers answer, three models are trained and compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.manifest import read_manifest
from schemas.tables import HITS, LABELS, LISTINGS, PICTURES, TRUTH, VOTES

SMALL = ("--set", "epochs=2", "--set", "warmup_epochs=1")


@pytest.mark.slow
@pytest.mark.browser
def test_listings_become_labels_and_models(person: Any, chromium: Any) -> None:
    shop = person.folder / "shop"
    scrape_a_market(person)
    person.env["CURATE_WORKSPACE"] = str(shop)
    crowd = ask(person)

    truth = TRUTH.read(shop / "apron" / "truth.parquet").set_index("image_id")["label"].to_dict()
    answer_in_a_browser(chromium, crowd, truth, {c["key"]: c["hotkey"] for c in apron_classes(shop)})
    said = person.types("curate", "crowd", "simulate", "--workers", "8")
    assert "passed the entry test" in said

    person.types("curate", "hits", "collect")
    person.types("curate", "hits", "review", "--yes")
    votes = VOTES.read(shop / "apron" / "votes.parquet")
    by_hand = votes[votes["source"] == "crowd"]
    assert by_hand["worker_id"].nunique() == 1
    assert (by_hand["label"] == by_hand["image_id"].map(truth)).all(), "keys give the class that they stand for"
    assert set(votes["source"]) == {"crowd", "simulated"}
    assert votes["assignment_status"].eq("Approved").all()

    refused = person.types("curate", "aggregate", code=1)
    assert "--source" in refused, "people and simulated workers are never mixed without a word"
    person.types("curate", "aggregate", "--source", "simulated")
    labels = LABELS.read(shop / "apron" / "labels.parquet")
    asked = HITS.read(shop / "apron" / "hits.parquet").query("chosen_by == 'random'")["image_id"].nunique()
    assert labels["dropped"].ne("gold").sum() == asked
    assert labels["label"].notna().sum() + labels["dropped"].notna().sum() == len(labels)
    known = labels.dropna(subset=["label"])
    assert (known["label"] == known["image_id"].map(truth)).mean() > 0.9

    person.types("curate", "split")
    check_data_set(shop)
    compare_models(person, shop)


def scrape_a_market(person: Any) -> None:
    """Draw a small market, scrape it from its own server, check and deduplicate it."""
    from curate.demo.market import draw_market

    market = person.folder / "market"
    draw_market(market, seed=1, scale=0.25)
    url = person.starts("shop", market, "--port", "0")
    person.types("curate", "init", "shop", "--contact", "tests@example.org", "--set", "split.test=0.25")
    person.env["CURATE_WORKSPACE"] = str(person.folder / "shop")
    person.types("curate", "scrape", url, "--delay", "0", "--allow-private")
    person.types("curate", "import", "truth", market / "truth.csv")
    person.types("curate", "check")
    person.types("curate", "dedup")
    shop = person.folder / "shop"
    drawn = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (market / "pictures").rglob("*") if path.is_file()
    }
    pictures = PICTURES.read(shop / "pictures.parquet")
    assert len(LISTINGS.read(shop / "listings.parquet")) > 50
    assert set(pictures["image_id"]) == drawn, "every picture is there once, its bytes as they were"
    assert pictures["dropped"].notna().any(), "the market has broken pictures, and they say so"


def ask(person: Any) -> str:
    """Serve a crowd and post HITs twice: the second time nothing is posted. Returns the crowd's address."""
    key = json.loads(person.types("curate", "crowd", "keys", "issue", "tests", "--json"))
    person.env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
    person.env["CURATE_ENDPOINT"] = crowd = person.starts("curate", "crowd", "serve", "--port", "0")
    person.types("curate", "gold", "import", person.folder / "market" / "gold.csv")
    person.types("curate", "qual", "create")
    person.types("curate", "hits", "create", "--images", "150", "--yes")
    hits = HITS.read(person.folder / "shop" / "apron" / "hits.parquet")
    person.types("curate", "hits", "create", "--images", "150", "--yes")
    again = HITS.read(person.folder / "shop" / "apron" / "hits.parquet")
    pd.testing.assert_frame_equal(hits, again)
    return crowd


def apron_classes(shop: Path) -> list[dict[str, Any]]:
    """The classes of the task file, with their keys on the keyboard."""
    import yaml

    return list(yaml.safe_load((shop / "tasks" / "apron.yaml").read_text(encoding="utf-8"))["classes"])


def answer_in_a_browser(chromium: Any, crowd: str, truth: dict[str, str], hotkeys: dict[str, str]) -> None:
    """A person joins, takes the entry test and one HIT, by keyboard alone, looking at each picture's answer in `truth`."""
    context = chromium.new_context(locale="es-MX")
    page = context.new_page()
    page.goto(crowd)
    page.keyboard.type("Ana")
    enter(page, "**/work")
    enter(page, "**/test/**")
    answer_sheet(page, truth, hotkeys)
    page.wait_for_selector(".result.good")
    enter(page, "**/work")
    enter(page, "**/assignment/**")
    answer_sheet(page, truth, hotkeys)
    page.wait_for_url("**/work?done=1")
    context.close()


def enter(page: Any, expected: str) -> None:
    """Press Enter on what the page put into focus by itself, and wait for the page it leads to."""
    page.wait_for_function("document.activeElement !== document.body")
    page.keyboard.press("Enter")
    page.wait_for_url(expected)


def answer_sheet(page: Any, truth: dict[str, str], hotkeys: dict[str, str]) -> None:
    """Answer every picture with its key, then send at the review."""
    for _ in range(page.locator(".item").count()):
        current = page.locator(".item.current")
        name = current.get_attribute("aria-label")
        picture = current.locator("img").get_attribute("src").rsplit("/", 1)[1]
        page.keyboard.press(hotkeys[truth[picture]])
        page.wait_for_function(
            "n => document.querySelector('.item.current')?.getAttribute('aria-label') !== n", arg=name
        )
    page.keyboard.press("Enter")


def check_data_set(shop: Path) -> None:
    """No group crosses a split, every row is there, and what is out says why."""
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows
    assert len(rows) == len(PICTURES.read(shop / "pictures.parquet"))
    assert rows["split"].notna().all()
    assert rows.loc[rows["split"] == "out", "split_reason"].notna().all()
    inside = rows[rows["split"] != "out"]
    assert inside.groupby("group_id")["split"].agg(lambda s: len(set(s) - {"unlabeled"})).max() <= 1
    assert inside[inside["split"].isin(["val", "test"])]["chosen_by"].eq("random").all()
    assert manifest.classes == [c["key"] for c in apron_classes(shop)]


def compare_models(person: Any, shop: Path) -> None:
    """Three short trainings, the paper's table, and the page; half of the labels moves to the unlabeled pool."""
    manifest = shop / "apron.parquet"
    runs = {method: shop / "runs" / method for method in ("resnet18", "vit", "semivit")}
    common = ("--manifest", manifest, "--recipe", "cpu-quick", "--label-fraction", "0.5", *SMALL)
    person.types("train", "resnet18", *common, "--out", runs["resnet18"])
    person.types("train", "vit", *common, "--out", runs["vit"])
    person.types(
        "train", "semivit", *common, "--set", "semi_steps=4", "--stage1", runs["vit"], "--out", runs["semivit"]
    )
    for run in runs.values():
        record = json.loads((run / "run.json").read_text())
        assert record["manifest_id"] == read_manifest(manifest).manifest_id
        metrics = json.loads((run / "metrics.json").read_text())
        assert 0 <= metrics["test"]["acc1"] <= 1
    table = person.types("train", "report", *runs.values())
    assert all(name in table for name in ("ResNet18", "ViT", "Semi-ViT", "50"))
    predictions = [part for run in runs.values() for part in ("--predictions", run / "predictions.parquet")]
    person.types("curate", "report", *predictions, "--out", person.folder / "report.html")
    page = (person.folder / "report.html").read_text(encoding="utf-8")
    assert "Semi-ViT" in page
    assert 'src="http' not in page, "the page stands alone"
    assert "data:image/" in page
