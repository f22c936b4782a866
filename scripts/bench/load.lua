-- What wrk sends: requests for random keys, or for keys that are new.
-- Arguments: how a key is found (random, new), number of keys, then one or more of
--   share method path-format body-format
-- A key has a number of eight digits, of twelve where it is new: {8} in a format is that number, {first6} its first six
-- digits, {last5} its last five, and so on. The share of each request is in percent.
--
-- A request is put together once, and then only its numbers are filled in: wrk shares the machine with what it measures.

local requests = {}
local keys, is_new, next_key, digits

-- A request's text as a format, and how its numbers are made of the key's.
local function compile(method, path, body)
   local numbers = {}
   local function place(divisor, modulus, length)
      table.insert(numbers, { divisor = divisor, modulus = modulus, length = length })
      -- Of the number's length, so that the content's is right.
      return string.rep(string.char(#numbers), length)
   end
   local function mark(format)
      format = format:gsub("{8}", function() return place(1, 10 ^ digits, digits) end)
      format = format:gsub("{first(%d)}", function(length) return place(10 ^ (digits - length), 10 ^ length, tonumber(length)) end)
      return (format:gsub("{last(%d)}", function(length) return place(1, 10 ^ length, tonumber(length)) end))
   end
   local headers = {}
   if body ~= "" then
      headers["Content-Type"] = "application/json"
   end
   local text = wrk.format(method, mark(path), headers, body ~= "" and mark(body) or nil):gsub("%%", "%%%%")
   -- Those of a format are filled in in the order in which they stand in it.
   local ordered = {}
   text = text:gsub("[%z\1-\8]+", function(run)
      local number = numbers[run:byte()]
      table.insert(ordered, number)
      return "%0" .. number.length .. "d"
   end)
   assert(#ordered <= 2, "a request has two numbers at the most")
   local one = { divisor = 1, modulus = 1 }
   return { text = text, first = ordered[1] or one, second = ordered[2] or one }
end

function init(args)
   is_new = args[1] == "new"
   digits = is_new and 12 or 8
   keys = tonumber(args[2])
   -- Above all keys of the rounds before, which began at least a second earlier.
   next_key = keys + (os.time() % 100000) * 1000000
   for first = 3, #args, 4 do
      local share = tonumber(args[first])
      local it = compile(args[first + 1], args[first + 2], args[first + 3])
      for _ = 1, share do
         table.insert(requests, it)
      end
   end
   math.randomseed(os.time())
end

local function part(number, of)
   return math.floor(number / of.divisor) % of.modulus
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
   return string.format(it.text, part(number, it.first), part(number, it.second))
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      "RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout
   ))
end
