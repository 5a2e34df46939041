"""
The one script that decides over limits in Redis: a worker's message goes in, what it may spend comes out.

Text only; `lease_book` writes the messages and reads the answers, `redis_link` carries them.

Keys: the workers and until when each is believed alive, since when Redis has its data, the last answer to this worker,
and one for each limit. Arguments: the worker's name, the message's number, the seconds a silent worker is believed
alive, the mode (0, 1 to join, 2 to leave), the number of limits, nine fields for each, the number of calls, and for
each call the number of its claims and their pairs of a limit's index and an amount. The fields of a limit:

    kind       b(ucket), p(laces) or s(pending)
    capacity
    rate       of a bucket: units per second; of spending: seconds until the period ends
    held       what calls of this worker hold (not for buckets, where they have taken it out)
    kept       what this worker was lent and keeps
    change     units that come back to a bucket, negative for a debt; what was spent
    want       units it would like to be lent
    seed       what was spent before Redis knew, -1 if the worker cannot say
    began      when the period began, in seconds since 1970

The answer begins with the number of live workers. For each limit follow the units lent, what is left beyond them, and
what was spent (-1: not known). For each call follows 0 when it is admitted, or the index of the limit in its way and
the seconds to wait: -1 when that is not known, -2 when what was spent is not known.

The answer is kept until the worker's next message: a message that is sent again, because the worker does not know
whether it arrived, is answered as before and takes nothing twice.
"""

from hashlib import sha1

FIELDS = 9
"""Arguments for each limit."""
JOIN, LEAVE = 1, 2
"""Modes: tell everything that is held; give back everything."""
FORGOTTEN = b"forgotten"
"""The answer to a worker that was silent for too long. Nothing was done; it has to join first."""

