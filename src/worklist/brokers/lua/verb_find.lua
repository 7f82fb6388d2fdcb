-- The ids of jobs in one state, of one queue or of all, from either end of each queue.
local input = cmsgpack.unpack(ARGV[2])
local found = {}
for _, queue in ipairs(input.queue and {input.queue} or call("HKEYS", P .. "queues")) do
  for _, state in ipairs(input.states) do
    for _, id in ipairs(W.ids_in(queue, state, input.count, input.newest)) do
      found[#found + 1] = id
    end
  end
end
return found
