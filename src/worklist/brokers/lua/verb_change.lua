-- Cancel, retry or delete jobs; return the ids of those that could be changed.
local input = cmsgpack.unpack(ARGV[2])
local done = {}
for _, id in ipairs(input.ids) do
  if W.change(id, input.change) then
    done[#done + 1] = id
    W.follow()
  end
end
W.retain()
W.note_change()
W.tell()
return done
