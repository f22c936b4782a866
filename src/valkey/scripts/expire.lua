#!lua
-- Changes when the value of a key ends, and nothing else of it.
-- KEYS bucket ends; ARGV key, the deadline as 8 bytes and as a number, both empty for never, and a condition
-- as set.lua takes it. Answers 0 where there is no such key; the revision, in a list, where there is; where
-- the condition does not hold as set.lua does.
local blob, revision = look(KEYS[1], ARGV[1])
if not holds(ARGV[4], ARGV[5], revision) then return revision end
if not blob then return 0 end
local rest = string.sub(blob, string.byte(blob) == 129 and 19 or 11)
if ARGV[3] == '' then
  redis.call('HSET', KEYS[1], ARGV[1], string.char(1) .. string.sub(blob, 2, 10) .. rest)
  redis.pcall('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[1], ARGV[1], string.char(129) .. string.sub(blob, 2, 10) .. ARGV[2] .. rest)
end
return {revision}
