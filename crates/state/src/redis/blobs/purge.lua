-- Adds purges to the log, each with a number that is later than all before: microseconds by the
-- server's clock, or one more than the last. The log is a sorted set of what was purged, by the
-- number of its last purge; its member 'f' is the floor, below which all is purged.
-- ARGV: the channel, the last number that the caller has seen, how far the log reaches back (in
-- microseconds), most members, and what is purged.
local key, channel, seen = KEYS[1], ARGV[1], tonumber(ARGV[2])
local reach, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end

local top = redis.call('ZRANGE', key, 0, 0, 'REV', 'WITHSCORES')
local last = tonumber(top[2] or '-1')
if last < 0 or last < seen then
  -- The log is new, or has lost what a gateway has seen of it: nobody knows what else.
  last = math.max(now, seen + 1, last + 1)
  redis.call('DEL', key)
  redis.call('ZADD', key, text(last), 'f')
  redis.call('PUBLISH', channel, '0 ' .. text(last) .. ' f')
end
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
