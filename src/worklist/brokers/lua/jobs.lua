-- What becomes of jobs: put, made due, begun, ended, forgotten.

-- A job as it comes with a call.
function W.read_job(it)
  local rest = it[5]
  local job = {
    id = it[1], queue = it[2], rank = it[3], due = it[4], rest = rest, replace = it[6],
    flags = string.byte(rest, 1),
  }
  if job.flags ~= 0 then
    local length = struct.unpack("<H", rest, 2)
    job.header = cmsgpack.unpack(string.sub(rest, 4, 3 + length))
  end
  return job
end

function W.read_jobs(list)
  local jobs, tied = {}, false
  for i, it in ipairs(list) do
    jobs[i] = W.read_job(it)
    tied = tied or jobs[i].flags ~= 0
  end
  return jobs, tied
end

-- Add jobs of any kind: first those that may run, for the others to find what they wait for. Returns their ids, or
-- those of the jobs that hold their keys.
function W.put_jobs(jobs)
  for _, job in ipairs(jobs) do
    local header = job.header
    if header then
      if header[IN_LANE] then
        W.declare_lane(header[IN_LANE], header[LIMITS])
      end
      if header[IN_GROUP] then
        W.make_group(header[IN_GROUP])
      end
      if header[AFTER] and string.sub(header[AFTER], 1, 1) == "g" then
        W.make_group(header[AFTER])
        if header[TAKES] then
          call("HSET", group_key(header[AFTER]), "collects", 1)
        end
      end
    end
  end
  local ids = {}
  for _, waiting in ipairs({false, true}) do
    for i, job in ipairs(jobs) do
      if has(job.flags, WAITS) == waiting then
        ids[i] = W.put_one(job)
      end
    end
  end
  for _, job in ipairs(jobs) do
    if has(job.flags, KEYED) and has(job.flags, GROUP) then
      W.look(job.header[IN_GROUP]) -- it may not have been added, as the only one
    end
  end
  return ids
end

function W.put_one(job)
  if job.flags == 0 then
    W.put_plain({{job.id, job.queue, job.rank, job.due, job.rest}})
    return job.id
  end
  if call("HEXISTS", P .. "j", job.id) == 1 then
    return job.id
  end
  local header = job.header
  local due = due_of(job.due)
  if header[KEY] then
    local holder = W.holder(header[KEY])
    if holder and not job.replace then
      return holder
    end
    if holder and W.is_queued(holder) then
      W.rewrite(holder, job, due)
      return holder
    end
    W.take_key(job.id, header)
  end
  local stored = W.stored(now, due, job.rest)
  W.number_of(job.queue)
  if has(job.flags, GROUP) then
    W.join(job.id, header)
  end
  if has(job.flags, WAITS) then
    call("HSET", P .. "j", job.id, stored)
    call("ZADD", of_queue("w", job.queue), 0, job.id)
    W.wait(job.id, header)
  else
    W.make_due(job.id, stored, header, due)
  end
  return job.id
end

-- Store a job that is queued, in the place where it stands until it is due, or leased.
function W.make_due(id, stored, header, due)
  local queue, lane = header[1], header[IN_LANE]
  local enqueued = struct.unpack("<d", stored)
  call("HSET", P .. "j", id, W.stored(enqueued, due, string.sub(stored, 17)))
  if due > now then
    call("ZADD", of_queue("d", queue), due, id)
    call("ZADD", of_queue("D", queue), 0, id)
  elseif lane then
    call("ZADD", in_lane(queue, lane), header[RANK], id)
    call("ZADD", of_queue("L", queue), 0, id)
    W.line_up(lane, queue, header[LIMITS])
  else
    call("ZADD", of_queue("q", queue), header[RANK], id)
  end
  if header[LIFE] then
    call("ZADD", P .. "x", enqueued + header[LIFE], id)
  end
  W.wake(queue)
end

function W.is_queued(id)
  local stored, header = W.job(id)
  if not stored then
    return false
  end
  local queue = header[1]
  return (call("ZSCORE", of_queue("q", queue), id) or call("ZSCORE", of_queue("D", queue), id)
    or call("ZSCORE", of_queue("L", queue), id)) and true or false
