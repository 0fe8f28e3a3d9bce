"""What an order to forget means here: which pictures and listings go, what stands for them afterwards, what knew them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curate.clean.check import SAME
from curate.forgotten import IMAGE, LISTING, SELLER, Forgotten, hashed, plain, salt_of
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, LISTINGS, PICTURES

Name = tuple[str, str]  # marketplace, listing_id
_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Order:
    """What a person asks for."""

    images: Sequence[str] = ()
    listings: Sequence[str] = ()  # MARKETPLACE/ID
    sellers: Sequence[str] = ()
    copies: bool = False  # exact copies and verified twins go too
    picture_too: bool = False  # pictures go that other listings show as well
    by: str = ""
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.images or self.listings or self.sellers)


@dataclass
class Plan:
    """What is to be done, whole: kept in project.db while it is done, so that a killed run goes on with nothing else."""

    at: str = ""
    by: str = ""
    reason: str | None = None
    images: list[str] = field(default_factory=list)  # pictures that go
    listings: list[list[str]] = field(default_factory=list)  # listings that go, and are not taken in again
    alone: list[list[str]] = field(
        default_factory=list
    )  # files of a folder import whose picture goes: their names may come again
    sellers: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)  # pictures of these listings that stay, as others show them
    copies: list[str] = field(default_factory=list)  # copies and twins that stay
    blobs: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)  # addresses that only what goes had
    uploads: list[list[str]] = field(default_factory=list)  # place and key of display copies in S3
    bare: list[list[str]] = field(default_factory=list)  # listings that stay without a picture
    places: dict[str, list[Any]] = field(default_factory=dict)  # of shared: marketplace, listing_id, marketplaces
    same: dict[str, str | None] = field(
        default_factory=dict
    )  # of copies whose kept picture goes: `dropped` from now on
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)  # rows of CLUSTERS that change, by image_id
    renamed: dict[str, str] = field(default_factory=dict)  # cluster_ids that were the name of a picture that goes
    manifests: dict[str, str] = field(default_factory=dict)  # relative path of those that held one: their manifest_id
    newest: list[str] = field(default_factory=list)  # of them the manifest_ids of newest builds: their versions go up
    packs: list[str] = field(default_factory=list)  # finished packs that hold one
    exports: list[str] = field(default_factory=list)  # in the workspace, from a manifest that held one
    rows: int = 0  # of all tables

    def __bool__(self) -> bool:
        return bool(self.images or self.listings or self.sellers)

    def json(self) -> str:
        """For project.db."""
        return json.dumps(asdict(self))

    @property
    def names(self) -> set[Name]:
        """All listings whose rows go."""
        return {(m, i) for m, i in [*self.listings, *self.alone]}

    def hashes(self, salt: str) -> list[tuple[str, str]]:
        """Kind and hash of everything that is kept out from now on."""
        return [
            *((IMAGE, hashed(salt, IMAGE, i)) for i in self.images),
            *((LISTING, hashed(salt, LISTING, m, i)) for m, i in self.listings),
            *((SELLER, hashed(salt, SELLER, plain(s))) for s in self.sellers),
        ]


@dataclass
class _World:
    """What the tables and the crawl know of pictures and listings."""

    blobs: dict[str, str]  # by image_id
    shown: dict[str, set[Name]]  # listings by image_id
    listings: dict[Name, dict[str, str]]  # attributes
    folder: set[Name]  # listings that are a file of a folder import

    @property
    def images(self) -> set[str]:
        return {*self.blobs, *self.shown}

    def of(self, names: Iterable[Name]) -> set[str]:
        """Pictures that any of the listings shows."""
        wanted = set(names)
        return {image for image, places in self.shown.items() if places & wanted}


def make_plan(workspace: Workspace, project: sqlite3.Connection, order: Order) -> Plan:
    """The plan of an order, without its counts. What was forgotten before and is not here any more is passed over.

    Raises UserError for what was never here.
    """
    forgotten = Forgotten.read(project)
    world = _read(workspace, project)
    names, sellers = _listings(order, world, forgotten)
    of_listings = world.of(names)
    shared = {i for i in of_listings if not order.picture_too and world.shown[i] - names}
    images = _images(order, world, forgotten) | (of_listings - shared)
    shared -= images
    like = _copies(workspace, images)
    if order.copies:
        images, shared, like = images | like, shared - like, set()
    plan = Plan(
        now().isoformat(), order.by, order.reason, sorted(images), sorted(map(list, names)), sellers=sellers,
        shared=sorted(shared), copies=sorted(like - images), blobs=sorted(world.blobs[i] for i in images & set(world.blobs)),
    )  # fmt: skip
    _left_alone(plan, world, images, names)
    _addresses(plan, project)
    _stand_ins(plan, workspace)
    return plan


def _read(workspace: Workspace, project: sqlite3.Connection) -> _World:
    pictures = PICTURES.read_if_there(workspace.table("pictures"))
    shown: dict[str, set[Name]] = defaultdict(set)
    seen = APPEARANCES.read_if_there(workspace.table("appearances"))
    for image, m, i in zip(seen["image_id"], seen["marketplace"], seen["listing_id"], strict=True):
        shown[image].add((m, i))
    table = LISTINGS.read_if_there(workspace.table("listings"))
    named = list(zip(table["marketplace"], table["listing_id"], strict=True))
    listings = {n: dict(a) if a else {} for n, a in zip(named, table["attributes"], strict=True)}
    folder = {n for n, source in zip(named, table["source"], strict=True) if source == "folder"}
    blobs = dict(zip(pictures["image_id"], pictures["blob"], strict=True))
    for row in project.execute("SELECT * FROM frontier WHERE kind IN ('product', 'listing')"):
        attributes = (json.loads(row["data"]) if row["data"] else {}).get("attributes") or {}
        listings.setdefault((row["marketplace"], row["listing_id"]), attributes)
    for row in project.execute(
        "SELECT p.image_id, p.blob, g.marketplace, g.listing_id FROM frontier p LEFT JOIN gallery g ON g.url = p.url"
        " WHERE p.image_id IS NOT NULL"
    ):
        blobs.setdefault(row["image_id"], row["blob"])
        if row["listing_id"] is not None:
            shown[row["image_id"]].add((row["marketplace"], row["listing_id"]))
    return _World(blobs, shown, listings, folder)


def _listings(order: Order, world: _World, forgotten: Forgotten) -> tuple[set[Name], list[str]]:
    """The listings that are meant, for themselves or for their seller; and the sellers."""
    names: set[Name] = set()
    for said in order.listings:
        marketplace, slash, listing_id = said.partition("/")
        if not slash or not marketplace or not listing_id:
            raise UserError(f"--listing {said}: should look like MARKETPLACE/ID, as in listings.parquet")
        name = (marketplace, listing_id)
        if name in world.listings or any(name in places for places in world.shown.values()):
            names.add(name)
        elif not forgotten.listing(*name):
            raise UserError(f"--listing {said}: no such listing here, and it was never forgotten; see listings.parquet")
    sellers = []
    for said in order.sellers:
        if not plain(said):
            raise UserError("--seller: a name is expected, as in the attribute `seller` of listings.parquet")
        mine = {n for n, a in world.listings.items() if plain(a.get("seller") or "") == plain(said)}
        if not mine and not forgotten.seller(said):
            known = sum("seller" in a for a in world.listings.values())
            raise UserError(f"--seller {said}: no listing here is of this seller; {known} listings name one")
        names |= mine
        if mine or not forgotten.seller(said):
            sellers.append(said)
    return names, sellers


def _images(order: Order, world: _World, forgotten: Forgotten) -> set[str]:
    """The pictures that are named, by image_id or the beginning of one."""
    found = set()
    for said in order.images:
        if not _HEX.fullmatch(said):
            raise UserError(
                f"--image {said}: an image_id is expected, 64 hex characters or at least the first 8 of one"
            )
        matches = [i for i in world.images if i.startswith(said)]
        if len(matches) > 1:
            raise UserError(f"--image {said}: {len(matches)} pictures begin so; say more of it")
        if not matches and not forgotten.image(said):
            raise UserError(f"--image {said}: no such picture here, and it was never forgotten; see pictures.parquet")
        found.update(matches)
    return found


def _copies(workspace: Workspace, images: set[str]) -> set[str]:
    """Pictures with the same pixels as one that goes, and those in a cluster with one."""
    pictures = PICTURES.read_if_there(workspace.table("pictures"))
    stands_for = pictures["dropped"].where(pictures["dropped"].fillna("").str.startswith(SAME)).str.removeprefix(SAME)
    like: set[str] = set()
    for same in (pictures["pixels_sha256"], stands_for.fillna(pictures["image_id"])):
        theirs = set(same[pictures["image_id"].isin(images)].dropna())
        like |= set(pictures.loc[same.isin(theirs), "image_id"])
    clusters = CLUSTERS.read_if_there(workspace.table("clusters"))
    mine = set(clusters.loc[clusters["image_id"].isin(images), "cluster_id"])
    return (like | set(clusters.loc[clusters["cluster_id"].isin(mine), "image_id"])) - images


def _left_alone(plan: Plan, world: _World, images: set[str], names: set[Name]) -> None:
    """Listings that lose their last picture: one of a folder import was that file and goes, another stays and says so."""
    touched = {name for i in images for name in world.shown.get(i, ())} - names
    kept = {name for i, places in world.shown.items() if i not in images for name in places}
    bare = touched - kept
    plan.alone = sorted(list(n) for n in bare & world.folder)
    plan.bare = sorted(list(n) for n in bare - world.folder)


def _addresses(plan: Plan, project: sqlite3.Connection) -> None:
    """Addresses that only what goes had, and display copies in S3."""
    names, urls = plan.names, set()
    for row in project.execute(
        "SELECT url, CASE kind WHEN 'product' THEN final_url END AS led_to, marketplace, listing_id FROM frontier"
        " WHERE kind IN ('product', 'listing')"
    ):
        if (row["marketplace"], row["listing_id"]) in names:
            urls |= {row["url"], row["led_to"]} - {None}
    shown: dict[str, set[Name]] = defaultdict(set)
    for row in project.execute("SELECT url, marketplace, listing_id FROM gallery"):
        shown[row["url"]].add((row["marketplace"], row["listing_id"]))
    urls |= {url for url, places in shown.items() if places <= names}
    plan.urls = sorted(urls)
    images = set(plan.images)
    rows = project.execute("SELECT place, image_id, key FROM upload")
    plan.uploads = sorted([row["place"], row["key"]] for row in rows if row["image_id"] in images)


def _stand_ins(plan: Plan, workspace: Workspace) -> None:
    """What stands for the pictures that go: the next copy with the same pixels, a new head of a cluster, another listing."""
    images, names = set(plan.images), plan.names
    pictures = PICTURES.read_if_there(workspace.table("pictures")).set_index("image_id")
    copies: dict[str, list[str]] = defaultdict(list)
    for image, dropped in pictures["dropped"].dropna().items():
        if dropped.startswith(SAME) and dropped.removeprefix(SAME) in images and image not in images:
            copies[dropped.removeprefix(SAME)].append(str(image))
    heirs = {gone: min(left) for gone, left in copies.items()}
    for gone, left in copies.items():
        plan.same |= {i: None if i == heirs[gone] else SAME + heirs[gone] for i in left}
    _clusters(plan, workspace, heirs, pictures["phash64"].dropna().to_dict())
    seen = APPEARANCES.read_if_there(workspace.table("appearances"))
    seen = seen[seen["image_id"].isin(plan.shared)].sort_values(
        ["first_seen_at", "marketplace", "listing_id", "position"]
    )
    for image, m, i in zip(seen["image_id"], seen["marketplace"], seen["listing_id"], strict=True):
        if (m, i) not in names:
            place = plan.places.setdefault(image, [m, i, []])
            place[2] = sorted({*place[2], m})


def _clusters(plan: Plan, workspace: Workspace, heirs: dict[str, str], hashes: dict[Any, Any]) -> None:
    """Rows of clusters that lose a picture. Without its head a cluster stays together, led by what was nearest to it."""
    images = set(plan.images)
    table = CLUSTERS.read_if_there(workspace.table("clusters"))
    mine = set(table.loc[table["image_id"].isin(images), "cluster_id"])
    for name, rows in table[table["cluster_id"].isin(mine)].groupby("cluster_id"):
        was = {row["image_id"]: row for row in rows.to_dict("records")}
        left = {i: dict(row) for i, row in was.items() if i not in images}
        for gone, heir in heirs.items():
            if gone in was and heir in left:
                left[heir] = {**was[gone], "image_id": heir}
        if not left:
            continue
        head = next((i for i, row in left.items() if row["representative"]), None)
        if head is None:
            head = min(left, key=lambda i: (left[i]["kind"] == "exact", left[i]["distance"], i))
            for i, row in left.items():
                if i in hashes and head in hashes and row["kind"] != "exact":
                    row["distance"] = (int(hashes[i]) ^ int(hashes[head])).bit_count()
            left[head] |= {"representative": True, "kind": "verified", "distance": 0}
        if sum(row["kind"] != "exact" for row in left.values()) == 1:
            left[head]["kind"] = "single"
        if name in images:
            plan.renamed[str(name)] = head
        for row in left.values():
            row["cluster_id"] = plan.renamed.get(str(name), name)
            row["distance"], row["representative"] = int(row["distance"]), bool(row["representative"])
        plan.clusters |= {i: row for i, row in left.items() if row != was[i]}


def pending(project: sqlite3.Connection) -> Plan | None:
    """The plan of a run that was killed."""
    row = project.execute("SELECT value FROM forgetting WHERE name = 'plan'").fetchone()
    return Plan(**json.loads(row["value"])) if row else None


def write_down(project: sqlite3.Connection, plan: Plan) -> None:
    """Keep out what is named from now on, and note what is to be done; call it inside a transaction."""
    salt = salt_of(project)
    project.executemany(
        "INSERT OR IGNORE INTO forgotten VALUES (?, ?, ?, ?, ?, ?)",
        [(kind, each, plan.at, plan.by, plan.reason, plan.rows) for kind, each in plan.hashes(salt)],
    )
    project.execute("INSERT INTO forgetting (name, value) VALUES ('plan', ?)", (plan.json(),))
