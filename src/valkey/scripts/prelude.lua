-- What scripts that change a key share. A value is: version (1, or 129 where it ends), content type, 8 bytes
-- of revision, 8 bytes of its deadline if it ends, and the rest.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- The moment that 8 bytes say, in milliseconds since the Unix epoch, below 2^53: exact.
local function moment(bytes)
  local sum = 0
  for at = 1, 8 do sum = sum * 256 + string.byte(bytes, at) end
  return sum
end
-- The value of a key, if it is there and has not ended; its revision; and whether it has ended.
local function look(bucket, key)
  local blob = redis.call('HGET', bucket, key)
  if not blob then return nil, '', false end
  local version = string.byte(blob)
  local low = version % 16
  if version ~= 1 and version ~= 129 and low >= 1 and low < 9 and (version == low or version >= 128) then
    error('the value is of a newer version')
  end
  if (version ~= 1 or #blob < 10) and (version ~= 129 or #blob < 18) then error('the value is not our data') end
  if version == 129 and moment(string.sub(blob, 11, 18)) <= millis() then return nil, '', true end
  return blob, string.sub(blob, 3, 10), false
end
-- Whether a condition holds of a revision, empty for none: which there must be and must not be, 8 bytes
-- each, * for any, nothing for no matter.
local function holds(must, must_not, revision)
  local function has(revisions)
    if revision == '' then return false end
    if revisions == '*' then return true end
    for at = 1, #revisions, 8 do
      if string.sub(revisions, at, at + 7) == revision then return true end
    end
    return false
  end
  return (must == '' or has(must)) and (must_not == '' or not has(must_not))
end
-- Takes a key out that is there, with its entry in the log. All that can fail comes before the first effect.
local function take(bucket, log, head, ends, key, operation, length)
  local time = redis.call('TIME')
  local id, count = time[1] * 1000000 + time[2], 1 -- µs, below 2^53: exact
  local last = redis.call('GET', head)
  if last then
    local at, keys = string.match(last, '^(%d+)%-0 %x+ (%d+)$')
    if not at then error('the head is not our data') end
    count = math.max(tonumber(keys), 1)
    if id <= tonumber(at) then id = tonumber(at) + 1 end
  end
  local text = string.format('%.0f', id)
  redis.call('XADD', log, 'MAXLEN', '~', length, text, operation, '-' .. key)
  redis.call('HDEL', bucket, key)
  redis.call('SET', head, text .. '-0 ' .. operation .. ' ' .. string.format('%.0f', count - 1))
  if ends then redis.pcall('ZREM', ends, key) end
end
