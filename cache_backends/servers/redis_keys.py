"""The names of what a `RedisCache` keeps in Redis.

The entries of a namespace lie in 32 partitions, by the first bits of their digest. Each partition has a hash tag of
its own (the part in braces): in a cluster it lies in one slot, so that an entry and what is said about it change
together, and different partitions lie on different nodes. For the namespace with number N and partition P:

    {prefix:N:P}:<64 hexadecimal digits>   an entry; see `redis_values`
    {prefix:N:P}:created                   sorted set: digest, and when it was stored
    {prefix:N:P}:used                      sorted set: digest, and when it was last used
    {prefix:N:P}:expires                   sorted set: digest, and when it ends; only of what ends
    {prefix:N:P}:sizes                     hash: digest, and how many bytes it has
    {prefix:N:P}:hits                      hash: digest, and how often it was used; only of what was
    {prefix:N:P}:strings                   hash: number, and the parameters (llm_string) that it stands for
    {prefix:N:P}:bytes                     the sum of the sizes
    {prefix:N:P}:noted                     list: the last few stores, not in the above yet; see `redis_scripts`
    {prefix:N:P}:damaged                   hash: digest, and the damaged value that was set aside

    prefix:namespaces                      hash: N, and the name of the namespace; of those that have entries
    prefix:format                          the version of all this
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cache_backends.table_rows import interned_id

PARTITIONS = 32
_SHIFT = 3
"""Of the first byte of a digest, five bits say which partition it is in: their order is the digests' order."""


class Partition(NamedTuple):
    """The keys of one partition, as bytes."""

    tag: bytes
    created: bytes
    used: bytes
    expires: bytes
    sizes: bytes
    hits: bytes
    strings: bytes
    total: bytes
    noted: bytes
    damaged: bytes

    def entry(self, digest: bytes) -> bytes:
        """The key of an entry."""
        return b"%b:%b" % (self.tag, digest.hex().encode())

    @property
    def about(self) -> tuple[bytes, ...]:
        """The keys that every script gets, in the order in which `redis_scripts` names them."""
        return self.created, self.used, self.expires, self.sizes, self.hits, self.total, self.noted

    @property
    def all_keys(self) -> tuple[bytes, ...]:
        """All keys but those of entries."""
        return (*self.about, self.strings, self.damaged)


def partition_number(digest: bytes) -> int:
    """Which of its namespace's partitions an entry is in."""
    return digest[0] >> _SHIFT


@lru_cache(maxsize=1024)
def partitions(prefix: str, namespace: str) -> tuple[Partition, ...]:
    """The partitions of a namespace, in the order of their digests."""
    return numbered_partitions(prefix, namespace_number(namespace))


def namespace_number(namespace: str) -> str:
    """The number that stands for a namespace in keys."""
    return f"{interned_id(namespace):016x}"


def numbered_partitions(prefix: str, number: str) -> tuple[Partition, ...]:
    """The same by the namespace's number, 16 hexadecimal digits."""
    names = ("created", "used", "expires", "sizes", "hits", "strings", "bytes", "noted", "damaged")
    tags = [f"{{{prefix}:{number}:{index:02x}}}" for index in range(PARTITIONS)]
    return tuple(Partition(tag.encode(), *(f"{tag}:{name}".encode() for name in names)) for tag in tags)


def namespaces_key(prefix: str) -> bytes:
    """The key of the names of all namespaces."""
    return f"{prefix}:namespaces".encode()


def format_key(prefix: str) -> bytes:
    """The key of the format's version."""
    return f"{prefix}:format".encode()
