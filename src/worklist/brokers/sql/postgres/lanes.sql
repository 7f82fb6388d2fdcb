-- name: some_lanes
SELECT name, rate, burst, concurrency, weight, pinned, paused, running, spent FROM @.lanes
WHERE name = ANY (%s::text[]) ORDER BY name

-- name: all_lanes
SELECT name, rate, burst, concurrency, weight, pinned, paused, running, spent FROM @.lanes ORDER BY name

-- name: save_lanes
INSERT INTO @.lanes (name, rate, burst, concurrency, weight, pinned, paused, running, spent)
SELECT * FROM unnest(%s::text[], %s::float8[], %s::integer[], %s::integer[], %s::float8[], %s::boolean[], %s::float8[],
                     %s::integer[], %s::float8[]) AS it (name) ORDER BY it.name
ON CONFLICT (name) DO UPDATE SET rate = excluded.rate, burst = excluded.burst, concurrency = excluded.concurrency,
    weight = excluded.weight, pinned = excluded.pinned, paused = excluded.paused, running = excluded.running,
    spent = excluded.spent

-- name: line_up
-- A lane that has a turn already keeps it.
INSERT INTO @.turns (lane, queue, turn, opens)
SELECT it.lane, it.queue, coalesce((SELECT turn FROM @.rounds WHERE rounds.queue = it.queue), 0.0), it.opens
FROM unnest(%s::text[], %s::text[], %s::float8[]) AS it (lane, queue, opens) ORDER BY it.lane, it.queue
ON CONFLICT DO NOTHING

-- name: announce
INSERT INTO @.arrivals (lane, queue, rate, burst, concurrency)
SELECT * FROM unnest(%s::text[], %s::text[], %s::float8[], %s::integer[], %s::integer[])

-- name: any_arrivals
SELECT EXISTS (SELECT 1 FROM @.arrivals)

-- name: welcome
DELETE FROM @.arrivals RETURNING lane, queue, rate, burst, concurrency

-- name: any_ready
SELECT body FROM @.jobs WHERE seq IN (SELECT seq FROM @.ready WHERE lane = %s) ORDER BY due, seq LIMIT 1

-- name: open_lanes
-- Those whose time has come.
UPDATE @.turns SET opens = 0 WHERE opens > 0 AND opens <= %s

-- name: open_turns
SELECT turns.lane, turns.turn, rate, burst, concurrency, weight, pinned, paused, running, spent
FROM @.turns LEFT JOIN @.lanes ON lanes.name = turns.lane
WHERE turns.queue = %s AND opens = 0 ORDER BY turns.turn, turns.lane LIMIT %s

-- name: round
SELECT turn, plain FROM @.rounds WHERE queue = %s

-- name: save_round
INSERT INTO @.rounds (queue, turn, plain) VALUES (%s, %s, %s)
ON CONFLICT (queue) DO UPDATE SET turn = excluded.turn, plain = excluded.plain

-- name: move_turns
UPDATE @.turns SET turn = it.turn FROM unnest(%s::float8[], %s::text[]) AS it (turn, lane)
WHERE turns.lane = it.lane AND turns.queue = %s

-- name: leave_turns
DELETE FROM @.turns WHERE lane = ANY (%s::text[]) AND queue = %s

-- name: set_opens
UPDATE @.turns SET opens = it.opens FROM unnest(%s::float8[], %s::text[]) AS it (opens, lane)
WHERE turns.lane = it.lane AND turns.opens <> it.opens

-- name: held_back
-- A turn alone says nothing: the jobs may have been cancelled since.
SELECT EXISTS (SELECT 1 FROM @.turns JOIN @.lanes ON lanes.name = turns.lane
               WHERE turns.queue = ANY (%(queues)s::text[])
               AND lanes.paused <= coalesce(%(now)s, extract(epoch FROM clock_timestamp())::float8)
               AND EXISTS (SELECT 1 FROM @.ready WHERE ready.lane = turns.lane AND ready.queue = turns.queue)
               AND NOT EXISTS (SELECT 1 FROM @.paused WHERE paused.queue = turns.queue))

-- name: ready_in_lanes
SELECT lane, count(*) FROM @.ready WHERE lane <> '' GROUP BY lane

-- name: ready_in_some_lanes
SELECT lane, count(*) FROM @.ready WHERE lane <> '' AND lane = ANY (%s::text[]) GROUP BY lane

-- name: drop_idle
-- Nothing is lost when they are made anew by the next job that names them.
DELETE FROM @.lanes WHERE name IN (
    SELECT name FROM @.lanes WHERE running = 0 AND NOT pinned AND paused <= %(now)s AND spent <= %(now)s AND weight = 1.0
    AND NOT EXISTS (SELECT 1 FROM @.turns WHERE turns.lane = name) LIMIT %(limit)s)
