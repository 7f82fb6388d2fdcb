-- Lanes with the number of their ready jobs: these, or all.
local names = cmsgpack.unpack(ARGV[2])
if not names then
  names = call("HKEYS", P .. "lanes")
  table.sort(names)
end
local queues, found = call("HKEYS", P .. "queues"), {}
for _, name in ipairs(names) do
  local packed = call("HGET", P .. "lanes", name)
  if packed then
    local ready = 0
    for _, queue in ipairs(queues) do
      ready = ready + call("ZCARD", in_lane(queue, name))
    end
    found[#found + 1] = {name, packed, ready}
  end
end
return found
