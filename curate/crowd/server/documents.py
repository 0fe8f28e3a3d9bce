"""XML that requesters send: read without entities, document types or network, and checked against schemas of our own.

The schemas stand in `xsd/`, written from the documented rules. A fault is said with its line and reason.
"""

from __future__ import annotations

import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree

from curate.crowd.server.errors import BadInput, BadXml

MAX_BYTES = 65_535
_BASE = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/"
FORM = tuple(f"{_BASE}{date}/QuestionForm.xsd" for date in ("2005-10-01", "2017-11-06"))
ANSWER_KEY = f"{_BASE}2005-10-01/AnswerKey.xsd"
ANSWERS = f"{_BASE}2005-10-01/QuestionFormAnswers.xsd"
EXTERNAL = f"{_BASE}2006-07-14/ExternalQuestion.xsd"
HTML = f"{_BASE}2011-11-11/HTMLQuestion.xsd"

_FOLDER = Path(__file__).parent / "xsd"
_FIRST = re.compile(rb"\s*(<\?xml[^>]*\?>)?\s*")
_BEFORE_ROOT = re.compile(rb"\s+|<\?(?:[^?]|\?(?!>))*\?>|<!--(?:[^-]|-(?!-))*-->")
_one_at_a_time = threading.Lock()  # a schema keeps the faults of its last document: nobody may read another's


def read_document(xml: str, what: str, *namespaces: str) -> Any:
    """The root element, once the document is valid. `what` names it in errors; `namespaces` are the kinds that may come.

    Raises BadInput above 65,535 bytes, BadXml for anything that is not one of these kinds.
    """
    root = parse(xml, what)
    name = etree.QName(root)
    kinds = {space: space.rsplit("/", 1)[1].removesuffix(".xsd") for space in namespaces}
    if kinds.get(name.namespace or "") != name.localname:
        wanted = " or ".join(sorted(set(kinds.values())))
        raise BadXml(
            f"{what}: <{name.localname}> in namespace {(name.namespace or '')[:200]!r} is not a known {wanted}"
        )
    _validate(root, what, name.namespace)
    return root


def parse(xml: str, what: str) -> Any:
    """The root element of a well-formed document; nothing is fetched, nothing is expanded."""
    try:
        data = xml.removeprefix("\ufeff").encode("utf-8")
    except UnicodeEncodeError:
        raise BadXml(f"{what}: holds half of a character pair (a lone surrogate)") from None
    if len(data) > MAX_BYTES:
        raise BadInput(f"{what}: is {len(data):,} bytes; the largest allowed is {MAX_BYTES:,}")
    data = _without_declaration(data)
    refused = BadXml(f"{what}: a document type is not allowed, nor are entities of its own")
    if _doctype_ahead(data):
        raise refused
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise BadXml(f"{what}: line {error.lineno or 1}: {_short(error.msg or 'not XML')}") from None
    if root.getroottree().docinfo.doctype:
        raise refused
    return root


def _without_declaration(data: bytes) -> bytes:
    """The bytes are UTF-8 by now, whatever encoding the text once declared. Lines keep their numbers."""
    first = _FIRST.match(data)
    assert first is not None
    return b"\n" * first.group().count(b"\n") + data[first.end() :]


def _doctype_ahead(data: bytes) -> bool:
    """Whether a document type stands before the root. Asked before parsing: entities are dangerous while they are read."""
    at = 0
    while skipped := _BEFORE_ROOT.match(data, at):
        at = skipped.end()
    return data[at : at + 9].upper() == b"<!DOCTYPE"


def _validate(root: Any, what: str, namespace: str) -> None:
    with _one_at_a_time:
        schema = _schema(namespace)
        if schema.validate(root):
            return
        fault = schema.error_log[0]
        line, message = fault.line, fault.message
    raise BadXml(f"{what}: line {line}: {_short(message)}")


@cache
def _schema(namespace: str) -> Any:
    """The schema of a namespace, loaded once, from files alone."""
    date, name = namespace.removeprefix(_BASE).removesuffix(".xsd").split("/")
    parser = etree.XMLParser(no_network=True, resolve_entities=False)
    return etree.XMLSchema(etree.parse(str(_FOLDER / f"{name}-{date}.xsd"), parser))


def _short(message: str) -> str:
    """A fault in one short line, without the long namespaces that libxml2 repeats."""
    plain = " ".join(re.sub(r"\{[^}]*\}", "", message).split())
    return plain if len(plain) <= 300 else plain[:299] + "…"
