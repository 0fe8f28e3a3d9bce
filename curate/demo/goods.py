"""What a drawn marketplace sells: aprons, phone cases, sleeveless tops, each with the classes that people tell apart.

These are the three products of the paper. A search for one also brings other things, whose class is `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from curate.demo.draw_apron import VIEWS as APRON_VIEWS
from curate.demo.draw_apron import choose_apron, draw_apron
from curate.demo.draw_other import THINGS
from curate.demo.draw_phone import VIEWS as CASE_VIEWS
from curate.demo.draw_phone import choose_case, draw_case
from curate.demo.draw_vest import VIEWS as VEST_VIEWS
from curate.demo.draw_vest import choose_vest, draw_vest


@dataclass(frozen=True)
class Words:
    """How sellers of one language write about a product."""

    names: tuple[str, ...]
    more: tuple[str, ...]
    category: str
    of: Mapping[str, str]  # class -> what a title says of it


@dataclass(frozen=True)
class Goods:
    """One product: how often each class is sold, what sellers write, and how it is drawn."""

    task: str  # the task file that asks about it
    shares: Mapping[str, float]  # of the listings, by class
    words: Mapping[str, Words]  # by language
    reasons: Mapping[str, str]  # by class: an expert's sentence, shown to a worker who chose otherwise
    other: str  # the sentence for `other`, before the thing that is shown
    views: tuple[str, str, str, str]  # a gallery begins mostly with the first, else with the second
    things: tuple[str, ...]  # what a search also brings
    choose: Callable[[np.random.Generator, str, bool], Any]  # class, hard -> a product
    draw: Callable[[Any, str, np.random.Generator], Image.Image]  # product, view -> a photo


# plain sells most, hearts least: a natural skew, with enough of the rare ones to learn from
PRINT_SHARES = {
    "plain": 0.15, "stripes": 0.14, "checks": 0.13, "dots": 0.12, "floral": 0.11, "zigzag": 0.095, "stars": 0.08,
    "hearts": 0.075, "other": 0.1,
}  # fmt: skip
PRINT_REASONS = {
    "plain": "One color all over; seams and folds are no pattern.",
    "stripes": "Lines in one direction only.",
    "checks": "Lines cross at right angles.",
    "dots": "Round spots.",
    "floral": "Flowers with leaves.",
    "zigzag": "The lines turn back and forth.",
    "stars": "Five-pointed stars.",
    "hearts": "Heart shapes.",
}
PRINTS_ES = {
    "plain": "liso", "stripes": "a rayas", "checks": "a cuadros", "dots": "de lunares", "floral": "con flores",
    "zigzag": "en zigzag", "stars": "de estrellas", "hearts": "de corazones",
}  # fmt: skip
PRINTS_PT = {
    "plain": "liso", "stripes": "listrado", "checks": "xadrez", "dots": "de bolinhas", "floral": "floral",
    "zigzag": "ziguezague", "stars": "de estrelas", "hearts": "de corações",
}  # fmt: skip

APRONS = Goods(
    task="apron",
    shares=PRINT_SHARES,
    words={
        "es": Words(
            ("Delantal de cocina", "Mandil", "Delantal unisex", "Delantal de chef"),
            ("", "con bolsillo", "ajustable", "100% algodón", "antimanchas"), "Cocina > Delantales", PRINTS_ES,
        ),
        "pt": Words(
            ("Avental de cozinha", "Avental unissex", "Avental de chef"),
            ("", "com bolso", "ajustável", "100% algodão", "impermeável"), "Cozinha > Aventais", PRINTS_PT,
        ),
    },
    reasons=PRINT_REASONS,
    other="This is no apron",
    views=APRON_VIEWS,
    things=THINGS,
    choose=choose_apron,
    draw=draw_apron,
)  # fmt: skip

PHONE_CASES = Goods(
    task="phone",
    shares=PRINT_SHARES,
    words={
        "es": Words(
            ("Funda para celular", "Carcasa", "Funda de silicona", "Case para teléfono"),
            ("", "antigolpes", "delgada", "con bordes reforzados"), "Celulares > Fundas", PRINTS_ES,
        ),
        "pt": Words(
            ("Capinha de celular", "Capa para celular", "Case de silicone"),
            ("", "antichoque", "fina", "com bordas reforçadas"), "Celulares > Capinhas", PRINTS_PT,
        ),
    },
    reasons=PRINT_REASONS,
    other="This is no phone case",
    views=CASE_VIEWS,
    things=(*(thing for thing in THINGS if thing != "phone case"), "apron"),
    choose=choose_case,
    draw=draw_case,
)  # fmt: skip

VESTS = Goods(
    task="vestneck",
    shares={
        "round": 0.2, "v": 0.17, "square": 0.13, "high": 0.11, "boat": 0.09, "halter": 0.08, "band": 0.07,
        "sweetheart": 0.05, "other": 0.1,
    },
    words={
        "es": Words(
            ("Camiseta sin mangas", "Musculosa", "Top sin mangas", "Playera sin mangas"),
            ("", "de algodón", "para verano", "básica"), "Ropa > Tops",
            {"round": "cuello redondo", "v": "cuello en V", "square": "escote cuadrado", "high": "cuello alto",
             "boat": "cuello barco", "halter": "cuello halter", "band": "cuello mao", "sweetheart": "escote corazón"},
        ),
        "pt": Words(
            ("Regata", "Blusa sem mangas", "Top sem mangas"),
            ("", "de algodão", "de verão", "básica"), "Roupas > Regatas",
            {"round": "gola redonda", "v": "gola V", "square": "decote quadrado", "high": "gola alta",
             "boat": "gola canoa", "halter": "frente única", "band": "gola padre", "sweetheart": "decote coração"},
        ),
    },
    reasons={
        "round": "The neck is a part of a circle.", "v": "The neck ends in a point.",
        "square": "The neck has corners.", "high": "The cloth goes up around the throat.",
        "boat": "Wide and hardly cut at all.", "halter": "One loop around the neck carries it; the shoulders are free.",
        "band": "A standing band with a slit and buttons.", "sweetheart": "Two bows meet in the middle.",
    },
    other="This is no sleeveless top",
    views=VEST_VIEWS,
    things=(*THINGS, "apron"),
    choose=choose_vest,
    draw=draw_vest,
)  # fmt: skip

GOODS = {goods.task: goods for goods in (VESTS, PHONE_CASES, APRONS)}  # in the paper's order
