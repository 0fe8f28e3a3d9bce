"""A picture, a listing and a seller are forgotten: nowhere in the workspace is a trace of them, and they do not come back."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from curate.demo.market import draw_market
from schemas.manifest import read_manifest
from schemas.tables import APPEARANCES, CLUSTERS, FORGOTTEN, HITS, LEDGER, LISTINGS, PICTURES, PREDICTIONS
from tests.contents import dump, mentions

pytestmark = pytest.mark.timeout(600)
KILLS = int(os.environ.get("CONSENSO_KILLS", "5"))
POINTS = (
    "forget-planned", "forget-before-crawl", "forget-before-parts", "forget-before-manifests", "forget-manifest", "forget-manifest:2",
    "forget-followed:2", "forget-before-tables", "forget-table", "forget-table:6", "forget-before-packs", "forget-pack",
    "forget-before-exports", "forget-export", "forget-before-databases", "forget-database", "forget-before-texts",
    "forget-text:3", "forget-before-bytes", "forget-bytes", "forget-before-list", "forget-listed", "forget-done",
)  # fmt: skip


@dataclass
class Shop:
    """A workspace with everything in it, and where its listings come from."""

    person: Any
    root: Path
    url: str
    ids: dict[str, str] = field(default_factory=dict)

    def curate(self, *words: str, code: int = 0) -> str:
        self.person.env["CURATE_WORKSPACE"] = str(self.root)
        return str(self.person.types("curate", *words, code=code))

    def copy(self, to: Path) -> Shop:
        shutil.copytree(self.root, to)
        return Shop(self.person, to, self.url, self.ids)


@pytest.fixture(scope="module")
def made(founder: Any) -> Shop:
    """Scraped, asked about, labeled, split, packed, exported, reported, trained on: a bit of everything."""
    market, root = founder.folder / "market", founder.folder / "shop"
    draw_market(market, seed=1, scale=0.25)
    url = founder.starts("shop", market, "--port", "0")
    shop = Shop(founder, root, url)
    founder.types("curate", "init", "shop", "--contact", "tests@example.org", "--set", "split.test=0.25")
    shop.curate("scrape", url, "--delay", "0", "--allow-private")
    shop.curate("import", "truth", str(market / "truth.csv"))
    shop.curate("check")
    shop.curate("dedup")
    ask(shop, market)
    shop.curate("aggregate", "--source", "simulated")
    shop.curate("split")
    shop.curate("pack", "--side", "48")
    shop.curate("export", "coco", "--out", str(root / "coco"))
    shop.curate("report", "--out", str(root / "reports" / "report.html"))
    train_a_little(root)
    choose(shop)
    shop.curate("forget", "--image", shop.ids["test"], "--dry-run")  # makes the salt, so that copies have the same
    return shop


def ask(shop: Shop, market: Path) -> None:
    """People answer over a real crowd server, which shows one of the pictures."""
    founder = shop.person
    key = json.loads(shop.curate("crowd", "keys", "issue", "tests", "--json"))
    founder.env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
    founder.env["CURATE_ENDPOINT"] = crowd = founder.starts("curate", "crowd", "serve", "--port", "0")
    shop.curate("gold", "import", str(market / "gold.csv"))
    shop.curate("qual", "create")
    shop.curate("hits", "create", "--images", "60", "--yes")
    asked = HITS.read(shop.root / "apron" / "hits.parquet").query("chosen_by == 'random'")["image_id"]
    refused = shop.curate("forget", "--image", asked.iloc[0], "--yes", code=1)
    assert "`curate hits stop --task apron` ends them" in refused
    for image in asked:
        urllib.request.urlopen(f"{crowd}/picture/{image}").read()
    shop.curate("crowd", "simulate", "--workers", "6")
    shop.curate("hits", "collect")
    shop.curate("hits", "review", "--yes")
    shop.curate("hits", "collect")


def train_a_little(root: Path) -> None:
    """What a run leaves behind, as far as it names pictures."""
    manifest = read_manifest(root / "apron.parquet")
    run = root / "runs" / "little"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"run": "little", "manifest_id": manifest.manifest_id}))
    rows = manifest.rows[manifest.rows["split"].isin(["val", "test", "unlabeled"])]
    same = {"run": "little", "task": "apron", "manifest_id": manifest.manifest_id, "model_id": "m", "temperature": 1.0}
    even = [1 / len(manifest.classes)] * len(manifest.classes)
    frame = PREDICTIONS.frame(
        {**same, "image_id": i, "predicted": manifest.classes[0], "probs": even} for i in rows["image_id"]
    )
    PREDICTIONS.write(frame, run / "predictions.parquet", {"consenso.classes": json.dumps(manifest.classes)})


def choose(shop: Shop) -> None:
    """Pictures and listings that stand in every kind of place."""
    rows = read_manifest(shop.root / "apron.parquet").rows.set_index("image_id")
    clusters = CLUSTERS.read(shop.root / "clusters.parquet")
    shown = APPEARANCES.read(shop.root / "appearances.parquet")
    hits = HITS.read(shop.root / "apron" / "hits.parquet")
    twins = clusters[clusters.duplicated("cluster_id", keep=False)]
    shared = shown[shown.duplicated("image_id", keep=False)].iloc[0]
    shop.ids |= {
        "test": rows.index[rows["split"] == "test"][0],
        "train": rows.index[rows["split"] == "train"][0],
        "gold": hits.loc[hits["chosen_by"] == "gold", "image_id"].iloc[0],
        "head": twins.loc[twins["representative"], "image_id"].iloc[0],
        "shared": shared["image_id"],
        "listing": f"{shared['marketplace']}/{shared['listing_id']}",
    }


@pytest.fixture
def shop(made: Shop, tmp_path: Path) -> Shop:
    """A copy of it to forget in."""
    return made.copy(tmp_path / "shop")


def bytes_of(shop: Shop, image: str) -> bytes:
    """The middle of the picture's original bytes, that no other file has."""
    blob = PICTURES.read(shop.root / "pictures.parquet").set_index("image_id").loc[image, "blob"]
    data = (shop.root / blob).read_bytes()
    return data[len(data) // 2 : len(data) // 2 + 32]


def packed_bytes(shop: Shop, image: str) -> bytes:
    """The same of its JPEG in the pack."""
    table = pq.read_table(shop.root / "apron-pack" / "apron.pack-0000.parquet").to_pandas().set_index("image_id")
    jpeg = table.loc[image, "jpeg"]
    return bytes(jpeg[-40:-2])


def test_a_picture_is_nowhere_afterwards_and_what_people_were_paid_stays(shop: Shop) -> None:
    gone = [shop.ids[name] for name in ("test", "train", "gold", "head")]
    traces: list[str | bytes] = [*gone, *(bytes_of(shop, i) for i in gone), packed_bytes(shop, shop.ids["test"])]
    places = " ".join(mentions(shop.root, traces))
    for place in ("crowd.db", "project.db", "apron-pack", "display/", "votes", "coco", "runs/little", "apron-0001"):
        assert place in places, f"{place} has a trace before, or this test shows nothing"
    ledger = LEDGER.read(shop.root / "apron" / "ledger.parquet")
    before = read_manifest(shop.root / "apron.parquet")
    said = shop.curate("forget", *(word for i in gone for word in ("--image", i)), "--yes")
    assert mentions(shop.root, traces) == []
    assert "a model does not unlearn: runs/little had" in said
    assert "manifests rewritten: 4" in said
    assert "exports removed: 1 (coco)" in said
    assert "pages with pictures inside removed: 1 (reports/report.html)" in said
    pd.testing.assert_frame_equal(LEDGER.read(shop.root / "apron" / "ledger.parquet"), ledger)
    after = read_manifest(shop.root / "apron.parquet")
    assert len(after.rows) == len(before.rows) - len(set(gone))
    assert after.info["forgotten"]["manifest_ids"] == [before.manifest_id]
    assert after.info["versions"]["test"]["version"] == before.info["versions"]["test"]["version"] + 1
    predictions = PREDICTIONS.read(shop.root / "runs" / "little" / "predictions.parquet")
    assert set(predictions["manifest_id"]) == {after.manifest_id}, "so that a report still finds what it was made on"
    clusters = CLUSTERS.read(shop.root / "clusters.parquet")
    assert (clusters.groupby("cluster_id")["representative"].sum() == 1).all()
    assert set(clusters["cluster_id"]) <= set(clusters["image_id"]), "a cluster is called by a picture that is there"
    all_still_works(shop)


def all_still_works(shop: Shop) -> None:
    """Every command that reads what was rewritten."""
    assert "apron-pack is whole" in shop.curate("pack", "--check", str(shop.root / "apron-pack"))
    shop.curate("aggregate", "--source", "simulated")
    shop.curate("split")
    assert " 0 errors" in shop.curate("validate", str(shop.root / "apron.parquet"))
    shop.curate("pack", "--side", "48")
    shop.curate("dedup")
    shop.curate("report", "--out", str(shop.root / "reports" / "report.html"))
    assert "pictures" in shop.curate("status")


def test_a_listing_goes_with_the_pictures_that_only_it_shows_and_is_not_scraped_again(shop: Shop) -> None:
    marketplace, _, listing = shop.ids["listing"].partition("/")
    shown = APPEARANCES.read(shop.root / "appearances.parquet")
    others = set(shown.loc[shown["listing_id"] != listing, "image_id"])
    own = set(shown.loc[shown["listing_id"] == listing, "image_id"]) - others
    assert own
    traces: list[str | bytes] = [listing, *own, *(bytes_of(shop, i) for i in own)]
    said = shop.curate("forget", "--listing", f"{marketplace}/{listing}", "--yes")
    assert "stays: 1 pictures that other listings show too; --picture-too takes them" in said
    assert mentions(shop.root, traces) == []
    assert shop.ids["shared"] in set(PICTURES.read(shop.root / "pictures.parquet")["image_id"])
    row = read_manifest(shop.root / "apron.parquet").rows.set_index("image_id").loc[shop.ids["shared"]]
    assert row["listing_id"] != listing
    listings = LISTINGS.read(shop.root / "listings.parquet")
    again = shop.curate("scrape", shop.url, "--delay", "0", "--allow-private", "--refresh")
    assert "1 addresses left out, forgotten" in again
    assert set(LISTINGS.read(shop.root / "listings.parquet")["listing_id"]) == set(listings["listing_id"])
    assert not own & set(PICTURES.read(shop.root / "pictures.parquet")["image_id"])
    assert mentions(shop.root, [bytes_ for bytes_ in traces if isinstance(bytes_, bytes)]) == []
    assert "nothing to do: it is forgotten already" in shop.curate(
        "forget", "--listing", f"{marketplace}/{listing}", "--yes"
    )


def test_a_seller_goes_with_every_listing(shop: Shop) -> None:
    listings = LISTINGS.read(shop.root / "listings.parquet")
    mine = listings[listings["marketplace"] == "Mercadito Sur"]
    assert len(mine) > 5
    shop.curate("forget", "--seller", "MERCADITO  sur", "--picture-too", "--copies", "--reason", "asked for", "--yes")
    assert mentions(shop.root, ["Mercadito Sur", *mine["listing_id"]]) == []
    kinds = FORGOTTEN.read(shop.root / "forgotten.parquet")["kind"].value_counts()
    assert kinds["seller"] == 1
    assert kinds["listing"] == len(mine)
    all_still_works(shop)


def words(shop: Shop) -> list[str]:
    """The command that the kills are tried on."""
    images = [word for name in ("test", "head") for word in ("--image", shop.ids[name])]
    return [
        "forget", *images, "--listing", shop.ids["listing"], "--copies", "--by", "tests", "--yes", "-w", str(shop.root)
    ]  # fmt: skip


def start(shop: Shop, crash_at: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "curate.cli", *words(shop)],
        env={**os.environ, "CONSENSO_CRASH_AT": crash_at},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def content(root: Path) -> dict[str, str]:
    """Everything in a workspace but the moments at which it was done."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.name in (".lock",) or path.name.endswith(("-shm", "-wal")):
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            kept = [name for name in table.column_names if name != "forgotten_at"]
            said = repr((table.select(kept).to_pylist(), table.schema.metadata))
        elif data.startswith(b"SQLite format 3"):
            said = dump(path)
        else:
            said = hashlib.sha256(data).hexdigest() if b"\0" in data else data.decode()
        now = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00)?"
        only_now = said if path.name in ("project.db", "log.jsonl") else ""
        found[path.relative_to(root).as_posix()] = re.sub(now, "", only_now) if only_now else said
    return found


@pytest.fixture(scope="module")
def undisturbed(made: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is there after a run that nobody disturbed."""
    shop = made.copy(tmp_path_factory.mktemp("calm") / "shop")
    assert start(shop).wait() == 0
    return content(shop.root)


def test_killed_at_every_step_it_ends_as_if_nothing_had_happened(shop: Shop, undisturbed: dict[str, str]) -> None:
    for point in POINTS:
        assert start(shop, crash_at=point).wait() == 137, f"{point} was never passed"
    assert start(shop).wait() == 0
    assert content(shop.root) == undisturbed


@pytest.mark.timeout(120 + 40 * KILLS)
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(shop: Shop, undisturbed: dict[str, str]) -> None:
    moments, killed = random.Random(11), 0
    for _ in range(KILLS):
        run = start(shop)
        time.sleep(moments.uniform(1.0, 4.0))  # the moment is what is random here
        run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
    assert start(shop).wait() == 0
    assert content(shop.root) == undisturbed
    print(f"{killed} of {KILLS} runs were killed on their way")


def test_a_killed_run_keeps_the_picture_out_from_its_first_moment(shop: Shop) -> None:
    assert start(shop, crash_at="forget-before-crawl").wait() == 137
    waiting = shop.curate("forget", "--image", shop.ids["train"], "--dry-run")
    assert "is not done yet" in waiting
    shop.curate("scrape", shop.url, "--delay", "0", "--allow-private", "--refresh")
    said = shop.curate("forget")
    assert said.startswith("going on with what was begun at")
    assert mentions(shop.root, [shop.ids["test"], shop.ids["head"]]) == []
