"""Rules of a site: which addresses are products, where a page keeps its fields, how far and how fast to go.

One YAML file a site, checked whole before anything is fetched. Those in `sites/` come with the tool, for sites whose
pages say too little in JSON-LD, microdata or OpenGraph; `docs/extract.md` tells how to write one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qs, urljoin, urlsplit

import yaml
from parsel.csstranslator import HTMLTranslator
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import UserError

FIELDS = (
    "name", "image", "price", "currency", "sku", "product_id", "gtin", "mpn", "brand", "availability", "category",
    "color", "material", "pattern", "size", "description", "seller",
)  # fmt: skip
Source = Literal["rules", "json-ld", "microdata", "opengraph", "data-layer", "page"]
SOURCES: tuple[Source, ...] = get_args(Source)


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None
    return pattern


def _css(selector: str) -> str:
    try:
        HTMLTranslator().css_to_xpath(selector)
    except Exception as error:  # cssselect and parsel raise several kinds, tinycss none at all
        raise ValueError(f"{selector!r} is not a CSS selector ({error})") from None
    return selector


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _selector(value: Any) -> Any:
    return {"css": value} if isinstance(value, str) else value


def _start_address(value: str) -> str:
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
        raise ValueError(f"{value[:80]!r} is not an address (http://… or https://…)")
    return value


Address = Annotated[str, AfterValidator(_start_address)]
Regex = Annotated[str, AfterValidator(_regex)]
Css = Annotated[str, AfterValidator(_css)]
Host = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*(\.\*)?$", description="shop.example or shop.*")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Select(_Part):
    """Where a field stands: a CSS selector (`::text`, `::attr(href)` as in parsel), and what of its text is meant."""

    css: Css | None = None
    regex: Regex | None = Field(
        None, description="only what this finds in the text counts: its first group, or all of it"
    )
    url: Regex | None = Field(None, description="in place of css: found in the page's address, first group or all")
    value: str | None = Field(None, min_length=1, description="this, where css finds anything; without css always")

    @model_validator(mode="after")
    def _one_place(self) -> Select:
        if (self.css is None) == (self.url is None) and (self.value is None or self.url is not None):
            raise ValueError("needs exactly one of css, url and value; value may stand with css")
        if self.regex is not None and self.css is None:
            raise ValueError("regex works on what css finds: give css too")
        return self


Selects = Annotated[
    tuple[Annotated[Select, BeforeValidator(_selector)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, description="tried in turn; the first that finds something counts"),
]


class Rewrite(_Part):
    """A picture's address made over, from thumbnail to full size: every `find` (a regex) becomes `replace`."""

    find: Regex
    replace: str = Field("", description=r"\1 is the first group")

    @model_validator(mode="after")
    def _replaceable(self) -> Rewrite:
        groups = re.compile(self.find).groups
        wanted = [int(number) for number in re.findall(r"\\(\d+)", self.replace)]
        if any(number > groups for number in wanted):
            raise ValueError(f"replace names group {max(wanted)}, but find has {groups}")
        return self


# Addresses in which a platform says the size that it makes; without it comes the picture as it was uploaded.
PLATFORMS = (
    Rewrite(  # Shopify: apron_grande.jpg, apron_300x300_crop_center@2x.jpg
        find=r"(//cdn\.shopify\.com/[^?]+?|/cdn/shop/[^?]+?)_(?:pico|icon|thumb|small|compact|medium|large|grande|\d+x\d*|x\d+)(?:_crop_\w+)?(?:@\dx)?(\.\w+)(?=$|\?)",
        replace=r"\1\2",
    ),
    Rewrite(  # Shopify: apron.jpg?v=16&width=1920
        find=r"((?://cdn\.shopify\.com/|/cdn/shop/)[^?]+\?(?:[^#]*&)?v=\d+)&(?:width|height|crop)=.*$",
        replace=r"\1",
    ),
    Rewrite(find=r"(/arquivos/ids/\d+)-\d+-(?:\d+|auto)(?=[/?]|$)", replace=r"\1"),  # VTEX: ids/170815-500-auto
    Rewrite(find=r"(/dw/image/v2/[^?]+)\?s[wh]=.*$", replace=r"\1"),  # Salesforce Commerce Cloud: ?sw=513&sh=654&sm=fit
)


class Limits(_Part):
    """How far and how fast; what is left out is the crawler's own default."""

    max_pages: int | None = Field(None, ge=1, description="pages fetched of this site in all")
    max_listings: int | None = Field(None, ge=1)
    max_images: int | None = Field(None, ge=1, le=1000, description="pictures of one listing")
    delay: float | None = Field(None, ge=0, le=3600, description="seconds between two requests")
    connections: int | None = Field(None, ge=1, le=16, description="at the same time")


class Start(_Part):
    """Where a crawl of the site begins."""

    sitemaps: tuple[Address, ...] = ()
    urls: tuple[Address, ...] = Field((), description="product pages")
    listing_pages: tuple[Address, ...] = Field((), description="lists of products, followed by `next_page`")


