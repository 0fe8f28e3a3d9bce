"""What a person sees on a page that says nothing of its product by itself: heading, pictures, price, number.

The last resort, and a guess: it fills fields of a page, and never makes a page a product's.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import lxml.etree

from curate.collect.extract.document import Document, visible_text
from curate.collect.extract.opengraph import without_site
from curate.collect.extract.prices import parse_price
from curate.collect.extract.schema_org import gtin_of
from curate.collect.extract.values import Found, address_of, clean, words

_PRICE = re.compile(r"price|preis|prix|precio|preco|preço|prezzo|prijs|hinta|cena|cijena|\bpris\b|amount", re.I)
_NO_PRICE = re.compile(
    r"\bold|old\b|was\b|strike|before|regular|list-?price|original|save|saving|discount|shipping|unit|per-|from|instal|parcel|rrp|msrp|uvp",
    re.I,
)
_OTHERS = re.compile(
    r"\brelated|\brecommend|\bsimilar|\bup-?sell|\bcross-?sell|also-?(?:bought|viewed|like)|\bproduct-tile|recently-?viewed",
    re.I,
)
_PRICE_TEXT = re.compile(
    r"(?:[^\W\d_]{1,4}\.?|[^\w\s]{1,2}|[A-Z]{1,3}\$)?\s*\d[\d.,'’\s]*(?:[.,][-–—])?\s*(?:[^\W\d_]{1,5}\.?|[^\w\s]{1,2})?"
)
_SIGN = re.compile(r"[€£¥₹₽₴₪₩₺$]|\b(?:EUR|USD|GBP|CHF|kn|Kč|zł|lei|kr|Ft)\b|тг|руб|грн|лв|元", re.I)
_LABELS = {
    "number": r"sku|(?:item|product|style|catalog(?:ue)?|order)\s*(?:no|nr|number|code|id|#)|arti(?:cle|kel)[\s.-]*(?:no|nr|num|number|nummer|id)?"
    r"|art[\s.-]*(?:no|nr|id)|bestell-?(?:nr|nummer)|ref(?:erence|erencia|erência)?|referência|réf(?:érence)?|cód(?:igo)?|codice(?: articolo)?|kod(?: produktu)?"
    r"|код(?: товара)?|артикул|šifra(?: izdelka| artikla)?|cikkszám|商品編號|商品番号|品番|model(?:\s*(?:no|number))?",
    "brand": r"brand(?: name)?|make|manufacturer|make\s?/\s?manufacturer|marca|fabricante|marke|hersteller|marque|fabricant|merk|märke"
    r"|varumärke|merkki|značka|výrobce|proizvajalec|proizvođač|producent|producător|marka|бренд|производитель|品牌|ブランド|제조사|브랜드",
    "mpn": r"mpn|(?:manufacturer'?s? )?part (?:number|no)|mfr\.? part number|model name\s?/\s?number|herstellernummer",
    "gtin": r"ean(?:-?(?:13|8|code))?|gtin|upc|isbn(?:-1[03])?",
}
_LABEL = {
    name: re.compile(rf"(?:{words})(?:\.?\s*[:：#№]+|\.\s|\.?\s*$)\s*(.*)", re.I) for name, words in _LABELS.items()
}
_ANY_LABEL = re.compile("|".join(_LABELS.values()), re.I)
_COLON = re.compile(r"[:：#№.]")
_VALUE = {"number": re.compile(r"(?=[\w./-]*\d)[\w][\w./-]{2,30}"), "mpn": re.compile(r"[\w][\w ./-]{2,30}")}
_GALLERY = re.compile(
    r"gallery|galerie|galeria|product-?(?:image|img|photo|pic|media)|main-?(?:image|img|photo)|zoom|foto", re.I
)
_NO_PICTURE = re.compile(
    r"(?:^|[^a-z])(logo|sprite|icon|favicon|placeholder|blank|spacer|pixel|loading|loader|banner|badge|avatar|payment|flag)s?(?![a-z])",
    re.I,
)
_PICTURE_FILE = re.compile(r"\.(?:jpe?g|png|webp|avif|gif)(?:$|[?#])", re.I)
_ZOOMED = (
    "data-zoom-image",
    "data-zoom",
    "data-zoom-src",
    "data-src-zoom-image",
    "data-large_image",
    "data-large",
    "data-old-hires",
)
_OF_PICTURE = (*_ZOOMED, "data-original", "data-lazy", "data-src", "src")
_BEHIND = lxml.etree.XPath("following::*[position() <= $most]")
_NO_LABEL = {"script", "style", "option", "button", "input", "textarea", "noscript", "label"}
MOST_PICTURES = 30
MOST_TAGS = 3_000  # elements behind the heading that are looked through
FEW_TAGS = 300  # for a number alone: it stands near the heading, and most pages need no more


def visible(page: Document, wanted: set[str]) -> Found:
    """The wanted ones of name, image, price, brand, mpn, gtin and `number` (as labeled on the page), if they can be seen."""
    found = Found()
    if not wanted:
        return found
    heading, name = _heading(page)
    if "name" in wanted:
        found.put("name", name)
    if heading is not None and wanted - {"name", "image"}:
        most = MOST_TAGS if wanted & {"price", "brand"} else FEW_TAGS
        following = _BEHIND(heading, most=most)
        if "price" in wanted:
            found.put("price", _price_among(following))
        found.fields |= _labeled([heading, *heading.iterdescendants("*"), *following], wanted & _LABEL.keys())
    if "image" in wanted and name:
        found.images = _pictures(page, name)
    return found


def is_picture(url: str, name: str | None) -> bool:
    """Whether an address is likely the product's picture, not the site's logo: unless the product is named "Logo tee"."""
    called = _NO_PICTURE.search(url.split("?")[0].rsplit("/", 1)[-1])
    return not called or f" {called[1].lower()} " in words(name)


def _heading(page: Document) -> tuple[Any, str | None]:
    """The h1 that the title or the address speaks of, or the only one; else the title alone, beside the first h1."""
    title = words(page.title)
    for tag, text in page.headings:
        if words(text).strip() and words(text) in title:
            return tag, text
    known = _bare(page.title) | _bare(unquote(urlsplit(page.url).path))
    shared = [len(known & _bare(text)) for _, text in page.headings]
    if any(shared):
        return page.headings[shared.index(max(shared))]
    if len(page.headings) == 1:
        return page.headings[0]
    name = without_site(page.title, page.meta("og:site_name"), page.url)
    return (page.headings[0][0] if page.headings else None), name


def _bare(text: str | None) -> set[str]:
    """The words of a text without accents, as addresses have them."""
    plain = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode() or text or ""
    return {word for word in words(plain.replace("_", " ")).split() if len(word) > 2}


def _price_among(tags: list[Any]) -> str | None:
    """The first text that is a price, stands in something called so, and is not struck out."""
    for tag in tags:
        called = f"{tag.get('class', '')} {tag.get('id', '')} {tag.get('itemprop', '')}"
        if _OTHERS.search(called):
            return None  # what follows are other products
        if (
            tag.tag in ("script", "style", "del", "s", "input", "meta")
            or not _PRICE.search(called)
            or _NO_PRICE.search(called)
        ):
            continue
        text = _without_struck(tag)
        match = _PRICE_TEXT.match(text or "")
        if text and match and _SIGN.search(match[0]) and text[0] not in "+-−":  # +20.00 € is an option's
            rest = text[match.end() :].strip()
            other = parse_price(rest, written=True)
            lower = re.search(r"[-–—]\s*$", match[0]) or re.match(r"[-–—]", rest)
            if other is None or lower or other == parse_price(match[0], written=True):
                return match[0].strip()  # alone, the lower end of a range, or said twice
    return None


def _without_struck(tag: Any) -> str | None:
    if tag.find(".//del") is not None or tag.find(".//s") is not None:
        return None
    return visible_text(tag, longest=60)


def _labeled(tags: list[Any], wanted: set[str]) -> dict[str, str]:
    """Values that bear a label: "Ref. 1002/710", <dt>Brand</dt><dd>…, Marke: <b>…</b>; of several the first."""
    found: dict[str, str] = {}
    for tag in tags:
        said = _label_in(tag.text) if tag.text else None
        if said is None or tag.tag in _NO_LABEL:
            continue
        for name in wanted - found.keys():
            label = _LABEL[name].match(said)
            value = (label[1] or _beside(tag, said)) if label else None
            if value and (kept := _checked(name, value)):
                found[name] = kept
    return found


@lru_cache(maxsize=8192)  # the pages of a site say mostly the same beside their product
def _label_in(text: str) -> str | None:
    """The text in one line, if it begins with a label: alone, or with its value behind it."""
    if len(text) > 200:
        return None
    said = " ".join(text.split())
    if not (2 < len(said) < 25 or (len(said) < 80 and _COLON.search(said))):
        return None
    return said if _ANY_LABEL.match(said) else None


def _beside(tag: Any, label: str) -> str | None:
    """The value that belongs to a label: what follows inside the same element, else behind it, else in the next cell."""
    inside = visible_text(tag, longest=200)
    if inside and len(inside) > len(label):
        return inside[len(label) :].strip()
    if tail := clean(tag.tail or ""):
        return tail.lstrip(":# ") or None
    for place in (tag, tag.getparent()):
        following = place.getnext() if place is not None else None
        if following is not None and isinstance(following.tag, str):
            return visible_text(following, longest=200)
    return None


def _checked(name: str, value: str) -> str | None:
    """A value of the right form for its label; longer text is prose and no value."""
    value = value.strip(" :#-–|,;")
    if name == "gtin":
        return gtin_of(value)
    if name == "brand":
        return value if 1 < len(value) <= 40 and len(value.split()) <= 5 and not value.endswith((".", ":")) else None
    match = _VALUE[name].match(value)
    return match[0].rstrip("./- ") if match and len(value) <= 60 else None


def _pictures(page: Document, name: str) -> list[str]:
    """Pictures that bear the product's name, else those of something called a gallery; linked ones in their full size."""
    named: list[str] = []
    others: list[str] = []
    for tag in page.tree.iter("img"):
        address = _largest(tag, page.base)
        if not address or not is_picture(address, name) or len(named) >= MOST_PICTURES:
            continue
        said = words(tag.get("alt") or tag.get("title"))
        if said.strip() and (said in words(name) or words(name) in said) and len(said) > 4:
            named.append(address)
        elif _GALLERY.search(" ".join(f"{one.get('class', '')} {one.get('id', '')}" for one in _near(tag))):
            others.append(address)
    return list(dict.fromkeys(named or others))[:MOST_PICTURES]


