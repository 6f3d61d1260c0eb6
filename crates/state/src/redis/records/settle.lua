-- Says how a request ended.
-- KEYS: the record. ARGV: owner, `done`, `forgotten` or `unknown`, keep (ms), what is kept.
-- Answers 1 when it is so now, 0 when the record is another's or gone.
local record = redis.call('HMGET', KEYS[1], 'state', 'owner', 'keep')
if record[2] ~= ARGV[1] then
  return 0
end
if record[1] == 'done' then
  return ARGV[2] == 'done' and 1 or 0
end
if ARGV[2] == 'forgotten' then
  redis.call('DEL', KEYS[1])
elseif ARGV[2] == 'done' then
  redis.call('HSET', KEYS[1], 'state', 'done', 'kept', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
  -- It runs for no gateway now: begin.lua knows what that means. Takes no memory, so that it can be
  -- said to a server that has none.
  redis.call('HDEL', KEYS[1], 'gateway')
  redis.call('PEXPIRE', KEYS[1], record[3])
end
return 1
