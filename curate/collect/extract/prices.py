"""A price as written, as a number and a currency."""

from __future__ import annotations

import re

# ISO 4217: currencies whose prices have no cents, and those with three decimals
NO_CENTS = {"ARS", "CLP", "COP", "CRC", "HUF", "IDR", "ISK", "JPY", "KRW", "KZT", "PYG", "TWD", "UGX", "UZS", "VND"}
THREE_DECIMALS = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
_NUMBER = re.compile(r"\d{1,3}(?:[ '’\u00a0\u202f\u2009]\d{3})+(?!\d)(?:[.,]\d+)?|\d[\d.,]*")
_MACHINE = re.compile(r"\d+(\.\d+)?")
_ARABIC = str.maketrans({"٫": ".", "٬": ","})

_SIGNS = {
    "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₽": "RUB", "₴": "UAH", "₪": "ILS", "₩": "KRW", "₺": "TRY", "₫": "VND",
    "฿": "THB", "₸": "KZT", "₱": "PHP", "R$": "BRL", "MX$": "MXN", "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD",
    "AU$": "AUD", "NZ$": "NZD", "NT$": "TWD", "HK$": "HKD", "S$": "SGD", "S/": "PEN", "kn": "HRK", "kč": "CZK", "zł": "PLN",
    "lei": "RON", "ft": "HUF", "лв": "BGN", "тг": "KZT", "руб": "RUB", "грн": "UAH", "rs": "INR", "rp": "IDR", "rm": "MYR",
    "tl": "TRY", "din": "RSD", "元": "TWD", "円": "JPY", "원": "KRW",
}  # fmt: skip
_DOLLARS = {
    "US": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "MX": "MXN", "AR": "ARS", "CL": "CLP", "CO": "COP", "TW": "TWD",
    "HK": "HKD", "SG": "SGD", "UY": "UYU", "EC": "USD", "SV": "USD", "PR": "USD", "DO": "DOP",
}  # fmt: skip
_CROWNS = {"DK": "DKK", "NO": "NOK", "SE": "SEK", "IS": "ISK", "CZ": "CZK"}
_WORD = re.compile(r"[A-Za-z]{0,2}\$|S/|[^\W\d_]+|[€£¥₹₽₴₪₩₺₫฿₸₱]")
_CODES = set(
    re.findall(
        r"\w+",
        "AED ARS AUD BGN BHD BRL CAD CHF CLP CNY COP CRC CZK DKK DOP EGP EUR GBP HKD HRK HUF IDR ILS INR IQD ISK JOD JPY KES KRW "
        "KWD KZT LYD MAD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RSD RUB SAR SEK SGD THB TND TRY TWD UAH UGX USD UYU UZS VND ZAR",
    )
)


def parse_price(raw: str | None, currency: str | None = None, written: bool = False) -> float | None:
    """The number in a price as written: "1,299.00", "1.299,00", "MX$ 299", "1 299,90". None when there is none.

    A lone separator before three digits is the question. A comma there always separates thousands. A point is decimal as
    JSON-LD writes it, but separates thousands where people wrote the price (`written`, or anything but digits beside it)
    and in currencies without cents; in those with three decimals (KWD, TND, …) it never does.
    """
    plain = (raw or "").translate(_ARABIC)[:200]
    found = _NUMBER.search(plain)
    if not found:
        return None
    digits = re.sub(r"[^\d.,]", "", found[0]).rstrip(".,")
    if "." in digits and "," in digits:
        thousands = "," if digits.rfind(".") > digits.rfind(",") else "."
        return _number(digits.replace(thousands, "").replace(",", "."))
    if digits.count(".") + digits.count(",") > 1:
        return _number(re.sub(r"[.,]", "", digits))
    whole, separator, rest = digits.partition("," if "," in digits else ".")
    by_hand = written or not _MACHINE.fullmatch(plain.strip())
    could_be = len(rest) == 3 and currency not in THREE_DECIMALS and whole.lstrip("0")
    if could_be and (separator == "," or by_hand or currency in NO_CENTS):
        return _number(whole + rest)
    return _number(f"{whole}.{rest}" if rest else whole)


def _number(digits: str) -> float | None:
    try:
        value = float(digits)
    except ValueError:
        return None
    return value if value < 1e15 else None


def currency_of(text: str | None, country: str | None = None) -> str | None:
    """ISO 4217 of a code or sign in the text ("EUR", "£50", "129,00 zł"); a bare $ or kr is the country's, else unknown."""
    for word in _WORD.findall((text or "")[:200]):
        if word in _CODES or (word.upper() in _CODES and len(word) == len(text or "")):
            return word.upper()
        if word == "$":
            return _DOLLARS.get(country or "")
        if word.lower() == "kr":
            return _CROWNS.get(country or "")
        if sign := _SIGNS.get(word) or _SIGNS.get(word.upper()) or _SIGNS.get(word.lower()):
            return sign
    return None
