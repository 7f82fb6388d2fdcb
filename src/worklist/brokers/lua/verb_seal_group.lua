-- Let a group end with its last member.
local id = cmsgpack.unpack(ARGV[2])
if call("HDEL", P .. "group:" .. id, "open") == 1 then
  W.look(id)
  W.follow()
  W.retain()
  W.note_change()
  W.tell()
end
