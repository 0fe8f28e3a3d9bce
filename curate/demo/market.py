"""A small marketplace drawn by our own code: listings of one product in three countries, with everything real ones do to us.

The same product is photographed from several sides; resellers take over photos, re-encoded, resized or with their mark on them;
some listings are something else; a few files are broken. The same seed draws the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from curate.demo.draw_other import draw_thing, plain_letters
from curate.demo.goods import APRONS, Goods
from schemas.files import write_bytes, write_text

LISTINGS = 400  # at scale 1
RESOLD = 0.14  # share of listings that are another seller's offer of a product already there
HARD = 0.08  # share of products that are hard to tell: a print that is tiny or faint, a neck bound in its own color


@dataclass(frozen=True)
class Place:
    """One marketplace: a path prefix of the shop, a country, a language, a currency."""

    key: str
    name: str
    country: str
    language: str
    currency: str
    price: tuple[float, float]  # lowest and highest, in its currency
    share: float  # of all listings


PLACES = (
    Place("mx", "Tianguis Casero", "MX", "es", "MXN", (129, 589), 0.4),
    Place("br", "Feira do Lar", "BR", "pt", "BRL", (29, 149), 0.35),
    Place("ar", "Mercadito Sur", "AR", "es", "ARS", (6900, 34900), 0.25),
)
BRANDS = ("Nopalito", "Doña Lumbre", "Cacerola", "Fogão & Cia", "Mandacaru", "Ipê Têxtil", "La Cordobesa", "Yerba Buena", "Tela Viva")  # fmt: skip
THINGS = {  # titles of what is not the product
    "es": {
        "mug": "Taza de cerámica", "pot": "Olla con tapa", "phone case": "Funda para celular", "towel": "Repasador de algodón",
        "plate": "Plato hondo", "oven mitt": "Guante para horno", "board": "Tabla de picar", "banner": "Vale de regalo",
        "apron": "Delantal de cocina",
    },
    "pt": {
        "mug": "Caneca de cerâmica", "pot": "Panela com tampa", "phone case": "Capinha de celular", "towel": "Pano de prato",
        "plate": "Prato fundo", "oven mitt": "Luva térmica", "board": "Tábua de corte", "banner": "Vale-presente",
        "apron": "Avental de cozinha",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """One picture of a listing: where its file is, what it truly shows, and how it came to be."""

    file: str  # relative to the market's folder
    label: str
    view: str
    hard: bool = False
    made: str = "drawn"  # drawn, twin (another's photo, changed), copy (its very bytes), broken, small
    image_id: str = ""
    origin: str = ""  # of a twin or copy: the image_id it was made from


@dataclass(frozen=True)
class Listing:
    """One offer of one marketplace."""

    marketplace: str  # key of its Place
    listing_id: str
    title: str
    brand: str
    category: str
    price: float
    currency: str
    country: str
    language: str
    pictures: list[Photo] = field(default_factory=list)


@dataclass(frozen=True)
class Market:
    """A drawn marketplace on disk."""

    folder: Path
    listings: list[Listing]

    @property
    def photos(self) -> list[Photo]:
        """Every picture of every listing, copies included."""
        return [photo for listing in self.listings for photo in listing.pictures]


def draw_market(
    folder: Path,
    seed: int = 0,
    scale: float = 1.0,
    tick: Callable[[int], object] | None = None,
    goods: Goods = APRONS,
) -> Market:
    """Draw the marketplace into a folder: pictures, market.json, truth.csv (every picture) and gold.csv (an expert's few).

    Args:
        folder: is made; files of an earlier drawing there are overwritten.
        seed: same seed, same bytes.
        scale: 1 = about 900 pictures in 400 listings.
        tick: called with 1 after each listing, for a progress bar.
        goods: the product that it sells.
    """
    folder = Path(folder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    listings: list[Listing] = []
    subjects = _subjects(goods, seed, max(12, round(LISTINGS * scale)))
    for number, subject in enumerate(subjects):
        rng = np.random.default_rng([seed, number])
        source = listings[subject] if isinstance(subject, int) else None
        listing = (
            _resell(goods, folder, rng, number, source) if source else _offer(goods, folder, rng, number, str(subject))
        )
        listings.append(listing)
        if tick:
            tick(1)
    market = Market(folder, _damage(folder, listings))
    write_text(folder / "market.json", json.dumps(describe(market), ensure_ascii=False, indent=1))
    _write_truth(market)
    _write_gold(market, goods, seed, min(40, max(9, len(market.photos) // 11)))
    return market


def read_market(folder: Path) -> Market:
    """The market drawn into a folder earlier."""
    data = json.loads((Path(folder) / "market.json").read_text(encoding="utf-8"))
    listings = [
        Listing(**{**item, "pictures": [Photo(**picture) for picture in item["pictures"]]}) for item in data["listings"]
    ]
    return Market(Path(folder), listings)


def describe(market: Market) -> dict[str, object]:
    """The market as market.json holds it."""
    return {
        "places": {place.key: asdict(place) for place in PLACES},
        "listings": [asdict(item) for item in market.listings],
    }


def _subjects(goods: Goods, seed: int, count: int) -> list[str | int]:
    """What each listing offers: a class, or the number of the earlier listing that it resells."""
    rng = np.random.default_rng([seed, 10**6])
    own = count - round(count * RESOLD)
    wanted = {label: share * own for label, share in goods.shares.items()}
    classes = [label for label, n in wanted.items() for _ in range(max(1, round(n)))][:own]
    classes += [next(iter(goods.shares))] * (own - len(classes))
    subjects: list[str | int] = [str(label) for label in rng.permutation(np.asarray(classes))]
    resellable = [i for i, label in enumerate(subjects) if label != "other"]
    subjects += [int(i) for i in rng.choice(resellable, count - own, replace=False)]
    return subjects


def _offer(goods: Goods, folder: Path, rng: np.random.Generator, number: int, label: str) -> Listing:
    """A new listing with its own photos."""
    listing = _listing(goods, rng, number, label)
    if label == "other":
        thing = str(rng.choice(goods.things))
        listing = replace(listing, title=THINGS[listing.language][thing])
        shots = [(thing, draw_thing(thing, rng, listing.language)) for _ in range(int(rng.integers(1, 4)))]
        photos = [
            _save(folder, listing, i, image, Photo("", "other", view), rng) for i, (view, image) in enumerate(shots)
        ]
        return replace(listing, pictures=photos)
    product = goods.choose(rng, label, bool(rng.random() < HARD))
    views = [goods.views[0] if rng.random() < 0.8 else goods.views[1]]
    views += [str(view) for view in rng.permutation(np.asarray([*goods.views[1:], goods.views[0]]))]
    views = views[: int(rng.choice([1, 2, 3, 4], p=[0.2, 0.37, 0.3, 0.13]))]
    photos = []
    for i, view in enumerate(views):
        photo = Photo("", label, view, product.hard)
        photos.append(_save(folder, listing, i, goods.draw(product, view, rng), photo, rng))
    if rng.random() < 0.04:  # many sellers end their gallery with a banner
        image = draw_thing("banner", rng, listing.language)
        photos.append(_save(folder, listing, len(photos), image, Photo("", "other", "banner"), rng))
    return replace(listing, pictures=photos)


def _listing(goods: Goods, rng: np.random.Generator, number: int, label: str, place: Place | None = None) -> Listing:
    place = place or PLACES[int(rng.choice(len(PLACES), p=[p.share for p in PLACES]))]
    words = goods.words[place.language]
    brand = str(rng.choice(np.asarray(BRANDS)))
    what = str(rng.choice(np.asarray(words.names)))
    more = str(rng.choice(np.asarray(words.more)))
    # sellers do not always name the class, so a title alone labels nothing
    pattern = words.of.get(label, "") if rng.random() < 0.6 else ""
    low, high = place.price
    price = float(np.round(rng.uniform(low, high), 2 if high < 1000 else 0))
    return Listing(
        marketplace=place.key,
        listing_id=f"{place.key.upper()}{100000 + number * 37}",
        title=" ".join(part for part in (what, pattern, more, brand) if part),
        brand=brand,
        category=words.category,
        price=price,
        currency=place.currency,
        country=place.country,
        language=place.language,
    )


def _resell(goods: Goods, folder: Path, rng: np.random.Generator, number: int, source: Listing) -> Listing:
    """Another seller's offer of the same product, with photos taken over from the first: changed, or byte for byte."""
    elsewhere = [place for place in PLACES if place.key != source.marketplace]
    listing = _listing(goods, rng, number, source.pictures[0].label, elsewhere[int(rng.integers(len(elsewhere)))])
    photos = []
    for i, photo in enumerate(source.pictures[: int(rng.integers(1, 4))]):
        original = (folder / photo.file).read_bytes()
        if rng.random() < 0.3:
            file = f"pictures/{listing.marketplace}/{listing.listing_id}-{i + 1}.jpg"
            photos.append(_keep(folder, file, original, replace(photo, made="copy", origin=photo.image_id)))
        else:
            image = _retouch(Image.open(io.BytesIO(original)).convert("RGB"), rng)
            photos.append(_save(folder, listing, i, image, replace(photo, made="twin", origin=photo.image_id), rng))
    return replace(listing, pictures=photos)


def _retouch(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What resellers do to a photo: another size, a little brighter, their name in a corner."""
    factor = rng.uniform(0.82, 1.12)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    if rng.random() < 0.4:
        image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.96, 1.04)))
    if rng.random() < 0.5:
        pen = ImageDraw.Draw(image, "RGBA")
        pen.text(
            (8, image.height - 20),
            plain_letters(str(rng.choice(np.asarray(BRANDS)))),
            (90, 90, 90, 150),
            ImageFont.load_default(12),
        )
    return image


def _save(
    folder: Path, listing: Listing, position: int, image: Image.Image, photo: Photo, rng: np.random.Generator
) -> Photo:
    """Write a picture as the JPEG that a marketplace would serve."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(68, 88)))
    return _keep(
        folder, f"pictures/{listing.marketplace}/{listing.listing_id}-{position + 1}.jpg", buffer.getvalue(), photo
    )


def _keep(folder: Path, file: str, data: bytes, photo: Photo) -> Photo:
    """Write a picture's bytes; returns the photo with its place and identity."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return replace(photo, file=file, image_id=hashlib.sha256(data).hexdigest())


def _damage(folder: Path, listings: list[Listing]) -> list[Listing]:
    """The same listings, a few of whose pictures are cut off, far too small, turned by EXIF, or transparent PNGs."""
    taken_over = {photo.origin for item in listings for photo in item.pictures}
    alone = [
        i
        for i, item in enumerate(listings)
        if len(item.pictures) > 1 and item.pictures[-1].made == "drawn" and item.pictures[-1].image_id not in taken_over
    ]
    step = max(1, len(alone) // 10)
    kinds = ["broken", "small", "turned", "transparent", "broken", "small", "broken", "small"]
    kinds = kinds if len(listings) > 200 else kinds[:4]
    result = list(listings)
    for kind, i in zip(kinds, alone[step // 2 :: step], strict=False):
        *kept, last = result[i].pictures
        result[i] = replace(result[i], pictures=[*kept, _spoil(folder, last, kind)])
    return result


def _spoil(folder: Path, photo: Photo, kind: str) -> Photo:
    data = (folder / photo.file).read_bytes()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    buffer = io.BytesIO()
    if kind == "broken":
        return _keep(folder, photo.file, data[: len(data) * 3 // 5], replace(photo, made="broken"))
    if kind == "small":
        image.resize((44, 44)).save(buffer, "JPEG", quality=80)
        return _keep(folder, photo.file, buffer.getvalue(), replace(photo, made="small"))
    if kind == "turned":  # stored on its side; the EXIF tag says how to hold it
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", quality=82, exif=exif)
        return _keep(folder, photo.file, buffer.getvalue(), photo)
    alpha = image.convert("L").point(lambda value: 0 if value > 244 else 255)
    image.putalpha(alpha)
    image.quantize(128).save(buffer, "PNG", optimize=True)
    (folder / photo.file).unlink()
    return _keep(folder, str(Path(photo.file).with_suffix(".png")), buffer.getvalue(), photo)


def _write_truth(market: Market) -> None:
    rows = {photo.image_id: photo.label for photo in market.photos}
    _write_csv(market.folder / "truth.csv", ("image_id", "label"), sorted(rows.items()))


def _write_gold(market: Market, goods: Goods, seed: int, count: int) -> None:
    """What an expert labeled: clear pictures without a twin, spread over the classes."""
    rng = np.random.default_rng([seed, 10**6 + 1])
    taken_over = {photo.origin for photo in market.photos}
    candidates: dict[str, list[Photo]] = {label: [] for label in goods.shares}
    for photo in market.photos:
        if photo.made == "drawn" and not photo.hard and photo.image_id not in taken_over:
            candidates[photo.label].append(photo)
    rows: list[tuple[str, ...]] = []
    share = -(-count // len(goods.shares))
    for label, photos in candidates.items():
        picked = rng.permutation(len(photos))[: share if len(photos) > 8 * share else min(share, max(2, share - 2))]
        rows += [(photos[int(i)].image_id, label, _why(goods, photos[int(i)])) for i in picked]
    _write_csv(market.folder / "gold.csv", ("image_id", "label", "explanation"), rows)


def _why(goods: Goods, photo: Photo) -> str:
    """An expert's sentence, shown to a worker who chose otherwise."""
    return goods.reasons.get(photo.label, f"{goods.other} ({photo.view}).")


def _write_csv(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
