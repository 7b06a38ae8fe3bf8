-- Presence as Centrifuge publishes the idea: per channel a hash of the members and a sorted set of when each lapses;
-- one call per member and heartbeat. Without the head.
--
-- KEYS[1] sorted set   KEYS[2] hash   ARGV[1] lapses at (s)   ARGV[2] member   ARGV[3] what is told of it   ARGV[4] TTL (s)
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
