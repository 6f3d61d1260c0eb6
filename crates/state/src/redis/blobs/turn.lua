-- Whose turn it is to make a blob: the caller's (0), another's for so many milliseconds (1), or
-- nobody's, as there is another one than the caller knows (2 and what get.lua gives).
-- KEYS: the blob, the lead. ARGV: a token, the life of a lead in milliseconds, the known id.
local id = redis.call('HGET', KEYS[1], 'i')
if id and id ~= ARGV[3] then
  local there = redis.call('HMGET', KEYS[1], 't', 'm', 'b')
  local time = redis.call('TIME')
  local age = time[1] * 1000000 + time[2] - tonumber(there[1] or '0')
  return { 2, id, string.format('%.0f', math.max(age, 0)), redis.call('PTTL', KEYS[1]), there[2],
    there[3] }
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return { 0 } end
return { 1, redis.call('PTTL', KEYS[2]) }
