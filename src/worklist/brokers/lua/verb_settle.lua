-- At hand: settle settle_done each many name_of keep release note_change follow retain tell
-- Settle.
local input = cmsgpack.unpack(ARGV[2])
W.settle(input.done, input.others)
W.tell()
