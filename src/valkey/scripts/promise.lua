#!lua flags=allow-oom
-- Promises that no entry of the log comes any more with an id up to now. Nothing where updates are not logged, or where
-- it is known up to less than so long ago.
-- KEYS head; ARGV microseconds. Answers 1 where it promised something.
local head = redis.call('GET', KEYS[1])
if not logs_updates(head) then return 0 end
local last, keys, updates, since, promise, kept = read(head)
local now = micros()
if now - math.max(last, promise) < tonumber(ARGV[1]) then return 0 end
local before = string.sub(head, 1, #head - #updates)
redis.call('SET', KEYS[1], before .. string.format(' %.0f %.0f ', since, now) .. kept .. ' ~')
return 1
