"""`PostgresCache`: entries in tables of a PostgreSQL database that machines share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar, cast

from cache_backends.errors import CacheConfigError
from cache_backends.records import Durability, StoreAbout
from cache_backends.servers.async_connections import AsyncConnections
from cache_backends.servers.postgres_hosts import Hosts
from cache_backends.servers.postgres_session import (
    BYTEA,
    FLOAT8,
    INT8,
    TEXT,
    AsyncSession,
    PostgresSession,
    connect,
    connect_async,
)
from cache_backends.servers.sql_cache import SQLCache
from cache_backends.servers.sql_session import MissingTableError, Rows, Session, Values
from cache_backends.servers.sql_statements import COLUMNS, FORMAT, Dialect
from cache_backends.servers.sql_store import SQLStore
from cache_backends.storage import Found, StoredEntry
from cache_backends.table_rows import found

Result = TypeVar("Result")

SETTINGS = """
select name, setting from pg_settings where name in ('server_version', 'fsync', 'synchronous_commit')
"""
KEYS = ("namespace", "digest")

POSTGRESQL = Dialect(
    schema=(
        "create table if not exists {p}_texts (id bigint primary key, content bytea not null)",
        """create table if not exists {p}_entries (
    namespace bigint not null,
    digest bytea not null,
    created_at double precision not null,
    expires_at double precision,
    model_time_s double precision,
    pinned smallint not null,
    last_used_at double precision not null,
    hits bigint not null,
    size_bytes bigint not null,
    model bytea,
    llm_string bigint not null,
    prompt_is_message smallint not null,
    prompt bytea not null,
    shown_prompt bytea not null,
    shown_answer bytea not null,
    words text collate "C" not null,
    value bytea not null,
    primary key (namespace, digest)
)""",
        "create index if not exists {p}_entries_by_age on {p}_entries (namespace, created_at, digest)",
        """create table if not exists {p}_damaged (
    namespace bigint not null,
    digest bytea not null,
    found_at double precision not null,
    value bytea not null,
    primary key (namespace, digest)
)""",
        "create table if not exists {p}_format (version integer not null)",
        f"insert into {{p}}_format select {FORMAT} where not exists (select 1 from {{p}}_format)",
    ),
    replace=(
        "insert",
        "on conflict (namespace, digest) do update set "
        + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in KEYS),
    ),
    ignore=("insert", "on conflict do nothing"),
    has_word="strpos(words, %s) > 0",  # takes a third of the time of `like`
    word=" {}",
)


TYPES = {
    **dict.fromkeys(("namespace", "llm_string", "hits", "size_bytes", "pinned", "prompt_is_message"), INT8),
    **dict.fromkeys(("created_at", "expires_at", "model_time_s", "last_used_at"), FLOAT8),
    **dict.fromkeys(("digest", "model", "prompt", "shown_prompt", "shown_answer", "value"), BYTEA),
    "words": TEXT,
}
"""As which values are sent: PostgreSQL makes a smallint of an int8 by itself where it stores one."""
ROW_TYPES = tuple(TYPES[column] for column in COLUMNS)


class PostgresStore(SQLStore):
    """Connections to one PostgreSQL database, those of event loops too."""

    def __init__(self, cache: PostgresCache) -> None:
        address, settings, timeout_s = cache.address, cache.driver_settings, cache.timeout_s
        hosts = Hosts(address)
        super().__init__(cache, lambda limit_s: connect(address, hosts, settings, timeout_s, limit_s))

        async def connect_in_loop() -> AsyncSession:
            session = await connect_async(address, hosts, settings, timeout_s)
            self.known.clear()  # as for other connections
            return session

        self._async_sessions = AsyncConnections(connect_in_loop, AsyncSession.close, timeout_s)

    def lookup(self, namespace: int, digest: bytes) -> tuple[Any, ...] | None:
        """What a lookup needs of an entry. Raises `CacheError`."""
        read = self.statements.read
        return self.run(lambda session: cast(PostgresSession, session).lookup(read, namespace, digest))

    def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a person asks for, who leaves the server's other cores to others. Raises `CacheError`."""
        return self.run_patiently(
            lambda session: cast(PostgresSession, session).select_by_one_process(statement, values)
        )

    def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement changed that tidies up, ended by the server too. Raises `CacheError`."""
        return self.change_many(statement, [values])

    async def run_async(self, operation: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
        """`run`, for an event loop."""
        if not self.has_tables:
            await asyncio.to_thread(self.need_tables)
        try:
            return await self.ask_async(lambda: self._async_sessions.run(operation))
        except MissingTableError:
            await asyncio.to_thread(self.make_tables_again)
            return await self.ask_async(lambda: self._async_sessions.run(operation))

    def close(self) -> None:
        """Close every connection."""
        super().close()
        self._async_sessions.close()


class PostgresCache(SQLCache):
    """A cache in a PostgreSQL database, shared by threads, processes and machines.

    `postgresql://user:password@host:5432/database?ttl=1h`; more hosts with commas between them. Its tables are made
    when they are missing. Options of the connection itself: `PostgresCache.driver_options`.
    """

    _store: PostgresStore
    dialect = POSTGRESQL
    driver_options: ClassVar[Sequence[str]] = (
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "target_session_attrs",
        "application_name",
        "options",
    )

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        if not self.address.database:
            raise CacheConfigError(
                f"{self.address.name!r} names no database. Write postgresql://user:password@host:5432/database"
            )

    def _open_store(self) -> PostgresStore:
        return PostgresStore(self)

    def _read(self, digest: bytes) -> Found | None:
        row = self._store.lookup(*self._place(digest))
        return None if row is None else found(digest, row)

    async def _aread(self, digest: bytes) -> Found | None:
        place = self._place(digest)
        rows = await self._store.run_async(lambda session: session.select(self._statements.read, place))
        return found(digest, rows[0]) if rows else None

    def _write_row(self, session: Session, row: Sequence[Any]) -> None:
        cast(PostgresSession, session).store(self._statements.write, row, ROW_TYPES)

    async def _awrite(self, entry: StoredEntry) -> None:
        row = self._row_to_write(entry)

        async def write(session: AsyncSession) -> None:
            for number, text in self._store.known.unknown(self.namespace, entry.llm_string):
                await session.change(self._statements.know_text, (number, text.encode()))
            await session.change(self._statements.write, row)

        await self._store.run_async(write)
        self._store.known.add(self.namespace, entry.llm_string)

    def _about(self) -> StoreAbout:
        settings: dict[str, str] = dict(self._store.run(lambda session: session.select(SETTINGS)))
        durability: Durability = "every_write"
        if settings.get("fsync") != "on":
            durability = "unknown"  # kill -9 loses nothing; a power cut may damage the whole database
        elif settings.get("synchronous_commit") == "off":
            durability = "every_second"
        version = settings.pop("server_version", "").partition(" ")[0]
        detail = ", ".join(f"{name}={settings[name]}" for name in sorted(settings))
        return StoreAbout("PostgreSQL", version, durability, detail)
