-- Set limits, weight or pause of a lane.
local input = cmsgpack.unpack(ARGV[2])
local lane = W.lane(input.name) or W.new_lane()
for place, value in pairs(input.set) do
  lane[tonumber(place)] = value
end
W.save_lane(input.name, lane)
W.set_opens(input.name, lane)
W.note_change()
W.tell()
