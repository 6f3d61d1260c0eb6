-- One decision over the counters of one request: takes from all of KEYS, or from none of them.
--
-- ARGV[i] says what is taken from KEYS[i], as twelve doubles (little endian): way of counting,
-- count, window, burst, cost, dry, want, life, offset, share, amount given back, its stamp.
-- Times are microseconds. `want` is how much the gateway would like beside `cost`, to spend by
-- itself within `life`; it gets at most one part in `share` of what remains. That slice is counted
-- from now on, and as if it were spent when its life ends.
--
-- The answer: seven doubles for each of KEYS: allowed, what remains, until the whole limit is back,
-- until the cost may be taken, stamp for giving back, slice granted, its life. Before them, one
-- that says whether anything was taken.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- Slices with a shorter life are not worth their call.
local SHORTEST = 1000
-- Whole numbers below this one are exact.
local EXACT = 2 ^ 53

local function whole(number)
  return string.format('%.0f', number)
end

local function expire(key, micros)
  redis.call('PEXPIRE', key, whole(math.max(1, math.ceil(micros / 1000))))
end

-- Sliding window: a hash with the counts of sixtieths of the window, each under its number modulo
-- 64; `h`, the newest that has begun; `n`, the newest that has a count; `t`, the sum of all.
-- A slice may be counted in a sixtieth that has not begun: two ahead at most.
local sliding = {}
local RING = 64
local LAST = 60
local AHEAD = 2
-- What somebody else has written under a key, and a clock that was set back by more than a window,
-- is as if nothing were there: no limit waits for a time that may never come. Comparisons are such
-- that one with `nan` does not hold.

