-- The seconds until there may be work in some queues: "0" where there is, "inf" where nothing is to come by itself.
local next_at = INFINITE
for _, queue in ipairs(cmsgpack.unpack(ARGV[2])) do
  if call("SISMEMBER", P .. "paused", queue) == 0 then
    if call("ZCARD", of_queue("q", queue)) > 0 or call("ZCARD", of_queue("t", queue)) > 0 then
      return "0"
    end
    for _, kind in ipairs({"d", "C"}) do
      local first = call("ZRANGE", of_queue(kind, queue), 0, 0, "WITHSCORES")
      if first[2] then
        next_at = math.min(next_at, tonumber(first[2]))
      end
    end
  end
end
local lapses = call("ZRANGE", P .. "leases", 0, 0, "WITHSCORES")
if lapses[2] then
  next_at = math.min(next_at, tonumber(lapses[2]))
end
return string.format("%.17g", math.max(0, next_at - now))
