-- Add jobs. Where one is to replace another, its body names that one: `expected` is the holder that it was made for,
-- and the call is to be made again where another holds the key by now.
local input = cmsgpack.unpack(ARGV[2])
if input.plain then
  local ids = W.put_plain(input.jobs)
  W.tell()
  return ids
end
local jobs = W.read_jobs(input.jobs)
local refused = W.refuse_ended(jobs)
if refused then
  return refused
end
local holders, again = {}, false
for i, job in ipairs(jobs) do
  holders[i] = false
  if job.replace and job.header and job.header[KEY] and call("HEXISTS", P .. "j", job.id) == 0 then
    local holder = W.holder(job.header[KEY])
    holders[i] = holder and W.is_queued(holder) and holder or false
    again = again or holders[i] ~= job.expected
  end
end
if again then
  return {"again", holders}
end
if input.schedule then
  if call("HGET", P .. "schedules", input.schedule) ~= input.seen then
    return false
  end
  call("HSET", P .. "schedules", input.schedule, input.stored)
end
local ids = W.put_jobs(jobs)
W.follow()
W.retain()
W.tell()
return {"put", ids}
