"""What a Redis says about itself: its version, and what of it survives a crash."""

from __future__ import annotations

import contextlib

from cache_backends.errors import CacheUnavailableError
from cache_backends.records import Durability, StoreAbout
from cache_backends.servers.redis_store import RedisStore

_AOF: dict[str, Durability] = {"always": "every_write", "everysec": "every_second", "no": "disk"}
WEAKEST: tuple[Durability, ...] = ("nothing", "unknown", "snapshots", "disk", "every_second", "every_write")


def about(store: RedisStore) -> StoreAbout:
    """What a Redis, or the node of a cluster that keeps least, says. Raises `CacheUnavailableError`."""
    infos = [_fields(reply) for reply in store.on_each_node(b"INFO", b"everything")]
    settings = [_settings(store, name) for name in ("appendonly", "appendfsync", "save")]
    nodes = [_durability(info, *of_node) for info, *of_node in zip(infos, *settings, strict=True)]
    durability, detail = min(nodes, key=lambda node: WEAKEST.index(node[0]))
    product = "Redis Cluster" if store.is_cluster else "Redis"
    if store.is_cluster:
        detail = f"{len(nodes)} nodes; {detail}"
    versions = sorted({info.get("valkey_version") or info.get("redis_version", "unknown") for info in infos})
    return StoreAbout(product, ", ".join(versions), durability, detail)


def _durability(
    info: dict[str, str], appendonly: str | None, appendfsync: str | None, save: str | None
) -> tuple[Durability, str]:
    has_log = info.get("aof_enabled") == "1" if appendonly is None else appendonly == "yes"
    if has_log:
        if appendfsync is None:
            return (
                "every_second",
                "appendonly yes; the server does not tell appendfsync, which is everysec unless changed",
            )
        return _AOF.get(appendfsync, "unknown"), f"appendonly yes, appendfsync {appendfsync}"
    if save is None:
        return "unknown", "appendonly no; the server does not tell whether it takes snapshots"
    if save:
        return "snapshots", f"appendonly no, save {save}"
    return "nothing", "appendonly no, no snapshots"


def _settings(store: RedisStore, name: str) -> list[str | None]:
    """A setting of each node; None where it is not told, as by many who rent out servers."""
    with contextlib.suppress(CacheUnavailableError):
        replies = store.on_each_node(b"CONFIG", b"GET", name.encode())
        return [reply[1].decode() if len(reply) > 1 else None for reply in replies]
    return [None] * len(store.on_each_node(b"PING"))


def _fields(reply: bytes) -> dict[str, str]:
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
