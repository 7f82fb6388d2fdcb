-- At hand: lease_once each many number_of lease lapse promote serve start flags ring_on ring follow retain tell
-- Lease.
local input = cmsgpack.unpack(ARGV[2])
local number, leased = W.lease_once(input.call, input.worker, input.queues, input.limit, input.seconds)
W.retain()
W.tell()
return {number or false, leased}
