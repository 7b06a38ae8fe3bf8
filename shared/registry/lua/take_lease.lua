#!lua flags=allow-oom
-- Takes a lease that nobody holds, though the server is full (Redis 7): its holder may be the one who makes room.
--
-- KEYS[1] lease   ARGV[1] the holder's token   ARGV[2] duration in ms
-- Returns 1 when taken, 0 when another holds it.

return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
