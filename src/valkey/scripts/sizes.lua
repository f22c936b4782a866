#!lua flags=no-writes
-- The head, and how many keys each bucket has. KEYS head bucket…
local sizes = {}
for at = 2, #KEYS do sizes[at - 1] = redis.call('HLEN', KEYS[at]) end
return {redis.call('GET', KEYS[1]), sizes}
