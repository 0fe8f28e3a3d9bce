"""Which picture of the workspace an address, a path, an S3 key or a file name of another tool means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """The pictures of a workspace and everything they are called."""

    def __init__(self, pictures: pd.DataFrame, appearances: pd.DataFrame) -> None:
        """Take PICTURES (image_id, blob) and APPEARANCES (image_id, url)."""
        self.ids = set(pictures["image_id"])
        shown = appearances[appearances["image_id"].isin(self.ids) & appearances["url"].notna()]
        self._image_ids = [*shown["image_id"].tolist(), *pictures["image_id"].tolist()]
        self._names: list[str] = [*shown["url"].tolist(), *pictures["blob"].tolist()]

    def example(self) -> str:
        """One name that a picture of the workspace has."""
        return min(
            (name for name in self._names if not _HASH.search(name)), default=min(self._names, default="nothing")
        )

    def match(self, references: Iterable[str]) -> Matches:
        """Find the picture that each reference means.

        First by image_id, then by the whole address, then by as many folders of the path as agree, last by the file name
        alone. Two references with different folders never mean one picture by its name alone: they are ambiguous.
        """
        matches = Matches()
        wanted = sorted(set(references))
        whole = self._by_whole_name({reference.strip() for reference in wanted})
        unsure: list[str] = []
        for reference in wanted:
            image_ids = self._by_id(reference) or whole.get(reference.strip(), set())
            _note(matches, reference, image_ids) if image_ids else unsure.append(reference)
        ends = self._by_end({name for reference in unsure for name in map(_name_of, _paths_of(reference))})
        for reference in unsure:
            image_ids, by_name = _longest_end(reference, ends)
            if by_name and len(image_ids) == 1:
                matches.by_name[reference] = next(iter(image_ids))
            else:
                _note(matches, reference, image_ids)
        self._refuse_shared_names(matches)
        matches.found.update(matches.by_name)
        return matches

    def _by_id(self, reference: str) -> set[str]:
        """The picture whose image_id is the reference, or stands in its file name."""
        plain = reference.strip().lower()
        if plain in self.ids:
            return {plain}
        hashed = _HASH.search(_name_of(_path_of(plain))) if len(plain) >= 64 else None
        return {hashed.group()} & self.ids if hashed else set()

    def _by_whole_name(self, wanted: set[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for image_id, name in zip(self._image_ids, self._names, strict=True):
            if name in wanted:
                found.setdefault(name, set()).add(image_id)
        return found

    def _by_end(self, wanted: set[str]) -> dict[str, set[str]]:
        """The ends of the paths of pictures with one of the wanted file names, and the pictures that have them."""
        found: dict[str, set[str]] = {}
        for image_id, name in zip(self._image_ids, self._names, strict=True) if wanted else ():
            if _name_of(unquote(name.split("?", 1)[0].split("#", 1)[0])) in wanted:
                for end in _ends(_path_of(name)):
                    found.setdefault(end, set()).add(image_id)
        return found

    def _refuse_shared_names(self, matches: Matches) -> None:
        of: dict[str, list[str]] = {}
        for reference, image_id in matches.by_name.items():
            of.setdefault(image_id, []).append(reference)
        for references in of.values():
            if len({_path_of(reference) for reference in references}) > 1:
                for reference in references:
                    del matches.by_name[reference]
                    matches.ambiguous.append(reference)


def _note(matches: Matches, reference: str, image_ids: set[str]) -> None:
    if not image_ids:
        matches.unknown.append(reference)
    elif len(image_ids) > 1:
        matches.ambiguous.append(reference)
    else:
        matches.found[reference] = next(iter(image_ids))


def _longest_end(reference: str, ends: dict[str, set[str]]) -> tuple[set[str], bool]:
    """The pictures whose path ends as the reference does, by the longest end there is, and whether that is the bare name."""
    for path in _paths_of(reference):
        own = _ends(path)
        for number, end in enumerate(own):
            if end in ends:
                # a bare file name agrees wholly; with folders before it, only its end does
                return ends[end], number == len(own) - 1 and len(own) > 1
    return set(), False


def _paths_of(reference: str) -> list[str]:
    """The path of a reference; then without what an upload to Label Studio puts before the file name."""
    path = _path_of(reference)
    folder, slash, name = path.rpartition("/")
    bare = _UPLOAD.sub("", name)
    return [path] if bare == name else [path, folder + slash + bare]


def _path_of(reference: str) -> str:
    """The path in an address, an S3 key or a file name: no scheme or signature, the host as first folder, %20 as a space."""
    reference = reference.strip().replace("\\", "/")
    if "/data/local-files" in reference:  # Label Studio: the path is in ?d=
        return parse_qs(urlsplit(reference).query).get("d", [""])[0]
    scheme, found, rest = reference.partition("://")
    path = unquote((rest if found else reference).split("?", 1)[0].split("#", 1)[0])
    return path.partition("/")[2] if found and scheme == "s3" else path


def _name_of(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _ends(path: str) -> list[str]:
    """The path and its ends, longest first: `a/b/c.jpg`, `b/c.jpg`, `c.jpg`; at most six folders deep."""
    parts = [part for part in path.split("/") if part not in ("", ".")][-6:]
    return ["/".join(parts[start:]) for start in range(len(parts))]
