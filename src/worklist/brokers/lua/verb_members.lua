-- Members of a group that have ended, in the order of their end, those after a time and an id.
local input = cmsgpack.unpack(ARGV[2])
local key, at = P .. "ge:" .. input.id, string.format("%.17g", input.at)
local found = {}
local function add(ids, after)
  for _, id in ipairs(ids) do
    if #found < input.limit and (not after or id > after) then
      found[#found + 1] = W.record(id)
    end
  end
end
add(call("ZRANGEBYSCORE", key, at, at), input.job)
add(call("ZRANGEBYSCORE", key, "(" .. at, "+inf", "LIMIT", 0, input.limit))
return found
