from __future__ import annotations

import pytest
import torch

from train.mixup import Pairing, cut_boxes, draw_pairing, label_mixup, pseudo_mixup, smooth_one_hot, soft_cross_entropy


def pairing(partner: list[int], cutmix: list[bool], center: list[tuple[float, float]] | None = None) -> Pairing:
    places = center or [(0.5, 0.5)] * len(partner)
    return Pairing(torch.tensor(partner), torch.tensor(cutmix), torch.tensor(places))


def flat(values: list[float], size: int = 4) -> torch.Tensor:
    """Pictures of one value each."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous()


# three pictures, two classes: sure of class 0, sure of class 1, unsure
PROBS = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])


def test_the_ratio_is_the_teachers_confidence_in_each_picture() -> None:
    mixed = pseudo_mixup(flat([0, 1, 2]), PROBS, pairing([1, 2, 0], [False] * 3), 0.5, 0.1)
    expected = [0.9 / (0.9 + 0.6), 0.6 / (0.6 + 0.55), 0.55 / (0.55 + 0.9)]
    assert mixed.lam.tolist() == pytest.approx(expected)
    assert mixed.x[:, 0, 0, 0].tolist() == pytest.approx(
        [expected[0] * 0 + (1 - expected[0]) * 1, expected[1] * 1 + (1 - expected[1]) * 2, expected[2] * 2]
    )


def test_the_target_mixes_smoothed_classes_with_the_same_ratio() -> None:
    mixed = pseudo_mixup(flat([0, 1, 2]), PROBS, pairing([1, 2, 0], [False] * 3), 0.5, 0.1)
    # picture 0 is class 0 (.95, .05), its partner class 1 (.05, .95); lam = .6
    assert mixed.target[0].tolist() == pytest.approx([0.6 * 0.95 + 0.4 * 0.05, 0.6 * 0.05 + 0.4 * 0.95])
    assert mixed.target[1].tolist() == pytest.approx([0.05, 0.95])  # both are class 1
    assert torch.allclose(mixed.target.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("threshold", "sure"), [(0.5, [1, 1, 1]), (0.58, [1, 1, 1]), (0.7, [1, 0, 1]), (0.9, [1, 0, 1]), (0.95, [0, 0, 0])]
)
def test_a_pair_counts_when_its_surer_half_reaches_the_threshold(threshold: float, sure: list[int]) -> None:
    mixed = pseudo_mixup(flat([0, 1, 2]), PROBS, pairing([1, 2, 0], [False] * 3), threshold, 0.1)
    assert mixed.sure.tolist() == sure


def test_a_picture_paired_with_itself_stays_as_it_is() -> None:
    x = torch.rand(3, 3, 8, 8)
    mixed = pseudo_mixup(x, PROBS, pairing([0, 1, 2], [False, True, True]), 0.5, 0.0)
    assert torch.allclose(mixed.x, x)
    assert torch.allclose(mixed.target, torch.tensor([[1.0, 0], [0, 1], [0, 1]]))


def test_a_ratio_of_one_changes_nothing() -> None:
    """A partner of no confidence at all: the box is empty, the blend is all own."""
    probs = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    x = torch.rand(2, 3, 8, 8)
    for cutmix in (False, True):
        mixed = pseudo_mixup(x, probs, pairing([1, 0], [cutmix, cutmix]), 0.5, 0.0)
        assert mixed.lam[0] == 1
        assert torch.equal(mixed.x[0], x[0])
        assert mixed.target[0].tolist() == [1, 0]


def test_cutmix_corrects_the_ratio_to_the_box_that_the_edges_left() -> None:
    probs = torch.tensor([[0.75, 0.25], [0.25, 0.75]])  # equal confidence: lam .5, the box has half of the area
    middle = pseudo_mixup(flat([0, 1], 16), probs, pairing([1, 0], [True, True]), 0.5, 0.0)
    # side = floor(sqrt(.5) * 16) = 11, half = 5: a box of 10 x 10
    assert middle.lam[0].item() == pytest.approx(1 - 100 / 256)
    corner = pseudo_mixup(flat([0, 1], 16), probs, pairing([1, 0], [True, True], [(0, 0), (0.5, 0)]), 0.5, 0.0)
    assert corner.lam.tolist() == pytest.approx([1 - 25 / 256, 1 - 50 / 256])
    assert corner.x[0, 0, :5, :5].eq(1).all()
    assert corner.x[0, 0].sum() == 25
    assert corner.target[0].tolist() == pytest.approx([1 - 25 / 256, 25 / 256])


def test_each_picture_chooses_its_own_kind_of_mixing() -> None:
    x = torch.rand(4, 3, 16, 16)
    probs = torch.full((4, 2), 0.5)
    kinds = [True, False, True, False]
    mixed = pseudo_mixup(x, probs, pairing([1, 2, 3, 0], kinds), 0.5, 0.0)
    for i, boxed in enumerate(kinds):
        from_either = (mixed.x[i] == x[i]) | (mixed.x[i] == x[(i + 1) % 4])
        assert bool(from_either.all()) == boxed


def test_an_odd_batch_and_a_batch_of_one_are_mixed_too() -> None:
    for n in (1, 5):
        drawn = draw_pairing(n, 0.5, torch.Generator().manual_seed(0))
        mixed = pseudo_mixup(torch.rand(n, 3, 9, 7), torch.rand(n, 3).softmax(1), drawn, 0.0, 0.1)
        assert mixed.x.shape == (n, 3, 9, 7)
        assert mixed.sure.sum() == n


def test_boxes_have_whole_pixels_inside_the_picture() -> None:
    boxes = cut_boxes(torch.tensor([0.0, 1.0, 0.25]), torch.tensor([[0.5, 0.5]] * 3), 8, 8)
    assert boxes.flatten(1).sum(dim=1).tolist() == [0, 64, 16]


def test_labeled_mixup_off_leaves_the_pictures_and_smooths_the_labels() -> None:
    x, y = torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 0, 1])
    same, target = label_mixup(x, y, 3, mixup=0, cutmix=0, smoothing=0.3, rng=torch.Generator())
    assert torch.equal(same, x)
    assert target[0].tolist() == pytest.approx([0.8, 0.1, 0.1])


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_labeled_mixup_gives_targets_the_share_that_the_pictures_have(mixup: float, cutmix: float) -> None:
    x, y = flat([0, 1, 2], 16), torch.tensor([0, 1, 2])
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        mixed, target = label_mixup(x, y, 3, mixup=mixup, cutmix=cutmix, smoothing=0, rng=rng)
        share_of_last = mixed[0].mean().item() / 2  # picture 0 has value 0, its partner value 2
        assert target[0, 2].item() == pytest.approx(share_of_last, abs=1e-5)
        assert target.sum(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_soft_cross_entropy_equals_the_hard_one_on_hard_targets() -> None:
    logits, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    hard = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    assert torch.allclose(soft_cross_entropy(logits, smooth_one_hot(y, 4, 0)), hard)
