"""A user of Redis that may only do what the README says: that suffices, alone and in a cluster."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from cache_backends import open_cache
from cache_backends.records import StoreAbout
from tests.cache_backends.answers import LLM, chat, found, key_of, store
from tests.servers.available import available
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer

README = Path(__file__).parents[3] / "README.md"


def rights() -> list[str]:
    """What the README tells to give to a user, for the prefix `llm_cache`."""
    said = re.search(r"`(~llm_cache:\*[^`]*)`", README.read_text(encoding="utf-8"))
    assert said is not None
    return said[1].split()


@pytest.mark.parametrize("kind", [RedisServer, RedisClusterServer])
def test_what_the_readme_gives_to_a_user_of_redis_suffices(kind: Any) -> None:
    server = available(lambda: kind().start())
    try:
        for node in getattr(server, "nodes", [server]):
            with node.connect() as client:
                client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rights())
        url = server.url().replace("://", "://app:secret@", 1)
        with open_cache(url, strict=True, max_entries=5, timeout=10) as cache:
            for number in range(8):
                store(cache, f"q{number}", "a")
            asyncio.run(cache.aupdate("q", LLM, [chat("b")]))
            assert [found(cache, "q"), cache.entries(search="q7").total] == [["b"], 1]
            assert (cache.pin(key_of("q")), cache.set_ttl(key_of("q"), 60)) == (True, True)
            for order in ("created_at", "last_used_at", "hits"):
                assert cache.entries(order_by=order, descending=False).total == 5
            assert (cache.models(), cache.namespaces(), cache.stats().entries) == (["demo-1"], ["default"], 5)
            assert (cache.delete(key_of("q7")), cache.purge_expired()) == (1, 0)
            about: StoreAbout = cache.about()
            assert about.durability == "nothing"
            cache.clear()
            assert cache.namespaces() == []
    finally:
        server.close()
