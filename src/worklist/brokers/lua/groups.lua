-- Groups, and jobs that wait for a group or for another job.
--
-- Of a group: group its counters, gm its members in the order in which they were made, ge those that have ended by
-- when. wf holds who waits for a job or a group, gended when groups ended.

local ends, over, known = {}, {}, {}

local function group_key(id)
  return P .. "group:" .. id
end

local COUNTERS = {[SUCCEEDED] = "succeeded", [FAILED] = "failed"}
local function counter(state)
  return COUNTERS[state] or "cancelled"
end

function W.group(id)
  local flat = call("HGETALL", group_key(id))
  if #flat == 0 then
    return nil
  end
  local group = {id = id}
  for i = 1, #flat, 2 do
    group[flat[i]] = tonumber(flat[i + 1])
  end
  for _, name in ipairs({"total", "succeeded", "failed", "cancelled", "running"}) do
    group[name] = group[name] or 0
  end
  return group
end

function W.make_group(id)
  if call("EXISTS", group_key(id)) == 0 then
    call("HSET", group_key(id), "created", string.format("%.17g", now))
    return true
  end
  return false
end

-- How a group takes no member any more: "ended" or "off"; nil where it does.
function W.is_closed(id)
  local found = call("HMGET", group_key(id), "ended", "off")
  return found[2] and "off" or found[1] and "ended" or nil
end

-- An error where one of these jobs is to join a group that takes no member any more.
function W.refuse_ended(jobs)
  for _, job in ipairs(jobs) do
    if has(job.flags, GROUP) then
      local how = W.is_closed(job.header[IN_GROUP])
      if how and call("HEXISTS", P .. "j", job.id) == 0 then
        return redis.error_reply("GROUPENDED " .. how .. " " .. job.header[IN_GROUP])
      end
    end
  end
end

function W.join(id, header)
  local group = header[IN_GROUP]
  W.make_group(group)
  call("HINCRBY", group_key(group), "total", 1)
  call("ZADD", P .. "gm:" .. group, 0, id)
end

function W.count_running(header, by)
  if header[IN_GROUP] then
    call("HINCRBY", group_key(header[IN_GROUP]), "running", by)
  end
end

-- Whether the results of the group of a job are kept for one that waits for them.
function W.collects(header)
  return header[IN_GROUP] and call("HGET", group_key(header[IN_GROUP]), "collects") and true or false
end

local function why_group(group)
  local how = "of " .. group.total .. " members of group " .. group.id .. " " .. group.failed .. " failed and "
    .. group.cancelled .. " were cancelled"
  return group.off and how .. ": it was called off" or how
end

local function ended_well(group)
  return group.failed == 0 and group.cancelled == 0 and not group.off
end

local function why_job(id, header, state, error)
  if error and error[1] == "PredecessorFailed" then
    return error[2]
  end
  local how = header[TASK] .. " (job " .. id .. ") " .. (state == CANCELLED and "was " or "") .. STATE_NAMES[state]
  return error and how .. ": " .. error[1] .. ": " .. error[2] or how
end

