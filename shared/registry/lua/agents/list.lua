-- Lists the entries of one partition, bucket by bucket.
--
-- ARGV[2] first bucket   ARGV[3] first bucket not to be read   ARGV[4] entries after which to stop (at a bucket's end)
-- Returns {next bucket, [bucket, user, entry, …]}; a next bucket equal to ARGV[3] means the end.

local bucket, stop, enough = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, count = {}, 0
while bucket < stop and count < enough do
  local flat = redis.call('HGETALL', bucket_key(bucket))
  for i = 1, #flat, 2 do
    found[#found + 1], found[#found + 2], found[#found + 3] = bucket, flat[i], flat[i + 1]
    count = count + 1
  end
  bucket = bucket + 1
end
return { bucket, found }
