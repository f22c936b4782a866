#!lua
-- Sets a key. A key that is new gets an entry in the log; where that fails, the bucket is as before.
-- KEYS bucket log head; ARGV key blob operation log-length. Answers 1 where the key is new.
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
