"""Changed copies are found in the form in which they are alike, and what contradicts keeps them for a person."""

from __future__ import annotations

from pathlib import Path

import likenesses
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageOps
from typer.testing import CliRunner

from curate.clean.borders import border_box, without_border
from curate.clean.looks import color_distance, colors
from curate.clean.tables import conflicts
from curate.clean.twins import VETO, find_pairs
from curate.cli import app
from curate.collect.folder import import_folder
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import CLUSTERS, CONFLICTS, EMBEDDINGS, GIVEN, LOOKS, PAIRS, PICTURES, SKIPPED


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, str]]:
    from curate.tasks import add_task, make_task
    from curate.workspace import Config, create_workspace

    folder = tmp_path_factory.mktemp("twins")
    workspace = create_workspace(folder / "shop", Config(name="shop"))
    add_task(workspace, make_task("apron"))
    return workspace, likenesses.fill(workspace, folder / "photos")


def pair_of(filled: tuple[Workspace, dict[str, str]], name: str) -> pd.Series:
    workspace, ids = filled
    a, b = sorted((ids[name], ids[f"{name} copy"]))
    pairs = PAIRS.read(workspace.table("pairs"))
    return pairs[pairs["image_id_a"].eq(a) & pairs["image_id_b"].eq(b)].iloc[0]


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("smaller", "whole", None),
        ("padded", "trimmed", None),
        ("mirrored", "mirror", None),
        ("cropped", "inner", None),
        ("mirrored and padded", "trimmed_mirror", None),
        ("darker", "whole", None),
        ("recolored", "whole", "colors differ"),
        ("gray", "whole", "one is gray"),
    ],
)
def test_every_kind_of_copy_is_found_and_another_color_is_for_a_person(
    filled: tuple[Workspace, dict[str, str]], name: str, how: str, reason: str | None
) -> None:
    found = pair_of(filled, name)
    assert (found["how"], found["reason"] if isinstance(found["reason"], str) else None) == (how, reason)
    assert found["verified"] == (reason is None)
    workspace, ids = filled
    home = CLUSTERS.read(workspace.table("clusters")).set_index("image_id")["cluster_id"]
    assert (home[ids[name]] == home[ids[f"{name} copy"]]) == (reason is None)


def test_different_photos_are_no_pairs(filled: tuple[Workspace, dict[str, str]]) -> None:
    workspace, _ = filled
    assert len(PAIRS.read(workspace.table("pairs"))) == len(likenesses.CHANGES)


def test_vectors_may_veto_and_what_was_measured_is_not_measured_again(
    filled: tuple[Workspace, dict[str, str]], tmp_path: Path
) -> None:
    workspace, ids = filled
    pictures = PICTURES.read(workspace.table("pictures"))
    looks = LOOKS.read(workspace.table("looks"))
    rows = [
        {"image_id": ids[n], "model_id": "m", "vector": v}
        for n, v in (("smaller", [1.0, 0.0]), ("smaller copy", [0.0, 1.0]))
    ]
    vectors = EMBEDDINGS.write(EMBEDDINGS.frame(rows), tmp_path / "embeddings.parquet")
    before = PAIRS.read(workspace.table("pairs"))
    found, _ = find_pairs(pictures, looks, Path("/no/such/folder"), 10, vectors, before)
    vetoed = found[found["reason"].eq("vectors differ")]
    assert set(vetoed.iloc[0][["image_id_a", "image_id_b"]]) == {ids["smaller"], ids["smaller copy"]}
    assert len(vetoed) == 1
    assert found["detail"].tolist() == pytest.approx(before["detail"].tolist(), nan_ok=True)


@pytest.mark.parametrize(("cosine", "joined"), [(VETO - 0.02, False), (VETO + 0.02, True), (None, True)])
def test_only_vectors_that_are_far_apart_veto_and_one_vector_alone_does_not(
    filled: tuple[Workspace, dict[str, str]], tmp_path: Path, cosine: float | None, joined: bool
) -> None:
    workspace, ids = filled
    other = [] if cosine is None else [("smaller copy", [cosine, float(np.sqrt(1 - cosine**2))])]
    rows = [{"image_id": ids[n], "model_id": "m", "vector": v} for n, v in [("smaller", [1.0, 0.0]), *other]]
    vectors = EMBEDDINGS.write(EMBEDDINGS.frame(rows), tmp_path / "embeddings.parquet")
    pictures, before = PICTURES.read(workspace.table("pictures")), PAIRS.read(workspace.table("pairs"))
    known = set(pictures["image_id"])  # pairs of the last run are judged anew when vectors came since
    for searched in (set(), known):
        found, _ = find_pairs(pictures, workspace.table("looks"), workspace.root, 10, vectors, before, searched)
        mine = found[found["image_id_a"].isin([ids["smaller"], ids["smaller copy"]])]
        assert mine["verified"].tolist() == [joined]


def test_looks_of_an_older_program_are_refused(filled: tuple[Workspace, dict[str, str]]) -> None:
    workspace, _ = filled
    looks = LOOKS.read(workspace.table("looks")).assign(look_algo="look/0")
    with pytest.raises(UserError, match="curate check"):
        find_pairs(PICTURES.read(workspace.table("pictures")), looks, workspace.root, 10)


