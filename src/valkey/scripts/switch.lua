#!lua flags=allow-oom
-- Has updates logged too from now on, of which the log keeps so many entries, or not any more.
-- KEYS log head; ARGV operation log-length kept, which is empty for not. Answers 1 where that is another thing than before.
local head = redis.call('GET', KEYS[2])
if ARGV[3] == '' then
  if not logs_updates(head) then return 0 end
  redis.call('SET', KEYS[2], (string.match(head, '^%S+ %S+ %S+')))
  return 1
end
-- Of a partition without a head an entry that changes nothing makes one.
head = head or append(KEYS[1], head, ARGV[1], ARGV[2], 0, '=')
local last, keys, updates, since, promise, kept = read(head)
if kept == ARGV[3] then return 0 end
-- Unlike any time before, so that whoever knew of that one notices.
if not since then
  since = math.max(micros(), last)
  promise = since
end
local before = string.sub(head, 1, #head - #updates)
redis.call('SET', KEYS[2], before .. string.format(' %.0f %.0f ', since, promise) .. ARGV[3] .. ' ~')
return 1
