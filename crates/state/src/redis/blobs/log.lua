-- Reads the log on from a number: the server's time, the log's last number, and a page of what was
-- purged later, in order. Comes after last.lua.
-- ARGV 3: the length of a page.
local page = redis.call('ZRANGE', key, '(' .. text(seen), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3],
  'WITHSCORES')
return { text(now), text(last), page }
