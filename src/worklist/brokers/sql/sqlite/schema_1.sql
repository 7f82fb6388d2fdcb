-- The first schema. A later one is a file schema_2.sql that turns this one into the next; see brokers/sqlite/file.py.
--
-- jobs.state: 0 ready, 1 delayed (both "queued"), 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired.
-- Small columns stand before the large ones, so that reading them never touches an overflow page.
CREATE TABLE jobs (
    seq        INTEGER PRIMARY KEY,         -- the time in the id, so that ids need no index of their own;
                                            -- a little more where another job has that very nanosecond
    id         TEXT NOT NULL,
    queue      TEXT NOT NULL,
    rank       INTEGER NOT NULL,            -- minus the priority
    state      INTEGER NOT NULL,
    number     INTEGER NOT NULL DEFAULT 0,  -- of the lease that holds it, or held it last: the fence
    attempt    INTEGER NOT NULL DEFAULT 0,
    lost       INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    task       TEXT NOT NULL,
    enqueued   REAL NOT NULL,
    due        REAL NOT NULL,
    started    REAL,
    finished   REAL,
    expires    REAL,
    key        TEXT,
    body       BLOB NOT NULL,
    result     BLOB,
    errors     BLOB,
    progress   BLOB
);
-- Leasing reads this one alone. Whatever is delayed, running or finished is not in it.
CREATE INDEX jobs_ready ON jobs (queue, rank, seq) WHERE state = 0;
CREATE INDEX jobs_delayed ON jobs (due) WHERE state = 1;
CREATE INDEX jobs_expiring ON jobs (expires) WHERE expires IS NOT NULL AND state < 2;
CREATE INDEX jobs_unlucky ON jobs (state, seq) WHERE state > 3;

-- One row for each lease call, not for each job: to renew a lease costs one row however many jobs it holds.
CREATE TABLE leases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    worker TEXT NOT NULL,
    until  REAL NOT NULL,
    jobs   TEXT NOT NULL                    -- JSON array of seq
);

-- One row for each settle call and period: which jobs to remove when. Costs a job no index of its own.
CREATE TABLE retention (
    batch    INTEGER PRIMARY KEY,
    until    REAL NOT NULL,
    finished REAL NOT NULL,
    jobs     TEXT NOT NULL                  -- JSON array of seq
);
CREATE INDEX retention_by_time ON retention (until);

CREATE TABLE keys (
    key   TEXT PRIMARY KEY,
    job   TEXT NOT NULL,                    -- jobs.id of the holder
    seq   INTEGER NOT NULL,                 -- and its jobs.seq
    until REAL NOT NULL                     -- 0: until the holder has finished
) WITHOUT ROWID;

CREATE TABLE workers (
    id    TEXT PRIMARY KEY,
    until REAL NOT NULL,
    info  BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;
