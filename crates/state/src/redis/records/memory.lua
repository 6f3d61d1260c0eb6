-- Whether the server may evict keys before their time: 1 or 0.
local memory = redis.call('INFO', 'memory')
local most = tonumber(memory:match('maxmemory:(%d+)') or '0')
local policy = memory:match('maxmemory_policy:([%w-]+)') or 'noeviction'
return (most > 0 and policy ~= 'noeviction') and 1 or 0
