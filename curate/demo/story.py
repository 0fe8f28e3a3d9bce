"""The whole story on one machine: a drawn marketplace (or your pictures) becomes three trained models and a report.

Every stage is a command that a person could type, run as its own process; what they would type is printed before it. Run
again after Ctrl-C or a crash, it goes on: each command knows what is done already.
"""

from __future__ import annotations

import csv
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curate.demo.process import Server, run, start
from schemas.errors import Interrupted, UserError
from schemas.files import write_text

METHODS = ("resnet18", "vit", "semivit")
CONTACT = "demo@example.org"
MOST_ASKED = 1_200  # pictures put before people, however many there are: the demo should end while somebody watches


@dataclass(frozen=True)
class Size:
    """How much of the story is told."""

    scale: float  # of the drawn marketplace: 1 is about 900 pictures
    label_share: float  # of the kept pictures are put before people
    recipe: str  # of the trainings
    workers: int
    minutes: str  # to expect on 2 cores, said first
    asked: int = MOST_ASKED  # pictures put before people at most
    settings: tuple[str, ...] = ()  # of the task file, where its own do not fit


FULL = Size(scale=1.0, label_share=0.85, recipe="cpu", workers=12, minutes="about 9 minutes")
QUICK = Size(scale=0.3, label_share=0.8, recipe="cpu-quick", workers=9, minutes="about 3 minutes")


