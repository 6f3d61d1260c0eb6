-- A gateway ends, and is not to be counted any more.
-- KEYS: the set of gateways. ARGV: this gateway.
return redis.call('ZREM', KEYS[1], ARGV[1])
