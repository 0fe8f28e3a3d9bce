"""Prices and currencies, by the customs of the place."""

from __future__ import annotations

import pytest

from curate.collect.extract.prices import currency_of, parse_price


@pytest.mark.parametrize(
    ("raw", "currency", "written", "price"),
    [
        ("2.449", None, False, 2.449),  # as JSON-LD writes: a decimal point
        ("2.449", None, True, 2449),  # as people write
        ("$2.449", "ARS", False, 2449),
        ("229.990", "CLP", False, 229_990),  # no currency without cents has a decimal point
        ("2449.00", "ARS", False, 2449),
        ("0.500", None, True, 0.5),
        ("1.250", "KWD", True, 1.25),  # three decimals
        ("1,250 KWD", "KWD", True, 1.25),
        ("CHF 1’299.–", "CHF", True, 1299),
        ("1'299.50", "CHF", True, 1299.5),
        ("€ 20,-", "EUR", True, 20),
        ("131 990 тг.", "KZT", True, 131_990),
        ("12\u202f345,67 €", "EUR", True, 12_345.67),
        ("₹1,29,999.00", "INR", True, 129_999),
        ("1,29,999", "INR", True, 129_999),
        ("١٢٩٫٥٠", None, True, 129.5),
        ("EUR 5,00 - EUR 9,00", "EUR", True, 5),
        ("12 345", None, True, 12_345),
        ("3 24", None, True, 3),  # no group of three
        ("9" * 400, None, False, None),
        ("1e5", None, False, 1),
        ("NaN", None, False, None),
    ],
)
def test_a_lone_separator_is_read_by_custom(raw: str, currency: str | None, written: bool, price: float | None) -> None:
    assert parse_price(raw, currency, written) == price


@pytest.mark.parametrize(
    ("text", "country", "currency"),
    [
        ("EUR", None, "EUR"), ("eur", None, "EUR"), ("£50", None, "GBP"), ("129,00 zł", None, "PLN"), ("173.34 Lei", None, "RON"),
        ("$15", "CA", "CAD"), ("$15", "MX", "MXN"), ("$15", None, None), ("US$ 15", "MX", "USD"), ("MX$ 15", None, "MXN"),
        ("R$ 49,9", None, "BRL"), ("NT$ 294", None, "TWD"), ("199 kr", "SE", "SEK"), ("199 kr", None, None),
        ("131990 тг.", None, "KZT"), ("270 Kn", None, "HRK"), ("GBP 1.99", None, "GBP"), ("€", "US", "EUR"),
        ("99.00", "US", None), ("", None, None), (None, None, None), ("all for 5", None, None),
    ],
)  # fmt: skip
def test_a_currency_is_a_code_or_a_sign_of_its_country(
    text: str | None, country: str | None, currency: str | None
) -> None:
    assert currency_of(text, country) == currency
