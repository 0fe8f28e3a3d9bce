"""Probabilistic pseudo mixup: the mixing ratio of two unlabeled pictures is the teacher's confidence in each.

Ordinary mixup draws its ratio at random. Here a picture that the teacher is sure of takes more of the mixture than one it
doubts: lam_i = p_i / (p_i + p_j). Every picture has a ratio and a box of its own, so nothing here loops over pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from train.transfer import moved


class Mixed(NamedTuple):
    """Pictures joined in pairs, and what the student should say about them."""

    x: Tensor  # [B, 3, H, W]
    target: Tensor  # [B, K], rows sum to 1
    sure: Tensor  # [B], 1 where the pair counts in the loss, else 0
    lam: Tensor  # [B], the share that the first picture has


class Pairing(NamedTuple):
    """All that is drawn at random: who meets whom, how, and where the box goes."""

    partner: Tensor  # [B], one permutation of the batch
    cutmix: Tensor  # [B], bool: a box instead of a blend
    center: Tensor  # [B, 2], row and column of the box, as shares of height and width


def draw_pairing(n: int, cutmix_share: float, rng: torch.Generator) -> Pairing:
    """One permutation for the batch, and for each picture its kind of mixing and the center of its box."""
    return Pairing(
        torch.randperm(n, generator=rng),
        torch.rand(n, generator=rng) < cutmix_share,
        torch.rand(n, 2, generator=rng),
    )


def pseudo_mixup(x: Tensor, teacher_probs: Tensor, pairing: Pairing, threshold: float, smoothing: float) -> Mixed:
    """Pictures mixed by the teacher's confidence, their soft targets, and which pairs count.

    A pair counts when its more confident picture reaches `threshold`; the other one's class then enters with the smaller
    weight. With CutMix the ratio becomes the area that the clipped box left. A batch of any size works, odd ones too.

    Args:
        x: strong views [B, 3, H, W].
        teacher_probs: the teacher's softmax on the weak views of the same pictures [B, K].
    """
    partner, cutmix, center = (moved(part, x.device) for part in pairing)
    confidence, guess = teacher_probs.max(dim=1)  # [B], [B]
    other = confidence[partner]
    lam = confidence / (confidence + other)  # [B]

    box = cut_boxes(1 - lam, center, x.shape[2], x.shape[3])  # [B, H, W] bool
    lam = torch.where(cutmix, 1 - box.flatten(1).float().mean(dim=1), lam)
    own = torch.where(cutmix[:, None, None], (~box).to(x.dtype), lam[:, None, None].to(x.dtype))  # [B, H, W]
    mixed = torch.lerp(x[partner], x, own[:, None])

    classes = smooth_one_hot(guess, teacher_probs.shape[1], smoothing)
    target = lam[:, None] * classes + (1 - lam[:, None]) * classes[partner]
    sure = (torch.maximum(confidence, other) >= threshold).to(target.dtype)
    return Mixed(mixed, target, sure, lam)


def cut_boxes(area: Tensor, center: Tensor, height: int, width: int) -> Tensor:
    """True inside each picture's box: `area` of the picture before the edges clip it, centered at `center`. [B, H, W]"""
    side = area.clamp(0, 1).sqrt()
    rows = _within(torch.arange(height, device=area.device), side, center[:, 0], height)  # [B, H]
    columns = _within(torch.arange(width, device=area.device), side, center[:, 1], width)  # [B, W]
    return rows[:, :, None] & columns[:, None, :]


def _within(position: Tensor, side: Tensor, center: Tensor, length: int) -> Tensor:
    """True for the positions from center - half to center + half, whole pixels, clipped by the picture's edge. [B, length]"""
    half = (side * length).floor() // 2
    middle = (center * length).floor()
    return (position >= (middle - half)[:, None]) & (position < (middle + half)[:, None])


def label_mixup(
    x: Tensor, y: Tensor, n_classes: int, *, mixup: float, cutmix: float, smoothing: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Labeled pictures mixed with the batch in reverse, and their soft targets: one ratio for the whole batch.

    Mixup and CutMix are chosen with equal chance where both are on. With both off the pictures stay as they are.
    """
    target = smooth_one_hot(y, n_classes, smoothing)
    if not mixup and not cutmix:
        return x, target
    use_box = bool(cutmix) and (not mixup or torch.rand((), generator=rng).item() < 0.5)
    lam = _beta(cutmix if use_box else mixup, rng)
    center = torch.rand(1, 2, generator=rng)
    if use_box:  # drawn on the CPU: its area is a number there, without waiting for the device
        box = cut_boxes(torch.tensor([1 - lam]), center, x.shape[2], x.shape[3])  # [1, H, W]
        lam = 1 - box.float().mean().item()
        mixed = torch.where(moved(box[:, None], x.device), x.flip(0), x)
    else:
        mixed = torch.lerp(x.flip(0), x, lam)
    return mixed, lam * target + (1 - lam) * target.flip(0)


def _beta(alpha: float, rng: torch.Generator) -> float:
    """One draw from Beta(alpha, alpha): a share of the sum of two gamma draws, which torch has no seeded form of."""
    import numpy as np

    seed = int(torch.randint(2**62, (), generator=rng).item())
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def smooth_one_hot(y: Tensor, n_classes: int, smoothing: float) -> Tensor:
    """Class numbers as rows that give 1 - smoothing to the class and share the rest among all. [B, K]"""
    return F.one_hot(y, n_classes).float() * (1 - smoothing) + smoothing / n_classes


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy against soft targets, one number a picture. [B]"""
    return -(target * F.log_softmax(logits.float(), dim=1)).sum(dim=1)
