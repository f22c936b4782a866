#!lua flags=allow-oom
-- Makes the head true again: the count is as given, and the head's entry is in the log. Does
-- nothing where the head has moved on since it was read.
-- KEYS log head; ARGV head count operation append. An empty head means that there was none.
local head = redis.call('GET', KEYS[2]) or ''
if head ~= ARGV[1] then return 0 end
local position = string.match(head, '^%d+%-0 %x+ ')
local since, promise, kept = string.match(head, '^%d+%-0 %x+ %d+ (%d+) (%d+) (%d+) ~$')
if ARGV[4] == '1' or not position then
  local id = micros()
  local last = math.max(tonumber(string.match(head, '^(%d+)%-0') or 0), tonumber(promise or 0))
  if id <= last then id = last + 1 end
  local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  top = top and tonumber(string.match(top[1], '^%d+'))
  if top and top >= id then
    -- A log ahead of the clock by more than a day is no log of ours: it begins again.
    if top - id > 86400000000 then redis.call('DEL', KEYS[1]) else id = top + 1 end
  end
  local text = string.format('%.0f', id)
  redis.call('XADD', KEYS[1], text, ARGV[3], '=')
  position = text .. '-0 ' .. ARGV[3] .. ' '
  -- The log may lack updates that were made before.
  since, promise = text, text
end
redis.call('SET', KEYS[2], position .. ARGV[2] .. (kept and ' ' .. since .. ' ' .. promise .. ' ' .. kept .. ' ~' or ''))
return 1
