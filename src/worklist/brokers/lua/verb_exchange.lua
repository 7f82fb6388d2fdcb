-- At hand: lease_once settle settle_done each many name_of number_of keep release note_change follow retain lease lapse promote serve start flags ring_on ring wake tell
-- Settle, then lease.
local input = cmsgpack.unpack(ARGV[2])
W.settle(input.done, input.others)
local number, leased = W.lease_once(input.call, input.worker, input.queues, input.limit, input.seconds)
W.retain()
W.tell()
return {number or false, leased}
