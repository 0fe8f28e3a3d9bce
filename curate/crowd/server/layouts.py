"""HIT layouts: HTML with places to fill in. On MTurk they were made on its website; here `curate crowd layouts` makes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from curate.crowd.server.documents import HTML
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.questions import parse_question
from curate.crowd.server.schema import keys, layouts
from curate.crowd.server.store import Store, new_id, now, one
from schemas.errors import UserError

_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")


@dataclass(frozen=True)
class Layout:
    """A layout as it is listed."""

    layout_id: str
    requester: str
    name: str
    html: str
    frame_height: int
    created_at: datetime

    @property
    def parameters(self) -> list[str]:
        """The names of the places to fill in, in their order."""
        return parameters_of(self.html)


def parameters_of(html: str) -> list[str]:
    """The names that stand in ${…}, in their order, each once."""
    return list(dict.fromkeys(_PLACE.findall(html)))


def html_question(html: str, frame_height: int) -> str:
    """A page as HTMLQuestion XML."""
    inside = html.replace("]]>", "]]]]><![CDATA[>")
    return (
        f'<HTMLQuestion xmlns="{HTML}"><HTMLContent><![CDATA[{inside}]]></HTMLContent>'
        f"<FrameHeight>{frame_height}</FrameHeight></HTMLQuestion>"
    )


def fill(html: str, parameters: Iterable[Mapping[str, str]]) -> str:
    """The page with every place filled in, as it was sent: like MTurk, nothing is escaped, so values may hold markup.

    Raises BadInput unless each place gets exactly one value, and nothing else gets any.
    """
    places, values = parameters_of(html), {}
    for parameter in parameters:
        if parameter["Name"] in values:
            raise BadInput(f"HITLayoutParameters: {parameter['Name'][:80]!r} is given twice")
        values[parameter["Name"]] = parameter["Value"]
    if missing := [name for name in places if name not in values]:
        raise BadInput(f"HITLayoutParameters: {missing[0]!r} is missing; the layout needs {', '.join(places)}")
    if strange := [name for name in values if name not in places]:
        known = f"it has {', '.join(places)}" if places else "it has none"
        raise BadInput(f"HITLayoutParameters: the layout has no place ${{{strange[0][:80]}}}; {known}")
    return _PLACE.sub(lambda found: values[found.group(1)], html)


def question_of_layout(connection: Connection, requester: str, data: Mapping[str, Any]) -> str:
    """The HTMLQuestion that HITLayoutId and HITLayoutParameters make; checked like one that was sent."""
    mine = (layouts.c.layout_id == data["HITLayoutId"], layouts.c.requester == requester)
    row = one(connection, select(layouts).where(*mine))
    if row is None:
        raise RequestError("HITLayoutDoesNotExist", f"HITLayout {data['HITLayoutId']} does not exist.")
    question = html_question(fill(row.html, data.get("HITLayoutParameters") or []), row.frame_height)
    parse_question(question)
    return question


# ---- for the owner of the crowd


def add(store: Store, requester: str, name: str, html: str, frame_height: int) -> str:
    """Keep a layout; its id. The same page under the same name is the same layout; another page under it is a new one."""
    name = name.strip()
    if not 1 <= len(name) <= 200:
        raise UserError(f"the layout's name must have 1 to 200 characters, got {len(name)}")
    try:
        parse_question(html_question(html, frame_height))
    except RequestError as error:
        raise UserError(f"layout {name!r}: {error.message}") from error
    with store.writing() as connection:
        if one(connection, select(keys.c.requester).where(keys.c.requester == requester).limit(1)) is None:
            raise UserError(f"no requester is called {requester!r}; `curate crowd keys list` shows them")
        same = select(layouts.c.layout_id).where(
            layouts.c.requester == requester,
            layouts.c.name == name,
            layouts.c.html == html,
            layouts.c.frame_height == frame_height,
        )
        if known := connection.scalar(same):
            return str(known)
        values = {"layout_id": new_id(), "requester": requester, "name": name, "html": html}
        connection.execute(insert(layouts).values(**values, frame_height=frame_height, created_at=now()))
        return values["layout_id"]


def listing(store: Store) -> list[Layout]:
    """All layouts, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(layouts).order_by(layouts.c.created_at, layouts.c.layout_id)).all()
    return [_layout(row) for row in rows]


def find(store: Store, wanted: str) -> Layout:
    """A layout by its id, else the newest of that name; raises UserError when there is none."""
    found = [layout for layout in listing(store) if wanted in (layout.layout_id, layout.name)]
    if not found:
        raise UserError(f"no layout is called {wanted!r}; `curate crowd layouts list` shows them")
    return found[-1]


def _layout(row: Any) -> Layout:
    made = datetime.fromtimestamp(row.created_at, UTC)
    return Layout(row.layout_id, row.requester, row.name, row.html, row.frame_height, made)
