-- Adds purges to the log, each with a number that is later than all before: microseconds by the
-- server's clock, or one more than the last. The log is a sorted set of what was purged, by the
-- number of its last purge; its member 'f' is the floor, below which all is purged. Comes after
-- last.lua.
-- ARGV 3 and on: how far the log reaches back (in microseconds), most members, and what is purged.
local reach, most = tonumber(ARGV[3]), tonumber(ARGV[4])
for n = 5, #ARGV do
  local number = math.max(last + 1, now)
  if ARGV[n] == 'f' then redis.call('DEL', key) end
  redis.call('ZADD', key, text(number), ARGV[n])
  redis.call('PUBLISH', channel, text(last) .. ' ' .. text(number) .. ' ' .. ARGV[n])
  last = number
end

-- What is forgotten lifts the floor: too much is purged then, never too little.
local floor = tonumber(redis.call('ZSCORE', key, 'f') or '0')
if floor < now - reach - 60000000 then
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now - reach))
  redis.call('ZADD', key, text(now - reach), 'f')
end
local over = redis.call('ZCARD', key) - most
if over > 0 then
  local gone = redis.call('ZRANGE', key, over, over, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', key, 0, over)
  redis.call('ZADD', key, gone[2], 'f')
end
return text(last)
