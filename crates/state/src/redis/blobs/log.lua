-- Reads the log on from a number: the server's time, the log's last number, and a page of what was
-- purged later, in order. A log that is new, or that has lost what the caller has seen, begins anew
-- with a floor.
-- ARGV: the channel, the last number that the caller has seen (-1: none), the length of a page.
local key, channel, seen = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end

local top = redis.call('ZRANGE', key, 0, 0, 'REV', 'WITHSCORES')
local last = tonumber(top[2] or '-1')
if last < 0 or last < seen then
  last = math.max(now, seen + 1, last + 1)
  redis.call('DEL', key)
  redis.call('ZADD', key, text(last), 'f')
  redis.call('PUBLISH', channel, '0 ' .. text(last) .. ' f')
end
local page = redis.call('ZRANGE', key, '(' .. text(seen), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3],
  'WITHSCORES')
return { text(now), text(last), page }
