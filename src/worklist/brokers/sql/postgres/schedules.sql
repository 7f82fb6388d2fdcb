-- name: schedules
SELECT name, due, last, body FROM @.schedules ORDER BY name;

-- name: schedule
SELECT name, due, last, body FROM @.schedules WHERE name = %s;

-- name: save
INSERT INTO @.schedules (name, due, last, body) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET due = excluded.due, last = excluded.last, body = excluded.body;

-- name: move_on
UPDATE @.schedules SET due = %s, last = %s WHERE name = %s;

-- name: delete
DELETE FROM @.schedules WHERE name = %s;
