-- Lanes: what they allow (a token bucket as the generic cell rate algorithm), and whose turn it is (stride scheduling).
--
-- lanes holds what a lane allows and how much of it is taken. Of a queue: t the turns of lanes that may be served, T
-- the turns and C the opening times of those that may not.

local EARLY = 2e-6
local RATE, BURST, CEILING, WEIGHT, PINNED, PAUSED, BUSY, SPENT = 1, 2, 3, 4, 5, 6, 7, 8

function W.lane(name)
  local packed = call("HGET", P .. "lanes", name)
  if packed then
    return cmsgpack.unpack(packed)
  end
end

function W.new_lane(limits)
  limits = limits or {false, 1, false}
  return {limits[1], limits[2], limits[3], 1, false, 0, 0, 0}
end

function W.save_lane(name, lane)
  call("HSET", P .. "lanes", name, cmsgpack.pack(lane))
end

function W.room(lane)
  if lane[PAUSED] > now then
    return 0
  end
  local room = INFINITE
  if lane[RATE] then
    local ahead = math.max(0, lane[SPENT] - now - EARLY) * lane[RATE]
    room = math.max(0, math.floor(lane[BURST] - ahead))
  end
  if lane[CEILING] then
    room = math.min(room, math.max(0, lane[CEILING] - lane[BUSY]))
  end
  return room
end

-- 0 where a job may be leased now, else when one may; infinite: not before something changes.
function W.opens(lane)
  if lane[CEILING] and lane[BUSY] >= lane[CEILING] then
    return INFINITE
  end
  local at = lane[PAUSED] > now and lane[PAUSED] or 0
  if lane[RATE] then
    local earned = lane[SPENT] - (lane[BURST] - 1) / lane[RATE]
    if earned - now > EARLY then
      at = math.max(at, earned)
    end
  end
  return at
end

-- Note in every queue where the lane has a turn whether it may be served.
function W.set_opens(name, lane)
  local opens = W.opens(lane)
  for _, queue in ipairs(call("HKEYS", P .. "queues")) do
    W.set_opens_in(queue, name, opens)
  end
end

function W.set_opens_in(queue, name, opens)
  local turn = call("ZSCORE", of_queue("t", queue), name)
  if not turn then
    turn = call("HGET", of_queue("T", queue), name)
    if not turn then
      return
    end
  end
  if opens == 0 then
    call("HDEL", of_queue("T", queue), name)
    call("ZREM", of_queue("C", queue), name)
    call("ZADD", of_queue("t", queue), turn, name)
    W.wake(queue)
  else
    call("ZREM", of_queue("t", queue), name)
    call("HSET", of_queue("T", queue), name, turn)
    call("ZADD", of_queue("C", queue), opens, name)
    W.wake(queue) -- for those who wait until it opens
  end
end

-- Note what the task of a job that is being put declares of its lane.
function W.declare_lane(name, limits)
  local lane = W.lane(name)
  if not lane then
    W.save_lane(name, W.new_lane(limits))
  elseif limits and not lane[PINNED] and not (
    lane[RATE] == limits[1] and lane[BURST] == limits[2] and lane[CEILING] == limits[3]
  ) then
    lane[RATE], lane[BURST], lane[CEILING] = limits[1], limits[2], limits[3]
    W.save_lane(name, lane)
    W.set_opens(name, lane)
  end
end

local function round_of(queue)
  local round = call("HGET", P .. "rounds", queue)
  if round then
    return struct.unpack("<dd", round)
  end
  return 0, 0
end

-- Give a turn to a lane that has ready jobs in a queue; where it was dropped, it is made anew.
function W.line_up(name, queue, limits)
  local lane = W.lane(name)
  if not lane then
    lane = W.new_lane(limits)
    W.save_lane(name, lane)
  end
  if call("ZSCORE", of_queue("t", queue), name) or call("HEXISTS", of_queue("T", queue), name) == 1 then
    return
  end
  local at = round_of(queue)
  local opens = W.opens(lane)
  if opens == 0 then
    call("ZADD", of_queue("t", queue), at, name)
  else
    call("HSET", of_queue("T", queue), name, at)
    call("ZADD", of_queue("C", queue), opens, name)
  end
end

-- Free places of jobs that are leased no longer; the tokens of those that had not begun come back.
function W.leave_lane(name, unused)
  local lane = W.lane(name)
  if not lane then
    return
  end
  lane[BUSY] = math.max(0, lane[BUSY] - 1)
  if lane[RATE] then
    lane[SPENT] = lane[SPENT] - unused / lane[RATE]
  end
  W.save_lane(name, lane)
  if lane[CEILING] or unused > 0 then
    W.set_opens(name, lane)
  end
