-- Add one job that is due now and tied to nothing, with as few commands as that takes: its id, queue, rank and the
-- rest are arguments of the script.
local id, queue = ARGV[2], ARGV[3]
if call("HSETNX", P .. "j", id, struct.pack("<dd", now, now) .. ARGV[5]) == 1 then
  W.number_of(queue)
  call("ZADD", of_queue("q", queue), ARGV[4], id)
  W.ring(queue)
  call("PUBLISH", P .. "wake:" .. queue, "")
end
