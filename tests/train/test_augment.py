from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from train.augment import Batch, Views, colors, crop, padded, randaugment, views
from train.augment.erase import erase
from train.recipe import recipe_for

HALF = (0.5, 0.5, 0.5)


def viewing(*changes: str) -> Views:
    return Views(recipe_for("semivit", "default", ["pretrained=false", "image_size=16", *changes]), HALF, HALF)


def batch(*sizes: tuple[int, int]) -> Batch:
    """Pictures with a gradient to the right, padded with the brightest value there is."""
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    pixels = torch.full((len(sizes), 3, height, width), 255, dtype=torch.uint8)
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.linspace(0, 100, w).to(torch.uint8)
    return Batch(pixels, torch.tensor(sizes))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_is_the_center_of_the_picture_pixel_by_pixel_when_no_resizing_is_needed() -> None:
    b = batch((18, 24))
    x = viewing("crop_pct=0.88889").plain(b) * 0.5 + 0.5
    expected = b.pixels[:, :, 1:17, 4:20].float() / 255
    assert torch.allclose(x, expected, atol=2e-3)


def test_padding_never_shows_in_any_view() -> None:
    b = batch((18, 24), (24, 18), (18, 18))
    v = viewing("rand_ops=0", "jitter=0", "crop_scale=0.9")
    for x in (v.plain(b), v.weak(b, rng()), v.strong(b, rng())):
        assert (x * 0.5 + 0.5).max() <= 101 / 255


def test_geometry_stays_inside_the_picture_too() -> None:
    b = batch(*[(18, 24)] * 64)
    drawn = [randaugment.draw(64, 9, rng())]
    drawn[0].kind.random_(0, 5, generator=rng(1))
    boxes = crop.random_boxes(b.sizes, viewing().recipe, rng(2))
    x = crop.sample(b, boxes, randaugment.geometry(64, drawn), 16)
    assert x.max() <= 101 / 255


def test_every_picture_of_a_batch_gets_its_own_random_numbers() -> None:
    b = batch(*[(20, 20)] * 8)
    for view in (viewing().weak, viewing().strong):
        x = view(b, rng())
        assert all(not torch.equal(x[0], other) for other in x[1:])


def test_the_same_seed_gives_the_same_view_and_another_seed_another() -> None:
    b = batch((20, 20), (22, 20))
    assert torch.equal(viewing().strong(b, rng(1)), viewing().strong(b, rng(1)))
    assert not torch.equal(viewing().strong(b, rng(1)), viewing().strong(b, rng(2)))


def test_views_are_normalized_with_the_weights_own_numbers() -> None:
    b = batch((20, 20))
    recipe = viewing().recipe
    other = Views(recipe, (0.1, 0.2, 0.3), (0.5, 0.4, 0.2))
    back = other.plain(b) * torch.tensor([0.5, 0.4, 0.2]).view(1, 3, 1, 1) + torch.tensor([0.1, 0.2, 0.3]).view(
        1, 3, 1, 1
    )
    assert torch.allclose(back, viewing().plain(b) * 0.5 + 0.5, atol=1e-6)


def test_flip_one_mirrors_everything() -> None:
    b = batch((20, 20))
    straight = viewing("flip=0", "crop_scale=1", "jitter=0").weak(b, rng())
    mirrored = viewing("flip=1", "crop_scale=1", "jitter=0").weak(b, rng())
    assert torch.allclose(straight.flip(3), mirrored, atol=1e-5)


@pytest.mark.parametrize("change", randaugment.COLOR_CHANGES)
def test_color_operations_keep_values_between_0_and_1(change: randaugment._Change) -> None:
    x = torch.rand(6, 3, 12, 12, generator=rng())
    level = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0, 1.0])
    sign = torch.tensor([1.0, -1, 1, -1, 1, -1])
    changed = change(x, level, sign)
    assert changed.shape == x.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_equalize_spreads_values_evenly() -> None:
    x = torch.rand(1, 3, 64, 64, generator=rng()) * 0.2 + 0.4
    even = colors.equalize(x)
    assert even.max() == 1
    assert even.mean() == pytest.approx(0.5, abs=0.02)


def test_erasing_covers_a_share_of_the_pictures_with_noise() -> None:
    x = torch.zeros(400, 3, 16, 16)
    touched = erase(x, 0.25, rng()).flatten(1).ne(0).any(dim=1).float().mean().item()
    assert 0.15 < touched < 0.35
    assert erase(x, 0.0, rng()) is x


def test_recolor_only_changes_the_order_of_the_channels() -> None:
    x = torch.rand(60, 3, 4, 4, generator=rng())
    changed = colors.recolored(x, views._channels(60, 0.5, rng()))
    assert torch.equal(changed.sort(dim=1).values, x.sort(dim=1).values)
    touched = (changed != x).flatten(1).any(dim=1).float().mean().item()
    assert 0.2 < touched < 0.65  # a sixth of the orders is the old one
    assert torch.equal(colors.recolored(x, views._channels(60, 0.0, rng())), x)


def test_a_box_is_sampled_as_torch_does_it_from_the_picture_alone() -> None:
    """Against torch's own affine grid on the picture without padding, whose edge goes on beyond it."""
    b = batch((18, 24), (30, 20))
    boxes = crop.random_boxes(b.sizes, viewing().recipe, rng(5))
    turned = randaugment.geometry(2, [randaugment.Operation(torch.tensor([0, 1]), torch.ones(2), torch.ones(2))])
    for row, (h, w) in enumerate(b.sizes.tolist()):
        x, y, half_w, half_h = boxes[row].tolist()
        to_picture = torch.tensor([[2 * half_w / w, 0, 2 * x / w - 1], [0, 2 * half_h / h, 2 * y / h - 1], [0, 0, 1]])
        map_ = (to_picture @ torch.cat([turned[row], torch.tensor([[0.0, 0, 1]])]))[None, :2]
        grid = F.affine_grid(map_, [1, 3, 16, 16], align_corners=False)
        picture = b.pixels[row : row + 1, :, :h, :w].float() / 255
        expected = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
        assert torch.allclose(crop.sample(b, boxes, turned, 16)[row], expected[0], atol=1e-5)


def test_a_batch_in_pieces_gives_the_views_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    b = padded([noise.integers(0, 256, (side, 60 - side, 3), dtype=np.uint8) for side in range(20, 40)])
    v = viewing("rand_ops=2", "erase=0.5", "recolor=0.5")
    made = []
    for piece in (1, 3 * 16 * 16, 10**9):
        monkeypatch.setattr(views, "PIECE", piece)
        made.append((v.plain(b), v.weak(b, rng(1)), v.strong(b, rng(1))))
    for view in zip(*made, strict=True):
        # a value between two of the 256 levels may fall to either side in the operations that count levels
        assert all((view[-1] - other).abs().gt(1e-4).float().mean() < 1e-3 for other in view)
    assert not torch.equal(made[0][1], made[0][2])
