-- Pause or resume a queue.
local input = cmsgpack.unpack(ARGV[2])
call(input.paused and "SADD" or "SREM", P .. "paused", input.queue)
W.wake(input.queue)
W.tell()
