"""Which picture of the workspace an address, a path, an S3 key or a file name of another tool means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd

_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts it before the name of an uploaded file


@dataclass
class Matches:
    """What became of the references of a file."""

    found: dict[str, str] = field(default_factory=dict)  # reference to image_id
    by_name: dict[str, str] = field(default_factory=dict)  # of them, those whose file name alone agrees
    ambiguous: list[str] = field(default_factory=list)  # several pictures have that name
    unknown: list[str] = field(default_factory=list)  # not in this workspace


class Pictures:
    """The pictures of a workspace by everything they are called."""

    def __init__(self, pictures: pd.DataFrame, appearances: pd.DataFrame) -> None:
        """Index PICTURES (image_id, blob) and APPEARANCES (image_id, url, listing_id)."""
        self.ids = set(pictures["image_id"])
        self._exact: dict[str, set[str]] = {}
        self._tails: dict[str, set[str]] = {}
        calls = [zip(pictures["image_id"], pictures["blob"], strict=True)]
        shown = appearances[appearances["image_id"].isin(self.ids)]
        calls.append(zip(shown["image_id"], shown["url"], strict=True))
        for pairs in calls:
            for image_id, name in pairs:
                if isinstance(name, str):
                    self._add(name, image_id)

    def _add(self, name: str, image_id: str) -> None:
        self._exact.setdefault(name, set()).add(image_id)
        for tail in _tails(_path_of(name)):
            self._tails.setdefault(tail, set()).add(image_id)

    def example(self) -> str:
        """One name that a picture of the workspace has."""
        named = sorted(name for name in self._exact if not _HASH.search(name))
        return (named or sorted(self._exact) or sorted(self.ids) or ["nothing"])[0]

    def match(self, references: Iterable[str]) -> Matches:
        """Find the picture that each reference means.

        First by image_id, then by the whole address, then by as many folders of the path as agree, last by the file name
        alone. Two references with different folders never mean one picture by its name alone: they are ambiguous.
        """
        matches = Matches()
        for reference in sorted(set(references)):
            image_ids, by_name = self._look_up(reference)
            if not image_ids:
                matches.unknown.append(reference)
            elif len(image_ids) > 1:
                matches.ambiguous.append(reference)
            else:
                (matches.by_name if by_name else matches.found)[reference] = next(iter(image_ids))
        self._refuse_shared_names(matches)
        matches.found.update(matches.by_name)
        return matches

    def _look_up(self, reference: str) -> tuple[set[str], bool]:
        """The pictures that a reference may mean, and whether only the file name says so."""
        plain = reference.strip()
        if plain.lower() in self.ids:
            return {plain.lower()}, False
        if plain in self._exact:
            return self._exact[plain], False
        path = _path_of(plain)
        if (hashed := _HASH.search(path.name)) and hashed.group() in self.ids:
            return {hashed.group()}, False
        names = [path] + ([path.with_name(bare)] if (bare := _UPLOAD.sub("", path.name)) != path.name else [])
        for name in names:
            tails = _tails(name)
            for number, tail in enumerate(tails):
                if tail in self._tails:
                    # a bare file name agrees wholly; with folders before it, only its end does
                    return self._tails[tail], number == len(tails) - 1 and len(tails) > 1
        return set(), False

    def _refuse_shared_names(self, matches: Matches) -> None:
        of: dict[str, list[str]] = {}
        for reference, image_id in matches.by_name.items():
            of.setdefault(image_id, []).append(reference)
        for references in of.values():
            if len({str(_path_of(reference)) for reference in references}) > 1:
                for reference in references:
                    del matches.by_name[reference]
                    matches.ambiguous.append(reference)


def _path_of(reference: str) -> PurePosixPath:
    """The path in an address, an S3 key or a file name: no scheme, host or signature, %20 as a space."""
    reference = reference.strip().replace("\\", "/")
    parts = urlsplit(reference) if "://" in reference or reference.startswith("/data/local-files") else None
    if parts is None:
        return PurePosixPath(unquote(reference.split("?", 1)[0]))
    if parts.path.rstrip("/").endswith("/data/local-files"):  # Label Studio: the path is in ?d=
        return PurePosixPath(parse_qs(parts.query).get("d", [""])[0])
    host = "" if parts.scheme == "s3" else parts.netloc
    return PurePosixPath(f"{host}{unquote(parts.path)}")


def _tails(path: PurePosixPath) -> list[str]:
    """The path, and its ends, longest first: `a/b/c.jpg`, `b/c.jpg`, `c.jpg`."""
    parts = [part for part in path.parts if part not in ("/", ".")]
    return ["/".join(parts[start:]) for start in range(max(0, len(parts) - 6), len(parts))]