local function fields_of(from, to)
  local fields = {}
  for number = from, to do
    fields[#fields + 1] = whole(number % RING)
  end
  return fields
end

function sliding.open(key, limit)
  local length = math.ceil(limit.window / 60)
  local known = redis.call('HMGET', key, 'h', 'n', 't')
  local bucket = math.floor(now / length)
  local state = { length = length, total = 0, newest = bucket, old = {} }
  if known[1] then
    local head, newest, total = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
    local ours = head and newest and total and math.abs(bucket - head) <= LAST + AHEAD
    if not (ours and newest <= head + LAST) then
      redis.call('DEL', key)
    else
      bucket = math.max(bucket, head)
      state.newest = newest
      state.total = total
      state.old = fields_of(head - LAST, bucket - LAST - 1)
      if #state.old > 0 then
        for _, count in ipairs(redis.call('HMGET', key, unpack(state.old))) do
          state.total = state.total - (tonumber(count) or 0)
        end
      end
    end
  end
  state.bucket = bucket
  return state
end

function sliding.look(key, limit, state)
  local remaining = math.max(0, limit.count - state.total)
  local reset, wait = 0, 0
  if state.total > 0 then
    reset = (state.newest + LAST + 1) * state.length - now
  end
  if limit.cost > remaining then
    wait = limit.window
    local missing = limit.cost - remaining
    local first = state.bucket - LAST
    local fields = fields_of(first, state.newest)
    -- Nothing that counts: more is asked for than the limit ever gives.
    local counts = #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}
    for place, count in ipairs(counts) do
      missing = missing - (tonumber(count) or 0)
      if missing <= 0 then
        wait = (first + place - 1 + LAST + 1) * state.length - now
        break
      end
    end
  end
  return remaining, reset, wait
end

-- Until the end of this sixtieth, or of the next one where too little is left of this.
function sliding.term(limit, state)
  local left = (state.bucket + 1) * state.length - now
  if left >= limit.life or left >= limit.life / 2 and left >= SHORTEST then
    return math.min(limit.life, left), state.bucket
  end
  local life = math.min(limit.life, left + state.length)
  return life, state.bucket + 1
end

function sliding.spend(key, limit, state, amount, stamp)
  local bucket = stamp or state.bucket
  if #state.old > 0 then
    redis.call('HDEL', key, unpack(state.old))
  end
  redis.call('HINCRBY', key, whole(bucket % RING), whole(amount))
  state.newest = math.max(state.newest, bucket)
  redis.call('HSET', key, 'h', whole(state.bucket), 'n', whole(state.newest),
    't', whole(state.total + amount))
  local reset = (state.newest + LAST + 1) * state.length - now
  expire(key, reset)
  return reset, bucket
end

function sliding.back(key, limit, amount, stamp)
  local known = redis.call('HMGET', key, 'h', 'n')
  if not known[1] or stamp < tonumber(known[1]) - LAST or stamp > tonumber(known[2]) then
    return
  end
  local field = whole(stamp % RING)
  amount = math.min(amount, tonumber(redis.call('HGET', key, field)) or 0)
  if amount > 0 then
    redis.call('HINCRBY', key, field, whole(-amount))
    redis.call('HINCRBY', key, 't', whole(-amount))
  end
end

-- Sliding log: a list of the time of each event, in their order.
local log = {}

function log.open(key, limit)
  local gone
  local first = redis.call('LINDEX', key, 0)
  local at = first and tonumber(first)
  if first and not (at and at <= now + 2 * limit.window) then
    redis.call('DEL', key)
    first = false
  end
  while first and tonumber(first) + limit.window <= now do
    gone = 0
    for _, at in ipairs(redis.call('LRANGE', key, 0, 99)) do
      if tonumber(at) + limit.window > now then
        break
      end
      gone = gone + 1
    end
    redis.call('LPOP', key, gone)
    first = redis.call('LINDEX', key, 0)
  end
  return { total = redis.call('LLEN', key) }
end

function log.look(key, limit, state)
  local remaining = math.max(0, limit.count - state.total)
  local reset, wait = 0, 0
  if state.total > 0 then
    reset = tonumber(redis.call('LINDEX', key, -1)) + limit.window - now
  end
  if limit.cost > remaining then
    local last = redis.call('LINDEX', key, whole(limit.cost - remaining - 1))
    wait = last and tonumber(last) + limit.window - now or limit.window
  end
  return remaining, reset, wait
end

function log.term(limit)
  return limit.life, now + limit.life
end

function log.spend(key, limit, state, amount, stamp)
  local at = stamp or now
  local last = redis.call('LINDEX', key, -1)
  if last then
    at = math.max(at, tonumber(last))
  end
  local text, left = whole(at), amount
  while left > 0 do
    local some = {}
    for place = 1, math.min(left, 1000) do
      some[place] = text
    end
    redis.call('RPUSH', key, unpack(some))
    left = left - #some
  end
  expire(key, at + limit.window - now)
  return at + limit.window - now, at
end

function log.back(key, limit, amount, stamp)
  if amount > 0 then
    redis.call('LREM', key, whole(-amount), whole(stamp))
  end
end

-- Token bucket: the moment when it would be full again (GCRA), as a whole number of microseconds
-- and a rest in parts of the limit's count, so that nothing is rounded.
local bucket = {}

-- The time of so many tokens.
local function tokens(amount, limit)
  local product = amount * limit.window
  if product < EXACT then
    return math.floor(product / limit.count), product % limit.count
  end
  return math.ceil(amount * (limit.window / limit.count)) + 1, 0
end

local function plus(micros, rest, more, more_rest, limit)
  rest = rest + more_rest
  if rest >= limit.count then
    return micros + more + 1, rest - limit.count
  end
  return micros + more, rest
end

local function is_over(micros, rest, most, most_rest)
  return micros > most or micros == most and rest > most_rest
end

function bucket.open(key, limit)
  local owed, rest = 0, 0
  local known = redis.call('GET', key)
  if known then
    local full, parts = string.match(known, '^(%d+) (%d+)$')
    if full and tonumber(full) >= now then
      owed, rest = tonumber(full) - now, tonumber(parts)
    end
  end
  local most, most_rest = tokens(limit.burst, limit)
  if owed > most + limit.window then
    owed, rest = most, most_rest
  end
  return { owed = owed, rest = rest, most = most, most_rest = most_rest }
end

function bucket.look(key, limit, state)
  local free = (state.most - state.owed) * limit.count + state.most_rest - state.rest
  local remaining = math.max(0, math.floor(free / limit.window))
  local after, after_rest = tokens(limit.cost, limit)
  after, after_rest = plus(state.owed, state.rest, after, after_rest, limit)
  local wait = 0
  if is_over(after, after_rest, state.most, state.most_rest) then
    wait = after - state.most
    if after_rest > state.most_rest then
      wait = wait + 1
    end
    wait = math.max(1, wait)
    remaining = math.min(remaining, limit.cost - 1)
  else
    remaining = math.max(remaining, limit.cost)
  end
  return remaining, state.owed + (state.rest > 0 and 1 or 0), wait
end

-- Tokens of a slice come back from the end of its life on, so a full bucket cannot give a slice
-- that lives as long as all of its tokens.
function bucket.term(limit, state, amount)
  local time, rest = tokens(amount, limit)
  if state.owed < limit.life then
    local most = state.most - time - (rest > state.most_rest and 1 or 0)
    return math.max(state.owed, math.min(limit.life, most)), 0
  end
  return limit.life, 0
end

function bucket.spend(key, limit, state, amount, stamp, life)
  local owed, rest = state.owed, state.rest
  if life and life > owed then
    owed, rest = life, 0
  end
  local time, more = tokens(amount, limit)
  owed, rest = plus(owed, rest, time, more, limit)
  redis.call('SET', key, whole(now + owed) .. ' ' .. whole(rest))
  expire(key, owed + 1)
  return owed + (rest > 0 and 1 or 0), 0
end

function bucket.back()
end

-- Windows from one round time to the next: a hash of the window's begin `b` and its count `c`.
local fixed = {}

-- Days since 1970 of a month's first day; years begin in March.
local function first_day(year, month)
  if month > 2 then
    month = month - 3
  else
    year, month = year - 1, month + 9
  end
  local days = 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return days + math.floor((153 * month + 2) / 5) - 719468
end

local function month_of(day)
  local year = 1970 + math.floor(day / 366)
  while first_day(year + 1, 1) <= day do
    year = year + 1
  end
  local month = 12
  while first_day(year, month) > day do
    month = month - 1
  end
  return year, month
end

local function around(limit, at)
  if limit.way == 4 then
    local begin = at - at % limit.window
    return begin, begin + limit.window
  end
  local DAY = 86400
  local day = math.floor((math.floor(at / 1000000) + limit.offset) / DAY)
  local first, following = day, day + 1
  if limit.way == 6 then
    local year, month = month_of(day)
    first = first_day(year, month)
    if month == 12 then
      following = first_day(year + 1, 1)
    else
      following = first_day(year, month + 1)
    end
  end
  return (first * DAY - limit.offset) * 1000000, (following * DAY - limit.offset) * 1000000
end

function fixed.open(key, limit)
  local begin, finish = around(limit, now)
  local known = redis.call('HMGET', key, 'b', 'c')
  local count = 0
  if known[1] then
    local kept = tonumber(known[1])
    if kept == begin then
      count = tonumber(known[2]) or 0
    elseif kept and kept > begin and kept - begin <= finish - begin then
      -- A clock that was set back does not open the window before once more.
      count = tonumber(known[2]) or 0
      begin, finish = around(limit, kept)
    end
  end
  return { begin = begin, finish = finish, total = count }
end

function fixed.look(key, limit, state)
  local remaining = math.max(0, limit.count - state.total)
  local left = state.finish - now
  return remaining, state.total > 0 and left or 0, limit.cost > remaining and left or 0
end

function fixed.term(limit, state)
  return math.min(limit.life, state.finish - now), state.begin
end

function fixed.spend(key, limit, state, amount)
  redis.call('HSET', key, 'b', whole(state.begin), 'c', whole(state.total + amount))
  expire(key, state.finish - now)
  return state.finish - now, state.begin
end

function fixed.back(key, limit, amount, stamp)
  local known = redis.call('HMGET', key, 'b', 'c')
  if known[1] and tonumber(known[1]) == stamp then
    redis.call('HSET', key, 'c', whole(math.max(0, (tonumber(known[2]) or 0) - amount)))
  end
end

local WAYS = { sliding, log, bucket, fixed, fixed, fixed }

local function read(text)
  local limit = {}
  limit.way, limit.count, limit.window, limit.burst, limit.cost, limit.dry, limit.want,
    limit.life, limit.offset, limit.share, limit.back, limit.stamp =
    struct.unpack('<dddddddddddd', text)
  return limit
end

-- How much of what remains after the cost is granted ahead, for how long, with which stamp.
local function slice(way, limit, state, remaining)
  local amount = math.min(limit.want, math.floor((remaining - limit.cost) / limit.share))
  if amount < 1 then
    return 0
  end
  local life, stamp = way.term(limit, state, limit.cost + amount)
  life = math.floor(life)
  if life < SHORTEST then
    return 0
  end
  return amount, life, stamp
end

local takes, all = {}, true
for place, key in ipairs(KEYS) do
  local limit = read(ARGV[place])
  local way = WAYS[limit.way]
  if limit.back > 0 then
    way.back(key, limit, limit.back, limit.stamp)
  end
  local state = way.open(key, limit)
  local remaining, reset, wait = way.look(key, limit, state)
  local allowed = limit.cost <= remaining
  takes[place] = { limit = limit, way = way, state = state, allowed = allowed,
    remaining = remaining, reset = reset, wait = wait }
  all = all and (allowed or limit.dry > 0)
end

local answer = { struct.pack('<d', all and 1 or 0) }
for place, key in ipairs(KEYS) do
  local take = takes[place]
  local limit, granted, life, stamp = take.limit, 0, 0, 0
  if all and take.allowed then
    local spends
    granted, life, spends = slice(take.way, limit, take.state, take.remaining)
    local amount = limit.cost + granted
    if amount > 0 then
      take.reset, stamp = take.way.spend(key, limit, take.state, amount, spends, life)
      take.remaining = take.remaining - amount
    end
  end
  answer[#answer + 1] = struct.pack('<ddddddd', take.allowed and 1 or 0, take.remaining,
    take.reset, take.wait, stamp, granted, life or 0)
end
return table.concat(answer)
