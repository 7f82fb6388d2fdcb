-- Renew leases, report the worker alive; return the numbers that are no longer its own, and the jobs that are to stop.
local input = cmsgpack.unpack(ARGV[2])
local till = now + input.seconds
call("ZADD", P .. "workers", till, input.worker)
call("HSET", P .. "about", input.worker, input.about .. struct.pack("<d", now))
local lost, stop = {}, {}
for _, number in ipairs(input.numbers) do
  if call("HGET", P .. "lease:" .. number, "worker") == input.worker then
    call("ZADD", P .. "leases", till, number)
  else
    lost[#lost + 1] = number
  end
end
if call("EXISTS", P .. "c") == 1 then
  for _, it in ipairs(input.held) do
    local queue = call("HGET", P .. "c", it[1]) and W.name_of(it[3])
    if queue and call("HGET", of_queue("r", queue), it[1]) == tostring(it[2]) then
      stop[#stop + 1] = it[1]
    end
  end
end
return {lost, stop}
