"""The tables of crowd.db. Times are seconds since 1970, UTC. Money is the text that the requester sent ("0.10").

A HIT's status is never stored: `rules.status` derives it from its counts and the time. What is here is version VERSION;
`migrations.py` brings an older database to it.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = 3

tables = MetaData()
_FREE = "disposed_at IS NULL AND taken < max_assignments"

schema_version = Table("schema_version", tables, Column("version", Integer, primary_key=True))

keys = Table(
    "requester_key",
    tables,
    Column("access_key_id", Text, primary_key=True),
    Column("secret", Text, nullable=False),  # SigV4 is an HMAC: the server has to know it
    Column("requester", Text, nullable=False),  # the account: keys of one name see the same HITs
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

workers = Table(
    "worker",
    tables,
    Column("worker_id", Text, primary_key=True),
    Column("name", Text, nullable=False),  # what the person typed; never leaves this database
    Column("simulated", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("language", Text),  # en, es, pt: of messages; missing = the browser's
    Column("country", Text),  # ISO 3166, as the person or the panel said; what Locale requirements ask
    Column("subdivision", Text),  # ISO 3166-2 without the country
    Column("merged_into", Text),  # the worker who is the same person
    Column("came_by", Text),  # name, email, invitation: NOTE, panel NAME
    Column("forgotten_at", Double),  # name, e-mail, devices and addresses are gone since
)

sessions = Table(
    "worker_session",
    tables,
    Column("token_hash", Text, primary_key=True),  # sha256 of the cookie: a stolen database opens no session
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("device", Text),  # keyed hash of a cookie that outlives sessions: two workers on one device share it
    Column("address", Text),  # keyed hash of the network address
    Index("worker_session_worker", "worker_id"),
    Index("worker_session_device", "device"),
    Index("worker_session_address", "address"),
)

emails = Table(
    "worker_email",
    tables,
    Column("email", Text, primary_key=True),  # lower case
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("verified_at", Double, nullable=False),
)

email_codes = Table(
    "email_code",  # sent to somebody who signs up or comes back by e-mail; spent once
    tables,
    Column("code_hash", Text, primary_key=True),
    Column("email", Text, nullable=False),
    Column("name", Text),  # of a new worker
    Column("address", Text),  # as in worker_session, of whoever asked for it
    Column("tries", Integer, nullable=False),  # wrong codes typed so far
    Column("created_at", Double, nullable=False),
    Column("spent_at", Double),
    Index("email_code_email", "email", "created_at"),
)

invitations = Table(
    "invitation",
    tables,
    Column("code_hash", Text, primary_key=True),  # sha256 of what stands in the link
    Column("note", Text, nullable=False),  # for whom, in the owner's words
    Column("worker_id", Text),  # a link that lets this worker in again, on a new device
    Column("uses", Integer, nullable=False),  # how many people may still come with it
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("revoked_at", Double),
)

panels = Table(
    "panel",  # where strangers are recruited: Prolific, Connect, any other by its address templates
    tables,
    Column("panel", Text, primary_key=True),  # stands in the arrival address: /arrive/PANEL?…
    Column("worker_parameter", Text, nullable=False),  # PROLIFIC_PID, participantId, …
    Column("study_parameter", Text),
    Column("session_parameter", Text),
    Column("completion_url", Text),  # with {code}, {worker}, {study}, {session}; missing = the code is shown
    Column("completion_code", Text),  # one for all; missing = one per worker
    Column("min_assignments", Integer, nullable=False),  # to be submitted before somebody is done
    Column("created_at", Double, nullable=False),
    Column("closed_at", Double),
)

arrivals = Table(
    "arrival",
    tables,
    Column("panel", Text, ForeignKey("panel.panel"), primary_key=True),
    Column("panel_worker", Text, primary_key=True),  # who they are at the panel; never leaves this database
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("study", Text),
    Column("session", Text),
    Column("arrived_at", Double, nullable=False),
    Column("left_at", Double),
    Index("arrival_worker", "worker_id"),
)

consents = Table(
    "consent",
    tables,
    Column("worker_id", Text, ForeignKey("worker.worker_id"), primary_key=True),
    Column("version", Text, primary_key=True),
    Column("text_hash", Text, nullable=False),  # of exactly the words that were shown
    Column("accepted_at", Double, nullable=False),
)

settings = Table(
    "setting",  # of this crowd: its secret, the consent text, who may sign up, where mail goes out
    tables,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

qualification_types = Table(
    "qualification_type",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("qualification_type_id", Text, nullable=False, unique=True),
    Column("requester", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("keywords", Text),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("test", Text),
    Column("answer_key", Text),
    Column("test_duration", Integer),
    Column("retry_delay", Integer),  # missing = the test can be taken once
    Column("auto_granted", Boolean, nullable=False),
    Column("auto_granted_value", Integer),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("requester", "name"),
)

qualifications = Table(
    "qualification",
    tables,
    Column("qualification_type_id", Text, primary_key=True),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), primary_key=True),
    Column("value", Integer, nullable=False),
    Column("status", Text, nullable=False),  # Granted, Revoked
    Column("granted_at", Double, nullable=False),
)

test_runs = Table(
    "test_run",  # every time somebody took a test; without an AnswerKey it waits for the requester
    tables,
    Column("run_id", Text, primary_key=True),  # the QualificationRequestId
    Column("qualification_type_id", Text, nullable=False),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("answer", Text, nullable=False),  # empty for a request of a type without a test
    Column("score", Integer),
    Column("submitted_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # Pending (waits for the requester), Granted, Rejected
    Column("judged_at", Double),
    Column("reason", Text),  # of a rejection, as the worker reads it
    Index("test_run_worker", "qualification_type_id", "worker_id"),
)

test_starts = Table(
    "test_start",  # when somebody saw the questions first: the test's time runs from there
    tables,
    Column("qualification_type_id", Text, primary_key=True),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), primary_key=True),
    Column("started_at", Double, nullable=False),
)

hit_types = Table(
    "hit_type",
    tables,
    Column("hit_type_id", Text, primary_key=True),  # hash of all below: equal values are the same type
    Column("requester", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("keywords", Text),
    Column("reward", Text, nullable=False),
    Column("assignment_duration", Integer, nullable=False),
    Column("auto_approval_delay", Integer, nullable=False),
    Column("requirements", Text, nullable=False),  # JSON list of QualificationRequirement
    Column("created_at", Double, nullable=False),
)

hits = Table(
    "hit",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("hit_id", Text, nullable=False, unique=True),
    Column("hit_type_id", Text, ForeignKey("hit_type.hit_type_id"), nullable=False),
    Column("requester", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("annotation", Text),
    Column("max_assignments", Integer, nullable=False),
    Column("taken", Integer, nullable=False),  # assignments accepted and not given back: never above max_assignments
    Column("pending", Integer, nullable=False),  # of them not yet submitted
    Column("judged", Integer, nullable=False),  # of them approved or rejected
    Column("reviewing", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("disposed_at", Double),
    Column("layout_id", Text),  # the HIT layout that made the question
    Column("assignment_review_policy", Text),  # JSON, as the requester sent it
    Column("hit_review_policy", Text),
    Column("expiry_due", Double),  # expires_at until that moment has been noticed, then missing
    Column("review_waiting", Boolean),  # the HIT-level policy has to run once nothing more can come in
    Index("hit_expiry", "expiry_due"),
    Index("hit_review", "review_waiting", "expires_at"),
    # of the HITs that somebody can still accept, the oldest first: thousands that are done cost nothing
    Index("hit_free", "hit_type_id", "seq", "expires_at", sqlite_where=text(_FREE), postgresql_where=text(_FREE)),
    Index("hit_requester", "requester", "seq"),
)

assignments = Table(
    "assignment",
    tables,
    Column("assignment_id", Text, primary_key=True),  # random: whoever knows it may submit it
    Column("hit_id", Text, ForeignKey("hit.hit_id"), nullable=False),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("status", Text, nullable=False),  # Accepted, Abandoned, Returned, Submitted, Approved, Rejected
    Column("accepted_at", Double, nullable=False),
    Column("deadline", Double, nullable=False),
    Column("submitted_at", Double),
    Column("auto_approve_at", Double),
    Column("approved_at", Double),
    Column("rejected_at", Double),
    Column("answer", Text),
    Column("feedback", Text),
    Column("device", Text),  # as in worker_session, of the page that submitted
    Column("address", Text),
    UniqueConstraint("hit_id", "worker_id"),  # one assignment per worker per HIT, whatever the code above does
    Index("assignment_deadline", "status", "deadline"),
    Index("assignment_auto_approve", "status", "auto_approve_at"),
    Index("assignment_worker", "worker_id", "status"),
)

tokens = Table(
    "request_token",
    tables,
    Column("requester", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("token", Text, primary_key=True),
    Column("result_id", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("request_token_created", "created_at"),
)

drafts = Table(
    "draft",  # what somebody has answered in a HIT that is not submitted yet; gone once it is
    tables,
    Column("assignment_id", Text, ForeignKey("assignment.assignment_id"), primary_key=True),
    Column("field", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("seconds", Double),
    Column("saved_at", Double, nullable=False),
)

blocks = Table(
    "worker_block",
    tables,
    Column("requester", Text, primary_key=True),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

bonuses = Table(
    "bonus",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("requester", Text, nullable=False),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("assignment_id", Text, ForeignKey("assignment.assignment_id"), nullable=False),
    Column("amount", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("granted_at", Double, nullable=False),
    Index("bonus_assignment", "assignment_id"),
    Index("bonus_worker", "worker_id"),
)

messages = Table(
    "message",  # the worker's inbox: from requesters (NotifyWorkers), and what the crowd itself has to say
    tables,
    Column("seq", Integer, primary_key=True),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("requester", Text),  # missing = the crowd
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("read_at", Double),
    Column("mailed_at", Double),  # handed to the mail server, where one is configured
    Column("mail_tries", Integer, nullable=False),
    Index("message_worker", "worker_id", "seq"),
)

notification_settings = Table(
    "notification_setting",
    tables,
    Column("hit_type_id", Text, ForeignKey("hit_type.hit_type_id"), primary_key=True),
    Column("destination", Text, nullable=False),
    Column("transport", Text, nullable=False),  # SQS, SNS, Email
    Column("version", Text, nullable=False),
    Column("event_types", Text, nullable=False),  # JSON list
    Column("active", Boolean, nullable=False),
)

events = Table(
    "event",  # written with what it tells about, sent afterwards: a killed server loses none
    tables,
    Column("seq", Integer, primary_key=True),
    Column("transport", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON, as MTurk sent it
    Column("created_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", Double, nullable=False),
    Index("event_waiting", "sent_at", "next_try_at"),
)

layouts = Table(
    "hit_layout",
    tables,
    Column("layout_id", Text, primary_key=True),
    Column("requester", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("html", Text, nullable=False),  # with ${parameter}
    Column("frame_height", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)

review_results = Table(
    "review_result",  # what a review policy found, and what it did
    tables,
    Column("seq", Integer, primary_key=True),
    Column("hit_id", Text, ForeignKey("hit.hit_id"), nullable=False),
    Column("level", Text, nullable=False),  # Assignment, HIT
    Column("kind", Text, nullable=False),  # result, action
    Column("body", Text, nullable=False),  # JSON: the ReviewResultDetail or ReviewActionDetail
    Index("review_result_hit", "hit_id", "level", "seq"),
)
