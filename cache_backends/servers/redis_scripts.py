"""The scripts that change an entry and what lies beside it in one step. Each takes some microseconds of the server.

Every script gets the keys of `Partition.about` first. A digest is 32 bytes; the key of its entry follows from the
partition's tag, so that all keys lie in one slot. What a store notes for later is its digest and, with spaces between:
when it was stored, when it was last used, when it ends (nothing: never), its size, how often it was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import NamedTuple

SETTLED_AT_ONCE = 16
"""Stores of a partition that are noted until they are entered into its orders, all at once: three calls of Redis a
store instead of seven. The median store takes a sixth less time, all of them together a twelfth; entering takes the
server 0.3 ms, which the one store in sixteen waits for that is the last of them."""
BURIED_BY_A_STORE = 2 * SETTLED_AT_ONCE
"""Then it is also looked whether Redis has removed entries that are over; at twice as many as came, so that none are
left."""
SHORTEST_GRACE_S = 60.0
GRACE = 0.1
"""Redis removes an entry by itself when it has been over for a tenth of its time to live, and this at least: a lookup
shortly after the end finds that it has expired, and not that it never was."""
LONGEST_S = 1e9
"""Redis can't count the milliseconds of much more; such an entry is removed by no one."""

_COMMON = """
local created, used, expires, sizes, hits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local total, noted = KEYS[6], KEYS[7]
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
local function settle()
  local notes = redis.call('LRANGE', noted, 0, -1)
  if #notes == 0 then return end
  redis.call('DEL', noted)  -- removes, and so may be the first write
  local digests, last = {}, {}
  for _, note in ipairs(notes) do
    local digest = string.sub(note, 1, 32)
    if not last[digest] then digests[#digests + 1] = digest end
    last[digest] = note
  end
  local before = redis.call('HMGET', sizes, unpack(digests))
  local ages, uses, ends, lengths, counts, never, unused, grown = {}, {}, {}, {}, {}, {}, {}, 0
  for i, digest in ipairs(digests) do
    local created_at, used_at, ends_at, size, count = string.match(last[digest], NOTE, 33)
    ages[#ages + 1], ages[#ages + 2] = created_at, digest
    uses[#uses + 1], uses[#uses + 2] = used_at, digest
    lengths[#lengths + 1], lengths[#lengths + 2] = digest, size
    grown = grown + size - (before[i] or 0)
    if ends_at ~= '' then
      ends[#ends + 1], ends[#ends + 2] = ends_at, digest
    elseif before[i] then
      never[#never + 1] = digest
    end
    if count ~= '0' then
      counts[#counts + 1], counts[#counts + 2] = digest, count
    elseif before[i] then
      unused[#unused + 1] = digest
    end
  end
  redis.call('ZADD', created, unpack(ages))
  redis.call('ZADD', used, unpack(uses))
  redis.call('HSET', sizes, unpack(lengths))
  redis.call('INCRBY', total, grown)
  if #ends > 0 then redis.call('ZADD', expires, unpack(ends)) end
  if #never > 0 then redis.call('ZREM', expires, unpack(never)) end
  if #counts > 0 then redis.call('HSET', hits, unpack(counts)) end
  if #unused > 0 then redis.call('HDEL', hits, unpack(unused)) end
end
"""
_COMMON = _COMMON.replace("HEXADECIMAL", "%02x" * 32).replace("NOTE", "'^(%S+) (%S+) (%S*) (%S+) (%S+)'")


class Script(NamedTuple):
    """A script, and the name under which Redis knows it."""

    text: bytes
    sha: bytes

    @classmethod
    def of(cls, text: str) -> Script:
        """A script that begins with what all have in common."""
        complete = (_COMMON + text).encode()
        return cls(complete, sha1(complete, usedforsecurity=False).hexdigest().encode())

    def call(self, keys: Sequence[bytes], *values: bytes) -> Sequence[bytes]:
        """The command that runs it with these."""
        return (b"EVALSHA", self.sha, b"%d" % len(keys), *keys, *values)


STORE = Script.of(f"""
local entry, strings = KEYS[8], KEYS[9]
local value, kept_ms, string_id, llm_string, note, created_at, is_named = unpack(ARGV)
local notes = redis.call('RPUSH', noted, note)
if notes == 1 and not is_named and redis.call('EXISTS', created) == 0 then
  redis.call('DEL', noted)
  return 0
end
if kept_ms == '' then redis.call('SET', entry, value) else redis.call('SET', entry, value, 'PX', kept_ms) end
redis.call('HSETNX', strings, string_id, llm_string)
if notes >= {SETTLED_AT_ONCE} then
  settle()
  bury(redis.call('ZRANGEBYSCORE', expires, '-inf', created_at, 'LIMIT', 0, {BURIED_BY_A_STORE}))
end
return 1
""")
"""Store an entry, and note what belongs into the orders. Value and end of life go in by one SET.

Does nothing and says 0 where the partition is empty: the name of the namespace may be gone with what it had, so that
whoever stores the first entry names it again. See `in_empty_partition`."""

SETTLE = Script.of("settle() return 1")
"""Enter what is noted of stores into the orders."""

REMOVE = Script.of("""
settle()
local entry = KEYS[8]
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
settle()
local entry = KEYS[8]
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
settle()
local entry, damaged = KEYS[8], KEYS[9]
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
settle()
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
settle()
local some = redis.call('ZRANGE', created, 0, ARGV[1] - 1)
for _, digest in ipairs(some) do
  redis.call('DEL', name(digest))
  forget(digest)
end
if redis.call('ZCARD', created) == 0 then redis.call('DEL', used, expires, sizes, hits, total, KEYS[8], KEYS[9]) end
return #some
""")
"""Remove some entries, and with the last one all that lay beside them; how many."""

TIDY = Script.of("""
settle()
local left = redis.call('ZCARD', created)
if left == 0 then redis.call('DEL', used, expires, sizes, hits, total, KEYS[8]) end
return left
""")
"""Remove what lay beside the entries, where none are left; how many are."""

BURY = Script.of("""
settle()
local now, most = ARGV[1], ARGV[2]
bury(redis.call('ZRANGEBYSCORE', expires, '-inf', now, 'LIMIT', 0, most))
if bury(redis.call('ZRANGE', expires, 0, 1)) == 0 then bury(redis.call('ZRANGE', expires, 0, most - 1)) end
return redis.call('ZCARD', created)
""")
"""Forget entries that Redis has removed at the end of their life, or before, when it was full; how many are left.

Of those that are not over only the first few are looked at, more of them only if these are gone."""

ALL = (STORE, SETTLE, REMOVE, CHANGE, SET_ASIDE, USE, CLEAR, TIDY, BURY)

_BY_SHA = {script.sha: script for script in ALL}


def in_empty_partition(store: Sequence[bytes]) -> Sequence[bytes]:
    """The command of a store that stores in an empty partition too: the namespace has been named for it."""
    return (*store, b"named")


def first_key(command: Sequence[bytes]) -> bytes:
    """The first key of a command, a script's or any other's."""
    return command[3] if command[0] == b"EVALSHA" else command[1]


def whole(command: Sequence[bytes]) -> Sequence[bytes]:
    """A command that a server understands that may not know the scripts."""
    return (b"EVAL", _BY_SHA[command[1]].text, *command[2:]) if command[0] == b"EVALSHA" else command
