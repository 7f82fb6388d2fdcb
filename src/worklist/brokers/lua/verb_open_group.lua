-- Make a group that does not end before it is sealed.
local input = cmsgpack.unpack(ARGV[2])
if W.make_group(input.id) then
  call("HSET", P .. "group:" .. input.id, "open", 1)
  if input.most then
    call("HSET", P .. "group:" .. input.id, "most", input.most)
  end
end
