-- name: put
-- What is not inserted was put before (the call did not hear the answer), or its place is taken: see find_place.
INSERT INTO jobs (seq, id, queue, rank, state, task, enqueued, due, expires, key, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO NOTHING;

-- name: put_tied
INSERT INTO jobs (seq, id, queue, rank, state, task, enqueued, due, expires, key, body, tied, lane, grp, after)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO NOTHING;

-- name: taken
SELECT EXISTS (SELECT 1 FROM jobs WHERE seq IN (SELECT value FROM json_each(?)));

-- name: find_place
-- Whether the job is there, and the first free place for it where it is not.
SELECT (SELECT seq FROM jobs WHERE seq BETWEEN ?1 AND ?1 + 99 AND id = ?2),
       (SELECT MAX(seq) + 1 FROM jobs WHERE seq BETWEEN ?1 AND ?1 + 99);

-- name: holder
SELECT keys.job, keys.until, jobs.seq, jobs.state
FROM keys LEFT JOIN jobs ON jobs.seq = keys.seq AND jobs.id = keys.job WHERE keys.key = ?;

-- name: take_key
INSERT INTO keys (key, job, seq, until) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET job = excluded.job, seq = excluded.seq, until = excluded.until;

-- name: rewrite
UPDATE jobs SET queue = ?, rank = ?, state = ?, task = ?, enqueued = ?, due = ?, expires = ?, body = ?, lane = ?,
       tied = (tied & ~1) | ?
WHERE seq = ?;

-- name: chores
-- What a lease has to see to first: lapsed leases, delayed jobs that are due, paused queues, lanes.
SELECT EXISTS (SELECT 1 FROM leases WHERE until <= ?1),
       EXISTS (SELECT 1 FROM jobs WHERE state = 1 AND due <= ?1),
       EXISTS (SELECT 1 FROM paused),
       EXISTS (SELECT 1 FROM lanes);

-- name: lapsed
SELECT number, worker, jobs FROM leases WHERE until <= ?;

-- name: let_lapse
UPDATE leases SET until = 0 WHERE EXISTS (
    SELECT 1 FROM jobs WHERE state = 2 AND queue = ? AND number = leases.number
    AND seq IN (SELECT value FROM json_each(leases.jobs)));

-- name: lapsed_jobs
SELECT seq, attempt, lost, cancelling, errors, body, key, id, tied, lane, queue FROM jobs
WHERE state = 2 AND number = ? AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq;

-- name: count_lost
UPDATE jobs SET lost = lost + 1 WHERE seq = ?;

-- name: promote
UPDATE jobs SET state = CASE WHEN lane IS NULL THEN 0 ELSE -1 END
WHERE seq IN (SELECT seq FROM jobs WHERE state = 1 AND due <= ? ORDER BY due LIMIT 4000);

-- name: paused
SELECT queue FROM paused ORDER BY queue;

-- name: due
SELECT id, seq, body, attempt + 1, lost, tied, key, expires, given FROM jobs
WHERE state = 0 AND queue = ? ORDER BY rank, seq LIMIT ?;

-- name: hold
INSERT INTO leases (worker, until, jobs) VALUES (?, ?, ?);

-- name: start
UPDATE jobs SET state = 2, number = ?, attempt = attempt + 1, started = ?
WHERE seq IN (SELECT value FROM json_each(?));

-- name: extend
UPDATE leases SET until = ? WHERE number = ? AND worker = ?;

-- name: cancelled
SELECT id, seq, number FROM jobs WHERE cancelling = 1 AND state = 2 AND seq IN (SELECT value FROM json_each(?));

-- name: release
DELETE FROM leases WHERE number = ?;

-- name: finish_alike
-- Many jobs with one result: a single statement, which lets go of the interpreter's lock only once.
UPDATE jobs SET state = 3, finished = ?, cancelling = 0, result = ?
WHERE state = 2 AND number = ? AND seq IN (SELECT value FROM json_each(?));

-- name: finish
-- Many jobs, each with a result of its own, in a single statement too.
UPDATE jobs SET state = 3, finished = ?, cancelling = 0, result = ended.column2
FROM (VALUES (?, ?)) AS ended
WHERE state = 2 AND jobs.seq = ended.column1 AND number = ?;

-- name: drop
DELETE FROM jobs WHERE state = 2 AND number = ? AND seq IN (SELECT value FROM json_each(?));

-- name: report
-- What is not told anew stays as it is.
UPDATE jobs SET progress = COALESCE(?, progress), logs = COALESCE(?, logs) WHERE state = 2 AND seq = ? AND number = ?;

-- name: running
SELECT attempt, cancelling, errors, lane, queue FROM jobs WHERE state = 2 AND seq = ? AND number = ?;

-- name: end
-- Without a new history of errors the job keeps the one that it has.
UPDATE jobs SET state = ?, finished = ?, cancelling = 0, errors = COALESCE(?, errors) WHERE seq = ?;

-- name: requeue
UPDATE jobs SET state = ?, due = ?, attempt = ?, lost = ?, errors = ?, cancelling = 0, started = NULL WHERE seq = ?;

-- name: delete
DELETE FROM jobs WHERE seq = ?;

-- name: free_key
-- The key of a job that has finished or is gone; one that is held for a time or for ever stays.
DELETE FROM keys WHERE key = ?1 AND job = ?2 AND until = 0
AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.seq = keys.seq AND id = ?2 AND state < 3);