def test_two_labels_in_one_cluster_are_reported(filled: tuple[Workspace, dict[str, str]]) -> None:
    workspace, ids = filled
    keys = workspace.task().keys
    rows = [
        {"image_id": ids[name], "task": "apron", "label": label, "source": "expert", "given_by": "Ana", "given_at": pd.Timestamp.now("UTC")}
        for name, label in (("mirrored", keys[0]), ("mirrored copy", keys[1]), ("padded", keys[0]))
    ]  # fmt: skip
    GIVEN.write(GIVEN.frame(rows), workspace.of_task("apron", "given"))
    said = CliRunner().invoke(app, ["dedup", "--workspace", str(workspace.root)], catch_exceptions=False).stdout
    assert "1 clusters carry different labels" in said
    found = CONFLICTS.read(workspace.table("label_conflicts"))
    assert set(found["image_id"]) == {ids["mirrored"], ids["mirrored copy"]}


def test_labels_of_different_tasks_are_no_conflict() -> None:
    clusters = CLUSTERS.frame(
        {"image_id": f"{n:064x}", "cluster_id": "c", "representative": n == 0, "kind": "verified", "distance": 0}
        for n in range(2)
    )
    labels = pd.DataFrame({"image_id": [f"{n:064x}" for n in range(2)], "task": ["a", "b"], "label": ["x", "y"]})
    assert conflicts(clusters, labels).empty
    assert len(conflicts(clusters, labels.assign(task="a"))) == 2
    assert conflicts(clusters, labels.iloc[:0]).empty


def test_a_border_is_found_on_each_side_alone_and_a_plain_picture_has_none() -> None:
    image = ImageOps.expand(likenesses.photo(1, (200, 200)), (40, 0, 0, 0), "white")
    ImageDraw.Draw(image).rectangle((0, 190, 240, 200), fill="black")
    left, top, right, bottom = border_box(image) or (0, 0, 0, 0)
    assert (abs(left - 40) <= 2, top, right, abs(bottom - 190) <= 2) == (True, 0, 240, True)
    assert without_border(likenesses.photo(1)) is None
    assert without_border(Image.new("RGB", (100, 100), "white")) is None


def test_a_darker_copy_has_the_same_colors_and_a_turned_hue_has_not() -> None:
    image = likenesses.photo(3)
    same, darker, other = (
        np.frombuffer(colors(one), np.uint8)[None]
        for one in (image, likenesses.CHANGES["darker"](image), likenesses.recolored(image))
    )
    turned = np.frombuffer(colors(ImageOps.mirror(image)), np.uint8)[None]
    assert color_distance(same, darker, np.array([False]))[0] < 2
    assert color_distance(same, other, np.array([False]))[0] > 8
    assert color_distance(same, turned, np.array([True]))[0] < 1


def test_a_second_run_finds_the_twins_of_new_pictures_as_a_run_from_nothing_does(
    workspace: Workspace, tmp_path: Path
) -> None:
    names = list(likenesses.CHANGES)
    for seed, name in enumerate(names):
        likenesses.save(likenesses.photo(seed), tmp_path / "photos" / f"{name}.jpg")
    likenesses.save(likenesses.CHANGES["smaller"](likenesses.photo(0)), tmp_path / "photos" / "old copy.jpg")
    assert run(workspace, tmp_path / "photos") == 1
    ours = PAIRS.read(workspace.table("pairs"))
    PAIRS.write(ours.assign(distance64=7), workspace.table("pairs"), PAIRS.metadata(workspace.table("pairs")))
    for seed, name in enumerate(names[1:4], 1):
        likenesses.save(likenesses.CHANGES[name](likenesses.photo(seed)), tmp_path / "photos" / f"{name} copy.jpg")
    assert run(workspace, tmp_path / "photos") == 4
    second = PAIRS.read(workspace.table("pairs"))
    assert sorted(second["distance64"])[-1] == 7, "the pair of old pictures was taken over"
    assert run(workspace, tmp_path / "photos", "--again") == 4
    columns = [name for name in PAIRS.names if name != "distance64"]
    pd.testing.assert_frame_equal(second[columns], PAIRS.read(workspace.table("pairs"))[columns])


def test_a_crowd_too_large_to_compare_is_written_down(workspace: Workspace, tmp_path: Path) -> None:
    for quality in range(6):
        file = tmp_path / "photos" / f"{quality}.png"
        file.parent.mkdir(exist_ok=True)
        image = likenesses.photo(1)
        image.putpixel((quality, 0), (0, 0, 0))
        image.save(file)
    import_folder(workspace, tmp_path / "photos")
    for command in (["check"], ["dedup", "--cap", "5"]):
        said = CliRunner().invoke(app, [*command, "--workspace", str(workspace.root)], catch_exceptions=False).stdout
    assert "crowds of hashes too alike to compare, the largest of 6" in said
    assert SKIPPED.read(workspace.table("skipped"))["hashes"].max() == 6
    assert PAIRS.read(workspace.table("pairs")).empty


def run(workspace: Workspace, photos: Path, *more: str) -> int:
    """Import, check and dedup; how many pairs there are."""
    import_folder(workspace, photos)
    for command in (["check"], ["dedup", *more]):
        CliRunner().invoke(app, [*command, "--workspace", str(workspace.root)], catch_exceptions=False)
    return len(PAIRS.read(workspace.table("pairs")))
