-- name: group
SELECT seq, ended, called_off FROM @.groups WHERE id = %s FOR NO KEY UPDATE

-- name: bounds
-- Of groups, how many more members they take: none where they have ended or were called off.
SELECT id, CASE WHEN ended IS NOT NULL OR called_off THEN 0 ELSE most - total END FROM @.groups
WHERE id = ANY (%s::text[]) AND (most IS NOT NULL OR ended IS NOT NULL OR called_off)

-- name: add_group
INSERT INTO @.groups (id, created) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING

-- name: open
INSERT INTO @.groups (id, created, open, most) VALUES (%s, %s, true, %s) ON CONFLICT (id) DO NOTHING

-- name: seal
UPDATE @.groups SET open = false WHERE id = %s AND open

-- name: join
UPDATE @.groups SET total = total + it.members FROM unnest(%s::bigint[], %s::bigint[]) AS it (seq, members)
WHERE groups.seq = it.seq

-- name: collect
UPDATE @.groups SET collects = true WHERE seq = %s AND NOT collects

-- name: count
UPDATE @.groups SET succeeded = groups.succeeded + it.succeeded, failed = groups.failed + it.failed,
       cancelled = groups.cancelled + it.cancelled
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS it (seq, succeeded, failed, cancelled)
WHERE groups.seq = it.seq

-- name: over
-- Of these groups, notes and returns those whose last member has ended.
UPDATE @.groups SET ended = %s
WHERE seq = ANY (%s::bigint[]) AND ended IS NULL AND NOT open AND total <= succeeded + failed + cancelled
RETURNING seq, id, total, failed, cancelled, called_off

-- name: tied
-- Of leased jobs, those that are still ours.
SELECT jobs.seq, jobs.number, task, lane, grp, (SELECT collects FROM @.groups WHERE groups.seq = jobs.grp)
FROM unnest(%s::bigint[], %s::bigint[]) AS it (seq, number)
JOIN @.jobs ON jobs.seq = it.seq AND jobs.number = it.number WHERE state = 2 ORDER BY jobs.seq FOR UPDATE OF jobs

-- name: ending
-- What is known of jobs that are about to end, or have just ended, without a worker.
SELECT seq, id, task, tied, grp FROM @.jobs WHERE tied > 1 AND seq = ANY (%s::bigint[])

-- name: waited_for
-- A job that another one is to wait for. It is locked, so that it does not end before the other one is there.
SELECT seq, id, task, state, tied, grp, result FROM @.jobs
WHERE seq BETWEEN %(place)s::bigint AND %(place)s::bigint + 99 AND id = %(id)s FOR SHARE

-- name: waiting
SELECT seq, id, task, queue, lane, due, tied, grp, after, key, body FROM @.jobs
WHERE state = -2 AND after = ANY (%s::bigint[]) ORDER BY seq FOR UPDATE

-- name: release
UPDATE @.jobs SET state = 0, due = it.due, given = it.given
FROM unnest(%s::bigint[], %s::float8[], %s::bytea[]) AS it (seq, due, given) WHERE jobs.seq = it.seq

-- name: cancelled_with
-- Jobs that were cancelled because of the one they waited for.
SELECT seq, id, tied, grp, key, errors, body FROM @.jobs WHERE state = 5 AND after = %s FOR UPDATE

-- name: wait_again
UPDATE @.jobs SET state = -2, due = %s, finished = NULL, errors = NULL WHERE seq = %s

-- name: uncount
UPDATE @.groups SET succeeded = succeeded - %s, failed = failed - %s, cancelled = cancelled - %s WHERE seq = %s

-- name: reopen
UPDATE @.groups SET ended = NULL, called_off = false WHERE seq = %s AND ended IS NOT NULL

-- name: load
SELECT seq, id, created, total, succeeded, failed, cancelled, open, called_off, ended FROM @.groups
WHERE id = ANY (%s::text[])

-- name: running
SELECT jobs.grp, count(*) FROM @.leases, unnest(leases.jobs) AS held (seq) JOIN @.jobs ON jobs.seq = held.seq
WHERE jobs.grp = ANY (%s::bigint[]) AND jobs.state = 2 AND jobs.number = leases.number GROUP BY jobs.grp

-- name: call_off
UPDATE @.groups SET called_off = true, open = false WHERE id = %s AND ended IS NULL

-- name: unfinished
SELECT seq, id, state, key FROM @.jobs
WHERE grp = %s AND seq > %s AND finished IS NULL AND NOT (state = 2 AND cancelling) ORDER BY seq LIMIT %s FOR UPDATE

-- name: members
-- Follows `record` of the jobs.
JOIN (SELECT ended_members.seq, ended_members.finished AS at FROM @.ended_members
      WHERE grp = (SELECT seq FROM @.groups WHERE id = %s) AND (finished, seq) > (%s, %s)
      ORDER BY finished, seq LIMIT %s) AS ended USING (seq)
ORDER BY ended.at, ended.seq

-- name: results
SELECT result FROM @.jobs WHERE grp = (SELECT seq FROM @.groups WHERE id = %s) ORDER BY seq

-- name: outdated
-- Groups that ended long ago, and for which nobody waits any more.
SELECT seq, id, collects FROM @.groups WHERE ended <= %s
AND NOT EXISTS (SELECT 1 FROM @.jobs WHERE jobs.after = -groups.seq AND state < 3) ORDER BY ended LIMIT %s

-- name: drop_members
DELETE FROM @.jobs WHERE seq IN (SELECT seq FROM @.jobs WHERE grp = %s AND state > 2 LIMIT %s)

-- name: drop_keys
-- Of the nodes of a search: they begin with the id of its group.
DELETE FROM @.keys WHERE key >= %(id)s::text || ':' AND key < %(id)s::text || ';'

-- name: drop_ended
DELETE FROM @.ended_members WHERE grp = %s

-- name: drop
DELETE FROM @.groups WHERE seq = %s
