"""Training on one GPU beside the figures to reach: rates, the feed from a pack, memory, where the time goes. Run: make bench-gpu

Needs an NVIDIA GPU and says so without one. `--device cpu --tiny` walks through the same code on a CPU in a minute: its figures
mean nothing. `--only` takes some of: rates, feed, passes, time. On an H200 everything takes about 15 minutes, 11 of them the passes.

Pictures are drawn (JPEGs of photo-like size); students and teachers have random weights: neither changes the speed.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench_pack import manifest_of
from PIL import Image
from step_parts import operations, sections, wait_for, waits
from torch.utils.flop_counter import FlopCounterMode

from curate.dataset.pack import pack, plan_pack
from schemas.pack import Format, Pack, open_pack
from train.augment import Views
from train.data import Shuffled
from train.device import on_device
from train.feed.decode import has_simplejpeg
from train.feed.load import load_pictures
from train.feed.pictures import OnDevice, Pictures, starts_of
from train.fit import Stage, make_optimizer, update
from train.models import build_model
from train.recipe import Recipe, SemiSupervised, recipe_for
from train.steps import Labeled, SemiStep, SupervisedStep
from train.teacher import Teacher

CLASSES = 26
POOL, PASSES, WANTED_PASSES = 284_000, 5, 20
AIMS = {"semivit": 2_640, "vit": 3_370, "resnet18": 17_000}  # student pictures a second, one H200
Step = SemiStep | SupervisedStep


@dataclass
class Bench:
    """What was asked for."""

    device: torch.device
    tiny: bool
    compile: bool
    side: int = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        self.side, self.steps = (36, 2) if self.tiny else (256, 30)

    def recipe(self, method: str) -> Recipe:
        """The default recipe of a method with random weights; tiny: the smallest models there are."""
        changes = ["pretrained=false"]
        if self.tiny:
            model = ["model=test_resnet"] if method == "resnet18" else ["model=test_vit", "model_args=patch_size=8"]
            semi = ["semi_batch=4", "mu=2"] if method == "semivit" else []
            changes += [*model, *semi, "image_size=32", "batch_size=8"]
        return recipe_for(method, "default", changes)

    def step(self, method: str, pictures: Pictures, pool: int | None = None) -> tuple[Step, Stage]:
        """The step of a method on these pictures; `pool` unlabeled ones, the same again where there are fewer."""
        recipe = self.recipe(method)
        model, facts = build_model(recipe, CLASSES, 0)
        student = on_device(model, self.device)
        semi = isinstance(recipe, SemiSupervised)
        batch = recipe.semi_batch if isinstance(recipe, SemiSupervised) else recipe.batch_size
        every = np.arange(max(batch, len(pictures))) % len(pictures)
        y = torch.arange(len(every)) % CLASSES
        views = Views(recipe, facts.mean, facts.std)
        labeled = Labeled(pictures, every, y, views, CLASSES, self.device, Shuffled(len(every), batch, 0))
        stage = Stage("bench", 10**6, 1, 1e-5, 1e-6, 0.05, recipe.layer_decay, 0.999, None, 10**6, batch)
        if not semi:
            return SupervisedStep(student, labeled, 0), stage
        assert isinstance(recipe, SemiSupervised)
        size = round(recipe.mu * batch)
        positions = np.arange(max(size, pool or len(pictures))) % len(pictures)
        shuffled = Shuffled(len(positions), size, 1)
        step = SemiStep(student, Teacher(student, 0.999), labeled, positions, shuffled, recipe, 0)
        return step, replace(stage, images=batch + size)

    def run(self, step: Step, stage: Stage, steps: int, warm: int = 5) -> float:
        """Seconds a step, from the first to the last of `steps` after some that warm up; the device is waited for at both ends."""
        teacher = step.teacher if isinstance(step, SemiStep) else None
        if self.compile:
            for model in [step.student] if teacher is None else [step.student, teacher.model]:
                model.compile()
        optimizer = make_optimizer(step.student, stage)
        with closing(step):
            for number in range(steps + warm):
                if number == warm:
                    self.wait()
                    began = time.perf_counter()
                update(step.student, step, stage, number, optimizer, teacher)
            self.wait()
        return (time.perf_counter() - began) / steps

    def wait(self) -> None:
        """Until the device has done everything."""
        wait_for(self.device)

    def noise(self, n: int) -> OnDevice:
        """Pictures of noise on the device, 4 to 3."""
        sizes = np.array([(self.side, self.side * 4 // 3)] * n, dtype=np.int64)
        lengths = sizes.prod(axis=1) * 3
        pixels = np.random.default_rng(0).integers(0, 255, int(lengths.sum()), dtype=np.uint8)
        return OnDevice(pixels, starts_of(lengths), sizes, {}, self.device)


def drawn_pack(folder: Path, n: int, side: int) -> Pack:
    """A pack of drawn pictures that compress about as photos do."""
    rng = np.random.default_rng(0)
    (folder / "drawn").mkdir()
    for number in range(n):
        rough = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(rough.resize((side * 4 // 3, side), Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = np.clip(smooth + rng.normal(0, 7, smooth.shape), 0, 255).astype(np.uint8)
        sink = io.BytesIO()
        Image.fromarray(noisy).save(sink, "JPEG", quality=95)
        (folder / "drawn" / f"{number}.jpg").write_bytes(sink.getvalue())
    paths = sorted((folder / "drawn").iterdir())
    pack(plan_pack(manifest_of(paths, folder / "source"), Format(side)), folder / "pack", workers=1)
    found = open_pack(folder / "pack")
    size = sum(part.stat().st_size for part in found.parts)
    print(
        f"drawn: {n} pictures, {size / n / 1000:.1f} KB each; simplejpeg {'' if has_simplejpeg() else 'not '}installed"
    )
    return found


def flops_a_step(step: Step, bench: Bench) -> float:
    """Floating point operations of the forwards and backwards in a step, a backward counted as two forwards."""
    size = step.labeled.views.recipe.image_size
    x = torch.zeros(1, 3, size, size, device=bench.device)
    step.student.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        step.student(x)
    step.student.train()
    labeled = step.labeled.batches.batch_size
    unlabeled = step.pool_batches.batch_size if isinstance(step, SemiStep) else 0
    return counter.get_total_flops() * (3 * (labeled + unlabeled) + unlabeled)


def peak_flops(bench: Bench) -> float:
    """What large bf16 matrix products reach on this device, a second."""
    n = 256 if bench.tiny else 8192
    a = torch.randn(n, n, device=bench.device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    bench.wait()
    began = time.perf_counter()
    for _ in range(20):
        a @ a
    bench.wait()
    return 20 * 2 * n**3 / (time.perf_counter() - began)


def peak_memory(bench: Bench) -> str:
    """The most that tensors took on the GPU since the last call."""
    if bench.device.type != "cuda":
        return "not measured on a CPU"
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return f"{peak:.1f} GiB"


def bench_rates(bench: Bench) -> None:
    """Student pictures a second of the three methods, pictures on the device."""
    best = peak_flops(bench)
    print(f"bf16 matrix products: {best / 1e12:.0f} TFLOP/s")
    for method, aim in AIMS.items():
        step, stage = bench.step(method, bench.noise(64 if bench.tiny else 2048))
        work = flops_a_step(step, bench)  # before it is compiled: a compiled model is not counted
        spent = bench.run(step, stage, bench.steps)
        rate = stage.images / spent
        unlabeled = f", {step.pool_batches.batch_size / spent:.0f} unlabeled/s" if isinstance(step, SemiStep) else ""
        share = work / spent / best
        print(
            f"{method:9} {rate:8.0f} student pictures/s{unlabeled} (aim {aim:,}; {rate / aim:.2f} of it), "
            f"{share:.0%} of the matrix products' rate, peak memory {peak_memory(bench)}"
        )


def bench_feed(bench: Bench) -> None:
    """The semi-supervised step from a pack, each way to hold it, against the same step on synthetic pictures."""
    with tempfile.TemporaryDirectory() as folder:
        n = 24 if bench.tiny else 4096
        source = drawn_pack(Path(folder), n, bench.side)
        rows = pd.DataFrame({"image_id": [f"0-{number}" for number in range(n)], "path": ""})
        spent = {}
        for way in ("synthetic", "device", "memory", "stream"):
            pictures = (
                bench.noise(n) if way == "synthetic" else load_pictures(rows, source, bench.side, way, bench.device)[0]
            )
            step, stage = bench.step("semivit", pictures)
            spent[way] = bench.run(step, stage, bench.steps)
            share = spent["synthetic"] / spent[way]
            print(
                f"semivit, {way:9} {stage.images / spent[way]:8.0f} student pictures/s, {share:.2f} of synthetic (aim 0.90)"
            )


def bench_passes(bench: Bench, passes: int) -> None:
    """Five passes over the paper's pool, extrapolated to twenty."""
    pool = 48 if bench.tiny else POOL
    step, stage = bench.step("semivit", bench.noise(24 if bench.tiny else 4096), pool)
    assert isinstance(step, SemiStep)
    steps = round(passes * pool / step.pool_batches.batch_size)
    spent = bench.run(step, stage, steps) * steps
    print(
        f"{passes} passes over {pool} unlabeled pictures: {spent / 60:.1f} minutes; {WANTED_PASSES} passes extrapolated "
        f"{spent / 60 / passes * WANTED_PASSES:.1f} minutes (aim 45 on an H200), peak memory {peak_memory(bench)}"
    )


