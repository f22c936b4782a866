#!lua flags=no-writes
-- What keys name, each in a bucket: their blobs, and of one over so many bytes how long it is.
-- KEYS bucket…, one a key; ARGV bytes key…
local most, found = tonumber(ARGV[1]), {}
for at = 1, #KEYS do
  local blob = redis.call('HGET', KEYS[at], ARGV[at + 1])
  found[at] = blob and #blob > most and #blob or blob
end
return found
