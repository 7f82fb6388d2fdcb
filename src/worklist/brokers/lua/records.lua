-- How jobs are stored, and what is known of their attempts and their ends.

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
