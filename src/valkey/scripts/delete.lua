#!lua flags=allow-oom
-- Deletes a key. All that can fail comes before the first effect.
-- KEYS bucket log head; ARGV key operation log-length, and a condition as set.lua takes it. Answers 1 where
-- there was such a key, else 0; where the condition does not hold as set.lua does.
if ARGV[4] then
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
  if (ARGV[4] ~= '' and not has(ARGV[4])) or (ARGV[5] ~= '' and has(ARGV[5])) then return revision end
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
local id, count = time[1] * 1000000 + time[2], 1 -- µs, below 2^53: exact
local head = redis.call('GET', KEYS[3])
if head then
  local last, keys = string.match(head, '^(%d+)%-0 %x+ (%d+)$')
  if not last then return redis.error_reply('the head is not our data') end
  count = math.max(tonumber(keys), 1)
  if id <= tonumber(last) then id = tonumber(last) + 1 end
end
local text = string.format('%.0f', id)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], text, ARGV[2], '-' .. ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SET', KEYS[3], text .. '-0 ' .. ARGV[2] .. ' ' .. string.format('%.0f', count - 1))
return 1
