-- What every script shares: the time, the names of keys, the layout of what is stored, and the passing of many arguments.
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
local KEEP_UNRUN = @KEEP_UNRUN@ -- seconds for which a job is kept that ended without a worker to say for how long
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

-- A stored job: when it was put and when it is due, flags, the length of its header, the header, its body.
-- Of a header: the places of what it tells.
local TASK, RANK, DELAY, ETA, LIFE, KEY, HOLD, REDELIVERIES = 2, 3, 4, 5, 6, 7, 8, 9
local IN_LANE, IN_GROUP, AFTER, ANYWAY, TAKES, LIMITS = 10, 11, 12, 13, 14, 15

function W.stored(enqueued, due, rest)
  return struct.pack("<dd", enqueued, due) .. rest
end

function W.flags(stored)
  return string.byte(stored, 17)
end

function W.header(stored)
  local length = struct.unpack("<H", stored, 18)
  return cmsgpack.unpack(string.sub(stored, 20, 19 + length)), 20 + length
end

-- A stored job with another header; `from` is where its body begins.
function W.with_header(stored, flags, header, from, body_of)
  local packed = cmsgpack.pack(header)
  local body = string.sub(body_of or stored, from)
  return string.sub(stored, 1, 16) .. string.char(flags) .. struct.pack("<H", #packed) .. packed .. body
end

function W.job(id)
  local stored = call("HGET", P .. "j", id)
  if stored then
    return stored, W.header(stored)
  end
end

function W.due(header)
  return math.max(now + header[DELAY], header[ETA] or 0)
end

-- What is known of earlier attempts: how many, how many workers died with them, and their errors, one behind the other.
function W.attempts(id)
  local known = call("HGET", P .. "a", id)
  if not known then
    return 0, 0, ""
  end
  local attempt, lost = struct.unpack("<ii", known)
  return attempt, lost, string.sub(known, 9)
end

function W.set_attempts(id, attempt, lost, errors)
  if attempt == 0 and lost == 0 and errors == "" then
    call("HDEL", P .. "a", id)
  else
    call("HSET", P .. "a", id, struct.pack("<ii", attempt, lost) .. errors)
  end
end

function W.error(type, message, attempt)
  local packed = cmsgpack.pack({type, message, "", attempt, now})
  return struct.pack("<I", #packed) .. packed
end

-- The last of some errors, as the table it was made of; nil where there is none.
function W.last_error(errors)
  local at, last = 1, nil
  while at <= #errors do
    local length = struct.unpack("<I", errors, at)
    last, at = string.sub(errors, at + 4, at + 3 + length), at + 4 + length
  end
  return last and cmsgpack.unpack(last)
end

-- A finished job: state, when it ended and began, attempts, losses, errors, and the result behind a mark.
function W.finished(state, started, attempt, lost, errors, result)
  local head = struct.pack("<BddiiI", state, now, started or 0, attempt, lost, #errors)
  return head .. errors .. (result and "\1" .. result or "\0")
end

function W.read_finished(packed)
  local state, ended, started, attempt, lost, length, from = struct.unpack("<BddiiI", packed)
  local errors = string.sub(packed, from, from + length - 1)
  local result = string.byte(packed, from + length) == 1 and string.sub(packed, from + length + 1)
  return {
    state = state, ended = ended, started = started, attempt = attempt, lost = lost, errors = errors, result = result
  }
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
function W.tell()
  for queue in pairs(woken) do
    call("PUBLISH", P .. "wake:" .. queue, "")
  end
  if changed then
    call("PUBLISH", P .. "changed", "")
  end
end
function W.note_change()
  changed = true
end
