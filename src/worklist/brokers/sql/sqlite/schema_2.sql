-- Lanes, groups, jobs that wait for others, schedules, and what jobs log.
--
-- jobs.state also: -1 ready in a lane ("queued"), -2 waiting for a job or a group.
-- Everything here is empty for a job that is tied to nothing; the queue's own index does not see tied jobs.
ALTER TABLE jobs ADD COLUMN tied INTEGER NOT NULL DEFAULT 0;  -- bits: 1 in a lane, 2 in a group, 4 jobs wait for it
ALTER TABLE jobs ADD COLUMN lane TEXT;
ALTER TABLE jobs ADD COLUMN grp INTEGER;                      -- groups.seq
ALTER TABLE jobs ADD COLUMN after INTEGER;                    -- the jobs.seq, or minus the groups.seq, that it waits for
ALTER TABLE jobs ADD COLUMN given BLOB;                       -- the result of the job that it waited for
ALTER TABLE jobs ADD COLUMN logs BLOB;

CREATE INDEX jobs_in_lane ON jobs (lane, queue, rank, seq) WHERE state = -1;
CREATE INDEX jobs_of_group ON jobs (grp, finished, seq) WHERE grp IS NOT NULL;
CREATE INDEX jobs_after ON jobs (after) WHERE after IS NOT NULL;

-- What a lane may do, and how much of it is taken. docs/decisions/0010.
CREATE TABLE lanes (
    name        TEXT PRIMARY KEY,
    rate        REAL,                       -- jobs a second; NULL: any number
    burst       INTEGER NOT NULL DEFAULT 1,
    concurrency INTEGER,                    -- NULL: any number
    weight      REAL NOT NULL DEFAULT 1.0,
    pinned      INTEGER NOT NULL DEFAULT 0, -- set by hand, so that what tasks declare no longer counts
    paused      REAL NOT NULL DEFAULT 0.0,  -- until when; infinite: until resumed
    running     INTEGER NOT NULL DEFAULT 0,
    spent       REAL NOT NULL DEFAULT 0.0   -- the time by which all tokens spent so far are earned
) WITHOUT ROWID;

-- One row for each lane with ready jobs in a queue. Leasing reads those that are open, by turn.
CREATE TABLE turns (
    lane  TEXT NOT NULL,
    queue TEXT NOT NULL,
    turn  REAL NOT NULL,                    -- the lowest is served next, and moves on by 1 / weight
    opens REAL NOT NULL DEFAULT 0.0,        -- 0: open; a time: closed until then; infinite: until something changes
    PRIMARY KEY (lane, queue)
) WITHOUT ROWID;
CREATE INDEX turns_open ON turns (queue, turn, lane) WHERE opens = 0;
CREATE INDEX turns_closed ON turns (opens) WHERE opens > 0;

-- Where the turns of a queue stand, and when those jobs are served that are in no lane.
CREATE TABLE rounds (
    queue TEXT PRIMARY KEY,
    turn  REAL NOT NULL,
    plain REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE groups (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given again, since members may be kept for longer
    id        TEXT NOT NULL UNIQUE,
    created   REAL NOT NULL,
    total     INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,   -- or expired
    open      INTEGER NOT NULL DEFAULT 0,   -- members may still come from outside
    most      INTEGER,                      -- how many members it takes; NULL: any number
    collects  INTEGER NOT NULL DEFAULT 0,   -- results are kept for the job that waits for them
    called_off INTEGER NOT NULL DEFAULT 0,
    ended     REAL
);
CREATE INDEX groups_ended ON groups (ended) WHERE ended IS NOT NULL;

CREATE TABLE schedules (
    name  TEXT PRIMARY KEY,
    due   REAL NOT NULL,                    -- the next fire time; infinite: never, as when it is paused
    last  REAL,                             -- the last one that gave a job
    body  BLOB NOT NULL
) WITHOUT ROWID;
