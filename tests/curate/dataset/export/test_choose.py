from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fruit import CLASSES, encoded, noise, save
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.export.choose import choose, describe, find_pictures
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.tables import MANIFEST

rows = st.fixed_dictionaries(
    {
        "label": st.sampled_from([*CLASSES, None]),
        "split": st.sampled_from(["train", "val", "test", "unlabeled", "out", None]),
        "split_reason": st.sampled_from([None, "gold"]),
        "dropped": st.sampled_from([None, None, None, "too small (3 x 4)", "same pixels as abc"]),
    }
)


def goes_out(row: dict[str, str | None], unlabeled: bool, was_split: bool) -> bool:
    split = row["split"] if was_split else "train" if row["label"] else "unlabeled"
    if row["dropped"] or split in ("out", None):
        return False
    return unlabeled if split == "unlabeled" else row["label"] is not None


@given(st.lists(rows, min_size=1, max_size=30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_row_goes_out_or_is_counted_with_its_reason(some: list[dict[str, str | None]], unlabeled: bool) -> None:
    frame = MANIFEST.frame({"image_id": f"{n:064}", "path": "p", **row} for n, row in enumerate(some))
    manifest = Manifest(Path("m.parquet"), frame, CLASSES, "id", "fruit", None, {}, Path())
    expected = [f"{n:064}" for n, row in enumerate(some) if goes_out(row, unlabeled, any(r["split"] for r in some))]
    if not expected:
        with pytest.raises(UserError, match="nothing to export"):
            choose(manifest, unlabeled=unlabeled)
        return
    chosen = choose(manifest, unlabeled=unlabeled)
    assert sorted(chosen.rows["image_id"]) == expected
    assert len(expected) + sum(chosen.left_out.values()) == len(some)
    shuffled = replace(manifest, rows=frame.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(choose(shuffled, unlabeled=unlabeled).rows, chosen.rows)


def test_reasons_are_grouped_in_one_line() -> None:
    assert describe({"out: gold": 9, "out: bridge": 1, "unlabeled": 4}) == "10 out (9 gold, 1 bridge), 4 unlabeled"


@pytest.fixture
def unsplit(tmp_path: Path) -> Manifest:
    return save(tmp_path, [{"bytes": encoded(noise(n)), "label": label} for n, label in enumerate(["zebra", None])])


def test_a_manifest_without_splits_names_curate_split_or_is_one_split(unsplit: Manifest) -> None:
    with pytest.raises(UserError, match=r"is not split yet.*run `curate split` first"):
        choose(unsplit, needs_splits=True)
    assert choose(unsplit).counts() == {"train": 1}
    assert choose(unsplit, unlabeled=True).counts() == {"train": 1, "unlabeled": 1}


def test_missing_pictures_stop_the_export_with_their_number_and_the_first(unsplit: Manifest) -> None:
    gone = unsplit.root / "pictures/0.jpg"
    gone.unlink()
    both = choose(unsplit, unlabeled=True)
    with pytest.raises(UserError, match=r"1 of 2 pictures are not there, first .*0\.jpg.*--pictures.*--skip-missing"):
        find_pictures(both)
    some = find_pictures(both, skip_missing=True)
    assert (some.counts(), some.left_out) == ({"unlabeled": 1}, {"not there": 1})
    with pytest.raises(UserError, match="nothing to export"):
        find_pictures(choose(unsplit), skip_missing=True)


@pytest.mark.parametrize("name", ["pictures/{}.jpg", "{}.jpg"], ids=["by path", "by name"])
def test_pictures_elsewhere_are_found(unsplit: Manifest, tmp_path: Path, name: str) -> None:
    for n in range(2):
        target = tmp_path / "elsewhere" / name.format(n)
        target.parent.mkdir(parents=True, exist_ok=True)
        (unsplit.root / f"pictures/{n}.jpg").rename(target)
    found = find_pictures(choose(unsplit, unlabeled=True), tmp_path / "elsewhere")
    assert sorted(Path(file).name for file in found.rows["file"]) == ["0.jpg", "1.jpg"]
    assert (found.rows["size"] > 100).all()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../secret.jpg", "leaves"),
        ("/etc/passwd", "leaves"),
        ("https://shop.example/a.jpg", "is a URI; download"),
        ("s3://payroll/secret.jpg", "is not named by its image_id"),
    ],
)
def test_a_path_that_is_not_below_the_folder_is_refused(unsplit: Manifest, path: str, said: str) -> None:
    foreign = replace(unsplit, rows=unsplit.rows.assign(path=path))
    with pytest.raises(UserError, match=said):
        find_pictures(choose(foreign))


def test_bad_input_is_one_line_and_nothing_is_written(
    unsplit: Manifest, tmp_path: Path, curate: Callable[..., Any]
) -> None:
    (tmp_path / "cut.parquet").write_bytes(unsplit.path.read_bytes()[:500])
    for arguments, said in [
        (["folder", unsplit.path], "run `curate split` first"),
        (["coco", "nowhere.parquet"], "no such file"),
        (["coco", "cut.parquet"], "cannot be read as Parquet"),
        (["coco", unsplit.path, "--pictures", "nowhere"], "no such folder"),
        (["csv"], "Make a workspace"),
    ]:
        failed = curate("export", *arguments, "--out", "out", code=1)
        error = failed.stderr.strip()
        assert said in error
        assert error.count("\n") == 0, error
        assert not list(tmp_path.glob("out*"))
