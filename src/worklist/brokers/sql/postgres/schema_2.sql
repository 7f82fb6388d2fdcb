-- Jobs that are put by hundreds stand in bundles, until they are leased. docs/decisions/0013.
--
-- A row of `ready` costs as much as the job's own row, and more once it is locked, deleted and vacuumed. Of jobs that
-- are tied to nothing, due at once and never too late, put in one call, one row holds 25. Leasing takes bundles,
-- and leaves the rest of the last one; who wants less than one bundle breaks it up: turns it into rows of `ready`.
CREATE TABLE @.bundles (
    queue text COLLATE "C" NOT NULL,
    rank  integer NOT NULL,
    seq   bigint NOT NULL,                   -- of the first of its jobs
    jobs  bigint[] NOT NULL,                 -- in order
    PRIMARY KEY (queue, rank, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 100000);

-- To find what has failed. A job that succeeds at once leaves its errors as they are, none, so that its row stays where
-- it is (a HOT update).
CREATE INDEX jobs_with_errors ON @.jobs (seq) WHERE errors IS NOT NULL;

-- Room for all three versions of a row of usual size: 50 left a little less, and one in ten moved to another page.
ALTER TABLE @.jobs SET (fillfactor = 45);

-- Some hundred numbers are not worth the time to compress them.
ALTER TABLE @.leases SET (toast_tuple_target = 8160);
ALTER TABLE @.leases ALTER jobs SET STORAGE EXTERNAL;
ALTER TABLE @.retention SET (toast_tuple_target = 8160);
ALTER TABLE @.retention ALTER jobs SET STORAGE EXTERNAL;

-- Bundles jobs of one queue and rank that have just been added, and tells who waits for them.
CREATE FUNCTION @.bundle_2(the_queue text, the_rank integer, places bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO @.bundles (queue, rank, seq, jobs)
    SELECT the_queue, the_rank, places[first], places[first:first + 24]
    FROM generate_series(1, cardinality(places), 25) AS it (first);
    PERFORM @.tell_1(ARRAY['q' || the_queue]);
END $$;

-- Breaks up bundles that nobody else is about to lease or break up.
CREATE FUNCTION @.break_up_2(these tid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (
        DELETE FROM @.bundles WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM @.bundles WHERE ctid = ANY (these) FOR UPDATE SKIP LOCKED))
        RETURNING queue, rank, jobs
    )
    INSERT INTO @.ready (queue, lane, rank, seq)
    SELECT gone.queue, '', gone.rank, it.seq FROM gone, unnest(gone.jobs) AS it (seq)
    ON CONFLICT DO NOTHING;
END $$;

-- Breaks up the first bundles of queues, enough for as many jobs as are wanted of each.
CREATE FUNCTION @.break_up_first_2(queues text[], wanted integer) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
    the_queue text;
    some_bundles tid[];
    needed integer;
BEGIN
    FOREACH the_queue IN ARRAY queues LOOP
        needed := wanted;
        WHILE needed > 0 LOOP
            SELECT array_agg(it.ctid), needed - sum(cardinality(it.jobs)) INTO some_bundles, needed
            FROM (SELECT bundles.ctid, jobs FROM @.bundles WHERE queue = the_queue ORDER BY rank, seq
                  LIMIT (needed + 24) / 25 FOR UPDATE SKIP LOCKED) AS it;
            EXIT WHEN some_bundles IS NULL;
            PERFORM @.break_up_2(some_bundles);
        END LOOP;
    END LOOP;
END $$;

-- Breaks up the bundles of jobs that are to be taken out of their queue. Those that another one is about to lease are
-- passed over: it finds that the job is queued no more. Where bundles of several putters lie across each other, the one
-- that was begun last before the job is looked at first, and is nearly always the right one.
CREATE FUNCTION @.break_up_of_2(places bigint[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    bundled bigint[];
BEGIN
    IF EXISTS (SELECT 1 FROM @.bundles) THEN
        bundled := ARRAY(
            SELECT jobs.seq FROM @.jobs
            WHERE jobs.seq = ANY (places) AND jobs.state = 0 AND jobs.tied = 0 AND jobs.key IS NULL
            AND jobs.expires IS NULL AND jobs.due = jobs.enqueued
            AND NOT EXISTS (SELECT 1 FROM @.ready WHERE ready.queue = jobs.queue AND ready.lane = ''
                            AND ready.rank = jobs.rank AND ready.seq = jobs.seq));
        PERFORM @.break_up_2(ARRAY(
            SELECT DISTINCT found.ctid
            FROM @.jobs CROSS JOIN LATERAL (
                SELECT bundles.ctid FROM @.bundles
                WHERE bundles.queue = jobs.queue AND bundles.rank = jobs.rank AND bundles.seq <= jobs.seq
                AND jobs.seq = ANY (bundles.jobs)
                ORDER BY bundles.seq DESC LIMIT 1) AS found
            WHERE jobs.seq = ANY (bundled)));
    END IF;
END $$;

-- Puts one job that is tied to nothing and has no key. Returns whether it was added.
CREATE FUNCTION @.put_one_2(at float8, the_seq bigint, the_id text, the_queue text, the_rank integer, the_task text,
                            delay float8, eta float8, expiry float8, the_body bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    moment float8 := coalesce(at, extract(epoch FROM clock_timestamp())::float8);
    due_at float8 := moment;
BEGIN
    IF delay <> 0 OR eta <> 0 THEN
        due_at := greatest(moment + delay, eta);
    END IF;
    INSERT INTO @.jobs (seq, id, queue, rank, state, task, enqueued, due, expires, body)
    VALUES (the_seq, the_id, the_queue, the_rank, 0, the_task, moment, due_at, moment + expiry, the_body)
    ON CONFLICT (seq) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF due_at <= moment THEN
        INSERT INTO @.ready (queue, lane, rank, seq, expires) VALUES (the_queue, '', the_rank, the_seq, moment + expiry);
    ELSE
        INSERT INTO @.delayed (due, seq, expires) VALUES (due_at, the_seq, moment + expiry);
    END IF;
    PERFORM @.tell_1(ARRAY['q' || the_queue]);
    RETURN true;
END $$;

-- Does what exchange_1 did, and leases bundles, too. `place` says in which order.
CREATE FUNCTION @.exchange_2(at float8, done bigint[], numbers bigint[], results bytea[], keep float8,
                             dropped bigint[], dropped_numbers bigint[], freed text[], holders text[],
                             emptied bigint[], worker text, queues text[], wanted integer, seconds float8)
RETURNS TABLE (place bigint, id text, seq bigint, body bytea, attempt integer, lost integer, number bigint,
               tied smallint, key text, given bytea)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    moment float8 := coalesce(at, extract(epoch FROM clock_timestamp())::float8);
    the_queue text;
    some_rows tid[];
    some_jobs bigint[];
    some_late boolean;
    bundles_ahead refcursor;
    bundle record;
    last_seq bigint;
    room integer;
    next_rank integer;  -- where in the queue the next row of `ready` may stand
    next_seq bigint;
    picked_bundles tid[] := '{}';
    picked_rows tid[] := '{}';
    picked bigint[] := '{}';
    this_lease bigint;
BEGIN
    IF wanted > 0 THEN
        IF EXISTS (SELECT 1 FROM @.delayed WHERE due <= moment) THEN
            WITH it AS (
                DELETE FROM @.delayed WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM @.delayed WHERE due <= moment ORDER BY due, delayed.seq LIMIT 4000
                    FOR UPDATE SKIP LOCKED))
                RETURNING delayed.seq
            ), now_ready AS (
                INSERT INTO @.ready (queue, lane, rank, seq, expires)
                SELECT jobs.queue, coalesce(jobs.lane, ''), jobs.rank, jobs.seq, jobs.expires FROM @.jobs
                WHERE jobs.seq = ANY (ARRAY(SELECT it.seq FROM it)) AND jobs.state = 0
                ON CONFLICT DO NOTHING RETURNING ready.queue, ready.lane
            )
            INSERT INTO @.arrivals (lane, queue, burst)
            SELECT DISTINCT now_ready.lane, now_ready.queue, 1 FROM now_ready WHERE now_ready.lane <> '';
        END IF;
        IF EXISTS (SELECT 1 FROM @.leases WHERE until <= moment)
           OR EXISTS (SELECT 1 FROM @.arrivals)
           OR EXISTS (SELECT 1 FROM @.turns WHERE opens > 0 AND opens <= moment)
           OR EXISTS (SELECT 1 FROM @.turns WHERE queue = ANY (queues) AND opens = 0) THEN
            RETURN NEXT;
            RETURN;
        END IF;
        FOREACH the_queue IN ARRAY queues LOOP
            EXIT WHEN cardinality(picked) >= wanted;
            CONTINUE WHEN EXISTS (SELECT 1 FROM @.paused WHERE queue = the_queue);
            next_rank := -2147483648;
            next_seq := 0;
            OPEN bundles_ahead FOR
                SELECT bundles.ctid AS place, rank, bundles.seq, jobs FROM @.bundles
                WHERE queue = the_queue ORDER BY rank, bundles.seq FOR UPDATE SKIP LOCKED;
            WHILE cardinality(picked) < wanted LOOP
                FETCH bundles_ahead INTO bundle;
                IF NOT FOUND THEN  -- one that stands for the end
                    SELECT NULL::tid AS place, 2147483647 AS rank, 9223372036854775807 AS seq,
                           ARRAY[9223372036854775807] AS jobs INTO bundle;
                END IF;
                last_seq := bundle.jobs[cardinality(bundle.jobs)];
                IF (next_rank, next_seq) < (bundle.rank, last_seq) THEN
                    SELECT array_agg(it.ctid), array_agg(it.seq), bool_or(it.expires <= moment)
                    INTO some_rows, some_jobs, some_late
                    FROM (SELECT ready.ctid, ready.seq, ready.expires FROM @.ready
                          WHERE ready.queue = the_queue AND ready.lane = ''
                          AND (ready.rank, ready.seq) >= (next_rank, next_seq)
                          AND (ready.rank, ready.seq) < (bundle.rank, bundle.seq)
                          ORDER BY ready.rank, ready.seq LIMIT wanted - cardinality(picked)
                          FOR UPDATE SKIP LOCKED) AS it;
                    IF some_late THEN
                        RETURN NEXT;
                        RETURN;
                    END IF;
                    picked_rows := picked_rows || coalesce(some_rows, '{}');
                    picked := picked || coalesce(some_jobs, '{}');
                    EXIT WHEN cardinality(picked) >= wanted;
                    SELECT ready.rank, ready.seq INTO next_rank, next_seq FROM @.ready  -- the next one after that
                    WHERE ready.queue = the_queue AND ready.lane = ''
                    AND (ready.rank, ready.seq) >= (bundle.rank, bundle.seq)
                    ORDER BY ready.rank, ready.seq LIMIT 1 FOR UPDATE SKIP LOCKED;
                    IF NOT FOUND THEN
                        next_rank := 2147483647;
                        next_seq := 9223372036854775807;
                    END IF;
                END IF;
                EXIT WHEN bundle.place IS NULL;
                room := wanted - cardinality(picked);
                IF (next_rank, next_seq) < (bundle.rank, last_seq) OR wanted < cardinality(bundle.jobs) THEN
                    PERFORM @.break_up_2(ARRAY[bundle.place]);
                    IF (bundle.rank, bundle.seq) < (next_rank, next_seq) THEN
                        next_rank := bundle.rank;
                        next_seq := bundle.seq;
                    END IF;
                ELSE
                    picked_bundles := picked_bundles || bundle.place;
                    picked := picked || bundle.jobs[1:room];
                    IF room < cardinality(bundle.jobs) THEN
                        INSERT INTO @.bundles (queue, rank, seq, jobs)
                        VALUES (the_queue, bundle.rank, bundle.jobs[room + 1], bundle.jobs[room + 1:]);
                    END IF;
                END IF;
            END LOOP;
            CLOSE bundles_ahead;
        END LOOP;
    END IF;
    IF cardinality(done) + cardinality(dropped) = 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);  -- a lease that a crash takes back has harmed nobody
    ELSE
        PERFORM @.tell_1(ARRAY['results']);
    END IF;
    IF cardinality(done) > 0 THEN
        UPDATE @.jobs SET state = 3, finished = moment, cancelling = false, result = it.result
        FROM unnest(done, numbers, results) AS it (seq, number, result)
        WHERE jobs.seq = it.seq AND jobs.number = it.number AND jobs.state = 2;
        INSERT INTO @.retention (until, finished, jobs) VALUES (moment + keep, moment, done);
    END IF;
    IF cardinality(dropped) > 0 THEN
        DELETE FROM @.jobs USING unnest(dropped, dropped_numbers) AS it (seq, number)
        WHERE jobs.seq = it.seq AND jobs.number = it.number AND jobs.state = 2;
    END IF;
    IF cardinality(freed) > 0 THEN
        DELETE FROM @.keys USING unnest(freed, holders) AS it (key, job)
        WHERE keys.key = it.key AND keys.job = it.job AND keys.until = 0
        AND NOT EXISTS (SELECT 1 FROM @.jobs WHERE jobs.seq = keys.seq AND jobs.id = it.job AND jobs.state < 3);
    END IF;
    IF cardinality(emptied) > 0 THEN
        DELETE FROM @.leases WHERE leases.number = ANY (emptied);
    END IF;
    IF cardinality(picked) > 0 THEN
        IF cardinality(picked_rows) > 0 THEN
            DELETE FROM @.ready WHERE ctid = ANY (picked_rows);
        END IF;
        IF cardinality(picked_bundles) > 0 THEN
            DELETE FROM @.bundles WHERE ctid = ANY (picked_bundles);
        END IF;
        INSERT INTO @.leases (worker, until, jobs) VALUES (worker, moment + seconds, picked)
        RETURNING leases.number INTO this_lease;
        RETURN QUERY
        UPDATE @.jobs SET state = 2, number = this_lease, attempt = jobs.attempt + 1, started = moment
        FROM unnest(picked) WITH ORDINALITY AS it (seq, place)
        WHERE jobs.seq = it.seq AND jobs.state = 0
        RETURNING it.place, jobs.id, jobs.seq, jobs.body, jobs.attempt, jobs.lost, jobs.number, jobs.tied, jobs.key,
                  jobs.given;
    END IF;
END $$;

-- Workers of the version before, which know of no bundles, find what is in them, too.
ALTER FUNCTION @.exchange_1(float8, bigint[], bigint[], bytea[], float8, bigint[], bigint[], text[], text[], bigint[], text,
                              text[], integer, float8)
RENAME TO exchange_without_bundles;
CREATE FUNCTION @.exchange_1(at float8, done bigint[], numbers bigint[], results bytea[], keep float8,
                             dropped bigint[], dropped_numbers bigint[], freed text[], holders text[],
                             emptied bigint[], worker text, queues text[], wanted integer, seconds float8)
RETURNS TABLE (id text, seq bigint, body bytea, attempt integer, lost integer, number bigint, tied smallint,
               key text, given bytea)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM @.break_up_first_2(queues, wanted);
    RETURN QUERY SELECT * FROM @.exchange_without_bundles(at, done, numbers, results, keep, dropped, dropped_numbers,
                                                          freed, holders, emptied, worker, queues, wanted, seconds);
END $$;
