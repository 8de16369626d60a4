"""The scripts that change an entry and what lies beside it in one step. Each takes some microseconds of the server.

Every script gets the keys of `Partition.about` first. A digest is 32 bytes; the key of its entry follows from the
partition's tag, so that all keys lie in one slot.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

BURIED_WITH_A_STORE = 2
"""Entries that a store looks at, whether Redis has removed them: twice as many as it adds, so that none are left."""

_COMMON = """
local created, used, expires, sizes, hits, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tag = string.sub(created, 1, -8)
local function name(digest)
  return tag .. string.gsub(digest, '.', function(c) return string.format('%02x', string.byte(c)) end)
end
local function forget(digest)
  local size = redis.call('HGET', sizes, digest)
  if size then
    redis.call('DECRBY', total, size)
    redis.call('HDEL', sizes, digest)
  end
  redis.call('HDEL', hits, digest)
  redis.call('ZREM', created, digest)
  redis.call('ZREM', used, digest)
  redis.call('ZREM', expires, digest)
end
local function bury(most)
  for _, digest in ipairs(redis.call('ZRANGE', expires, 0, most - 1)) do
    if redis.call('EXISTS', name(digest)) == 0 then forget(digest) end
  end
end
"""


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
local before = redis.call('HGET', sizes, digest)
redis.call('HSET', sizes, digest, size)
redis.call('INCRBY', total, size - (before or 0))
if uses == '0' then
  if before then redis.call('HDEL', hits, digest) end
else
  redis.call('HSET', hits, digest, uses)
end
if ends_at == '' then
  if before then redis.call('ZREM', expires, digest) end
else
  redis.call('ZADD', expires, ends_at, digest)
  bury({BURIED_WITH_A_STORE})
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

CHANGE = Script.of("""
local entry = KEYS[7]
local digest, before, after, ends_at, kept_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('GETRANGE', entry, 0, #before - 1) ~= before then return 0 end
redis.call('SETRANGE', entry, 0, after)
if kept_ms == '' then redis.call('PERSIST', entry) else redis.call('PEXPIRE', entry, kept_ms) end
if ends_at == '' then redis.call('ZREM', expires, digest) else redis.call('ZADD', expires, ends_at, digest) end
return 1
""")
"""Replace the head of an entry, if it still has the one that was read."""

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
bury(tonumber(ARGV[1]))
return redis.call('ZCARD', created)
""")
"""Forget entries that Redis has removed at the end of their life; how many are left."""

ALL = (STORE, REMOVE, CHANGE, SET_ASIDE, USE, CLEAR, BURY)
