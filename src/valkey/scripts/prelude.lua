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
-- The moment that the engine's clock says, in microseconds, below 2^53: exact.
local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
-- Whether a head says that updates are logged too.
local function logs_updates(head)
  return type(head) == 'string' and string.byte(head, -1) == 126 -- ~
end
-- What a head says: the id of the last entry and how many keys there are; and where updates are logged, all of that as
-- text, since when they are, up to which id no entry comes any more, and how many entries are kept.
local function read(head)
  local last, keys, updates = string.match(head, '^(%d+)%-0 %x+ (%d+)(.*)$')
  if not last then error('the head is not our data') end
  if updates == '' then return tonumber(last), tonumber(keys), '' end
  local since, promise, kept = string.match(updates, '^ (%d+) (%d+) (%d+) ~$')
  if not since then error('the head is not our data') end
  return tonumber(last), tonumber(keys), updates, tonumber(since), tonumber(promise), kept
end
-- Appends an entry to the log, of which whoever watches is told something more, and returns what the head is then, which
-- is not written yet. Ids only rise, whatever the clock does, and are above what was promised.
local function append(log, head, operation, length, keys, step, name, more)
  local id, count, updates, kept = micros(), 0, '', nil
  if head then
    local last, before, since, promise
    last, before, updates, since, promise, kept = read(head)
    count = before
    if id <= last then id = last + 1 end
    if promise and id <= promise then id = promise + 1 end
  end
  local text = string.format('%.0f', id)
  if kept and name then
    redis.call('XADD', log, 'MAXLEN', '~', kept, text, operation, step, name, more)
  else
    redis.call('XADD', log, 'MAXLEN', '~', kept or length, text, operation, step)
  end
  return text .. '-0 ' .. operation .. ' ' .. string.format('%.0f', math.max(count + keys, 0)) .. updates
end
-- Takes a key out that is there, with its entry in the log; of what more it says there, see append. All that can fail
-- comes before the first effect.
local function take(bucket, log, head, ends, key, operation, length, name)
  local after = append(log, redis.call('GET', head), operation, length, -1, '-' .. key, name, '')
  redis.call('HDEL', bucket, key)
  redis.call('SET', head, after)
  if ends then redis.pcall('ZREM', ends, key) end
end
