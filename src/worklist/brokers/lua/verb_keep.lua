-- Keep the records of jobs that have ended in another broker: each under a key of its own, which Redis removes itself.
-- Before the record stand its rank, and until when it is kept. The one of higher rank stays, and that of a success for good.
local SUCCESS = 1073741824
local asked = cmsgpack.unpack(ARGV[2])
for _, it in ipairs(asked.records) do
  local key = P .. "ended:" .. it[1]
  local there = call("GET", key)
  local rank = there and struct.unpack("<i", there) or 0
  if rank <= it[2] and rank < SUCCESS then
    call("SET", key, struct.pack("<id", it[2], now + asked.seconds) .. it[3], "PX", math.ceil(asked.seconds * 1000))
  end
end
W.note_change()
W.tell()
