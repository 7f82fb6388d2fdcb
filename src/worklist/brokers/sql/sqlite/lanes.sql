-- name: some_lanes
SELECT name, rate, burst, concurrency, weight, pinned, paused, running, spent FROM lanes
WHERE name IN (SELECT value FROM json_each(?));

-- name: all_lanes
SELECT name, rate, burst, concurrency, weight, pinned, paused, running, spent FROM lanes ORDER BY name;

-- name: save_lane
INSERT INTO lanes (name, rate, burst, concurrency, weight, pinned, paused, running, spent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET rate = excluded.rate, burst = excluded.burst, concurrency = excluded.concurrency,
    weight = excluded.weight, pinned = excluded.pinned, paused = excluded.paused, running = excluded.running,
    spent = excluded.spent;

-- name: line_up
-- A lane that has a turn already keeps it.
INSERT INTO turns (lane, queue, turn, opens)
VALUES (?1, ?2, COALESCE((SELECT turn FROM rounds WHERE queue = ?2), 0.0), ?3) ON CONFLICT DO NOTHING;

-- name: any_ready
SELECT body FROM jobs WHERE state = -1 AND lane = ? ORDER BY due, seq LIMIT 1;

-- name: of_due
-- The lanes of the delayed jobs that `promote` is about to make ready.
SELECT DISTINCT lane, queue FROM jobs WHERE lane IS NOT NULL
AND seq IN (SELECT seq FROM jobs WHERE state = 1 AND due <= ? ORDER BY due LIMIT 4000);

-- name: open_lanes
-- Those whose time has come.
UPDATE turns SET opens = 0 WHERE opens > 0 AND opens <= ?;

-- name: open_turns
SELECT turns.lane, turns.turn, rate, burst, concurrency, weight, pinned, paused, running, spent
FROM turns LEFT JOIN lanes ON lanes.name = turns.lane
WHERE turns.queue = ? AND opens = 0 ORDER BY turns.turn, turns.lane LIMIT ?;

-- name: due_in_lane
SELECT id, seq, body, attempt + 1, lost, tied, key, expires, given FROM jobs
WHERE state = -1 AND lane = ? AND queue = ? ORDER BY rank, seq LIMIT ? OFFSET ?;

-- name: due_in_none
SELECT id, seq, body, attempt + 1, lost, tied, key, expires, given FROM jobs
WHERE state = 0 AND queue = ? ORDER BY rank, seq LIMIT ? OFFSET ?;

-- name: round
SELECT turn, plain FROM rounds WHERE queue = ?;

-- name: save_round
INSERT INTO rounds (queue, turn, plain) VALUES (?, ?, ?)
ON CONFLICT (queue) DO UPDATE SET turn = excluded.turn, plain = excluded.plain;

-- name: move_turn
UPDATE turns SET turn = ? WHERE lane = ? AND queue = ?;

-- name: leave_turn
DELETE FROM turns WHERE lane = ? AND queue = ?;

-- name: set_opens
UPDATE turns SET opens = ?1 WHERE lane = ?2 AND opens <> ?1;

-- name: held_back
-- A turn alone says nothing: the jobs may have been cancelled since.
SELECT EXISTS (SELECT 1 FROM turns JOIN lanes ON lanes.name = turns.lane WHERE queue = ?1 AND lanes.paused <= ?2
               AND EXISTS (SELECT 1 FROM jobs WHERE state = -1 AND jobs.lane = turns.lane AND jobs.queue = ?1))
AND NOT EXISTS (SELECT 1 FROM paused WHERE queue = ?1);

-- name: ready_in_lanes
SELECT lane, COUNT(*) FROM jobs WHERE state = -1 GROUP BY lane;

-- name: ready_in_lane
SELECT COUNT(*) FROM jobs WHERE state = -1 AND lane = ?;

-- name: idle_lanes
-- Nothing is lost when they are made anew by the next job that names them.
SELECT name FROM lanes WHERE running = 0 AND pinned = 0 AND paused <= ?1 AND spent <= ?1 AND weight = 1.0
AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.lane = name)
LIMIT ?;

-- name: drop_lane
DELETE FROM lanes WHERE name = ?;
