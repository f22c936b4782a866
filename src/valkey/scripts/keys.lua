#!lua flags=no-writes
-- The head, and the keys of some buckets, from the same moment. KEYS head bucket…
local keys = {}
for at = 2, #KEYS do keys[at - 1] = redis.call('HKEYS', KEYS[at]) end
return {redis.call('GET', KEYS[1]), keys}
