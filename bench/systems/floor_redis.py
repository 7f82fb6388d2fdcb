"""The floor on Redis: what redis-py does for the same changes, with nothing around them.

No tasks are looked up, no arguments decoded, no retries kept: one script puts a batch, one finishes a batch and
claims the next, in sorted sets and hashes as a queue with priorities, leases and results needs them.
"""

import sys
from collections.abc import Sequence

from redis import Redis

from bench.systems import handover
from bench.systems.base import Options, System
from bench.systems.floor import envelope, noop
from bench.systems.script import main

BATCH = 200
"""Jobs claimed and finished in one call."""
PUT = """
local first = redis.call('INCRBY', 'last', #ARGV) - #ARGV
local jobs, ready = {}, {}
for place, body in ipairs(ARGV) do
  local id = first + place
  jobs[2 * place - 1], jobs[2 * place] = id, body
  ready[2 * place - 1], ready[2 * place] = id, id
end
redis.call('HSET', 'jobs', unpack(jobs))
redis.call('ZADD', 'ready', unpack(ready))
"""
EXCHANGE = """
if #ARGV > 1 then
  local ids, results = {}, {}
  for place = 2, #ARGV, 2 do
    ids[#ids + 1] = ARGV[place]
    results[place - 1], results[place] = ARGV[place], ARGV[place + 1]
  end
  redis.call('ZREM', 'leased', unpack(ids))
  redis.call('HSET', 'results', unpack(results))
  redis.call('HDEL', 'jobs', unpack(ids))
end
local popped = redis.call('ZPOPMIN', 'ready', ARGV[1])
if #popped == 0 then return {{}, {}} end
local ids, leases = {}, {}
for place = 1, #popped, 2 do
  ids[#ids + 1] = popped[place]
  leases[place], leases[place + 1] = 60, popped[place]
end
redis.call('ZADD', 'leased', unpack(leases))
return {ids, redis.call('HMGET', 'jobs', unpack(ids))}
"""


class RedisFloor(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._redis = Redis.from_url(options.url)
        self._put = self._redis.register_script(PUT)
        self._exchange = self._redis.register_script(EXCHANGE)

    def put(self, number: int) -> None:
        """One command for a job, as short as it can be; the job that tells the taker of stamps to begin."""
        self._redis.lpush(handover.STAMPS, envelope(number))

    def put_many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), 500):
            self._put(args=[envelope(number) for number in numbers[first : first + 500]])

    def put_stamp(self, stamp: float) -> None:
        self._redis.lpush(handover.STAMPS, handover.packed(stamp))

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "bench.systems.handover"]

    def take_all(self) -> int:
        taken = 0
        done: list[bytes] = []
        while True:
            ids, bodies = self._exchange(args=[BATCH, *done])
            if not ids:
                return taken
            taken += len(ids)
            done = [part for id, body in zip(ids, bodies, strict=True) for part in (id, noop(body))]

    def close(self) -> None:
        self._redis.close()


if __name__ == "__main__":
    main(RedisFloor)
