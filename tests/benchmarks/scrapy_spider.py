"""What bench_crawl.py holds `curate scrape` against: Scrapy 2.19 as its documentation has it, with FilesPipeline.

python scrapy_spider.py START FOLDER READER writes FOLDER/items.jsonl and FOLDER/files. It runs with Scrapy's own Python.
READER is `ours`, the function that `curate scrape` reads pages with, or the syntaxes that extruct reads, e.g. json-ld,microdata.
"""

import sys

import extruct
import scrapy
from scrapy.crawler import CrawlerProcess

from curate.collect.extract import read_page


class Shop(scrapy.Spider):
    """From list pages to products and their pictures."""

    name = "shop"

    async def start(self):
        """The first list page."""
        yield scrapy.Request(sys.argv[1])

    def parse(self, response):
        """A product becomes an item with the addresses of its pictures; a list leads on."""
        yield from by_us(response) if sys.argv[3] == "ours" else by_extruct(response, sys.argv[3].split(","))


def by_us(response):
    """Read by the function of `curate scrape`."""
    page = read_page(response.body, response.url, response.headers.get("Content-Type", b"").decode())
    if page.listing:
        yield {**page.listing.columns, "sku": page.listing.listing_id, "file_urls": page.listing.pictures}
        return
    for url in [*page.next_pages, *page.links]:
        yield scrapy.Request(url)


def by_extruct(response, syntaxes):
    """Read as a user of Scrapy would: extruct for the product, selectors for the links."""
    found = extruct.extract(response.text, base_url=response.url, syntaxes=syntaxes, errors="ignore")
    product = next((item for item in found["json-ld"] if item.get("@type") == "Product"), None)
    if product:
        yield {**product, "file_urls": [response.urljoin(image) for image in product["image"]]}
        return
    for href in response.css("a::attr(href)").getall():
        yield response.follow(href)


if __name__ == "__main__":
    folder = sys.argv[2]
    process = CrawlerProcess(
        {
            "ROBOTSTXT_OBEY": True,
            "USER_AGENT": "bench (+bench@example.org)",
            "ITEM_PIPELINES": {"scrapy.pipelines.files.FilesPipeline": 1},
            "FILES_STORE": f"{folder}/files",
            "FEEDS": {f"{folder}/items.jsonl": {"format": "jsonlines"}},
            "DOWNLOAD_DELAY": 0,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 8,  # both Scrapy's own defaults: 2 makes it no cheaper
            "CONCURRENT_REQUESTS": 16,
            "TELNETCONSOLE_ENABLED": False,
            "LOG_LEVEL": "WARNING",
            "RETRY_TIMES": 5,
        }
    )
    process.crawl(Shop)
    process.start()
