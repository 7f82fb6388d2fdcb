-- Cancel what has not begun of a group and ask what runs to stop, some members at a time: those from a place on.
local input = cmsgpack.unpack(ARGV[2])
local key = P .. "group:" .. input.id
if input.from == 0 and call("EXISTS", key) == 1 and not call("HGET", key, "ended") then
  call("HSET", key, "off", 1)
  call("HDEL", key, "open")
  W.look(input.id)
end
local ids = call("ZRANGE", P .. "gm:" .. input.id, input.from, input.from + input.count - 1)
local asked = 0
for _, id in ipairs(ids) do
  if call("HEXISTS", P .. "f", id) == 0 and not call("HGET", P .. "c", id) and W.change(id, "cancel") then
    asked = asked + 1
  end
end
W.follow()
W.retain()
W.note_change()
W.tell()
return {#ids, asked}
