-- Takes a blob away.
return redis.call('UNLINK', KEYS[1])
