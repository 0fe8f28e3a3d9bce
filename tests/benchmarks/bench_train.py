"""What a semi-supervised step costs beyond the forwards and backwards it contains.

Run:  python tests/benchmarks/bench_train.py [model] [image_size]

Both sides are timed in this process, turn by turn, in CPU seconds: the step (views of uint8 pictures, teacher, pseudo
mixup, student, backward, AdamW, teacher update) against the bare model (teacher forward without gradients, student forward
and backward on as many pictures) on ready-made tensors.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from train.augment import Views
from train.data import Shuffled
from train.feed.pictures import InMemory
from train.fit import Stage, make_optimizer, update
from train.models import build_model, has_batch_norm
from train.recipe import SemiSupervised, recipe_for
from train.steps import Labeled, SemiStep
from train.teacher import Teacher

CLASSES, LABELED, MU, TURNS = 10, 4, 5, 7


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, all threads together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Print the milliseconds of both and their ratio."""
    model = sys.argv[1] if len(sys.argv) > 1 else "vit_tiny_patch16_224"
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 96
    changes = [
        f"model={model}",
        f"image_size={size}",
        "pretrained=false",
        "drop_path=0",
        f"semi_batch={LABELED}",
        f"mu={MU}",
    ]
    recipe = recipe_for("semivit", "default", changes)
    assert isinstance(recipe, SemiSupervised)
    student, facts = build_model(recipe, CLASSES, 0)
    side, n = round(size / recipe.crop_pct), 64
    sizes = np.array([(side, side * 4 // 3)] * n, dtype=np.int64)
    lengths = sizes.prod(axis=1) * 3
    pixels = np.random.default_rng(0).integers(0, 255, lengths.sum(), dtype=np.uint8)
    pictures = InMemory(pixels, np.cumsum(lengths) - lengths, sizes, {str(i): i for i in range(n)})
    y = torch.arange(32) % CLASSES
    views = Views(recipe, facts.mean, facts.std)
    labeled = Labeled(pictures, np.arange(32), y, views, CLASSES, torch.device("cpu"), Shuffled(32, LABELED, 0))
    pool = Shuffled(32, LABELED * MU, 1)
    step = SemiStep(student, Teacher(student, 0.999), labeled, np.arange(32, 64), pool, recipe, seed=0)
    stage = Stage("stage2", 1000, 1, 1e-5, 1e-6, 0.05, 1.0, 0.999, None, 1000, LABELED * (1 + MU))
    optimizer = make_optimizer(student, stage)

    bare, teacher = copy.deepcopy(student).train(), copy.deepcopy(student).eval()
    parts = [LABELED, LABELED * MU] if has_batch_norm(student) else [LABELED * (1 + MU)]
    x = [torch.randn(count, 3, size, size) for count in parts]
    x_weak = torch.randn(LABELED * MU, 3, size, size)

    def contained() -> None:
        with torch.no_grad():
            teacher(x_weak)
        sum(bare(part).logsumexp(dim=1).mean() for part in x).backward()
        bare.zero_grad(set_to_none=True)

    whole, core = [], []
    for turn in range(TURNS + 2):
        one = cpu_seconds(lambda turn=turn: update(student, step, stage, turn, optimizer, step.teacher))
        two = cpu_seconds(contained)
        if turn > 1:
            whole.append(one)
            core.append(two)
    a, b = statistics.median(whole), statistics.median(core)
    print(f"{model} at {size} px, {LABELED} labeled + {LABELED * MU} unlabeled, {torch.get_num_threads()} threads")
    print(f"step {1000 * a:.0f} ms CPU, forwards and backwards alone {1000 * b:.0f} ms, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
