"""Who answered elsewhere becomes a random A… id on the way in.

The votes hold that id alone. `people.db` beside them says which worker of which tool it is, so that a second file of the
same tool gives the same id and a person can be looked up; it is the only file that names them: leave it out when you hand a
workspace on, and delete a person's row to forget them.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Iterable
from pathlib import Path

from curate.database import connect, migrate, transaction

FILE = "people.db"
_ALPHABET = string.ascii_uppercase + string.digits

_VERSION_1 = """
CREATE TABLE imported_worker (
    tool TEXT NOT NULL,            -- whose ids these are: mturk, label-studio, ground-truth, csv
    name TEXT NOT NULL,            -- as the tool calls the worker: an id, an e-mail
    worker_id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
    PRIMARY KEY (tool, name)
)
"""


def pseudonyms(root: Path, tool: str, names: Iterable[str], here: Collection[str]) -> dict[str, str]:
    """The worker_id of each name: the one it had before, itself where votes here have that worker already, else a new one.

    Amazon's own worker ids look like ours but lead to a person, so that an id's form does not make it a pseudonym.

    Args:
        root: the workspace; its people.db is made or added to.
        here: worker_ids that the votes of this workspace hold.
    """
    wanted = sorted(set(names))
    own = {name: name for name in wanted if name in here}
    if len(own) == len(wanted):
        return own
    path = root / FILE
    connection = connect(path)
    try:
        migrate(connection, (_VERSION_1,), str(path))
        path.chmod(0o600)
        with transaction(connection):
            rows = connection.execute("SELECT name, worker_id FROM imported_worker WHERE tool = ?", (tool,))
            known = {row["name"]: row["worker_id"] for row in rows} | own
            new = {name: _new_id() for name in wanted if name not in known}
            connection.executemany(
                "INSERT INTO imported_worker (tool, name, worker_id) VALUES (?, ?, ?)",
                [(tool, name, worker_id) for name, worker_id in new.items()],
            )
    finally:
        connection.close()
    return {name: (known | new)[name] for name in wanted}


def _new_id() -> str:
    """A random id; never one that looks like a simulated worker's (`ASIM…`)."""
    made = "A" + "".join(secrets.choice(_ALPHABET) for _ in range(13))
    return _new_id() if made.startswith("ASIM") else made
