from __future__ import annotations

import pytest
import torch

from train import augment
from train.augment import Batch, Views
from train.recipe import recipe_for

HALF = (0.5, 0.5, 0.5)


def views(*changes: str) -> Views:
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
    x = views("crop_pct=0.88889").plain(b) * 0.5 + 0.5
    expected = b.pixels[:, :, 1:17, 4:20].float() / 255
    assert torch.allclose(x, expected, atol=2e-3)


def test_padding_never_shows_in_any_view() -> None:
    b = batch((18, 24), (24, 18), (18, 18))
    v = views("rand_ops=0", "jitter=0", "crop_scale=0.9")
    for x in (v.plain(b), v.weak(b, rng()), v.strong(b, rng())):
        assert (x * 0.5 + 0.5).max() <= 101 / 255


def test_geometry_stays_inside_the_picture_too() -> None:
    b = batch(*[(18, 24)] * 64)
    drawn = [augment._draw_operation(64, 9, rng())]
    drawn[0].kind.random_(0, 5, generator=rng(1))
    boxes = augment._random_boxes(b.sizes, views().recipe, rng(2))
    x = augment._sample(b, boxes, augment._geometry(64, drawn), 16)
    assert x.max() <= 101 / 255


def test_every_picture_of_a_batch_gets_its_own_random_numbers() -> None:
    b = batch(*[(20, 20)] * 8)
    for view in (views().weak, views().strong):
        x = view(b, rng())
        assert all(not torch.equal(x[0], other) for other in x[1:])


def test_the_same_seed_gives_the_same_view_and_another_seed_another() -> None:
    b = batch((20, 20), (22, 20))
    assert torch.equal(views().strong(b, rng(1)), views().strong(b, rng(1)))
    assert not torch.equal(views().strong(b, rng(1)), views().strong(b, rng(2)))


def test_views_are_normalized_with_the_weights_own_numbers() -> None:
    b = batch((20, 20))
    recipe = views().recipe
    other = Views(recipe, (0.1, 0.2, 0.3), (0.5, 0.4, 0.2))
    back = other.plain(b) * torch.tensor([0.5, 0.4, 0.2]).view(1, 3, 1, 1) + torch.tensor([0.1, 0.2, 0.3]).view(
        1, 3, 1, 1
    )
    assert torch.allclose(back, views().plain(b) * 0.5 + 0.5, atol=1e-6)


def test_flip_one_mirrors_everything() -> None:
    b = batch((20, 20))
    straight = views("flip=0", "crop_scale=1", "jitter=0").weak(b, rng())
    mirrored = views("flip=1", "crop_scale=1", "jitter=0").weak(b, rng())
    assert torch.allclose(straight.flip(3), mirrored, atol=1e-5)


@pytest.mark.parametrize("change", augment._COLOR_CHANGES)
def test_color_operations_keep_values_between_0_and_1(change: augment._Change) -> None:
    x = torch.rand(6, 3, 12, 12, generator=rng())
    level = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0, 1.0])
    sign = torch.tensor([1.0, -1, 1, -1, 1, -1])
    changed = change(x, level, sign)
    assert changed.shape == x.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_equalize_spreads_values_evenly() -> None:
    x = torch.rand(1, 3, 64, 64, generator=rng()) * 0.2 + 0.4
    even = augment._equalize(x)
    assert even.max() == 1
    assert even.mean() == pytest.approx(0.5, abs=0.02)


def test_erasing_covers_a_share_of_the_pictures_with_noise() -> None:
    x = torch.zeros(400, 3, 16, 16)
    touched = augment._erase(x, 0.25, rng()).flatten(1).ne(0).any(dim=1).float().mean().item()
    assert 0.15 < touched < 0.35
    assert augment._erase(x, 0.0, rng()) is x


def test_recolor_only_changes_the_order_of_the_channels() -> None:
    x = torch.rand(60, 3, 4, 4, generator=rng())
    changed = augment._recolor(x, 0.5, rng())
    assert torch.equal(changed.sort(dim=1).values, x.sort(dim=1).values)
    touched = (changed != x).flatten(1).any(dim=1).float().mean().item()
    assert 0.2 < touched < 0.65  # a sixth of the orders is the old one
    assert augment._recolor(x, 0.0, rng()) is x
