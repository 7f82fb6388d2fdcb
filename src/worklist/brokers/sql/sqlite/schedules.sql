-- name: schedules
SELECT name, due, last, body FROM schedules ORDER BY name;

-- name: schedule
SELECT name, due, last, body FROM schedules WHERE name = ?;

-- name: save
INSERT INTO schedules (name, due, last, body) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET due = excluded.due, last = excluded.last, body = excluded.body;

-- name: move_on
UPDATE schedules SET due = ?, last = ? WHERE name = ?;

-- name: delete
DELETE FROM schedules WHERE name = ?;
