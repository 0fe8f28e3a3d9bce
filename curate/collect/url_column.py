"""The addresses in a Parquet file, read by a process of their own: pyarrow would double the memory of a crawl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.errors import UserError


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def urls_of(path: Path, columns: Sequence[str]) -> Iterator[str]:
    """The texts in the first of these columns that a Parquet file has. Raises UserError for a file that has none."""
    words = [sys.executable, "-m", "curate.collect.url_column", str(path), *columns]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = json.loads(line)
            if "error" in said:
                raise UserError(f"{path}: {said['error']}")
            yield from said["urls"]
    if child.returncode:
        raise RuntimeError(f"{path} was not read: its process ended with {child.returncode}")


def _batches(path: str, columns: Sequence[str]) -> Iterator[list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = {name.strip().lower(): name for name in file.schema_arrow.names}
            column = next((names[name] for name in columns if name in names), None)
            if column is None:
                found = ", ".join(list(names)[:8]) or "none"
                raise UserError(f"no column of addresses ({', '.join(columns)}); found {found}")
            for batch in file.iter_batches(10_000, columns=[column]):
                values = batch.column(0).to_pylist()
                if wrong := next((one for one in values if not isinstance(one, str | None)), None):
                    raise UserError(f"column {column} holds {str(wrong)[:40]!r}, which is no address")
                yield [one for one in values if one]
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot be read as Parquet ({' '.join(str(error).split())[:160]})") from error


def main() -> None:
    """`python -m curate.collect.url_column FILE COLUMN…` prints JSON lines: {"urls": […]}, or last {"error": …}."""
    try:
        for urls in _batches(sys.argv[1], sys.argv[2:]):
            print(json.dumps({"urls": urls}))
    except UserError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
