from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fruit import encoded, noise, save
from huggingface_hub import DatasetCard

from curate.dataset.export.card import card
from curate.dataset.export.choose import choose
from curate.dataset.export.circumstances import Circumstances, circumstances
from curate.dataset.manifest import rebuild_manifest
from curate.workspace import open_workspace
from schemas.manifest import Manifest, read_manifest
from schemas.tables import AGREEMENT, LABELS, LISTINGS

# what the Hub's documentation allows
SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M"}
CREATORS = {"crowdsourced", "found", "expert-generated", "machine-generated", "no-annotation", "other"}


def table(text: str, title: str) -> pd.DataFrame:
    """The Markdown table below a heading."""
    lines = [line for line in text.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return pd.DataFrame(cells[2:], columns=cells[0])


def of(manifest: Manifest, **known: Any) -> str:
    return card(choose(manifest), replace(circumstances(manifest), **known))


def test_the_hub_parses_the_header_and_its_values_are_allowed(shop: Path, curate: Callable[..., Any]) -> None:
    text = curate("export", "card", cwd=shop).stdout
    data = DatasetCard(text).data.to_dict()
    assert data["task_categories"] == ["image-classification"]
    assert data["license"] == "unknown"
    assert set(data["annotations_creators"]) <= CREATORS
    assert set(data["size_categories"]) <= SIZES
    assert data["language"] == ["es", "pt"]  # of the listings
    assert all(re.fullmatch("[a-z0-9-]+", tag) for tag in data["tags"])
    assert data["pretty_name"] == "Apron: Which pattern does the apron have?"


def test_counts_are_those_of_the_manifest(shop: Path) -> None:
    manifest = read_manifest(shop / "apron.parquet")
    text = of(manifest)
    counted = table(text, "Classes").set_index("class")
    rows = manifest.rows[manifest.rows["split"].isin(["train", "val", "test"])]
    assert [name.strip("`") for name in counted.index[:-1]] == manifest.classes
    for key in manifest.classes:
        for split in ("train", "val", "test"):
            here = ((rows["label"] == key) & (rows["split"] == split)).sum()
            assert int(counted.loc[f"`{key}`", split]) == here
    places = table(text, "Marketplaces").set_index("marketplace")["all"].astype(int)
    assert places.to_dict() == rows["marketplaces"].explode().value_counts().to_dict()
    equal = (rows["n_votes"] == rows["n_agree"]).sum()
    assert f"{equal} ({100 * equal / len(rows):.0f} %) are unanimous" in text


def test_simulated_votes_are_said_at_the_top(shop: Path) -> None:
    head = of(read_manifest(shop / "apron.parquet")).split("## Classes")[0]
    assert "**The answers behind 56 of 56 labels are simulated" in head
    assert "annotations_creators:\n- machine-generated" in head


def test_a_manifest_passed_on_still_says_that_its_votes_are_simulated(shop: Path, tmp_path: Path) -> None:
    here = open_workspace(shop)
    labels = LABELS.read(here.of_task("apron", "labels"))
    LABELS.write(labels[labels["image_id"] != labels["image_id"].iloc[-1]], here.of_task("apron", "labels"))
    built = rebuild_manifest(here, here.task(), "curate aggregate")
    assert built.new
    away = tmp_path / "away.parquet"
    away.write_bytes(built.path.read_bytes())
    assert re.search(r"\*\*The answers behind (\d+) of \1 labels are simulated", of(read_manifest(away)))


def test_agreement_figures_stand_in_it_where_they_were_measured(shop: Path) -> None:
    rows = [
        {"scope": "overall", "name": "all", "n_images": 63, "n_votes": 189, "alpha": 0.8123, "kappa": 0.81, "agreement": 0.9},
        {"scope": "class", "name": "dots", "n_images": 20, "n_votes": 60, "alpha": 0.3, "kappa": 0.3, "agreement": 0.5},
    ]  # fmt: skip
    AGREEMENT.write(AGREEMENT.frame(rows), shop / "apron/agreement.parquet")
    text = of(read_manifest(shop / "apron.parquet"))
    assert "Krippendorff's alpha 0.812, Fleiss' kappa 0.810" in text
    assert "Lowest alpha by class: `dots` (0.300)" in text


@pytest.mark.parametrize(
    ("licenses", "header", "said"),
    [
        ([None], "unknown", "**Unknown.** Neither a license nor a permission is recorded"),
        (["CC-BY-4.0"], "cc-by-4.0", "| CC-BY-4.0 | by contract | 56 |"),
        (["cc-by-4.0", None], "other", "Where the license is unknown, ask the marketplace"),
        (["Shop terms 3"], "other", "| Shop terms 3 | by contract | 56 |"),
    ],
)
def test_the_license_is_what_the_listings_say(shop: Path, licenses: list[str | None], header: str, said: str) -> None:
    listings = LISTINGS.read(shop / "listings.parquet")
    given = [licenses[n % len(licenses)] for n in range(len(listings))]
    permission = None if licenses == [None] else "by contract"
    listings = listings.assign(license=given, permission=[permission] * len(listings))
    LISTINGS.write(listings, shop / "listings.parquet")
    text = of(read_manifest(shop / "apron.parquet"))
    assert DatasetCard(text).data.license == header
    assert said in text


def test_classes_that_cannot_be_tested_are_named(shop: Path) -> None:
    manifest = read_manifest(shop / "apron.parquet")
    out = manifest.rows[manifest.rows["split"] == "out"]
    gold = (out["split_reason"] == "gold").sum()
    assert gold, "the workspace has gold pictures"
    limits = of(manifest).split("## Known limits")[1]
    assert "No test picture, so no figure at all: `hearts`." in limits
    assert "Fewer than 20 test pictures: `plain` (1)" in limits
    assert f"Left out of this export: {len(out)} out ({gold} gold" in limits


def test_groups_that_cross_splits_are_told_of(tmp_path: Path) -> None:
    rows = [
        {"bytes": encoded(noise(n)), "label": "apple", "split": split, "group_id": "g"}
        for n, split in enumerate(["train", "test"])
    ]
    assert "**1 groups cross splits in this manifest.**" in of(save(tmp_path, rows))


def test_what_other_people_wrote_cannot_break_the_page(tmp_path: Path) -> None:
    row = {
        "bytes": encoded(noise(1)),
        "label": "apple",
        "marketplace": "a|b\n<script>",
        "marketplaces": ["a|b\n<script>"],
    }
    text = of(save(tmp_path, [row]))
    assert "| a\\|b &lt;script> | 1 | 1 |" in text


def test_a_card_of_little_knowledge_says_what_is_not_known(tmp_path: Path) -> None:
    text = card(choose(save(tmp_path, [{"bytes": encoded(noise(1)), "label": "apple"}])), Circumstances())
    assert "Who gave the labels (people, experts, a simulation) is not recorded" in text
    assert "Near duplicates were not looked for." in text
    assert "**It was not**" in text
    assert DatasetCard(text).data.to_dict()["language"] == ["und"]
    assert "nan" not in text.lower()
    assert "None" not in text


def test_the_card_goes_into_a_file(shop: Path, curate: Callable[..., Any]) -> None:
    said = curate("export", "card", "--out", "README.md", cwd=shop).stdout
    manifest_id = read_manifest(shop / "apron.parquet").manifest_id
    assert said.startswith(f"card of 56 pictures, manifest {manifest_id[:8]} -> README.md")
    assert DatasetCard.load(shop / "README.md").data.license == "unknown"
