-- The first schema. A later one is a file schema_2.sql that turns this one into the next; see brokers/postgres/schema.py.
-- `@.` stands for the schema that the URL names.
--
-- jobs.state: 0 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired, -2 waiting for a job or a group.
-- A job's row is written when it is put, leased and settled. No index has a column that these change, so that the row
-- stays where it is (a HOT update) and no index grows by them: docs/decisions/0013.
CREATE TABLE @.jobs (
    seq        bigint PRIMARY KEY,           -- the time in the id, so that ids need no index of their own;
                                             -- a little more where another job has that very nanosecond
    number     bigint NOT NULL DEFAULT 0,    -- of the lease that holds it, or held it last: the fence
    grp        bigint,                       -- groups.seq
    after      bigint,                       -- the jobs.seq, or minus the groups.seq, that it waits for
    enqueued   float8 NOT NULL,
    due        float8 NOT NULL,
    started    float8,
    finished   float8,
    expires    float8,
    rank       integer NOT NULL,             -- minus the priority
    attempt    integer NOT NULL DEFAULT 0,
    lost       integer NOT NULL DEFAULT 0,
    state      smallint NOT NULL,
    tied       smallint NOT NULL DEFAULT 0,  -- bits: 1 in a lane, 2 in a group, 4 jobs wait for it
    cancelling boolean NOT NULL DEFAULT false,
    id         text COLLATE "C" NOT NULL,
    queue      text COLLATE "C" NOT NULL,
    task       text COLLATE "C" NOT NULL,
    key        text COLLATE "C",
    lane       text COLLATE "C",
    body       bytea NOT NULL,
    result     bytea,
    given      bytea,                        -- the result of the job that it waited for
    errors     bytea,
    progress   bytea,
    logs       bytea
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
CREATE INDEX jobs_of_group ON @.jobs (grp, seq) WHERE grp IS NOT NULL;
CREATE INDEX jobs_after ON @.jobs (after) WHERE after IS NOT NULL;

-- What may be leased now, and nothing else: leasing reads this one alone. A row is inserted and deleted, never changed.
CREATE TABLE @.ready (
    queue   text COLLATE "C" NOT NULL,
    lane    text COLLATE "C" NOT NULL,       -- '' for none
    rank    integer NOT NULL,
    seq     bigint NOT NULL,
    expires float8,
    PRIMARY KEY (queue, lane, rank, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 100000);
CREATE INDEX ready_expiring ON @.ready (expires) WHERE expires IS NOT NULL;
CREATE INDEX ready_lanes ON @.ready (lane) WHERE lane <> '';

-- What is queued for later.
CREATE TABLE @.delayed (
    due     float8 NOT NULL,
    seq     bigint NOT NULL,
    expires float8,
    PRIMARY KEY (due, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delayed_expiring ON @.delayed (expires) WHERE expires IS NOT NULL;

-- One row for each lease call, not for each job: to renew a lease costs one row however many jobs it holds.
CREATE TABLE @.leases (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    until  float8 NOT NULL,
    worker text NOT NULL,
    jobs   bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX leases_until ON @.leases (until);

-- One row for each settle call and period: which jobs to remove when. Costs a job no index of its own.
CREATE TABLE @.retention (
    batch    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    until    float8 NOT NULL,
    finished float8 NOT NULL,
    jobs     bigint[] NOT NULL
);
CREATE INDEX retention_until ON @.retention (until);

CREATE TABLE @.keys (
    key   text COLLATE "C" PRIMARY KEY,
    seq   bigint NOT NULL,                   -- jobs.seq of the holder
    until float8 NOT NULL,                   -- 0: until the holder has finished
    job   text COLLATE "C" NOT NULL          -- and its jobs.id
) WITH (fillfactor = 80);
CREATE INDEX keys_until ON @.keys (until) WHERE until > 0;

CREATE TABLE @.workers (
    id    text COLLATE "C" PRIMARY KEY,
    until float8 NOT NULL,
    info  bytea NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE @.paused (queue text COLLATE "C" PRIMARY KEY);

-- What a lane may do, and how much of it is taken. docs/decisions/0010.
CREATE TABLE @.lanes (
    name        text COLLATE "C" PRIMARY KEY,
    rate        float8,                      -- jobs a second; NULL: any number
    burst       integer NOT NULL DEFAULT 1,
    concurrency integer,                     -- NULL: any number
    weight      float8 NOT NULL DEFAULT 1.0,
    pinned      boolean NOT NULL DEFAULT false,  -- set by hand, so that what tasks declare no longer counts
    paused      float8 NOT NULL DEFAULT 0.0,     -- until when; infinite: until resumed
    running     integer NOT NULL DEFAULT 0,
    spent       float8 NOT NULL DEFAULT 0.0      -- the time by which all tokens spent so far are earned
) WITH (fillfactor = 50);

-- One row for each lane with ready jobs in a queue. Leasing reads those that are open, by turn.
CREATE TABLE @.turns (
    lane  text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    turn  float8 NOT NULL,                   -- the lowest is served next, and moves on by 1 / weight
    opens float8 NOT NULL DEFAULT 0.0,       -- 0: open; a time: closed until then; infinite: until something changes
    PRIMARY KEY (lane, queue)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX turns_open ON @.turns (queue, turn, lane) WHERE opens = 0;
CREATE INDEX turns_closed ON @.turns (opens) WHERE opens > 0;

-- Lanes, each in a queue, of jobs that became due in `exchange_1`, or were put in transactions of the callers' own:
-- whoever leases next gives them a turn. Such a transaction may stay open for long, and here it keeps nobody waiting.
CREATE TABLE @.arrivals (
    lane        text COLLATE "C" NOT NULL,
    queue       text COLLATE "C" NOT NULL,
    rate        float8,
    burst       integer NOT NULL,
    concurrency integer
);

-- Where the turns of a queue stand, and when those jobs are served that are in no lane.
CREATE TABLE @.rounds (
    queue text COLLATE "C" PRIMARY KEY,
    turn  float8 NOT NULL,
    plain float8 NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE @.groups (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- never given again
    id         text COLLATE "C" NOT NULL UNIQUE,
    created    float8 NOT NULL,
    total      bigint NOT NULL DEFAULT 0,
    succeeded  bigint NOT NULL DEFAULT 0,
    failed     bigint NOT NULL DEFAULT 0,
    cancelled  bigint NOT NULL DEFAULT 0,    -- or expired
    most       bigint,                       -- how many members it takes; NULL: any number
    open       boolean NOT NULL DEFAULT false,  -- members may still come from outside
    collects   boolean NOT NULL DEFAULT false,  -- results are kept for the job that waits for them
    called_off boolean NOT NULL DEFAULT false,
    ended      float8
) WITH (fillfactor = 50);
CREATE INDEX groups_ended ON @.groups (ended) WHERE ended IS NOT NULL;

-- The members of groups that have ended, in the order of their end.
CREATE TABLE @.ended_members (
    grp      bigint NOT NULL,
    finished float8 NOT NULL,
    seq      bigint NOT NULL,
    PRIMARY KEY (grp, finished, seq)
);

CREATE TABLE @.schedules (
    name text COLLATE "C" PRIMARY KEY,
    due  float8 NOT NULL,                    -- the next fire time; infinite: never, as when it is paused
    last float8,                             -- the last one that gave a job
    body bytea NOT NULL
);

-- Sends a notification for those of these signs that somebody waits for, who then holds a shared lock for it.
CREATE FUNCTION @.tell_1(signs text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sign text;
BEGIN
    FOREACH sign IN ARRAY signs LOOP
        IF pg_try_advisory_lock(@lock, hashtext(sign)) THEN
            PERFORM pg_advisory_unlock(@lock, hashtext(sign));
        ELSE
            PERFORM pg_notify('@channel', sign);
        END IF;
    END LOOP;
END $$;

-- Puts jobs that are tied to nothing and have no key. Returns the places of those that were added.
CREATE FUNCTION @.put_1(at float8, seqs bigint[], ids text[], queues text[], ranks integer[], tasks text[],
                        delays float8[], etas float8[], expiries float8[], bodies bytea[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    moment float8 := coalesce(at, extract(epoch FROM clock_timestamp())::float8);
    added bigint;
BEGIN
    WITH new AS (
        INSERT INTO @.jobs (seq, id, queue, rank, state, task, enqueued, due, expires, body)
        SELECT it.seq, it.id, it.queue, it.rank, 0, it.task, moment,
               CASE WHEN it.delay = 0 AND it.eta = 0 THEN moment ELSE greatest(moment + it.delay, it.eta) END,
               moment + it.expiry, it.body
        FROM unnest(seqs, ids, queues, ranks, tasks, delays, etas, expiries, bodies)
             AS it (seq, id, queue, rank, task, delay, eta, expiry, body)
        ON CONFLICT (seq) DO NOTHING
        RETURNING jobs.seq, jobs.queue, jobs.rank, jobs.due, jobs.expires
    ), now_ready AS (
        INSERT INTO @.ready (queue, lane, rank, seq, expires)
        SELECT new.queue, '', new.rank, new.seq, new.expires FROM new WHERE new.due <= moment
    ), for_later AS (
        INSERT INTO @.delayed (due, seq, expires) SELECT new.due, new.seq, new.expires FROM new WHERE new.due > moment
    )
    SELECT count(*) INTO added FROM new;
    PERFORM @.tell_1(ARRAY(SELECT DISTINCT 'q' || it FROM unnest(queues) AS it));
    RETURN added;
END $$;

-- Settles jobs that succeeded and are tied to nothing, and leases others, in one call: the busy loop of a worker.
-- Lets delayed jobs be leased that are due. Returns one row without a `seq`, and has changed nothing else, where there is
-- more to see to than this: lapsed leases, lanes, jobs that are too late. Without hash joins, for the plan that is made while the
-- tables are empty to be right when they are large.
CREATE FUNCTION @.exchange_1(at float8, done bigint[], numbers bigint[], results bytea[], keep float8,
                             dropped bigint[], dropped_numbers bigint[], freed text[], holders text[], emptied bigint[], worker text, queues text[], wanted integer, seconds float8)
RETURNS TABLE (id text, seq bigint, body bytea, attempt integer, lost integer, number bigint, tied smallint,
               key text, given bytea)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    moment float8 := coalesce(at, extract(epoch FROM clock_timestamp())::float8);
    the_queue text;
    some_rows tid[];
    some_jobs bigint[];
    some_late boolean;
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
            RETURN QUERY SELECT NULL::text, NULL::bigint, NULL::bytea, 0, 0, 0::bigint, 0::smallint, NULL::text,
                                NULL::bytea;
            RETURN;
        END IF;
        FOREACH the_queue IN ARRAY queues LOOP
            EXIT WHEN cardinality(picked) >= wanted;
            CONTINUE WHEN EXISTS (SELECT 1 FROM @.paused WHERE queue = the_queue);
            SELECT array_agg(it.ctid), array_agg(it.seq), bool_or(it.expires <= moment)
            INTO some_rows, some_jobs, some_late
            FROM (SELECT ready.ctid, ready.seq, ready.expires FROM @.ready
                  WHERE ready.queue = the_queue AND ready.lane = ''
                  ORDER BY ready.rank, ready.seq LIMIT wanted - cardinality(picked)
                  FOR UPDATE SKIP LOCKED) AS it;
            IF some_late THEN
                RETURN QUERY SELECT NULL::text, NULL::bigint, NULL::bytea, 0, 0, 0::bigint, 0::smallint, NULL::text,
                                    NULL::bytea;
                RETURN;
            END IF;
            picked_rows := picked_rows || coalesce(some_rows, '{}');
            picked := picked || coalesce(some_jobs, '{}');
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
        DELETE FROM @.ready WHERE ctid = ANY (picked_rows);
        INSERT INTO @.leases (worker, until, jobs) VALUES (worker, moment + seconds, picked)
        RETURNING leases.number INTO this_lease;
        RETURN QUERY
        WITH started AS (
            UPDATE @.jobs SET state = 2, number = this_lease, attempt = jobs.attempt + 1, started = moment
            FROM unnest(picked) WITH ORDINALITY AS it (seq, place)
            WHERE jobs.seq = it.seq AND jobs.state = 0
            RETURNING it.place, jobs.id, jobs.seq, jobs.body, jobs.attempt, jobs.lost, jobs.number, jobs.tied, jobs.key,
                      jobs.given
        )
        SELECT started.id, started.seq, started.body, started.attempt, started.lost, started.number, started.tied,
               started.key, started.given
        FROM started ORDER BY started.place;
    END IF;
END $$;
