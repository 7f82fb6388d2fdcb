-- name: now
SELECT coalesce(%s, extract(epoch FROM clock_timestamp())::float8)

-- name: begin_alone
-- The moment, once no other transaction is under way that changes what jobs are tied to.
SELECT pg_advisory_xact_lock(%s), coalesce(%s, extract(epoch FROM clock_timestamp())::float8)

-- name: begin_within
-- The moment, in a transaction of somebody's own. Who waits is told with its commit, however late that is.
SELECT coalesce(%s, extract(epoch FROM clock_timestamp())::float8), pg_notify(%s, %s)

-- name: put
SELECT @.put_1(%s, %s::bigint[], %s::text[], %s::text[], %s::integer[], %s::text[], %s::float8[], %s::float8[],
               %s::float8[], %s::bytea[])

-- name: put_one
-- With values in PostgreSQL's binary format.
SELECT @.put_one_2($1::float8, $2::bigint, $3::text, $4::text, $5::integer, $6::text, $7::float8, $8::float8,
                   $9::float8, $10::bytea)

-- name: copy
-- The moment, and jobs in PostgreSQL's binary format: brokers/postgres/copying.py. `bundle` follows.
SELECT coalesce({fixed}::float8, extract(epoch FROM clock_timestamp())::float8);
COPY @.jobs (seq, id, body, enqueued, due, rank, state, queue, task) FROM STDIN (FORMAT binary)

-- name: bundle
; SELECT @.bundle_2(convert_from(decode('{queue}', 'hex'), 'UTF8'), {rank}, '{{{places}}}')

-- name: break_up_first
-- Of jobs that were put by hundreds, lets as many be leased one by one as are wanted.
SELECT @.break_up_first_2(%s::text[], %s::integer)

-- name: break_up_of
SELECT @.break_up_of_2(%s::bigint[])

-- name: exchange
SELECT * FROM @.exchange_2(%s, %s::bigint[], %s::bigint[], %s::bytea[], %s, %s::bigint[], %s::bigint[],
                           %s::text[], %s::text[], %s::bigint[], %s, %s::text[], %s, %s)

-- name: put_tied
-- Returns what was not there before.
INSERT INTO @.jobs (seq, id, queue, rank, state, task, enqueued, due, expires, key, body, tied, lane, grp, after)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::integer[], %s::smallint[], %s::text[], %s::float8[],
                     %s::float8[], %s::float8[], %s::text[], %s::bytea[], %s::smallint[], %s::text[], %s::bigint[],
                     %s::bigint[])
ON CONFLICT (seq) DO NOTHING
RETURNING seq

-- name: find_place
-- Whether the job is there, and the first free place for it where it is not.
SELECT (SELECT seq FROM @.jobs WHERE seq BETWEEN %(place)s::bigint AND %(place)s::bigint + 99 AND id = %(id)s),
       (SELECT max(seq) + 1 FROM @.jobs WHERE seq BETWEEN %(place)s::bigint AND %(place)s::bigint + 99)

-- name: there
-- The places of jobs that are there already.
SELECT jobs.id FROM unnest(%s::bigint[], %s::text[]) AS it (place, id)
JOIN @.jobs ON jobs.seq BETWEEN it.place AND it.place + 99 AND jobs.id = it.id

-- name: queue_up
-- Puts queued jobs where leasing finds them, now or when they are due.
WITH it AS (
    SELECT queue, coalesce(lane, '') AS lane, rank, seq, expires, due FROM @.jobs
    WHERE seq = ANY (%(jobs)s::bigint[]) AND state = 0
), now_ready AS (
    INSERT INTO @.ready (queue, lane, rank, seq, expires)
    SELECT queue, lane, rank, seq, expires FROM it WHERE due <= %(now)s ON CONFLICT DO NOTHING
)
INSERT INTO @.delayed (due, seq, expires) SELECT due, seq, expires FROM it WHERE due > %(now)s ON CONFLICT DO NOTHING

-- name: take_out_of_delayed
-- The reverse, in two statements: one that becomes due at this moment is seen by the second.
DELETE FROM @.delayed WHERE (due, seq) IN (SELECT due, seq FROM @.jobs WHERE seq = ANY (%s::bigint[]))

