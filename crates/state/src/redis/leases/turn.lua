-- What the scripts on leases have in common. KEYS: the lease (holder, ends, fence), those who wait
-- by the order of their coming, and the same by when they count as gone. Times are Redis' own, in
-- microseconds. A name is GATEWAY/NUMBER.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local lease, queue, alive = KEYS[1], KEYS[2], KEYS[3]

local function text(number)
  return string.format('%.0f', number)
end

-- How long the last number is remembered after a lease's end. Without it the time is the number:
-- larger than any before, as long as clocks of servers differ by less.
local REMEMBERED = 60000

local function lasts(time)
  redis.call('HSET', lease, 'ends', text(now + time))
  redis.call('PEXPIRE', lease, math.ceil(time / 1000) + REMEMBERED)
end

local function hold(name, time)
  local last = tonumber(redis.call('HGET', lease, 'fence') or '0')
  -- A number that cannot grow is somebody else's: rather no lease than two with one number.
  if not (last and last < 2 ^ 53) then
    error('the last number of a lease is none')
  end
  local fence = math.max(last + 1, now)
  redis.call('HSET', lease, 'holder', name, 'fence', text(fence))
  lasts(time)
  return fence
end

local function leave(name)
  redis.call('ZREM', queue, name)
  redis.call('ZREM', alive, name)
end

-- Gives the lease to the first who still waits, for as long as it may take to say so. Whether
-- there was one.
local function hand_on(time, channel)
  while true do
    local first = redis.call('ZRANGE', queue, 0, 0)[1]
    if not first then
      return false
    end
    local until_when = tonumber(redis.call('ZSCORE', alive, first) or '0')
    leave(first)
    if until_when > now then
      hold(first, time)
      redis.call('PUBLISH', channel .. string.match(first, '^[^/]*'), first)
      return true
    end
  end
end
