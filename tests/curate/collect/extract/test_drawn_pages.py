"""Pages drawn in the manner of shop platforms and marketplaces, in Spanish, Portuguese, English and Japanese, read without rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.collect.extract import extract, read_page

DRAWN = Path(__file__).parent / "drawn"
TL, SH, HM = (
    "https://http2.tlstatic.example/",
    "https://hearthandpeg.example/cdn/shop/files/",
    "https://i.hmstatic.example/1122/r/il/ab12cd/",
)
WOO, MALL = (
    "https://casadoavental.example/wp-content/uploads/2026/03/",
    "https://tshop.r.ichiba.example/kitchenkobo/cabinet/01/",
)

# file, address, name, price, currency, sku (or another number), brand, pictures
PAGES = [
    ("marketplace_mx", "https://articulo.tianguislibre.example/MLM-1963847251-delantal-_JM",
     "Delantal De Mezclilla Para Chef Con Bolsas Unisex", 349, "MXN", "MLM1963847251", "Casa Olla",
     [TL + "D_NQ_NP_812345-MLM7001-O.webp", TL + "D_NQ_NP_2X_812345-MLM7001-F.webp"]),
    ("shopify_en", "https://hearthandpeg.example/products/waxed-canvas-apron", "Waxed Canvas Apron", 84, "USD", "HP-APR-OLV",
     "Hearth & Peg", [SH + "apron-olive.jpg?v=1690000000", SH + "apron-rust.jpg?v=1690000001"]),
    ("woocommerce_pt", "https://casadoavental.example/produto/avental-de-linho-azul/", "Avental de Linho Azul", 32.5, "EUR", "AV-LIN-07",
     "Linho & Cia", [WOO + "avental-azul.jpg", WOO + "avental-azul-costas.jpg"]),
    ("magento_es", "https://talabarteria.example/delantal-gaucho-de-cuero.html", "Delantal Gaucho de Cuero", 45999.5, "ARS", "TAL-DEL-044",
     "El Fogón", ["https://talabarteria.example/media/catalog/product/cache/207e23213cf636ccdef205098cf3c8a3/d/e/delantal_cuero_1.jpg"]),
    ("vtex_pt", "https://www.fogareiro.example/avental-jeans-premium/p", "Avental Jeans Premium", 1299.9, "BRL", "2087", "Fogareiro",
     ["https://fogareiro.vteximg.example/arquivos/ids/170815/avental-1.jpg?v=638"]),
    ("crafts_en", "https://www.handmarket.example/uk/listing/1234567890/apron", "Hand embroidered linen apron, cottagecore pinafore", 52.8, "GBP",
     "1234567890", "FolkThread", [HM + "5550001/il_fullxfull.5550001_q1w2.jpg", HM + "5550002/il_fullxfull.5550002_e3r4.jpg"]),
    ("mall_ja", "https://item.ichiba.example/kitchenkobo/apron-hokuou-01/", "エプロン 北欧 おしゃれ 綿100%", 2980, "JPY", "apron-hokuou-01",
     "きっちん工房", [MALL + "apron01.jpg"]),
    ("plain_es", "https://textilesrueda.example/es/delantal-corto-de-camarero-p-20451.html", "Delantal corto de camarero", 11.9, "EUR",
     "RU-20451", "Rueda Hostelería", ["https://textilesrueda.example/img/productos/20451_g.jpg"]),
    ("datalayer_br", "https://atelieflor.example/avental-infantil", "Avental Infantil Estampado de Frutas", 39.9, "BRL", "AF-318",
     "Ateliê Flor", ["https://atelieflor.example/fotos/avental-frutas-grande.jpg"]),
    ("nextjs_co", "https://tallerbambu.example/productos/delantal-barista-antifluido", "Delantal Barista Antifluido", 89900, "COP", "BAR-09",
     "Taller Bambú", ["https://tallerbambu.example/img/barista-1.jpg", "https://cdn.tallerbambu.example/img/barista-2.jpg"]),
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=[page[0] for page in PAGES])
def test_a_page_of_a_platform_tells_its_product(page: tuple[Any, ...]) -> None:
    file, url, name, price, currency, number, brand, images = page
    found = extract((DRAWN / f"{file}.html").read_bytes(), url).shown()
    assert (found["name"], found["price"], found["currency"], found["brand"]) == (name, price, currency, brand)
    assert number in (found["sku"], found["product_id"])
    assert found["images"] == images


def test_all_but_the_one_that_says_nothing_to_machines_are_listings_to_a_crawl() -> None:
    listings = {page[0]: read_page((DRAWN / f"{page[0]}.html").read_bytes(), page[1]).listing for page in PAGES}
    assert [file for file, listing in listings.items() if listing is None] == ["plain_es"]


def test_the_stock_of_offers_inside_an_offer_counts() -> None:
    page = next(page for page in PAGES if page[0] == "vtex_pt")
    assert extract((DRAWN / "vtex_pt.html").read_bytes(), page[1]).shown()["availability"] == "InStock"
