-- ARGV: the name, how long one who is given it has to take it, what gateways' channels begin with.
-- Who waits leaves, who holds lets go. Returns whether it held.
leave(ARGV[1])
if redis.call('HGET', lease, 'holder') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', lease, 'holder', 'ends')
hand_on(tonumber(ARGV[2]), ARGV[3])
return 1
