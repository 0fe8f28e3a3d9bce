"""A crawl of a local site, 2,000 product pages and 2,000 pictures, beside Scrapy with its FilesPipeline.

    python tests/benchmarks/bench_crawl.py [--pages 2000] [--runs 3]

The site is a process of its own (nobody's CPU seconds). Both crawlers follow the same list pages. We crawl twice: by site
rules that read the syntaxes that Scrapy's users read with extruct, and as we come, which reads statistics, labels and
galleries of every page besides; neither decodes pixels; both keep the bytes of every picture, and every one is compared. Scrapy reads pages once
with extruct and its own selectors, as its users do, and once with our own reader, `curate.collect.extract.read_page`. Scrapy comes from the Python named by CONSENSO_SCRAPY, a venv of its own (`pip install
scrapy==2.19.* extruct pydantic pyyaml`), or from this one. CPU seconds are those of the whole command and its
children, the tables included; memory is that of the crawling process.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PEER = os.environ.get("CONSENSO_SCRAPY", sys.executable)
SYNTAXES = "json-ld,microdata,opengraph"  # what read_page reads of every page
PER_LIST, PAGE_BYTES, PICTURE_BYTES = 40, 33_000, 90_000


def main() -> None:
    """Serve, crawl with both in turn, check, and print a line a run."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--pages", type=int, default=2000)
    asked.add_argument("--runs", type=int, default=3)
    asked.add_argument("--alone", action="store_true", help="without Scrapy")
    asked.add_argument("--serve", action="store_true", help="only be the site")
    given = asked.parse_args()
    if given.serve:
        return serve(given.pages)
    words = [sys.executable, __file__, "--serve", "--pages", str(given.pages)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        print(f"{given.pages:,} pages of {PAGE_BYTES:,} B and as many pictures of {PICTURE_BYTES:,} B; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
        spent: dict[str, list[float]] = {"ours": [], "ours, all sources": [], "extruct": [], "our reader": []}
        for _ in range(given.runs):
            spent["ours"].append(run_ours(url, given.pages, SYNTAXES))
            spent["ours, all sources"].append(run_ours(url, given.pages))
            if not given.alone:
                spent["extruct"].append(run_scrapy(url, given.pages, SYNTAXES))
                spent["our reader"].append(run_scrapy(url, given.pages, "ours"))
        median = {name: statistics.median(runs) for name, runs in spent.items() if runs}
        print(f"median CPU s of {given.runs}:", ", ".join(f"{name} {median[name]:.1f}" for name in median))
        if not given.alone:
            print(f"Scrapy with extruct beside the same syntaxes: {median['extruct'] / median['ours']:.2f} times; both with all that our reader reads: {median['our reader'] / median['ours, all sources']:.2f}")  # fmt: skip
    finally:
        server.terminate()
        server.wait()


def run_ours(url: str, pages: int, sources: str = "") -> float:
    """`curate scrape` in a new workspace, by rules that read these sources alone; returns its CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        root.mkdir()
        (root / "workspace.yaml").write_text("name: bench\ncontact: bench@example.org\n")
        words = ["-m", "curate.cli", "scrape", f"{url}/list/0", "--delay", "0", "--allow-private", "-w", str(root)]
        if sources:
            (root / "bench.yaml").write_text(f"marketplace: bench\nhosts: [127.0.0.1]\nprefer: [{sources}]\n")
            words += ["--site", str(root / "bench.yaml")]
        cpu = measure(
            f"curate scrape, {sources or 'all sources'}",
            [sys.executable, *words],
            root,
            lambda: count(root / "blobs"),
            pages,
        )
        from schemas.tables import LISTINGS

        assert len(LISTINGS.read(root / "listings.parquet")) == pages
        check(root / "blobs", pages)
    return cpu


def run_scrapy(url: str, pages: int, reader: str) -> float:
    """The same by Scrapy; returns its CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [PEER, str(Path(__file__).with_name("scrapy_spider.py")), f"{url}/list/0", folder, reader]
        cpu = measure(f"Scrapy, {reader}", words, Path(folder), lambda: count(Path(folder) / "files"), pages)
        assert len((Path(folder) / "items.jsonl").read_text().splitlines()) == pages
        check(Path(folder) / "files", pages)
    return cpu


def measure(name: str, words: list[str], folder: Path, done: Any, pages: int) -> float:
    """Run a crawler to its end; print CPU seconds, wall time, and the crawling process's memory at four moments."""
    began = time.monotonic()
    with (folder / "said.txt").open("w") as said:
        running = subprocess.Popen(
            words, cwd=folder, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        seen: dict[int, float] = {}
        peak = 0.0
        while (ended := os.wait4(running.pid, os.WNOHANG))[0] == 0:
            now, peak = memory(running.pid, peak)
            if now:
                seen[min(4, int(4 * done() / pages))] = now
            time.sleep(0.25)
    _, status, usage = ended
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0, (folder / "said.txt").read_text()[-2000:]
    cpu = usage.ru_utime + usage.ru_stime
    flat = " ".join(f"{seen[quarter]:.0f}" for quarter in sorted(seen))
    print(f"{name:<22} {cpu:6.1f} CPU s  {time.monotonic() - began:6.1f} s  peak {peak:4.0f} MB (by quarter: {flat})", flush=True)  # fmt: skip
    return cpu


def memory(pid: int, peak: float) -> tuple[float, float]:
    """Resident and peak megabytes of one process, without its children."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError):  # it has ended
        return 0, peak


def count(folder: Path) -> int:
    """Files below a folder."""
    return sum(len(files) for _, _, files in os.walk(folder))


def check(folder: Path, pages: int) -> None:
    """Every picture is there once, byte for byte."""
    found = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file())
    assert found == sorted(hashlib.sha256(picture(number)).hexdigest() for number in range(pages))


# The site


def photo() -> bytes:
    """One real JPEG of 400 pixels."""
    file = io.BytesIO()
    small = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((400, 400), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


PHOTO = photo()


def picture(number: int) -> bytes:
    """A JPEG that no other number gives, of PICTURE_BYTES."""
    return PHOTO + random.Random(number).randbytes(PICTURE_BYTES - len(PHOTO))


def product(number: int, url: str) -> bytes:
    """A product page: JSON-LD, microdata, OpenGraph, and much else."""
    name, image = f"Apron {number}", f"{url}/i/{number}.jpg"
    offer = {"@type": "Offer", "price": f"{number}.50", "priceCurrency": "MXN"}
    data = {"@context": "https://schema.org", "@type": "Product", "sku": f"S{number}", "name": name, "image": [image], "offers": offer}  # fmt: skip
    head = f'<html lang="es-MX"><head><title>{name}</title><meta property="og:title" content="{name}"><meta property="og:image" content="{image}"><script type="application/ld+json">{json.dumps(data)}</script></head>'  # fmt: skip
    item = f'<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">{name}</h1><img itemprop="image" src="{image}"><span itemprop="sku">S{number}</span></div>'  # fmt: skip
    row = '<div class="row"><a href="/about">About us</a><p class="text">Cotton, washable at 40 degrees, made to last.</p><span>4.5</span></div>\n'  # fmt: skip
    page = f"{head}<body>{item}{row * ((PAGE_BYTES - len(head) - len(item)) // len(row))}</body></html>"
    return page.encode()


def listing(start: int, pages: int) -> bytes:
    """A page of a list, with a link to the next."""
    end = min(start + PER_LIST, pages)
    links = "".join(f'<li><a href="/p/{number}">Apron {number}</a></li>' for number in range(start, end))
    following = f'<a rel="next" href="/list/{end}">next</a>' if end < pages else ""
    return f"<html><body><ul>{links}</ul>{following}</body></html>".encode()


def serve(pages: int) -> None:
    """Answer until SIGTERM; prints the address."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        url, parts = f"http://{request.host}", request.path.strip("/").split("/")
        if parts == ["robots.txt"]:
            return web.Response(text="User-agent: *\nDisallow: /about\n")
        what, number = parts[0], parts[-1].removesuffix(".jpg")
        if not number.isdigit() or int(number) >= pages:
            raise web.HTTPNotFound
        if what == "i":
            return web.Response(body=picture(int(number)), content_type="image/jpeg")
        body = product(int(number), url) if what == "p" else listing(int(number), pages)
        return web.Response(body=body, content_type="text/html", charset="utf-8")

    async def start() -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        return app

    import socket

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    web.run_app(start(), sock=listener, print=None, access_log=None)


if __name__ == "__main__":
    main()