@dataclass
class Story:
    """One run of the demo in one folder."""

    out: Path
    size: Size
    seed: int = 0
    images: Path | None = None
    product: str = "apron"  # what the drawn marketplace sells, a task of curate.demo.goods
    env: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    servers: list[Server] = field(default_factory=list)

    @property
    def shop(self) -> Path:
        """The workspace."""
        return self.out / "shop"

    def curate(self, *arguments: str | Path, allowed: Sequence[int] = (0,)) -> str:
        """Run a `curate` command in the workspace, shown as a person would type it."""
        say(f"    $ curate {' '.join(map(str, arguments))}")
        return run("curate", arguments, {**self.env, "CURATE_WORKSPACE": str(self.shop)}, allowed)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce a stage and keep its wall time."""
        say(f"\n[{len(self.seconds) + 1:2}] {name}: {what}")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        write_text(self.out / "seconds.json", json.dumps(self.seconds, indent=2) + "\n")

    def tell(self) -> Path:
        """All of it; returns the report's path."""
        began = time.monotonic()
        with self.servers_end():
            task = self.make_data()
            runs = [self.train(task, method) for method in METHODS]
            report = self.report(runs)
        say(
            f"\ntook {(time.monotonic() - began) / 60:.1f} minutes: "
            + ", ".join(f"{k} {v:.0f} s" for k, v in self.seconds.items())
        )
        return report

    @contextmanager
    def servers_end(self) -> Iterator[None]:
        """Make the folder, and end the servers whatever happens."""
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            yield
        finally:
            for server in self.servers:
                server.stop()

    def make_data(self) -> str:
        """From nothing to a split data set; returns the task's name."""
        task = self.import_folder() if self.images else self.scrape_market()
        self.clean()
        self.ask_people(task)
        self.make_data_set(task)
        return task

    # pictures come in

    def scrape_market(self) -> str:
        """Draw the marketplace, serve it, scrape it; returns the task's name."""
        market = self.out / "market"
        with self.stage("draw", f"our own code draws a marketplace for the task {self.product}"):
            from curate.demo.goods import GOODS
            from curate.demo.market import draw_market

            if not (market / "market.json").exists():
                from schemas.progress import progress

                with progress(round(400 * self.size.scale), "listings drawn") as bar:
                    goods = GOODS[self.product]
                    draw_market(market, seed=self.seed, scale=self.size.scale, tick=bar.update, goods=goods)
        with self.stage("scrape", "its listing pages become listings and pictures"):
            self.servers.append(start("shop", [market, "--port", str(self.shop_port())], self.out / "shop-server.log"))
            settings = ("split.test=0.16", *self.size.settings)
            self.make_workspace("--task", self.product, *(part for one in settings for part in ("--set", one)))
            self.curate("scrape", self.servers[-1].url, "--delay", "0", "--allow-private", allowed=(0, 3))
            self.curate("import", "truth", market / "truth.csv")
        return self.product

    def import_folder(self) -> str:
        """Import a folder of class folders; returns the task's name."""
        assert self.images is not None
        task, classes = describe_folder(self.images)
        with self.stage(
            "import", f"{self.images} becomes pictures; its {len(classes)} class folders become the known truth"
        ):
            self.make_workspace("--task", task, "--classes", ",".join(classes), "--set", "split.test=0.2")
            self.curate("import", "folder", self.images)
        return task

    def make_workspace(self, *task: str) -> None:
        """`curate init`, once; the crowd's address is chosen here and stays."""
        if not (self.shop / "workspace.yaml").exists():
            endpoint = f"http://127.0.0.1:{_free_port()}"
            self.curate("init", self.shop, *task, "--contact", CONTACT, "--endpoint", endpoint)

    def shop_port(self) -> int:
        """Where the market is served: chosen once, so that a scrape that was stopped goes on at the same addresses."""
        kept = self.out / "market-port"
        if not kept.exists():
            write_text(kept, str(_free_port()))
        return int(kept.read_text())

    def clean(self) -> None:
        """Which pictures count, and which look the same."""
        with self.stage("check", "every picture is opened; what is broken or too small says so"):
            self.curate("check")
        with self.stage("dedup", "near twins become clusters; one of each is asked about"):
            self.curate("dedup")

    # people answer

    def ask_people(self, task: str) -> None:
        """A crowd server, an entry test, HITs, simulated workers, their answers."""
        with self.stage("serve", "a crowd server that speaks MTurk's protocol"):
            self.start_crowd()
        with self.stage("ask", "an entry test and HITs, posted with boto3"):
            self.curate("gold", "import", self.gold(task))
            self.curate("qual", "create")
            self.curate("hits", "create", "--images", str(self.pictures_to_ask()), "--seed", str(self.seed), "--yes")
        with self.stage(
            "answer", f"{self.size.workers} simulated workers take the test and answer over the same pages as people"
        ):
            self.curate("crowd", "simulate", "--workers", str(self.size.workers), "--seed", str(self.seed))
        with self.stage("collect", "answers become votes; work is approved and paid"):
            self.curate("hits", "collect")
            self.curate("hits", "review", "--yes")

    def start_crowd(self) -> None:
        """Issue a key and start the server where the workspace expects it."""
        from curate.workspace import open_workspace

        port = open_workspace(self.shop).config.endpoint.rsplit(":", 1)[1]
        issue = ["crowd", "keys", "issue", "demo", "--json"]
        made = run("curate", issue, {"CURATE_WORKSPACE": str(self.shop)}, echo=False)  # a secret is not for the screen
        key = json.loads(made.strip().splitlines()[-1])
        self.env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
        server = start(
            "curate", ["crowd", "serve", "--workspace", self.shop, "--port", port], self.out / "crowd-server.log"
        )
        self.servers.append(server)
        say(f"    the crowd answers at {server.url} (a person would open it in a browser)")

    def gold(self, task: str) -> Path:
        """Pictures whose answer an expert knows: drawn with the market, else sampled here in the expert's place."""
        drawn = self.out / "market" / "gold.csv"
        return drawn if drawn.exists() else sample_gold(self.shop, task, self.out / "gold.csv", self.seed)

    def pictures_to_ask(self) -> int:
        """A share of the pictures that count, `asked` at most; the others are the unlabeled pool."""
        from schemas.tables import CLUSTERS

        clusters = CLUSTERS.read(self.shop / "clusters.parquet")
        return min(self.size.asked, int(self.size.label_share * clusters["representative"].sum()))

    # labels, data set, models

    def make_data_set(self, task: str) -> None:
        """Votes become labels, labels become a split data set."""
        with self.stage("aggregate", "2 of 3 must agree, otherwise a picture stays unlabeled"):
            self.curate("aggregate")
            self.curate("agreement")
            self.curate("workers")
        with self.stage("split", "train, val, test and the unlabeled pool; near twins never cross"):
            self.curate("split")
            self.curate("show", self.shop / f"{task}.parquet")

    def train(self, task: str, method: str) -> Path:
        """Train one method; a finished run is kept."""
        folder = self.shop / "runs" / f"{task}-{method}"
        with self.stage(f"train {method}", "on this machine's processor, from random weights"):
            arguments: list[str | Path] = [
                method,
                "--manifest",
                self.shop / f"{task}.parquet",
                "--recipe",
                self.size.recipe,
            ]
            arguments += ["--out", folder, "--seed", str(self.seed)]
            if method == "semivit":
                arguments += ["--stage1", self.shop / "runs" / f"{task}-vit"]
            if self.outdated(task, folder):
                arguments.append("--fresh")
            say(f"    $ train {' '.join(map(str, arguments))}")
            run("train", arguments, self.env)
        return folder

    def outdated(self, task: str, folder: Path) -> bool:
        """True when the folder holds a run on another manifest: the labels changed since."""
        from schemas.manifest import read_manifest

        if not (folder / "run.json").exists():
            return False
        made_on = json.loads((folder / "run.json").read_text(encoding="utf-8"))["manifest_id"]
        return bool(made_on != read_manifest(self.shop / f"{task}.parquet").manifest_id)

    def report(self, runs: Sequence[Path]) -> Path:
        """The paper's table, and one page to look at."""
        page = self.out / "report.html"
        with self.stage("report", "one page with all of it"):
            say(f"    $ train report {' '.join(map(str, runs))}")
            run("train", ["report", *runs], self.env)
            predictions = [part for folder in runs for part in ("--predictions", folder / "predictions.parquet")]
            self.curate("report", *predictions, "--out", page)
        return page


