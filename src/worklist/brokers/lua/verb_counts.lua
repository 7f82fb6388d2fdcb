-- How many jobs each queue has in each of these states, one after the other.
local found = {}
for _, queue in ipairs(call("HKEYS", P .. "queues")) do
  found[#found + 1] = queue
  for _, state in ipairs(cmsgpack.unpack(ARGV[2])) do
    found[#found + 1] = W.count(queue, state)
  end
end
return found
