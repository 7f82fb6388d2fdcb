-- Whether there are jobs that only the rate or the ceiling of their lane keeps from being leased.
for _, queue in ipairs(cmsgpack.unpack(ARGV[2])) do
  if call("SISMEMBER", P .. "paused", queue) == 0 then
    local names = call("ZRANGE", of_queue("t", queue), 0, -1)
    for _, name in ipairs(call("HKEYS", of_queue("T", queue))) do
      names[#names + 1] = name
    end
    for _, name in ipairs(names) do
      local lane = W.lane(name)
      if (not lane or lane[PAUSED] <= now) and call("ZCARD", in_lane(queue, name)) > 0 then
        return 1
      end
    end
  end
end
return 0
