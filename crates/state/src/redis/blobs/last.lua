-- What begins every script on the log: the server's time, and the log's last number. A log that is
-- new, or that has lost what a gateway has seen of it, begins anew with a floor: nobody knows what
-- else it has lost. So does one whose last number no clock can have made.
-- ARGV: the channel, the last number that the caller has seen (-1: none), and the script's own.
local key, channel, seen = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local AHEAD = 86400000000
local function text(number) return string.format('%.0f', number) end

local top = redis.call('ZRANGE', key, 0, 0, 'REV', 'WITHSCORES')
local last = tonumber(top[2] or '-1') or -1
if last > now + AHEAD then last = -1 end
if last < 0 or last < seen then
  last = math.max(now, seen + 1, last + 1)
  redis.call('DEL', key)
  redis.call('ZADD', key, text(last), 'f')
  redis.call('PUBLISH', channel, '0 ' .. text(last) .. ' f')
end
