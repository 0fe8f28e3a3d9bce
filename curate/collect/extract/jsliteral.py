"""A JavaScript object or array as it stands in a script: single quotes, bare keys, comments, a comma too many, calls.

What is no literal (a variable, a call, a sum) becomes None, unless it is a plain value in a call: parseFloat('9.90').
"""

from __future__ import annotations

import json
import re
from typing import Any

_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|<!--[^\n]*|-->)*", re.S)
_STRING = re.compile(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`", re.S)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")
_KEY = re.compile(r"[\w$]+")
_CALL = re.compile(r"(?:parseFloat|parseInt|Number|String)\(\s*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.S)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_WORDS = {"true": True, "false": False}
LONGEST = 200_000  # characters of one literal
DEEPEST = 12


class _Unreadable(Exception):
    """The literal does not end, or is too long or too deep."""


def literal_at(text: str, at: int) -> Any:
    """The value that begins at this place of a script; None where it cannot be read."""
    text = text[at : at + LONGEST]
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    try:
        return _value(text, 0, 0)[0]
    except _Unreadable:
        return None


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """A value and where it ends."""
    if depth > DEEPEST:
        raise _Unreadable
    at = _skip(text, at)
    if text[at : at + 1] == "{":
        return _object(text, at + 1, depth)
    if text[at : at + 1] == "[":
        return _array(text, at + 1, depth)
    call = _CALL.match(text, at)
    begin = call.end() if call else at
    value: Any = None
    if string := _STRING.match(text, begin):
        value, begin = _unescaped(next(part for part in string.groups() if part is not None)), string.end()
    elif number := _NUMBER.match(text, begin):
        value, begin = number[0], number.end()
    elif word := _KEY.match(text, begin):
        value, begin = _WORDS.get(word[0]), word.end()
    end = _rest(text, begin, opened=1 if call else 0)
    plain = text[begin:end].strip().rstrip(")").strip() if call else text[begin:end].strip()
    return (value if not plain or plain.startswith(("//", "/*", "||")) else None), end


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        string, bare = _STRING.match(text, at), _KEY.match(text, at)
        key = string or bare
        if key is None:
            raise _Unreadable
        at = _skip(text, key.end())
        if text[at : at + 1] != ":":
            raise _Unreadable
        value, at = _value(text, at + 1, depth + 1)
        found[_unescaped(key[0][1:-1]) if string else key[0]] = value
        at = _comma(text, at, "}")


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return found, at + 1
        value, at = _value(text, at, depth + 1)
        found.append(value)
        at = _comma(text, at, "]")


def _comma(text: str, at: int, end: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return at + 1
    if text[at : at + 1] == end:
        return at
    raise _Unreadable


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _rest(text: str, at: int, opened: int = 0) -> int:
    """Where an expression ends: at the next comma or bracket that is not its own."""
    while at < len(text):
        letter = text[at]
        if letter in "'\"`" and (string := _STRING.match(text, at)):
            at = string.end()
            continue
        if letter in "([{":
            opened += 1
        elif letter in ")]}":
            if not opened:
                return at
            opened -= 1
        elif letter == "," and not opened:
            return at
        at += 1
    raise _Unreadable


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else _NAMED.get(m[3], m[3]), text)
