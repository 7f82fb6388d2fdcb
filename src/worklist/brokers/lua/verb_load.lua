-- All that is known of some jobs.
local found = {}
for i, id in ipairs(cmsgpack.unpack(ARGV[2])) do
  found[i] = W.record(id)
end
return found
