#!lua flags=no-writes
-- The head, and the log from an id on, from the same moment. KEYS head log; ARGV id
return {redis.call('GET', KEYS[1]), redis.call('XRANGE', KEYS[2], ARGV[1], '+')}