def bench_time(bench: Bench) -> None:
    """Where a semi-supervised step's time goes, part by part and operation by operation, and how often it waits for the device."""
    step, stage = bench.step("semivit", bench.noise(64 if bench.tiny else 2048))
    assert isinstance(step, SemiStep)
    optimizer = make_optimizer(step.student, stage)
    with closing(step):
        for number in range(3):
            update(step.student, step, stage, number, optimizer, step.teacher)
        print(
            f"waits for the device in a step: {waits(bench.device, lambda: update(step.student, step, stage, 3, optimizer, step.teacher))}"
        )
        operations(bench.device, lambda: update(step.student, step, stage, 4, optimizer, step.teacher))
    whole = bench.run(step, stage, bench.steps)
    parts = sections(bench.device, step, stage, max(2, bench.steps // 3))
    total = sum(parts.values())
    print(f"a step takes {whole * 1000:.1f} ms; {total * 1000:.1f} ms when its parts wait for one another:")
    for name, spent in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {name:24} {spent * 1000:8.2f} ms {spent / total:6.1%}")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the same code on the smallest models")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--passes", type=int, default=PASSES)
    parser.add_argument("--only", nargs="*", default=["rates", "feed", "time", "passes"])
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("bench_gpu: no CUDA GPU here, nothing measured; --device cpu --tiny walks through the code")
        return 0
    bench = Bench(torch.device(asked.device), asked.tiny, asked.device == "cuda" and not asked.no_compile)
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, torch.compile {'on' if bench.compile else 'off'}, bf16 on a GPU")
    parts = {
        "rates": bench_rates,
        "feed": bench_feed,
        "time": bench_time,
        "passes": lambda b: bench_passes(b, asked.passes),
    }
    for part in asked.only:
        parts[part](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
