-- crowd.db as version 1 made it, frozen, with a row of each kind. PostgreSQL said DOUBLE PRECISION and SERIAL.
CREATE TABLE hit_type (
    hit_type_id TEXT NOT NULL,
    requester TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    keywords TEXT,
    reward TEXT NOT NULL,
    assignment_duration INTEGER NOT NULL,
    auto_approval_delay INTEGER NOT NULL,
    requirements TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (hit_type_id)
);
CREATE TABLE qualification_type (
    seq INTEGER NOT NULL,
    qualification_type_id TEXT NOT NULL,
    requester TEXT NOT NULL,
    name TEXT NOT NULL,
    keywords TEXT,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    test TEXT,
    answer_key TEXT,
    test_duration INTEGER,
    retry_delay INTEGER,
    auto_granted BOOLEAN NOT NULL,
    auto_granted_value INTEGER,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (requester, name),
    UNIQUE (qualification_type_id)
);
CREATE TABLE request_token (
    requester TEXT NOT NULL,
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    result_id TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (requester, operation, token)
);
CREATE TABLE requester_key (
    access_key_id TEXT NOT NULL,
    secret TEXT NOT NULL,
    requester TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    revoked_at DOUBLE,
    PRIMARY KEY (access_key_id)
);
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE worker (
    worker_id TEXT NOT NULL,
    name TEXT NOT NULL,
    simulated BOOLEAN NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (worker_id)
);
CREATE TABLE hit (
    seq INTEGER NOT NULL,
    hit_id TEXT NOT NULL,
    hit_type_id TEXT NOT NULL,
    requester TEXT NOT NULL,
    question TEXT NOT NULL,
    annotation TEXT,
    max_assignments INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    reviewing BOOLEAN NOT NULL,
    created_at DOUBLE NOT NULL,
    expires_at DOUBLE NOT NULL,
    disposed_at DOUBLE,
    PRIMARY KEY (seq),
    UNIQUE (hit_id),
    FOREIGN KEY(hit_type_id) REFERENCES hit_type (hit_type_id)
);
CREATE INDEX hit_open ON hit (hit_type_id, expires_at);
CREATE INDEX hit_requester ON hit (requester, seq);
CREATE TABLE qualification (
    qualification_type_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    value INTEGER NOT NULL,
    status TEXT NOT NULL,
    granted_at DOUBLE NOT NULL,
    PRIMARY KEY (qualification_type_id, worker_id),
    FOREIGN KEY(worker_id) REFERENCES worker (worker_id)
);
CREATE TABLE test_run (
    run_id TEXT NOT NULL,
    qualification_type_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    score INTEGER,
    submitted_at DOUBLE NOT NULL,
    PRIMARY KEY (run_id),
    FOREIGN KEY(worker_id) REFERENCES worker (worker_id)
);
CREATE INDEX test_run_worker ON test_run (qualification_type_id, worker_id);
CREATE TABLE worker_session (
    token_hash TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (token_hash),
    FOREIGN KEY(worker_id) REFERENCES worker (worker_id)
);
CREATE TABLE assignment (
    assignment_id TEXT NOT NULL,
    hit_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    status TEXT NOT NULL,
    accepted_at DOUBLE NOT NULL,
    deadline DOUBLE NOT NULL,
    submitted_at DOUBLE,
    auto_approve_at DOUBLE,
    approved_at DOUBLE,
    rejected_at DOUBLE,
    answer TEXT,
    feedback TEXT,
    PRIMARY KEY (assignment_id),
    UNIQUE (hit_id, worker_id),
    FOREIGN KEY(hit_id) REFERENCES hit (hit_id),
    FOREIGN KEY(worker_id) REFERENCES worker (worker_id)
);
CREATE INDEX assignment_auto_approve ON assignment (status, auto_approve_at);
CREATE INDEX assignment_deadline ON assignment (status, deadline);
CREATE INDEX assignment_worker ON assignment (worker_id, status);
INSERT INTO schema_version VALUES (1);
INSERT INTO requester_key VALUES ('CKOLD', 'secret', 'team', 1.5, NULL);
INSERT INTO worker VALUES ('A1', 'Bo', FALSE, 2.5);
INSERT INTO worker VALUES ('A2', 'Cy', FALSE, 2.75);
INSERT INTO worker_session VALUES ('hash', 'A1', 3.5);
INSERT INTO hit_type VALUES ('3TYPE', 'team', 'Look', 'Say', NULL, '0.10', 600, 3600, '[]', 4.5);
INSERT INTO hit (hit_id, hit_type_id, requester, question, max_assignments, taken, pending, judged, reviewing, created_at, expires_at) VALUES ('3HIT', '3TYPE', 'team', '<q/>', 3, 2, 1, 1, FALSE, 5.5, 9e9);
INSERT INTO assignment VALUES ('3DONE', '3HIT', 'A1', 'Approved', 6.0, 7.0, 6.5, 8.0, 7.5, NULL, '<answer/>', 'good');
INSERT INTO assignment VALUES ('3OPEN', '3HIT', 'A2', 'Accepted', 6.0, 9e9, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO qualification_type (qualification_type_id, requester, name, description, status, auto_granted, created_at) VALUES ('3QUAL', 'team', 'Entry', 'Test', 'Active', FALSE, 9.5);
INSERT INTO qualification VALUES ('3QUAL', 'A1', 90, 'Granted', 10.5);
INSERT INTO test_run VALUES ('3RUN', '3QUAL', 'A1', '<a/>', 90, 10.5);
INSERT INTO test_run VALUES ('3WAITS', '3QUAL', 'A2', '<a/>', NULL, 11.5);
INSERT INTO request_token VALUES ('team', 'CreateHIT', 'token', '3HIT', 5.5);
