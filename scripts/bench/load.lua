-- What wrk sends: requests for random keys, or for keys that are new.
-- Arguments: how a key is found (random, new), number of keys, then one or more of
--   share method path-format body-format
-- A key has a number of eight digits: {8} in a format is that number, {first6} its first six digits, {last5} its last
-- five, and so on. The share of each request is in percent.

local requests = {}
local keys, is_new, next_key

function init(args)
   is_new = args[1] == "new"
   keys = tonumber(args[2])
   -- Above all keys of the rounds before, which began at least a second earlier.
   next_key = keys + (os.time() % 100000) * 1000000
   for first = 3, #args, 4 do
      local share = tonumber(args[first])
      for _ = 1, share do
         table.insert(requests, { method = args[first + 1], path = args[first + 2], body = args[first + 3] })
      end
   end
   math.randomseed(os.time())
end

local function fill(format, number)
   local digits = string.format("%08d", number)
   format = format:gsub("{8}", digits)
   format = format:gsub("{first(%d)}", function(length) return digits:sub(1, tonumber(length)) end)
   return (format:gsub("{last(%d)}", function(length) return digits:sub(-tonumber(length)) end))
end

function request()
   local it = requests[math.random(#requests)]
   local number
   if is_new then
      next_key = next_key + 1
      number = next_key
   else
      number = math.random(0, keys - 1)
   end
   local headers = {}
   local body
   if it.body ~= "" then
      body = fill(it.body, number)
      headers["Content-Type"] = "application/json"
   end
   return wrk.format(it.method, fill(it.path, number), headers, body)
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      "RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout
   ))
end
