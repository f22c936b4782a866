#!lua
-- Changes when the value of a key ends, and nothing else of it.
-- KEYS bucket log head ends; ARGV key, the deadline as 8 bytes and as a number, both empty for never, a condition
-- as set.lua takes it, operation log-length. Answers 0 where there is no such key; the revision, in a list, where there
-- is; where the condition does not hold as set.lua does.
local blob, revision = look(KEYS[1], ARGV[1])
if not holds(ARGV[4], ARGV[5], revision) then return revision end
if not blob then return 0 end
local ends = ARGV[3] ~= ''
-- Before any effect, since it fails where that is no sorted set.
if ends then redis.call('ZSCORE', KEYS[4], ARGV[1]) end
local head = redis.pcall('GET', KEYS[3])
if logs_updates(head) then
  local after = append(KEYS[2], head, ARGV[6], ARGV[7], 0, '~' .. ARGV[1], 'r', revision .. ARGV[3])
  redis.call('SET', KEYS[3], after)
end
local rest = string.sub(blob, string.byte(blob) == 129 and 19 or 11)
if ends then
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[1], ARGV[1], string.char(129) .. string.sub(blob, 2, 10) .. ARGV[2] .. rest)
else
  redis.call('HSET', KEYS[1], ARGV[1], string.char(1) .. string.sub(blob, 2, 10) .. rest)
  redis.pcall('ZREM', KEYS[4], ARGV[1])
end
return {revision}
