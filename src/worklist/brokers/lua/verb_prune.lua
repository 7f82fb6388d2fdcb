-- Remove what has been kept long enough, and expire what waited too long.
local removed = W.prune(cmsgpack.unpack(ARGV[2]))
W.follow()
W.retain()
W.tell()
return removed
