#!lua flags=no-writes
-- Some keys of a large bucket, and which server says so, if we may know: cursors do not outlive a failover.
-- KEYS head bucket; ARGV cursor
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
local found = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', 1000)
local keys = {}
for at = 1, #found[2], 2 do keys[#keys + 1] = found[2][at] end
return {redis.call('GET', KEYS[1]), run, found[1], keys}
