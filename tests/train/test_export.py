from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import train.export as exporting
from schemas.errors import UserError
from train.bundle import open_bundle, verify
from train.export import export

RUNS = ["apron-vit-100-s0", "apron-resnet18-100-s0"]
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs consenso[export]")


def expected(bundle: Path) -> np.ndarray:
    return np.array([one["probs"] for one in open_bundle(bundle).ours["examples"]])


def seen(bundle: Path) -> torch.Tensor:
    """The ten pictures as a program without our code would crop them, from 0 to 1."""
    return exporting._pixels(open_bundle(bundle))


@pytest.mark.parametrize("name", RUNS)
def test_the_safetensors_form_is_a_bundle_that_timm_loads(shop: Path, name: str, tmp_path: Path) -> None:
    import timm
    from timm.data import resolve_data_config

    said = export(shop / "runs" / name, "safetensors", tmp_path / "out")
    assert said.startswith(f"{name} as safetensors, 10 pictures within ")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    data = resolve_data_config({}, model=model)
    mean, std = (torch.tensor(data[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        probs = model((seen(shop / "runs" / name) - mean) / std).softmax(dim=1).numpy()
    assert np.abs(probs - expected(shop / "runs" / name)).max() < 1e-4
    assert verify(tmp_path / "out").endswith("as expected")


@pytest.mark.parametrize("name", RUNS)
def test_the_torch_form_runs_without_timm(shop: Path, name: str, tmp_path: Path) -> None:
    bundle = shop / "runs" / name
    assert "as torch, 10 pictures" in export(bundle, "torch", tmp_path / "out")
    torch.save(seen(bundle), tmp_path / "pixels.pt")
    code = (
        "import sys, torch, numpy as np\n"
        f"program = torch.export.load({str(tmp_path / 'out' / 'model.pt2')!r}).module()\n"
        f"logits, probs = program(torch.load({str(tmp_path / 'pixels.pt')!r})[:7])\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, logits.detach().numpy()); assert 'timm' not in sys.modules\n"
        f"np.save({str(tmp_path / 'probs.npy')!r}, probs.detach().numpy())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    logits = np.load(tmp_path / "logits.npy")
    as_trained = torch.from_numpy(logits).softmax(dim=1).numpy()
    assert np.abs(as_trained - expected(bundle)[:7]).max() < 1e-4
    temperature = open_bundle(bundle).temperature
    assert np.allclose(
        np.load(tmp_path / "probs.npy"), torch.from_numpy(logits / temperature).softmax(dim=1), atol=1e-6
    )


@needs_onnx
@pytest.mark.parametrize("name", RUNS)
def test_the_onnx_form_runs_on_any_batch(shop: Path, name: str, tmp_path: Path) -> None:
    import onnxruntime

    bundle = shop / "runs" / name
    assert "as onnx, 10 pictures" in export(bundle, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"pixels": seen(bundle)[:3].numpy()})
    assert np.abs(torch.from_numpy(logits).softmax(dim=1).numpy() - expected(bundle)[:3]).max() < 1e-4
    assert json.loads((tmp_path / "out" / "config.json").read_text())["consenso"]["classes"]


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="onnxruntime is installed here")
def test_without_the_extra_the_command_names_it(shop: Path) -> None:
    command = [sys.executable, "-m", "train.cli", "export", str(shop / "runs" / RUNS[0]), "--to", "onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'consenso[export]'" in done.stderr
    assert not (shop / "runs" / f"{RUNS[0]}-onnx").exists()


def test_a_form_that_differs_is_refused_and_leaves_nothing(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shop / "runs" / RUNS[0]
    config = json.loads((bundle / "config.json").read_text())
    config["pretrained_cfg"]["mean"] = [0.4, 0.4, 0.4]  # timm would normalize otherwise than the model was trained
    (bundle / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"its safetensors form differs by .* nothing was written"):
        export(bundle, "safetensors", tmp_path / "out" / "deep")
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_wishes_are_a_line(shop: Path, tmp_path: Path) -> None:
    bundle = shop / "runs" / RUNS[0]
    with pytest.raises(UserError, match="--to tflite: choose safetensors, torch, onnx"):
        export(bundle, "tflite")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="is there already"):
        export(bundle, "torch", tmp_path / "there")
    with pytest.raises(UserError, match=r"no config\.json there"):
        export(tmp_path, "torch")


def test_what_cannot_be_traced_is_a_line(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def depends_on_values(self: exporting.Graph, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.model(pixels if pixels.sum() > 0 else -pixels)
        return logits, logits

    monkeypatch.setattr(exporting.Graph, "forward", depends_on_values)
    with pytest.raises(UserError, match=r"test_vit cannot be expressed in torch\.export by this torch"):
        export(shop / "runs" / RUNS[0], "torch", tmp_path / "out")
    assert not (tmp_path / "out").exists()
