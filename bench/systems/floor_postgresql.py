"""The floor on PostgreSQL: what psycopg does for the same changes of rows, with nothing around them.

No tasks are looked up, no arguments decoded, no retries kept: rows are inserted 500 in a statement; one transaction
finishes a batch and claims the next.
"""

import sys
from collections.abc import Sequence

import psycopg

from bench.systems import handover
from bench.systems.base import Options, System
from bench.systems.floor import envelope, noop
from bench.systems.script import main

BATCH = 200
"""Jobs claimed and finished in one transaction."""
SCHEMA = """
CREATE TABLE job (
  id bigserial PRIMARY KEY, task text NOT NULL, body bytea NOT NULL,
  state smallint NOT NULL DEFAULT 0, attempt smallint NOT NULL DEFAULT 0, result bytea
);
CREATE INDEX job_ready ON job (id) WHERE state = 0;
CREATE TABLE stamp (id bigserial PRIMARY KEY, body bytea NOT NULL);
"""
INSERT = "INSERT INTO job (task, body) VALUES ('noop', %s)"
INSERT_MANY = "INSERT INTO job (task, body) SELECT 'noop', unnest(%s::bytea[])"
CLAIM = """
UPDATE job SET state = 1, attempt = attempt + 1
WHERE id = ANY (ARRAY(SELECT id FROM job WHERE state = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, body
"""
FINISH = """
UPDATE job SET state = 2, result = done.result
FROM (SELECT unnest(%s::bigint[]) AS id, unnest(%s::bytea[]) AS result) AS done WHERE job.id = done.id
"""
STAMP = "WITH put AS (INSERT INTO stamp (body) VALUES (%s)) SELECT pg_notify('stamps', '')"


class PostgresFloor(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._connection = psycopg.connect(options.url, autocommit=True)
        self._connection.execute(SCHEMA)

    def put(self, number: int) -> None:
        self._connection.execute(INSERT, (envelope(number),))

    def put_many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), 500):
            self._connection.execute(INSERT_MANY, ([envelope(number) for number in numbers[first : first + 500]],))

    def put_stamp(self, stamp: float) -> None:
        self._connection.execute(STAMP, (handover.packed(stamp),))

    def worker(self) -> list[str]:
        self.put_stamp(0.0)  # the taker of stamps looks at none but these
        return [sys.executable, "-m", "bench.systems.handover"]

    def take_all(self) -> int:
        taken = 0
        ids: list[int] = []
        results: list[bytes] = []
        while True:
            with self._connection.transaction(), self._connection.pipeline():
                if ids:
                    self._connection.execute(FINISH, (ids, results), binary=True)
                claimed = self._connection.execute(CLAIM, (BATCH,), binary=True)
            rows = claimed.fetchall()
            if not rows:
                return taken
            taken += len(rows)
            ids = [id for id, _ in rows]
            results = [noop(body) for _, body in rows]

    def close(self) -> None:
        self._connection.close()


if __name__ == "__main__":
    main(PostgresFloor)