-- name: take_out_of_ready
-- Who is about to lease one has locked it, and finds that the job is queued no more.
DELETE FROM @.ready WHERE ctid = ANY (ARRAY(
    SELECT ready.ctid FROM @.jobs JOIN @.ready
    ON ready.queue = jobs.queue AND ready.lane = coalesce(jobs.lane, '') AND ready.rank = jobs.rank
       AND ready.seq = jobs.seq
    WHERE jobs.seq = ANY (%s::bigint[]) FOR UPDATE OF ready SKIP LOCKED))

-- name: claim_keys
-- Takes keys that nobody holds, and waits for who is about to take or free one. Returns those that were free.
INSERT INTO @.keys (key, job, seq, until)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::float8[]) AS it (key, job, seq, until) ORDER BY key
ON CONFLICT (key) DO NOTHING RETURNING key

-- name: holders
SELECT keys.key, keys.job, keys.until, keys.seq FROM @.keys WHERE key = ANY (%s::text[]) ORDER BY key FOR UPDATE

-- name: holder
SELECT keys.job, keys.until, jobs.seq, jobs.state
FROM @.keys LEFT JOIN @.jobs ON jobs.seq = keys.seq AND jobs.id = keys.job WHERE keys.key = %s FOR UPDATE OF keys

-- name: take_key
INSERT INTO @.keys (key, job, seq, until) VALUES (%s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET job = excluded.job, seq = excluded.seq, until = excluded.until

-- name: lock_queued
SELECT 1 FROM @.jobs WHERE seq = %s AND state = 0 FOR UPDATE

-- name: rewrite
UPDATE @.jobs SET queue = %s, rank = %s, task = %s, enqueued = %s, due = %s, expires = %s, body = %s, lane = %s,
       tied = (tied & ~1) | %s
WHERE seq = %s

-- name: chores
-- What a lease has to see to first: lapsed leases, delayed jobs that are due, paused queues, lanes.
SELECT EXISTS (SELECT 1 FROM @.leases WHERE until <= %(now)s),
       EXISTS (SELECT 1 FROM @.delayed WHERE due <= %(now)s),
       EXISTS (SELECT 1 FROM @.paused),
       EXISTS (SELECT 1 FROM @.lanes)

-- name: lapsed
SELECT number, worker, jobs FROM @.leases WHERE until <= %s ORDER BY number FOR UPDATE SKIP LOCKED

-- name: lapsed_jobs
SELECT seq, attempt, lost, cancelling, errors, body, key, id, tied, lane, queue FROM @.jobs
WHERE state = 2 AND number = %s AND seq = ANY (%s::bigint[]) ORDER BY seq FOR UPDATE

-- name: count_lost
UPDATE @.jobs SET lost = lost + 1 WHERE seq = %s

-- name: promote
-- Returns the lanes of what is ready now, each with its queue.
WITH it AS (
    DELETE FROM @.delayed WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM @.delayed WHERE due <= %s ORDER BY due, seq LIMIT 4000 FOR UPDATE SKIP LOCKED))
    RETURNING seq
), now_ready AS (
    INSERT INTO @.ready (queue, lane, rank, seq, expires)
    SELECT queue, coalesce(lane, ''), rank, seq, expires FROM @.jobs
    WHERE seq = ANY (ARRAY(SELECT seq FROM it)) AND state = 0
    ON CONFLICT DO NOTHING RETURNING queue, lane
)
SELECT DISTINCT lane, queue FROM now_ready WHERE lane <> ''

-- name: paused
SELECT queue FROM @.paused ORDER BY queue

-- name: due
-- Rows of one line of a queue, the next first; those that another worker is about to lease are passed over.
SELECT jobs.id, jobs.seq, jobs.body, jobs.attempt + 1, jobs.lost, jobs.tied, jobs.key, jobs.expires, jobs.given
FROM @.ready JOIN @.jobs ON jobs.seq = ready.seq AND jobs.state = 0
WHERE ready.queue = %s AND ready.lane = %s ORDER BY ready.rank, ready.seq LIMIT %s OFFSET %s
FOR UPDATE OF ready SKIP LOCKED

-- name: hold
INSERT INTO @.leases (worker, until, jobs) VALUES (%s, %s, %s::bigint[]) RETURNING number

-- name: start
-- Returns those that were queued still.
UPDATE @.jobs SET state = 2, number = %s, attempt = attempt + 1, started = %s
WHERE seq = ANY (%s::bigint[]) AND state = 0 RETURNING seq

