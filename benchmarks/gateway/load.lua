-- Asks again and again and keeps what came back: which answers were no whole 200, and the ids our gateway gave them.
-- Arguments: file of the body, "stream" or "whole", requests a second (0: as many as go), file of ids, headers.
local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } moment_t;
  int clock_gettime(int clock, moment_t *now);
]])
local MONOTONIC = 1
local moment = ffi.new("moment_t")
local threads = {}

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) * 1000 + tonumber(moment.nanoseconds) / 1e6
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local body = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", body:read("*a")
  body:close()
  whole_end = args[2] == "stream" and "data: [DONE]" or '"choices"'
  every_ms = tonumber(args[3]) > 0 and 1000 / tonumber(args[3]) or 0
  ids = assert(io.open(args[4], "wb"))
  wrk.headers["Content-Type"] = "application/json"
  for index = 5, #args do
    local name, value = args[index]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  answered, not_200, not_whole = 0, 0, 0
  next_ms = now_ms()
  if every_ms == 0 then
    delay = nil
  end
end

-- One schedule for all connections of the thread: a late request does not make the next ones later.
function delay()
  next_ms = next_ms + every_ms
  local wait = next_ms - now_ms()
  return wait > 0 and math.floor(wait) or 0
end

function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 then
    not_200 = not_200 + 1
    if not_200 == 1 then
      io.stderr:write(status, " ", body:sub(1, 500), "\n")
    end
  elseif not body:find(whole_end, 1, true) then
    not_whole = not_whole + 1
  else
    local id = headers["x-ratchet-answer-id"]
    if id then
      ids:write(id, "\n")
    end
  end
end

function done(summary, latency)
  local thread = threads[1]
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"answered": %d, "not_200": %d, "not_whole": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    thread:get("answered"), thread:get("not_200"), thread:get("not_whole"),
    errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
