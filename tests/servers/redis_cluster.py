"""Redis as a cluster of three nodes for the tests, every slot covered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tests.servers.process import HOST, PASSWORD, START_S, address, login, wait_until
from tests.servers.redis import Persistence, RedisServer

if TYPE_CHECKING:
    import redis.cluster

SLOTS = 16_384
NODES = 3


class ClusterNode(RedisServer):
    """One node; its second port is for the others."""

    name = "Redis-node"
    second_port = 10_000


class RedisClusterServer:
    """Three nodes that share the slots, none with a copy: what one holds is away while it is down."""

    name = "Redis Cluster"
    scheme = "redis+cluster"

    def __init__(
        self,
        *,
        persistence: Persistence = "none",
        password: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.host = HOST
        self.password = PASSWORD if password else None
        all_settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", **(settings or {})}
        self.nodes = [
            ClusterNode(persistence=persistence, password=password, settings=all_settings) for _ in range(NODES)
        ]
        self._joined = False

    @property
    def port(self) -> int:
        """Of the first node; a client learns of the others there."""
        return self.nodes[0].port

    def url(self, *, password: str | None = None, **options: Any) -> str:
        """The URL for `open_cache`."""
        account = login(None, password or self.password)
        return address(f"{self.scheme}://", account, f"{self.host}:{self.port}", options)

    def connect(self, **options: Any) -> redis.cluster.RedisCluster:
        """A client of the driver."""
        import redis.cluster

        place: dict[str, Any] = {"host": self.host, "port": self.port, "password": self.password}
        patience: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 10}
        return redis.cluster.RedisCluster(**patience | place | options)

    def start(self) -> Self:
        """Start every node that does not run, and wait until all agree that every slot is served."""
        for node in self.nodes:
            node.start()
        if not self._joined:
            self._join()
        wait_until(self._answers, START_S, lambda: f"The cluster is not whole:\n{self.nodes[0].log}")
        return self

    def kill(self) -> None:
        """SIGKILL to every node."""
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        """SIGSTOP to every node."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Let every node go on. They need a moment to find each other again: `start` waits for it."""
        for node in self.nodes:
            node.resume()

    def stop(self) -> None:
        """End every node as an operator would."""
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        """Stop every node and remove their folders."""
        for node in self.nodes:
            node.close()
        self._joined = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _join(self) -> None:
        share = -(-SLOTS // NODES)
        for number, node in enumerate(self.nodes):
            with node.connect() as client:
                slots = range(SLOTS)[number * share : (number + 1) * share]
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        with self.nodes[0].connect() as client:
            for node in self.nodes[1:]:
                client.execute_command("CLUSTER", "MEET", node.host, node.port)
        self._joined = True

    def _answers(self) -> bool:
        return all(sees_a_whole_cluster(node) for node in self.nodes)


def sees_a_whole_cluster(node: RedisServer) -> bool:
    """Whether this node knows all others and finds every slot served."""
    with node.connect(decode_responses=True) as client:
        told: Any = client.execute_command("CLUSTER", "INFO")
        facts = told if isinstance(told, dict) else dict(line.split(":") for line in str(told).split())
        return (
            facts["cluster_state"] == "ok"
            and facts["cluster_slots_ok"] == str(SLOTS)
            and facts["cluster_known_nodes"] == str(NODES)
        )
