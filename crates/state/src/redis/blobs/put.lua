-- Puts a blob, unless what is there was asked for later, and gives a lead over its key back. What
-- somebody else has written there gives way.
-- KEYS: the blob, the lead. ARGV: the id, how long it stays in milliseconds, the token of the lead
-- or nothing, the number of purges it was asked for at, and, unless the body is kept by each gateway
-- for itself, the head and the body.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local AHEAD = 86400000000
local stamp = redis.pcall('HGET', KEYS[1], 's')
stamp = type(stamp) == 'string' and tonumber(stamp)
if not (stamp and stamp > tonumber(ARGV[4]) and stamp <= now + AHEAD) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'i', ARGV[1], 's', ARGV[4], 't', string.format('%.0f', now))
  if ARGV[5] then redis.call('HSET', KEYS[1], 'm', ARGV[5], 'b', ARGV[6]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
return 1
