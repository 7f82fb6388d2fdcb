-- Remove some jobs of a queue in one state; return how many.
local input = cmsgpack.unpack(ARGV[2])
local removed = 0
for _, id in ipairs(W.ids_in(input.queue, input.state, input.count, false)) do
  if removed < input.count and W.change(id, "delete") then
    removed = removed + 1
  end
end
W.follow()
W.retain()
W.note_change()
W.tell()
return removed