-- name: extend
UPDATE @.leases SET until = %s WHERE number = ANY (%s::bigint[]) AND worker = %s RETURNING number

-- name: cancelled
SELECT id, seq, number FROM @.jobs WHERE cancelling AND state = 2 AND seq = ANY (%s::bigint[])

-- name: release
DELETE FROM @.leases WHERE number = ANY (%s::bigint[])

-- name: finish
UPDATE @.jobs SET state = 3, finished = %s, cancelling = false, result = it.result
FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS it (seq, number, result)
WHERE jobs.seq = it.seq AND jobs.number = it.number AND state = 2

-- name: note_ended
-- In their groups, those members that have just ended.
INSERT INTO @.ended_members (grp, finished, seq)
SELECT grp, finished, seq FROM @.jobs WHERE seq = ANY (%s::bigint[]) AND grp IS NOT NULL AND finished IS NOT NULL
ON CONFLICT DO NOTHING

-- name: forget_ended
DELETE FROM @.ended_members WHERE (grp, finished, seq) IN
(SELECT grp, finished, seq FROM @.jobs WHERE seq = ANY (%s::bigint[]) AND grp IS NOT NULL)

-- name: drop
DELETE FROM @.jobs USING unnest(%s::bigint[], %s::bigint[]) AS it (seq, number)
WHERE jobs.seq = it.seq AND jobs.number = it.number AND state = 2

-- name: report
-- What is not told anew stays as it is.
UPDATE @.jobs SET progress = coalesce(it.progress, jobs.progress), logs = coalesce(it.logs, jobs.logs)
FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[]) AS it (seq, number, progress, logs)
WHERE jobs.seq = it.seq AND jobs.number = it.number AND state = 2

-- name: running
SELECT attempt, cancelling, errors, lane, queue FROM @.jobs WHERE state = 2 AND seq = %s AND number = %s FOR UPDATE

-- name: end
-- Without a new history of errors the job keeps the one that it has.
UPDATE @.jobs SET state = %s, finished = %s, cancelling = false, errors = coalesce(%s, errors) WHERE seq = %s

-- name: requeue
UPDATE @.jobs SET state = 0, due = %s, attempt = %s, lost = %s, errors = %s, cancelling = false, started = NULL
WHERE seq = %s

-- name: delete
DELETE FROM @.jobs WHERE seq = ANY (%s::bigint[])

-- name: free_keys_of
-- The keys of jobs that have finished or are gone; one that is held for a time or for ever stays.
DELETE FROM @.keys USING unnest(%s::text[], %s::text[]) AS it (key, job)
WHERE keys.key = it.key AND keys.job = it.job AND keys.until = 0
AND NOT EXISTS (SELECT 1 FROM @.jobs WHERE jobs.seq = keys.seq AND jobs.id = it.job AND jobs.state < 3)

-- name: keep
-- Records of jobs that have ended in another broker. Returns those that were written: not where another job stands, one
-- of our own that has not ended, or the record of a success or of a later attempt.
INSERT INTO @.jobs (seq, id, queue, rank, state, task, enqueued, due, body, attempt, lost, started, finished, result,
                    errors, progress, logs)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::integer[], %s::smallint[], %s::text[], %s::float8[],
                     %s::float8[], %s::bytea[], %s::integer[], %s::integer[], %s::float8[], %s::float8[], %s::bytea[],
                     %s::bytea[], %s::bytea[], %s::bytea[])
ON CONFLICT (seq) DO UPDATE
SET attempt = excluded.attempt, lost = excluded.lost, state = excluded.state, body = excluded.body,
    started = excluded.started, finished = excluded.finished, result = excluded.result, errors = excluded.errors,
    progress = excluded.progress, logs = excluded.logs
WHERE jobs.id = excluded.id AND jobs.state > 3 AND jobs.attempt <= excluded.attempt
RETURNING seq, id, finished

-- name: retain
INSERT INTO @.retention (until, finished, jobs) VALUES (%s, %s, %s::bigint[])

-- name: outdated
SELECT batch, finished, jobs FROM @.retention WHERE until <= %s ORDER BY until LIMIT %s FOR UPDATE SKIP LOCKED

-- name: prune
DELETE FROM @.jobs WHERE state > 2 AND finished = %s AND seq = ANY (%s::bigint[]) RETURNING seq, grp

