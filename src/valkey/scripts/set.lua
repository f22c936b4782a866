#!lua
-- Sets a key. A key that is new gets an entry in the log, and where updates are logged any does; where that fails, the
-- bucket is as before.
-- KEYS bucket log head, and the deadlines where there are some or this is one; ARGV key blob operation
-- log-length, and where there is any of them: which revisions there must be and must not be, and the deadline,
-- empty for none. Answers 1 where the key is new, 0 where it was there; where the condition does not hold the
-- present revision, empty for none.
-- Where somebody put something else in its place only new keys need it.
local head = redis.pcall('GET', KEYS[3])
local is_logged = type(head) == 'string' and string.byte(head, -1) == 126 -- ~
-- Most sets are of keys that are there, which needs nothing of what scripts share.
local is_plain = not is_logged and not ARGV[5] and not KEYS[4]
if is_plain and redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
-- shared
local has_ended = false
if ARGV[5] then
  if ARGV[5] ~= '' or ARGV[6] ~= '' then
    local _, revision, ended = look(KEYS[1], ARGV[1])
    if not holds(ARGV[5], ARGV[6], revision) then return revision end
    has_ended = ended
  end
end
local ends = ARGV[7] and ARGV[7] ~= ''
-- Before any effect, since it fails where that is no sorted set.
local before = ends and redis.call('ZSCORE', KEYS[4], ARGV[1])
if is_logged then
  local is_new = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
  if not is_new and not ends and KEYS[4] then before = redis.pcall('ZSCORE', KEYS[4], ARGV[1]) end
  local step = (is_new and '+' or '~') .. ARGV[1]
  local after = append(KEYS[2], head, ARGV[3], ARGV[4], is_new and 1 or 0, step, ends and 'e', ARGV[7])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('SET', KEYS[3], after)
  if ends then
    redis.call('ZADD', KEYS[4], ARGV[7], ARGV[1])
  elseif type(before) == 'string' then
    redis.pcall('ZREM', KEYS[4], ARGV[1])
  end
  if type(before) == 'string' and tonumber(before) <= millis() then has_ended = true end
  return (is_new or has_ended) and 1 or 0
end
if not is_plain and redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  if ends then
    redis.call('ZADD', KEYS[4], ARGV[7], ARGV[1])
  elseif KEYS[4] then
    -- What fails here costs no more than a key that is looked at when it need not be.
    before = redis.pcall('ZSCORE', KEYS[4], ARGV[1])
    if type(before) == 'string' then redis.pcall('ZREM', KEYS[4], ARGV[1]) end
  end
  if type(before) == 'string' and tonumber(before) <= millis() then has_ended = true end
  return has_ended and 1 or 0
end
local ok, failure = pcall(function()
  if type(head) == 'table' then error(head) end
  redis.call('SET', KEYS[3], append(KEYS[2], head, ARGV[3], ARGV[4], 1, '+' .. ARGV[1]))
end)
if ok then
  if ends then redis.call('ZADD', KEYS[4], ARGV[7], ARGV[1]) end
  return 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
return type(failure) == 'table' and failure or redis.error_reply(tostring(failure))
