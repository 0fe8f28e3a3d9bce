from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from curate.demo.goods import GOODS
from curate.demo.market import Market, draw_market, read_market
from curate.tasks import make_task

CLASSES = [one.key for one in make_task("apron").classes]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def ids(name: str, seed: int) -> list[str]:
        return [photo.image_id for photo in draw_market(tmp_path / name, seed, 0.03).photos]

    first = ids("a", 1)
    assert first == ids("b", 1)
    assert not set(first) & set(ids("c", 2))


def test_every_class_of_the_shipped_task_is_drawn_and_no_other(market: Market) -> None:
    assert {photo.label for photo in market.photos} == set(CLASSES)


@pytest.mark.parametrize("task", list(GOODS))
def test_a_market_of_each_product_has_the_classes_of_its_task_in_every_view(task: str, tmp_path: Path) -> None:
    goods, classes = GOODS[task], [one.key for one in make_task(task).classes]
    assert list(goods.shares) == classes
    assert sum(goods.shares.values()) == pytest.approx(1)
    assert set(goods.reasons) == set(classes) - {"other"}
    drawn = draw_market(tmp_path, 2, 0.16, goods=goods)
    assert {photo.label for photo in drawn.photos} == set(classes)
    assert {photo.view for photo in drawn.photos if photo.label != "other"} == set(goods.views)
    assert {row["label"] for row in rows(tmp_path / "gold.csv")} == set(classes)


def test_a_photo_is_where_it_says_and_its_id_is_the_hash_of_its_bytes(market: Market) -> None:
    for photo in market.photos:
        assert hashlib.sha256((market.folder / photo.file).read_bytes()).hexdigest() == photo.image_id


def test_truth_names_every_picture_once(market: Market) -> None:
    truth = {row["image_id"]: row["label"] for row in rows(market.folder / "truth.csv")}
    assert len(truth) == len(rows(market.folder / "truth.csv"))
    assert truth == {photo.image_id: photo.label for photo in market.photos}


def test_gold_is_clear_spread_over_the_classes_and_has_no_twin(market: Market) -> None:
    gold = rows(market.folder / "gold.csv")
    counts = Counter(row["label"] for row in gold)
    assert set(counts) == set(CLASSES)
    assert max(counts.values()) - min(counts.values()) <= 1
    photos = {photo.image_id: photo for photo in market.photos}
    taken_over = {photo.origin for photo in market.photos}
    for row in gold:
        photo = photos[row["image_id"]]
        assert (photo.label, photo.made, photo.hard) == (row["label"], "drawn", False)
        assert photo.image_id not in taken_over
        assert row["explanation"]


def test_resellers_take_over_photos_changed_or_byte_for_byte(market: Market) -> None:
    photos = {photo.image_id: photo for photo in market.photos if photo.made == "drawn"}
    taken = [photo for photo in market.photos if photo.origin]
    assert {photo.made for photo in taken} == {"twin", "copy"}
    for photo in taken:
        assert (photo.image_id == photo.origin) == (photo.made == "copy")
        assert photos[photo.origin].label == photo.label


def test_some_files_are_damaged_in_each_way(market: Market) -> None:
    made = Counter(photo.made for photo in market.photos)
    assert made["broken"] >= 1
    assert made["small"] >= 1
    broken = next(photo for photo in market.photos if photo.made == "broken")
    with Image.open(market.folder / broken.file) as image, pytest.raises(OSError, match="truncated"):
        image.load()
    kinds = set()
    for photo in market.photos:
        with Image.open(market.folder / photo.file) as image:
            kinds |= {image.format, "turned" if image.getexif().get(0x0112) == 6 else "upright"}
    assert kinds == {"JPEG", "PNG", "turned", "upright"}


def test_three_marketplaces_sell_in_their_own_language_and_currency(market: Market) -> None:
    sold = {(item.marketplace, item.language, item.currency) for item in market.listings}
    assert sold == {("mx", "es", "MXN"), ("br", "pt", "BRL"), ("ar", "es", "ARS")}


def test_a_market_is_read_back_as_it_was_drawn(market: Market) -> None:
    assert read_market(market.folder) == market
