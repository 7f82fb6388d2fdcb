-- What is known of the workers that are alive, by id.
local found = {}
local alive = call("ZRANGEBYSCORE", P .. "workers", "(" .. string.format("%.17g", now), "+inf")
table.sort(alive)
for i, id in ipairs(alive) do
  found[i] = call("HGET", P .. "about", id)
end
return found
