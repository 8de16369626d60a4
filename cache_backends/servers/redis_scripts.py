"""The scripts that change an entry and what lies beside it in one step. Each takes some microseconds of the server.

Every script gets the keys of `Partition.about` first. A digest is 32 bytes; the key of its entry follows from the
partition's tag, so that all keys lie in one slot.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

BURYING, BURIED_AT_ONCE = 8, 16
"""One store in so many looks whether Redis has removed entries that are over, and at how many at most: at twice as many
as stores add, so that none are left."""
SHORTEST_GRACE_S = 60.0
GRACE = 0.1
"""Redis removes an entry by itself when it has been over for a tenth of its time to live, and this at least: a lookup
shortly after the end finds that it has expired, and not that it never was."""
LONGEST_S = 1e9
"""Redis can't count the milliseconds of much more; such an entry is removed by no one."""

_COMMON = """
local created, used, expires, sizes, hits, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tag = string.sub(created, 1, -8)
local function name(digest)  -- of all bytes in one call: a call for each took longer than the rest of a store
  return tag .. string.format('HEXADECIMAL', string.byte(digest, 1, -1))
end
-- A full Redis refuses a script's first write unless it is one that removes: DECRBY must not be the first.
local function forget(digest)
  local size = redis.call('HGET', sizes, digest)
  redis.call('ZREM', created, digest)
  if size then
    redis.call('HDEL', sizes, digest)
    redis.call('DECRBY', total, size)
  end
  redis.call('HDEL', hits, digest)
  redis.call('ZREM', used, digest)
  redis.call('ZREM', expires, digest)
end
local function bury(ended)
  local left = 0
  for _, digest in ipairs(ended) do
    if redis.call('EXISTS', name(digest)) == 0 then
      forget(digest)
    else
      left = left + 1
    end
  end
  return left
end
"""
_COMMON = _COMMON.replace("HEXADECIMAL", "%02x" * 32)


class Script(NamedTuple):
    """A script, and the name under which Redis knows it."""

    text: bytes
    sha: bytes

    @classmethod
    def of(cls, text: str) -> Script:
        """A script that begins with what all have in common."""
        whole = (_COMMON + text).encode()
        return cls(whole, sha1(whole, usedforsecurity=False).hexdigest().encode())


STORE = Script.of(f"""
local entry, strings = KEYS[7], KEYS[8]
local digest, value, created_at, used_at, ends_at = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kept_ms, size, string_id, llm_string, uses = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
if kept_ms == '' then redis.call('SET', entry, value) else redis.call('SET', entry, value, 'PX', kept_ms) end
redis.call('ZADD', created, created_at, digest)
redis.call('ZADD', used, used_at, digest)
local is_new = redis.call('HSETNX', sizes, digest, size) == 1
if is_new then
  redis.call('INCRBY', total, size)
else
  redis.call('INCRBY', total, size - redis.call('HGET', sizes, digest))
  redis.call('HSET', sizes, digest, size)
end
if uses ~= '0' then
  redis.call('HSET', hits, digest, uses)
elseif not is_new then
  redis.call('HDEL', hits, digest)
end
if ends_at ~= '' then
  redis.call('ZADD', expires, ends_at, digest)
  if string.byte(digest, 2) % {BURYING} == 0 then
    bury(redis.call('ZRANGEBYSCORE', expires, '-inf', created_at, 'LIMIT', 0, {BURIED_AT_ONCE}))
  end
elseif not is_new then
  redis.call('ZREM', expires, digest)
end
redis.call('HSETNX', strings, string_id, llm_string)
return 1
""")
"""Store an entry. Value and end of life go in by one SET."""

REMOVE = Script.of("""
local entry = KEYS[7]
local digest, head, used_at = ARGV[1], ARGV[2], ARGV[3]
if head ~= '' and redis.call('GETRANGE', entry, 0, #head - 1) ~= head then return 0 end
if used_at ~= '' then
  local now = redis.call('ZSCORE', used, digest)
  if now and tonumber(now) ~= tonumber(used_at) then return 0 end
end
local removed = redis.call('DEL', entry)
forget(digest)
return removed
""")
"""Remove an entry; where a head or time of use is given, only if it still has that."""