def tell_story(out: Path, quick: bool = False, images: Path | None = None, seed: int = 0) -> Path:
    """Run the demo into `out` and return the report's path; raises UserError or Interrupted with how to go on."""
    size = QUICK if quick else FULL
    if images:
        describe_folder(images)
    say(f"{expected(size, images)}; everything lands in {out}, Ctrl-C stops it, the same command goes on")
    story = Story(out.absolute(), size, seed, images.absolute() if images else None)
    with stopped_kindly(f"stopped; the same command with --out {out} goes on where it was"):
        return story.tell()


@contextmanager
def stopped_kindly(how_to_go_on: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the demo and its servers with one line."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(how_to_go_on) from None


def _as_ctrl_c(_number: int, _frame: object) -> None:
    """SIGTERM ends the demo as Ctrl-C does, with its servers."""
    raise KeyboardInterrupt


def expected(size: Size, images: Path | None) -> str:
    """How long it will take, in words."""
    if images is None:
        return f"this takes {size.minutes} on 2 cores"
    count = sum(1 for path in images.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    asked = min(MOST_ASKED, size.label_share * count)
    minutes = (
        4 + count / 1500 + asked / 120
    )  # measured: the last part is two trainings whose time grows with the labels
    return f"this takes about {minutes:.0f} minutes on 2 cores for {count:,} pictures, {asked:,.0f} of them labeled"


PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"}


def describe_folder(folder: Path) -> tuple[str, list[str]]:
    """Task name and sorted class keys of a folder of class folders; raises UserError when it is none."""
    if not folder.is_dir():
        raise UserError(f"--images {folder}: no such folder; give a folder that holds one folder of pictures per class")
    holders = {path.parent for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES}
    classes = sorted({holder.name for holder in holders if holder != folder})
    if len(classes) < 2:
        raise UserError(f"--images {folder}: found {len(classes)} class folders with pictures; at least 2 are needed")
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-_") or "pictures"
    return name[:40], classes


def sample_gold(shop: Path, task: str, target: Path, seed: int, per_class: int = 3) -> Path:
    """Write a gold file from the known truth: the demo stands in for the expert who would label these pictures."""
    if target.exists():
        return target
    from schemas.tables import CLUSTERS, TRUTH

    clusters = CLUSTERS.read(shop / "clusters.parquet")
    alone = clusters.loc[clusters["representative"], "image_id"]
    truth = TRUTH.read(shop / task / "truth.parquet")
    known = truth[truth["image_id"].isin(alone)].sort_values("image_id").sample(frac=1, random_state=seed)
    chosen = known.groupby("label").head(per_class)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "label"])
        writer.writerows(chosen[["image_id", "label"]].itertuples(index=False))
    return target


def _free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """The demo's own words go to stdout at once, between the lines of its commands."""
    print(text, flush=True)
    sys.stderr.flush()
