"""What a page says: the product it sells, and the pages it leads to.

page puts it to use: `extract` for one page, `read_page` for a crawl. A page is parsed once (document), then asked by one
reader a source (rules jsonld+schema_org microdata opengraph datalayer visible); product keeps the first answer to a field.
"""

from curate.collect.extract.page import Listing, Page, extract, read_page, reader
from curate.collect.extract.prices import parse_price
from curate.collect.extract.product import Product
from curate.collect.extract.saved import page_url, read_file, say
from curate.collect.extract.values import LONGEST_URL, address_of

__all__ = [
    "LONGEST_URL",
    "Listing",
    "Page",
    "Product",
    "address_of",
    "extract",
    "page_url",
    "parse_price",
    "read_file",
    "read_page",
    "reader",
    "say",
]