class Site(_Part):
    """The rules of one site."""

    marketplace: str = Field(
        min_length=1, max_length=80, description="its name in the tables; {host} is the page's own"
    )
    hosts: Annotated[tuple[Host, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="shop.example is also www.shop.example; shop.* is shop.com, shop.co.uk, …"
    )
    country: str | None = Field(None, pattern=r"^[A-Z]{2}$", description="ISO 3166; left out: as the page says")
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="BCP 47")
    currency: str | None = Field(None, pattern=r"^[A-Z]{3}$", description="ISO 4217, where pages do not say")
    start: Start = Start()
    product_url: Annotated[tuple[Regex, ...], BeforeValidator(_listed)] = Field(
        (), description="regular expressions of product addresses; none: a page says by itself what it is"
    )
    next_page: Css | None = Field(None, description="link to the next page of a list; rel=next is followed anyway")
    fields: dict[str, Selects] = Field(
        default_factory=dict, description="field to where it stands: " + ", ".join(FIELDS)
    )
    prefer: Annotated[tuple[Source, ...], BeforeValidator(_listed)] = Field(
        SOURCES, description="which is believed first; those left out are not read"
    )
    image_rewrite: tuple[Rewrite, ...] = ()
    limits: Limits = Limits()
    permission: str | None = Field(None, min_length=3, description="why we may; goes into the listings")

    @model_validator(mode="after")
    def _known_fields(self) -> Site:
        unknown = sorted(set(self.fields) - set(FIELDS))
        if unknown:
            raise ValueError(f"fields: {', '.join(unknown)} is none of {', '.join(FIELDS)}")
        return self

    def serves(self, url: str) -> bool:
        """Whether the address belongs to this site, by its host."""
        host = (urlsplit(url).hostname or "").lower()
        return any(_host_pattern(pattern).search(host) for pattern in self.hosts)

    def is_product(self, url: str) -> bool | None:
        """Whether the address is a product's; None when the rules do not say."""
        return any(re.search(pattern, url) for pattern in self.product_url) if self.product_url else None


@cache
def _host_pattern(pattern: str) -> re.Pattern[str]:
    """`shop.*` ends in one label (com, de) or two short ones (co.uk, com.mx)."""
    body = re.escape(pattern.removesuffix(".*"))
    ending = r"\.(?:[a-z]{2,6}|(?:co|com|net|org)\.[a-z]{2})" if pattern.endswith(".*") else ""
    return re.compile(rf"(?:^|\.){body}{ending}$")


def full_size(url: str, site: Site | None = None) -> str:
    """The address of a picture in full size, by the rules of its site and by those of platforms that many shops stand on."""
    for rewrite in (*PLATFORMS, *(site.image_rewrite if site else ())):
        url = re.sub(rewrite.find, rewrite.replace, url)
    return _unwrapped(url)


def _unwrapped(url: str) -> str:
    """The picture behind Next.js's resizer: /_next/image?url=…&w=1920."""
    parts = urlsplit(url)
    inner = parse_qs(parts.query).get("url", [""])[0] if parts.path.endswith("/_next/image") else ""
    return urljoin(url, inner) if inner.startswith(("/", "http://", "https://")) else url


def read_site(path: Path) -> Site:
    """The rules in a YAML file. Raises UserError that names the key, the value and what is allowed."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(site_file.stem for site_file in _shipped_files()))
        raise UserError(f"{path}: no such file of site rules; those of {known} come with the tool") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is not readable as YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no site rules; they begin with `marketplace: NAME` and `hosts: [HOST]`")
    try:
        return Site.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path}: {_fault(error)}") from error


def _fault(error: ValidationError) -> str:
    """The first fault in one line, and how many more there are."""
    faults = error.errors()
    first = faults[0]
    where = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    value = f", got {str(first['input'])[:80]!r}" if first["type"] not in ("missing", "value_error") else ""
    known = f"; known keys: {', '.join(Site.model_fields)}" if first["type"] == "extra_forbidden" else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where + ': ' if where else ''}{said}{value}{known}{more}"


def site_of(url: str, own: Iterable[Site] = ()) -> Site | None:
    """The rules for an address: your own before those that come with the tool; None when there are none."""
    return next((site for site in own if site.serves(url)), None) or _shipped_for(urlsplit(url).hostname or "")


@lru_cache(maxsize=4096)
def _shipped_for(host: str) -> Site | None:
    return next((site for site in shipped() if site.serves(f"//{host}")), None)


def rules_for(url: str, file: Path | None) -> Site | None:
    """The rules in a file for an address, without a file the shipped ones. Raises UserError when they are another site's."""
    if file is None:
        return site_of(url)
    site = read_site(file)
    if not site.serves(url):
        raise UserError(
            f"{file}: its rules are for {', '.join(site.hosts)}, and {url[:200]} is none of theirs; check `hosts`"
        )
    return site


@cache
def shipped() -> tuple[Site, ...]:
    """The site rules that come with the tool, by file name."""
    return tuple(read_site(path) for path in _shipped_files())


def _shipped_files() -> list[Path]:
    return sorted((Path(str(files("curate"))) / "collect" / "sites").glob("*.yaml"))