SCRIPT = """
local DAY = 86400
local LENT_PART, LENT_LEAST = 64, 4
local SLACK = 0.000001
local NEVER = 1e15

-- What has another type than ours is not ours: as good as missing.
local function read(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer) end
    redis.call('DEL', key)
    answer = redis.call(command, key, ...)
  end
  return answer
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local worker, number, mode = ARGV[1], ARGV[2], ARGV[4]
local ttl, count = tonumber(ARGV[3]) * 1000000, tonumber(ARGV[5])
local WORKERS, BORN, RECEIPT = KEYS[1], KEYS[2], KEYS[3]

local receipt = read('GET', RECEIPT)
if receipt then
  local space = string.find(receipt, ' ', 1, true)
  if space and string.sub(receipt, 1, space - 1) == number then return string.sub(receipt, space + 1) end
end

local alive_until = tonumber(read('ZSCORE', WORKERS, worker) or 0)
if alive_until < now and mode ~= '1' then return 'forgotten' end
if alive_until < now + ttl * 0.8 then
  redis.call('ZADD', WORKERS, string.format('%.0f', now + ttl), worker)
  redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', string.format('(%.0f', now))
end
if mode == '1' and not read('GET', BORN) then redis.call('SET', BORN, time[1]) end
local live, workers = {}, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, string.format('%.0f', now), '+inf')) do
  live[name] = true
  workers = workers + 1
end

local limits = {}
for i = 1, count do
  local at = 5 + (i - 1) * 9
  local limit = {
    key = KEYS[3 + i], kind = ARGV[at + 1], capacity = tonumber(ARGV[at + 2]), rate = tonumber(ARGV[at + 3]),
    kept = tonumber(ARGV[at + 5]), want = tonumber(ARGV[at + 7]), lent = 0, spent = 0,
  }
  limit.own = tonumber(ARGV[at + 4]) + limit.kept
  local change, others, level, since = tonumber(ARGV[at + 6]), 0, nil, now
  local fields = read('HGETALL', limit.key)
  for j = 1, #fields, 2 do
    local name, value = fields[j], tonumber(fields[j + 1])
    if name == 'level' then level = value
    elseif name == 'at' then since = value
    elseif name == worker then limit.recorded = value
    elseif live[name] then others = others + (value or 0)
    else redis.call('HDEL', limit.key, name) end
  end
  if limit.kind == 'b' then
    -- What is lent may still be spent at once, so the bucket has no room for it.
    local brim = limit.capacity - others - limit.own
    if level then level = level + math.max(0, now - since) * limit.rate / 1000000 else level = brim end
    limit.left = math.min(brim, math.min(brim, level) + change)
    limit.changed = change ~= 0
  elseif limit.kind == 'p' then
    limit.left = limit.capacity - others - limit.own
  else
    if not level then
      local seed, began = tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9])
      local born = read('GET', BORN)
      if seed >= 0 then
        level = seed
        limit.changed = true
      elseif born and began > tonumber(born) then
        level = 0
      end
    end
    if level then
      limit.spent = level + change
      limit.left = limit.capacity - limit.spent - others - limit.own
      limit.changed = limit.changed or change ~= 0
    else
      limit.spent = -1
      limit.left = 0
    end
  end
  limits[i] = limit
end

local verdicts = {}
local at = 5 + count * 9 + 1
for _ = 1, tonumber(ARGV[at]) do
  local claims = tonumber(ARGV[at + 1])
  local blocking, longest, rank = nil, nil, nil
  for j = 1, claims do
    local index, amount = tonumber(ARGV[at + j * 2]), tonumber(ARGV[at + j * 2 + 1])
    local limit = limits[index]
    if limit.left + SLACK < amount or limit.spent < 0 then
      local wait, further
      if limit.spent < 0 then wait, further = -2, NEVER * 2
      elseif limit.kind == 'p' then wait, further = -1, -1
      elseif limit.kind == 's' then wait, further = limit.rate, limit.rate
      else
        wait = math.ceil((amount - limit.left) / limit.rate * 1000000) / 1000000
        further = wait
      end
      if amount > limit.capacity and wait ~= -2 then further = further + NEVER end
      if not rank or further > rank then blocking, longest, rank = index, wait, further end
    end
    limit.left = limit.left - amount
  end
  for j = 1, claims do
    local limit, amount = limits[tonumber(ARGV[at + j * 2])], tonumber(ARGV[at + j * 2 + 1])
    if blocking then limit.left = limit.left + amount
    else
      limit.changed = true
      if limit.kind ~= 'b' then limit.own = limit.own + amount end
    end
  end
  if blocking then verdicts[#verdicts + 1] = string.format('%d %.6f', blocking, longest)
  else verdicts[#verdicts + 1] = '0' end
  at = at + claims * 2 + 1
end

local answer = {tostring(workers)}
for i = 1, count do
  local limit = limits[i]
  local most = math.floor(limit.left / LENT_PART)
  if limit.want > 0 and limit.spent >= 0 and most >= LENT_LEAST then
    limit.lent = math.max(0, math.min(limit.want, most - limit.kept))
    limit.left = limit.left - limit.lent
    limit.own = limit.own + limit.lent
    limit.changed = limit.changed or limit.lent > 0
  end
  local key, changed = limit.key, {}
  if limit.own ~= (limit.recorded or 0) then
    limit.changed = true
    if limit.own ~= 0 then changed = {worker, string.format('%.0f', limit.own)}
    else redis.call('HDEL', key, worker) end
  end
  if limit.changed then
    local keep = DAY
    if limit.kind == 'b' then
      changed[#changed + 1] = 'level'
      changed[#changed + 1] = string.format('%.17g', limit.left)
      changed[#changed + 1] = 'at'
      changed[#changed + 1] = string.format('%.0f', now)
      keep = math.ceil((limit.capacity - limit.left) / limit.rate) + 10
    elseif limit.kind == 's' and limit.spent >= 0 then
      changed[#changed + 1] = 'level'
      changed[#changed + 1] = string.format('%.0f', limit.spent)
      keep = math.ceil(math.max(0, limit.rate)) + DAY
    end
    if #changed > 0 then
      redis.call('HSET', key, unpack(changed))
      redis.call('EXPIRE', key, keep)
    end
  end
  answer[#answer + 1] = string.format('%.0f %.6f %.0f', limit.lent, limit.left, limit.spent)
end
for _, verdict in ipairs(verdicts) do answer[#answer + 1] = verdict end
local said = table.concat(answer, ' ')

if mode == '2' then
  redis.call('ZREM', WORKERS, worker)
  redis.call('DEL', RECEIPT)
else
  redis.call('SET', RECEIPT, number .. ' ' .. said, 'EX', DAY)
end
return said
"""

SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""The name Redis knows the script by."""
