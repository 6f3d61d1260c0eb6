-- Holds on to a lead for so many milliseconds more, or gives it back (0), if it is still the
-- caller's.
-- KEYS: the lead. ARGV: its token, the milliseconds.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