-- Note that a job waits. Where what it waits for has ended already, `follow` sees to it.
function W.wait(id, header)
  local after = header[AFTER]
  call("ZADD", P .. "wf:" .. after, 0, id)
  if string.sub(after, 1, 1) == "g" then
    W.make_group(after)
    local group = W.group(after)
    if group.ended then
      known[#known + 1] = {after = after, well = ended_well(group), reason = why_group(group)}
    end
    return
  end
  local stored, parent = W.job(after)
  if not stored or not has(W.flags(stored), FOLLOWED) then
    local reason = "job " .. after .. " is not known any more, or nothing was to follow it"
    known[#known + 1] = {after = after, well = false, reason = reason}
    return
  end
  local finished = call("HGET", P .. "f", after)
  if finished then
    local end_ = W.read_finished(finished)
    known[#known + 1] = {
      after = after, well = end_.state == SUCCEEDED, result = end_.result,
      reason = why_job(after, parent, end_.state, nil),
    }
  end
end

-- Note that a job with ties has ended.
function W.note_end(id, flags, header, state, errors, result)
  if has(flags, FOLLOWED) or header[IN_GROUP] then
    local error = state ~= EXPIRED and W.last_error(errors) or nil
    ends[#ends + 1] = {
      id = id, flags = flags, header = header, state = state, result = result,
      reason = why_job(id, header, state, error),
    }
  end
end

-- Note that a group may be one of which no member is left to end.
function W.look(id)
  over[#over + 1] = id
end

local function release_all(after, well, result, reason)
  for _, id in ipairs(call("ZRANGE", P .. "wf:" .. after, 0, -1)) do
    local stored, header = W.job(id)
    if stored and call("ZREM", of_queue("w", header[1]), id) == 1 then
      if well or header[ANYWAY] then
        if well and result then
          call("HSET", P .. "g", id, result)
        end
        W.make_due(id, stored, header, W.due(header))
      else
        local error = W.error("PredecessorFailed", reason, 0)
        W.finish(id, stored, header, CANCELLED, nil, 0, 0, error, nil, KEEP_UNRUN)
      end
    end
  end
end

local function count(job)
  if has(job.flags, FOLLOWED) then
    release_all(job.id, job.state == SUCCEEDED, job.result, job.reason)
  end
  local group = job.header[IN_GROUP]
  if group then
    call("HINCRBY", group_key(group), counter(job.state), 1)
    if call("HEXISTS", P .. "j", job.id) == 1 then
      call("ZADD", P .. "ge:" .. group, now, job.id)
    end
    over[#over + 1] = group
  end
end

local function end_if_over(id)
  local group = W.group(id)
  if not group or group.open or group.ended or group.total > group.succeeded + group.failed + group.cancelled then
    return
  end
  call("HSET", group_key(id), "ended", string.format("%.17g", now))
  call("ZADD", P .. "gended", now, id)
  release_all(id, ended_well(group), nil, why_group(group))
end

-- See to what follows from the ends noted since: a job that is cancelled may be one that others wait for.
function W.follow()
  while #known > 0 or #ends > 0 or #over > 0 do
    while #known > 0 do
      local it = table.remove(known, 1)
      release_all(it.after, it.well, it.result, it.reason)
    end
    local now_ended = ends
    ends = {}
    for _, job in ipairs(now_ended) do
      count(job)
    end
    local looked, seen = over, {}
    over = {}
    for _, id in ipairs(looked) do
      if not seen[id] then
        seen[id] = true
        end_if_over(id)
      end
    end
  end
end

-- Take back what followed from the end, in `state`, of a job that is queued again.
function W.retried(id, flags, header, state)
  local group = header[IN_GROUP]
  if group and call("EXISTS", group_key(group)) == 1 then
    call("HINCRBY", group_key(group), counter(state), -1)
    call("ZREM", P .. "ge:" .. group, id)
    if call("HDEL", group_key(group), "ended") == 1 then
      call("HDEL", group_key(group), "off")
      call("ZREM", P .. "gended", group)
      W.wait_again(group)
    end
  end
  if has(flags, FOLLOWED) then
    W.wait_again(id)
  end
end

function W.wait_again(after)
  for _, id in ipairs(call("ZRANGE", P .. "wf:" .. after, 0, -1)) do
    local packed = call("HGET", P .. "f", id)
    local finished = packed and W.read_finished(packed)
    if finished and finished.state == CANCELLED then
      local error = W.last_error(finished.errors)
      if error and error[1] == "PredecessorFailed" then
        local stored, header = W.job(id)
        call("HDEL", P .. "f", id)
        call("ZREM", in_state(header[1], CANCELLED), id)
        call("ZADD", of_queue("w", header[1]), 0, id)
        W.hold_again(id, header)
        W.retried(id, W.flags(stored), header, CANCELLED)
      end
    end
  end
end

-- Of followers, those that their groups have room for: none where a group takes no more members.
function W.within(jobs)
  local left, named, kept = {}, {}, {}
  for _, job in ipairs(jobs) do
    local id = has(job.flags, GROUP) and job.header[IN_GROUP]
    if id and left[id] == nil then
      local group = W.group(id)
      left[id] = group and ((group.ended or group.off) and 0 or group.most and group.most - group.total) or false
    end
    if not id or not left[id] then
      kept[#kept + 1] = job
    else
      local key = job.header[KEY]
      if not (key and (named[key] or W.holder(key))) and left[id] >= 1 then
        left[id] = left[id] - 1
        kept[#kept + 1] = job
        if key then
          named[key] = true
        end
      end
    end
  end
  return kept
end

-- Forget groups that ended long ago, and for which nobody waits any more, with the members that were kept for them;
-- return how many jobs.
function W.prune_groups(limit)
  local removed = 0
  for _, id in ipairs(call("ZRANGEBYSCORE", P .. "gended", "-inf", now - KEEP_UNRUN, "LIMIT", 0, math.max(limit, 0))) do
    if not W.is_waited_for(id) then
      if call("HGET", group_key(id), "collects") then
        for _, job in ipairs(call("ZRANGE", P .. "gm:" .. id, 0, -1)) do
          if removed < limit and call("HEXISTS", P .. "f", job) == 1 then
            W.forget(job)
            removed = removed + 1
          end
        end
      end
      if removed >= limit then
        break
      end
      local nodes = call("SMEMBERS", P .. "gk:" .. id)
      if #nodes > 0 then
        W.many("HDEL", P .. "k", nodes)
      end
      call("DEL", group_key(id), P .. "gm:" .. id, P .. "ge:" .. id, P .. "gk:" .. id)
      call("ZREM", P .. "gended", id)
    end
  end
  return removed
end

function W.is_waited_for(id)
  for _, job in ipairs(call("ZRANGE", P .. "wf:" .. id, 0, -1)) do
    if call("HEXISTS", P .. "j", job) == 1 and call("HEXISTS", P .. "f", job) == 0 then
      return true
    end
  end
  return false
end