CHANGE = Script.of(f"""
local entry = KEYS[7]
local digest, pin, ends, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local head = redis.call('GETRANGE', entry, 0, 21)
if string.sub(head, 1, 5) ~= 'LLMC\\001' or #head < 22 then return 0 end
local flags, at = string.byte(head, 6), struct.unpack('<d', string.sub(head, 15, 22))
local pinned, has_end = flags % 2, math.floor(flags / 2) % 2
if pin ~= '' then pinned = tonumber(pin) end
if ends == 'never' then has_end, at = 0, 0 elseif ends ~= '' then has_end, at = 1, tonumber(ends) end
redis.call('SETRANGE', entry, 5, string.char(flags - flags % 4 + 2 * has_end + pinned))
redis.call('SETRANGE', entry, 14, struct.pack('<d', at))
local left = math.max(0, at - now)
local kept = left + math.max({SHORTEST_GRACE_S}, {GRACE} * left)
if has_end == 1 and pinned == 0 then
  redis.call('ZADD', expires, string.format('%.17g', at), digest)
else
  redis.call('ZREM', expires, digest)
  kept = {LONGEST_S} + 1
end
if kept > {LONGEST_S} then
  redis.call('PERSIST', entry)
else
  redis.call('PEXPIRE', entry, string.format('%.0f', 1000 * kept))
end
return 1
""")
"""Pin or unpin an entry, or give it another end, where it lies: see `redis_values` for what is at bytes 5 and 14."""

SET_ASIDE = Script.of("""
local entry, damaged = KEYS[7], KEYS[8]
local digest, value, most = ARGV[1], ARGV[2], ARGV[3]
if redis.call('TYPE', entry).ok == 'string' then
  if redis.call('GET', entry) ~= value then return 0 end
  if redis.call('HLEN', damaged) < tonumber(most) then redis.call('HSET', damaged, digest, value) end
end
redis.call('DEL', entry)
forget(digest)
return 1
""")
"""Move a value that is damaged to where no lookup finds it, if it is still there."""

USE = Script.of("""
for i = 1, #ARGV, 3 do
  local digest = ARGV[i]
  if redis.call('ZSCORE', created, digest) then
    redis.call('HINCRBY', hits, digest, ARGV[i + 1])
    local before = redis.call('ZSCORE', used, digest)
    if not before or tonumber(before) < tonumber(ARGV[i + 2]) then redis.call('ZADD', used, ARGV[i + 2], digest) end
  end
end
return 1
""")
"""Note uses: digest, how many, when the last one was."""

CLEAR = Script.of("""
local some = redis.call('ZRANGE', created, 0, ARGV[1] - 1)
for _, digest in ipairs(some) do
  redis.call('DEL', name(digest))
  forget(digest)
end
if redis.call('ZCARD', created) == 0 then redis.call('DEL', used, expires, sizes, hits, total, KEYS[7], KEYS[8]) end
return #some
""")
"""Remove some entries, and with the last one all that lay beside them; how many."""

BURY = Script.of("""
local now, most = ARGV[1], ARGV[2]
bury(redis.call('ZRANGEBYSCORE', expires, '-inf', now, 'LIMIT', 0, most))
if bury(redis.call('ZRANGE', expires, 0, 1)) == 0 then bury(redis.call('ZRANGE', expires, 0, most - 1)) end
return redis.call('ZCARD', created)
""")
"""Forget entries that Redis has removed at the end of their life, or before, when it was full; how many are left.

Of those that are not over only the first few are looked at, more of them only if these are gone."""

ALL = (STORE, REMOVE, CHANGE, SET_ASIDE, USE, CLEAR, BURY)
