"""AnswerFormatRegex: what a free text must look like, in the requester's words.

Matched with RE2 (pyarrow brings it), whose time grows with the text alone: no requester's expression can stop the server. What RE2
does not have, looking ahead or back and repeating a group's match, is refused when the HIT or test is created.
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.crowd.server.errors import BadXml

_FLAGS = {"i": "i", "m": "m", "s": "s", "g": "", "u": ""}  # JavaScript's, of which the last two change no verdict


@dataclass(frozen=True)
class Pattern:
    """One expression, and what to tell somebody whose text does not match."""

    expression: str
    message: str

    def matches(self, text: str) -> bool:
        """Whether the expression is found anywhere in the text."""
        import pyarrow
        import pyarrow.compute

        found = pyarrow.compute.match_substring_regex(pyarrow.scalar(text), self.expression)
        return bool(found.as_py())


def read(regex: str, flags: str, message: str, where: str) -> Pattern:
    """The pattern; raises BadXml where it cannot be matched here."""
    import pyarrow

    if unknown := [letter for letter in flags if letter not in _FLAGS]:
        raise BadXml(f"{where}: AnswerFormatRegex: the flag {unknown[0]!r} is none of {', '.join(_FLAGS)}")
    letters = "".join(sorted({_FLAGS[letter] for letter in flags}))
    pattern = Pattern(f"(?{letters}){regex}" if letters else regex, message)
    try:
        pattern.matches("")
    except (pyarrow.ArrowInvalid, UnicodeEncodeError) as error:
        raise BadXml(f"{where}: AnswerFormatRegex {regex[:80]!r} cannot be used: {error}") from None
    return pattern
