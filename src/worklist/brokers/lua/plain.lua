-- Jobs that nothing is tied to, on their way in: few commands for many of them.

-- When a job that is put now is due; `due` is its delay, and behind it a time before which it is not.
local function due_of(due)
  if type(due) == "number" then
    return now + due
  end
  return math.max(now + due[1], due[2])
end

-- Add jobs that are tied to nothing: few commands for many of them.
function W.put_plain(list)
  local ids, seen, new = {}, {}, {}
  for i, it in ipairs(list) do
    ids[i] = it[1]
  end
  local there = W.each("HMGET", P .. "j", ids)
  local pairs_of, ready, delayed = {}, {}, {}
  local at_once = struct.pack("<dd", now, now)
  for i, it in ipairs(list) do
    local id, queue = it[1], it[2]
    if not there[i] and not seen[id] then
      seen[id] = true
      local due = it[4] == 0 and now or due_of(it[4])
      new[#new + 1] = id
      new[#new + 1] = (due == now and at_once or struct.pack("<dd", now, due)) .. it[5]
      local into = due <= now and ready or delayed
      if not into[queue] then
        into[queue] = {}
      end
      local list_of = into[queue]
      list_of[#list_of + 1] = due <= now and it[3] or due
      list_of[#list_of + 1] = id
    end
  end
  W.many("HSET", P .. "j", new)
  for queue, list_of in pairs(ready) do
    W.number_of(queue)
    W.many("ZADD", of_queue("q", queue), list_of)
    W.wake(queue)
  end
  for queue, list_of in pairs(delayed) do
    W.number_of(queue)
    W.many("ZADD", of_queue("d", queue), list_of)
    for i = 1, #list_of, 2 do
      list_of[i] = 0
    end
    W.many("ZADD", of_queue("D", queue), list_of)
    W.wake(queue)
  end
  return ids
end
