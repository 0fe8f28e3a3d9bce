"""What sites and pictures say we may not do."""

from __future__ import annotations

import asyncio

import pytest

from curate.collect.robots import Robots, Rules, opted_out


def rules(status: int, text: str = "") -> Rules:
    async def read(url: str) -> tuple[int, bytes]:
        return status, text.encode()

    async def ask() -> Rules:
        return await Robots(read).rules("https://a.example/x")

    return asyncio.run(ask())


def test_what_robots_txt_forbids_is_refused_with_the_reason() -> None:
    found = rules(
        200,
        "User-agent: *\nDisallow: /cart\nCrawl-delay: 3\n\nUser-agent: consenso\nDisallow: /private\nCrawl-delay: 2",
    )
    assert found.refuses("https://a.example/private/1") == "forbidden by robots.txt"
    assert found.refuses("https://a.example/cart") is None  # the group with our name is the one that counts
    assert found.delay == 2


@pytest.mark.parametrize("status", [404, 401, 403, 410])
def test_a_site_without_robots_txt_allows(status: int) -> None:
    assert rules(status).refuses("https://a.example/x") is None


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_site_that_cannot_say_forbids(status: int) -> None:
    assert f"HTTP {status}" in (rules(status).refuses("https://a.example/x") or "")


def test_a_site_that_does_not_answer_forbids() -> None:
    async def read(url: str) -> tuple[int, bytes]:
        raise OSError("no route")

    async def ask() -> Rules:
        return await Robots(read).rules("https://a.example/x")

    assert "no route" in (asyncio.run(ask()).refuses("https://a.example/x") or "")


def test_robots_txt_is_read_once_however_many_wait_and_one_that_gives_up_harms_none() -> None:
    asked = []

    async def read(url: str) -> tuple[int, bytes]:
        asked.append(url)
        await asyncio.sleep(0.01)
        return 200, b"User-agent: *\nDisallow: /"

    async def ask() -> list[object]:
        robots = Robots(read)
        waiting = [asyncio.create_task(robots.rules(f"https://a.example/{n}")) for n in range(12)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, *rest = asyncio.run(ask())
    assert isinstance(first, asyncio.CancelledError)
    assert all(isinstance(one, Rules) and one.refuses("https://a.example/1") for one in rest)
    assert asked == ["https://a.example/robots.txt"]


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("noindex", "noindex"), ("nofollow, noimageindex", "noimageindex"), ("NoAI", "noai"), ("none", "none"),
        ("consenso: noindex", "noindex"), ("*: noai", "noai"),
        ("otherbot: noindex", None), ("otherbot: nofollow, noindex", None), ("nofollow", None),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", None), ("max-image-preview: large, noai", "noai"), ("", None),
    ],
)  # fmt: skip
def test_a_picture_may_say_no_in_its_headers(header: str, word: str | None) -> None:
    assert opted_out([("X-Robots-Tag", header)]) == (word and f"X-Robots-Tag: {word}")


def test_a_text_and_data_mining_reservation_is_a_no() -> None:
    assert opted_out([("TDM-Reservation", "1")]) == "tdm-reservation: 1"
    assert opted_out([("TDM-Reservation", "0")]) is None
