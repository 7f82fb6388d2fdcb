-- What every script shares: the time, the names of keys, the passing of many arguments, the waking of those who wait.
--
-- KEYS[1] is the prefix of all keys of an app, with its hash tag. ARGV[1] is the time in unix seconds, or "" for the
-- server's; ARGV[2] what a verb needs, as msgpack. In msgpack, false stands for None.

local P = KEYS[1]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call("TIME")
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local call = redis.call
local INFINITE = math.huge
-- Seconds for which a job is kept that ended without a worker to say for how long.
local KEEP_UNRUN = @KEEP_UNRUN@
local RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED, QUEUED, WAITING = 2, 3, 4, 5, 6, 7, 8
local STATE_NAMES = {[3] = "succeeded", [4] = "failed", [5] = "cancelled", [6] = "expired"}
-- Flags of a job; the body of one that is renamed has another id in it.
local LANE, GROUP, FOLLOWED, KEYED, WAITS, EXPIRES, RENAMED = 1, 2, 4, 8, 16, 32, 64
local W = {} -- the functions

local function has(flags, flag)
  return flags % (2 * flag) >= flag
end

-- Names of keys. Of jobs: j all, f finished, a those with earlier attempts, p progress, o logs, g given, c to be
-- stopped. Of a queue: q ready, d delayed by time, D delayed by id, l ready in a lane, L ready in lanes, r running,
-- w waiting, s finished by state.
local function of_queue(kind, queue)
  return P .. kind .. ":" .. queue
end
local function in_lane(queue, lane)
  return P .. "l:" .. queue .. "\0" .. lane
end
local function in_state(queue, state)
  return P .. "s" .. state .. ":" .. queue
end

-- Call a command with any number of arguments behind its key, an even number at a time.
function W.many(command, key, arguments)
  for first = 1, #arguments, 4000 do
    call(command, key, unpack(arguments, first, math.min(first + 3999, #arguments)))
  end
end

-- The same for commands that give an answer for each argument.
function W.each(command, key, arguments)
  if #arguments <= 4000 then
    return #arguments > 0 and call(command, key, unpack(arguments)) or {}
  end
  local found = {}
  for first = 1, #arguments, 4000 do
    for _, value in ipairs(call(command, key, unpack(arguments, first, math.min(first + 3999, #arguments)))) do
      found[#found + 1] = value
    end
  end
  return found
end

-- Queues have numbers, which leases carry.
local numbers = {}
function W.number_of(queue)
  if not numbers[queue] then
    local number = tonumber(call("HGET", P .. "queues", queue))
    if not number then
      number = call("HLEN", P .. "queues") + 1
      call("HSET", P .. "queues", queue, number)
      call("HSET", P .. "names", number, queue)
    end
    numbers[queue] = number
  end
  return numbers[queue]
end

local names = {}
function W.name_of(number)
  if names[number] == nil then
    names[number] = call("HGET", P .. "names", number)
  end
  return names[number]
end

-- Who waits is told at the end, once: for work in some queues, or for any change.
local woken, changed = {}, false
function W.wake(queue)
  woken[queue] = true
end
-- One worker that waits for a lease is given it; a bell that rings already stays as it is.
function W.ring(queue)
  if call("EXISTS", of_queue("bell", queue)) == 0 then
    call("RPUSH", of_queue("bell", queue), "")
  end
end
function W.tell()
  for queue in pairs(woken) do
    W.ring(queue)
    call("PUBLISH", P .. "wake:" .. queue, "")
  end
  if changed then
    call("PUBLISH", P .. "changed", "")
  end
end
function W.note_change()
  changed = true
end
