"""`MySQLCache`: entries in tables of a MySQL or MariaDB database that machines share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cache_backends.errors import CacheConfigError
from cache_backends.records import Durability, StoreAbout
from cache_backends.servers.mysql_session import DEFAULT_PORT, connect
from cache_backends.servers.mysql_tls import TLS_OPTIONS, tls_parameters
from cache_backends.servers.sql_cache import SQLCache
from cache_backends.servers.sql_statements import COLUMNS, FORMAT, MOST_DELETED, Dialect
from cache_backends.servers.sql_store import SQLStore
from cache_backends.storage import Found, StoredEntry
from cache_backends.table_rows import interned_id

SETTINGS = """
show global variables where variable_name in
('version', 'innodb_flush_log_at_trx_commit', 'innodb_flush_method', 'innodb_doublewrite', 'log_bin', 'sync_binlog')
"""
WORDS = COLUMNS.index("words")
MOST_INDEXED = 2150
"""Bytes of words that the index has room for, beside the rest: 3,072 are all that a key may have. The words of longer
texts are in a column of their own, and `words` is null."""

_TABLE = "engine = InnoDB row_format = dynamic default character set utf8mb4 collate utf8mb4_bin"

MYSQL = Dialect(
    schema=(
        f"create table if not exists {{p}}_texts (id bigint primary key, content longblob not null) {_TABLE}",
        f"""create table if not exists {{p}}_entries (
    namespace bigint not null,
    digest binary(32) not null,
    created_at double not null,
    expires_at double,
    model_time_s double,
    pinned smallint not null,
    last_used_at double not null,
    hits bigint not null,
    size_bytes bigint not null,
    model varbinary(800),
    llm_string bigint not null,
    prompt_is_message smallint not null,
    prompt longblob not null,
    shown_prompt longblob not null,
    shown_answer longblob not null,
    words varbinary({MOST_INDEXED}),
    value longblob not null,
    long_words longblob,
    primary key (namespace, digest),
    index by_age (namespace, created_at, digest, expires_at, last_used_at, hits, size_bytes, model_time_s, pinned,
        model),
    index by_words (namespace, created_at, digest, expires_at, last_used_at, hits, size_bytes, model_time_s, pinned,
        model, words)
) {_TABLE}""",
        f"""create table if not exists {{p}}_damaged (
    namespace bigint not null,
    digest binary(32) not null,
    found_at double not null,
    value longblob not null,
    primary key (namespace, digest)
) {_TABLE}""",
        f"create table if not exists {{p}}_format (version integer primary key) {_TABLE}",
        f"insert ignore into {{p}}_format (version) values ({FORMAT})",
    ),
    # Not "insert … on duplicate key update": parsing that takes the server a sixth of the time of a store, and the
    # function `values` that it needs is to be removed from MySQL.
    replace=("replace", ""),
    ignore=("insert ignore", ""),
    columns=(*COLUMNS, "long_words"),
    # All that is counted and ordered by is in an index, since InnoDB keeps whole answers among the rows; and what is
    # searched too in another, larger one. By itself the server would rather use the primary key.
    many="force index (by_age)",
    searched="force index (by_words)",
    # To and fro: what one search has read last the next one reads first, while it is still in memory, and InnoDB keeps
    # what it meets again a second later. Always from the same end, an index that fits beside nothing else is read from
    # the disk each time: 0.5 s instead of 0.15 for 100,000 entries with the 128 MB that a server has by default.
    passes=("", f"order by created_at desc, digest desc limit {2**63 - 1}"),
    # With few rows the server may find another index as good, along which a row moves when it is changed: who waits for
    # somebody else's change would then find it gone.
    by_key="force index (primary)",
    remove="delete {entries} from {entries}",
    has_word="""(words like %s or words is null and exists (
        select 1 from {p}_entries as whole where whole.namespace = {p}_entries.namespace
        and whole.digest = {p}_entries.digest and whole.long_words like %s
    ))""",
)


class MySQLStore(SQLStore):
    """Connections to one MySQL or MariaDB database."""

    def __init__(self, cache: MySQLCache) -> None:
        address, timeout_s, parameters = cache.address, cache.timeout_s, tls_parameters(cache.driver_settings)
        super().__init__(cache, lambda limit_s: connect(address, parameters, timeout_s, limit_s))


class MySQLCache(SQLCache):
    """A cache in a database of MySQL or MariaDB, shared by threads, processes and machines.

    `mysql://user:password@host:3306/database?ttl=1h`, or `mariadb://`. Its tables are made when they are missing.
    Options of the connection itself: `ssl_mode` (disabled, required, verify_ca or verify_identity), `ssl_ca`,
    `ssl_cert` and `ssl_key` (files). The driver is synchronous: `alookup` and `aupdate` run it in a thread, so that
    it blocks no event loop.
    """

    _store: MySQLStore
    dialect = MYSQL
    driver_options: ClassVar[Sequence[str]] = TLS_OPTIONS

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        example = f"{self.address.scheme}://user:password@host:{DEFAULT_PORT}/database"
        if not self.address.database:
            raise CacheConfigError(f"{self.address.name!r} names no database. Write {example}")
        if len(self.address.hosts) > 1:
            raise CacheConfigError(f"{self.address.name!r} names more than one host. Write {example}")

    def _open_store(self) -> MySQLStore:
        return MySQLStore(self)

    async def _aread(self, digest: bytes) -> Found | None:
        return await asyncio.to_thread(self._read, digest)

    async def _awrite(self, entry: StoredEntry) -> None:
        await asyncio.to_thread(self._write_entry, entry)

    def _row_to_write(self, entry: StoredEntry) -> tuple[Any, ...]:
        row = super()._row_to_write(entry)
        # Each once: that takes a store some 15 µs, and a search, which reads the whole index, a quarter less time.
        words = b" " + b" ".join(set(row[WORDS].encode().split()))
        if len(words) <= MOST_INDEXED:
            return (*row[:WORDS], words, *row[WORDS + 1 :], None)
        return (*row[:WORDS], None, *row[WORDS + 1 :], words)

    def _delete_some(self, digests: list[bytes]) -> int:
        # By one statement: the driver would wait for the answer to each. The last key fills it up, so that it is always
        # the same one, which the server has prepared; a key that is named twice is found once.
        filled = digests + digests[-1:] * (MOST_DELETED - len(digests))
        return self._store.change(self._statements.delete_some, (interned_id(self.namespace), *filled))

    def _about(self) -> StoreAbout:
        settings: dict[str, str] = dict(self._store.run(lambda session: session.select(SETTINGS)))
        version = settings["version"]
        product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        shown = [name for name in settings if name not in ("version", "innodb_flush_method")]
        detail = ", ".join(f"{name}={settings[name]}" for name in sorted(shown))
        return StoreAbout(product, version.partition("-")[0], durability(settings), detail)


def durability(settings: Mapping[str, str]) -> Durability:
    """What is there again after a crash, by what the server says of itself."""
    flushes = settings.get("innodb_flush_log_at_trx_commit")
    if flushes == "0":
        return "every_second"
    if flushes not in ("1", "2", "3"):
        return "unknown"
    by_the_binary_log = settings.get("log_bin") == "ON" and settings.get("sync_binlog") != "1"
    may_tear_pages = settings.get("innodb_doublewrite") in ("OFF", "DETECT_ONLY")
    never_syncs = settings.get("innodb_flush_method", "").lower() == "nosync"
    return "disk" if flushes == "2" or by_the_binary_log or may_tear_pages or never_syncs else "every_write"
