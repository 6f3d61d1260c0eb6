-- Begins a request, unless there is a record of it that says otherwise.
-- KEYS: the record; the signs of life of those who run requests nearby.
-- ARGV: owner, fingerprint, gateway, keep (ms), lost after (ms), again (1 or 0).
-- Answers {1} for the first; else what it is, its age (ms), its fingerprint, what was kept.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[1],
  'state', 'owner', 'fingerprint', 'began', 'gateway', 'lost_after', 'kept')
local state, owner, fingerprint = record[1], record[2], record[3]
if state == 'running' then
  if owner == ARGV[1] and record[5] then
    return {1}
  end
  -- Without a gateway its outcome is unknown for good.
  local seen = record[5] and redis.call('HGET', KEYS[2], record[5])
  if seen and seen + record[6] <= now then
    -- Nobody could say anything while this server was away.
    local server = redis.pcall('INFO', 'server')
    local up = type(server) == 'string' and tonumber(server:match('uptime_in_seconds:(%d+)'))
    seen = math.max(seen, up and now - up * 1000 or 0)
  end
  if seen and seen + record[6] > now then
    return {2, now - record[4], fingerprint}
  end
  -- Not written: a gateway that was cut off may come back.
  state = 'unknown'
end
if state == 'done' then
  return {3, now - record[4], fingerprint, record[7]}
end
if state == 'unknown' and not (ARGV[6] == '1' and fingerprint == ARGV[2]) then
  return {4, now - record[4], fingerprint}
end
if state and state ~= 'unknown' then
  return redis.error_reply('ERR a record in a state that is none')
end
redis.call('HSET', KEYS[2], ARGV[3], now)
redis.call('PEXPIRE', KEYS[2], 3600000)
redis.call('HSET', KEYS[1], 'state', 'running', 'owner', ARGV[1], 'fingerprint', ARGV[2],
  'began', now, 'gateway', ARGV[3], 'lost_after', ARGV[5], 'keep', ARGV[4])
-- A day more than that, for as long as it runs.
redis.call('PEXPIRE', KEYS[1], ARGV[4] + 86400000)
return {1}