-- name: forget_members
DELETE FROM @.ended_members USING unnest(%s::bigint[], %s::bigint[]) AS it (seq, grp)
WHERE ended_members.grp = it.grp AND ended_members.seq = it.seq

-- name: forget_batch
DELETE FROM @.retention WHERE batch = %s

-- name: overdue
SELECT seq, id, key, tied FROM @.jobs WHERE state = 0 AND seq = ANY (ARRAY(
    SELECT seq FROM (SELECT seq, expires FROM @.ready WHERE expires <= %(now)s
                     UNION ALL SELECT seq, expires FROM @.delayed WHERE expires <= %(now)s) AS late
    ORDER BY expires LIMIT %(limit)s))
ORDER BY seq FOR UPDATE SKIP LOCKED

-- name: sign_in
INSERT INTO @.workers (id, until, info) VALUES (%s, %s, %s)
ON CONFLICT (id) DO UPDATE SET until = excluded.until, info = excluded.info

-- name: sign_off
DELETE FROM @.workers WHERE id = %s

-- name: bury_workers
DELETE FROM @.workers WHERE until <= %s

-- name: free_keys
-- Keys whose time is over.
DELETE FROM @.keys WHERE until > 0 AND until <= %s

-- name: workers
SELECT info FROM @.workers WHERE until > coalesce(%s, extract(epoch FROM clock_timestamp())::float8) ORDER BY id

-- name: anything_ready
-- Whether something is ready, and else the seconds until something may be.
SELECT EXISTS (SELECT 1 FROM unnest(%(queues)s::text[]) AS it (queue)
               WHERE NOT EXISTS (SELECT 1 FROM @.paused WHERE paused.queue = it.queue)
               AND (EXISTS (SELECT 1 FROM @.ready WHERE ready.queue = it.queue AND ready.lane = '')
                    OR EXISTS (SELECT 1 FROM @.bundles WHERE bundles.queue = it.queue)
                    OR EXISTS (SELECT 1 FROM @.arrivals WHERE arrivals.queue = it.queue)
                    OR EXISTS (SELECT 1 FROM @.turns WHERE turns.queue = it.queue AND opens = 0))),
       least((SELECT min(due) FROM @.delayed), (SELECT min(until) FROM @.leases),
             (SELECT min(opens) FROM @.turns WHERE opens > 0))
       - coalesce(%(now)s, extract(epoch FROM clock_timestamp())::float8)

-- name: record
SELECT jobs.id, task, queue, state, rank, attempt, lost, enqueued, due, started, finished,
       CASE WHEN state = 2 THEN (SELECT leases.worker FROM @.leases WHERE leases.number = jobs.number) END,
       key, expires, cancelling, body, result, errors, progress, lane,
       (SELECT groups.id FROM @.groups WHERE groups.seq = jobs.grp), logs
FROM @.jobs

-- name: of_ids
-- Follows `record`.
JOIN unnest(%(places)s::bigint[], %(ids)s::text[]) AS it (place, wanted) ON jobs.seq = it.place AND jobs.id = it.wanted

-- name: of_ids_aside
-- Follows `record`: jobs that stand beside the one that has their place.
JOIN unnest(%(places)s::bigint[], %(ids)s::text[]) AS it (place, wanted)
ON jobs.seq BETWEEN it.place + 1 AND it.place + 99 AND jobs.id = it.wanted

-- name: counts
SELECT queue, state, count(*) FROM @.jobs GROUP BY queue, state

-- name: changeable
SELECT seq, id, state, key, body, tied, lane, grp, queue, errors FROM @.jobs
WHERE seq BETWEEN %(place)s::bigint AND %(place)s::bigint + 99 AND id = %(id)s FOR UPDATE

-- name: ask_to_stop
UPDATE @.jobs SET cancelling = true WHERE seq = ANY (%s::bigint[])

-- name: retry
UPDATE @.jobs SET state = 0, due = %s, attempt = 0, lost = 0, started = NULL, finished = NULL, result = NULL,
       progress = NULL, logs = NULL, expires = NULL, cancelling = false
WHERE seq = %s

-- name: purgeable
SELECT seq, id, key, tied FROM @.jobs
WHERE queue = %s AND state = ANY (%s::smallint[]) LIMIT 5000 FOR UPDATE SKIP LOCKED

-- name: pause
INSERT INTO @.paused (queue) VALUES (%s) ON CONFLICT DO NOTHING

-- name: resume
DELETE FROM @.paused WHERE queue = %s
