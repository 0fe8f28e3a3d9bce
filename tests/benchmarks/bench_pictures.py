"""CPU time of hashing and checking pictures, beside imagehash and the bare decode; then of a pool and of Daft beside one process.

Run: make bench-pictures; --no-engines leaves out the latter. Ratios of medians of interleaved rounds. Daft is compared where it is installed (the extra `scale`).
"""

from __future__ import annotations

import argparse
import ctypes
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import imagehash
from PIL import Image, ImageOps

from curate.clean.hashes import DRAFT_PX, phash64
from curate.clean.looks import INNER, see
from curate.clean.measure import Limits, inspect
from curate.clean.reasons import Rules
from curate.demo.market import draw_market
from schemas.picture import draft, luma, open_picture, upright

ROUNDS = 5
LARGE_PX = 1500
SMALL, LARGE = 300, 40  # pictures of each size
_PR_SET_CHILD_SUBREAPER = 36


def pictures(folder: Path) -> list[Path]:
    """All real photos where they are, else drawn ones."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    real = sorted((base / "clothing").rglob("*.jpg"))
    if not real:
        draw_market(folder, scale=0.3)
    print(f"{'real photos' if real else 'drawn pictures'}, {os.cpu_count()} cores")
    return real or [
        path for path in sorted(folder.rglob("*.jpg")) if not inspect(path.read_bytes(), Limits()).get("dropped")
    ]


def enlarged(data: bytes) -> bytes:
    """The picture with its longer side at 1,500 px, packed as Pillow does by default."""
    with Image.open(io.BytesIO(data)) as image:
        scale = LARGE_PX / max(image.size)
        large = image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))
    file = io.BytesIO()
    large.save(file, "JPEG")
    return file.getvalue()


def their_hash(data: bytes) -> None:
    """imagehash.phash of an opened file."""
    imagehash.phash(Image.open(io.BytesIO(data)))


def their_two(data: bytes) -> None:
    """64 and 256 bits from one full decode."""
    _both(Image.open(io.BytesIO(data)).convert("L"))


def their_set(data: bytes) -> None:
    """Every hash that `curate check` keeps of a picture without a border, from one full decode."""
    gray = Image.open(io.BytesIO(data)).convert("L")
    x, y = round(gray.width * INNER), round(gray.height * INNER)
    for form in (gray, ImageOps.mirror(gray), gray.crop((x, y, gray.width - x, gray.height - y))):
        _both(form)


def _both(gray: Image.Image) -> None:
    imagehash.phash(gray)
    imagehash.phash(gray, hash_size=16)


def bare_decode(data: bytes) -> None:
    """The reduced decode alone."""
    image = Image.open(io.BytesIO(data))
    image.draft(None, (DRAFT_PX, DRAFT_PX))
    image.load()


def our_hash(data: bytes) -> None:
    """phash64 as `curate check` computes it, alone."""
    with open_picture(data) as image:
        draft(image, DRAFT_PX, gray=True)
        phash64(luma(upright(image)))


def our_two(data: bytes) -> None:
    """Both hashes, the measures, and whether the picture is broken, as `curate hash` writes them."""
    inspect(data, Limits())


def our_check(data: bytes) -> None:
    """All of `curate check`: every hash, the colors, the border, and whether the picture counts."""
    see(data, Rules())


def cpu_ms(work: Callable[[bytes], None], pictures: list[bytes]) -> float:
    """CPU milliseconds a picture."""
    began = time.process_time()
    for data in pictures:
        work(data)
    return (time.process_time() - began) / len(pictures) * 1000


def beside_imagehash(name: str, pictures: list[bytes]) -> None:
    """One size of pictures."""
    works = (their_hash, their_two, their_set, bare_decode, our_hash, our_two, our_check)
    times: dict[str, list[float]] = {work.__name__: [] for work in works}
    for _ in range(ROUNDS):
        for work in works:
            times[work.__name__].append(cpu_ms(work, pictures))
    ms = {what: median(values) for what, values in times.items()}
    print(f"{name}, CPU ms a picture: " + ", ".join(f"{what} {value:.2f}" for what, value in ms.items()))
    print(
        f"  pHash64 alone {ms['their_hash'] / ms['our_hash']:.2f} times imagehash.phash, "
        f"{ms['our_hash'] / ms['bare_decode']:.2f} of the decode; "
        f"both hashes and the measures {ms['their_two'] / ms['our_two']:.2f} times imagehash's two; "
        f"all of the check {ms['their_set'] / ms['our_check']:.2f} times imagehash's set"
    )


_ENGINE = """
import sys
from curate.clean.looks import see_file
from curate.clean.reasons import Rules
from schemas.engine import Engine, each
if __name__ == "__main__":
    jobs = [(at, path, Rules()) for at, path in enumerate(sys.stdin.read().split("\\n"))]
    name = sys.argv[1]
    done = map(see_file, jobs) if name == "one process" else each(see_file, jobs, Engine(name))
    assert sum(1 for _ in done) == len(jobs)
"""


def engines(paths: list[Path], folder: Path) -> None:
    """CPU seconds of everything that one process, the pool and Daft start, imports and all, for the same pictures.

    Beside them two processes that know nothing of each other, each with half of the pictures: what two busy cores of this
    machine cost, whoever keeps them busy (they share caches, memory, and often a core's units).
    """
    script = folder / "engine.py"
    script.write_text(_ENGINE)
    names = ["one process", TWO, "pool", *(["daft"] if find_spec("daft") else [])]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # so that processes of processes are counted too
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            for some in (paths[::2], paths[1::2]) if name == TWO else (paths,):
                _start(script, "one process" if name == TWO else name, some)
            times[name].append(_cpu_of_all() / len(paths) * 1000)
        print("  a round: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in times.items()), flush=True)
    ms = {name: median(values) for name, values in times.items()}
    for name, value in ms.items():
        print(
            f"{name}: {value:.2f} CPU ms a picture ({len(paths):,} pictures), {value / ms['one process']:.2f} of one process, "
            f"{value / ms[TWO]:.2f} of two apart"
        )


TWO = "two processes apart"


def _start(script: Path, name: str, paths: list[Path]) -> None:
    running = subprocess.Popen([sys.executable, str(script), name], stdin=subprocess.PIPE, text=True)
    assert running.stdin
    running.stdin.write("\n".join(map(str, paths)))
    running.stdin.close()


def _cpu_of_all() -> float:
    """CPU seconds of every process that was started, when the last has ended."""
    total = 0.0
    while True:
        try:
            _, status, used = os.wait4(-1, 0)
        except ChildProcessError:
            return total
        assert status == 0 or os.WIFSIGNALED(status), "a process failed"
        total += used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", action="store_true", help="only one process beside the pool and Daft")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder))
        if options.engines:
            engines(paths * 3, Path(folder))
            return
        small = [path.read_bytes() for path in paths[:: max(1, len(paths) // SMALL)]]
        beside_imagehash("400 px", small)
        beside_imagehash("1500 px", [enlarged(data) for data in small[:LARGE]])
        if "--no-engines" not in sys.argv:
            engines(paths * 3, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
