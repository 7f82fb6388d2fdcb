-- Add jobs; of a schedule, only where that is still the one that was seen.
local input = cmsgpack.unpack(ARGV[2])
local jobs = W.read_jobs(input.jobs)
local refused = W.refuse_ended(jobs)
if refused then
  return refused
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
return ids
