-- The finished records of some of a group's members, in the order in which they were made; "" for one that has none.
local input = cmsgpack.unpack(ARGV[2])
local ids = call("ZRANGE", P .. "gm:" .. input.id, input.from, input.from + input.count - 1)
return {#ids, W.each("HMGET", P .. "f", ids)}
