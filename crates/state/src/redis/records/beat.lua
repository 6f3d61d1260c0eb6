-- Says that a gateway is alive, and forgets those that have not said so for long.
-- KEYS: signs of life. ARGV: gateway.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], now)
redis.call('PEXPIRE', KEYS[1], 3600000)
if redis.call('HLEN', KEYS[1]) > 16 then
  local all = redis.call('HGETALL', KEYS[1])
  for place = 1, #all, 2 do
    -- Longer than any request's `lost_after`.
    if all[place + 1] + 1200000 < now then
      redis.call('HDEL', KEYS[1], all[place])
    end
  end
end
return 1
