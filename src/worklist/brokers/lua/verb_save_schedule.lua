-- Store a schedule where the stored one is still the one that was seen.
local input = cmsgpack.unpack(ARGV[2])
local stored = call("HGET", P .. "schedules", input.name)
if stored ~= input.seen then
  return 0
end
call("HSET", P .. "schedules", input.name, input.stored)
return 1
