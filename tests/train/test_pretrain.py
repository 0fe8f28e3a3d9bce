from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import Interrupted, UserError
from schemas.manifest import read_manifest
from train.masked import MaskedAutoencoder
from train.models import build_model
from train.pretrain import pictures_without_labels, pretrain
from train.recipe import pretraining_for, recipe_for
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]
SMALL = [
    "model=test_vit",
    "model_args=patch_size=8",
    "image_size=24",
    "decoder_width=32",
    "decoder_depth=1",
    "decoder_heads=2",
]
FAST = [*SMALL, "batch_size=20", "warmup_epochs=1", "base_lr=0.01", "eval_every=10", "normalize_patches=false"]


def asked(path: Path, *changes: str, **more: object) -> Request:
    return Request("pretrain", path, "cpu", (*FAST, *changes), **more)  # type: ignore[arg-type]


def autoencoder(*changes: str) -> MaskedAutoencoder:
    recipe = pretraining_for("cpu", [*SMALL, *changes])
    return MaskedAutoencoder(build_model(recipe, 0, 0)[0], recipe)


def test_the_loss_falls_and_the_weights_start_a_vit_whose_decoder_is_left(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    record = pretrain(asked(path, "epochs=40"))
    folder = path.parent / "runs" / "apron-pretrain-100-s0"
    losses = [row["loss"] for row in json.loads((folder / "curve.json").read_text())["pretrain"]]
    assert losses[-1] < 0.5 * losses[0]
    assert (record["counts"]["pictures"], record["test_reads"]) == (36 + 24, 0)
    assert (record["usage"]["starts"], record["usage"]["pictures_per_second"] > 0) == (1, True)
    assert not (folder / "usage.json").exists()
    saved = load_file(folder / "model.safetensors")
    assert any(name.startswith("decoder_") for name in saved)
    recipe = recipe_for("vit", "default", [*ask(path, "vit").changes, "pretrained=true"])
    model, facts = build_model(recipe, 3, 0, folder / "model.safetensors")
    assert not [name for name in model.state_dict() if "decoder" in name or "mask_token" in name]
    assert all(
        torch.equal(value, saved[name]) for name, value in model.state_dict().items() if not name.startswith("head")
    )
    assert facts.license.startswith("of your file")
    for method, changes in {"vit": ["epochs=1"], "semivit": ["epochs=1", "semi_steps=2"]}.items():
        run = train(ask(path, method, *changes, weights=folder / "model.safetensors"))
        assert run["model"]["weights"] == str(folder / "model.safetensors")


def test_pretraining_sees_neither_val_nor_test(make_manifest: Make) -> None:
    manifest = read_manifest(make_manifest())
    seen = manifest.rows.set_index("image_id").loc[pictures_without_labels(manifest)["image_id"], "split"]
    assert set(seen) == {"train", "unlabeled"}
    assert list(pictures_without_labels(manifest).columns) == ["image_id", "path"]


def test_the_loss_is_of_the_hidden_patches_alone_and_the_encoder_never_sees_them() -> None:
    model = autoencoder("normalize_patches=false").eval()
    x = torch.rand(2, 3, 24, 24)
    order = torch.stack([torch.randperm(9), torch.randperm(9)])  # 9 patches, 7 of them hidden
    seen = 2
    guessed = model.decode(model.encode(x, order[:, :seen]), order, seen)
    for row in range(2):
        hidden = order[row, seen:]
        by_hand = (guessed[row, hidden] - model.pixels(x)[row, hidden]).pow(2).mean()
        assert model(x, order)[row].item() == pytest.approx(by_hand.item(), rel=1e-5)
    changed = x.clone()
    cut = 8 * int(order[0, -1] // 3), 8 * int(order[0, -1] % 3)  # a hidden patch of the first picture
    changed[0, :, cut[0] : cut[0] + 8, cut[1] : cut[1] + 8] = 9
    assert torch.equal(model.encode(changed, order[:, :seen]), model.encode(x, order[:, :seen]))


def test_patches_are_the_pixels_in_reading_order() -> None:
    model = autoencoder("normalize_patches=false")
    x = torch.arange(3 * 24 * 24).float().reshape(1, 3, 24, 24)
    assert torch.equal(model.pixels(x)[0, 4].reshape(8, 8, 3), x[0, :, 8:16, 8:16].permute(1, 2, 0))
    normalized = autoencoder().pixels(torch.rand(1, 3, 24, 24))
    assert normalized.mean(dim=2).abs().max() < 1e-4
    assert (normalized.var(dim=2) - 1).abs().max() < 1e-2


def test_an_interrupted_pretraining_goes_on_to_the_very_same_weights(
    make_manifest: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import signal

    from train import masked

    path = make_manifest()
    whole = pretrain(asked(path, "epochs=6"))
    real, calls = masked.MaskedStep.__call__, []

    def stopped(self: masked.MaskedStep, *number: int) -> object:
        calls.append(number)
        if len(calls) == 9:
            signal.raise_signal(signal.SIGINT)
        return real(self, *number)

    with monkeypatch.context() as patched:
        patched.setattr(masked.MaskedStep, "__call__", stopped)
        with pytest.raises(Interrupted):
            pretrain(asked(path, "epochs=6", out=tmp_path / "again"))
    assert pretrain(asked(path, "epochs=6", out=tmp_path / "again"))["model_id"] == whole["model_id"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=test_resnet", "is no plain vision transformer"),
        ("decoder_heads=5", "decoder_width must divide"),
        ("mask=0", "mask must be above 0"),
        ("mask=1.5", "mask must be between 0 and 1"),
    ],
)
def test_what_cannot_be_pretrained_is_one_line(make_manifest: Make, change: str, said: str) -> None:
    extra = ["model_args="] if "resnet" in change else []
    with pytest.raises(UserError, match=said):
        pretrain(asked(make_manifest(), *extra, change))


def test_no_position_and_no_mask_token_decays() -> None:
    from train.models import parameter_groups

    model = autoencoder()
    decay = {id(p): group["weight_decay"] for group in parameter_groups(model, 0.05, 1.0) for p in group["params"]}
    assert decay[id(model.mask_token)] == decay[id(model.encoder.pos_embed)] == 0
    assert decay[id(model.decoder_embed.weight)] == 0.05
    assert np.isfinite(sum(decay.values()))
