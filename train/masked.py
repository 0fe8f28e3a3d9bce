"""The masked autoencoder (arXiv 2111.06377): a vision transformer sees a quarter of a picture's patches and a small decoder
guesses the pixels of the others. What the encoder learns by that is kept, the decoder is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import UserError
from train.augment import Views
from train.data import Shuffled
from train.feed.ahead import Feed
from train.feed.pictures import Pictures
from train.recipe import Masked
from train.steps import Loss, seeded
from train.transfer import moved


class MaskedAutoencoder(nn.Module):
    """A timm vision transformer with a decoder; its state dict has the encoder's own names and `decoder_…` beside them."""

    places: Tensor

    def __init__(self, encoder: Any, recipe: Masked) -> None:
        import timm.layers
        from timm.models.vision_transformer import Block, VisionTransformer

        super().__init__()
        if not isinstance(encoder, VisionTransformer) or encoder.pos_embed is None:
            raise UserError(
                f"{recipe.model} is no plain vision transformer; pretrain takes one, like vit_base_patch16_224"
            )
        self.encoder, self.recipe = encoder, recipe
        self.patch = encoder.patch_embed.patch_size[0]
        width = recipe.decoder_width
        self.decoder_embed = nn.Linear(encoder.embed_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        make: Any = timm.layers  # it exports its names without saying so
        places = make.build_sincos2d_pos_embed(list(encoder.patch_embed.grid_size), width, interleave_sin_cos=False)
        self.register_buffer("places", places[None], persistent=False)  # [1, N, width]
        self.decoder_blocks = nn.Sequential(
            *(Block(width, recipe.decoder_heads, qkv_bias=True) for _ in range(recipe.decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, self.patch**2 * 3)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        """How far off the guessed pixels of the hidden patches are: mean squared error, one number a picture. [B]

        Args:
            x: pictures [B, 3, S, S].
            order: a permutation of the patches for each picture; the encoder sees the first ones [B, N].
        """
        seen = order.shape[1] - round(self.recipe.mask * order.shape[1])
        guessed = self.decode(self.encode(x, order[:, :seen]), order, seen)
        missed = (guessed - self.pixels(x)).pow(2).mean(dim=2)  # [B, N]
        return missed.gather(1, order[:, seen:]).mean(dim=1)

    def encode(self, x: Tensor, seen: Tensor) -> Tensor:
        """What the encoder says about the patches it sees, prefix tokens first. [B, P + seen, D]"""
        encoder = self.encoder
        tokens = encoder._pos_embed(encoder.patch_embed(x))
        prefix, patches = tokens[:, : encoder.num_prefix_tokens], tokens[:, encoder.num_prefix_tokens :]
        shown = patches.gather(1, seen[:, :, None].expand(-1, -1, patches.shape[2]))
        return encoder.norm(encoder.blocks(encoder.norm_pre(torch.cat([prefix, shown], dim=1))))

    def decode(self, encoded: Tensor, order: Tensor, seen: int) -> Tensor:
        """The pixels of all patches as the decoder guesses them. [B, N, patch * patch * 3]"""
        tokens = self.decoder_embed(encoded)
        p = self.encoder.num_prefix_tokens
        hidden = self.mask_token.expand(len(tokens), order.shape[1] - seen, -1)
        shuffled = torch.cat([tokens[:, p:], hidden.to(tokens.dtype)], dim=1)
        back = order.argsort(dim=1)[:, :, None].expand(-1, -1, shuffled.shape[2])
        patches = shuffled.gather(1, back) + self.places
        decoded = self.decoder_blocks(torch.cat([tokens[:, :p], patches], dim=1))
        return self.decoder_pred(self.decoder_norm(decoded[:, p:]))

    def pixels(self, x: Tensor) -> Tensor:
        """The pixels of each patch, by its own mean and spread where the recipe says so. [B, N, patch * patch * 3]"""
        b, c, height, width = x.shape
        p = self.patch
        cut = x.reshape(b, c, height // p, p, width // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, p * p * c)
        if not self.recipe.normalize_patches:
            return cut
        return (cut - cut.mean(dim=2, keepdim=True)) / (cut.var(dim=2, keepdim=True) + 1e-6).sqrt()

    def no_weight_decay(self) -> set[str]:
        """Position and class tokens, and the mask's."""
        return {f"encoder.{name}" for name in self.encoder.no_weight_decay()} | {"mask_token"}

    def weights(self) -> dict[str, Tensor]:
        """For a file: the encoder under timm's names, so that `--weights` takes it, and the decoder, which it leaves."""
        return {name.removeprefix("encoder."): value for name, value in self.state_dict().items()}


@dataclass
class MaskedStep:
    """One step of pretraining: random crops, most of their patches hidden."""

    student: nn.Module
    pictures: Pictures
    positions: np.ndarray
    views: Views
    device: torch.device
    batches: Shuffled
    patches: int
    seed: int
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.feed = Feed(self.pictures, self.positions, self.batches, self.device)

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        """The loss of one step; of one part of it, the share that the parts' sum is the step's loss of."""
        rng = seeded(self.seed, step, part, parts)
        rows, batch = self.feed.take(step, part, parts)
        x = self.views.weak(batch, rng)
        order = moved(torch.rand(len(rows), self.patches, generator=rng).argsort(dim=1), self.device)
        loss = self.student(x, order).sum() / self.batches.batch_size
        return Loss(loss, {"loss": loss.detach()})

    def close(self) -> None:
        """End the thread that makes its batches."""
        self.feed.close()
