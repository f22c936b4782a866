#!lua
-- Sets a key. A key that is new gets an entry in the log; where that fails, the bucket is as before.
-- KEYS bucket log head; ARGV key blob operation log-length, and if there is a condition which revisions
-- there must be and must not be: 8 bytes each, * for any, nothing for no matter. Answers 1 where the key is
-- new, 0 where it was there; where the condition does not hold the present revision, empty for none.
if ARGV[5] then
  local present = redis.call('HGET', KEYS[1], ARGV[1])
  local revision = present and string.sub(present, 3, 10) or ''
  if present and (string.byte(present) ~= 1 or #present < 10) then
    return redis.error_reply('the value is not our data')
  end
  local function has(revisions)
    if revisions == '*' then return present end
    for at = 1, #revisions, 8 do
      if present and string.sub(revisions, at, at + 7) == revision then return true end
    end
    return false
  end
  if (ARGV[5] ~= '' and not has(ARGV[5])) or (ARGV[6] ~= '' and has(ARGV[6])) then return revision end
end
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
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
if ok then return 1 end
redis.call('HDEL', KEYS[1], ARGV[1])
return type(failure) == 'table' and failure or redis.error_reply(tostring(failure))
