"""What is said of each server: what it is, when it fits, what it costs, what a crash may lose, how to take it home."""

from __future__ import annotations

from dataclasses import dataclass

from cache_backends.urls import SERVERS
from ui import words
from ui.guide_kinds import Kind
from ui.language import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A kind of cache on a server. `schemes` begin its URLs, `extra` is what pip installs its driver by."""

    name: str
    title: str
    schemes: tuple[str, ...]
    example_url: str
    extra: str
    kind: Kind
    may_lose: str
    in_words: str
    exactly: str

    @property
    def available(self) -> bool:
        """Whether this version can open it."""
        return any(scheme in SERVERS for scheme in self.schemes)


def servers() -> list[Server]:
    """The servers that the library is designed for, available or not."""
    return [_redis(), _postgresql(), _mysql(), _mongodb()]


def _redis() -> Server:
    return Server(
        name="redis",
        title="Redis",
        schemes=("redis", "rediss", "redis+cluster", "rediss+cluster"),
        example_url="redis://localhost:6379/0",
        extra="redis",
        kind=_kind(
            what=_("Answers lie in the memory of a Redis server."),
            choose=_("Several machines ask the same things, and answers should come quickly and expire."),
            value=_("The answer as JSON behind a checksum, set in one command together with its end."),
            advantages=_("The quickest of the servers. It forgets by itself what has expired."),
            limits=_("A server to run, and its memory is the limit. What survives a crash depends on its settings."),
        ),
        may_lose=_("It depends on its persistence: all, or nothing, as the table below says."),
        in_words=_(
            "Redis is the usual choice when several machines share a cache: it keeps everything in memory and answers "
            "within a round trip over the network. Whether answers survive its own restart depends on how it is set "
            "up, so look at the health panel before you rely on it."
        ),
        exactly=_(
            "No module is needed. In a cluster (`redis+cluster://`) the answers are spread over all nodes; `rediss://` "
            "is encrypted. When its memory is full, Redis evicts answers or refuses new ones, as its "
            "`maxmemory-policy` says; a refused one is not stored, and the model's answer reaches you all the same."
        ),
    )


def _postgresql() -> Server:
    return Server(
        name="postgresql",
        title="PostgreSQL",
        schemes=("postgresql", "postgres"),
        example_url="postgresql://user:password@localhost:5432/cache",
        extra="postgres",
        kind=_kind(
            what=_("Answers lie in tables of a PostgreSQL database."),
            choose=_("You run PostgreSQL already, and answers should be as safe as the rest of your data."),
            value=_("A row: the answer as JSON behind a checksum, with prompt, model, times and hits."),
            advantages=_("Answers beside your other data: the same backups, the same users, and SQL over all of them."),
            limits=_("A way over the network for each lookup, and a database to look after."),
        ),
        may_lose=words.durability("every_write"),
        in_words=_(
            "PostgreSQL is for those who run it anyway. The answers are in its backups, survive a crash, and can be "
            "counted and searched with SQL beside everything else."
        ),
        exactly=_(
            "Its tables are made when they are first needed, by a role that may do so; no extension is needed. With "
            "`synchronous_commit=off` a crash may lose the last moments, and with `fsync=off` a power cut may damage "
            "the whole database: the health panel reads both from the server."
        ),
    )


def _mysql() -> Server:
    return Server(
        name="mysql",
        title=_("MySQL or MariaDB"),
        schemes=("mysql", "mariadb"),
        example_url="mysql://user:password@localhost:3306/cache",
        extra="mysql",
        kind=_kind(
            what=_("Answers lie in tables of a MySQL or MariaDB database."),
            choose=_("You run MySQL or MariaDB already."),
            value=_("A row: the answer as JSON behind a checksum, with prompt, model, times and hits."),
            advantages=_("Answers beside your other data: the same backups, the same users, and SQL over all of them."),
            limits=_(
                "A way over the network for each lookup, and a database to look after. An answer larger than its "
                "`max_allowed_packet` is not stored."
            ),
        ),
        may_lose=words.durability("every_write"),
        in_words=_(
            "MySQL and MariaDB do the same for those who run one of them. The address begins with `mysql://` or "
            "`mariadb://`, which mean the same to this app."
        ),
        exactly=_(
            "Its tables are made when they are first needed, by a user that may do so. How much a crash may lose is "
            "decided by `innodb_flush_log_at_trx_commit`: with 1, as it comes, nothing; with 2, a power cut may take "
            "the last second; with 0, every crash may. The health panel reads it from the server."
        ),
    )


def _mongodb() -> Server:
    return Server(
        name="mongodb",
        title="MongoDB",
        schemes=("mongodb", "mongodb+srv"),
        example_url="mongodb://localhost:27017/cache",
        extra="mongodb",
        kind=_kind(
            what=_("Answers lie as documents in a collection of a MongoDB database."),
            choose=_("You run MongoDB already, or want to work with answers as documents."),
            value=_("A document: the answer as JSON behind a checksum, with prompt, model, times and hits."),
            advantages=_("Kept on several servers at once where you run a replica set."),
            limits=_(
                "A way over the network for each lookup, and a database to look after. A document has 16 MB at most; a "
                "larger answer is not stored. Not measured on a real MongoDB."
            ),
        ),
        may_lose=_("With `j=true`, or the majority of a replica set, nothing that was stored; else the last moments."),
        in_words=_(
            "MongoDB keeps each answer as a document. What is said of it here was tested by its protocol only, on "
            "nx-27017, a small server that speaks it: no real MongoDB was at hand, and none was measured."
        ),
        exactly=_(
            "Its collections are made when they are first needed, by a user that may do so. MongoDB removes by itself "
            "what has been over for a while. What a crash may lose is said here by its manual: its journal is written "
            "every 100 ms, unless a write waits for it or for most members of a replica set."
        ),
    )


def _kind(*, what: str, choose: str, value: str, advantages: str, limits: str) -> Kind:
    return Kind(
        what=what,
        after_restart=_("Still there: the server keeps them."),
        shared_by=_("All programs of all machines that reach the server."),
        choose=choose,
        key=_("The request's SHA-256 together with the namespace."),
        value=value,
        advantages=advantages,
        limits=limits,
    )
