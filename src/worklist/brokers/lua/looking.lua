-- What people look at.

-- Where a job stands: its state, and for a running one the number of its lease.
function W.state(id, header)
  local number = call("HGET", of_queue("r", header[1]), id)
  if number then
    return RUNNING, number
  end
  return call("ZSCORE", of_queue("w", header[1]), id) and WAITING or QUEUED
end

-- All that is known of one job, as ten values; false where it is unknown.
function W.record(id)
  local stored = call("HGET", P .. "j", id)
  if not stored then
    return false
  end
  local finished = call("HGET", P .. "f", id)
  local header = W.header(stored)
  local state, number = 0, false
  local worker, started = false, false
  if not finished then
    state, number = W.state(id, header)
    if state == RUNNING then
      local facts = call("HMGET", P .. "lease:" .. number, "worker", "started")
      worker, started = facts[1], facts[2]
    end
  end
  local group = header[IN_GROUP]
  return {
    id, state, stored, finished, call("HGET", P .. "a", id), call("HGET", P .. "p", id), call("HGET", P .. "o", id),
    call("HGET", P .. "c", id), worker, started, group and call("EXISTS", P .. "group:" .. group) or 0,
  }
end

-- The ids of a queue's jobs in one state, `count` from either end in the order of their making.
function W.ids_in(queue, state, count, newest)
  local function by_id(key)
    return call(newest and "ZREVRANGE" or "ZRANGE", key, 0, count - 1)
  end
  if state == WAITING then
    return by_id(of_queue("w", queue))
  elseif state == RUNNING then
    return call("HKEYS", of_queue("r", queue)) -- as many as there are slots
  elseif state ~= QUEUED then
    return by_id(in_state(queue, state))
  end
  local found = {}
  local function add(ids)
    for _, id in ipairs(ids) do
      found[#found + 1] = id
    end
  end
  local by_score = of_queue("q", queue)
  local least = "-inf"
  while true do -- of each priority, for within one of them ids are in order
    local first = call("ZRANGEBYSCORE", by_score, least, "+inf", "WITHSCORES", "LIMIT", 0, 1)
    if #first == 0 then
      break
    end
    local command = newest and "ZREVRANGEBYSCORE" or "ZRANGEBYSCORE"
    add(call(command, by_score, first[2], first[2], "LIMIT", 0, count))
    least = "(" .. first[2]
  end
  add(by_id(of_queue("D", queue)))
  add(by_id(of_queue("L", queue)))
  return found
end

function W.count(queue, state)
  if state == QUEUED then
    return call("ZCARD", of_queue("q", queue)) + call("ZCARD", of_queue("d", queue)) + call("ZCARD", of_queue("L", queue))
  elseif state == RUNNING then
    return call("HLEN", of_queue("r", queue))
  elseif state == WAITING then
    return call("ZCARD", of_queue("w", queue))
  end
  return call("ZCARD", in_state(queue, state))
end

-- -- changes ---------------------------------------------------------------------------------------------------

local function take_from_anywhere(id, header, state)
  if state == WAITING then
    call("ZREM", of_queue("w", header[1]), id)
  else
    W.take_out(id, header)
  end
end

-- Cancel, retry or delete a job; return whether that could be done.
function W.change(id, change)
  local stored, header = W.job(id)
  if not stored then
    return false
  end
  local packed = call("HGET", P .. "f", id)
  if packed then
    if change == "delete" then
      if header[KEY] then
        W.free_key(id, header[KEY])
      end
      W.forget(id, stored, header)
      return true
    end
    return change == "retry" and W.retry(id, stored, header, W.read_finished(packed))
  end
  local state = W.state(id, header)
  if change == "retry" or (state == RUNNING and change == "delete") then
    return false
  end
  if state == RUNNING then
    call("HSET", P .. "c", id, 1)
    return true
  end
  take_from_anywhere(id, header, state)
  local attempt, lost, errors = W.attempts(id)
  W.finish(id, stored, header, CANCELLED, nil, attempt, lost, errors, nil, change == "cancel" and KEEP_UNRUN or nil)
  return true
end

function W.retry(id, stored, header, finished)
  local error = finished.state == CANCELLED and W.last_error(finished.errors)
  if error and error[1] == "PredecessorFailed" then
    return false
  end
  if not W.hold_again(id, header) then
    return false
  end
  call("HDEL", P .. "f", id)
  call("ZREM", in_state(header[1], finished.state), id)
  call("HDEL", P .. "p", id)
  call("HDEL", P .. "o", id)
  local flags = W.flags(stored)
  if header[LIFE] then
    local _, from = W.header(stored)
    header[LIFE] = false
    flags = flags - EXPIRES
    stored = W.with_header(stored, flags, header, from)
  end
  W.set_attempts(id, 0, 0, finished.errors)
  W.make_due(id, stored, header, now)
  W.retried(id, flags, header, finished.state)
  return true
end

-- Remove what has been kept long enough, and expire what waited too long; return how many jobs.
function W.prune(limit)
  local late, removed = 0, 0
  for _, id in ipairs(call("ZRANGEBYSCORE", P .. "x", "-inf", now, "LIMIT", 0, limit)) do
    local _, header = W.job(id)
    W.take_out(id, header)
    W.expire(id)
    late = late + 1
  end
  W.follow()
  for _, batch in ipairs(call("ZRANGEBYSCORE", P .. "kept", "-inf", now, "LIMIT", 0, limit)) do
    if late + removed >= limit then
      break
    end
    local ended = struct.unpack("<d", batch)
    for id in string.gmatch(string.sub(batch, 9), "[^\n]+") do
      local finished = call("HGET", P .. "f", id)
      if finished and W.read_finished(finished).ended == ended then
        W.forget(id)
        removed = removed + 1
      end
    end
    call("ZREM", P .. "kept", batch)
  end
  removed = removed + W.prune_groups(limit - late - removed)
  W.drop_idle_lanes()
  for _, id in ipairs(call("ZRANGEBYSCORE", P .. "workers", "-inf", now)) do
    call("ZREM", P .. "workers", id)
    call("HDEL", P .. "about", id)
    call("HDEL", P .. "calls", id)
  end
  for _, key in ipairs(call("ZRANGEBYSCORE", P .. "kx", "-inf", now, "LIMIT", 0, limit)) do
    W.holder(key)
    call("ZREM", P .. "kx", key)
  end
  return late + removed
end

-- Remove lanes that hold nothing worth keeping: some with each call, where there are many.
function W.drop_idle_lanes()
  local cursor = call("GET", P .. "lanes-seen") or "0"
  local scanned = call("HSCAN", P .. "lanes", cursor, "COUNT", 500)
  if scanned[1] == "0" then
    call("DEL", P .. "lanes-seen")
  else
    call("SET", P .. "lanes-seen", scanned[1])
  end
  local queues = call("HKEYS", P .. "queues")
  for i = 1, #scanned[2], 2 do
    local name, lane = scanned[2][i], cmsgpack.unpack(scanned[2][i + 1])
    local busy = lane[BUSY] > 0 or lane[PINNED] or lane[PAUSED] > now or lane[SPENT] > now or lane[WEIGHT] ~= 1
    for _, queue in ipairs(queues) do
      busy = busy or call("ZSCORE", of_queue("t", queue), name) or call("HEXISTS", of_queue("T", queue), name) == 1
    end
    if not busy then
      call("HDEL", P .. "lanes", name)
    end
  end
end
