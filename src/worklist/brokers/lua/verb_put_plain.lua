-- Add jobs that are tied to nothing.
local ids = W.put_plain(cmsgpack.unpack(ARGV[2]))
W.tell()
return ids
