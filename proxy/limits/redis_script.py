"""
The one script that decides over limits in Redis: a worker's message goes in, which calls are admitted comes out.

Text only; `holdings` writes the messages and reads the answers, `redis_link` carries them.

Keys: the workers and until when each is believed alive, since when Redis has its data, the last answer to this worker,
and one for each limit. Arguments: the worker's name, the message's number, the seconds a silent worker is believed
alive, the mode (0, 1 to join, 2 to leave), since when Redis has its data as the worker was told last (0: never), the
number of limits, eight fields for each, the number of calls, and for each call the number of its claims and their pairs
of a limit's index and an amount. The fields of a limit:

    kind       b(ucket), p(laces) or s(pending)
    capacity
    rate       of a bucket: units per second; of spending: seconds until the period ends
    held       what calls of this worker hold (not for buckets, where they have taken it out)
    change     units that come back to a bucket, negative for a debt; what was spent
    seed       what was spent before the change, told where Redis has said that it does not know; else -1
    began      when the period began, in seconds since 1970
    within     1 where the change may be part of what Redis knows by now; of a seed: where it is the ledger's

Where Redis has lost its data, and what was spent is known again from another worker's seed, a change from before the
loss may be in that already: it is not added, and its worker is told that what was spent is not known. The seed it then
sends counts together with its change, where that is more than what is known; without a ledger, which the other worker
would have had to read, its change is added after all.

The answer begins with the number of live workers and since when Redis has its data. For each limit follow what is
left, and what was spent (-1: not known). For each call follows 0 when it is admitted, or the index of the limit in its
way and the seconds to wait: -1 when that is not known, -2 when what was spent is not known.

The answer is kept until the worker's next message: a message that is sent again, because the worker does not know
whether it arrived, is answered as before and takes nothing twice.
"""

from hashlib import sha1

FIELDS = 8
"""Arguments for each limit."""
JOIN, LEAVE = 1, 2
"""Modes: what this worker holds is told again; all of it is free."""
FORGOTTEN = b"forgotten"
"""The answer to a worker that was silent for too long. Nothing was done; it has to join first."""

SCRIPT = """
local DAY = 86400
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
local ttl, count = tonumber(ARGV[3]) * 1000000, tonumber(ARGV[6])
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
local born = read('GET', BORN)
if not born then
  born = time[1]
  redis.call('SET', BORN, born)
end
local lost = born ~= ARGV[5]
local live, workers = {}, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, string.format('%.0f', now), '+inf')) do
  live[name] = true
  workers = workers + 1
end

local limits = {}
for i = 1, count do
  local at = 6 + (i - 1) * 8
  local limit = {
    key = KEYS[3 + i], kind = ARGV[at + 1], capacity = tonumber(ARGV[at + 2]), rate = tonumber(ARGV[at + 3]),
    held = tonumber(ARGV[at + 4]), spent = 0,
  }
  local change = tonumber(ARGV[at + 5])
  if limit.kind == 'b' then
    local known = read('HMGET', limit.key, 'level', 'at')
    local level, since = tonumber(known[1] or limit.capacity), tonumber(known[2] or now)
    level = math.min(limit.capacity, level + math.max(0, now - since) * limit.rate / 1000000)
    limit.left = math.min(limit.capacity, level + change)
    limit.changed = change ~= 0
  else
    local others, level = 0, nil
    local fields = read('HGETALL', limit.key)
    for j = 1, #fields, 2 do
      local name, value = fields[j], tonumber(fields[j + 1])
      if name == 'level' then level = value
      elseif name == worker then limit.recorded = value
      elseif live[name] then others = others + (value or 0)
      else redis.call('HDEL', limit.key, name) end
    end
    limit.left = limit.capacity - others - limit.held
    if limit.kind == 's' then
      local seed, began = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
      if not level and seed < 0 and began > tonumber(born) then level = 0 end
      local within = ARGV[at + 8] == '1'
      if seed >= 0 then
        if level and not within then limit.spent = level + change
        else limit.spent = math.max(level or 0, seed + change) end
        limit.changed = true
      elseif level and not ((lost or within) and change ~= 0) then
        limit.spent = level + change
        limit.changed = change ~= 0
      else
        limit.spent = -1
      end
      if limit.spent >= 0 then limit.left = limit.left - limit.spent else limit.left = 0 end
    end
  end
  limits[i] = limit
end

local verdicts = {}
local at = 6 + count * 8 + 1
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
      if limit.kind ~= 'b' then limit.held = limit.held + amount end
    end
  end
  if blocking then verdicts[#verdicts + 1] = string.format('%d %.6f', blocking, longest)
  else verdicts[#verdicts + 1] = '0' end
  at = at + claims * 2 + 1
end

local answer = {tostring(workers), born}
for i = 1, count do
  local limit = limits[i]
  local key, changed = limit.key, {}
  if limit.kind ~= 'b' and limit.held ~= (limit.recorded or 0) then
    limit.changed = true
    if limit.held ~= 0 then changed = {worker, string.format('%.0f', limit.held)}
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
  answer[#answer + 1] = string.format('%.6f %.0f', limit.left, limit.spent)
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
