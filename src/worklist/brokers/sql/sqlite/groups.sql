-- name: group
SELECT seq, ended, called_off FROM groups WHERE id = ?;

-- name: bounds
-- Of groups, how many more members they take: none where they have ended or were called off.
SELECT id, CASE WHEN ended IS NOT NULL OR called_off THEN 0 ELSE most - total END FROM groups
WHERE id IN (SELECT value FROM json_each(?)) AND (most IS NOT NULL OR ended IS NOT NULL OR called_off);

-- name: add_group
INSERT INTO groups (id, created) VALUES (?, ?);

-- name: open
INSERT INTO groups (id, created, open, most) VALUES (?, ?, 1, ?) ON CONFLICT (id) DO NOTHING;

-- name: seal
UPDATE groups SET open = 0 WHERE id = ? AND open = 1;

-- name: join
UPDATE groups SET total = total + ? WHERE seq = ?;

-- name: collect
UPDATE groups SET collects = 1 WHERE seq = ?;

-- name: count
UPDATE groups SET succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ? WHERE seq = ?;

-- name: over
-- Of these groups, those whose last member has ended.
SELECT seq, id, total, failed, cancelled, called_off FROM groups
WHERE seq IN (SELECT value FROM json_each(?)) AND ended IS NULL AND open = 0
AND total <= succeeded + failed + cancelled;

-- name: end
UPDATE groups SET ended = ? WHERE seq = ?;

-- name: tied
-- Of the leased jobs of one number, those that are still ours.
SELECT seq, task, lane, grp, (SELECT collects FROM groups WHERE groups.seq = jobs.grp) FROM jobs
WHERE state = 2 AND number = ? AND seq IN (SELECT value FROM json_each(?));

-- name: ending
-- What is known of jobs that are about to end, or have just ended, without a worker.
SELECT seq, id, task, tied, grp FROM jobs WHERE tied > 1 AND seq IN (SELECT value FROM json_each(?));

-- name: waited_for
-- A job that another one is to wait for.
SELECT seq, id, task, state, tied, grp, result FROM jobs WHERE seq BETWEEN ?1 AND ?1 + 99 AND id = ?2;

-- name: waiting
SELECT seq, id, task, queue, lane, due, tied, grp, after, key, body FROM jobs
WHERE state = -2 AND after IN (SELECT value FROM json_each(?)) ORDER BY seq;

-- name: release
UPDATE jobs SET state = ?, due = ?, given = ? WHERE seq = ?;

-- name: cancelled_with
-- Jobs that were cancelled because of the one they waited for.
SELECT seq, id, tied, grp, key, errors, body FROM jobs WHERE state = 5 AND after = ?;

-- name: wait_again
UPDATE jobs SET state = -2, due = ?, finished = NULL, errors = NULL WHERE seq = ?;

-- name: uncount
UPDATE groups SET succeeded = succeeded - ?, failed = failed - ?, cancelled = cancelled - ? WHERE seq = ?;

-- name: reopen
UPDATE groups SET ended = NULL, called_off = 0 WHERE seq = ? AND ended IS NOT NULL;

-- name: load
SELECT seq, id, created, total, succeeded, failed, cancelled, open, called_off, ended FROM groups WHERE id = ?;

-- name: running
SELECT COUNT(*) FROM leases, json_each(leases.jobs) AS held JOIN jobs ON jobs.seq = held.value
WHERE jobs.grp = ? AND jobs.state = 2 AND jobs.number = leases.number;

-- name: call_off
UPDATE groups SET called_off = 1, open = 0 WHERE id = ? AND ended IS NULL;

-- name: unfinished
SELECT seq, id, state, key FROM jobs
WHERE grp = ? AND finished IS NULL AND NOT (state = 2 AND cancelling = 1) LIMIT ?;

-- name: members
-- Follows `record` of the jobs.
WHERE jobs.grp = (SELECT seq FROM groups WHERE id = ?) AND (jobs.finished, jobs.seq) > (?, ?)
ORDER BY jobs.finished, jobs.seq LIMIT ?

-- name: results
SELECT result FROM jobs WHERE grp = (SELECT seq FROM groups WHERE id = ?) ORDER BY seq;

-- name: outdated
-- Groups that ended long ago, and for which nobody waits any more.
SELECT seq, id, collects FROM groups WHERE ended <= ?1
AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.after = -groups.seq AND state < 3) ORDER BY ended LIMIT ?2;

-- name: drop_members
DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE grp = ? AND state > 2 LIMIT ?);

-- name: drop_keys
-- Of the nodes of a search: they begin with the id of its group.
DELETE FROM keys WHERE key >= ?1 || ':' AND key < ?1 || ';';

-- name: drop
DELETE FROM groups WHERE seq = ?;
