"""Where the entries of a namespace lie in Redis: in partitions, in the order of digests, spread over the slots."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from cache_backends.servers.redis_keys import PARTITIONS, numbered_partitions, partition_number, partitions
from cache_backends.table_rows import interned_id

digests = st.binary(min_size=32, max_size=32)


@given(st.lists(digests, max_size=50))
def test_the_order_of_partitions_is_the_order_of_digests(some: list[bytes]) -> None:
    assert sorted(some) == sorted(some, key=lambda digest: (partition_number(digest), digest))
    assert all(0 <= partition_number(digest) < PARTITIONS for digest in some)


def test_every_partition_has_its_share() -> None:
    shares = Counter(partition_number(sha256(str(number).encode()).digest()) for number in range(32_000))
    assert len(shares) == PARTITIONS
    assert max(shares.values()) < 1.3 * min(shares.values())


@given(digests, st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable()))
def test_all_keys_of_a_partition_lie_in_one_slot(digest: bytes, namespace: str) -> None:
    place = partitions("llm_cache", namespace)[partition_number(digest)]
    assert len({key_slot(key) for key in (*place.all_keys, place.entry(digest))}) == 1
    assert len({*place.all_keys, place.entry(digest)}) == len(place.all_keys) + 1


def test_partitions_are_spread_over_the_slots_and_so_over_the_nodes() -> None:
    for namespace in ("default", "demo", "other"):
        slots = [key_slot(place.tag) for place in partitions("llm_cache", namespace)]
        assert len(set(slots)) == PARTITIONS
        nodes = Counter(3 * slot // REDIS_CLUSTER_HASH_SLOTS for slot in slots)
        assert sorted(nodes) == [0, 1, 2]
        assert max(nodes.values()) < PARTITIONS * 2 / 3


def test_namespaces_and_prefixes_have_no_key_in_common() -> None:
    places = [partitions(prefix, name) for prefix in ("a", "b") for name in ("default", "demo")]
    keys = [key for of_namespace in places for place in of_namespace for key in place.all_keys]
    assert len(set(keys)) == len(keys)


def test_a_namespace_is_found_by_its_number() -> None:
    assert numbered_partitions("llm_cache", f"{interned_id('demo'):016x}") == partitions("llm_cache", "demo")
