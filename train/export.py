"""A model for other programs: timm, torch.export, ONNX. What is written is read back and run beside the original, or refused.

The torch and ONNX graphs take the middle square of a picture as float32 from 0 to 1, RGB, [batch, 3, size, size]; mean and
std are inside, and so is the temperature. They give `logits` as trained and calibrated `probs`.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import UserError
from train.augment import padded
from train.bundle import FILES, Bundle, open_bundle
from train.feed.decode import decode

CLOSE = 1e-4  # of a probability, and of a logit in proportion to the largest one
Outputs = tuple[np.ndarray, np.ndarray]  # logits and probs, [n, K] each


class Graph(nn.Module):
    """The model with its normalization before and its temperature behind."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and calibrated probabilities. [B, K] each"""
        logits = self.model((pixels - self.mean) / self.std)
        return logits, (logits / self.temperature).softmax(dim=1)


def export(folder: Path, to: str, out: Path | None = None) -> str:
    """Write the bundle's model as `safetensors`, `torch` or `onnx` into a folder, checked; says so in a line.

    Raises UserError, and writes nothing, when the model cannot be expressed or the copy's outputs differ.
    """
    if to not in _FORMS:
        raise UserError(f"--to {to}: choose {', '.join(_FORMS)}")
    bundle = open_bundle(folder)
    out = out or bundle.folder.resolve().with_name(f"{bundle.folder.resolve().name}-{to}")
    if out.exists():
        raise UserError(f"--out {out}: is there already; remove it, or name another")
    views, model = bundle.views, bundle.build()
    graph = Graph(model, views.mean, views.std, bundle.temperature).eval()
    pixels = _pixels(bundle)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as place:
        made = Path(place) / "whole"
        made.mkdir()
        shutil.copy(bundle.folder / "config.json", made / "config.json")
        run = _FORMS[to](bundle, graph, pixels, made)
        difference = max(_difference(graph, run, batch) for batch in (pixels, pixels[:1]))
        if not difference <= CLOSE:
            raise UserError(
                f"{folder}: its {to} form differs by {difference:.1e} from the model, more than {CLOSE:g}; nothing was "
                "written. Which model, and which versions of timm and torch?"
            )
        made.chmod(0o755)  # what mkdtemp made for itself alone
        made.rename(out)
    return f"{bundle.ours['run']} as {to}, {len(pixels)} pictures within {difference:.1e} of the model -> {out}"


def _pixels(bundle: Bundle) -> Tensor:
    """What the model sees of the bundle's own pictures, before normalization; noise where it holds none. [n, 3, S, S]"""
    size = bundle.ours["preprocessing"]["image_size"]
    read = [decode(bundle.folder / one["file"], bundle.side_px) for one in bundle.ours["examples"]]
    found = [one for one in read if not isinstance(one, str)]
    if len(found) < 2:
        return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    views = bundle.views
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (views.mean, views.std))
    return (torch.cat([views.plain(padded([one])) for one in found]) * std + mean).clamp(0, 1)


@torch.no_grad()
def _difference(graph: Graph, run: Callable[[Tensor], Outputs], pixels: Tensor) -> float:
    """The largest difference of a probability, or of a logit in proportion to the largest one."""
    logits, probs = (part.numpy() for part in graph(pixels))
    other_logits, other_probs = run(pixels)
    scale = max(1.0, float(np.abs(logits).max()))
    gaps = [np.abs(probs - other_probs).max(), np.abs(logits - other_logits).max() / scale]
    return float(np.max(gaps)) if np.isfinite(gaps).all() else float("inf")


def _to_safetensors(bundle: Bundle, graph: Graph, pixels: Tensor, made: Path) -> Callable[[Tensor], Outputs]:
    """A copy of the bundle, loaded by timm alone with timm's own normalization."""
    import timm
    from timm.data.config import resolve_data_config

    for name in FILES:
        source = bundle.folder / name
        if source.is_dir():
            shutil.copytree(source, made / name)
        elif name != "config.json":
            shutil.copy(source, made / name)
    model = timm.create_model(f"local-dir:{made}", pretrained=True).eval()
    data = resolve_data_config({}, model=model)
    theirs = Graph(model, tuple(data["mean"]), tuple(data["std"]), bundle.temperature)
    return lambda x: _numpy(theirs(x))


def _to_torch(bundle: Bundle, graph: Graph, pixels: Tensor, made: Path) -> Callable[[Tensor], Outputs]:
    """A torch.export program of any batch size."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(graph, (pixels,), dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}})
            torch.export.save(program, made / "model.pt2")
    except Exception as error:  # tracing raises whatever the model's own code runs into
        raise _cannot(bundle, "torch.export", error) from error
    loaded = torch.export.load(made / "model.pt2").module()
    return lambda x: _numpy(loaded(x))


def _to_onnx(bundle: Bundle, graph: Graph, pixels: Tensor, made: Path) -> Callable[[Tensor], Outputs]:
    """An ONNX file of any batch size, run by onnxruntime."""
    import logging

    import onnxruntime
    import onnxscript  # noqa: F401  what torch.onnx writes with; missing, it must be named as an extra

    path = made / "model.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph, (pixels,), path, dynamo=True, external_data=False, verbose=False, input_names=["pixels"],
                output_names=["logits", "probs"], dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # as above
        raise _cannot(bundle, "ONNX", error) from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Outputs:
        logits, probs = session.run(["logits", "probs"], {"pixels": x.numpy()})
        return np.asarray(logits), np.asarray(probs)

    return run


def _cannot(bundle: Bundle, form: str, error: Exception) -> UserError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{bundle.config['architecture']} cannot be expressed in {form} by this torch ({said})")


def _numpy(outputs: tuple[Tensor, Tensor]) -> Outputs:
    return outputs[0].detach().numpy(), outputs[1].detach().numpy()


_FORMS = {"safetensors": _to_safetensors, "torch": _to_torch, "onnx": _to_onnx}
