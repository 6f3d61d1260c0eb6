-- ARGV: the name, how long it is to last from now. Returns whether it is still this one's.
local state = redis.call('HMGET', lease, 'holder', 'ends')
if state[1] ~= ARGV[1] or tonumber(state[2] or '0') <= now then
  return 0
end
lasts(tonumber(ARGV[2]))
return 1
