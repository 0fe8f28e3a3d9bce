"""/healthz: whether the server answers and its store does."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from curate.crowd.server.schema import schema_version
from curate.crowd.server.store import Store

_log = logging.getLogger("curate.crowd")


async def healthz(request: Request) -> Response:
    """200 with the store's version, or 503."""
    version = await run_in_threadpool(_version, request.app.state.store)
    return JSONResponse({"ok": version is not None, "store_version": version}, 503 if version is None else 200)


def _version(store: Store) -> int | None:
    try:
        with store.reading() as connection:
            return connection.scalar(select(schema_version.c.version))
    except SQLAlchemyError as error:
        _log.warning("the store does not answer: %s", error)
        return None
