-- Write down what running jobs say of themselves.
for _, it in ipairs(cmsgpack.unpack(ARGV[2])) do
  W.report(it[1], it[2], it[3], it[4], it[5])
end
W.tell()
