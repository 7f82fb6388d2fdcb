-- All that is known of some jobs. Of one that has ended in another broker, its packed record.
local found = {}
for i, id in ipairs(cmsgpack.unpack(ARGV[2])) do
  found[i] = W.record(id)
  if not found[i] then
    local kept = call("GET", P .. "ended:" .. id)
    if kept then
      local _, kept_until, from = struct.unpack("<id", kept)
      found[i] = kept_until > now and string.sub(kept, from)
    end
  end
end
return found
