-- A blob: its id, its age in microseconds, how long it stays in milliseconds, its head and body.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local there = redis.call('HMGET', KEYS[1], 'i', 't', 'm', 'b')
local time = redis.call('TIME')
local age = time[1] * 1000000 + time[2] - tonumber(there[2] or '0')
return { there[1], string.format('%.0f', math.max(age, 0)), redis.call('PTTL', KEYS[1]), there[3],
  there[4] }
