"""Pictures that open well and do not count all the same: each says why, and a task may keep it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import likenesses
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.clean.check import check_workspace, drop_placeholders
from curate.clean.looks import see_file
from curate.clean.reasons import Rules, blurred, information
from curate.clean.text_only import is_text_only
from curate.collect.folder import import_folder
from curate.workspace import Workspace
from schemas.tables import APPEARANCES, LOOKS, PICTURES

FONT = "DejaVuSans.ttf"


def words(*lines: str, ground: str = "white", ink: str = "#888", size: tuple[int, int] = (400, 400)) -> Image.Image:
    """Lines of words in the middle of a plain ground."""
    image = Image.new("RGB", size, ground)
    try:
        font = ImageFont.truetype(FONT, size[0] // 13)
    except OSError:
        pytest.skip("no DejaVu font on this machine to write words with")
    ImageDraw.Draw(image).multiline_text(
        (size[0] / 2, size[1] / 2), "\n".join(lines), fill=ink, font=font, anchor="mm", align="center"
    )
    return image


def with_camera(image: Image.Image) -> Image.Image:
    """A flat drawn camera above the words."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((140, 90, 260, 160), fill="#888")
    draw.ellipse((175, 100, 225, 150), fill="white")
    return image


def framed(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle((8, 8, image.width - 8, image.height - 8), outline="#888", width=3)
    return image


def on_white(color: str) -> Image.Image:
    """A garment of one color with a little shade, cut out on white."""
    image = Image.new("RGB", (400, 400), "white")
    shape = [
        (120, 60),
        (280, 60),
        (360, 140),
        (310, 180),
        (285, 150),
        (285, 340),
        (115, 340),
        (115, 150),
        (90, 180),
        (40, 140),
    ]
    ImageDraw.Draw(image).polygon(shape, fill=color)
    shade = np.linspace(0.75, 1.0, 400)[None, :, None]
    pixels = np.asarray(image, np.float64)
    return Image.fromarray(np.where(pixels < 250, pixels * shade, pixels).astype(np.uint8))


def seen(
    image: Image.Image, folder: Path, rules: Rules | None = None, form: str = "JPEG", **options: Any
) -> dict[str, Any]:
    """What check says of a picture that was saved."""
    path = folder / "picture"
    file = io.BytesIO()
    image.save(file, form, **options)
    path.write_bytes(file.getvalue())
    return see_file((0, str(path), rules or Rules()))[1]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (lambda: likenesses.photo(1), None),
        (lambda: likenesses.photo(1, (900, 200)), "odd shape (900 x 200)"),
        (lambda: likenesses.photo(1, (200, 900)), "odd shape (200 x 900)"),
        (lambda: Image.linear_gradient("L").convert("RGB"), "low information"),
        (lambda: words("No image available"), "text only"),
        (lambda: words("NO IMAGE", "AVAILABLE", ground="#223355", ink="white"), "text only"),
        (lambda: words("商品画像はありません"[:6] + " ABC", "No hay imagen", ink="#b00"), "text only"),
        (lambda: with_camera(words("", "", "", "Imagen no disponible")), "text only"),
        (lambda: framed(words("Photo coming soon")), "text only"),
        (lambda: on_white("#b01515"), None),
        (lambda: on_white("#222222"), None),
        (lambda: on_white("#e8e4da"), None),
    ],
)
def test_a_picture_says_why_it_does_not_count(
    tmp_path: Path, image: Callable[[], Image.Image], reason: str | None
) -> None:
    assert seen(image(), tmp_path).get("dropped") == reason


def test_an_animation_is_dropped_with_its_frames_counted_and_may_be_kept(tmp_path: Path) -> None:
    more = {"save_all": True, "append_images": [likenesses.photo(2)], "form": "WEBP"}
    assert seen(likenesses.photo(1), tmp_path, **more)["dropped"] == "animated (2 frames)"
    kept = seen(likenesses.photo(1), tmp_path, Rules(keep=frozenset({"animated"})), **more)
    assert (kept.get("dropped"), kept["frames"]) == (None, 2)


def test_a_task_may_keep_every_kind(tmp_path: Path) -> None:
    keep = Rules(keep=frozenset({"odd shape", "text only", "low information"}))
    for image in (
        likenesses.photo(1, (900, 200)),
        Image.linear_gradient("L").convert("RGB"),
        words("No image available"),
    ):
        assert seen(image, tmp_path, keep).get("dropped") is None


