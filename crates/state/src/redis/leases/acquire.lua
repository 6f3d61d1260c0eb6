-- ARGV: the name, how long it is to last, how long one who waits counts as there, most who wait,
-- how long one who was given it has to take it, what gateways' channels begin with.
-- Returns {1, fence}: held; {0, time}: waits, for at most so long; {2}: too many wait.
local name, time, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local most, offer, channel = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local state = redis.call('HMGET', lease, 'holder', 'ends', 'fence')
local ends = tonumber(state[2] or '0')
if state[1] == name and ends > now then
  lasts(time)
  return {1, tonumber(state[3])}
end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', text(now), 'LIMIT', 0, 100)) do
  leave(gone)
end

local free = not state[1] or ends <= now
local first = redis.call('ZRANGE', queue, 0, 0)[1]
if free and (not first or first == name) then
  leave(name)
  return {1, hold(name, time)}
end

if not redis.call('ZSCORE', queue, name) then
  if redis.call('ZCARD', queue) >= most then
    if free then
      hand_on(offer, channel)
    end
    return {2}
  end
  local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', queue, text(tonumber(last or '0') + 1), name)
end
redis.call('ZADD', alive, text(now + patience), name)
local kept = math.ceil(patience / 500)
redis.call('PEXPIRE', queue, kept)
redis.call('PEXPIRE', alive, kept)

if free then
  hand_on(offer, channel)
  ends = now + offer
end
return {0, ends - now}
