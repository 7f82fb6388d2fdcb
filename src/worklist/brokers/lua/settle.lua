-- How leases end.

-- Write down jobs that succeeded and are tied to nothing, all of one lease: few commands for many of them.
function W.settle_done(number, token, keep, ids, results)
  local queue = W.name_of(token)
  if not queue then
    return
  end
  local ours, finished, state = {}, {}, {}
  local started = tonumber(call("HGET", P .. "lease:" .. number, "started")) or 0
  local wanted = tostring(number)
  local head = struct.pack("<BddiiI", SUCCEEDED, now, started, 1, 0, 0)
  for i, held in ipairs(W.each("HMGET", of_queue("r", queue), ids)) do
    if held == wanted then
      ours[#ours + 1] = ids[i]
      if keep then
        finished[#finished + 1] = ids[i]
        finished[#finished + 1] = head .. "\1" .. results[i]
        state[#state + 1] = 0
        state[#state + 1] = ids[i]
      end
    end
  end
  if #ours == 0 then
    return
  end
  W.many("HDEL", of_queue("r", queue), ours)
  if call("EXISTS", P .. "c") == 1 then
    W.many("HDEL", P .. "c", ours)
  end
  if keep then
    W.many("HSET", P .. "f", finished)
    W.many("ZADD", in_state(queue, SUCCEEDED), state)
    W.keep(keep, ours)
  else
    W.many("HDEL", P .. "j", ours)
    for _, kind in ipairs({"p", "o"}) do
      if call("EXISTS", P .. kind) == 1 then
        W.many("HDEL", P .. kind, ours)
      end
    end
  end
  W.release(number, #ours)
  W.note_change()
end

-- Write down what a running job says of itself, where it is still ours; return whether it is.
function W.report(id, number, token, progress, logs)
  local queue = W.name_of(token)
  if not queue or call("HGET", of_queue("r", queue), id) ~= tostring(number) then
    return false
  end
  if progress then
    call("HSET", P .. "p", id, progress)
    W.note_change()
  end
  if logs then
    call("HSET", P .. "o", id, logs)
    W.note_change()
  end
  return queue
end

-- Write down one outcome of any kind; return the followers that are to be put.
function W.settle_one(it, followers)
  local id, number, kind = it.id, it.number, it.kind
  local queue = W.report(id, number, it.token, it.progress, it.logs)
  if not queue then
    return
  end
  local stored, header = W.job(id)
  local started = tonumber(call("HGET", P .. "lease:" .. number, "started"))
  call("HDEL", of_queue("r", queue), id)
  W.release(number, 1)
  if header[IN_LANE] then
    W.leave_lane(header[IN_LANE], it.unused and 1 or 0)
  end
  W.count_running(header, -1)
  local attempt, lost, errors = W.attempts(id)
  attempt = attempt + 1
  local keep, keep_result = it.keep, it.keep_result
  if W.collects(header) then
    keep, keep_result = INFINITE, INFINITE
  end
  local cancelling = call("HDEL", P .. "c", id) == 1
  local more = it.error and struct.pack("<I", #it.error) .. it.error or ""
  if kind == "done" then
    W.finish(id, stored, header, SUCCEEDED, started, attempt, lost, errors, it.result, keep_result)
    for _, job in ipairs(it.followers or {}) do
      followers[#followers + 1] = job
    end
  elseif kind == "fail" then
    W.finish(id, stored, header, FAILED, started, attempt, lost, errors .. more, nil, keep)
  elseif kind == "cancel" or cancelling then
    W.finish(id, stored, header, CANCELLED, started, attempt, lost, errors, nil, keep)
  elseif kind == "retry" then
    W.requeue(id, stored, header, now + it.delay, attempt, lost, errors .. more)
  else
    W.requeue(id, stored, header, now + it.delay, attempt - 1, lost, errors)
  end
end

function W.settle(done, others)
  for _, it in ipairs(done) do
    W.settle_done(it[1], it[2], it[3], it[4], it[5])
  end
  local followers = {}
  for _, it in ipairs(others) do
    W.settle_one(it, followers)
  end
  if #followers > 0 then
    local jobs = W.read_jobs(followers)
    W.put_jobs(W.within(jobs))
  end
  W.follow()
  W.retain()
end