end

-- Take a queued job out of the place where it stands.
function W.take_out(id, header)
  local queue = header[1]
  call("ZREM", of_queue("q", queue), id)
  call("ZREM", of_queue("d", queue), id)
  call("ZREM", of_queue("D", queue), id)
  if header[IN_LANE] then
    call("ZREM", in_lane(queue, header[IN_LANE]), id)
    call("ZREM", of_queue("L", queue), id)
  end
  call("ZREM", P .. "x", id)
end

-- Debounce: a queued job takes over the newer call's arguments, due time and lane, and keeps its id and other ties.
function W.rewrite(id, job, due)
  local was, old = W.job(id)
  W.take_out(id, old)
  local header = {unpack(job.header, 1, LIMITS)}
  for _, place in ipairs({IN_GROUP, AFTER, ANYWAY, TAKES, LIMITS}) do
    header[place] = old[place]
  end
  local flags = W.flags(was)
  local kept = (has(flags, GROUP) and GROUP or 0) + (has(flags, FOLLOWED) and FOLLOWED or 0)
    + (has(flags, WAITS) and WAITS or 0)
  flags = kept + KEYED + RENAMED + (header[IN_LANE] and LANE or 0) + (header[LIFE] and EXPIRES or 0)
  local length = struct.unpack("<H", job.rest, 2)
  local packed = cmsgpack.pack(header)
  local rest = string.char(flags) .. struct.pack("<H", #packed) .. packed .. string.sub(job.rest, 4 + length)
  W.take_key(id, header)
  W.number_of(header[1])
  W.make_due(id, W.stored(now, due, rest), header, due)
end

-- -- ends ------------------------------------------------------------------------------------------------------

function W.is_late(id)
  local till = call("ZSCORE", P .. "x", id)
  return till and tonumber(till) <= now
end

-- End a job that nobody started in time; it stands nowhere any more.
function W.expire(id)
  local stored, header = W.job(id)
  local attempt, lost, errors = W.attempts(id)
  W.finish(id, stored, header, EXPIRED, nil, attempt, lost, errors, nil, KEEP_UNRUN)
end

local kept = {}

-- End a job. `keep` is for how many seconds its record is kept; nil forgets it at once.
function W.finish(id, stored, header, state, started, attempt, lost, errors, result, keep)
  W.note_change()
  if header[KEY] then
    W.free_key(id, header[KEY])
  end
  if header[LIFE] then
    call("ZREM", P .. "x", id)
  end
  W.note_end(id, W.flags(stored), header, state, errors, result)
  if not keep then
    W.forget(id, stored, header)
    return
  end
  call("HDEL", P .. "a", id)
  call("HDEL", P .. "c", id)
  call("HSET", P .. "f", id, W.finished(state, started, attempt, lost, errors, result))
  call("ZADD", in_state(header[1], state), 0, id)
  W.keep(keep, {id})
end

-- Note for how many seconds finished jobs are kept.
function W.keep(seconds, ids)
  kept[seconds] = kept[seconds] or {}
  for _, id in ipairs(ids) do
    table.insert(kept[seconds], id)
  end
end

-- Write down what was noted by `keep`: one entry for all jobs that end together.
function W.retain()
  for seconds, ids in pairs(kept) do
    if seconds < INFINITE then
      call("ZADD", P .. "kept", now + seconds, struct.pack("<d", now) .. table.concat(ids, "\n"))
    end
  end
  kept = {}
end

-- Remove all that is known of a job that stands nowhere but, perhaps, among the finished ones.
function W.forget(id, stored, header)
  if not stored then
    stored, header = W.job(id)
  end
  local finished = call("HGET", P .. "f", id)
  if finished then
    call("ZREM", in_state(header[1], string.byte(finished)), id)
    call("HDEL", P .. "f", id)
  end
  for _, kind in ipairs({"j", "a", "p", "o", "g", "c"}) do
    call("HDEL", P .. kind, id)
  end
  if header[IN_GROUP] then
    call("ZREM", P .. "gm:" .. header[IN_GROUP], id)
    call("ZREM", P .. "ge:" .. header[IN_GROUP], id)
  end
  if header[AFTER] then
    call("ZREM", P .. "wf:" .. header[AFTER], id)
  end
end

-- Give a running job back to its queue.
function W.requeue(id, stored, header, due, attempt, lost, errors)
  call("HDEL", P .. "c", id)
  W.set_attempts(id, attempt, lost, errors)
  W.make_due(id, stored, header, due)
end

-- -- leases ----------------------------------------------------------------------------------------------------

local function lease_key(number)
  return P .. "lease:" .. number
end

-- Note that so many jobs of a lease are held no longer.
function W.release(number, count)
  if call("HINCRBY", lease_key(number), "left", -count) <= 0 then
    call("DEL", lease_key(number))
    call("ZREM", P .. "leases", number)
  end
end

-- Make the jobs of silent workers due again, or fail those that too many workers died with.
function W.lapse()
  for _, number in ipairs(call("ZRANGEBYSCORE", P .. "leases", "-inf", now)) do
    local facts = call("HMGET", lease_key(number), "worker", "started", "jobs")
    for _, id in ipairs(facts[3] and cmsgpack.unpack(facts[3]) or {}) do
      W.lapse_job(id, number, facts[1], tonumber(facts[2]))
    end
    call("DEL", lease_key(number))
    call("ZREM", P .. "leases", number)
  end
end

function W.lapse_job(id, number, worker, started)
  local stored, header = W.job(id)
  if not stored or call("HGET", of_queue("r", header[1]), id) ~= number then
    return
  end
  call("HDEL", of_queue("r", header[1]), id)
  local attempt, lost, errors = W.attempts(id)
  attempt, lost = attempt + 1, lost + 1
  if header[IN_LANE] then
    W.leave_lane(header[IN_LANE], 0)
  end
  W.count_running(header, -1)
  local error = W.error("WorkerLost", "worker " .. worker .. " gave no sign of life until its lease lapsed", attempt)
  if call("HGET", P .. "c", id) then
    W.finish(id, stored, header, CANCELLED, started, attempt, lost, errors, nil, KEEP_UNRUN)
  elseif lost > header[REDELIVERIES] then
    W.finish(id, stored, header, FAILED, started, attempt, lost, errors .. error, nil, KEEP_UNRUN)
  else
    W.requeue(id, stored, header, now, attempt, lost, errors .. error)
  end
end

-- Move delayed jobs of a queue whose time has come to where they are leased from.
function W.promote(queue)
  local due = call("ZRANGEBYSCORE", of_queue("d", queue), "-inf", now, "LIMIT", 0, 2000)
  while #due > 0 do
    W.many("ZREM", of_queue("d", queue), due)
    W.many("ZREM", of_queue("D", queue), due)
    local ready = {}
    for i, stored in ipairs(W.each("HMGET", P .. "j", due)) do
      local header = W.header(stored)
      if header[IN_LANE] then
        call("ZADD", in_lane(queue, header[IN_LANE]), header[RANK], due[i])
        call("ZADD", of_queue("L", queue), 0, due[i])
        W.line_up(header[IN_LANE], queue, header[LIMITS])
      else
        ready[#ready + 1] = header[RANK]
        ready[#ready + 1] = due[i]
      end
    end
    W.many("ZADD", of_queue("q", queue), ready)
    due = call("ZRANGEBYSCORE", of_queue("d", queue), "-inf", now, "LIMIT", 0, 2000)
  end
end

-- The next jobs of a queue that are in no lane.
local function take_plain(queue, limit)
  local taken = {}
  local more = true
  while more and #taken < limit do
    local popped = call("ZPOPMIN", of_queue("q", queue), limit - #taken)
    more = #popped == 2 * (limit - #taken)
    local expire = call("ZCARD", P .. "x") > 0
    for i = 1, #popped, 2 do
      if expire and W.is_late(popped[i]) then
        W.expire(popped[i])
      else
        taken[#taken + 1] = popped[i]
      end
    end
  end
  return taken
end

-- Take jobs from a queue: those of its lanes and those in none by turn.
local function take(queue, limit)
  while true do
    local served = W.serve(queue, limit)
    if not served then
      return take_plain(queue, limit)
    end
    if #served > 0 then
      return served -- else the lanes that were looked at had no job left: on to others
    end
  end
end

-- Lease as below; where this very call was made before, and its answer lost, answer it again.
function W.lease_once(this, worker, queues, limit, seconds)
  local number = call("HGET", P .. "calls", worker)
  if number and call("HGET", lease_key(number), "call") == this then
    return tonumber(number), W.leased_again(tonumber(number), now + seconds)
  end
  return W.lease(this, worker, queues, limit, seconds)
end

-- What a lease still holds, told as `lease` does.
function W.leased_again(number, till)
  call("ZADD", P .. "leases", till, number)
  local leased = {}
  for _, id in ipairs(cmsgpack.unpack(call("HGET", lease_key(number), "jobs"))) do
    local stored, header = W.job(id)
    if stored and call("HGET", of_queue("r", header[1]), id) == tostring(number) then
      leased[#leased + 1] = id
      leased[#leased + 1] = W.number_of(header[1])
      leased[#leased + 1] = call("HGET", P .. "a", id)
      leased[#leased + 1] = call("HGET", P .. "g", id)
      leased[#leased + 1] = stored
    end
  end
  return leased
end

-- Lease up to `limit` jobs, by a call of this name; return the number of the lease, and five values for each job.
function W.lease(this, worker, queues, limit, seconds)
  W.lapse()
  local seen, leased, all = {}, {}, {}
  local number
  for _, queue in ipairs(call("HKEYS", P .. "queues")) do
    W.promote(queue)
  end
  for _, queue in ipairs(queues) do
    if not seen[queue] and #all < limit and call("SISMEMBER", P .. "paused", queue) == 0 then
      seen[queue] = true
      local ids = take(queue, limit - #all)
      if #ids > 0 then
        number = number or call("INCR", P .. "seq")
        W.start(ids, queue, number, leased)
        for _, id in ipairs(ids) do
          all[#all + 1] = id
        end
      end
    end
  end
  W.follow()
  if #all >= limit then
    for queue in pairs(seen) do
      W.ring_on(queue)
    end
  end
  if number then
    call("ZADD", P .. "leases", now + seconds, number)
    call("HSET", P .. "calls", worker, number)
    call("HSET", lease_key(number), "call", this, "worker", worker, "started", string.format("%.17g", now), "left", #all,
      "jobs", cmsgpack.pack(all))
  end
  return number, leased
end

-- Have another worker take what is left in a queue.
function W.ring_on(queue)
  if call("ZCARD", of_queue("q", queue)) > 0 or call("ZCARD", of_queue("t", queue)) > 0 then
    W.ring(queue)
  end
end

function W.start(ids, queue, number, leased)
  local running = {}
  for _, id in ipairs(ids) do
    running[#running + 1] = id
    running[#running + 1] = number
  end
  W.many("HSET", of_queue("r", queue), running)
  local stored = W.each("HMGET", P .. "j", ids)
  local attempts = call("EXISTS", P .. "a") == 1 and W.each("HMGET", P .. "a", ids) or {}
  local given = call("EXISTS", P .. "g") == 1 and W.each("HMGET", P .. "g", ids) or {}
  local token = W.number_of(queue)
  for i, id in ipairs(ids) do
    local flags = W.flags(stored[i])
    if has(flags, GROUP) then
      W.count_running(W.header(stored[i]), 1)
    end
    if has(flags, EXPIRES) then
      call("ZREM", P .. "x", id)
    end
    leased[#leased + 1] = id
    leased[#leased + 1] = token
    leased[#leased + 1] = attempts[i] or false
    leased[#leased + 1] = given[i] or false
    leased[#leased + 1] = stored[i]
  end
end