def test_what_is_dropped_for_more_keeps_the_first_reason(tmp_path: Path) -> None:
    assert seen(Image.new("RGB", (900, 100), "white"), tmp_path)["dropped"] == "blank"
    assert seen(likenesses.photo(1, (900, 30)), tmp_path)["dropped"] == "too small (900 x 30)"


def test_blur_is_measured_on_all_pixels_and_only_when_asked_for(tmp_path: Path) -> None:
    sharp = Image.blend(likenesses.photo(1, (600, 800)), Image.effect_noise((600, 800), 80).convert("RGB"), 0.3)
    soft = sharp.resize((150, 200)).resize((600, 800), Image.Resampling.BICUBIC)
    asked = Rules(blur=True)
    assert "blur" not in seen(sharp, tmp_path)
    assert seen(soft, tmp_path, asked)["blur"] < seen(sharp, tmp_path, asked)["blur"] / 3
    blurred_too = seen(sharp, tmp_path, asked)
    blurred_too.pop("blur")
    assert blurred_too == seen(sharp, tmp_path), "all pixels are for the blur alone"
    assert blurred(Image.new("L", (2, 2))) == 0


def test_information_grows_from_flat_to_noise() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    flat, gradient, picture = (
        Image.new("RGB", (200, 200)),
        Image.linear_gradient("L").convert("RGB"),
        likenesses.photo(1),
    )
    flat, gradient, picture, noise = (image.convert("L") for image in (flat, gradient, picture, noise))
    assert information(flat) < 0.02
    assert information(gradient) < information(picture) < information(noise)


def listings(counts: dict[str, int]) -> pd.DataFrame:
    return APPEARANCES.frame(
        {"image_id": image_id, "marketplace": "mx.example", "listing_id": f"{image_id[-4:]}-{n}", "position": 0,
         "first_seen_at": pd.Timestamp("2026-01-01", tz="UTC")}
        for image_id, count in counts.items()
        for n in range(count)
    )  # fmt: skip


def test_what_very_many_listings_show_is_a_placeholder_copies_counted_together_and_comes_back_when_they_go() -> None:
    a, b, copy = (f"{n:064x}" for n in range(3))
    rows = [{"image_id": i, "blob": "x", "bytes": 1} for i in (a, b)]
    pictures = PICTURES.frame([*rows, {"image_id": copy, "blob": "x", "bytes": 1, "dropped": f"same pixels as {a}"}])
    many = listings({a: 3, b: 4, copy: 2})
    dropped = drop_placeholders(pictures, many, 5).set_index("image_id")["dropped"]
    assert dropped[a] == "placeholder (5 listings show it)"
    assert pd.isna(dropped[b])
    assert dropped[copy] == f"same pixels as {a}"
    again = drop_placeholders(drop_placeholders(pictures, many, 5), listings({a: 3}), 5)
    assert again.set_index("image_id")["dropped"].isna().tolist() == [True, True, False]
    assert drop_placeholders(pictures, many, 0)["dropped"].isna().sum() == 2


def test_the_command_writes_reasons_looks_and_later_the_blur(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    likenesses.save(likenesses.photo(1), folder / "good.jpg")
    likenesses.save(words("No image available"), folder / "none.jpg")
    import_folder(workspace, folder)
    good = hashlib.sha256((folder / "good.jpg").read_bytes()).hexdigest()
    looked, pictures = check_workspace(workspace)
    assert (looked, pictures["dropped"].dropna().tolist()) == (2, ["text only"])
    assert len(LOOKS.read(workspace.table("looks"))) == 2
    assert check_workspace(workspace)[0] == 0
    looked, pictures = check_workspace(workspace, blur=True)
    assert looked == 2
    assert pictures.set_index("image_id").at[good, "blur"] > 0
    assert check_workspace(workspace, blur=True)[0] == 0


def test_pictures_without_looks_are_looked_at_again(workspace: Workspace, tmp_path: Path) -> None:
    likenesses.save(likenesses.photo(1), tmp_path / "photos" / "good.jpg")
    import_folder(workspace, tmp_path / "photos")
    check_workspace(workspace)
    workspace.table("looks").unlink()
    assert check_workspace(workspace)[0] == 1
    assert len(LOOKS.read(workspace.table("looks"))) == 1


def test_a_bright_garment_on_a_ground_as_bright_is_not_taken_for_words() -> None:
    image = Image.new("RGB", (200, 266), (45, 50, 55))
    ImageDraw.Draw(image).polygon(
        [(60, 40), (140, 40), (170, 200), (120, 230), (80, 230), (30, 200)], fill=(200, 20, 30)
    )
    assert not is_text_only(image)
