-- Unique keys: k holds for each until when it is held (0: until its job has finished) and by which job.

function W.holder(key)
  local held = call("HGET", P .. "k", key)
  if not held then
    return nil
  end
  local till = struct.unpack("<d", held)
  if till > 0 and till <= now then
    call("HDEL", P .. "k", key)
    call("ZREM", P .. "kx", key)
    return nil
  end
  return string.sub(held, 9)
end

function W.take_key(id, header)
  local key = header[KEY]
  local till = header[HOLD] > 0 and now + header[HOLD] or 0
  call("HSET", P .. "k", key, struct.pack("<d", till) .. id)
  if till > 0 and till < INFINITE then
    call("ZADD", P .. "kx", till, key)
  end
  local group = header[IN_GROUP]
  if group and string.sub(key, 1, #group + 1) == group .. ":" then
    call("SADD", P .. "gk:" .. group, key) -- a node of a search, forgotten with it
  end
end

-- Give back the key of a job that has finished; one held for a time stays.
function W.free_key(id, key)
  if call("HGET", P .. "k", key) == struct.pack("<d", 0) .. id then
    call("HDEL", P .. "k", key)
  end
end

-- Give a job that is to run again its key back; false where another job holds it.
function W.hold_again(id, header)
  if not header[KEY] then
    return true
  end
  local holder = W.holder(header[KEY])
  if holder and holder ~= id then
    return false
  end
  if header[HOLD] < INFINITE then
    W.take_key(id, header)
  end
  return true
end
