"""What an import of files did, for the line that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from curate.collect.files import reasons
from curate.collect.intake import Counts, Intake, failed_pictures
from curate.collect.known import Known
from schemas.errors import Partial


@dataclass(frozen=True)
class Outcome:
    """What an import did."""

    counts: Counts
    pictures: int  # different ones that are there
    known: Known
    skipped: int  # what was no picture and left alone
    failed: list[tuple[str, int]]  # why pictures are not there
    vanished: int = 0
    notes: list[str] = field(default_factory=list)


def outcome_of(intake: Intake, known: Known, skipped: int = 0, vanished: int = 0) -> Outcome:
    """Count what a run of a source did."""
    failed = list(failed_pictures(intake.db, intake.source, intake.at))
    return Outcome(intake.counts, intake.pictures(), known, skipped, failed, vanished)


def finish(done: Outcome) -> str:
    """What an import did, in one line. Raises Partial when some pictures are not there."""
    counts = done.counts
    said = f"{counts.rows} listings, {counts.new} of them new; {done.pictures} pictures"
    notes = (
        (counts.changed, "changed"), (done.known.labels, "with a known class"),
        (done.known.torn, "under two classes, so with none"), (done.skipped, "others left alone"),
        (counts.forgotten, "forgotten on request"), (done.vanished, "listings no longer there, kept"),
    )  # fmt: skip
    said += "".join(f"; {count} {what}" for count, what in notes if count)
    failed = sum(count for _, count in done.failed)
    told = [f"{counts.bad} rows not taken: {'; '.join(counts.reasons)}"] if counts.bad else []
    told += [f"{failed} pictures failed: {reasons(done.failed)}"] if failed else []
    told += [f"{counts.faults} pictures not named"] if counts.faults else []
    if told:
        raise Partial("; ".join([said, *told]) + ". See failures.parquet")
    return said