-- name: kept
-- What is there of a job that has ended in another broker.
SELECT state, attempt FROM jobs WHERE seq = ?;

-- name: keep
INSERT OR REPLACE INTO jobs (seq, id, queue, rank, state, task, enqueued, due, body, attempt, lost, started, finished,
       result, errors, progress, logs)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: retain
INSERT INTO retention (until, finished, jobs) VALUES (?, ?, ?);

-- name: outdated
SELECT batch, finished, jobs FROM retention WHERE until <= ? ORDER BY until LIMIT ?;

-- name: prune
DELETE FROM jobs WHERE state > 2 AND finished = ? AND seq IN (SELECT value FROM json_each(?));

-- name: forget_batch
DELETE FROM retention WHERE batch = ?;

-- name: overdue
SELECT seq, id, key, tied FROM jobs
WHERE state < 2 AND expires IS NOT NULL AND expires <= ? AND state > -2 ORDER BY expires LIMIT ?;

-- name: sign_in
INSERT INTO workers (id, until, info) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET until = excluded.until, info = excluded.info;

-- name: sign_off
DELETE FROM workers WHERE id = ?;

-- name: bury_workers
DELETE FROM workers WHERE until <= ?;

-- name: free_keys
-- Keys whose time is over.
DELETE FROM keys WHERE until > 0 AND until <= ?;

-- name: workers
SELECT info FROM workers WHERE until > ? ORDER BY id;

-- name: next_due
SELECT (SELECT MIN(due) FROM jobs WHERE state = 1), (SELECT MIN(until) FROM leases),
       (SELECT MIN(opens) FROM turns WHERE opens > 0);

-- name: anything_ready
SELECT (EXISTS (SELECT 1 FROM jobs WHERE state = 0 AND queue = ?1)
        OR EXISTS (SELECT 1 FROM turns WHERE queue = ?1 AND opens = 0))
AND NOT EXISTS (SELECT 1 FROM paused WHERE queue = ?1);

-- name: record
SELECT jobs.id, task, queue, state, rank, attempt, lost, enqueued, due, started, finished, leases.worker, key,
       expires, cancelling, body, result, errors, progress, lane,
       (SELECT groups.id FROM groups WHERE groups.seq = jobs.grp), logs
FROM jobs LEFT JOIN leases ON leases.number = jobs.number AND state = 2

-- name: of_ids
-- Follows `record`. A JSON array of places, since a statement has room for a limited number of parameters; rows that
-- stand there but have another id are sorted out by the caller.
WHERE seq IN (SELECT value FROM json_each(?))

-- name: of_id
-- Follows `record`.
WHERE seq BETWEEN ?1 AND ?1 + 99 AND jobs.id = ?2

-- name: counts
SELECT queue, state, COUNT(*) FROM jobs GROUP BY queue, state;

-- name: changeable
SELECT seq, id, state, key, body, tied, lane, grp, queue, errors FROM jobs
WHERE seq BETWEEN ?1 AND ?1 + 99 AND id = ?2;

-- name: ask_to_stop
UPDATE jobs SET cancelling = 1 WHERE seq = ?;

-- name: retry
UPDATE jobs SET state = ?, due = ?, attempt = 0, lost = 0, started = NULL, finished = NULL, result = NULL,
       progress = NULL, logs = NULL, expires = NULL, cancelling = 0
WHERE seq = ?;

-- name: purgeable
SELECT seq, id, key, tied FROM jobs
WHERE queue = ? AND state IN (SELECT value FROM json_each(?)) LIMIT 5000;

-- name: pause
INSERT INTO paused (queue) VALUES (?) ON CONFLICT DO NOTHING;

-- name: resume
DELETE FROM paused WHERE queue = ?;
