from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from schemas.errors import UserError
from schemas.manifest import read_manifest
from train.data import Shuffled, choose
from train.feed import store
from train.feed.load import load_pictures

Make = Callable[..., Path]


def test_label_fractions_nest_and_the_labels_left_out_join_the_pool_without_their_label(make_manifest: Make) -> None:
    manifest = read_manifest(make_manifest(train=20))
    before: set[str] = set()
    for fraction in (0.25, 0.5, 0.75, 1.0):
        chosen = choose(manifest, fraction)
        now = set(chosen.labeled.image_id)
        assert before <= now
        assert len(now) + len(chosen.pool) == 60 + 24
        assert chosen.pool["label"].isna().all()
        assert not now & set(chosen.pool.image_id)
        before = now
    assert len(before) == 60


def test_val_and_test_do_not_depend_on_the_fraction(make_manifest: Make) -> None:
    manifest = read_manifest(make_manifest())
    half, whole = choose(manifest, 0.5), choose(manifest, 1.0)
    assert list(half.test.image_id) == list(whole.test.image_id)
    assert list(half.val.image_id) == list(whole.val.image_id)


def test_unlabeled_is_a_prefix_of_the_pool_by_rank(make_manifest: Make) -> None:
    manifest = read_manifest(make_manifest())
    ranks = manifest.rows.set_index("image_id")["unlabeled_rank"]
    ten = choose(manifest, 1.0, "10").pool
    half = choose(manifest, 1.0, "50%").pool
    assert (len(ten), len(half)) == (10, 12)
    assert set(ten.image_id) < set(half.image_id)
    assert ranks[ten.image_id].is_monotonic_increasing


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("many", "write a count"), ("99999", "has 24 unlabeled"), ("-1", "has 24"), ("x%", "write a count")],
)
def test_a_wrong_unlabeled_count_is_one_line(make_manifest: Make, wanted: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(read_manifest(make_manifest()), 1.0, wanted)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(make_manifest: Make, fraction: float) -> None:
    with pytest.raises(UserError, match="--label-fraction"):
        choose(read_manifest(make_manifest()), fraction)


def test_a_manifest_without_splits_names_the_command(make_manifest: Make) -> None:
    with pytest.raises(UserError, match="run `curate split` first"):
        choose(read_manifest(make_manifest(split=False)))


def test_one_class_cannot_be_trained(make_manifest: Make) -> None:
    with pytest.raises(UserError, match="two classes or more"):
        choose(read_manifest(make_manifest(classes=("red",))))


def test_a_class_without_train_pictures_is_warned_about(
    make_manifest: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(make_manifest())
    rows = manifest.rows.copy()
    rows.loc[(rows.label == "blue") & (rows.split == "train"), "split"] = "out"
    from dataclasses import replace

    choose(replace(manifest, rows=rows))
    assert "no labeled train picture of blue" in capsys.readouterr().err


def test_dropped_rows_are_never_used(make_manifest: Make) -> None:
    from dataclasses import replace

    manifest = read_manifest(make_manifest())
    rows = manifest.rows.copy()
    gone = rows.index[rows.split == "train"][:4]
    rows.loc[gone, "dropped"] = "too small"
    chosen = choose(replace(manifest, rows=rows))
    assert len(chosen.labeled) == 36 - 4


def rows_of(folder: Path, files: dict[str, bytes]) -> pd.DataFrame:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return pd.DataFrame({"image_id": list(files), "path": list(files), "label": "x"})


def image_bytes(size: tuple[int, int], mode: str = "RGB", form: str = "PNG", **save: object) -> bytes:
    buffer = io.BytesIO()
    color = {"RGB": (10, 200, 30), "RGBA": (10, 200, 30, 0), "L": 77, "P": 1, "LA": (5, 0), "CMYK": (0, 0, 0, 0)}[mode]
    Image.new(mode, size, color).save(buffer, form, **save)
    return buffer.getvalue()


def test_pictures_come_back_upright_rgb_and_with_their_aspect(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    rows = rows_of(
        tmp_path,
        {
            "wide": image_bytes((80, 40)),
            "turned": image_bytes((60, 40), form="JPEG", exif=exif),
            "clear": image_bytes((40, 40), "RGBA"),
            "gray": image_bytes((40, 40), "L"),
            "cmyk": image_bytes((40, 40), "CMYK", "JPEG"),
            "tiny": image_bytes((3, 5)),
            "banner": image_bytes((400, 20)),
        },
    )
    pictures, failed = load_pictures(rows, tmp_path, 20)
    assert not failed
    batch = pictures.batch(pictures.positions(rows.image_id))
    assert batch.sizes.tolist() == [[20, 40], [30, 20], [20, 20], [20, 20], [20, 20], [33, 20], [20, 40]]
    assert batch.pixels[2, :, :20, :20].eq(255).all()  # transparent shows white
    assert batch.pixels[3, :, 5, 5].tolist() == [77, 77, 77]


def test_unreadable_pictures_are_skipped_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = image_bytes((40, 40))
    noisy = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(noisy, "JPEG")
    rows = rows_of(tmp_path, {"a": good, "b": good, "c": good, "half": noisy.getvalue()[:900], "text": b"hello"})
    pictures, failed = load_pictures(rows, tmp_path, 20)
    assert set(failed) == {"half", "text"}
    assert len(pictures) == 3
    assert "2 pictures cannot be read" in capsys.readouterr().err


def test_a_wrong_folder_is_said_before_training(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"a": image_bytes((40, 40))})
    with pytest.raises(UserError, match="--pictures DIR"):
        load_pictures(rows, tmp_path / "elsewhere", 20)


def test_more_pictures_than_memory_allows_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MEMORY_LIMIT", 1000)
    rows = rows_of(tmp_path, {name: image_bytes((40, 40)) for name in "abc"})
    pictures, _ = load_pictures(rows, tmp_path, 20)
    assert isinstance(pictures._pixels, np.memmap)
    assert pictures.batch(np.array([2, 0])).pixels[:, :, 0, 0].tolist() == [[10, 200, 30]] * 2


def test_every_row_comes_once_before_any_comes_again() -> None:
    batches = Shuffled(10, 4, seed=0)
    drawn = np.concatenate([batches.batch(step) for step in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


def test_a_batch_depends_on_the_seed_and_its_number_alone() -> None:
    forward = [Shuffled(10, 4, 1).batch(step).tolist() for step in range(8)]
    again = Shuffled(10, 4, 1)
    assert [again.batch(step).tolist() for step in reversed(range(8))][::-1] == forward
    assert [Shuffled(10, 4, 2).batch(step).tolist() for step in range(8)] != forward


def test_fewer_rows_than_a_batch_give_them_all() -> None:
    assert sorted(Shuffled(3, 64, 0).batch(5)) == [0, 1, 2]


def test_a_share_of_a_base_may_be_a_multiple_of_it(make_manifest: Make) -> None:
    manifest = read_manifest(make_manifest())  # 24 unlabeled
    assert len(choose(manifest, unlabeled="300%", base=7).pool) == 21
    assert len(choose(manifest, unlabeled="50%", base=7).pool) == 3
    one, three = (choose(manifest, unlabeled=share, base=7).pool.image_id for share in ("100%", "300%"))
    assert list(three[:7]) == list(one)
    with pytest.raises(UserError, match="--unlabeled 400%: is 28 pictures, the manifest has 24 unlabeled pictures"):
        choose(manifest, unlabeled="400%", base=7)
    with pytest.raises(UserError, match="--unlabeled-base 7: says what a share is a share of"):
        choose(manifest, unlabeled="20", base=7)
