#!lua
-- Sets a key. A key that is new gets an entry in the log; where that fails, the bucket is as before.
-- KEYS bucket log head, and the deadlines where there are some or this is one; ARGV key blob operation
-- log-length, and where there is any of them: which revisions there must be and must not be, and the deadline,
-- empty for none. Answers 1 where the key is new, 0 where it was there; where the condition does not hold the
-- present revision, empty for none.
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
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then
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
  local time = redis.call('TIME')
  local id, count = time[1] * 1000000 + time[2], 0 -- µs, below 2^53: exact
  local head = redis.call('GET', KEYS[3])
  if head then
    local last, keys = string.match(head, '^(%d+)%-0 %x+ (%d+)$')
    if not last then error('the head is not our data') end
    count = tonumber(keys)
    if id <= tonumber(last) then id = tonumber(last) + 1 end
  end
  local text = string.format('%.0f', id)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], text, ARGV[3], '+' .. ARGV[1])
  redis.call('SET', KEYS[3], text .. '-0 ' .. ARGV[3] .. ' ' .. string.format('%.0f', count + 1))
end)
if ok then
  if ends then redis.call('ZADD', KEYS[4], ARGV[7], ARGV[1]) end
  return 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
return type(failure) == 'table' and failure or redis.error_reply(tostring(failure))