def gallery(page: Document, name: str | None) -> list[str]:
    """Pictures in something called a gallery that say where their larger form is: a link, or what a zoom loads."""
    found: list[str] = []
    for tag in page.tree.iter("img"):
        link = tag.getparent()
        linked = link is not None and link.tag == "a" and _PICTURE_FILE.search(link.get("href") or "")
        if not (linked or any(tag.get(one) for one in _ZOOMED)) or len(found) >= MOST_PICTURES:
            continue
        around = [f"{one.get('class', '')} {one.get('id', '')}" for one in _near(tag, 7)]
        if not any(map(_GALLERY.search, around)) or any(map(_OTHERS.search, around)):
            continue
        if (address := _largest(tag, page.base)) and is_picture(address, name):
            found.append(address)
    return list(dict.fromkeys(found))


def _near(tag: Any, most: int = 4) -> list[Any]:
    """The element and those around it, the innermost first."""
    found = [tag]
    while len(found) < most and (above := found[-1].getparent()) is not None:
        found.append(above)
    return found


def _largest(tag: Any, base: str) -> str | None:
    """The address of the largest form of a picture: what it links to, what a zoom loads, what it shows."""
    link = tag.getparent()
    if link is not None and link.tag == "a" and _PICTURE_FILE.search(link.get("href") or ""):
        return address_of(link.get("href"), base)
    value = next((value for name in _OF_PICTURE if (value := tag.get(name)) and not value.startswith("data:")), None)
    return address_of(clean(value or ""), base)
