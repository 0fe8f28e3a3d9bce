"""What a person sees on a page that says nothing of its product by itself: heading, pictures, price, number.

The last resort, and a guess: it fills fields of a page, and never makes a page a product's.
"""

from __future__ import annotations

import re
from typing import Any

from curate.collect.extract.document import Document, visible_text
from curate.collect.extract.opengraph import without_site
from curate.collect.extract.values import Found, address_of, clean, words

_PRICE = re.compile(r"price|preis|prix|precio|preco|preço|prezzo|prijs|hinta|cena|cijena|\bpris\b|amount", re.I)
_NO_PRICE = re.compile(
    r"\bold|old\b|was\b|strike|before|regular|list-?price|original|save|saving|discount|shipping|unit|per-|from|instal|parcel|rrp|msrp|uvp",
    re.I,
)
_PRICE_TEXT = re.compile(
    r"(?:[^\W\d_]{1,4}\.?|[^\w\s]{1,2}|[A-Z]{1,3}\$)?\s*\d[\d.,'’\s]*(?:[.,][-–—])?\s*(?:[^\W\d_]{1,5}\.?|[^\w\s]{1,2})?"
)
_SIGN = re.compile(r"[€£¥₹₽₴₪₩₺$]|\b(?:EUR|USD|GBP|CHF|kn|Kč|zł|lei|kr|Ft)\b|тг|руб|грн|лв|元", re.I)
_NUMBER = re.compile(
    r"(?:\bsku|\bitem\s*(?:no|number|code|id|#)|\bproduct\s*(?:no|number|code|id|#)|\bmodel\s*(?:no|number)|\barti(?:cle|kel|culo)?"
    r"[\s.-]*(?:no|nr|num|number|nummer)?|\bref(?:erence|erencia|erência|\.)?|\bcód(?:igo|\.)?|\bcodice|\bкод(?:\s+товара)?|\bартикул|\bšifra"
    r"|商品編號|商品番号|品番)\s*[.:#：№]+\s*([A-Za-z0-9][\w./-]{2,30})",
    re.I,
)
_GALLERY = re.compile(
    r"gallery|galerie|galeria|product-?(?:image|img|photo|pic|media)|main-?(?:image|img|photo)|zoom|foto", re.I
)
_NO_PICTURE = re.compile(
    r"logo|sprite|icon|placeholder|blank|spacer|pixel|loading|loader|banner|badge|avatar|payment|flag", re.I
)
_PICTURE_FILE = re.compile(r"\.(?:jpe?g|png|webp|avif|gif)(?:$|[?#])", re.I)
_OF_PICTURE = ("data-zoom-image", "data-large", "data-original", "data-lazy", "data-src", "src")
MOST_PICTURES = 30
MOST_TAGS = 3_000


def visible(page: Document, wanted: set[str]) -> Found:
    """The wanted ones of name, image, price and sku, as far as they can be seen."""
    found = Found()
    heading, name = _heading(page)
    if "name" in wanted:
        found.put("name", name)
    if "price" in wanted and heading is not None:
        found.put("price", _price_after(heading))
    if "sku" in wanted and heading is not None:
        found.put("sku", _number_after(heading))
    if "image" in wanted and name:
        found.images = _pictures(page, name)
    return found


def is_picture(url: str) -> bool:
    """Whether an address is likely a product's picture, not the site's logo or an empty one."""
    return not _NO_PICTURE.search(url.split("?")[0].rsplit("/", 1)[-1])


def _heading(page: Document) -> tuple[Any, str | None]:
    """The h1 that the title speaks of, else the first one; without any the title alone."""
    title = words(page.title)
    for tag, text in page.headings:
        if words(text).strip() and words(text) in title:
            return tag, text
    for tag, text in page.headings:
        said = set(words(text).split())
        if said and len(said & set(title.split())) >= 0.6 * len(said):
            return tag, text
    if page.headings and not title.strip():
        return page.headings[0]
    name = without_site(page.title, page.meta("og:site_name"), page.url)
    return (page.headings[0][0] if page.headings else None), name


def _after(heading: Any) -> list[Any]:
    """The elements that follow a heading on the page, not too many."""
    return heading.xpath(f"following::*[position() <= {MOST_TAGS}]")


def _price_after(heading: Any) -> str | None:
    """The first text behind the heading that is a price, stands in something called so, and is not struck out."""
    for tag in _after(heading):
        called = f"{tag.get('class', '')} {tag.get('id', '')} {tag.get('itemprop', '')}"
        if (
            tag.tag in ("script", "style", "del", "s", "input", "meta")
            or not _PRICE.search(called)
            or _NO_PRICE.search(called)
        ):
            continue
        text = _without_struck(tag)
        if text and len(text) <= 30 and _PRICE_TEXT.fullmatch(text) and _SIGN.search(text):
            return text
    return None


def _without_struck(tag: Any) -> str | None:
    if tag.find(".//del") is not None or tag.find(".//s") is not None:
        return None
    return visible_text(tag, longest=60)


def _number_after(heading: Any) -> str | None:
    """The first number behind the heading, or in it, that is called one: "Ref. 1002/710", "Код: 73556"."""
    for tag in (heading, *heading.iterdescendants(), *_after(heading)):
        if not isinstance(tag.tag, str) or tag.tag in ("script", "style"):
            continue
        if tag.text and len(tag.text) < 200 and (match := _NUMBER.search(" ".join(tag.text.split()))):
            return match[1].rstrip(".-/")
        if tag.text and len(tag.text) < 30 and len(tag) == 0 and tag.text.strip().endswith((":", "#")):
            both = visible_text(tag.getparent(), longest=80)
            if both and len(both) < 60 and (match := _NUMBER.search(both)):
                return match[1].rstrip(".-/")
    return None


def _pictures(page: Document, name: str) -> list[str]:
    """Pictures that bear the product's name, else those of something called a gallery; linked ones in their full size."""
    named: list[str] = []
    others: list[str] = []
    for tag in page.tree.iter("img"):
        address = _largest(tag, page.base)
        if not address or not is_picture(address) or len(named) >= MOST_PICTURES:
            continue
        said = words(tag.get("alt") or tag.get("title"))
        if said.strip() and (said in words(name) or words(name) in said) and len(said) > 4:
            named.append(address)
        elif _GALLERY.search(" ".join(f"{one.get('class', '')} {one.get('id', '')}" for one in _near(tag))):
            others.append(address)
    return list(dict.fromkeys(named or others))[:MOST_PICTURES]


def _near(tag: Any) -> list[Any]:
    """The element and three around it."""
    found = [tag]
    while len(found) < 4 and (above := found[-1].getparent()) is not None:
        found.append(above)
    return found


def _largest(tag: Any, base: str) -> str | None:
    """The address of the largest form of a picture: what it links to, what a zoom loads, what it shows."""
    link = tag.getparent()
    if link is not None and link.tag == "a" and _PICTURE_FILE.search(link.get("href") or ""):
        return address_of(link.get("href"), base)
    value = next((value for name in _OF_PICTURE if (value := tag.get(name)) and not value.startswith("data:")), None)
    return address_of(clean(value or ""), base)