end

-- -- whose turn it is ------------------------------------------------------------------------------------------

local function before(one, other)
  return one.turn < other.turn or (one.turn == other.turn and one.name < other.name)
end

local function sink(heap, at)
  local item = heap[at]
  while true do
    local child = 2 * at
    if child > #heap then
      break
    end
    if child < #heap and before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if not before(heap[child], item) then
      break
    end
    heap[at], at = heap[child], child
  end
  heap[at] = item
end

local function drop_first(heap)
  heap[1] = heap[#heap]
  heap[#heap] = nil
  if #heap > 0 then
    sink(heap, 1)
  end
end

-- The next job of a line, which expects to give `share` of them; nil where none is left.
local function next_job(line, share)
  if line.given == #line.ids and line.more then
    local wanted = math.floor(math.min(math.max(share, 1), line.room))
    line.looked_at = true
    local fetched = call("ZRANGE", line.key, line.read, line.read + wanted) -- one more, to know whether any is left
    for _, id in ipairs(fetched) do
      line.ids[#line.ids + 1] = id
    end
    line.read = line.read + #fetched
    line.more = #line.ids - line.given > wanted
  end
  if line.given < #line.ids then
    line.given = line.given + 1
    return line.ids[line.given]
  end
end

-- Take up to `limit` jobs of a queue, its lanes and the jobs in none by turn; nil where no lane may be served.
function W.serve(queue, limit)
  for _, name in ipairs(call("ZRANGEBYSCORE", of_queue("C", queue), "-inf", now)) do
    W.set_opens_in(queue, name, 0)
  end
  local turns = call("ZRANGE", of_queue("t", queue), 0, limit - 1, "WITHSCORES")
  if #turns == 0 then
    return nil
  end
  local at, plain_at = round_of(queue)
  local plain = {name = "", turn = plain_at, room = INFINITE, stride = 1, key = of_queue("q", queue)}
  local lines = {plain}
  for i = 1, #turns, 2 do
    local lane = W.lane(turns[i]) or W.new_lane()
    lines[#lines + 1] = {
      name = turns[i], turn = tonumber(turns[i + 1]), lane = lane, room = W.room(lane), stride = 1 / lane[WEIGHT],
      key = in_lane(queue, turns[i]),
    }
  end
  local heap = {}
  for _, line in ipairs(lines) do
    line.ids, line.given, line.read, line.more, line.taken = {}, 0, 0, true, 0
    if line.room >= 1 then
      heap[#heap + 1] = line
    end
  end
  for i = math.floor(#heap / 2), 1, -1 do
    sink(heap, i)
  end
  local taken, late = {}, {}
  local expire = call("ZCARD", P .. "x") > 0
  while #heap > 0 and #taken < limit do
    local line = heap[1]
    local id = next_job(line, math.ceil((limit - #taken) / #heap))
    if not id then
      drop_first(heap)
    elseif expire and W.is_late(id) then
      late[#late + 1] = id
    else
      taken[#taken + 1] = id
      at = math.max(at, line.turn)
      line.taken, line.room, line.turn = line.taken + 1, line.room - 1, at + line.stride
      if line.room < 1 then
        drop_first(heap)
      else
        sink(heap, 1)
      end
    end
  end
  call("HSET", P .. "rounds", queue, struct.pack("<dd", at, plain.turn))
  for _, line in ipairs(lines) do
    W.note_served(queue, line)
  end
  for _, id in ipairs(late) do
    W.expire(id)
  end
  return taken
end

function W.note_served(queue, line)
  if line.given > 0 then
    local gone = {unpack(line.ids, 1, line.given)}
    W.many("ZREM", line.key, gone)
    if line.lane then
      W.many("ZREM", of_queue("L", queue), gone)
    end
  end
  local lane = line.lane
  if not lane then
    return
  end
  if line.taken > 0 then
    lane[BUSY] = lane[BUSY] + line.taken
    if lane[RATE] then
      lane[SPENT] = math.max(lane[SPENT], now) + line.taken / lane[RATE]
    end
    W.save_lane(line.name, lane)
  end
  if line.looked_at and line.given == #line.ids and not line.more then
    call("ZREM", of_queue("t", queue), line.name)
  elseif line.looked_at then
    call("ZADD", of_queue("t", queue), line.turn, line.name)
  end
  if line.room < 1 then
    W.set_opens(line.name, lane)
  end
end
