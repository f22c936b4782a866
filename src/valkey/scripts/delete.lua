#!lua flags=allow-oom
-- Deletes a key.
-- KEYS bucket log head, and ends where there are deadlines; ARGV key operation log-length, and a condition as set.lua takes it. Answers 1
-- where there was such a key, else 0; where the condition does not hold as set.lua does.
if ARGV[4] then
  local _, revision = look(KEYS[1], ARGV[1])
  if not holds(ARGV[4], ARGV[5], revision) then return revision end
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local at = KEYS[4] and redis.pcall('ZSCORE', KEYS[4], ARGV[1])
-- What has ended is not there; only a look at the value says whether it has.
if type(at) == 'string' and tonumber(at) <= millis() and not look(KEYS[1], ARGV[1]) then return 0 end
take(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3])
return 1
