#!lua flags=allow-oom
-- Takes a key out whose value has ended by the clock that is here, with its entry in the log.
-- KEYS bucket log head ends; ARGV key operation log-length. Answers 1 where it was taken out, else 0.
local blob = redis.pcall('HGET', KEYS[1], ARGV[1])
local version = type(blob) == 'string' and string.byte(blob) or 0
if type(blob) == 'table' or (version ~= 1 and version ~= 129 and version > 0) then
  -- What we cannot read is looked at again in a minute, so that others have their turn.
  redis.call('ZADD', KEYS[4], string.format('%.0f', millis() + 60000), ARGV[1])
  return 0
end
if not blob or string.byte(blob) ~= 129 or #blob < 18 then
  redis.call('ZREM', KEYS[4], ARGV[1])
  return 0
end
local deadline = moment(string.sub(blob, 11, 18))
if deadline > millis() then
  redis.call('ZADD', KEYS[4], string.format('%.0f', deadline), ARGV[1])
  return 0
end
take(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], 'x')
return 1
